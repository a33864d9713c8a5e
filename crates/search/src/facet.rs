use std::cmp::Ordering;
use std::sync::Arc;

use crate::Value;

/// A field whose values are to be counted among the documents that match.
///
/// Answered are the values that most documents have, the most frequent first and equally frequent ones in order: texts by
/// their UTF-8 bytes, numbers and dates by size, false before true. Counts are exact: a document counts once for each value
/// that it has, and one without a value for none. [Filters](crate::SearchRequest::with_filter) of the request hold here too; its page and
/// its [post-filters](crate::SearchRequest::with_post_filter) do not.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Facet, Field, Query, Record, Schema, SearchIndexExt, SearchRequest, TantivyConfig, Value};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder().field(Field::keyword("color").sortable()).field(Field::u64("year").sortable()).build()?;
/// let index = TantivyConfig::memory().open(schema).await?;
/// # let car = |id: &str, color: &str, year: u64| Record::new(id).unwrap().with("color", color).with("year", year);
/// # let cars = [car("1", "red", 1999), car("2", "blue", 1999), car("3", "red", 2024)].map(Operation::Upsert);
/// # index.bulk_with(cars.to_vec(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let request = SearchRequest::new(Query::all()).with_facet(Facet::field("color").with_size(1)).with_facet(Facet::field("year"));
/// let found = index.search(&request).await?;
/// assert_eq!((found.facet("color")[0].value.as_text(), found.facet("color")[0].count), (Some("red"), 2));
/// assert_eq!((&found.facet("year")[0].value, found.facet("year")[0].count), (&Value::U64(1999), 2));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facet {
    /// A sortable field: of keywords, numbers, dates or truth values.
    pub field: Arc<str>,
    /// How many values to return at most: 10 unless set.
    pub size: usize,
}

impl Facet {
    /// The most values that one may ask for.
    pub const MAX_SIZE: usize = 1_000;

    /// The ten most frequent values of a field.
    #[must_use]
    pub fn field(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into(), size: 10 }
    }

    /// Returns at most so many values.
    #[must_use]
    pub const fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }
}

/// A value that a [`Facet`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FacetValue {
    /// The value, a text normalized as the field says.
    pub value: Value,
    /// How many of the matching documents have it.
    pub count: u64,
}

impl FacetValue {
    /// A counted value; backends make it.
    #[must_use]
    pub const fn new(value: Value, count: u64) -> Self {
        Self { value, count }
    }
}

/// Ranges of a field of numbers or dates, in each of which documents are to be counted.
///
/// A range begins with its lower bound and ends before its upper one. Ranges may overlap and may leave something out; each is
/// answered, in the order given, also if nothing is in it. A document counts once in a range, however many of its values are
/// there.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Field, Query, RangeFacet, Record, Schema, SearchIndexExt, SearchRequest, TantivyConfig};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::f64("price").sortable()).build()?).await?;
/// # let lamp = |id: &str, price: f64| Operation::Upsert(Record::new(id).unwrap().with("price", price));
/// # let lamps = vec![lamp("1", 9.5), lamp("2", 10.0), lamp("3", 49.9)];
/// # index.bulk_with(lamps, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let prices = RangeFacet::field("price").below(10.0).named("cheap").between(10.0, 50.0).at_least(50.0);
/// let found = index.search(&SearchRequest::new(Query::all()).with_ranges(prices)).await?;
/// let counts: Vec<_> = found.ranges("price").iter().map(|found| found.count).collect();
/// assert_eq!(counts, [1, 2, 0]);
/// assert_eq!(found.ranges("price")[0].range.name.as_deref(), Some("cheap"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeFacet {
    /// A sortable field of numbers or dates.
    pub field: Arc<str>,
    /// At least one.
    pub ranges: Vec<FacetRange>,
}

/// A range of a [`RangeFacet`]: from a bound on to before another one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FacetRange {
    /// What the caller calls it.
    pub name: Option<Arc<str>>,
    /// The least value that is in it; no bound if none.
    pub from: Option<Value>,
    /// The least value that is above it; no bound if none.
    pub to: Option<Value>,
}

impl RangeFacet {
    /// The most ranges that a request may have in all.
    pub const MAX_RANGES: usize = 256;

    /// No range of a field yet.
    #[must_use]
    pub fn field(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into(), ranges: Vec::new() }
    }

    /// One more range: all below a value.
    #[must_use]
    pub fn below(self, to: impl Into<Value>) -> Self {
        self.with(None, Some(to.into()))
    }

    /// One more range: from a value on, and below another.
    #[must_use]
    pub fn between(self, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        self.with(Some(from.into()), Some(to.into()))
    }

    /// One more range: from a value on.
    #[must_use]
    pub fn at_least(self, from: impl Into<Value>) -> Self {
        self.with(Some(from.into()), None)
    }

    /// Names the last range.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        if let Some(last) = self.ranges.last_mut() {
            last.name = Some(name.into());
        }
        self
    }

    fn with(mut self, from: Option<Value>, to: Option<Value>) -> Self {
        self.ranges.push(FacetRange { name: None, from, to });
        self
    }
}

impl FacetRange {
    /// Whether it ends before it begins.
    pub(crate) fn is_reversed(&self) -> bool {
        let order = match (&self.from, &self.to) {
            (Some(Value::F64(from)), Some(Value::F64(to))) => from.total_cmp(to),
            (Some(Value::I64(from)), Some(Value::I64(to))) => from.cmp(to),
            (Some(Value::Date(from)), Some(Value::Date(to))) => from.cmp(to),
            (Some(Value::U64(from)), Some(Value::U64(to))) => from.cmp(to),
            _ => Ordering::Less,
        };
        order.is_gt()
    }
}

/// How many documents are in a range of a [`RangeFacet`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeCount {
    /// The range, as it was given.
    pub range: FacetRange,
    /// How many of the matching documents have a value in it.
    pub count: u64,
}

impl RangeCount {
    /// A counted range; backends make it.
    #[must_use]
    pub const fn new(range: FacetRange, count: u64) -> Self {
        Self { range, count }
    }
}

/// What was counted of one kind, by the names of fields.
pub(crate) type ByField<T> = Vec<(Arc<str>, T)>;

/// What was counted of a field; empty if it was not asked for.
pub(crate) fn of_field<'a, T>(counted: &'a ByField<Vec<T>>, field: &str) -> &'a [T] {
    counted.iter().find(|(name, _)| **name == *field).map_or(&[], |(_, values)| values)
}
