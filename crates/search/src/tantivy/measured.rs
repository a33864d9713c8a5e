//! What is counted of numbers, dates and truth values. In a column each is a number that compares like what it stands for,
//! the same in every segment, so that what was counted in one is gone on with in the next.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::{Column, MonotonicallyMappableToU64 as _};

use super::found::number_value;
use super::numbers::{Block, Numbers};
use crate::{Bucket, FacetRange, FacetValue, FieldKind, Histogram, Interval, Stats, Value};

/// What was counted of one field so far.
pub(super) enum Measured {
    /// How many documents have each number.
    Values(HashMap<u64, u64>),
    /// How many documents have a number in each range. Nothing is in one that has no numbers.
    Ranges(Vec<(Option<RangeInclusive<u64>>, u64)>),
    /// How many documents are in each bucket.
    Buckets(Buckets),
    /// What the numbers come to.
    Summary(Summary),
}

impl Measured {
    pub(super) fn values() -> Self {
        Self::Values(HashMap::new())
    }

    pub(super) fn ranges(ranges: &[FacetRange]) -> Self {
        Self::Ranges(ranges.iter().map(|range| (numbers_in(range), 0)).collect())
    }

    pub(super) fn buckets(of: Interval, kind: &FieldKind) -> Self {
        Self::Buckets(Buckets { of, is_double: *kind == FieldKind::F64, counts: HashMap::new() })
    }

    pub(super) fn summary(kind: &FieldKind) -> Self {
        Self::Summary(Summary { is_double: *kind == FieldKind::F64, ..Summary::default() })
    }

    /// The values that most documents have.
    pub(super) fn most_frequent(self, kind: &FieldKind, most: usize) -> Vec<FacetValue> {
        let Self::Values(counts) = self else { return Vec::new() };
        let mut counts: Vec<_> = counts.into_iter().map(|(number, count)| (Reverse(count), number)).collect();
        if counts.len() > most {
            counts.select_nth_unstable(most);
            counts.truncate(most);
        }
        counts.sort_unstable();
        let value = |(Reverse(count), number)| Some(FacetValue::new(number_value(kind, number)?, count));
        counts.into_iter().filter_map(value).collect()
    }

    /// How many documents are in each range.
    pub(super) fn in_ranges(self) -> impl Iterator<Item = u64> {
        let ranges = if let Self::Ranges(ranges) = self { ranges } else { Vec::new() };
        ranges.into_iter().map(|(_, count)| count)
    }

    /// The buckets of a histogram.
    pub(super) fn into_buckets(self, histogram: &Histogram) -> Result<Vec<Bucket>> {
        let Self::Buckets(Buckets { of, counts, .. }) = self else { return Ok(Vec::new()) };
        match of {
            Interval::Number { .. } => {
                let start = |(bits, count)| (of.start_of_number(f64::from_bits(bits)), count);
                histogram.buckets(counts.into_iter().map(start))
            }
            _ => histogram.buckets(counts.into_iter().map(|(bits, count)| (bits.cast_signed(), count))),
        }
    }

    /// What the numbers come to.
    pub(super) fn into_stats(self) -> Stats {
        let Self::Summary(Summary { count, ends, sum, .. }) = self else { return Stats::default() };
        Stats::new(count, ends.map(|(min, _)| min), ends.map(|(_, max)| max), sum)
    }

    /// Counts numbers, each of a document of its own.
    #[inline]
    fn one_each(&mut self, numbers: &[u64]) {
        match self {
            Self::Values(counts) => numbers.iter().for_each(|number| *counts.entry(*number).or_default() += 1),
            Self::Ranges(ranges) => {
                for (range, count) in ranges {
                    let Some(range) = range else { continue };
                    *count += numbers.iter().filter(|number| range.contains(number)).count() as u64;
                }
            }
            Self::Buckets(buckets) => numbers.iter().for_each(|number| buckets.count(buckets.bucket(*number))),
            Self::Summary(summary) => numbers.iter().for_each(|number| summary.add(*number)),
        }
    }

    /// Counts the numbers of one document.
    #[inline]
    fn all_of_one(&mut self, numbers: &mut Vec<u64>) {
        match self {
            Self::Values(_) => {
                numbers.sort_unstable();
                numbers.dedup();
                self.one_each(numbers);
            }
            Self::Ranges(ranges) => {
                for (range, count) in ranges {
                    let has = range.as_ref().is_some_and(|range| numbers.iter().any(|number| range.contains(number)));
                    *count += u64::from(has);
                }
            }
            Self::Buckets(buckets) => {
                numbers.iter_mut().for_each(|number| *number = buckets.bucket(*number));
                numbers.sort_unstable();
                numbers.dedup();
                numbers.iter().for_each(|bucket| buckets.count(*bucket));
            }
            // The server has the values of a document in order, which is seen in the last digits of a sum.
            Self::Summary(_) => {
                numbers.sort_unstable();
                self.one_each(numbers);
            }
        }
    }
}

/// The buckets of a histogram.
pub(super) struct Buckets {
    of: Interval,
    is_double: bool,
    /// By the bits of the bucket's number, or of where it begins if it is one of dates.
    counts: HashMap<u64, u64>,
}

impl Buckets {
    #[inline]
    fn bucket(&self, number: u64) -> u64 {
        match self.of {
            // One number for both zeros.
            Interval::Number { .. } => (self.of.number_of(double(number, self.is_double)) + 0.0).to_bits(),
            _ => self.of.start_of(i64::from_u64(number)).cast_unsigned(),
        }
    }

    /// With more buckets than there may be it is refused in the end.
    #[inline]
    fn count(&mut self, bucket: u64) {
        // The server has no bucket that begins nowhere.
        if matches!(self.of, Interval::Number { .. }) && f64::from_bits(bucket) == f64::NEG_INFINITY {
            return;
        }
        if self.counts.len() <= Histogram::MAX_BUCKETS || self.counts.contains_key(&bucket) {
            *self.counts.entry(bucket).or_default() += 1;
        }
    }
}

/// What numbers come to.
#[derive(Default)]
pub(super) struct Summary {
    is_double: bool,
    count: u64,
    ends: Option<(f64, f64)>,
    sum: f64,
    /// What is lost in the sum, as the server keeps it.
    lost: f64,
}

impl Summary {
    #[inline]
    fn add(&mut self, number: u64) {
        let value = double(number, self.is_double);
        self.count += 1;
        self.ends = Some(self.ends.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
        let corrected = value + self.lost;
        let sum = self.sum + corrected;
        self.lost = if sum.is_finite() { corrected - (sum - self.sum) } else { 0.0 };
        self.sum = sum;
    }
}

/// The double that the server takes a number for.
#[expect(clippy::cast_precision_loss, reason = "as the server does")]
fn double(number: u64, is_double: bool) -> f64 {
    if is_double { f64::from_u64(number) } else { i64::from_u64(number) as f64 }
}

/// The numbers that stand for what is in a range.
fn numbers_in(range: &FacetRange) -> Option<RangeInclusive<u64>> {
    let from = range.from.as_ref().map_or(u64::MIN, number_of);
    let to = range.to.as_ref().map_or(Some(u64::MAX), |to| number_of(to).checked_sub(1))?;
    (from <= to).then_some(from..=to)
}

/// What stands for a value in the column of its field.
fn number_of(value: &Value) -> u64 {
    match value {
        Value::I64(number) | Value::Date(number) => number.to_u64(),
        Value::U64(number) => *number,
        Value::F64(number) => number.to_u64(),
        Value::Bool(truth) => u64::from(*truth),
        // Only fields of the others are measured.
        Value::Text(_) => u64::MIN,
    }
}

/// What counts the documents of one segment.
pub(super) struct Tally {
    /// `None` if no document of the segment has a value.
    numbers: Option<Numbers>,
    measured: Measured,
    /// The numbers of one document.
    of_one: Vec<u64>,
}

impl Tally {
    /// Goes on with what was counted before.
    pub(super) fn open(column: Option<Column<u64>>, measured: &mut Measured) -> Self {
        let measured = std::mem::replace(measured, Measured::Ranges(Vec::new()));
        Self { numbers: column.map(Numbers::new), measured, of_one: Vec::new() }
    }

    pub(super) fn finish(self) -> Measured {
        self.measured
    }

    /// Counts a block of documents.
    #[inline]
    pub(super) fn add(&mut self, docs: &[DocId]) {
        let Self { numbers: Some(numbers), measured, of_one } = self else { return };
        let has_several = numbers.has_several();
        match numbers.read(docs) {
            Block::One(numbers) => measured.one_each(numbers),
            Block::Any(runs) if !has_several => measured.one_each(runs.all()),
            Block::Any(mut runs) => {
                for doc in docs {
                    of_one.clear();
                    of_one.extend(runs.of(*doc));
                    measured.all_of_one(of_one);
                }
            }
        }
    }
}
