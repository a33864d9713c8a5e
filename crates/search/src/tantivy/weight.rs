//! A plan with its numbers: what each leaf weighs over the whole index, ready to be run on one segment after another.
//!
//! Terms are found first, which is quick. Ranking them reads postings where documents were deleted, for only the living
//! ones count; nothing is ranked that is only counted.

use std::sync::Arc;

use statehouse_core::Result;
use tantivy::postings::TermInfo;
use tantivy::query::{EmptyScorer, Scorer};
use tantivy::schema::IndexRecordOption;

use super::error::map_io;
use super::expand::{for_range, prefix_bounds};
use super::plan::{BoolNode, Node, Set, TermNode, has_norms};
use super::scorer::{
    Between, Bits, Conjunction, Constant, Exclusion, Lengths, Maximum, Optional, Phrase, Ranked, Union, score_of_all,
};
use super::scoring::Scoring;
use super::snapshot::{Segment, Snapshot, Statistics};
use crate::work::Stop;

#[derive(Debug)]
pub(super) enum Weight {
    Nothing,
    Everything(f32),
    Term(TermWeight),
    Phrase { terms: Vec<(u32, TermWeight)>, slop: u32 },
    Set(Set, f32),
    Constant(Box<Self>, f32),
    Bool { must: Vec<Self>, should: Vec<Self>, filter: Vec<Self>, must_not: Vec<Self>, minimum: usize },
    DisMax { weights: Vec<Self>, tie_breaker: f32 },
}

/// A term, where it is in each segment, and what it weighs.
#[derive(Debug)]
pub(super) struct TermWeight {
    place: usize,
    text: String,
    infos: Vec<Option<TermInfo>>,
    /// The document frequency to rank it with, if not its own.
    frequency: Option<u64>,
    /// The boost until it is ranked.
    weight: f32,
    saturation: Arc<[f32; 256]>,
}

/// Finds the terms of a plan. The boost comes from the nodes above.
pub(super) fn find(snapshot: &Snapshot, node: Node, boost: f32) -> Result<Weight> {
    let all = |nodes: Vec<Node>| nodes.into_iter().map(|node| find(snapshot, node, boost)).collect::<Result<Vec<_>>>();
    Ok(match node {
        Node::Nothing => Weight::Nothing,
        Node::Everything => Weight::Everything(boost),
        Node::Boost(own, inner) => find(snapshot, *inner, own * boost)?,
        Node::Apart(inner) => find(snapshot, *inner, boost)?,
        Node::Term(TermNode { place, text, frequency }) => {
            let term = TermWeight::find(snapshot, place, text, boost)?;
            Weight::Term(TermWeight { frequency, ..term })
        }
        Node::Phrase { place, terms, slop } => phrase(snapshot, place, terms, slop, boost)?,
        Node::Set(set) => Weight::Set(set, boost),
        Node::Constant(inner) => Weight::Constant(Box::new(find(snapshot, *inner, 1.0)?), boost),
        Node::Bool(BoolNode { must, should, filter, must_not, minimum }) => Weight::Bool {
            must: all(must)?,
            should: all(should)?,
            filter: all(filter)?,
            must_not: all(must_not)?,
            minimum,
        },
        Node::DisMax { nodes, tie_breaker } => Weight::DisMax { weights: all(nodes)?, tie_breaker },
    })
}

fn phrase(snapshot: &Snapshot, place: usize, terms: Vec<(u32, String)>, slop: u32, boost: f32) -> Result<Weight> {
    let find = |(offset, text)| Ok((offset, TermWeight::find(snapshot, place, text, boost)?));
    let terms = terms.into_iter().map(find).collect::<Result<Vec<(u32, TermWeight)>>>()?;
    let absent = terms.iter().any(|(_, term)| term.postings() == 0);
    Ok(if absent { Weight::Nothing } else { Weight::Phrase { terms, slop } })
}

/// A phrase weighs as much as its terms together; a term that stands in it twice weighs twice.
fn rank_phrase(terms: &mut [(u32, TermWeight)], snapshot: &Snapshot, stop: &Stop) -> Result<()> {
    let mut idf = 0.0;
    for (_, term) in &*terms {
        idf += f64::from(term.idf(snapshot, stop)?);
    }
    for (_, term) in terms {
        #[expect(clippy::cast_possible_truncation, reason = "Lucene adds in double precision and rounds the sum")]
        let idf = idf as f32;
        term.weight *= idf;
    }
    Ok(())
}

impl TermWeight {
    fn find(snapshot: &Snapshot, place: usize, text: String, boost: f32) -> Result<Self> {
        let infos = snapshot.segments.iter().map(|segment| match segment.terms(place) {
            Some(inverted) => inverted.terms().get(text.as_bytes()).map_err(map_io),
            None => Ok(None),
        });
        let infos = infos.collect::<Result<_>>()?;
        let Statistics { saturation, .. } = snapshot.statistics(place);
        Ok(Self { place, text, infos, frequency: None, weight: boost, saturation: Arc::clone(saturation) })
    }

    /// How many there are to read, those of deleted documents too.
    fn postings(&self) -> u64 {
        self.infos.iter().flatten().map(|info| u64::from(info.doc_freq)).sum()
    }

    fn idf(&self, snapshot: &Snapshot, stop: &Stop) -> Result<f32> {
        let living = || {
            let segments = snapshot.segments.iter().zip(&self.infos);
            let found = segments.filter_map(|(segment, info)| Some((segment, info.as_ref()?)));
            found.map(|(segment, info)| segment.frequency(self.place, info, stop)).sum::<Result<u64>>()
        };
        let frequency = self.frequency.map_or_else(living, Ok)?;
        Ok(snapshot.statistics(self.place).idf(frequency))
    }

    /// About how many postings have to be read for that.
    fn idf_cost(&self, snapshot: &Snapshot) -> u64 {
        if self.frequency.is_some() {
            return 0;
        }
        let segments = snapshot.segments.iter().zip(&self.infos);
        total(segments.filter_map(|(segment, info)| Some(segment.frequency_cost(info.as_ref()?))))
    }

    fn lengths(&self, snapshot: &Snapshot, segment: &Segment) -> Lengths {
        let field = &snapshot.mapping.schema.fields()[self.place];
        let norms = segment.norms(self.place).filter(|_| has_norms(field)).cloned();
        Lengths::new(norms, Arc::clone(&self.saturation), self.weight)
    }
}

impl Weight {
    /// Weighs what was found, so that it can be scored.
    pub(super) fn ranked(mut self, snapshot: &Snapshot, stop: &Stop) -> Result<Self> {
        self.rank(snapshot, stop)?;
        Ok(self)
    }

    fn rank(&mut self, snapshot: &Snapshot, stop: &Stop) -> Result<()> {
        match self {
            Self::Nothing | Self::Everything(_) | Self::Set(..) | Self::Constant(..) => Ok(()),
            Self::Term(term) => {
                term.weight *= term.idf(snapshot, stop)?;
                Ok(())
            }
            Self::Phrase { terms, .. } => rank_phrase(terms, snapshot, stop),
            Self::Bool { must, should, .. } => {
                must.iter_mut().chain(should).try_for_each(|weight| weight.rank(snapshot, stop))
            }
            Self::DisMax { weights, .. } => weights.iter_mut().try_for_each(|weight| weight.rank(snapshot, stop)),
        }
    }

    /// About how many postings are read to rank it.
    pub(super) fn rank_cost(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Nothing | Self::Everything(_) | Self::Set(..) | Self::Constant(..) => 0,
            Self::Term(term) => term.idf_cost(snapshot),
            Self::Phrase { terms, .. } => total(terms.iter().map(|(_, term)| term.idf_cost(snapshot))),
            Self::Bool { must, should, .. } => {
                total(must.iter().chain(should).map(|weight| weight.rank_cost(snapshot)))
            }
            Self::DisMax { weights, .. } => total(weights.iter().map(|weight| weight.rank_cost(snapshot))),
        }
    }

    /// About how many postings a run reads: decides whether it is short enough to run in place.
    pub(super) fn cost(&self, snapshot: &Snapshot) -> u64 {
        let sum = |weights: &[Self]| total(weights.iter().map(|weight| weight.cost(snapshot)));
        match self {
            Self::Nothing => 0,
            Self::Everything(_) => snapshot.searcher.num_docs(),
            Self::Term(term) => term.postings(),
            // Positions are read and compared besides.
            Self::Phrase { terms, .. } => terms.iter().map(|(_, term)| 8 * term.postings()).min().unwrap_or_default(),
            Self::Set(set, _) => cost_of_set(snapshot, set),
            Self::Constant(inner, _) => inner.cost(snapshot),
            Self::Bool { must, should, filter, must_not, .. } => {
                let needed = || must.iter().chain(filter);
                // The rarest leads and the others are looked up in; but sets are read whole before that.
                let lead = needed().map(|weight| weight.cost(snapshot)).min();
                let whole = needed().chain(must_not).filter(|weight| weight.is_read_whole());
                let only_excludes = lead.is_none() && should.is_empty();
                let lead = if only_excludes { snapshot.searcher.num_docs() } else { lead.unwrap_or_default() };
                total([lead, sum(should)].into_iter().chain(whole.map(|weight| weight.cost(snapshot))))
            }
            Self::DisMax { weights, .. } => sum(weights),
        }
    }

    fn is_read_whole(&self) -> bool {
        match self {
            Self::Set(Set::Terms { terms, .. }, _) => terms.len() > 1,
            Self::Set(Set::Between { .. }, _) => false,
            Self::Set(..) => true,
            Self::Constant(inner, _) => inner.is_read_whole(),
            _ => false,
        }
    }

    /// What matches in one segment.
    pub(super) fn scorer(
        &self,
        snapshot: &Snapshot,
        at: usize,
        scoring: Scoring,
        stop: &Stop,
    ) -> Result<Box<dyn Scorer>> {
        stop.check()?;
        let run = Run { snapshot, segment: &snapshot.segments[at], at, stop };
        run.scorer(self, scoring)
    }
}

fn total(costs: impl Iterator<Item = u64>) -> u64 {
    costs.fold(0, u64::saturating_add)
}

/// As many postings as there are documents, where it cannot be known without reading the terms.
fn cost_of_set(snapshot: &Snapshot, set: &Set) -> u64 {
    let (slot, terms) = match set {
        Set::Terms { slot, terms } if terms.len() <= 16 => (slot, terms),
        _ => return snapshot.searcher.num_docs(),
    };
    let frequency = |segment: &Segment, term: &Vec<u8>| {
        let info = segment.inverted(*slot).ok()?.terms().get(term).ok()?;
        Some(info.map_or(0, |info| u64::from(info.doc_freq)))
    };
    let found = snapshot.segments.iter().flat_map(|segment| terms.iter().map(move |term| frequency(segment, term)));
    // What cannot be read is not short; the run will say why.
    total(found.map(|frequency| frequency.unwrap_or(u64::MAX)))
}

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
            Weight::Phrase { terms, slop } => self.phrase(terms, *slop)?,
            Weight::Set(set, score) => self.set(set, *score)?,
            Weight::Constant(inner, score) => Box::new(Constant::new(self.scorer(inner, Scoring::Off)?, *score)),
            Weight::Bool { must, should, filter, must_not, minimum } => {
                self.bool([must, should, filter, must_not], *minimum, scoring)?
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

    fn phrase(&self, terms: &[(u32, TermWeight)], slop: u32) -> Result<Box<dyn Scorer>> {
        let mut postings = Vec::with_capacity(terms.len());
        for (offset, term) in terms {
            let (Some(info), Some(inverted)) = (&term.infos[self.at], self.segment.terms(term.place)) else {
                return Ok(Box::new(EmptyScorer));
            };
            let option = IndexRecordOption::WithFreqsAndPositions;
            let found = inverted.read_postings_from_terminfo(info, option).map_err(map_io)?;
            postings.push((*offset, term.text.as_str(), found));
        }
        let Some((_, first)) = terms.first() else { return Ok(Box::new(EmptyScorer)) };
        let lengths = first.lengths(self.snapshot, self.segment);
        Ok(Box::new(Phrase::new(postings, slop, lengths, self.stop.clone())))
    }

    fn set(&self, set: &Set, score: f32) -> Result<Box<dyn Scorer>> {
        let mut bits = Bits::new(self.segment.reader.max_doc());
        match set {
            Set::Between { place, range } => {
                return Ok(match self.segment.column(*place)? {
                    Some(column) => {
                        Box::new(Constant::new(Between::new(column, range.clone(), self.stop.clone()), score))
                    }
                    None => Box::new(EmptyScorer),
                });
            }
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
                for_range(&inverted, &lower, &upper, self.stop, |info| bits.add_postings(&inverted, info))?;
            }
            Set::Range { slot, lower, upper } => {
                let inverted = self.segment.inverted(*slot)?;
                for_range(&inverted, lower, upper, self.stop, |info| bits.add_postings(&inverted, info))?;
            }
            Set::Exists { place } => self.exists(*place, &mut bits)?,
        }
        Ok(Box::new(Constant::new(bits.into_documents(), score)))
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
        let unscored = self.all(filter, Scoring::Off)?;
        let needs_optional = minimum > 0 || (must.is_empty() && filter.is_empty() && optional.is_some());
        let mut extra = None;
        if needs_optional {
            scored.extend(optional);
        } else {
            extra = optional;
        }
        let required = match (scored.len(), unscored.len()) {
            // Only exclusions: everything else, without score.
            (0, 0) => score_of_all(self.segment.reader.max_doc(), 0.0),
            (1, 0) => scored.remove(0),
            _ => Box::new(Conjunction::new(scored, unscored)),
        };
        let matching: Box<dyn Scorer> = match extra {
            Some(extra) => Box::new(Optional::new(required, extra)),
            None => required,
        };
        let excluded = self.all(must_not, Scoring::Off)?;
        Ok(if excluded.is_empty() { matching } else { Box::new(Exclusion::new(matching, excluded)) })
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
