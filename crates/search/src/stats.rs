use std::sync::Arc;

/// What the values of a field come to, over the documents that match.
///
/// All of it is in double precision; dates are in milliseconds since the Unix epoch. Each value of a document counts, also one
/// that it has twice.
///
/// The sum is one of doubles, compensated (Kahan): exact as long as it and all values are whole numbers below 2^53. Of others the
/// last digits depend on the order in which documents lie in the index, and so does the average: two backends, or one
/// before and behind a merge, differ by some 1e-15 of the largest sum on the way. Count, least and largest are the same.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Field, Query, Record, Schema, SearchIndexExt, SearchRequest, TantivyConfig};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::f64("price").sortable()).build()?).await?;
/// # let lamp = |id: &str, price: f64| Operation::Upsert(Record::new(id).unwrap().with("price", price));
/// # let lamps = vec![lamp("1", 9.5), lamp("2", 10.5)];
/// # index.bulk_with(lamps, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let found = index.search(&SearchRequest::new(Query::all()).with_stats("price")).await?;
/// let prices = found.stats("price").expect("it was asked for");
/// assert_eq!((prices.count, prices.min, prices.max), (2, Some(9.5), Some(10.5)));
/// assert_eq!((prices.sum, prices.average()), (20.0, Some(10.0)));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// How many values there are.
    pub count: u64,
    /// The least; `None` without any.
    pub min: Option<f64>,
    /// The largest; `None` without any.
    pub max: Option<f64>,
    /// The sum; 0 without any.
    pub sum: f64,
}

impl Stats {
    /// What values come to; backends make it.
    #[must_use]
    pub const fn new(count: u64, min: Option<f64>, max: Option<f64>, sum: f64) -> Self {
        Self { count, min, max, sum }
    }

    /// The sum by the count; `None` without any values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^53 values")]
    pub fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Whether another one is the same but for the order in which values were added up: within 1e-12 of what their sum can
    /// be at most.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^53 values")]
    pub fn is_close_to(&self, other: &Self) -> bool {
        let largest = [self.min, self.max].into_iter().flatten().fold(0.0, |largest: f64, end| largest.max(end.abs()));
        let same = (self.count, self.min, self.max) == (other.count, other.min, other.max);
        same && ((self.sum - other.sum).abs() <= 1e-12 * largest * self.count as f64
            || self.sum.to_bits() == other.sum.to_bits())
    }
}

/// What values were measured to come to, by the names of fields.
pub(crate) fn of_field<'a>(counted: &'a [(Arc<str>, Stats)], field: &str) -> Option<&'a Stats> {
    counted.iter().find(|(name, _)| **name == *field).map(|(_, stats)| stats)
}
