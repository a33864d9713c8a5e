//! The best of a segment by score.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tantivy::columnar::Column;
use tantivy::{DocId, TERMINATED};

use super::found::Found;
use super::place::first_id;
use super::snapshot::{BLOCK, Lows, Segment};
use crate::cursor::Cursor;
use statehouse_core::Result;

/// For how many documents at least a floor holds, where they are left.
const NEAR: DocId = 2_048;

/// Tells documents apart that are equal otherwise: by the ordinals of their ids, which order like the ids.
pub(super) struct Ties<'a> {
    ids: &'a Column<u64>,
    lows: &'a Lows,
    /// Before this document is none that comes before the one that was asked about last.
    skip: DocId,
}

impl<'a> Ties<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        Self { ids: segment.ids.ords(), lows: segment.lows(), skip: 0 }
    }

    #[inline]
    pub(super) fn id(&self, doc: DocId) -> u64 {
        self.ids.first(doc).unwrap_or(u64::MAX)
    }

    /// Whether a document may have a lesser id than this. Most are told by their block, without being looked up.
    #[inline]
    pub(super) fn may_precede(&mut self, doc: DocId, id: u64) -> bool {
        doc >= self.skip && self.block_may_precede(doc, id)
    }

    fn block_may_precede(&mut self, doc: DocId, id: u64) -> bool {
        let block = doc / BLOCK;
        let may = self.lows.of.get(block as usize).is_none_or(|low| *low < id);
        if !may {
            self.skip = (block + 1).saturating_mul(BLOCK);
        }
        may
    }

    /// The first document from one on that may have a lesser id than this, or that stands with such a one in a block.
    fn next_before(&self, doc: DocId, id: u64) -> DocId {
        let first = (doc / BLOCK) as usize;
        if self.lows.rest.get(first).is_none_or(|low| *low >= id) {
            return TERMINATED;
        }
        let far = self.lows.of[first..].iter().take_while(|low| **low >= id).count();
        u32::try_from(first + far).map_or(doc, |block| block.saturating_mul(BLOCK).max(doc))
    }

    /// Forgets what was found out in comparison with another id.
    pub(super) const fn reset(&mut self) {
        self.skip = 0;
    }
}

/// The best of a segment by score, then by id.
pub(super) struct Best<'a> {
    ties: Ties<'a>,
    size: usize,
    /// The worst on top.
    heap: BinaryHeap<Ranking>,
    /// Once the heap is full, its worst: nothing with a lower score is taken, and of equals only what comes before it. Until
    /// then, what others have found.
    bound: (f32, u64),
    /// Where they begin: behind this score, or with it from this id on.
    behind: Option<(f32, u64)>,
}

#[derive(Debug)]
struct Ranking {
    score: f32,
    id: u64,
    doc: DocId,
}

impl Ord for Ranking {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Ranking {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranking {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranking {}

impl<'a> Best<'a> {
    /// Nothing below the floor is among them: so much scores what was found elsewhere.
    pub(super) fn new(segment: &'a Segment, size: usize, after: Option<&Cursor>, floor: f32) -> Result<Self> {
        let heap = BinaryHeap::with_capacity(size.min(1_024));
        let behind = after.map(|cursor| Ok((cursor.score.unwrap_or_default(), first_id(segment, cursor)?)));
        let behind = behind.transpose()?;
        Ok(Self { ties: Ties::new(segment), size, heap, bound: (floor, u64::MAX), behind })
    }

    #[inline]
    #[expect(clippy::float_cmp, reason = "equal scores are ordered by their ids")]
    pub(super) fn offer(&mut self, doc: DocId, score: f32) {
        if score > self.bound.0 || (score == self.bound.0 && self.ties.may_precede(doc, self.bound.1)) {
            self.take(doc, score);
        }
    }

    /// What a document must score from this one on to be among them, and before which document that holds.
    pub(super) fn floor(&self, doc: DocId) -> (f32, DocId) {
        let (score, id) = self.bound;
        if self.heap.len() < self.size {
            return (score, TERMINATED);
        }
        let near = doc.saturating_add(NEAR);
        let tie = self.ties.next_before(doc, id);
        // Up to there equals come behind.
        if tie < near { (score, near) } else { (score.next_up(), tie) }
    }

    #[cold]
    fn take(&mut self, doc: DocId, score: f32) {
        let ranking = Ranking { score, id: self.ties.id(doc), doc };
        if self.behind.is_some_and(|(last, id)| match last.total_cmp(&score) {
            Ordering::Less => true,
            Ordering::Equal => ranking.id < id,
            Ordering::Greater => false,
        }) {
            return;
        }
        if self.heap.len() < self.size {
            self.heap.push(ranking);
        } else if score > self.bound.0 || ranking.id < self.bound.1 {
            self.heap.pop();
            self.heap.push(ranking);
        } else {
            return;
        }
        if self.heap.len() == self.size
            && let Some(worst) = self.heap.peek()
        {
            self.bound = (worst.score, worst.id);
            self.ties.reset();
        }
    }

    pub(super) fn found(self, segment: usize) -> impl Iterator<Item = Found> {
        let found = move |Ranking { score, id, doc }| Found::new((segment, doc, id), Some(score), Vec::new());
        self.heap.into_iter().map(found)
    }
}
