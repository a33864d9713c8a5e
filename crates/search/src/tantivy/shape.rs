//! Which queries can be cut short where no more is wanted than the best.

use statehouse_core::Result;

use super::scorer::{Need, sums_are_exact};
use super::snapshot::Snapshot;
use super::weight::{TermWeight, Weight};
use crate::work::Stop;

/// What the score of a query is made of.
pub(super) enum Shape<'a> {
    /// All documents score the same.
    Flat(f32),
    Terms(Terms<'a>),
}

/// Ranked terms, and what documents must have and must not have besides.
pub(super) struct Terms<'a> {
    pub(super) terms: Vec<&'a TermWeight>,
    pub(super) need: Need,
    pub(super) filter: Vec<&'a Weight>,
    pub(super) must_not: Vec<&'a Weight>,
}

/// How many documents are known to match, without looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Known {
    #[default]
    Nothing,
    AtLeast(u64),
    All(u64),
}

impl Known {
    pub(super) fn of(weight: &Weight, snapshot: &Snapshot, stop: &Stop) -> Result<Self> {
        Ok(match weight {
            Weight::Nothing => Self::All(0),
            Weight::Everything(_) => Self::All(snapshot.searcher.num_docs()),
            Weight::Term(term) => term.living(snapshot, stop)?.map_or(Self::Nothing, Self::All),
            Weight::Bool { must, should, filter, must_not, minimum: 0 | 1 }
                if must.is_empty() && filter.is_empty() && must_not.is_empty() && !should.is_empty() =>
            {
                let mut most = 0;
                for weight in should {
                    if let Self::All(count) | Self::AtLeast(count) = Self::of(weight, snapshot, stop)? {
                        most = most.max(count);
                    }
                }
                Self::AtLeast(most)
            }
            _ => Self::Nothing,
        })
    }
}

impl<'a> Shape<'a> {
    /// None of a query of another shape, of which every document that matches is scored.
    pub(super) fn of(weight: &'a Weight) -> Option<Self> {
        match weight {
            Weight::Everything(score) | Weight::Set(_, score) | Weight::Constant(_, score) => Some(Self::Flat(*score)),
            Weight::Term(_) => Terms::of(std::slice::from_ref(weight), Need::Any),
            Weight::Bool { must, should, filter, must_not, minimum } => {
                let inner = match (must.as_slice(), should.as_slice()) {
                    ([], [_, ..]) if *minimum == 1 || (*minimum == 0 && filter.is_empty()) => {
                        Terms::of(should, Need::Any)
                    }
                    ([one], []) => Self::of(one),
                    ([_, ..], []) => Terms::of(must, Need::All),
                    ([], []) => Some(Self::Flat(0.0)),
                    _ => None,
                };
                inner.filter(|_| *minimum <= should.len()).map(|inner| inner.besides(filter, must_not))
            }
            _ => None,
        }
    }

    fn besides(mut self, filter: &'a [Weight], must_not: &'a [Weight]) -> Self {
        if let Self::Terms(terms) = &mut self {
            terms.filter.extend(filter);
            terms.must_not.extend(must_not);
        }
        self
    }
}

impl<'a> Terms<'a> {
    fn of(weights: &'a [Weight], need: Need) -> Option<Shape<'a>> {
        let term = |weight: &'a Weight| match weight {
            Weight::Term(term) => Some(term),
            _ => None,
        };
        let terms = weights.iter().map(term).collect::<Option<Vec<_>>>()?;
        // Of these a document may score less than one that has a term less often.
        let may_sink = terms.iter().any(|term| term.weight() < 0.0);
        let are_exact = terms.len() == 1 || sums_are_exact(terms.iter().map(|term| term.weight()));
        let (filter, must_not) = (Vec::new(), Vec::new());
        (are_exact && !may_sink).then_some(Shape::Terms(Self { terms, need, filter, must_not }))
    }

    /// Whether what leads to documents besides is so rare that it is faster to score all that have it.
    pub(super) fn is_led_elsewhere(&self, snapshot: &Snapshot) -> bool {
        let postings = self.terms.iter().map(|term| term.postings());
        let ours = match self.need {
            Need::Any => postings.fold(0, u64::saturating_add),
            Need::All => postings.min().unwrap_or_default(),
        };
        self.filter.iter().any(|filter| filter.cost(snapshot) < ours / 2)
    }
}
