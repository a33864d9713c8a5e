//! Which terms of the dictionary a beginning, a range or a similar spelling stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use statehouse_core::Result;
use tantivy::Term;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::query::FuzzyTermQuery;
use tantivy::termdict::TermStreamer;

use super::error::{map_error, map_io};
use super::snapshot::Snapshot;
use crate::distance::edit_distance;
use crate::work::Stop;

/// What the terms similar to one are.
pub(super) struct Similar<'a> {
    pub(super) text: &'a str,
    pub(super) edits: u8,
    /// How many code points at the beginning must be equal.
    pub(super) prefix_length: usize,
    /// How many of them to take: the most similar.
    pub(super) most: usize,
}

impl Similar<'_> {
    /// The terms, each with its similarity as a boost, and the one document frequency that ranks them all: that of the
    /// most frequent of them, so that a rare misspelling is not worth more than the word.
    ///
    /// As Lucene's `TopTermsBlendedFreqScoringRewrite`: the most similar, the first in order among equals.
    pub(super) fn terms(&self, snapshot: &Snapshot, place: usize, stop: &Stop) -> Result<Vec<(String, f32, u64)>> {
        let letters: Vec<char> = self.text.chars().collect();
        let similarity = |(term, frequency): (String, u64)| (self.similarity(&letters, &term), term, frequency);
        let mut similar: Vec<_> = self.found(snapshot, place, stop)?.into_iter().map(similarity).collect();
        // Stable: among equals the order of the terms stays.
        similar.sort_by(|a, b| b.0.total_cmp(&a.0));
        similar.truncate(self.most);
        let frequency = similar.iter().map(|(.., frequency)| *frequency).max().unwrap_or_default();
        similar.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(similar.into_iter().map(|(boost, term, _)| (term, boost, frequency)).collect())
    }

    /// All terms that are similar and that living documents have, with how many those are.
    pub(super) fn found(&self, snapshot: &Snapshot, place: usize, stop: &Stop) -> Result<BTreeMap<String, u64>> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        let Some(slot) = snapshot.mapping.slots[place] else { return Ok(found) };
        stop.check()?;
        let automaton = FuzzyTermQuery::new(Term::from_field_text(slot, self.text), self.edits, true);
        let prefix = self.text.char_indices().nth(self.prefix_length).map_or(self.text, |(end, _)| &self.text[..end]);
        for segment in &snapshot.segments {
            let Some(inverted) = segment.terms(place) else { continue };
            stop.check()?;
            let automaton = automaton.automaton().map_err(map_error)?;
            let mut stream = inverted.terms().search(automaton).ge(prefix).into_stream().map_err(map_io)?;
            while let Some((term, info)) = stream.next() {
                let Ok(term) = std::str::from_utf8(term) else { continue };
                if !term.starts_with(prefix) {
                    break;
                }
                let living = segment.frequency(place, info, stop)?;
                match found.get_mut(term) {
                    Some(frequency) => *frequency += living,
                    None if living > 0 => drop(found.insert(term.to_owned(), living)),
                    None => {}
                }
            }
        }
        Ok(found)
    }

    /// 1 for the same term, less for each letter that differs, as Lucene's `FuzzyTermsEnum` has it.
    #[expect(clippy::cast_precision_loss, reason = "lengths of terms are small")]
    pub(super) fn similarity(&self, letters: &[char], term: &str) -> f32 {
        let other: Vec<char> = term.chars().collect();
        let most = usize::from(self.edits);
        match edit_distance(letters, &other, most).unwrap_or(most) {
            0 => 1.0,
            distance => 1.0 - distance as f32 / letters.len().min(other.len()) as f32,
        }
    }
}

/// Calls `visit` for every term between two bounds.
pub(super) fn for_range(
    inverted: &InvertedIndexReader,
    lower: &Bound<Vec<u8>>,
    upper: &Bound<Vec<u8>>,
    stop: &Stop,
    mut visit: impl FnMut(&[u8], &TermInfo) -> Result<()>,
) -> Result<()> {
    let mut stream = terms_between(inverted, lower, upper)?;
    while stream.advance() {
        stop.check()?;
        visit(stream.key(), stream.value())?;
    }
    Ok(())
}

fn terms_between<'a>(
    inverted: &'a InvertedIndexReader,
    lower: &Bound<Vec<u8>>,
    upper: &Bound<Vec<u8>>,
) -> Result<TermStreamer<'a>> {
    let range = inverted.terms().range();
    let range = match lower {
        Bound::Included(bytes) => range.ge(bytes),
        Bound::Excluded(bytes) => range.gt(bytes),
        Bound::Unbounded => range,
    };
    let range = match upper {
        Bound::Included(bytes) => range.le(bytes),
        Bound::Excluded(bytes) => range.lt(bytes),
        Bound::Unbounded => range,
    };
    range.into_stream().map_err(map_io)
}

/// The first terms in order, `most` of them, that begin with a text and that living documents have.
///
/// As `MultiPhrasePrefixQuery` of OpenSearch takes them of an index that is one segment.
pub(super) fn beginnings(
    snapshot: &Snapshot,
    place: usize,
    text: &str,
    most: usize,
    stop: &Stop,
) -> Result<Vec<String>> {
    let (lower, upper) = prefix_bounds(text);
    let mut found = BTreeSet::new();
    for segment in &snapshot.segments {
        let Some(inverted) = segment.terms(place) else { continue };
        let mut stream = terms_between(inverted, &lower, &upper)?;
        // Behind so many that are alive here, none is among the first.
        let mut living = 0;
        while living < most && stream.advance() {
            stop.check()?;
            let Ok(term) = std::str::from_utf8(stream.key()) else { continue };
            if segment.frequency(place, stream.value(), stop)? > 0 {
                living += 1;
                found.insert(term.to_owned());
            }
        }
    }
    Ok(found.into_iter().take(most).collect())
}

/// The bounds of all terms that begin with a text.
pub(super) fn prefix_bounds(text: &str) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut end = text.as_bytes().to_vec();
    // The next text of the same length or less: no byte of UTF-8 is 0xFF, so one step up never carries.
    let upper = match end.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(text.as_bytes().to_vec()), upper)
}
