use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score};

/// The byte of length 1, which stands in where lengths do not count.
const NO_LENGTH: usize = 1;

/// Turns a frequency into a score, given how long the document's text is.
pub(in super::super) struct Lengths {
    norms: Option<FieldNormReader>,
    saturation: Arc<[f32; 256]>,
    weight: f32,
}

impl Lengths {
    pub(in super::super) const fn new(
        norms: Option<FieldNormReader>,
        saturation: Arc<[f32; 256]>,
        weight: f32,
    ) -> Self {
        Self { norms, saturation, weight }
    }

    #[inline]
    pub(super) fn score(&self, doc: DocId, frequency: f32) -> f32 {
        let byte = self.norms.as_ref().map_or(NO_LENGTH, |norms| usize::from(norms.fieldnorm_id(doc)));
        self.weight - self.weight / (1.0 + frequency * self.saturation[byte])
    }
}

/// The documents of one term, ranked by BM25.
pub(in super::super) struct Ranked {
    postings: SegmentPostings,
    lengths: Lengths,
}

impl Ranked {
    pub(in super::super) const fn new(postings: SegmentPostings, lengths: Lengths) -> Self {
        Self { postings, lengths }
    }
}

impl DocSet for Ranked {
    #[inline]
    fn advance(&mut self) -> DocId {
        self.postings.advance()
    }

    #[inline]
    fn seek(&mut self, target: DocId) -> DocId {
        self.postings.seek(target)
    }

    #[inline]
    fn doc(&self) -> DocId {
        self.postings.doc()
    }

    fn size_hint(&self) -> u32 {
        self.postings.size_hint()
    }
}

impl Scorer for Ranked {
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "Lucene's frequencies are single precision in this place")]
    fn score(&mut self) -> Score {
        self.lengths.score(self.postings.doc(), self.postings.term_freq() as f32)
    }
}

/// Documents that all score the same.
pub(in super::super) struct Constant<D> {
    documents: D,
    score: f32,
}

impl<D: DocSet> Constant<D> {
    pub(in super::super) const fn new(documents: D, score: f32) -> Self {
        Self { documents, score }
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
