//! How many of the matching documents have each value of a field.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::{Cardinality, StrColumn};

use super::error::{map_error, map_io};
use super::mapping::slot_name;
use super::snapshot::{Segment, Snapshot};
use crate::facet::Facets;
use crate::work::Stop;
use crate::{Facet, FacetValue};

/// Each value with how many documents have it.
type Counts = HashMap<Vec<u8>, u64>;

/// The facets of a request, counted segment by segment.
pub(super) struct Counting<'a> {
    facets: &'a [Facet],
    counts: Vec<Counts>,
    /// Whether the values of one segment are all: then most of them need not be looked up.
    alone: bool,
}

impl<'a> Counting<'a> {
    pub(super) fn new(snapshot: &Snapshot, facets: &'a [Facet]) -> Self {
        Self { facets, counts: vec![Counts::new(); facets.len()], alone: snapshot.segments.len() == 1 }
    }

    /// What counts the documents of a segment: one for each facet.
    pub(super) fn open(&self, snapshot: &Snapshot, segment: &Segment) -> Result<Vec<Tally>> {
        self.facets.iter().map(|facet| Tally::open(snapshot, segment, facet)).collect()
    }

    /// Adds what was counted in a segment.
    pub(super) fn add(&mut self, tallies: Vec<Tally>, stop: &Stop) -> Result<()> {
        for ((tally, counts), facet) in tallies.into_iter().zip(&mut self.counts).zip(self.facets) {
            stop.check()?;
            tally.add_to(counts, self.alone.then_some(facet.size))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Facets {
        let facets = self.facets.iter().zip(self.counts);
        facets.map(|(facet, counts)| (Arc::clone(&facet.field), values(counts, facet.size))).collect()
    }
}

fn values(counts: Counts, size: usize) -> Vec<FacetValue> {
    let counts = counts.into_iter().map(|(value, count)| (Reverse(count), value)).collect();
    let value = |(Reverse(count), value): (_, Vec<u8>)| FacetValue::new(String::from_utf8_lossy(&value).into(), count);
    first(counts, size).into_iter().map(value).collect()
}

/// The least so many, in order.
fn first<T: Ord>(mut all: Vec<T>, size: usize) -> Vec<T> {
    if size < all.len() {
        all.select_nth_unstable(size);
        all.truncate(size);
    }
    all.sort_unstable();
    all
}

/// The counts of one segment, by the ordinals of its values.
pub(super) struct Tally {
    /// `None` if no document of the segment has a value.
    column: Option<StrColumn>,
    counts: Vec<u64>,
    /// The values of one document, each once.
    distinct: Vec<u64>,
}

impl Tally {
    fn open(snapshot: &Snapshot, segment: &Segment, facet: &Facet) -> Result<Self> {
        let (place, _) = snapshot.mapping.slot(&facet.field)?;
        let column = segment.reader.fast_fields().str(&slot_name(place)).map_err(map_error)?;
        let values = column.as_ref().map_or(0, |column| column.num_terms());
        Ok(Self { column, counts: vec![0; values], distinct: Vec::new() })
    }

    #[inline]
    pub(super) fn add(&mut self, doc: DocId) {
        let Some(column) = &self.column else { return };
        if column.ords().get_cardinality() != Cardinality::Multivalued {
            if let Some(ordinal) = column.ords().first(doc) {
                count(&mut self.counts, ordinal);
            }
            return;
        }
        self.distinct.clear();
        self.distinct.extend(column.term_ords(doc));
        self.distinct.sort_unstable();
        self.distinct.dedup();
        self.distinct.iter().for_each(|ordinal| count(&mut self.counts, *ordinal));
    }

    /// Adds what was counted; of it only the first `most`, if that is all there is. Ordinals order like their values.
    fn add_to(self, counts: &mut Counts, most: Option<usize>) -> Result<()> {
        let Some(column) = self.column else { return Ok(()) };
        let mut found: Vec<(u64, u64)> = (0..).zip(self.counts).filter(|(_, count)| *count > 0).collect();
        if let Some(most) = most {
            let ranked = found.into_iter().map(|(ordinal, count)| (Reverse(count), ordinal)).collect();
            found = first(ranked, most).into_iter().map(|(Reverse(count), ordinal)| (ordinal, count)).collect();
            found.sort_unstable();
        }
        let (ordinals, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let mut found = found.into_iter();
        let add = |value: &[u8]| *counts.entry(value.to_vec()).or_default() += found.next().unwrap_or_default();
        column.dictionary().sorted_ords_to_term_cb(&ordinals, add).map_err(map_io)?;
        Ok(())
    }
}

#[inline]
fn count(counts: &mut [u64], ordinal: u64) {
    if let Some(count) = usize::try_from(ordinal).ok().and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}
