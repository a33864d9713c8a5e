use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::fence::Raising;
use statehouse_core::{Error, ErrorKind, Fence, Guarded, RaiseOptions, Result, Retry};

use super::document::read;
use super::{Search, Write};
use crate::{
    Document, DocumentId, FieldKind, Operation, Query, Record, Schema, SearchIndex, SearchIndexExt as _, Suggest,
    Suggestions, Unversioned, Value,
};

/// An index of documents of one type, over any backend. Clones share it.
pub struct Index<D> {
    index: Arc<dyn SearchIndex>,
    documents: PhantomData<fn() -> D>,
}

impl<D: Document> Index<D> {
    /// Takes an open index of these documents.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the index has another schema than the type, naming the differences, or
    /// if the type cannot be made of what the index returns: a field that is not stored must be an `Option` or a `Vec`.
    pub fn new(index: Arc<dyn SearchIndex>) -> Result<Self> {
        let differences = D::schema()?.differences(index.schema());
        if !differences.is_empty() {
            let message = format!("the type and the index have different schemas: {}", differences.join(", "));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        check_stored::<D>(index.schema())?;
        Ok(Self { index, documents: PhantomData })
    }

    /// The index without its type.
    #[must_use]
    pub fn index(&self) -> &Arc<dyn SearchIndex> {
        &self.index
    }

    /// Writes a document whether or not one with its id exists. If it has a version, a stored one of the same or a newer
    /// version is not replaced, which is an error: see [`Write`].
    pub fn upsert(&self, document: D) -> Write<'_> {
        self.upsert_all([document])
    }

    /// Writes documents in one bulk. They are applied one by one: see [`SearchIndex`].
    pub fn upsert_all(&self, documents: impl IntoIterator<Item = D>) -> Write<'_> {
        let operations = documents.into_iter().map(|document| document.to_record().map(Operation::Upsert)).collect();
        Write::new(&*self.index, operations)
    }

    /// Removes the document with this id as its source had it before this version. Removing what is absent is no error.
    ///
    /// The version is that of the deletion: the row's last one plus one, or what the source's event carries. A document
    /// of the same or an older version that arrives later is refused, a newer one is written.
    pub fn delete_at(&self, id: impl AsRef<str>, version: u64) -> Write<'_> {
        self.deletion(id, Some(version))
    }

    fn deletion(&self, id: impl AsRef<str>, version: Option<u64>) -> Write<'_> {
        let delete = DocumentId::new(id).map(|id| vec![Operation::Delete { id, version }]);
        Write::new(&*self.index, delete)
    }

    /// The document with this id, or `None`. Sees every acknowledged write.
    ///
    /// # Errors
    /// What the backend says, and [`Corrupt`](ErrorKind::Corrupt), naming the type and the field, for a document that is
    /// not of this type: another build, whose type has the same schema, may have written it.
    pub async fn get(&self, id: impl AsRef<str> + Send) -> Result<Option<D>> {
        let found = self.index.get(&DocumentId::new(id)?).await?;
        found.map(|record| read(&record)).transpose()
    }

    /// Begins a search.
    pub fn query(&self, query: impl Into<Query>) -> Search<'_, D> {
        Search::new(&*self.index, query.into())
    }

    /// How many documents match: exact.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn count(&self, query: impl Into<Query> + Send) -> Result<u64> {
        let query = query.into();
        self.index.count(&query).await
    }

    /// Succeeds once at least so many documents are there: an index that is still to be filled is not an empty one.
    ///
    /// An index in a folder is of one process, and a replica whose disk is blank makes another one, whatever others have. Say
    /// here what the source holds, before the replica says that it is ready, and again before searches where it is filled
    /// meanwhile.
    ///
    #[cfg_attr(feature = "derive", doc = "```")]
    #[cfg_attr(not(feature = "derive"), doc = "```ignore")]
    /// # #[cfg(feature = "tantivy")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), statehouse_core::Error> {
    /// use std::sync::Arc;
    ///
    /// use statehouse_core::ErrorKind;
    /// use statehouse_search::{Document, Index, TantivyConfig};
    ///
    /// #[derive(Debug, Document)]
    /// struct Ward {
    ///     #[document(id)]
    ///     number: String,
    ///     #[document(text)]
    ///     name: String,
    /// }
    ///
    /// let wards: Index<Ward> = Index::new(Arc::new(TantivyConfig::memory().open(Ward::schema()?).await?))?;
    /// let error = wards.require_documents(1).await.unwrap_err();
    /// assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("0 of 1"), "{error}");
    /// wards.upsert(Ward { number: "3".into(), name: "Surgery".into() }).wait_until_visible().await?;
    /// wards.require_documents(1).await?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "tantivy"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable), with how many there are, while it holds fewer; else what the backend says.
    pub async fn require_documents(&self, least: u64) -> Result<()> {
        let found = self.count(Query::all()).await?;
        if found >= least {
            return Ok(());
        }
        let message = format!("the index holds {found} of {least} documents: it is still to be filled");
        Err(Error::new(ErrorKind::Unavailable, message).with_retry(Retry::After(Duration::from_secs(1))))
    }

    /// What may have been meant by the words of a text: see [`Suggest`], which
    /// [`TextField::suggest`](crate::TextField::suggest) makes.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn suggest(&self, suggest: &Suggest) -> Result<Suggestions> {
        self.index.suggest(suggest).await
    }

    /// Makes every acknowledged write visible to searches that start after it returns.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn refresh(&self) -> Result<()> {
        self.index.refresh().await
    }
}

/// Refuses a type that needs a value of a field that is never returned: every page would be `Corrupt`. Found by trying,
/// for a schema does not know what its documents' type can do without.
fn check_stored<D: Document>(schema: &Schema) -> Result<()> {
    let fields = schema.fields().iter().filter(|field| field.source().is_none() && field.is_stored());
    let probe = fields.fold(Record::new("probe")?.with_version(1), |probe, field| {
        let value = match field.kind() {
            FieldKind::Text { .. } | FieldKind::Keyword { .. } => Value::Text(String::new()),
            FieldKind::I64 => Value::I64(0),
            FieldKind::U64 => Value::U64(0),
            FieldKind::F64 => Value::F64(0.0),
            FieldKind::Bool => Value::Bool(false),
            FieldKind::Date => Value::Date(0),
        };
        probe.with(field.name().to_owned(), value)
    });
    let refused = D::from_record(&probe).err();
    let needed = refused.as_ref().and_then(|error| schema.field(error.key()?)).filter(|field| !field.is_stored());
    needed.map_or(Ok(()), |field| {
        let message = "the field is not stored, so the type must do without: make it an Option or a Vec, or store it";
        Err(Error::invalid_input(message).with_key(field.name()))
    })
}

impl<D: Unversioned> Index<D> {
    /// Removes the document with this id. Removing what is absent is no error.
    ///
    /// Only for documents without a version. One with a version is removed [at a version](Self::delete_at): the index
    /// would otherwise have to make one up, and the source's next version could be below it.
    pub fn delete(&self, id: impl AsRef<str>) -> Write<'_> {
        self.deletion(id, None)
    }
}

impl<D: 'static> Guarded for Index<D> {
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a> {
        Box::pin(self.index.raise_with(fence, RaiseOptions::default().with_deadline(limit)))
    }
}

impl<D> Clone for Index<D> {
    fn clone(&self) -> Self {
        Self { index: Arc::clone(&self.index), documents: PhantomData }
    }
}

impl<D> fmt::Debug for Index<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.index).finish()
    }
}
