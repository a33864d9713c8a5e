//! What is counted of numbers, dates and truth values. In a column each is a number that compares like what it stands for,
//! the same in every segment, so that what was counted in one is gone on with in the next.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use tantivy::DocId;
use tantivy::columnar::{Column, MonotonicallyMappableToU64 as _};

use super::found::number_value;
use super::numbers::{Block, Numbers};
use crate::{FacetRange, FacetValue, FieldKind, Value};

/// What was counted of one field so far.
pub(super) enum Measured {
    /// How many documents have each number.
    Values(HashMap<u64, u64>),
    /// How many documents have a number in each range. Nothing is in one that has no numbers.
    Ranges(Vec<(Option<RangeInclusive<u64>>, u64)>),
}

impl Measured {
    pub(super) fn values() -> Self {
        Self::Values(HashMap::new())
    }

    pub(super) fn ranges(ranges: &[FacetRange]) -> Self {
        Self::Ranges(ranges.iter().map(|range| (numbers_in(range), 0)).collect())
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
        }
    }
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
