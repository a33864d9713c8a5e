//! How many of the matching documents have each text of a field.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::StrColumn;

use super::error::map_io;
use super::numbers::{Block, Numbers};
use super::ordinals::Ordinals;
use super::snapshot::{Segment, Snapshot};
use crate::work::Stop;
use crate::{Facet, FacetValue, Value};

/// A facet of texts, counted segment by segment.
pub(super) struct Texts<'a> {
    snapshot: &'a Snapshot,
    facet: &'a Facet,
    counts: Counts,
}

/// What was counted of a facet.
enum Counts {
    /// In the only segment.
    Alone(Vec<FacetValue>),
    /// In all segments so far, by the numbers that the values have over all of them.
    Together(Arc<Ordinals>, Vec<u64>),
}

impl<'a> Texts<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, facet: &'a Facet, stop: &Stop) -> Result<Self> {
        let counts = match snapshot.segments.len() {
            0 | 1 => Counts::Alone(Vec::new()),
            _ => {
                let ordinals = snapshot.ordinals(snapshot.mapping.slot(&facet.field)?.0, stop)?;
                let counts = vec![0; ordinals.count()];
                Counts::Together(ordinals, counts)
            }
        };
        Ok(Self { snapshot, facet, counts })
    }

    /// What counts the documents of a segment.
    pub(super) fn open(&self, segment: &Segment) -> Result<Tally> {
        Tally::open(self.snapshot, segment, self.facet)
    }

    /// Adds what was counted in a segment.
    pub(super) fn add(&mut self, segment: usize, tally: Tally) -> Result<()> {
        match &mut self.counts {
            Counts::Alone(values) => *values = tally.values(self.facet.size)?,
            Counts::Together(ordinals, counts) => tally.add_to(counts, ordinals.of(segment)),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<FacetValue>> {
        match self.counts {
            Counts::Alone(values) => Ok(values),
            Counts::Together(ordinals, counts) => together(self.snapshot, self.facet, &ordinals, &counts),
        }
    }
}

/// The values that were counted most often in all segments together.
fn together(snapshot: &Snapshot, facet: &Facet, ordinals: &Ordinals, counts: &[u64]) -> Result<Vec<FacetValue>> {
    let (place, _) = snapshot.mapping.slot(&facet.field)?;
    let mut homes = vec![Vec::new(); snapshot.segments.len()];
    for (number, count) in most_frequent(counts, facet.size) {
        if let Some((segment, ordinal)) = ordinals.home(number) {
            homes[segment].push((ordinal, count));
        }
    }
    let mut values = Vec::new();
    for (segment, found) in snapshot.segments.iter().zip(homes).filter(|(_, found)| !found.is_empty()) {
        if let Some(column) = segment.texts(place)? {
            values.extend(named(&column, found)?);
        }
    }
    Ok(in_order(values))
}

/// What ordinals and their counts stand for.
fn named(column: &StrColumn, mut found: Vec<(u64, u64)>) -> Result<Vec<(String, u64)>> {
    found.sort_unstable();
    let (ordinals, counts): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let (mut values, mut counts) = (Vec::with_capacity(ordinals.len()), counts.into_iter());
    let name = |value: &[u8]| {
        let value = String::from_utf8_lossy(value).into_owned();
        values.push((value, counts.next().unwrap_or_default()));
    };
    column.dictionary().sorted_ords_to_term_cb(&ordinals, name).map_err(map_io)?;
    Ok(values)
}

/// The most frequent first, then by their bytes.
fn in_order(mut values: Vec<(String, u64)>) -> Vec<FacetValue> {
    values.sort_by(|(a, often), (b, other)| other.cmp(often).then_with(|| a.cmp(b)));
    values.into_iter().map(|(value, count)| FacetValue::new(Value::Text(value), count)).collect()
}

/// The counts of one segment, by the ordinals of its values.
pub(super) struct Tally {
    /// `None` if no document of the segment has a value.
    values: Option<(StrColumn, Numbers)>,
    counts: Vec<u32>,
    /// The values of one document, each once.
    distinct: Vec<u64>,
}

impl Tally {
    fn open(snapshot: &Snapshot, segment: &Segment, facet: &Facet) -> Result<Self> {
        let column = segment.texts(snapshot.mapping.slot(&facet.field)?.0)?;
        let counts = vec![0; column.as_ref().map_or(0, |column| column.num_terms())];
        let values = column.map(|column| {
            let numbers = Numbers::new(column.ords().clone());
            (column, numbers)
        });
        Ok(Self { values, counts, distinct: Vec::new() })
    }

    /// Counts the values of a block of documents.
    #[inline]
    pub(super) fn add(&mut self, docs: &[DocId]) {
        let Self { values: Some((_, numbers)), counts, distinct } = self else { return };
        let has_several = numbers.has_several();
        match numbers.read(docs) {
            Block::One(ordinals) => count(counts, ordinals),
            Block::Any(runs) if !has_several => count(counts, runs.all()),
            Block::Any(mut runs) => {
                for doc in docs {
                    distinct.clear();
                    distinct.extend(runs.of(*doc));
                    distinct.sort_unstable();
                    distinct.dedup();
                    count(counts, distinct);
                }
            }
        }
    }

    /// The values that were counted most often.
    fn values(self, most: usize) -> Result<Vec<FacetValue>> {
        let Some((column, _)) = self.values else { return Ok(Vec::new()) };
        named(&column, most_frequent(&self.counts, most)).map(in_order)
    }

    /// Adds what was counted, given the numbers that the values have over all segments.
    fn add_to(self, counts: &mut [u64], numbers: &[u32]) {
        for (count, number) in self.counts.into_iter().zip(numbers).filter(|(count, _)| *count > 0) {
            counts[*number as usize] += u64::from(count);
        }
    }
}

#[inline]
fn count(counts: &mut [u32], ordinals: &[u64]) {
    for ordinal in ordinals {
        if let Some(count) = usize::try_from(*ordinal).ok().and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
}

/// The ordinals that were counted most often, in no order, and how often; of those counted as often the first, since ordinals
/// order like their values.
fn most_frequent<C: Copy + Ord + Default + Into<u64>>(counts: &[C], most: usize) -> Vec<(u64, u64)> {
    let mut heap = BinaryHeap::with_capacity(most.min(counts.len()) + 1);
    let mut least = C::default();
    for (ordinal, &count) in (0_u64..).zip(counts) {
        if count > least {
            heap.push((Reverse(count), ordinal));
            if heap.len() > most {
                heap.pop();
            }
            if heap.len() == most
                && let Some((Reverse(count), _)) = heap.peek()
            {
                least = *count;
            }
        }
    }
    heap.into_iter().map(|(Reverse(count), ordinal)| (ordinal, count.into())).collect()
}
