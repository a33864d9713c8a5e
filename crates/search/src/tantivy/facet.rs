//! How many of the matching documents have each value of a field.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::StrColumn;

use super::collect::each;
use super::error::{map_error, map_io};
use super::mapping::slot_name;
use super::scoring::Scoring;
use super::snapshot::{Segment, Snapshot};
use super::weight::Weight;
use crate::facet::Facets;
use crate::work::Stop;
use crate::{Facet, FacetValue};

/// Each value with how many documents have it.
type Counts = HashMap<Vec<u8>, u64>;

pub(super) fn count(snapshot: &Snapshot, weight: &Weight, facets: &[Facet], stop: &Stop) -> Result<Facets> {
    if facets.is_empty() {
        return Ok(Facets::default());
    }
    let mut counts = vec![Counts::new(); facets.len()];
    for (at, segment) in snapshot.segments.iter().enumerate() {
        let tallies = facets.iter().map(|facet| Tally::open(snapshot, segment, facet));
        let mut tallies = tallies.collect::<Result<Vec<_>>>()?;
        each(segment, &mut weight.scorer(snapshot, at, Scoring::Off, stop)?, Scoring::Off, stop, |doc, _| {
            tallies.iter_mut().for_each(|tally| tally.add(doc));
        })?;
        for (tally, counts) in tallies.into_iter().zip(&mut counts) {
            stop.check()?;
            tally.add_to(counts)?;
        }
    }
    Ok(facets.iter().zip(counts).map(|(facet, counts)| (Arc::clone(&facet.field), first(counts, facet.size))).collect())
}

fn first(counts: Counts, size: usize) -> Vec<FacetValue> {
    let mut counts: Vec<_> = counts.into_iter().map(|(value, count)| (Reverse(count), value)).collect();
    if size < counts.len() {
        counts.select_nth_unstable(size);
        counts.truncate(size);
    }
    counts.sort_unstable();
    let value = |(Reverse(count), value): (_, Vec<u8>)| FacetValue::new(String::from_utf8_lossy(&value).into(), count);
    counts.into_iter().map(value).collect()
}

/// The counts of one segment, by the ordinals of its values.
struct Tally {
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

    fn add(&mut self, doc: DocId) {
        let Some(column) = &self.column else { return };
        self.distinct.clear();
        self.distinct.extend(column.term_ords(doc));
        self.distinct.sort_unstable();
        self.distinct.dedup();
        for &ordinal in &self.distinct {
            if let Some(count) = usize::try_from(ordinal).ok().and_then(|at| self.counts.get_mut(at)) {
                *count += 1;
            }
        }
    }

    fn add_to(self, counts: &mut Counts) -> Result<()> {
        let Some(column) = self.column else { return Ok(()) };
        let (ordinals, found): (Vec<_>, Vec<_>) = (0..).zip(self.counts).filter(|(_, count)| *count > 0).unzip();
        let mut found = found.into_iter();
        let add = |value: &[u8]| *counts.entry(value.to_vec()).or_default() += found.next().unwrap_or_default();
        column.dictionary().sorted_ords_to_term_cb(&ordinals, add).map_err(map_io)?;
        Ok(())
    }
}
