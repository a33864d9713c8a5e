use std::fmt;
use std::marker::PhantomData;

use statehouse_core::Result;

use super::found::Found;
use crate::{Document, Hits};

/// All hits of a [`Search`](crate::Search), one after another, of one state of the index: [`Hits`] of documents.
///
#[cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#[cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
/// use statehouse_search::{Document, HitsOptions, Index, Query};
/// # use statehouse_search::TantivyConfig;
///
/// #[derive(Document)]
/// struct Concept {
///     #[document(id)]
///     code: String,
///     #[document(text)]
///     title: String,
///     #[document(keyword, sort)]
///     chapter: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let index = TantivyConfig::memory().open(Concept::schema()?).await?;
/// # let concepts: Index<Concept> = Index::new(std::sync::Arc::new(index))?;
/// # let concept = |code: &str, chapter: &str| Concept { code: code.into(), title: "Fever".into(), chapter: chapter.into() };
/// # concepts.upsert_all([concept("A", "II"), concept("B", "I"), concept("C", "II")]).wait_until_visible().await?;
/// // A page, and the one behind it
/// let by_chapter = || concepts.query(Concept::title().matches("fever")).sort(Concept::chapter().ascending());
/// let first = by_chapter().top(2).await?;
/// let second = by_chapter().top(2).after(first.hits[1].cursor().clone()).await?;
/// assert_eq!(second.hits[0].document.code, "C");
///
/// // All of them
/// let mut hits = by_chapter().hits_with(HitsOptions::default().with_page_size(500)).await?;
/// let mut codes = Vec::new();
/// while let Some(found) = hits.next().await? {
///     codes.push(found.document.code);
/// }
/// assert_eq!(codes, ["B", "A", "C"]);
///
/// // As many as are needed
/// let mut hits = concepts.query(Query::all()).hits().await?;
/// let any = hits.next().await?.map(|found| found.id);
/// assert_eq!((any.unwrap().as_str(), hits.skipped()), ("A", 0));
/// hits.close().await?;
/// # Ok(()) }
/// ```
#[must_use = "it holds a state of the index until it is read to its end or dropped"]
pub struct DocumentHits<D> {
    hits: Hits,
    documents: PhantomData<fn() -> D>,
}

impl<D: Document> DocumentHits<D> {
    pub(super) const fn new(hits: Hits) -> Self {
        Self { hits, documents: PhantomData }
    }

    /// The next hit, or `None` behind the last. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Hits::next`], and [`Corrupt`](statehouse_core::ErrorKind::Corrupt) for a document that is not of this type; the
    /// next call goes on behind it.
    pub async fn next(&mut self) -> Result<Option<Found<D>>> {
        self.hits.next().await?.map(Found::new).transpose()
    }

    /// As [`Hits::skipped`].
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.hits.skipped()
    }

    /// As [`Hits::close`].
    ///
    /// # Errors
    /// What the backend says.
    pub async fn close(self) -> Result<()> {
        self.hits.close().await
    }
}

impl<D> fmt::Debug for DocumentHits<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DocumentHits").field(&self.hits).finish()
    }
}
