//! One index for many tenants, each of which has what is its own.

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, RaiseOptions, Result};

use crate::analysis::Normalizer;
use crate::cursor::Cursor;
use crate::{
    BoolQuery, BulkOptions, BulkReport, ConstantQuery, DisMaxQuery, DocumentId, EnsureOptions, FieldKind,
    FunctionScoreQuery, GetOptions, Hit, HitPage, HitPages, Hits, HitsOptions, IdsQuery, MergeOptions, Operation,
    Outcome, Query, Record, RefreshOptions, Schema, SchemaDiff, SearchIndex, SearchOptions, SearchRequest,
    SearchResponse, Suggest, Suggestions, Value, capability,
};

/// One tenant's part of a [`SearchIndex`]: no call of it finds, counts, changes or deletes what is another's, whatever is asked.
///
/// A keyword field of the schema says whose a document is. It is set here in what is written, and a filter of what is searched, counted and
/// summed up. An id is the tenant's own: two tenants may have documents of the same id, which the index holds as `tenant/id`.
/// A type of documents has the field like any other; [`Index::new`](crate::Index::new) takes this as it takes an index.
///
/// What is of the whole index is `Unsupported` here: merging it, generations, and corrections of words, which would be the words
/// of others. Scores count in how many documents a word is, of all tenants: where
/// that may not show, not even by the order of hits, a tenant has an index.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::sync::Arc;
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let schema = Schema::builder().field(Field::text("title")).field(Field::keyword("clinic")).build()?;
/// let all: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(schema).await?);
/// let [north, south] = ["north", "south"].map(|clinic| TenantIndex::new(Arc::clone(&all), "clinic", clinic));
/// let (north, south) = (north?, south?);
///
/// let ward = |title: &str| Record::new("1").map(|record| Operation::Upsert(record.with("title", title)));
/// north.bulk(vec![ward("Surgery")?]).await?.check()?;
/// south.bulk(vec![ward("Maternity")?]).await?.check()?;
/// south.refresh().await?;
/// let found = south.search(&SearchRequest::new(Query::all())).await?;
/// assert_eq!((found.total, found.ids()), (1, vec!["1"]));
/// south.bulk(vec![Operation::Delete { id: DocumentId::new("1")?, version: None }]).await?.check()?;
/// assert!(north.get(&DocumentId::new("1")?).await?.is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TenantIndex {
    inner: Arc<dyn SearchIndex>,
    whose: Whose,
}

/// What tells a tenant's documents.
#[derive(Clone, Debug)]
struct Whose {
    field: Arc<str>,
    tenant: Arc<str>,
}

impl TenantIndex {
    /// Of this field's value.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the field is no keyword that can be asked for as it is; [`InvalidInput`](ErrorKind::InvalidInput)
    /// for a tenant that no id can begin with: an empty one, or one with a slash or a control character.
    pub fn new(inner: Arc<dyn SearchIndex>, field: impl AsRef<str>, tenant: impl AsRef<str>) -> Result<Self> {
        let (field, tenant): (Arc<str>, Arc<str>) = (field.as_ref().into(), tenant.as_ref().into());
        let is_exact = |kind: &FieldKind| matches!(kind, FieldKind::Keyword { normalizer } if *normalizer == Normalizer::default());
        if !inner.schema().field(&field).is_some_and(|found| found.is_indexed() && is_exact(found.kind())) {
            let message =
                format!("tenants are told by an indexed keyword field without a normalizer, and {field} is none");
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        if tenant.is_empty() || tenant.contains('/') {
            return Err(
                Error::invalid_input("a tenant must not be empty, and must not contain a slash").with_key(&*tenant)
            );
        }
        DocumentId::check(&tenant)?;
        Ok(Self { inner, whose: Whose { field, tenant } })
    }

    /// The operations as the index is to apply them; those that are refused are an outcome already.
    fn owned(&self, operations: Vec<Operation>) -> (Vec<Operation>, Vec<Option<Outcome>>) {
        let (mut sent, mut outcomes) = (Vec::new(), Vec::new());
        for operation in operations {
            let owned = match operation {
                Operation::Upsert(record) => self.whose.owned(&record).map(Operation::Upsert),
                Operation::Delete { id, version } => self.whose.id(&id).map(|id| Operation::Delete { id, version }),
            };
            outcomes.push(match owned {
                Ok(operation) => {
                    sent.push(operation);
                    None
                }
                Err(error) => Some(Outcome::Failed(error)),
            });
        }
        (sent, outcomes)
    }
}

impl Whose {
    /// The id by which the index knows a document.
    fn id(&self, id: &DocumentId) -> Result<DocumentId> {
        DocumentId::new(format!("{}/{id}", self.tenant))
    }

    /// The tenant's own id. What was written past this has none, and keeps what it has.
    fn own(&self, id: &DocumentId) -> DocumentId {
        let own = id.as_str().strip_prefix(&*self.tenant).and_then(|rest| rest.strip_prefix('/'));
        own.and_then(|own| DocumentId::new(own).ok()).unwrap_or_else(|| id.clone())
    }

    fn is(&self) -> Query {
        Query::term(Arc::clone(&self.field), &*self.tenant).into()
    }

    /// A record under another id.
    fn under(id: DocumentId, record: &Record) -> Record {
        let same = Record::with_id(id);
        let same = record.version().map_or(same.clone(), |version| same.with_version(version));
        record.iter().fold(same, |same, (field, value)| same.with(field.to_owned(), value.clone()))
    }

    fn owned(&self, record: &Record) -> Result<Record> {
        let is_other = |value: &Value| value.as_text() != Some(&*self.tenant);
        if record.values(&self.field).any(is_other) {
            let message = format!("the document says in {} that it is another tenant's", self.field);
            return Err(Error::invalid_input(message).with_key(record.id().as_str()));
        }
        let owned = Self::under(self.id(record.id())?, record);
        let has_it = owned.value(&self.field).is_some();
        Ok(if has_it { owned } else { owned.with(self.field.to_string(), &*self.tenant) })
    }

    /// What is asked for, of this tenant's documents alone.
    fn asked(&self, request: &SearchRequest) -> Result<SearchRequest> {
        let all = |queries: &[Query]| queries.iter().map(|query| self.query(query)).collect::<Result<Vec<_>>>();
        let mut asked = request.clone();
        asked.query = self.query(&request.query)?;
        (asked.filters, asked.post_filters) = (all(&request.filters)?, all(&request.post_filters)?);
        asked.filters.push(self.is());
        asked.after = request.after.as_ref().map(|place| self.place(place)).transpose()?;
        Ok(asked)
    }

    fn place(&self, place: &Cursor) -> Result<Cursor> {
        Ok(Cursor { id: self.id(&place.id)?, ..place.clone() })
    }

    /// The same query by the ids of the index.
    fn query(&self, query: &Query) -> Result<Query> {
        let all = |queries: &[Query]| queries.iter().map(|query| self.query(query)).collect::<Result<Vec<_>>>();
        Ok(match query {
            Query::Ids(ids) => {
                let id = |id: &String| Ok(self.id(&DocumentId::new(id)?)?.to_string());
                let boost = ids.boost;
                IdsQuery { ids: ids.ids.iter().map(id).collect::<Result<_>>()?, boost }.into()
            }
            Query::Bool(of) => {
                let BoolQuery { must, should, filter, must_not, .. } = of;
                let [must, should, filter, must_not] = [all(must)?, all(should)?, all(filter)?, all(must_not)?];
                BoolQuery { must, should, filter, must_not, ..of.clone() }.into()
            }
            Query::DisMax(of) => DisMaxQuery { queries: all(&of.queries)?, ..of.clone() }.into(),
            Query::Constant(of) => ConstantQuery { query: Box::new(self.query(&of.query)?), ..of.clone() }.into(),
            Query::FunctionScore(of) => {
                FunctionScoreQuery { query: Box::new(self.query(&of.query)?), ..of.clone() }.into()
            }
            // Of fields alone.
            other => other.clone(),
        })
    }

    fn hits(&self, hits: &mut [Hit]) {
        for hit in hits {
            hit.record = Self::under(self.own(hit.id()), &hit.record);
        }
    }
}

fn of_all() -> Error {
    Error::new(ErrorKind::Unsupported, "this is of the whole index, and not of one tenant")
}

/// All hits of a tenant.
#[derive(Debug)]
struct TenantPages {
    inner: Box<dyn HitPages>,
    whose: Whose,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl HitPages for TenantPages {
    async fn page(&mut self, after: Option<&Cursor>) -> Result<HitPage> {
        let after = after.map(|place| self.whose.place(place)).transpose()?;
        let mut page = self.inner.page(after.as_ref()).await?;
        self.whose.hits(&mut page.hits);
        Ok(page)
    }

    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl SearchIndex for TenantIndex {
    fn schema(&self) -> &Arc<Schema> {
        self.inner.schema()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().without(capability::SUGGEST).without(capability::REINDEX)
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        let (sent, outcomes) = self.owned(operations);
        let mut done = self.inner.bulk_with(sent, options).await?.outcomes.into_iter();
        let settled = outcomes.into_iter().map(|refused| refused.or_else(|| done.next()));
        Ok(BulkReport::new(settled.flatten().collect()))
    }

    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>> {
        let found = self.inner.get_with(&self.whose.id(id)?, options).await?;
        Ok(found.map(|record| Whose::under(id.clone(), &record)))
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        let mut found = self.inner.search_with(&self.whose.asked(request)?, options).await?;
        self.whose.hits(&mut found.hits);
        Ok(found)
    }

    async fn hits_with(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        let hits = self.inner.hits_with(&self.whose.asked(request)?, options).await?;
        Ok(hits.wrapped(|inner| Box::new(TenantPages { inner, whose: self.whose.clone() })))
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        let own = Query::bool().must(self.whose.query(query)?).filter(self.whose.is());
        self.inner.count_with(&own.into(), options).await
    }

    async fn suggest_with(&self, _: &Suggest, _: SearchOptions) -> Result<Suggestions> {
        Err(of_all())
    }

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.inner.refresh_with(options).await
    }

    async fn merge_with(&self, _: MergeOptions) -> Result<()> {
        Err(of_all())
    }

    async fn diff_with(&self, wanted: &Schema, options: EnsureOptions) -> Result<SchemaDiff> {
        self.inner.diff_with(wanted, options).await
    }

    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        let Whose { field, tenant } = &self.whose;
        Ok(Arc::new(Self::new(self.inner.ensure_with(wanted, options).await?, field, tenant)?))
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.inner.raise_with(fence, options).await
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    /// The index stays open: it is the others' too.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
