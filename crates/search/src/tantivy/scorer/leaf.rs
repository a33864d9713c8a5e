use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

use super::batch::Batch;
use crate::tantivy::numbers::BLOCK;
use crate::tantivy::scoring::Scoring;
use crate::work::Stop;

/// The byte of length 1, which stands in where lengths do not count.
const NO_LENGTH: u8 = 1;

/// Turns a frequency into a score, given how long the document's text is.
#[derive(Clone)]
pub(crate) struct Lengths {
    norms: Option<FieldNormReader>,
    saturation: Arc<[f32; 256]>,
    weight: f32,
}

impl Lengths {
    pub(crate) const fn new(norms: Option<FieldNormReader>, saturation: Arc<[f32; 256]>, weight: f32) -> Self {
        Self { norms, saturation, weight }
    }

    #[inline]
    pub(super) fn score(&self, doc: DocId, frequency: f32) -> f32 {
        self.of(self.byte(doc), frequency)
    }

    /// The byte that stands for the length of a document.
    #[inline]
    pub(crate) fn byte(&self, doc: DocId) -> u8 {
        self.norms.as_ref().map_or(NO_LENGTH, |norms| norms.fieldnorm_id(doc))
    }

    /// Each operation is monotonic, and so is its rounding: where the weight is not negative, a greater frequency and a lesser
    /// byte never give less.
    #[inline]
    pub(super) fn of(&self, byte: u8, frequency: f32) -> f32 {
        self.weight - self.weight / (1.0 + frequency * self.saturation[usize::from(byte)])
    }
}

#[expect(clippy::cast_precision_loss, reason = "Lucene's frequencies are single precision in this place")]
pub(super) const fn float(frequency: u32) -> f32 {
    frequency as f32
}

/// The documents of one term, ranked by BM25. Reads postings in the blocks in which they are stored.
#[derive(Clone)]
pub(crate) struct Ranked {
    postings: BlockSegmentPostings,
    /// The place of the current document in its block.
    at: usize,
    lengths: Lengths,
    stop: Stop,
}

impl Ranked {
    pub(crate) const fn new(postings: BlockSegmentPostings, lengths: Lengths, stop: Stop) -> Self {
        Self { postings, at: 0, lengths, stop }
    }

    pub(crate) const fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// Goes to the next block, or to the end if nobody waits for it.
    fn next_block(&mut self) {
        if self.stop.is_set() {
            self.postings = BlockSegmentPostings::empty();
        } else {
            self.postings.advance();
        }
        self.at = 0;
    }
}

impl DocSet for Ranked {
    #[inline]
    fn advance(&mut self) -> DocId {
        self.at += 1;
        if self.at >= self.postings.docs().len() {
            self.next_block();
        }
        self.doc()
    }

    #[inline]
    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc() < target && self.advance() < target {
            self.at = self.postings.seek(target);
        }
        self.doc()
    }

    #[inline]
    fn doc(&self) -> DocId {
        // Behind the last document of a block that is not full, and of the empty one at the end, it is `TERMINATED`.
        self.postings.doc(self.at)
    }

    fn size_hint(&self) -> u32 {
        self.postings.doc_freq()
    }
}

impl Scorer for Ranked {
    #[inline]
    fn score(&mut self) -> Score {
        self.lengths.score(self.doc(), float(self.postings.freq(self.at)))
    }
}

impl Batch for Ranked {
    #[inline]
    fn drain(&mut self, end: DocId, scoring: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        let mut drained = 0;
        loop {
            let docs = self.postings.docs();
            let stop = docs.partition_point(|doc| *doc < end);
            let now = self.at.min(stop)..stop;
            drained += now.len() as u64;
            match scoring {
                Scoring::On => {
                    let frequencies = &self.postings.freqs()[now.clone()];
                    for (doc, frequency) in docs[now].iter().zip(frequencies) {
                        each(*doc, self.lengths.score(*doc, float(*frequency)));
                    }
                }
                Scoring::Off => docs[now].iter().for_each(|doc| each(*doc, 0.0)),
            }
            self.at = self.at.max(stop);
            if docs.is_empty() || stop < docs.len() {
                return drained;
            }
            self.next_block();
        }
    }

    fn blocks(&mut self, end: DocId, scoring: Scoring, each: &mut dyn FnMut(&[DocId], &[Score])) -> u64 {
        let (mut drained, mut scores) = (0, [0.0; BLOCK]);
        while self.doc() < end {
            let docs = self.postings.docs();
            let stop = docs.partition_point(|doc| *doc < end);
            for first in (self.at..stop).step_by(BLOCK) {
                let now = first..stop.min(first + BLOCK);
                let scores = &mut scores[..now.len()];
                if scoring == Scoring::On {
                    let all = scores.iter_mut().zip(&docs[now.clone()]).zip(&self.postings.freqs()[now.clone()]);
                    all.for_each(|((score, doc), frequency)| *score = self.lengths.score(*doc, float(*frequency)));
                }
                each(&docs[now], scores);
            }
            drained += (stop - self.at) as u64;
            self.at = stop;
            if stop == docs.len() {
                self.next_block();
            }
        }
        drained
    }
}

/// Documents that all score the same.
pub(crate) struct Constant<D> {
    documents: D,
    score: f32,
}

impl<D: DocSet> Constant<D> {
    pub(crate) const fn new(documents: D, score: f32) -> Self {
        Self { documents, score }
    }

    pub(super) const fn parts(&mut self) -> (&mut D, Score) {
        (&mut self.documents, self.score)
    }
}

impl<D: DocSet> DocSet for Constant<D> {
    #[inline]
    fn advance(&mut self) -> DocId {
        self.documents.advance()
    }

    #[inline]
    fn seek(&mut self, target: DocId) -> DocId {
        self.documents.seek(target)
    }

    #[inline]
    fn doc(&self) -> DocId {
        self.documents.doc()
    }

    fn size_hint(&self) -> u32 {
        self.documents.size_hint()
    }
}

impl<D: DocSet + 'static> Scorer for Constant<D> {
    #[inline]
    fn score(&mut self) -> Score {
        self.score
    }
}
