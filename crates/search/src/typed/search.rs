use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use statehouse_core::Result;

use super::fields::CollapseField;
use super::found::Found;
use super::hits::DocumentHits;
use crate::cursor::Cursor;
use crate::{
    Bucket, Document, Facet, FacetValue, Highlight, Histogram, HitsOptions, Query, RangeCount, RangeFacet, SearchIndex,
    SearchOptions, SearchRequest, SearchResponse, Sort, Stats, Total, TotalRelation,
};

/// A search that happens when it is awaited: made by [`Index::query`](crate::Index::query).
///
#[cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#[cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
/// use std::time::Duration;
/// use statehouse_search::{Document, Facet, Highlight, Index, Query, Sort, Total, TotalRelation};
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
/// # let concept = |code: &str, title: &str| Concept { code: code.into(), title: title.into(), chapter: "IX".into() };
/// # concepts.upsert_all([concept("I21", "Acute heart attack"), concept("I22", "Second heart attack")]).wait_until_visible().await?;
/// // What was typed, or everything: each query is a type of its own, and `into` makes a `Query` of any
/// let typed = "heart";
/// let query: Query = if typed.is_empty() { Query::all().into() } else { Concept::title().matches(typed).into() };
/// let second = concepts
///     .query(query)
///     .filter(Concept::chapter().is("IX"))
///     .sort(Concept::chapter().ascending())
///     .sort(Sort::by_score())
///     .skip(1)
///     .top(1)
///     .highlight(Highlight::from(Concept::title()).with_fragment_size(80).with_max_fragments(1))
///     .facet(Facet::from(Concept::chapter()).with_size(20))
///     .deadline(Duration::from_secs(2))
///     .await?;
/// assert_eq!((second.total, second.hits.len()), (2, 1));
/// assert_eq!(second.hits[0].highlight(Concept::title())[0].to_html("<b>", "</b>"), "Second <b>heart</b> attack");
/// assert_eq!(second.facet(Concept::chapter())[0].count, 2);
/// let of_each_chapter = concepts.query(Query::all()).collapse(Concept::chapter()).await?;
/// assert_eq!((of_each_chapter.total, of_each_chapter.hits.len()), (2, 1));
/// let some = concepts.query(Query::all()).total(Total::AtLeast(1)).await?;
/// assert_eq!((some.total, some.relation, some.hits.len()), (1, TotalRelation::AtLeast, 2));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is searched until it is awaited"]
pub struct Search<'i, D> {
    index: &'i dyn SearchIndex,
    request: SearchRequest,
    options: SearchOptions,
    documents: PhantomData<fn() -> D>,
}

impl<'i, D: Document> Search<'i, D> {
    pub(super) fn new(index: &'i dyn SearchIndex, query: Query) -> Self {
        let options = SearchOptions::default();
        Self { index, request: SearchRequest::new(query), options, documents: PhantomData }
    }

    /// Only documents that also match this, without score.
    pub fn filter(mut self, filter: impl Into<Query>) -> Self {
        self.request = self.request.with_filter(filter);
        self
    }

    /// Only hits that also match this, without score, while facets count what does not, too: for what a user chose of a facet
    /// whose other values are to stay.
    pub fn post_filter(mut self, filter: impl Into<Query>) -> Self {
        self.request = self.request.with_post_filter(filter);
        self
    }

    /// In this order instead of the best first; further calls break ties.
    pub fn sort(mut self, sort: Sort) -> Self {
        self.request = self.request.with_sort(sort);
        self
    }

    /// At most so many hits, 10 unless told; 0 for the total alone.
    pub const fn top(mut self, size: u64) -> Self {
        self.request.size = size;
        self
    }

    /// Counts what matches so far, in place of all of it: see [`Total`].
    pub const fn total(mut self, total: Total) -> Self {
        self.request.total = total;
        self
    }

    /// Leaves out so many hits at the start.
    pub const fn skip(mut self, from: u64) -> Self {
        self.request.from = from;
        self
    }

    /// Begins behind a hit of the same search, as [`SearchRequest::with_after`]: see [`Found::cursor`].
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.request.after = Some(cursor);
        self
    }

    /// Marks what matched in this field.
    pub fn highlight(mut self, field: impl Into<Highlight>) -> Self {
        self.request = self.request.with_highlight(field.into());
        self
    }

    /// Counts the values of this field among all that match.
    pub fn facet(mut self, field: impl Into<Facet>) -> Self {
        self.request = self.request.with_facet(field.into());
        self
    }

    /// Counts, in ranges of this field, all that match.
    pub fn ranges(mut self, ranges: impl Into<RangeFacet>) -> Self {
        self.request = self.request.with_ranges(ranges.into());
        self
    }

    /// Makes a histogram of all that match.
    pub fn histogram(mut self, histogram: Histogram) -> Self {
        self.request = self.request.with_histogram(histogram);
        self
    }

    /// Sums up the values of this field among all that match, post-filters aside: a sortable one of `i64`, `f64` or dates.
    pub fn stats(mut self, field: impl Into<Facet>) -> Self {
        self.request = self.request.with_stats(field.into().field);
        self
    }

    /// Of the hits with the same value of this field only the first, as [`SearchRequest::with_collapse`]: a sortable one of
    /// keywords or numbers.
    pub fn collapse(mut self, field: impl CollapseField) -> Self {
        self.request = self.request.with_collapse(field.into_name());
        self
    }

    /// Sets how long it may take, in place of the backend's own limit.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// All hits, one after another, of the state that the index has now: see [`Hits`](crate::Hits). How many a page has says
    /// nothing here; the deadline is that of each page.
    ///
    /// # Errors
    /// What the backend says; `InvalidInput` with [`skip`](Self::skip), or if something is counted; `Unsupported` with
    /// [`collapse`](Self::collapse).
    pub async fn hits(self) -> Result<DocumentHits<D>> {
        self.hits_with(HitsOptions::default()).await
    }

    /// The same with options, in which a deadline goes before that of the search.
    ///
    /// # Errors
    /// As [`hits`](Self::hits).
    pub async fn hits_with(self, mut options: HitsOptions) -> Result<DocumentHits<D>> {
        options.deadline = options.deadline.or(self.options.deadline);
        self.index.hits_with(&self.request, options).await.map(DocumentHits::new)
    }

    async fn page(self) -> Result<Page<D>> {
        let mut found = self.index.search_with(&self.request, self.options).await?;
        let mut hits = Vec::with_capacity(found.hits.len());
        let mut work = 0;
        for hit in std::mem::take(&mut found.hits) {
            work += hit.record.iter().map(|(_, value)| 100 + value.as_text().map_or(0, str::len)).sum::<usize>();
            hits.push(Found::new(hit)?);
            if work >= BREATH {
                work = 0;
                let_others_go_first().await;
            }
        }
        Ok(Page { total: found.total, relation: found.relation, hits, skipped: found.skipped, counted: found })
    }
}

/// After how many bytes of documents the conversion of a page makes a pause: a fraction of a millisecond.
const BREATH: usize = 128 << 10;

/// Gives the thread to other futures once.
fn let_others_go_first() -> impl Future<Output = ()> {
    let mut rested = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut rested, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

impl<'i, D: Document> IntoFuture for Search<'i, D> {
    type Output = Result<Page<D>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'i>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.page())
    }
}

/// The answer to a [`Search`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<D> {
    /// How many documents match in all, as far as they were to be [counted](Search::total).
    pub total: u64,
    /// Whether that is all of them: always, unless less was asked for.
    pub relation: TotalRelation,
    /// The hits in order.
    pub hits: Vec<Found<D>>,
    /// How many hits of this page were left out because something else than statehouse has written them into the index.
    pub skipped: u64,
    /// The answer without its hits.
    counted: SearchResponse,
}

impl<D> Page<D> {
    /// The values of a facet, the most frequent first; empty if it was not asked for.
    #[must_use]
    pub fn facet(&self, field: impl Into<Facet>) -> &[FacetValue] {
        self.counted.facet(&field.into().field)
    }

    /// The ranges of a range facet, in the order asked for; empty if it was not.
    #[must_use]
    pub fn ranges(&self, field: impl Into<Facet>) -> &[RangeCount] {
        self.counted.ranges(&field.into().field)
    }

    /// The buckets of a histogram, in order; empty if it was not asked for.
    #[must_use]
    pub fn histogram(&self, field: impl Into<Facet>) -> &[Bucket] {
        self.counted.histogram(&field.into().field)
    }

    /// What the values of a field come to; `None` if it was not asked for.
    #[must_use]
    pub fn stats(&self, field: impl Into<Facet>) -> Option<&Stats> {
        self.counted.stats(&field.into().field)
    }
}
