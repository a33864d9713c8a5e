//! What scorers have in common.

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

use crate::tantivy::numbers::BLOCK;
use crate::tantivy::scoring::Scoring;

/// Hands out documents many at a time, so that what runs for each of them can be compiled into one loop.
pub(crate) trait Batch: Scorer {
    /// Hands out what is left before `end`, with the scores if they are wanted, and moves behind it. Says how many.
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64;

    /// The same in blocks of at most [`BLOCK`], each with as many scores.
    fn blocks(&mut self, end: DocId, scoring: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        let mut buffer = Buffer::default();
        let drained = self.drain(end, scoring, &mut |doc, score| buffer.push(doc, score, each));
        buffer.flush(each);
        drained
    }
}

/// The same of documents that have no score of their own.
pub(crate) trait Stretch: DocSet {
    /// Hands out what is left before `end`, at most [`BLOCK`] at once, and moves behind it. Says how many.
    fn pass(&mut self, end: DocId, each: &mut dyn FnMut(&[DocId])) -> u64;
}

/// Collects documents until there is a block of them.
pub(crate) struct Buffer {
    docs: [DocId; BLOCK],
    scores: [Score; BLOCK],
    count: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { docs: [0; BLOCK], scores: [0.0; BLOCK], count: 0 }
    }
}

impl Buffer {
    #[inline]
    pub(crate) fn push(&mut self, doc: DocId, score: Score, each: &mut dyn FnMut(&[DocId], &[Score])) {
        (self.docs[self.count], self.scores[self.count]) = (doc, score);
        self.count += 1;
        if self.count == BLOCK {
            self.flush(each);
        }
    }

    #[inline]
    pub(crate) fn flush(&mut self, each: &mut dyn FnMut(&[DocId], &[Score])) {
        if self.count > 0 {
            each(&self.docs[..self.count], &self.scores[..self.count]);
            self.count = 0;
        }
    }
}

/// A sum of single-precision scores, rounded as Lucene rounds it.
#[expect(clippy::cast_possible_truncation, reason = "Lucene adds in double precision and rounds the sum")]
pub(super) const fn round(sum: f64) -> f32 {
    sum as f32
}
