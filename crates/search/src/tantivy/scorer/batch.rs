//! What scorers have in common.

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

use crate::tantivy::scoring::Scoring;

/// Hands out documents many at a time, so that what runs for each of them can be compiled into one loop.
pub(crate) trait Batch: Scorer {
    /// Hands out what is left before `end`, with the scores if they are wanted, and moves behind it. Says how many.
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64;
}

/// The same of documents that have no score of their own.
pub(crate) trait Stretch: DocSet {
    /// Hands out what is left before `end` and moves behind it. Says how many.
    fn pass(&mut self, end: DocId, each: &mut impl FnMut(DocId)) -> u64;
}

/// A sum of single-precision scores, rounded as Lucene rounds it.
#[expect(clippy::cast_possible_truncation, reason = "Lucene adds in double precision and rounds the sum")]
pub(super) const fn round(sum: f64) -> f32 {
    sum as f32
}
