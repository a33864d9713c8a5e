//! A plan with its numbers: what each leaf weighs over the whole index, ready to be run on one segment after another.
//!
//! Terms are found first, which is quick. Ranking them reads postings where documents were deleted, for only the living
//! ones count; nothing is ranked that is only counted.

use std::ops::RangeInclusive;
use std::sync::Arc;

use statehouse_core::Result;
use tantivy::columnar::Cardinality;
use tantivy::postings::TermInfo;

use super::error::map_io;
use super::function::Function;
use super::node::{Bag, BoolNode, FunctionNode, Node, Set, TermNode};
use super::plan::has_norms;
use super::scorer::{Between, Lengths};
use super::scoring::Scoring;
use super::snapshot::{Segment, Snapshot, Statistics};
use crate::work::Stop;

#[derive(Debug)]
pub(super) enum Weight {
    Nothing,
    Everything(f32),
    Term(TermWeight),
    Phrase { parts: Vec<PhrasePart>, slop: u32 },
    Set(Set, f32),
    Constant(Box<Self>, f32),
    Bool { must: Vec<Self>, should: Vec<Self>, filter: Vec<Self>, must_not: Vec<Self>, minimum: usize },
    DisMax { weights: Vec<Self>, tie_breaker: f32 },
    Function { inner: Box<Self>, place: usize, function: Function },
}

/// What stands at one place of a phrase: a term, or any of several.
#[derive(Debug)]
pub(super) struct PhrasePart {
    pub(super) offset: u32,
    pub(super) terms: Vec<TermWeight>,
}

/// A term, where it is in each segment, and what it weighs.
#[derive(Debug)]
pub(super) struct TermWeight {
    pub(super) place: usize,
    pub(super) text: String,
    pub(super) infos: Vec<Option<TermInfo>>,
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
        Node::Phrase { place, terms, slop } => {
            let parts = terms.into_iter().map(|(offset, text)| (offset, vec![text])).collect();
            phrase(snapshot, place, parts, slop, boost)?
        }
        Node::PhrasePrefix { place, terms, slop } => phrase(snapshot, place, terms, slop, boost)?,
        Node::Set(set) => Weight::Set(set, boost),
        Node::Constant(inner) => Weight::Constant(Box::new(find(snapshot, *inner, 1.0)?), boost),
        Node::Bool(BoolNode { must, should, filter, must_not, minimum }) => Weight::Bool {
            must: all(must)?,
            should: all(should)?,
            filter: all(filter)?,
            must_not: all(must_not)?,
            minimum,
        },
        Node::DisMax { nodes: Bag(nodes), tie_breaker } => Weight::DisMax { weights: all(nodes)?, tie_breaker },
        // As in OpenSearch, a boost is the query's own and not the function's.
        Node::Function(FunctionNode { node, place, function }) => {
            Weight::Function { inner: Box::new(find(snapshot, *node, boost)?), place, function }
        }
    })
}

fn phrase(snapshot: &Snapshot, place: usize, parts: Vec<(u32, Vec<String>)>, slop: u32, boost: f32) -> Result<Weight> {
    let find = |(offset, texts): (u32, Vec<String>)| {
        let terms = texts.into_iter().map(|text| TermWeight::find(snapshot, place, text, boost));
        Ok(PhrasePart { offset, terms: terms.collect::<Result<_>>()? })
    };
    let parts = parts.into_iter().map(find).collect::<Result<Vec<_>>>()?;
    let absent = parts.iter().any(|part| part.postings() == 0);
    Ok(if absent { Weight::Nothing } else { Weight::Phrase { parts, slop } })
}

/// A phrase weighs as much as its terms together; a term that stands in it twice weighs twice, and all of those that stand at
/// one place count.
fn rank_phrase(parts: &mut [PhrasePart], snapshot: &Snapshot, stop: &Stop) -> Result<()> {
    let mut idf = 0.0;
    for term in parts.iter().flat_map(|part| &part.terms) {
        idf += f64::from(term.idf(snapshot, stop)?);
    }
    for term in parts.iter_mut().flat_map(|part| &mut part.terms) {
        #[expect(clippy::cast_possible_truncation, reason = "Lucene adds in double precision and rounds the sum")]
        let idf = idf as f32;
        term.weight *= idf;
    }
    Ok(())
}

impl PhrasePart {
    fn postings(&self) -> u64 {
        total(self.terms.iter().map(TermWeight::postings))
    }
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

    /// What it weighs, once it is ranked.
    pub(super) const fn weight(&self) -> f32 {
        self.weight
    }

    /// How many there are to read, those of deleted documents too.
    pub(super) fn postings(&self) -> u64 {
        self.infos.iter().flatten().map(|info| u64::from(info.doc_freq)).sum()
    }

    fn idf(&self, snapshot: &Snapshot, stop: &Stop) -> Result<f32> {
        let frequency = match (self.frequency, self.living(snapshot, stop)?) {
            (Some(frequency), _) | (None, Some(frequency)) => frequency,
            (None, None) => 0,
        };
        Ok(snapshot.statistics(self.place).idf(frequency))
    }

    /// How many living documents have it; none if it need not be known to rank it.
    pub(super) fn living(&self, snapshot: &Snapshot, stop: &Stop) -> Result<Option<u64>> {
        if self.frequency.is_some() {
            return Ok(None);
        }
        let segments = snapshot.segments.iter().zip(&self.infos);
        let found = segments.filter_map(|(segment, info)| Some((segment, info.as_ref()?)));
        found.map(|(segment, info)| segment.frequency(self.place, info, stop)).sum::<Result<u64>>().map(Some)
    }

    /// About how many postings have to be read for that.
    fn idf_cost(&self, snapshot: &Snapshot) -> u64 {
        if self.frequency.is_some() {
            return 0;
        }
        let segments = snapshot.segments.iter().zip(&self.infos);
        total(segments.filter_map(|(segment, info)| Some(segment.frequency_cost(info.as_ref()?))))
    }

    pub(super) fn lengths(&self, snapshot: &Snapshot, segment: &Segment) -> Lengths {
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
            Self::Phrase { parts, .. } => rank_phrase(parts, snapshot, stop),
            Self::Bool { must, should, .. } => {
                must.iter_mut().chain(should).try_for_each(|weight| weight.rank(snapshot, stop))
            }
            Self::DisMax { weights, .. } => weights.iter_mut().try_for_each(|weight| weight.rank(snapshot, stop)),
            Self::Function { inner, function, .. } if function.scoring() == Scoring::On => inner.rank(snapshot, stop),
            Self::Function { .. } => Ok(()),
        }
    }

    /// About how many postings are read to rank it.
    pub(super) fn rank_cost(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Nothing | Self::Everything(_) | Self::Set(..) | Self::Constant(..) => 0,
            Self::Term(term) => term.idf_cost(snapshot),
            Self::Phrase { parts, .. } => {
                total(parts.iter().flat_map(|part| &part.terms).map(|term| term.idf_cost(snapshot)))
            }
            Self::Bool { must, should, .. } => {
                total(must.iter().chain(should).map(|weight| weight.rank_cost(snapshot)))
            }
            Self::DisMax { weights, .. } => total(weights.iter().map(|weight| weight.rank_cost(snapshot))),
            Self::Function { inner, function, .. } if function.scoring() == Scoring::On => inner.rank_cost(snapshot),
            Self::Function { .. } => 0,
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
            Self::Phrase { parts, .. } => {
                parts.iter().map(|part| part.postings().saturating_mul(8)).min().unwrap_or_default()
            }
            Self::Set(set, _) => cost_of_set(snapshot, set),
            Self::Constant(inner, _) => inner.cost(snapshot),
            Self::Bool { must, should, filter, must_not, .. } => {
                let needed = || must.iter().chain(filter);
                // The rarest leads and the others are looked up in; but sets are read whole before that. Ranges lead only
                // where nothing else does.
                let lead = needed().map(|weight| (weight.range().is_some(), weight.cost(snapshot))).min();
                let lead = lead.map(|(_, cost)| cost);
                let whole = needed().chain(must_not).filter(|weight| weight.is_read_whole());
                let only_excludes = lead.is_none() && should.is_empty();
                let lead = if only_excludes { snapshot.searcher.num_docs() } else { lead.unwrap_or_default() };
                total([lead, sum(should)].into_iter().chain(whole.map(|weight| weight.cost(snapshot))))
            }
            Self::DisMax { weights, .. } => sum(weights),
            // A number of each is read besides.
            Self::Function { inner, .. } => inner.cost(snapshot).saturating_mul(2),
        }
    }

    /// The field and the range, if it is one over a column.
    pub(super) const fn range(&self) -> Option<(usize, &RangeInclusive<u64>)> {
        match self {
            Self::Set(Set::Between { place, range }, _) => Some((*place, range)),
            _ => None,
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
}

fn total(costs: impl Iterator<Item = u64>) -> u64 {
    costs.fold(0, u64::saturating_add)
}

/// As many postings as there are documents, where it cannot be known without reading the terms.
fn cost_of_set(snapshot: &Snapshot, set: &Set) -> u64 {
    let (slot, terms) = match set {
        Set::Between { place, range } => {
            return total(snapshot.segments.iter().map(|segment| cost_of_range(segment, *place, range)));
        }
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

/// A column is unpacked several times as fast as postings, unless it says for each document how many numbers it has.
fn cost_of_range(segment: &Segment, place: usize, range: &RangeInclusive<u64>) -> u64 {
    let documents = segment.reader.max_doc().into();
    match segment.column(place) {
        Ok(Some(column)) if column.get_cardinality() == Cardinality::Full => {
            (documents + u64::from(Between::estimate(&column, range))) / 4
        }
        Ok(None) => 0,
        _ => documents,
    }
}
