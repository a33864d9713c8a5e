//! What the documents of a term score at most, stretch by stretch: so that those that cannot come onto a page are left unread.
//!
//! Tantivy keeps one frequency and one length of each block, the best by its own arithmetic and by the average length of the
//! moment: behind a merge, or in another arithmetic, that is no bound. Here is all that may be the best by any average: what
//! another document of the block has no more often and in no shorter text is left out. So the bound is a score that a document
//! of the block has, to the last bit, unless it was deleted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;

use super::error::map_io;
use crate::work::Stop;

/// How often a term stands in a document, and the byte that stands for the document's length.
pub(super) type Impact = (u32, u8);

/// How many impacts are kept of a block: if it has more, all but the last of them, and one that is as good as the rest together.
const MOST: usize = 8;

/// Of how many documents they are read each time, for that takes no more than to look for them.
const SHORT: u32 = 256;

/// What a term takes that is only remembered, in words of four bytes.
const ENTRY: usize = 16;

/// The blocks of one term's postings in a segment.
#[derive(Debug, Default)]
pub(super) struct Impacts {
    /// The last document of each.
    lasts: Vec<DocId>,
    /// Where the impacts of each end.
    ends: Vec<u32>,
    impacts: Vec<Impact>,
}

impl Impacts {
    /// Reads the postings of a term, with the byte of each document's length.
    fn read(
        inverted: &InvertedIndexReader,
        info: &TermInfo,
        length: impl Fn(DocId) -> u8,
        stop: &Stop,
    ) -> Result<Self> {
        let block = inverted.read_block_postings_from_terminfo(info, IndexRecordOption::WithFreqs);
        let (mut block, mut all) = (block.map_err(map_io)?, Self::default());
        while let Some(last) = block.docs().last() {
            stop.check()?;
            all.lasts.push(*last);
            let start = all.impacts.len();
            let both = block.docs().iter().zip(block.freqs());
            both.for_each(|(doc, frequency)| all.add(start, (*frequency, length(*doc))));
            all.ends.push(u32::try_from(all.impacts.len()).unwrap_or(u32::MAX));
            block.advance();
        }
        Ok(all)
    }

    /// Adds an impact to those of a block that begin at `start`, unless one of them is as good.
    fn add(&mut self, start: usize, (frequency, length): Impact) {
        let of_block = &self.impacts[start..];
        if of_block.iter().any(|(other, shorter)| *other >= frequency && *shorter <= length) {
            return;
        }
        let mut at = start;
        while let Some((other, longer)) = self.impacts.get(at) {
            if *other <= frequency && *longer >= length {
                self.impacts.swap_remove(at);
            } else {
                at += 1;
            }
        }
        if self.impacts.len() - start < MOST {
            return self.impacts.push((frequency, length));
        }
        if let Some((other, shorter)) = self.impacts.last_mut() {
            (*other, *shorter) = ((*other).max(frequency), (*shorter).min(length));
        }
    }

    /// The block that a document is in, if it has the term: the first that does not end before it, from a known one on.
    #[inline]
    pub(super) fn block_of(&self, doc: DocId, from: usize) -> usize {
        let left = self.lasts.get(from..).unwrap_or_default();
        from + left.iter().take_while(|last| **last < doc).count()
    }

    /// The last document of a block.
    #[inline]
    pub(super) fn last(&self, block: usize) -> Option<DocId> {
        self.lasts.get(block).copied()
    }

    #[inline]
    pub(super) fn of(&self, block: usize) -> &[Impact] {
        let end = |block: usize| self.ends.get(block).map_or(0, |end| *end as usize);
        let start = block.checked_sub(1).map_or(0, end);
        self.impacts.get(start..end(block)).unwrap_or_default()
    }

    /// How many there are of everything.
    fn size(&self) -> usize {
        2 * self.lasts.len() + 2 * self.impacts.len()
    }
}

/// The impacts of a segment's terms. To read them takes as long as to score the term's documents, so they are read when they are
/// needed a second time: what is searched for once costs no more than without them.
#[derive(Debug)]
pub(super) struct KnownImpacts {
    /// How much is kept at most, in words of four bytes: no more than a part of the index itself.
    most: usize,
    known: Mutex<Known>,
}

/// By the field's place and where the term's postings begin.
#[derive(Debug, Default)]
struct Known {
    of_terms: HashMap<(usize, usize), Option<Arc<Impacts>>>,
    size: usize,
}

impl KnownImpacts {
    pub(super) fn new(documents: u32) -> Self {
        Self { most: (1 << 16) + documents as usize / 4, known: Mutex::default() }
    }

    /// None where it is faster to go without, this time.
    pub(super) fn of(
        &self,
        (place, inverted): (usize, &InvertedIndexReader),
        info: &TermInfo,
        length: impl Fn(DocId) -> u8,
        stop: &Stop,
    ) -> Result<Option<Arc<Impacts>>> {
        if info.doc_freq <= SHORT {
            return Impacts::read(inverted, info, length, stop).map(Arc::new).map(Some);
        }
        let key = (place, info.postings_range.start);
        let known = self.lock().of_terms.get(&key).cloned();
        match known {
            Some(Some(known)) => return Ok(Some(known)),
            Some(None) => {}
            None => {
                self.keep(key, None);
                return Ok(None);
            }
        }
        let read = Arc::new(Impacts::read(inverted, info, length, stop)?);
        self.keep(key, Some(Arc::clone(&read)));
        Ok(Some(read))
    }

    /// Begins anew where there is no room.
    fn keep(&self, key: (usize, usize), impacts: Option<Arc<Impacts>>) {
        let size = ENTRY + impacts.as_ref().map_or(0, |impacts| impacts.size());
        let mut known = self.lock();
        if known.size + size > self.most {
            *known = Known::default();
        }
        if size <= self.most {
            known.size += size;
            known.of_terms.insert(key, impacts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Impact, Impacts, MOST};

    fn of_one_block(impacts: &[Impact]) -> Vec<Impact> {
        let mut all = Impacts::default();
        impacts.iter().for_each(|impact| all.add(0, *impact));
        all.impacts.sort_unstable();
        all.impacts
    }

    #[test]
    fn what_another_is_as_good_as_is_left_out() {
        assert_eq!(of_one_block(&[(1, 9), (1, 7), (1, 8)]), [(1, 7)]);
        assert_eq!(of_one_block(&[(1, 7), (2, 9), (1, 8), (2, 12), (3, 9)]), [(1, 7), (3, 9)]);
        assert_eq!(of_one_block(&[(1, 7), (2, 9), (4, 5)]), [(4, 5)]);
    }

    #[test]
    fn those_that_are_too_many_are_as_good_as_one_together() {
        let many: Vec<Impact> = (1..=20).map(|n| (n, u8::try_from(n).unwrap())).collect();
        let kept = of_one_block(&many);
        assert_eq!(kept.len(), MOST);
        for (frequency, length) in many {
            assert!(kept.iter().any(|(other, shorter)| *other >= frequency && *shorter <= length), "{kept:?}");
        }
    }

    #[test]
    fn a_document_is_in_the_first_block_that_does_not_end_before_it() {
        let all = Impacts { lasts: vec![3, 9, 20], ends: vec![1, 3, 4], impacts: vec![(1, 1), (2, 2), (3, 3), (4, 4)] };
        assert_eq!([0, 3, 4, 9, 20, 21].map(|doc| all.block_of(doc, 0)), [0, 0, 1, 1, 2, 3]);
        assert_eq!([all.of(0), all.of(1), all.of(2), all.of(3)], [&[(1, 1)][..], &[(2, 2), (3, 3)], &[(4, 4)], &[]]);
        assert_eq!((all.last(2), all.last(3)), (Some(20), None));
    }
}
