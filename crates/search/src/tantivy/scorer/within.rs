use std::ops::RangeInclusive;

use tantivy::columnar::Column;
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, TERMINATED};

use super::batch::{Batch, Buffer};
use crate::tantivy::numbers::{Block, Numbers, Runs};
use crate::tantivy::scoring::Scoring;
use crate::work::Stop;

/// Documents of a scorer that have a number in a range besides: looked up for each of them, not searched for among all
/// documents.
pub(crate) struct Within {
    documents: Box<dyn Scorer>,
    numbers: Numbers,
    range: RangeInclusive<u64>,
    stop: Stop,
    /// Nobody waited any more.
    ended: bool,
}

impl Within {
    pub(crate) fn new(
        documents: Box<dyn Scorer>,
        (column, range): (Column<u64>, RangeInclusive<u64>),
        stop: Stop,
    ) -> Self {
        let mut within = Self { documents, numbers: Numbers::new(column), range, stop, ended: false };
        within.skip();
        within
    }

    /// Goes on to the first that has a number in the range.
    fn skip(&mut self) -> DocId {
        loop {
            let doc = self.documents.doc();
            let has = || self.numbers.column().values_for_doc(doc).any(|number| self.range.contains(&number));
            if doc == TERMINATED || has() {
                return doc;
            }
            if self.stop.is_set() {
                self.ended = true;
                return TERMINATED;
            }
            self.documents.advance();
        }
    }
}

impl DocSet for Within {
    fn advance(&mut self) -> DocId {
        self.documents.advance();
        self.skip()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.documents.seek(target);
        self.skip()
    }

    fn doc(&self) -> DocId {
        if self.ended { TERMINATED } else { self.documents.doc() }
    }

    fn size_hint(&self) -> u32 {
        self.documents.size_hint()
    }
}

impl Scorer for Within {
    fn score(&mut self) -> Score {
        self.documents.score()
    }
}

impl Batch for Within {
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        self.blocks(end, scoring, &mut |docs, scores| {
            docs.iter().zip(scores).for_each(|(doc, score)| each(*doc, *score));
        })
    }

    fn blocks(&mut self, end: DocId, scoring: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        let Self { documents, numbers, range, .. } = self;
        let (least, most) = (*range.start(), *range.end());
        let is_in = |number: u64| least <= number && number <= most;
        let (mut buffer, mut kept) = (Buffer::default(), 0);
        documents.blocks(end, scoring, &mut |docs, scores| {
            let mut keep = |doc, score| {
                kept += 1;
                buffer.push(doc, score, each);
            };
            let both = docs.iter().zip(scores);
            match numbers.read(docs) {
                Block::One(numbers) => {
                    both.zip(numbers).filter(|(_, number)| is_in(**number)).for_each(|((d, s), _)| keep(*d, *s));
                }
                Block::Any(mut runs) => {
                    let any = |runs: &mut Runs<'_>, doc| runs.of(doc).iter().any(|number| is_in(*number));
                    both.filter(|(doc, _)| any(&mut runs, **doc)).for_each(|(d, s)| keep(*d, *s));
                }
            }
        });
        buffer.flush(each);
        self.skip();
        kept
    }
}
