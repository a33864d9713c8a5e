//! What is counted of one segment's living documents: exact, whatever was deleted and merged.
//!
//! Tantivy's own figures count deleted documents until a merge, and are estimates behind one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use statehouse_core::Result;
use tantivy::columnar::Column;
use tantivy::fastfield::AliveBitSet;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet as _, SegmentReader};

use super::document::Length;
use super::error::map_io;
use crate::work::Stop;

/// A text field in one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Documents with at least one term in the field.
    pub(super) documents: u64,
    /// The terms of all of them.
    pub(super) tokens: u64,
}

/// Where the lengths of a text field's documents are.
pub(super) struct Lengths<'a> {
    pub(super) norms: &'a FieldNormReader,
    /// `None` if no document has a text.
    pub(super) exact: Option<&'a Column<u64>>,
}

impl Lengths<'_> {
    fn count(&self, documents: impl Iterator<Item = DocId>) -> Count {
        let mut count = Count::default();
        for doc in documents {
            if self.norms.fieldnorm_id(doc) > 0 {
                count.documents += 1;
                let length = self.exact.and_then(|exact| exact.first(doc)).map_or(0, |number| Length::of(number).terms);
                count.tokens += u64::from(length);
            }
        }
        count
    }
}

#[derive(Debug)]
pub(super) struct Census {
    /// Of each field, all documents, also those that were deleted since the segment was written.
    whole: Arc<[Count]>,
    /// Of each field, the living ones.
    living: Vec<Count>,
    /// The deleted documents in order.
    dead: Vec<DocId>,
    /// How many living documents have a term, by the field's place and where the term's postings begin.
    frequencies: Mutex<HashMap<(usize, usize), u64>>,
}

/// How many frequencies are remembered: a few megabytes at most.
const REMEMBERED: usize = 1 << 16;

/// How many postings are read in the time that it takes to find a certain one.
const SEEK: u64 = 64;

impl Census {
    /// Counts a segment; `None` stands for a field that is no text. What `previous` knows of the same segment is not
    /// counted again.
    pub(super) fn take(reader: &SegmentReader, fields: &[Option<Lengths<'_>>], previous: Option<&Self>) -> Self {
        let dead: Vec<_> = match reader.alive_bitset() {
            Some(alive) => (0..reader.max_doc()).filter(|doc| alive.is_deleted(*doc)).collect(),
            None => Vec::new(),
        };
        let count = |lengths: &Option<Lengths<'_>>, documents: &mut dyn Iterator<Item = DocId>| {
            lengths.as_ref().map_or_else(Count::default, |lengths| lengths.count(documents))
        };
        let whole = match previous {
            Some(previous) => Arc::clone(&previous.whole),
            None => fields.iter().map(|lengths| count(lengths, &mut (0..reader.max_doc()))).collect(),
        };
        let (mut living, known) = match previous {
            Some(previous) => (previous.living.clone(), &*previous.dead),
            None => (whole.to_vec(), &[][..]),
        };
        let died: Vec<_> = dead.iter().copied().filter(|doc| known.binary_search(doc).is_err()).collect();
        for (living, lengths) in living.iter_mut().zip(fields) {
            let died = count(lengths, &mut died.iter().copied());
            living.documents -= died.documents;
            living.tokens -= died.tokens;
        }
        Self { whole, living, dead, frequencies: Mutex::default() }
    }

    pub(super) fn living(&self, place: usize) -> Count {
        self.living[place]
    }

    /// About how many postings have to be read to know the frequency of a term.
    pub(super) fn cost(&self, info: &TermInfo) -> u64 {
        u64::from(info.doc_freq).min(SEEK * self.dead.len() as u64)
    }

    /// How many living documents have a term.
    pub(super) fn frequency(
        &self,
        reader: &SegmentReader,
        (place, inverted): (usize, &InvertedIndexReader),
        info: &TermInfo,
        stop: &Stop,
    ) -> Result<u64> {
        let (frequency, Some(alive)) = (u64::from(info.doc_freq), reader.alive_bitset()) else {
            return Ok(info.doc_freq.into());
        };
        let key = (place, info.postings_range.start);
        if let Some(known) = self.frequencies.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*known);
        }
        let few = self.dead.len() as u64 * SEEK < frequency;
        let dead =
            if few { self.dead_by_seeking(inverted, info, stop) } else { dead_by_reading(inverted, info, alive, stop) };
        let living = frequency.saturating_sub(dead?);
        let mut frequencies = self.frequencies.lock().unwrap_or_else(PoisonError::into_inner);
        if frequencies.len() >= REMEMBERED {
            frequencies.clear();
        }
        frequencies.insert(key, living);
        Ok(living)
    }

    fn dead_by_seeking(&self, inverted: &InvertedIndexReader, info: &TermInfo, stop: &Stop) -> Result<u64> {
        let postings = inverted.read_postings_from_terminfo(info, IndexRecordOption::Basic);
        let mut postings = postings.map_err(map_io)?;
        let mut found = 0;
        for (nth, &doc) in self.dead.iter().enumerate() {
            if nth % 1_024 == 0 {
                stop.check()?;
            }
            let at = if postings.doc() < doc { postings.seek(doc) } else { postings.doc() };
            found += u64::from(at == doc);
        }
        Ok(found)
    }
}

fn dead_by_reading(inverted: &InvertedIndexReader, info: &TermInfo, alive: &AliveBitSet, stop: &Stop) -> Result<u64> {
    let block = inverted.read_block_postings_from_terminfo(info, IndexRecordOption::Basic);
    let mut block = block.map_err(map_io)?;
    let mut found = 0;
    while !block.docs().is_empty() && !stop.is_set() {
        found += block.docs().iter().filter(|doc| alive.is_deleted(**doc)).count() as u64;
        block.advance();
    }
    stop.check().map(|()| found)
}
