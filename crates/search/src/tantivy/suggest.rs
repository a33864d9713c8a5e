//! Terms of the dictionary that may have been meant by words.

use statehouse_core::Result;

use super::expand::Similar;
use super::snapshot::Snapshot;
use crate::work::Stop;
use crate::{Schema, Suggest, Suggestion, Suggestions};

/// What may have been meant by a text that was checked.
pub(super) fn suggest(schema: &Schema, snapshot: &Snapshot, asked: &Suggest, stop: &Stop) -> Result<Suggestions> {
    let (place, _) = snapshot.mapping.slot(&asked.field)?;
    let mut words = Vec::new();
    for token in asked.words(schema)? {
        let similar =
            Similar { text: &token.text, edits: asked.max_edits, prefix_length: Suggest::PREFIX, most: asked.size };
        let letters: Vec<char> = token.text.chars().collect();
        let mut found = similar.found(snapshot, place, stop)?;
        let own = found.remove(&token.text).unwrap_or_default();
        let found = found
            .into_iter()
            .map(|(term, documents)| (similar.similarity(&letters, &term), Suggestion::new(term, documents)));
        words.extend(asked.best(&token, own, found.collect()));
    }
    Ok(Suggestions::new(asked.text.clone(), words))
}
