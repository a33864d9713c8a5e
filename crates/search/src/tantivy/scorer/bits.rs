use statehouse_core::Result;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::query::Scorer;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, TERMINATED};

use super::batch::Stretch;
use super::leaf::Constant;
use crate::tantivy::error::map_io;
use crate::tantivy::numbers::BLOCK;

/// A set of documents of one segment.
pub(crate) struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    pub(crate) fn new(documents: u32) -> Self {
        Self { words: vec![0; (documents as usize).div_ceil(64)], count: 0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, doc: DocId) {
        let (word, bit) = (&mut self.words[doc as usize / 64], 1 << (doc % 64));
        self.count += u32::from(*word & bit == 0);
        *word |= bit;
    }

    /// Adds the documents of one term.
    pub(crate) fn add_postings(&mut self, inverted: &InvertedIndexReader, info: &TermInfo) -> Result<()> {
        let block = inverted.read_block_postings_from_terminfo(info, IndexRecordOption::Basic);
        let mut block = block.map_err(map_io)?;
        while !block.docs().is_empty() {
            block.docs().iter().for_each(|doc| self.add(*doc));
            block.advance();
        }
        Ok(())
    }

    pub(crate) fn into_documents(self) -> BitDocuments {
        let mut documents = BitDocuments { doc: 0, bits: self };
        documents.doc = documents.at_or_behind(0);
        documents
    }
}

/// The documents of a [`Bits`], in order.
pub(crate) struct BitDocuments {
    bits: Bits,
    doc: DocId,
}

impl BitDocuments {
    fn at_or_behind(&self, doc: DocId) -> DocId {
        let mut at = doc as usize / 64;
        let Some(word) = self.bits.words.get(at) else { return TERMINATED };
        let mut word = word & (u64::MAX << (doc % 64));
        while word == 0 {
            at += 1;
            match self.bits.words.get(at) {
                Some(next) => word = *next,
                None => return TERMINATED,
            }
        }
        u32::try_from(at * 64).unwrap_or(TERMINATED) + word.trailing_zeros()
    }
}

impl DocSet for BitDocuments {
    fn advance(&mut self) -> DocId {
        if self.doc != TERMINATED {
            self.doc = self.at_or_behind(self.doc + 1);
        }
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc < target {
            self.doc = self.at_or_behind(target);
        }
        self.doc
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.bits.count
    }
}

impl Stretch for BitDocuments {
    fn pass(&mut self, end: DocId, each: &mut dyn FnMut(&[DocId])) -> u64 {
        let (mut passed, mut docs) = (0, [0; BLOCK]);
        while self.doc < end {
            let at = self.doc as usize / 64;
            let base = self.doc - self.doc % 64;
            let wanted = match end - base {
                count @ 0..64 => (1 << count) - 1,
                _ => u64::MAX,
            };
            let mut word =
                self.bits.words.get(at).copied().unwrap_or_default() & wanted & (u64::MAX << (self.doc % 64));
            let mut count = 0;
            while word != 0 {
                docs[count] = base + word.trailing_zeros();
                count += 1;
                word &= word - 1;
            }
            passed += count as u64;
            each(&docs[..count]);
            self.doc = self.at_or_behind(base.saturating_add(64).min(end));
        }
        passed
    }
}

/// Every document of a segment, with one score.
pub(crate) fn score_of_all(documents: u32, score: f32) -> Box<dyn Scorer> {
    Box::new(Constant::new(Everything { doc: if documents == 0 { TERMINATED } else { 0 }, documents }, score))
}

pub(super) struct Everything {
    doc: DocId,
    documents: u32,
}

impl DocSet for Everything {
    fn advance(&mut self) -> DocId {
        self.seek(self.doc.saturating_add(1))
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.doc = if target < self.documents { target } else { TERMINATED };
        self.doc
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.documents
    }
}

impl Stretch for Everything {
    fn pass(&mut self, end: DocId, each: &mut dyn FnMut(&[DocId])) -> u64 {
        let now = self.doc..end.min(self.documents).max(self.doc);
        let mut docs = [0; BLOCK];
        for first in now.clone().step_by(BLOCK) {
            let docs = &mut docs[..BLOCK.min((now.end - first) as usize)];
            docs.iter_mut().zip(first..).for_each(|(doc, next)| *doc = next);
            each(docs);
        }
        let passed = now.len() as u64;
        if self.doc < end {
            self.seek(end);
        }
        passed
    }
}
