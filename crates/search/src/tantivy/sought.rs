//! What a request looks for in one snapshot.

use statehouse_core::Result;

use super::plan;
use super::snapshot::Snapshot;
use super::weight::{self, Weight};
use crate::size::TermCount;
use crate::work::Stop;
use crate::{Query, SearchRequest};

/// What a request looks for.
pub(super) struct Sought {
    pub(super) weight: Weight,
    /// What hits must match besides, where more than hits is counted.
    pub(super) post: Option<Weight>,
}

/// Finds the terms of a request.
pub(super) fn find(snapshot: &Snapshot, request: &SearchRequest, terms: TermCount, stop: &Stop) -> Result<Sought> {
    let find = |query: &Query, filters: &[Query]| {
        weight::find(snapshot, plan::plan(snapshot, query, filters, terms, stop)?, 1.0)
    };
    let weight = find(&request.query, &request.filters)?;
    let post = request.post_filters.iter().map(|filter| find(filter, &[])).collect::<Result<Vec<_>>>()?;
    Ok(match (post.is_empty(), request.counted()) {
        (true, _) => Sought { weight, post: None },
        (false, 0) => Sought { weight: all_of(vec![weight], post), post: None },
        (false, _) => Sought { weight, post: Some(all_of(Vec::new(), post)) },
    })
}

const fn all_of(must: Vec<Weight>, filter: Vec<Weight>) -> Weight {
    Weight::Bool { must, filter, should: Vec::new(), must_not: Vec::new(), minimum: 0 }
}

impl Sought {
    /// Weighs what was found, so that it can be scored.
    pub(super) fn ranked(self, snapshot: &Snapshot, stop: &Stop) -> Result<Self> {
        Ok(Self { weight: self.weight.ranked(snapshot, stop)?, post: self.post })
    }
}
