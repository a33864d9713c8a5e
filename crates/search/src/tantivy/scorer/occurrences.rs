//! Where one term stands, or any of several.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tantivy::postings::{Postings, SegmentPostings};
use tantivy::{DocId, DocSet, TERMINATED};

/// The documents that have a term or one of several, and the positions in them.
pub(super) enum Occurrences {
    One(Box<SegmentPostings>),
    Any(Alternatives),
}

/// Several terms, of which each document has at least one.
pub(super) struct Alternatives {
    terms: Vec<SegmentPostings>,
    /// The terms that are not at their end, by the document at which each stands.
    queue: BinaryHeap<Reverse<(DocId, usize)>>,
}

impl Occurrences {
    pub(super) fn of(mut terms: Vec<SegmentPostings>) -> Self {
        match (terms.len(), terms.pop()) {
            (1, Some(only)) => Self::One(Box::new(only)),
            (_, last) => {
                terms.extend(last);
                let queue = terms.iter().enumerate().filter(|(_, postings)| postings.doc() != TERMINATED);
                let queue = queue.map(|(at, postings)| Reverse((postings.doc(), at))).collect();
                Self::Any(Alternatives { terms, queue })
            }
        }
    }

    /// The positions in the current document, ascending. Of several terms two may stand on one, which is then there twice.
    pub(super) fn positions(&mut self, positions: &mut Vec<u32>) {
        match self {
            Self::One(postings) => postings.positions(positions),
            Self::Any(alternatives) => alternatives.positions(positions),
        }
    }
}

impl Alternatives {
    fn doc(&self) -> DocId {
        self.queue.peek().map_or(TERMINATED, |Reverse((doc, _))| *doc)
    }

    /// Moves all to the target or behind it.
    fn seek(&mut self, target: DocId) -> DocId {
        while let Some(Reverse((doc, at))) = self.queue.peek().copied()
            && doc < target
        {
            self.queue.pop();
            let doc = self.terms[at].seek(target);
            if doc != TERMINATED {
                self.queue.push(Reverse((doc, at)));
            }
        }
        self.doc()
    }

    fn positions(&mut self, positions: &mut Vec<u32>) {
        let current = self.doc();
        let Self { terms, queue } = self;
        positions.clear();
        for Reverse((_, at)) in queue.iter().filter(|Reverse((doc, _))| *doc == current) {
            terms[*at].append_positions_with_offset(0, positions);
        }
        positions.sort_unstable();
    }
}

impl DocSet for Occurrences {
    fn advance(&mut self) -> DocId {
        match self {
            Self::One(postings) => postings.advance(),
            Self::Any(alternatives) => match alternatives.doc() {
                TERMINATED => TERMINATED,
                doc => alternatives.seek(doc + 1),
            },
        }
    }

    fn seek(&mut self, target: DocId) -> DocId {
        match self {
            Self::One(postings) => postings.seek(target),
            Self::Any(alternatives) => alternatives.seek(target),
        }
    }

    fn doc(&self) -> DocId {
        match self {
            Self::One(postings) => postings.doc(),
            Self::Any(alternatives) => alternatives.doc(),
        }
    }

    fn size_hint(&self) -> u32 {
        match self {
            Self::One(postings) => postings.size_hint(),
            Self::Any(Alternatives { terms, .. }) => terms.iter().map(DocSet::size_hint).fold(0, u32::saturating_add),
        }
    }
}
