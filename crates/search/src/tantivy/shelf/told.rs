//! What is said of generations, and of why one is not used.

use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::super::error::BACKEND;
use super::{Generation, Set, Shelf, Unreadable};
use crate::work::Stop;
use crate::{GenerationState, Schema, SchemaDiff};

impl Shelf {
    /// The generation that a handle of this schema uses: the live one if that has it, else the other. `own` is one that
    /// the handle may see while it is filled.
    pub(in super::super) fn find(&self, wanted: &Schema, own: Option<u32>) -> Result<Generation> {
        let set = self.set();
        let whole = |generation: &&Generation| set.is_whole(generation);
        let is_filling = |own: &&Generation| set.state(own) == GenerationState::Filling;
        let own = own.and_then(|own| set.number(own)).filter(is_filling);
        let found = own.into_iter().chain(set.all().filter(whole)).find(|generation| generation.serves(wanted));
        found.cloned().ok_or_else(|| refusal(&set, wanted))
    }

    /// All of them, in the order of their numbers.
    pub(in super::super) fn generations(&self, checksums: bool, stop: &Stop) -> Result<Vec<crate::Generation>> {
        let set = self.set();
        let told = |generation: &Generation| {
            let (client, state) = (&generation.client, set.state(generation));
            let told = crate::Generation::new(generation.number, Arc::clone(&client.mapping.schema), state);
            Ok(if checksums {
                told.with_digest(client.digest(stop)?)
            } else {
                told.with_documents(client.documents()?)
            })
        };
        let unreadable = set.unreadable.iter().map(|Unreadable { number, schema, .. }| {
            Ok(crate::Generation::new(*number, Arc::clone(schema), GenerationState::Unreadable))
        });
        let mut all = set.all().map(told).chain(unreadable).collect::<Result<Vec<_>>>()?;
        all.sort_by_key(|generation| generation.number);
        Ok(all)
    }
}

/// There is no generation of this schema.
pub(super) fn refusal(set: &Set, wanted: &Schema) -> Error {
    if let Some(serving) = set.all().find(|generation| generation.serves(wanted)) {
        return not_whole(set, serving);
    }
    if let Some(unreadable) = set.unreadable.as_ref().filter(|unreadable| unreadable.serves(wanted)) {
        return unreadable.refused();
    }
    let what: Vec<String> = match set.live.client.mapping.schema.diff(wanted) {
        SchemaDiff::NeedsReindex { reasons } => reasons.iter().map(ToString::to_string).collect(),
        SchemaDiff::Additive { added, .. } => {
            added.iter().map(|field| format!("field {field:?} is not in it")).collect()
        }
        SchemaDiff::Same => Vec::new(),
    };
    let message =
        format!("the index has another schema ({}); reindex it, or build it anew from its source", what.join(", "));
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Never)
}

/// Why a generation is not used.
fn not_whole(set: &Set, generation: &Generation) -> Error {
    let number = generation.number;
    let message = match set.state(generation) {
        GenerationState::Filling if generation.filled_by.is_anybody() => {
            let message = format!("generation {number} of the index, which has this schema, is being filled");
            return Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND).with_retry(Retry::After(AGAIN));
        }
        // Who began it has ended, or has given up.
        GenerationState::Filling => {
            format!("generation {number} was begun and not finished: run the Reindex again, or drop it")
        }
        _ => format!(
            "generation {number} of the index, which has this schema, does not hold what the live one does: go back to it with a rollback, or run a Reindex"
        ),
    };
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Never)
}

/// There is none of this number that could be used.
pub(super) fn absent(set: &Set, number: u32) -> Error {
    if let Some(unreadable) = set.unreadable.as_ref().filter(|unreadable| unreadable.number == number) {
        return unreadable.refused();
    }
    Error::new(ErrorKind::NotFound, format!("the index has no generation {number}")).with_backend(BACKEND)
}

/// When it is worth to ask again for a generation that is being filled.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
