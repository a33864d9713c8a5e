use std::ops::Range;
use std::sync::Arc;

#[cfg(any(feature = "opensearch", feature = "tantivy"))]
use statehouse_core::{Error, ErrorKind};

use crate::cursor::Cursor;
use crate::facet::{ByField, of_field};
use crate::{
    Bucket, DocumentId, Facet, FacetValue, Histogram, Query, RangeCount, RangeFacet, Record, Stats, Total,
    TotalRelation, Value, stats,
};

/// What to search for and what to return of it.
///
/// ```
/// use statehouse_search::{Facet, Highlight, Projection, Query, SearchRequest, Sort};
///
/// let request = SearchRequest::new(Query::matches("title", "cholera"))
///     .with_filter(Query::term("chapter", "1"))
///     .with_sort(Sort::by("chapter").descending().missing_last())
///     .with_sort(Sort::by_score())
///     .with_from(20)
///     .with_size(20)
///     .with_projection(Projection::Fields(vec!["title".into()]))
///     .with_highlight(Highlight::field("title").with_fragment_size(100).with_max_fragments(2))
///     .with_facet(Facet::field("chapter").with_size(5));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchRequest {
    /// What to look for.
    pub query: Query,
    /// What hits must also match, without score.
    pub filters: Vec<Query>,
    /// What hits must match besides, without score, and what is counted for facets need not.
    pub post_filters: Vec<Query>,
    /// The order. Empty means by score, best first. Ties are always broken by id, smallest first.
    pub sort: Vec<Sort>,
    /// How many hits to leave out at the start.
    pub from: u64,
    /// Behind which hit to begin; none for the first. Instead of `from`, and without its limit. A backend that cannot begin there
    /// must refuse it: a page from the start in its place is read for ever.
    pub after: Option<Cursor>,
    /// How many hits to return: 10 unless set, 0 for the total alone.
    pub size: u64,
    /// How far to count what matches: all of it unless set.
    pub total: Total,
    /// What to return of each document.
    pub projection: Projection,
    /// In which fields to mark what matched.
    pub highlight: Vec<Highlight>,
    /// Whose values to count.
    pub facets: Vec<Facet>,
    /// In which ranges of a field to count.
    pub ranges: Vec<RangeFacet>,
    /// Of which fields to make histograms.
    pub histograms: Vec<Histogram>,
    /// Fields of signed numbers, numbers of double precision or dates whose values to sum up.
    pub stats: Vec<Arc<str>>,
    /// Of the hits with the same value of this field only the first is returned.
    pub collapse: Option<Arc<str>>,
}

impl SearchRequest {
    /// How far `from + size` may reach, as OpenSearch's `index.max_result_window`.
    pub const MAX_WINDOW: u64 = 10_000;

    /// The first ten hits of a query, best first.
    #[must_use]
    pub fn new(query: impl Into<Query>) -> Self {
        Self {
            query: query.into(),
            filters: Vec::new(),
            post_filters: Vec::new(),
            sort: Vec::new(),
            from: 0,
            after: None,
            size: 10,
            total: Total::Exact,
            projection: Projection::All,
            highlight: Vec::new(),
            facets: Vec::new(),
            ranges: Vec::new(),
            histograms: Vec::new(),
            stats: Vec::new(),
            collapse: None,
        }
    }

    /// Adds a query that hits must also match, without score.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Into<Query>) -> Self {
        self.filters.push(filter.into());
        self
    }

    /// Adds a sort key behind those already given.
    #[must_use]
    pub fn with_sort(mut self, sort: Sort) -> Self {
        self.sort.push(sort);
        self
    }

    /// Leaves out so many hits at the start.
    #[must_use]
    pub const fn with_from(mut self, from: u64) -> Self {
        self.from = from;
        self
    }

    /// Begins behind a hit of the same request, however far that is: none of those before it is kept for it.
    ///
    /// What was written since counts: the page has what comes behind that place now. The example of [`Cursor`] shows it.
    #[must_use]
    pub fn with_after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Returns at most so many hits.
    #[must_use]
    pub const fn with_size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Sets how far to count what matches.
    ///
    /// Each page may ask for another: the first tells the user how many there are, and those behind its cursors need not count
    /// again.
    #[must_use]
    pub const fn with_total(mut self, total: Total) -> Self {
        self.total = total;
        self
    }

    /// Sets what to return of each document.
    #[must_use]
    pub fn with_projection(mut self, projection: Projection) -> Self {
        self.projection = projection;
        self
    }

    /// Marks what matched in one more field.
    #[must_use]
    pub fn with_highlight(mut self, highlight: Highlight) -> Self {
        self.highlight.push(highlight);
        self
    }

    /// Adds a query that hits must also match, without score, and what is counted for facets need not: for what a user chose
    /// of a facet whose other values are to stay.
    ///
    #[cfg_attr(feature = "tantivy", doc = "```")]
    #[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
    /// use statehouse_search::{Facet, Field, Query, Record, Schema, SearchIndexExt, SearchRequest, TantivyConfig};
    /// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), statehouse_core::Error> {
    /// let index = TantivyConfig::memory().open(Schema::builder().field(Field::keyword("color").sortable()).build()?).await?;
    /// # let car = |id: &str, color: &str| Operation::Upsert(Record::new(id).unwrap().with("color", color));
    /// # let cars = vec![car("1", "red"), car("2", "blue"), car("3", "blue")];
    /// # index.bulk_with(cars, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
    /// let all = SearchRequest::new(Query::all()).with_facet(Facet::field("color"));
    /// let red = index.search(&all.with_post_filter(Query::term("color", "red"))).await?;
    /// assert_eq!((red.total, red.ids()), (1, vec!["1"]));
    /// assert_eq!(red.facet("color").len(), 2, "the blue ones are still there to be chosen");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_post_filter(mut self, filter: impl Into<Query>) -> Self {
        self.post_filters.push(filter.into());
        self
    }

    /// Counts the values of one more field.
    #[must_use]
    pub fn with_facet(mut self, facet: Facet) -> Self {
        self.facets.push(facet);
        self
    }

    /// Counts in ranges of one more field.
    #[must_use]
    pub fn with_ranges(mut self, ranges: RangeFacet) -> Self {
        self.ranges.push(ranges);
        self
    }

    /// Makes one more histogram.
    #[must_use]
    pub fn with_histogram(mut self, histogram: Histogram) -> Self {
        self.histograms.push(histogram);
        self
    }

    /// Sums up the values of one more field: see [`Stats`].
    #[must_use]
    pub fn with_stats(mut self, field: impl Into<Arc<str>>) -> Self {
        self.stats.push(field.into());
        self
    }

    /// Returns, of the hits with the same value of a field, only the one that comes first: one visit of each patient, one edition of
    /// each book. Those without a value are one group, too. The total is that of all that match, and so is what is counted;
    /// `from` and `size` count groups.
    ///
    /// The field is a sortable one of keywords or numbers, and no hit may have several values of it: that is `Unsupported`, as is
    /// a page [behind a cursor](Self::with_after): OpenSearch has those of collapsed hits from 3.3 on, and only in the order of that
    /// field.
    ///
    #[cfg_attr(feature = "tantivy", doc = "```")]
    #[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
    /// use statehouse_search::{Field, Query, Record, Schema, SearchIndexExt, SearchRequest, Sort, TantivyConfig};
    /// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), statehouse_core::Error> {
    /// let schema = Schema::builder().field(Field::keyword("book").sortable()).field(Field::i64("year").sortable());
    /// let index = TantivyConfig::memory().open(schema.build()?).await?;
    /// # let edition = |id: &str, book: &str, year: i64| Record::new(id).unwrap().with("book", book).with("year", year);
    /// # let editions = [edition("1", "Emma", 1815), edition("2", "Emma", 1996), edition("3", "Persuasion", 1817)];
    /// # let written = editions.map(Operation::Upsert).to_vec();
    /// # index.bulk_with(written, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
    /// let newest = SearchRequest::new(Query::all()).with_sort(Sort::by("year").descending()).with_collapse("book");
    /// let found = index.search(&newest).await?;
    /// assert_eq!((found.total, found.ids()), (3, vec!["2", "3"]));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_collapse(mut self, field: impl Into<Arc<str>>) -> Self {
        self.collapse = Some(field.into());
        self
    }

    /// The field by which hits are collapsed, where any are returned.
    #[cfg_attr(not(any(feature = "opensearch", feature = "tantivy")), expect(dead_code, reason = "only backends ask"))]
    pub(crate) fn collapsed(&self) -> Option<&Arc<str>> {
        self.collapse.as_ref().filter(|_| self.size > 0)
    }

    /// What it looks for: the query, and all that hits must match besides.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &Query> {
        self.filters.iter().chain(&self.post_filters).chain([&self.query])
    }

    /// How many things it counts beside its hits.
    pub(crate) fn counted(&self) -> usize {
        self.facets.len() + self.ranges.len() + self.histograms.len() + self.stats.len()
    }
}

/// The error where hits are collapsed by a field of which one has several values.
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub(crate) fn several_values() -> Error {
    let message = "a hit has several values of the field that hits are collapsed by, and belongs to no group";
    Error::new(ErrorKind::Unsupported, message)
}

impl<Q: Into<Query>> From<Q> for SearchRequest {
    fn from(query: Q) -> Self {
        Self::new(query)
    }
}

/// One sort key.
///
/// A document with several values is placed by its smallest when ascending and by its largest when descending.
///
/// ```
/// use statehouse_search::{Query, SearchRequest, Sort};
///
/// let request = SearchRequest::new(Query::all())
///     .with_sort(Sort::by("chapter").ascending().missing_first())
///     .with_sort(Sort::by("edition").descending().missing_last())
///     .with_sort(Sort::by_score());
/// assert_eq!(request.sort.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sort {
    /// What to compare.
    pub key: SortKey,
    /// Which end comes first.
    pub order: Order,
    /// Where documents without a value go, whatever the order.
    pub missing: Missing,
}

/// What a sort compares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SortKey {
    /// The score.
    Score,
    /// A sortable field; keywords as UTF-8 bytes.
    Field(Arc<str>),
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// The smallest.
    #[default]
    Ascending,
    /// The largest.
    Descending,
}

/// Where documents without a value go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// Before the others.
    First,
    /// Behind the others.
    #[default]
    Last,
}

impl Sort {
    /// By a field, smallest first, documents without a value last.
    #[must_use]
    pub fn by(field: impl Into<Arc<str>>) -> Self {
        Self { key: SortKey::Field(field.into()), order: Order::Ascending, missing: Missing::Last }
    }

    /// By score, best first.
    #[must_use]
    pub const fn by_score() -> Self {
        Self { key: SortKey::Score, order: Order::Descending, missing: Missing::Last }
    }

    /// Largest first.
    #[must_use]
    pub const fn descending(mut self) -> Self {
        self.order = Order::Descending;
        self
    }

    /// Smallest first.
    #[must_use]
    pub const fn ascending(mut self) -> Self {
        self.order = Order::Ascending;
        self
    }

    /// Documents without a value first.
    #[must_use]
    pub const fn missing_first(mut self) -> Self {
        self.missing = Missing::First;
        self
    }

    /// Documents without a value last.
    #[must_use]
    pub const fn missing_last(mut self) -> Self {
        self.missing = Missing::Last;
        self
    }
}

/// What to return of each document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Projection {
    /// Every stored field.
    #[default]
    All,
    /// The id and the version alone.
    Id,
    /// These stored fields.
    Fields(Vec<Arc<str>>),
}

impl Projection {
    /// The part of a document that it asks for.
    #[must_use]
    pub fn apply(&self, record: Record) -> Record {
        match self {
            Self::All => record,
            Self::Id => record.retain(|_| false),
            Self::Fields(names) => record.retain(|field| names.iter().any(|name| **name == *field)),
        }
    }
}

/// In which field to mark what matched.
///
/// Done here, on the stored text, for every backend alike. Marks the terms of the query that name this field, also
/// those found by prefix or similarity; those of a phrase only where it stands whole, unless it has slop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Highlight {
    /// A stored text field, or the sub-field of one.
    pub field: Arc<str>,
    /// About how long a fragment may be, in bytes; `None` returns each value whole.
    pub fragment_size: Option<usize>,
    /// The most fragments to return, best first.
    pub max_fragments: usize,
}

impl Highlight {
    /// Whole values, at most five.
    #[must_use]
    pub fn field(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into(), fragment_size: None, max_fragments: 5 }
    }

    /// Cuts values into fragments of about so many bytes.
    #[must_use]
    pub const fn with_fragment_size(mut self, bytes: usize) -> Self {
        self.fragment_size = Some(bytes);
        self
    }

    /// Returns at most so many fragments.
    #[must_use]
    pub const fn with_max_fragments(mut self, count: usize) -> Self {
        self.max_fragments = count;
        self
    }
}

/// A piece of a document's text with what matched in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragment {
    /// The text, as stored.
    pub text: String,
    /// What matched: ranges of bytes in `text`, in order and apart.
    pub marks: Vec<Range<usize>>,
}

impl Fragment {
    /// The fragment as HTML: the text escaped, the marks between these tags.
    #[must_use]
    pub fn to_html(&self, before: &str, after: &str) -> String {
        let mut html = String::with_capacity(self.text.len() + self.marks.len() * (before.len() + after.len()));
        let mut at = 0;
        for mark in &self.marks {
            escape(&self.text[at..mark.start], &mut html);
            html.push_str(before);
            escape(&self.text[mark.clone()], &mut html);
            html.push_str(after);
            at = mark.end;
        }
        escape(&self.text[at..], &mut html);
        html
    }
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            c => into.push(c),
        }
    }
}

/// The answer to a [`SearchRequest`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchResponse {
    /// How many documents match in all, as far as the request has them [counted](SearchRequest::with_total).
    pub total: u64,
    /// Whether that is all of them: always, unless the request asks for less.
    pub relation: TotalRelation,
    /// The hits from `from` on, or behind `after`, in order.
    pub hits: Vec<Hit>,
    /// How many hits of this page were left out because something else than statehouse has written them into the index.
    /// They count in the total and in facets. If a page behind a cursor has none but those, what comes behind it is read on until
    /// there are others, and all of them count here.
    pub skipped: u64,
    /// For each facet of the request: the name of its field, and its values.
    pub facets: Vec<(Arc<str>, Vec<FacetValue>)>,
    /// For each range facet of the request: the name of its field, and its ranges.
    pub ranges: Vec<(Arc<str>, Vec<RangeCount>)>,
    /// For each histogram of the request: the name of its field, and its buckets.
    pub histograms: Vec<(Arc<str>, Vec<Bucket>)>,
    /// For each field of the request whose values were to be summed up: its name, and what they come to.
    pub stats: Vec<(Arc<str>, Stats)>,
}

impl SearchResponse {
    /// An answer with a total that is exact; backends make it.
    #[must_use]
    pub const fn new(total: u64, hits: Vec<Hit>) -> Self {
        Self {
            total,
            relation: TotalRelation::Exact,
            hits,
            skipped: 0,
            facets: ByField::new(),
            ranges: ByField::new(),
            histograms: ByField::new(),
            stats: ByField::new(),
        }
    }

    /// The values of a facet, the most frequent first; empty if it was not asked for.
    #[must_use]
    pub fn facet(&self, field: &str) -> &[FacetValue] {
        of_field(&self.facets, field)
    }

    /// The ranges of a range facet, in the order asked for; empty if it was not.
    #[must_use]
    pub fn ranges(&self, field: &str) -> &[RangeCount] {
        of_field(&self.ranges, field)
    }

    /// The buckets of a histogram, in order; empty if it was not asked for.
    #[must_use]
    pub fn histogram(&self, field: &str) -> &[Bucket] {
        of_field(&self.histograms, field)
    }

    /// What the values of a field come to; `None` if it was not asked for.
    #[must_use]
    pub fn stats(&self, field: &str) -> Option<&Stats> {
        stats::of_field(&self.stats, field)
    }

    /// The ids in order.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.hits.iter().map(|hit| hit.record.id().as_str()).collect()
    }
}

/// One document that matches.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The id, the version, and the stored fields asked for.
    pub record: Record,
    /// The score, unless the order is by fields alone.
    pub score: Option<f32>,
    /// The value that each sort key of the request compared; `None` for a missing one and for the score.
    pub sort: Vec<Option<Value>>,
    /// For each highlighted field in which something matched: its fragments.
    pub highlights: Vec<(Arc<str>, Vec<Fragment>)>,
    /// The request that found it, for its cursor.
    pub(crate) of: u64,
}

impl Hit {
    /// A hit; backends make it.
    #[must_use]
    pub const fn new(record: Record, score: Option<f32>) -> Self {
        Self { record, score, sort: Vec::new(), highlights: Vec::new(), of: 0 }
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> &DocumentId {
        self.record.id()
    }

    /// Its place in the order of the request that found it, for a page behind it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.of, self.score, self.sort.clone(), self.id().clone())
    }

    /// The fragments of a highlighted field; empty if nothing matched there.
    #[must_use]
    pub fn highlight(&self, field: &str) -> &[Fragment] {
        self.highlights.iter().find(|(name, _)| &**name == field).map_or(&[], |(_, fragments)| fragments)
    }
}
