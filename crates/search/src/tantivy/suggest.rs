//! Terms of the dictionary that may have been meant by words.

use statehouse_core::Result;

use super::error::map_io;
use super::expand::Similar;
use super::snapshot::Snapshot;
use crate::suggest::words::Words;
use crate::work::Stop;
use crate::{Schema, Suggest, Suggestion, Suggestions};

/// What may have been meant by a text that was checked.
pub(super) fn suggest(schema: &Schema, snapshot: &Snapshot, asked: &Suggest, stop: &Stop) -> Result<Suggestions> {
    let (place, _) = snapshot.mapping.slot(&asked.field)?;
    let words = Words::of(schema, asked)?;
    let found = words.terms().iter().map(|term| of_term((snapshot, place), asked, term, stop));
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(words.corrected(asked, &found))
}

fn of_term((snapshot, place): (&Snapshot, usize), asked: &Suggest, text: &str, stop: &Stop) -> Result<Vec<Suggestion>> {
    // First: to find what is similar takes far longer.
    let own = living((snapshot, place), text, stop)?;
    if !asked.corrects(own) {
        return Ok(Vec::new());
    }
    let similar = Similar { text, edits: asked.max_edits, prefix_length: Suggest::PREFIX, most: asked.size };
    let letters: Vec<char> = text.chars().collect();
    let found = similar.found(snapshot, place, stop)?.into_iter();
    let found = found.map(|(term, documents)| (similar.similarity(&letters, &term), Suggestion::new(term, documents)));
    Ok(asked.best(text, own, found).into_iter().map(|(_, suggestion)| suggestion).collect())
}

/// How many living documents have a term.
fn living((snapshot, place): (&Snapshot, usize), text: &str, stop: &Stop) -> Result<u64> {
    let mut documents = 0;
    for segment in &snapshot.segments {
        let Some(inverted) = segment.terms(place) else { continue };
        if let Some(info) = inverted.terms().get(text).map_err(map_io)? {
            documents += segment.frequency(place, &info, stop)?;
        }
    }
    Ok(documents)
}
