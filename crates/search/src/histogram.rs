//! Histograms: their buckets, and the arithmetic of their borders, which is that of the server.

use std::sync::Arc;

use statehouse_core::{Error, Result};

use crate::Value;

/// A field whose values are to be counted in buckets of one width, or of one stretch of the calendar.
///
/// Answered are the buckets that something is in, in order; with [`with_empty`](Self::with_empty) also those between them. Each is
/// named by where it begins. A document counts once in a bucket, however many of its values are there, and one without a value
/// in none.
///
/// Numbers are put into buckets in double precision: a bucket begins at `floor((value - offset) / interval) * interval +
/// offset`. Dates are put in milliseconds, and their days, weeks, months and years are those of UTC; a week begins on Monday.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Field, Histogram, Query, Record, Schema, SearchIndexExt, SearchRequest, TantivyConfig, Value};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder().field(Field::f64("price").sortable()).field(Field::date("sold").sortable()).build()?;
/// let index = TantivyConfig::memory().open(schema).await?;
/// # let lamp = |id: &str, price: f64, sold: i64| Record::new(id).unwrap().with("price", price).with("sold", Value::Date(sold));
/// # let lamps = [lamp("1", 9.5, 0), lamp("2", 10.0, 1_000), lamp("3", 49.9, 40 * 86_400_000)].map(Operation::Upsert);
/// # index.bulk_with(lamps.to_vec(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let request = SearchRequest::new(Query::all())
///     .with_histogram(Histogram::every("price", 20.0).with_empty())
///     .with_histogram(Histogram::months("sold"));
/// let found = index.search(&request).await?;
/// let prices: Vec<_> = found.histogram("price").iter().map(|bucket| (bucket.key.clone(), bucket.count)).collect();
/// assert_eq!(prices, [(Value::F64(0.0), 2), (Value::F64(20.0), 0), (Value::F64(40.0), 1)]);
/// assert_eq!(found.histogram("sold")[1].key, Value::Date(31 * 86_400_000), "February 1970");
///
/// for (histogram, buckets) in [
///     (Histogram::every_millis("sold", 1_000).with_offset_millis(-1), 3),
///     (Histogram::every_days("sold", 30), 2),
///     (Histogram::weeks("sold"), 2),
///     (Histogram::years("sold"), 1),
///     (Histogram::every("price", 20.0).with_offset(10.0), 3),
/// ] {
///     let found = index.search(&SearchRequest::new(Query::all()).with_histogram(histogram.clone())).await?;
///     assert_eq!(found.histogram(&histogram.field).len(), buckets);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// A sortable field of signed numbers, of numbers of double precision, or of dates. Not of unsigned numbers, which
    /// OpenSearch has nothing to measure by.
    pub field: Arc<str>,
    /// How wide a bucket is.
    pub interval: Interval,
    /// Whether buckets that nothing is in are answered where they are between others.
    pub empty: Empty,
}

/// How wide the buckets of a [`Histogram`] are, and where they begin.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Interval {
    /// So much of a number: finite, and above zero. A bucket begins at the offset.
    Number {
        /// How much.
        width: f64,
        /// Where one of the buckets begins; finite.
        offset: f64,
    },
    /// So many milliseconds, at least one. A bucket begins so many milliseconds behind the Unix epoch.
    Millis {
        /// How many.
        width: i64,
        /// Where one of the buckets begins.
        offset: i64,
    },
    /// From Monday to Sunday.
    Week,
    /// A month of the Gregorian calendar.
    Month,
    /// A year of the Gregorian calendar.
    Year,
}

/// Whether a [`Histogram`] has buckets that nothing is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Empty {
    /// No: each has a document at least.
    #[default]
    Omitted,
    /// Yes, between the first and the last that something is in.
    Kept,
}

/// A day, in milliseconds.
const DAY: i64 = 86_400_000;

impl Histogram {
    /// The most buckets that a histogram may have. How many it has is only known once they are counted; with more it is
    /// refused as `InvalidInput`, and takes a wider interval or a narrower query.
    pub const MAX_BUCKETS: usize = 10_000;

    /// The most histograms that a request may have.
    pub const MAX_HISTOGRAMS: usize = 3;

    const fn new(field: Arc<str>, interval: Interval) -> Self {
        Self { field, interval, empty: Empty::Omitted }
    }

    /// Numbers in buckets of this width; one begins at 0 unless there is an [offset](Self::with_offset).
    #[must_use]
    pub fn every(field: impl Into<Arc<str>>, width: f64) -> Self {
        Self::new(field.into(), Interval::Number { width, offset: 0.0 })
    }

    /// Dates in buckets of so many milliseconds; one begins at the Unix epoch.
    #[must_use]
    pub fn every_millis(field: impl Into<Arc<str>>, width: i64) -> Self {
        Self::new(field.into(), Interval::Millis { width, offset: 0 })
    }

    /// Dates by days of UTC, or by so many of them since the Unix epoch.
    #[must_use]
    pub fn every_days(field: impl Into<Arc<str>>, days: u16) -> Self {
        Self::every_millis(field, i64::from(days) * DAY)
    }

    /// Dates by weeks of UTC, which begin on Monday.
    #[must_use]
    pub fn weeks(field: impl Into<Arc<str>>) -> Self {
        Self::new(field.into(), Interval::Week)
    }

    /// Dates by months of UTC.
    #[must_use]
    pub fn months(field: impl Into<Arc<str>>) -> Self {
        Self::new(field.into(), Interval::Month)
    }

    /// Dates by years of UTC.
    #[must_use]
    pub fn years(field: impl Into<Arc<str>>) -> Self {
        Self::new(field.into(), Interval::Year)
    }

    /// Moves where buckets of numbers begin.
    #[must_use]
    pub const fn with_offset(mut self, by: f64) -> Self {
        if let Interval::Number { width, .. } = self.interval {
            self.interval = Interval::Number { width, offset: by };
        }
        self
    }

    /// Moves where buckets of a fixed number of milliseconds begin.
    #[must_use]
    pub const fn with_offset_millis(mut self, by: i64) -> Self {
        if let Interval::Millis { width, .. } = self.interval {
            self.interval = Interval::Millis { width, offset: by };
        }
        self
    }

    /// With the buckets between others that nothing is in.
    #[must_use]
    pub const fn with_empty(mut self) -> Self {
        self.empty = Empty::Kept;
        self
    }

    /// What is wrong with how wide its buckets are.
    pub(crate) fn misfit(&self) -> Option<&'static str> {
        match self.interval {
            Interval::Number { width, offset } if !(width > 0.0 && width.is_finite() && offset.is_finite()) => {
                Some("the interval of a histogram must be finite and above 0, and its offset finite")
            }
            Interval::Millis { width, offset }
                if !(1..=MOST_MILLIS).contains(&width) || offset.unsigned_abs() >= width.unsigned_abs() =>
            {
                Some("the interval of a histogram must be 1 ms to 1000 years, and its offset less than that")
            }
            _ => None,
        }
    }

    /// The buckets of what was counted by where they begin, in any order.
    ///
    /// # Errors
    /// `InvalidInput` for too many.
    #[cfg_attr(
        not(any(test, feature = "opensearch", feature = "tantivy")),
        expect(dead_code, reason = "only backends ask")
    )]
    pub(crate) fn buckets<K: Key>(&self, counted: impl IntoIterator<Item = (K, u64)>) -> Result<Vec<Bucket>> {
        let mut counted: Vec<_> = counted.into_iter().collect();
        counted.sort_by(|(a, _), (b, _)| a.order(b));
        let mut buckets: Vec<(K, u64)> = Vec::with_capacity(counted.len());
        for (key, count) in counted {
            match buckets.last_mut() {
                // Of the two zeros a server makes two buckets.
                Some((last, sum)) if last.is_same(&key) => *sum += count,
                Some((last, _)) if self.empty == Empty::Kept => {
                    let mut between = last.clone();
                    while let Some(next) = between.next(&self.interval, &key) {
                        if buckets.len() > Self::MAX_BUCKETS {
                            return Err(self.too_many());
                        }
                        buckets.push((next.clone(), 0));
                        between = next;
                    }
                    buckets.push((key, count));
                }
                _ => buckets.push((key, count)),
            }
        }
        if buckets.len() > Self::MAX_BUCKETS {
            return Err(self.too_many());
        }
        Ok(buckets.into_iter().map(|(key, count)| Bucket { key: key.value(), count }).collect())
    }

    /// The error for more buckets than there may be.
    pub(crate) fn too_many(&self) -> Error {
        let message =
            "the histogram has over 10000 buckets, which is the limit: widen its interval or narrow the query";
        Error::invalid_input(message).with_key(&self.field)
    }
}

/// A thousand years.
const MOST_MILLIS: i64 = 1_000 * 366 * DAY;

/// A bucket of a [`Histogram`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bucket {
    /// Where it begins: a [`Value::F64`] of numbers, and a [`Value::Date`] of dates.
    pub key: Value,
    /// How many of the matching documents have a value in it.
    pub count: u64,
}

/// Where a bucket begins.
pub(crate) trait Key: Clone {
    fn order(&self, other: &Self) -> std::cmp::Ordering;
    fn is_same(&self, other: &Self) -> bool;
    /// Where the bucket behind begins, if that is before another one.
    fn next(&self, interval: &Interval, before: &Self) -> Option<Self>;
    fn value(self) -> Value;
}

impl Key for f64 {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }

    #[expect(clippy::float_cmp, reason = "two keys are of one bucket if they are equal")]
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn next(&self, interval: &Interval, before: &Self) -> Option<Self> {
        let Interval::Number { width, offset } = *interval else { return None };
        let next = ((self - offset) / width).round() + 1.0;
        // As numbers grow they are further apart than buckets are wide.
        let next = next * width + offset;
        (next > *self && next < *before && *before - next > width / 2.0).then_some(next)
    }

    fn value(self) -> Value {
        Value::F64(self)
    }
}

impl Key for i64 {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.cmp(other)
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn next(&self, interval: &Interval, before: &Self) -> Option<Self> {
        let next = match interval {
            Interval::Number { .. } => None,
            Interval::Millis { width, .. } => self.checked_add(*width),
            Interval::Week => self.checked_add(7 * DAY),
            // The longest ends within the next one, which then begins before it.
            Interval::Month => self.checked_add(31 * DAY).map(|within| interval.start_of(within)),
            Interval::Year => self.checked_add(366 * DAY).map(|within| interval.start_of(within)),
        };
        next.filter(|next| next > self && next < before)
    }

    fn value(self) -> Value {
        Value::Date(self)
    }
}

impl Interval {
    /// In which bucket a number is: the number of its bucket, in the server's arithmetic.
    #[cfg_attr(not(feature = "tantivy"), expect(dead_code, reason = "the server does it itself"))]
    pub(crate) fn number_of(self, value: f64) -> f64 {
        let Self::Number { width, offset } = self else { return value };
        ((value - offset) / width).floor()
    }

    /// Where the bucket of a number begins.
    #[cfg_attr(not(feature = "tantivy"), expect(dead_code, reason = "the server does it itself"))]
    pub(crate) fn start_of_number(self, number: f64) -> f64 {
        let Self::Number { width, offset } = self else { return number };
        number * width + offset
    }

    /// Where the bucket of a date begins. At the ends of what a date can be it wraps around, as the server does.
    pub(crate) fn start_of(self, millis: i64) -> i64 {
        match self {
            Self::Number { .. } => millis,
            Self::Millis { width, offset } => floor(millis.wrapping_sub(offset), width).wrapping_add(offset),
            // The epoch was a Thursday.
            Self::Week => floor(millis.wrapping_add(3 * DAY), 7 * DAY).wrapping_sub(3 * DAY),
            Self::Month => {
                let (year, month) = month_of(millis.div_euclid(DAY));
                first_of(year, month).wrapping_mul(DAY)
            }
            Self::Year => first_of(month_of(millis.div_euclid(DAY)).0, 1).wrapping_mul(DAY),
        }
    }
}

/// The largest multiple that is not above.
const fn floor(number: i64, width: i64) -> i64 {
    number.wrapping_sub(number.rem_euclid(width))
}

/// The year and the month of a day since the epoch, by the algorithm of Howard Hinnant's `civil_from_days`: the years are
/// counted from March on, so that the day that some have stands at their end.
const fn month_of(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let year = year + era * 400;
    if month < 10 { (year, month + 3) } else { (year + 1, month - 9) }
}

/// The first day of a month, since the epoch: `days_from_civil` of the same.
const fn first_of(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_years_begin_where_the_calendar_says() {
        for (day, month) in [(0, (1970, 1)), (-1, (1969, 12)), (59, (1970, 3)), (11_016, (2000, 2)), (-719_468, (0, 3))]
        {
            assert_eq!(month_of(day), month, "{day}");
        }
        let (mut year, mut month) = month_of(-1_000_000);
        for day in -1_000_000..1_000_000 {
            let found = month_of(day);
            if found != (year, month) {
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                assert_eq!((found, first_of(year, month)), ((year, month), day), "one behind the other");
            }
        }
        assert_eq!(Interval::Week.start_of(0), -3 * DAY);
        assert_eq!(Interval::Week.start_of(4 * DAY - 1), -3 * DAY);
        assert_eq!(Interval::Week.start_of(4 * DAY), 4 * DAY);
        assert_eq!(Interval::Millis { width: 10, offset: 3 }.start_of(-8), -17);
    }

    #[test]
    fn empty_buckets_stand_between_others_and_never_without_end() {
        let keys = |histogram: &Histogram, counted: &[(f64, u64)]| {
            let buckets = histogram.buckets(counted.iter().copied())?;
            Ok::<_, Error>(buckets.into_iter().map(|bucket| (bucket.key, bucket.count)).collect::<Vec<_>>())
        };
        let tenths = Histogram::every("x", 0.1).with_empty();
        let found = keys(&tenths, &[(0.0, 1), (-0.0, 2), (0.1 * 3.0, 1)]).unwrap();
        let numbers = [0.0, 1.0 * 0.1, 2.0 * 0.1, 3.0 * 0.1].map(Value::F64);
        assert_eq!(found, numbers.into_iter().zip([3, 0, 0, 1]).collect::<Vec<_>>());
        assert!(keys(&tenths, &[(0.0, 1), (1e300, 1)]).is_err());
        assert_eq!(keys(&tenths, &[(1e300, 1), (1.1e300, 1)]).unwrap().len(), 2, "no number is so close to another");
        let years = Histogram::years("x").with_empty();
        let year = |year| first_of(year, 1) * DAY;
        assert_eq!(years.buckets([(year(1999), 1), (year(2003), 1)]).unwrap().len(), 5);
        assert!(years.buckets([(i64::MIN / 2, 1), (i64::MAX / 2, 1)]).is_err());
    }
}
