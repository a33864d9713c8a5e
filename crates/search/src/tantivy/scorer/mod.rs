//! What runs over one segment: documents in order, each with the score that Lucene gives it.
//!
//! Scores are added in double precision and rounded once per level, and a leaf is `w - w / (1 + f * n)` in single
//! precision, as in Lucene 10; tantivy's own scorers differ in the last bits, which is enough to swap ties.

mod batch;
mod between;
mod bits;
mod bool;
mod leaf;
mod occurrences;
mod phrase;
mod pruned;
mod sloppy;
mod union;
mod valued;
mod within;

#[cfg(test)]
mod tests;

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

use self::batch::Stretch;
pub(super) use self::batch::{Batch, Buffer};
pub(super) use self::between::Between;
use self::bits::{BitDocuments, Everything};
pub(super) use self::bits::{Bits, score_of_all};
pub(super) use self::bool::{Conjunction, Exclusion, Maximum, Optional};
pub(super) use self::leaf::{Constant, Lengths, Ranked};
pub(super) use self::phrase::{Phrase, PhrasePlace};
pub(super) use self::pruned::{Besides, Need, Pruned, sums_are_exact};
pub(super) use self::union::Union;
pub(super) use self::valued::Valued;
pub(super) use self::within::Within;
use super::numbers::BLOCK;
use super::scoring::Scoring;

impl<D: Stretch + 'static> Batch for Constant<D> {
    fn drain(&mut self, end: DocId, _: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        let (documents, score) = self.parts();
        documents.pass(end, &mut |docs| docs.iter().for_each(|doc| each(*doc, score)))
    }

    fn blocks(&mut self, end: DocId, _: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        let (documents, score) = self.parts();
        let scores = [score; BLOCK];
        documents.pass(end, &mut |docs| each(docs, &scores[..docs.len()]))
    }
}

/// Calls a method of what a boxed scorer is, where that is what most queries are made of.
macro_rules! of_what_it_is {
    ($scorer:ident.$method:ident($($given:expr),*)) => {
        if let Some(union) = $scorer.downcast_mut::<Union<Ranked>>() {
            return union.$method($($given),*);
        }
        if let Some(ranked) = $scorer.downcast_mut::<Ranked>() {
            return ranked.$method($($given),*);
        }
        if let Some(union) = $scorer.downcast_mut::<Union<Self>>() {
            return union.$method($($given),*);
        }
        if let Some(within) = $scorer.downcast_mut::<Within>() {
            return within.$method($($given),*);
        }
        if let Some(valued) = $scorer.downcast_mut::<Valued>() {
            return valued.$method($($given),*);
        }
        if let Some(between) = $scorer.downcast_mut::<Constant<Between>>() {
            return between.$method($($given),*);
        }
        if let Some(bits) = $scorer.downcast_mut::<Constant<BitDocuments>>() {
            return bits.$method($($given),*);
        }
        if let Some(all) = $scorer.downcast_mut::<Constant<Everything>>() {
            return all.$method($($given),*);
        }
    };
}

impl Batch for Box<dyn Scorer> {
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        of_what_it_is!(self.drain(end, scoring, each));
        let (mut drained, mut doc) = (0, self.doc());
        while doc < end {
            drained += 1;
            each(doc, if scoring == Scoring::On { self.score() } else { 0.0 });
            doc = self.advance();
        }
        drained
    }

    fn blocks(&mut self, end: DocId, scoring: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        of_what_it_is!(self.blocks(end, scoring, each));
        let mut buffer = Buffer::default();
        let drained = self.drain(end, scoring, &mut |doc, score| buffer.push(doc, score, each));
        buffer.flush(each);
        drained
    }
}
