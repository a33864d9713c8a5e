//! What matches in one segment: a plan with its numbers as scorers.

use std::ops::RangeInclusive;

use statehouse_core::Result;
use tantivy::columnar::Column;
use tantivy::postings::SegmentPostings;
use tantivy::query::{EmptyScorer, Scorer};
use tantivy::schema::IndexRecordOption;

use super::error::map_io;
use super::expand::{for_range, prefix_bounds};
use super::node::Set;
use super::numbers::Numbers;
use super::scorer::{
    Besides, Between, Bits, Conjunction, Constant, Exclusion, Maximum, Need, Optional, Phrase, PhrasePlace, Pruned,
    Ranked, Union, Valued, Within, score_of_all,
};
use super::scoring::Scoring;
use super::shape::Terms;
use super::snapshot::{Segment, Snapshot};
use super::weight::{PhrasePart, TermWeight, Weight};
use crate::work::Stop;

/// What matches in the segment at a place.
pub(super) fn scorer(
    weight: &Weight,
    (snapshot, at): (&Snapshot, usize),
    scoring: Scoring,
    stop: &Stop,
) -> Result<Box<dyn Scorer>> {
    stop.check()?;
    let run = Run { snapshot, segment: &snapshot.segments[at], at, stop };
    run.scorer(weight, scoring)
}

/// What may be among the best of the segment at a place. None if it is faster to score all that matches.
pub(super) fn pruned(terms: &Terms<'_>, (snapshot, at): (&Snapshot, usize), stop: &Stop) -> Result<Option<Pruned>> {
    let run = Run { snapshot, segment: &snapshot.segments[at], at, stop };
    let mut found = Vec::with_capacity(terms.terms.len());
    for term in &terms.terms {
        if let Some(info) = &term.infos[at] {
            let lengths = term.lengths(snapshot, run.segment);
            found.push((term, run.segment.impacts(term.place, info, |doc| lengths.byte(doc), stop)?));
        }
    }
    let is_absent = terms.need == Need::All && found.len() < terms.terms.len();
    let mut bounded = Vec::with_capacity(found.len());
    for (term, impacts) in found.into_iter().filter(|_| !is_absent) {
        // All of them were asked for, so that the next time each is known.
        let Some(impacts) = impacts else { return Ok(None) };
        bounded.extend(run.ranked(term, Scoring::On)?.map(|reader| (reader, impacts)));
    }
    let open =
        |weights: &[&Weight]| weights.iter().map(|weight| run.scorer(weight, Scoring::Off)).collect::<Result<Vec<_>>>();
    let besides = Besides { filter: open(&terms.filter)?, must_not: open(&terms.must_not)? };
    Ok(Some(Pruned::new(bounded, terms.need, besides)))
}

/// How many times as many documents the others must have for a range to be searched for.
const FAR_LESS: u32 = 8;

/// One segment of a run.
struct Run<'a> {
    snapshot: &'a Snapshot,
    segment: &'a Segment,
    at: usize,
    stop: &'a Stop,
}

impl Run<'_> {
    fn scorer(&self, weight: &Weight, scoring: Scoring) -> Result<Box<dyn Scorer>> {
        let documents = self.segment.reader.max_doc();
        Ok(match weight {
            Weight::Nothing => Box::new(EmptyScorer),
            Weight::Everything(score) => score_of_all(documents, *score),
            Weight::Term(term) => match self.ranked(term, scoring)? {
                Some(ranked) => Box::new(ranked),
                None => Box::new(EmptyScorer),
            },
            Weight::Phrase { parts, slop } => self.phrase(parts, *slop)?,
            Weight::Set(set, score) => self.set(set, *score)?,
            Weight::Constant(inner, score) => Box::new(Constant::new(self.scorer(inner, Scoring::Off)?, *score)),
            Weight::Bool { must, should, filter, must_not, minimum } => {
                self.bool([must, should, filter, must_not], *minimum, scoring)?
            }
            Weight::Function { inner, .. } if scoring == Scoring::Off => self.scorer(inner, scoring)?,
            Weight::Function { inner, place, function } => {
                let numbers = self.segment.column(*place)?.map(Numbers::new);
                Box::new(Valued::new(self.scorer(inner, function.scoring())?, numbers, *function))
            }
            Weight::DisMax { weights, .. } if scoring == Scoring::Off => self.union(weights, 1, scoring)?,
            Weight::DisMax { weights, tie_breaker } => {
                Box::new(Maximum::new(self.all(weights, scoring)?, *tie_breaker))
            }
        })
    }

    fn all(&self, weights: &[Weight], scoring: Scoring) -> Result<Vec<Box<dyn Scorer>>> {
        weights.iter().map(|weight| self.scorer(weight, scoring)).collect()
    }

    fn ranked(&self, term: &TermWeight, scoring: Scoring) -> Result<Option<Ranked>> {
        let (Some(info), Some(inverted)) = (&term.infos[self.at], self.segment.terms(term.place)) else {
            return Ok(None);
        };
        let option = if scoring == Scoring::On { IndexRecordOption::WithFreqs } else { IndexRecordOption::Basic };
        let postings = inverted.read_block_postings_from_terminfo(info, option).map_err(map_io)?;
        Ok(Some(Ranked::new(postings, term.lengths(self.snapshot, self.segment), self.stop.clone())))
    }

    fn phrase(&self, parts: &[PhrasePart], slop: u32) -> Result<Box<dyn Scorer>> {
        let mut places = Vec::with_capacity(parts.len());
        for PhrasePart { offset, terms } in parts {
            let found = terms.iter().filter_map(|term| self.occurrences(term).transpose());
            let found = found.collect::<Result<Vec<_>>>()?;
            if found.is_empty() {
                return Ok(Box::new(EmptyScorer));
            }
            let terms = terms.iter().map(|term| &*term.text).collect();
            places.push(PhrasePlace { offset: *offset, terms, found });
        }
        let Some(first) = parts.first().and_then(|part| part.terms.first()) else { return Ok(Box::new(EmptyScorer)) };
        let lengths = first.lengths(self.snapshot, self.segment);
        Ok(Box::new(Phrase::new(places, slop, lengths, self.stop.clone())))
    }

    /// Where a term stands in the segment, if it does.
    fn occurrences(&self, term: &TermWeight) -> Result<Option<SegmentPostings>> {
        let (Some(info), Some(inverted)) = (&term.infos[self.at], self.segment.terms(term.place)) else {
            return Ok(None);
        };
        let option = IndexRecordOption::WithFreqsAndPositions;
        inverted.read_postings_from_terminfo(info, option).map(Some).map_err(map_io)
    }

    fn set(&self, set: &Set, score: f32) -> Result<Box<dyn Scorer>> {
        if let Set::Between { place, range } = set {
            return Ok(match self.segment.column(*place)? {
                Some(column) => self.between(column, range, score),
                None => Box::new(EmptyScorer),
            });
        }
        let mut bits = Bits::new(self.segment.reader.max_doc());
        match set {
            Set::Between { .. } => {}
            Set::Terms { slot, terms } => {
                let inverted = self.segment.inverted(*slot)?;
                let infos = terms.iter().filter_map(|term| inverted.terms().get(term).transpose());
                let infos = infos.collect::<Result<Vec<_>, _>>().map_err(map_io)?;
                if let [info] = infos.as_slice() {
                    let postings = inverted.read_postings_from_terminfo(info, IndexRecordOption::Basic);
                    return Ok(Box::new(Constant::new(postings.map_err(map_io)?, score)));
                }
                for info in &infos {
                    self.stop.check()?;
                    bits.add_postings(&inverted, info)?;
                }
            }
            Set::Prefix { slot, text } => {
                let inverted = self.segment.inverted(*slot)?;
                let (lower, upper) = prefix_bounds(text);
                for_range(&inverted, &lower, &upper, self.stop, |_, info| bits.add_postings(&inverted, info))?;
            }
            Set::Wildcard { slot, pattern } => {
                let inverted = self.segment.inverted(*slot)?;
                let (lower, upper) = prefix_bounds(pattern.prefix());
                for_range(&inverted, &lower, &upper, self.stop, |term, info| {
                    let fits = std::str::from_utf8(term).is_ok_and(|term| pattern.fits(term));
                    if fits { bits.add_postings(&inverted, info) } else { Ok(()) }
                })?;
            }
            Set::Range { slot, lower, upper } => {
                let inverted = self.segment.inverted(*slot)?;
                for_range(&inverted, lower, upper, self.stop, |_, info| bits.add_postings(&inverted, info))?;
            }
            Set::Exists { place } => self.exists(*place, &mut bits)?,
        }
        Ok(Box::new(Constant::new(bits.into_documents(), score)))
    }

    fn between(&self, column: Column<u64>, range: &RangeInclusive<u64>, score: f32) -> Box<dyn Scorer> {
        Box::new(Constant::new(Between::new(column, range.clone(), self.stop.clone()), score))
    }

    fn exists(&self, place: usize, bits: &mut Bits) -> Result<()> {
        let (segment, mapping) = (self.segment, &self.snapshot.mapping);
        let field = &mapping.schema.fields()[place];
        let documents = 0..segment.reader.max_doc();
        if let Some(norms) = segment.norms(place) {
            documents.filter(|doc| norms.fieldnorm_id(*doc) > 0).for_each(|doc| bits.add(doc));
        } else if field.is_sortable()
            && let Some(column) = segment.column(place)?
        {
            documents.filter(|doc| column.index.has_value(*doc)).for_each(|doc| bits.add(doc));
        }
        let inverted = segment.inverted(mapping.present)?;
        match inverted.terms().get(field.name()).map_err(map_io)? {
            Some(info) => bits.add_postings(&inverted, &info),
            None => Ok(()),
        }
    }

    fn bool(
        &self,
        [must, should, filter, must_not]: [&[Weight]; 4],
        minimum: usize,
        scoring: Scoring,
    ) -> Result<Box<dyn Scorer>> {
        if minimum > should.len() {
            return Ok(Box::new(EmptyScorer));
        }
        let optional = match (should.is_empty(), scoring, minimum) {
            (true, ..) | (_, Scoring::Off, 0) => None,
            _ => Some(self.union(should, minimum.max(1), scoring)?),
        };
        let mut scored = self.all(must, scoring)?;
        let needs_optional = minimum > 0 || (must.is_empty() && filter.is_empty() && optional.is_some());
        let mut extra = None;
        if needs_optional {
            scored.extend(optional);
        } else {
            extra = optional;
        }
        let required = self.required(scored, filter)?;
        let matching: Box<dyn Scorer> = match extra {
            Some(extra) => Box::new(Optional::new(required, extra)),
            None => required,
        };
        let excluded = self.all(must_not, Scoring::Off)?;
        Ok(if excluded.is_empty() { matching } else { Box::new(Exclusion::new(matching, excluded)) })
    }

    /// What has all of these. A range is looked up for the documents that have the others; it is searched for where there
    /// are no others, or where far less has it.
    fn required(&self, mut scored: Vec<Box<dyn Scorer>>, filter: &[Weight]) -> Result<Box<dyn Scorer>> {
        let others = filter.iter().filter(|weight| weight.range().is_none());
        let others = others.map(|weight| self.scorer(weight, Scoring::Off));
        let mut unscored = others.collect::<Result<Vec<_>>>()?;
        let lead = scored.iter().chain(&unscored).map(|scorer| scorer.size_hint()).min();
        let mut beside = Vec::new();
        for (place, range) in filter.iter().filter_map(Weight::range) {
            let Some(column) = self.segment.column(place)? else { return Ok(Box::new(EmptyScorer)) };
            if lead.is_some_and(|lead| lead / FAR_LESS <= Between::estimate(&column, range)) {
                beside.push((column, range.clone()));
            } else {
                unscored.push(self.between(column, range, 0.0));
            }
        }
        let required: Box<dyn Scorer> = match (scored.len(), unscored.len()) {
            // Only exclusions: everything else, without score.
            (0, 0) => score_of_all(self.segment.reader.max_doc(), 0.0),
            (1, 0) => scored.remove(0),
            _ => Box::new(Conjunction::new(scored, unscored)),
        };
        let within = |required, range| -> Box<dyn Scorer> { Box::new(Within::new(required, range, self.stop.clone())) };
        Ok(beside.into_iter().fold(required, within))
    }

    fn union(&self, weights: &[Weight], minimum: usize, scoring: Scoring) -> Result<Box<dyn Scorer>> {
        let terms = weights.iter().map(|weight| match weight {
            Weight::Term(term) => Some(term),
            _ => None,
        });
        if let Some(terms) = terms.collect::<Option<Vec<_>>>() {
            let ranked = terms.into_iter().map(|term| self.ranked(term, scoring)).filter_map(Result::transpose);
            return Ok(Union::boxed(ranked.collect::<Result<_>>()?, minimum, scoring));
        }
        Ok(Union::boxed(self.all(weights, scoring)?, minimum, scoring))
    }
}
