use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, SeekDangerResult};

use super::batch::Batch;
use crate::tantivy::function::Function;
use crate::tantivy::numbers::{BLOCK, Numbers};
use crate::tantivy::scoring::Scoring;

/// Documents of a scorer, with scores that their numbers have a part in.
pub(crate) struct Valued {
    documents: Box<dyn Scorer>,
    /// None if the segment has none.
    numbers: Option<Numbers>,
    function: Function,
}

impl Valued {
    pub(crate) const fn new(documents: Box<dyn Scorer>, numbers: Option<Numbers>, function: Function) -> Self {
        Self { documents, numbers, function }
    }
}

impl DocSet for Valued {
    fn advance(&mut self) -> DocId {
        self.documents.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.documents.seek(target)
    }

    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        self.documents.seek_danger(target)
    }

    fn doc(&self) -> DocId {
        self.documents.doc()
    }

    fn size_hint(&self) -> u32 {
        self.documents.size_hint()
    }
}

impl Scorer for Valued {
    fn score(&mut self) -> Score {
        let score = if self.function.scoring() == Scoring::On { self.documents.score() } else { 0.0 };
        self.function.of(self.numbers.as_ref(), self.documents.doc(), score)
    }
}

impl Batch for Valued {
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        self.blocks(end, scoring, &mut |docs, scores| {
            docs.iter().zip(scores).for_each(|(doc, score)| each(*doc, *score));
        })
    }

    fn blocks(&mut self, end: DocId, scoring: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        let Self { documents, numbers, function } = self;
        if scoring == Scoring::Off {
            return documents.blocks(end, scoring, each);
        }
        let mut made = [0.0; BLOCK];
        documents.blocks(end, function.scoring(), &mut |docs, scores| {
            let made = &mut made[..docs.len()];
            function.of_all(numbers, docs, scores, made);
            each(docs, made);
        })
    }
}
