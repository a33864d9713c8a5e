//! What runs over one segment: documents in order, each with the score that Lucene gives it.
//!
//! Scores are added in double precision and rounded once per level, and a leaf is `w - w / (1 + f * n)` in single
//! precision, as in Lucene 10; tantivy's own scorers differ in the last bits, which is enough to swap ties.

mod batch;
mod between;
mod bits;
mod bool;
mod leaf;
mod phrase;
mod sloppy;
mod union;

#[cfg(test)]
mod tests;

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

pub(super) use self::batch::Batch;
use self::batch::Stretch;
pub(super) use self::between::Between;
use self::bits::{BitDocuments, Everything};
pub(super) use self::bits::{Bits, score_of_all};
pub(super) use self::bool::{Conjunction, Exclusion, Maximum, Optional};
pub(super) use self::leaf::{Constant, Lengths, Ranked};
pub(super) use self::phrase::Phrase;
pub(super) use self::union::Union;
use super::scoring::Scoring;

impl<D: Stretch + 'static> Batch for Constant<D> {
    fn drain(&mut self, end: DocId, _: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        let (documents, score) = self.parts();
        documents.pass(end, &mut |doc| each(doc, score))
    }
}

impl Batch for Box<dyn Scorer> {
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        // What most queries are made of.
        if let Some(union) = self.downcast_mut::<Union<Ranked>>() {
            return union.drain(end, scoring, each);
        }
        if let Some(ranked) = self.downcast_mut::<Ranked>() {
            return ranked.drain(end, scoring, each);
        }
        if let Some(union) = self.downcast_mut::<Union<Self>>() {
            return union.drain(end, scoring, each);
        }
        if let Some(between) = self.downcast_mut::<Constant<Between>>() {
            return between.drain(end, scoring, each);
        }
        if let Some(bits) = self.downcast_mut::<Constant<BitDocuments>>() {
            return bits.drain(end, scoring, each);
        }
        if let Some(all) = self.downcast_mut::<Constant<Everything>>() {
            return all.drain(end, scoring, each);
        }
        let (mut drained, mut doc) = (0, self.doc());
        while doc < end {
            drained += 1;
            each(doc, if scoring == Scoring::On { self.score() } else { 0.0 });
            doc = self.advance();
        }
        drained
    }
}
