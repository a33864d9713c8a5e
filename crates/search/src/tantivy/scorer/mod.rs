//! What runs over one segment: documents in order, each with the score that Lucene gives it.
//!
//! Scores are added in double precision and rounded once per level, and a leaf is `w - w / (1 + f * n)` in single
//! precision, as in Lucene 10; tantivy's own scorers differ in the last bits, which is enough to swap ties.

mod bits;
mod bool;
mod leaf;
mod phrase;
mod sloppy;
mod union;

#[cfg(test)]
mod tests;

pub(super) use self::bits::{Bits, score_of_all};
pub(super) use self::bool::{Conjunction, Exclusion, Maximum, Optional};
pub(super) use self::leaf::{Constant, Lengths, Ranked};
pub(super) use self::phrase::Phrase;
pub(super) use self::union::Union;

/// A sum of single-precision scores, rounded as Lucene rounds it.
#[expect(clippy::cast_possible_truncation, reason = "Lucene adds in double precision and rounds the sum")]
const fn round(sum: f64) -> f32 {
    sum as f32
}
