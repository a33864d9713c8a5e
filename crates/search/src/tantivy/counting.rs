//! What a request has counted beside its hits, segment by segment, in the pass that finds them.

use std::sync::Arc;

use statehouse_core::Result;
use tantivy::DocId;

use super::facet::{self, Texts};
use super::measured::{Measured, Tally as MeasuredTally};
use super::snapshot::{Segment, Snapshot};
use crate::work::Stop;
use crate::{FieldKind, RangeCount, SearchRequest, SearchResponse};

/// Everything that is counted.
pub(super) struct Counting<'a> {
    snapshot: &'a Snapshot,
    counters: Vec<Counter<'a>>,
}

enum Counter<'a> {
    Texts(Texts<'a>),
    Measured(usize, Measured),
}

/// What counts the documents of one segment.
pub(super) enum Tally {
    Texts(facet::Tally),
    Measured(MeasuredTally),
}

impl<'a> Counting<'a> {
    /// Nothing.
    pub(super) const fn none(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, counters: Vec::new() }
    }

    pub(super) fn new(snapshot: &'a Snapshot, request: &'a SearchRequest, stop: &Stop) -> Result<Self> {
        let mut counters = Vec::with_capacity(request.counted());
        let place = |name: &Arc<str>| snapshot.mapping.slot(name).map(|(place, _)| place);
        for facet in &request.facets {
            let place = place(&facet.field)?;
            counters.push(match snapshot.mapping.schema.fields()[place].kind() {
                FieldKind::Keyword { .. } => Counter::Texts(Texts::new(snapshot, facet, stop)?),
                _ => Counter::Measured(place, Measured::values()),
            });
        }
        for facet in &request.ranges {
            counters.push(Counter::Measured(place(&facet.field)?, Measured::ranges(&facet.ranges)));
        }
        let kind = |place: usize| snapshot.mapping.schema.fields()[place].kind();
        for histogram in &request.histograms {
            let place = place(&histogram.field)?;
            counters.push(Counter::Measured(place, Measured::buckets(histogram.interval, kind(place))));
        }
        for name in &request.stats {
            let place = place(name)?;
            counters.push(Counter::Measured(place, Measured::summary(kind(place))));
        }
        Ok(Self { snapshot, counters })
    }

    /// What counts the documents of a segment: to be given back before the next one.
    pub(super) fn open(&mut self, segment: &Segment) -> Result<Vec<Tally>> {
        let open = |counter: &mut Counter<'a>| match counter {
            Counter::Texts(texts) => texts.open(segment).map(Tally::Texts),
            Counter::Measured(place, measured) => {
                Ok(Tally::Measured(MeasuredTally::open(segment.column(*place)?, measured)))
            }
        };
        self.counters.iter_mut().map(open).collect()
    }

    /// Takes back what has counted a segment.
    pub(super) fn add(&mut self, segment: usize, tallies: Vec<Tally>, stop: &Stop) -> Result<()> {
        for (counter, tally) in self.counters.iter_mut().zip(tallies) {
            stop.check()?;
            match (counter, tally) {
                (Counter::Texts(texts), Tally::Texts(tally)) => texts.add(segment, tally)?,
                (Counter::Measured(_, measured), Tally::Measured(tally)) => *measured = tally.finish(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes what was counted into the answer to the request that it was made of.
    pub(super) fn finish(self, request: &SearchRequest, response: &mut SearchResponse) -> Result<()> {
        let Self { snapshot, counters } = self;
        let mut counters = counters.into_iter();
        let kind = |name: &str| snapshot.mapping.schema.require(name).map(crate::Field::kind);
        for (facet, counter) in request.facets.iter().zip(&mut counters) {
            let values = match counter {
                Counter::Texts(texts) => texts.finish()?,
                Counter::Measured(_, measured) => measured.most_frequent(kind(&facet.field)?, facet.size),
            };
            response.facets.push((Arc::clone(&facet.field), values));
        }
        for (facet, counter) in request.ranges.iter().zip(&mut counters) {
            let Counter::Measured(_, measured) = counter else { continue };
            let counts = facet.ranges.iter().cloned().zip(measured.in_ranges());
            let counts = counts.map(|(range, count)| RangeCount::new(range, count)).collect();
            response.ranges.push((Arc::clone(&facet.field), counts));
        }
        for (histogram, counter) in request.histograms.iter().zip(&mut counters) {
            let Counter::Measured(_, measured) = counter else { continue };
            response.histograms.push((Arc::clone(&histogram.field), measured.into_buckets(histogram)?));
        }
        for (name, counter) in request.stats.iter().zip(&mut counters) {
            let Counter::Measured(_, measured) = counter else { continue };
            response.stats.push((Arc::clone(name), measured.into_stats()));
        }
        Ok(())
    }
}

impl Tally {
    /// Counts a block of documents.
    #[inline]
    pub(super) fn add(&mut self, docs: &[DocId]) {
        match self {
            Self::Texts(tally) => tally.add(docs),
            Self::Measured(tally) => tally.add(docs),
        }
    }
}
