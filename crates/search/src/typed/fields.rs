use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Decay, ExactFirstQuery, ExistsQuery, Facet, FieldBoost, FieldValue, FieldValueFactor, FuzzyQuery, Highlight,
    Histogram, MatchPrefixQuery, MatchQuery, PhrasePrefixQuery, PhraseQuery, PrefixQuery, Query, RangeFacet,
    RangeQuery, Sort, Suggest, TermQuery, TermsQuery, WildcardQuery,
};

/// A text field of a [`Document`](crate::Document): the queries that it takes.
#[derive(Clone, Debug)]
pub struct TextField(Arc<str>);

/// A keyword field of a [`Document`](crate::Document): the queries and orders that it takes.
#[derive(Clone, Debug)]
pub struct KeywordField(Arc<str>);

/// A field of numbers, truth values or dates of a [`Document`](crate::Document).
#[derive(Clone, Debug)]
pub struct ValueField<V> {
    name: Arc<str>,
    value: PhantomData<fn(V)>,
}

impl TextField {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What the user typed, as [`Query::matches`].
    pub fn matches(&self, text: impl Into<String>) -> MatchQuery {
        Query::matches(Arc::clone(&self.0), text)
    }

    /// What the user typed, misspelt or unfinished, exact words first, as [`Query::exact_first`].
    pub fn exact_first(&self, text: impl Into<String>) -> ExactFirstQuery {
        Query::exact_first(Arc::clone(&self.0), text)
    }

    /// What may have been meant by the words of a text, for [`Index::suggest`](crate::Index::suggest).
    pub fn suggest(&self, text: impl Into<String>) -> Suggest {
        Suggest::new(Arc::clone(&self.0), text)
    }

    /// The same with the last word as a prefix, as [`Query::matches_prefix`].
    pub fn matches_prefix(&self, text: impl Into<String>) -> MatchPrefixQuery {
        Query::matches_prefix(Arc::clone(&self.0), text)
    }

    /// Every word as a prefix, in any order, as [`Query::starts_with_words`].
    pub fn starts_with_words(&self, text: impl Into<String>) -> MatchPrefixQuery {
        Query::starts_with_words(Arc::clone(&self.0), text)
    }

    /// The words one behind the other, as [`Query::phrase`].
    pub fn phrase(&self, text: impl Into<String>) -> PhraseQuery {
        Query::phrase(Arc::clone(&self.0), text)
    }

    /// The same with the last word only begun, as [`Query::phrase_prefix`].
    pub fn phrase_prefix(&self, text: impl Into<String>) -> PhrasePrefixQuery {
        Query::phrase_prefix(Arc::clone(&self.0), text)
    }

    /// Terms that fit a pattern, as [`Query::wildcard`].
    pub fn wildcard(&self, pattern: impl Into<String>) -> WildcardQuery {
        Query::wildcard(Arc::clone(&self.0), pattern)
    }

    /// One term that may be misspelt, as [`Query::fuzzy`].
    pub fn fuzzy(&self, term: impl Into<String>) -> FuzzyQuery {
        Query::fuzzy(Arc::clone(&self.0), term)
    }

    /// Documents with a term in this field.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.0))
    }

    /// This field with a weight, for [`Query::multi_match`].
    #[must_use]
    pub fn boosted(&self, boost: f32) -> FieldBoost {
        FieldBoost::new(Arc::clone(&self.0), boost)
    }

    /// The text sub-field of this name.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0).into())
    }

    /// The keyword sub-field of this name.
    #[must_use]
    pub fn sub_keyword(&self, name: &str) -> KeywordField {
        KeywordField(format!("{}.{name}", self.0).into())
    }
}

impl From<TextField> for Highlight {
    fn from(field: TextField) -> Self {
        Self::field(field.0)
    }
}

impl From<TextField> for FieldBoost {
    fn from(field: TextField) -> Self {
        Self::new(field.0, 1.0)
    }
}

impl From<KeywordField> for Facet {
    fn from(field: KeywordField) -> Self {
        Self::field(field.0)
    }
}

impl<V: FieldValue> From<ValueField<V>> for Facet {
    fn from(field: ValueField<V>) -> Self {
        Self::field(field.name)
    }
}

/// A field that hits can be [collapsed](crate::Search::collapse) by: of keywords or numbers, and not of truth values or dates.
///
/// ```compile_fail
/// use statehouse_search::{CollapseField, ValueField};
///
/// fn by(field: impl CollapseField) {}
/// by(ValueField::<bool>::new("leaf"));
/// ```
pub trait CollapseField: sealed::Sealed {
    /// What it is called.
    fn into_name(self) -> Arc<str>;
}

mod sealed {
    /// Keeps others from saying that a field is what it is not.
    #[expect(unnameable_types, reason = "that is what it is for")]
    pub trait Sealed {}
}

impl sealed::Sealed for KeywordField {}

impl CollapseField for KeywordField {
    fn into_name(self) -> Arc<str> {
        self.0
    }
}

macro_rules! collapse_field {
    ($($number:ty),*) => {$(
        impl sealed::Sealed for ValueField<$number> {}

        impl CollapseField for ValueField<$number> {
            fn into_name(self) -> Arc<str> {
                self.name
            }
        }
    )*};
}

collapse_field!(i64, i32, u64, u32, f64);

impl KeywordField {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Documents with this value.
    pub fn is(&self, value: impl Into<String>) -> TermQuery {
        Query::term(Arc::clone(&self.0), value.into())
    }

    /// Documents with any of these values.
    pub fn any_of<V: Into<String>>(&self, values: impl IntoIterator<Item = V>) -> TermsQuery {
        Query::terms(Arc::clone(&self.0), values.into_iter().map(Into::into))
    }

    /// Documents with a value that begins so.
    pub fn prefix(&self, text: impl Into<String>) -> PrefixQuery {
        Query::prefix(Arc::clone(&self.0), text)
    }

    /// Documents with a value that fits a pattern, as [`Query::wildcard`].
    pub fn wildcard(&self, pattern: impl Into<String>) -> WildcardQuery {
        Query::wildcard(Arc::clone(&self.0), pattern)
    }

    /// Documents with a value.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.0))
    }

    /// Sorts by this field, smallest first.
    #[must_use]
    pub fn ascending(&self) -> Sort {
        Sort::by(Arc::clone(&self.0))
    }

    /// Sorts by this field, largest first.
    #[must_use]
    pub fn descending(&self) -> Sort {
        self.ascending().descending()
    }
}

impl<V: FieldValue> ValueField<V> {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), value: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Documents with this value. Of an unsigned field a literal needs its type: `0_u64`.
    pub fn is(&self, value: impl Into<V>) -> TermQuery {
        Query::term(Arc::clone(&self.name), value.into().to_value())
    }

    /// Documents with a value in this range.
    pub fn within(&self, range: impl RangeBounds<V>) -> RangeQuery {
        let query = Query::range(Arc::clone(&self.name));
        let query = match range.start_bound() {
            Bound::Included(least) => query.at_least(least.to_value()),
            Bound::Excluded(below) => query.above(below.to_value()),
            Bound::Unbounded => query,
        };
        match range.end_bound() {
            Bound::Included(most) => query.at_most(most.to_value()),
            Bound::Excluded(above) => query.below(above.to_value()),
            Bound::Unbounded => query,
        }
    }

    /// Documents with a value.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.name))
    }

    /// Sorts by this field, smallest first.
    #[must_use]
    pub fn ascending(&self) -> Sort {
        Sort::by(Arc::clone(&self.name))
    }

    /// Sorts by this field, largest first.
    #[must_use]
    pub fn descending(&self) -> Sort {
        self.ascending().descending()
    }

    /// A histogram of this field, with buckets of this width: of numbers, as [`Histogram::every`].
    #[must_use]
    pub fn every(&self, width: f64) -> Histogram {
        Histogram::every(Arc::clone(&self.name), width)
    }

    /// A histogram of this field by days of UTC, or by so many of them: of dates, as [`Histogram::every_days`].
    #[must_use]
    pub fn every_days(&self, days: u16) -> Histogram {
        Histogram::every_days(Arc::clone(&self.name), days)
    }

    /// A histogram of this field by weeks of UTC: of dates, as [`Histogram::weeks`].
    #[must_use]
    pub fn weeks(&self) -> Histogram {
        Histogram::weeks(Arc::clone(&self.name))
    }

    /// A histogram of this field by months of UTC: of dates, as [`Histogram::months`].
    #[must_use]
    pub fn months(&self) -> Histogram {
        Histogram::months(Arc::clone(&self.name))
    }

    /// A histogram of this field by years of UTC: of dates, as [`Histogram::years`].
    #[must_use]
    pub fn years(&self) -> Histogram {
        Histogram::years(Arc::clone(&self.name))
    }

    /// Its value as a part of scores: of signed numbers and those of double precision, as [`FieldValueFactor`].
    #[must_use]
    pub fn factor(&self) -> FieldValueFactor {
        FieldValueFactor::new(Arc::clone(&self.name))
    }

    /// How near its value is to another one as a part of scores: of those numbers and of dates, as [`Decay`].
    pub fn decay(&self, origin: impl Into<V>, scale: f64) -> Decay {
        Decay::new(Arc::clone(&self.name), origin.into().to_value(), scale)
    }

    /// How recent it is as a part of scores: of dates, as [`Decay::recency`].
    pub fn recency(&self, now: impl Into<V>, half_life: Duration) -> Decay {
        Decay::recency(Arc::clone(&self.name), now.into().to_value(), half_life)
    }

    /// Ranges in which to count, as [`RangeFacet`]: none yet.
    pub fn ranges(&self) -> ValueRanges<V> {
        ValueRanges { ranges: RangeFacet::field(Arc::clone(&self.name)), value: PhantomData }
    }
}

/// Ranges of a field of numbers or dates of a [`Document`](crate::Document): a [`RangeFacet`] of its type.
///
#[cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#[cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
/// use statehouse_search::{Document, Index, Millis, Query, Value};
/// # use statehouse_search::TantivyConfig;
///
/// #[derive(Document)]
/// struct Lamp {
///     #[document(id)]
///     number: String,
///     #[document(keyword, sort)]
///     material: String,
///     #[document(sort)]
///     price: f64,
///     #[document(sort)]
///     since: Millis,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let index = TantivyConfig::memory().open(Lamp::schema()?).await?;
/// # let lamps: Index<Lamp> = Index::new(std::sync::Arc::new(index))?;
/// # let lamp = |number: &str, material: &str, price, since| {
/// #     Lamp { number: number.into(), material: material.into(), price, since: Millis(since) }
/// # };
/// # lamps.upsert_all([lamp("1", "brass", 49.0, 0), lamp("2", "steel", 18.5, 86_400_000)]).wait_until_visible().await?;
/// let page = lamps
///     .query(Query::all())
///     .post_filter(Lamp::material().is("brass"))
///     .facet(Lamp::material())
///     .ranges(Lamp::price().ranges().below(20.0).named("cheap").between(20.0, 40.0).at_least(40.0))
///     .histogram(Lamp::price().every(10.0).with_offset(5.0))
///     .histogram(Lamp::since().every_days(1))
///     .stats(Lamp::price())
///     .await?;
/// assert_eq!((page.total, page.facet(Lamp::material()).len()), (1, 2));
/// assert_eq!(page.ranges(Lamp::price()).iter().map(|range| range.count).collect::<Vec<_>>(), [1, 0, 1]);
/// assert_eq!(page.histogram(Lamp::price())[0].key, Value::F64(15.0));
/// assert_eq!(page.histogram(Lamp::since())[1].key, Value::Date(86_400_000));
/// assert_eq!(page.stats(Lamp::price()).map(|prices| prices.sum), Some(67.5));
///
/// let since = lamps.query(Query::all()).top(0).histogram(Lamp::since().weeks()).await?;
/// assert_eq!(since.histogram(Lamp::since())[0].key, Value::Date(-3 * 86_400_000), "a Monday");
/// for by in [Lamp::since().months(), Lamp::since().years()] {
///     let since = lamps.query(Query::all()).top(0).histogram(by).await?;
///     assert_eq!(since.histogram(Lamp::since()).len(), 1, "of 1970");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is counted until a search is given it"]
pub struct ValueRanges<V> {
    ranges: RangeFacet,
    value: PhantomData<fn(V)>,
}

impl<V: FieldValue> ValueRanges<V> {
    /// One more range: all below a value.
    pub fn below(self, to: impl Into<V>) -> Self {
        self.with(|ranges| ranges.below(to.into().to_value()))
    }

    /// One more range: from a value on, and below another.
    pub fn between(self, from: impl Into<V>, to: impl Into<V>) -> Self {
        self.with(|ranges| ranges.between(from.into().to_value(), to.into().to_value()))
    }

    /// One more range: from a value on.
    pub fn at_least(self, from: impl Into<V>) -> Self {
        self.with(|ranges| ranges.at_least(from.into().to_value()))
    }

    /// Names the last range.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.with(|ranges| ranges.named(name))
    }

    fn with(mut self, more: impl FnOnce(RangeFacet) -> RangeFacet) -> Self {
        self.ranges = more(self.ranges);
        self
    }
}

impl<V> From<ValueRanges<V>> for RangeFacet {
    fn from(typed: ValueRanges<V>) -> Self {
        typed.ranges
    }
}
