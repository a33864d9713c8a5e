//! One write to every generation, and copies of what one holds in the other.

use std::sync::PoisonError;

use statehouse_core::{Error, ErrorKind, Result};

use super::super::client::Rule;
use super::super::error::BACKEND;
use super::super::gate::Gate;
use super::super::log::Unsynced;
use super::both::Both;
use super::copied::{as_it_is, check_stored};
use super::{Generation, Set, Shelf};
use crate::work::Stop;
use crate::{BulkOptions, DocumentId, Durability, GenerationState, Operation, Outcome, Reach, Schema};

impl Shelf {
    /// Writes to the generation of a handle, and to the other if there is one. Gives what is to be waited for, too.
    pub(in super::super) fn bulk(
        &self,
        home: u32,
        schema: &Schema,
        operations: Vec<Operation>,
        options: (&BulkOptions, &Stop),
    ) -> Result<(Vec<Outcome>, Vec<Unsynced>)> {
        let _shared = self.order.read().unwrap_or_else(PoisonError::into_inner);
        let set = self.set();
        let outcomes = self.bulk_of(&set, home, schema, operations, options)?;
        let is_logged = options.0.durability == Durability::Logged;
        let logs = set.all().filter(|_| is_logged).filter_map(|generation| generation.client.unsynced());
        Ok((outcomes, logs.collect()))
    }

    fn bulk_of(
        &self,
        set: &Set,
        home: u32,
        schema: &Schema,
        operations: Vec<Operation>,
        (options, stop): (&BulkOptions, &Stop),
    ) -> Result<Vec<Outcome>> {
        let gate = Gate::new(&self.marks, options.fence.as_ref(), stop);
        let home = set.number(home).ok_or_else(gone)?;
        if options.reach == Reach::Own && set.state(home) != GenerationState::Filling {
            return Err(not_filled(home.number));
        }
        let Some(other) = set.all().find(|other| other.number != home.number) else {
            return home.client.bulk_behind(&gate, operations, options, (schema, Rule::Newer));
        };
        let _one = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = gate.enter()?;
        if options.reach == Reach::Own {
            return from_rows(home, operations, options, schema);
        }
        // One that does not hold all yet cannot say what is late, nor which version comes next.
        let decides = if set.is_whole(home) { home } else { &set.live };
        let follows = if set.is_whole(home) { other } else { home };
        Both { set, home, schema, decides, follows }.bulk(operations, options)
    }

    /// Makes the generation beside the live one hold of these ids what that holds. Says how many it did not.
    pub(in super::super) fn copy(&self, ids: Vec<DocumentId>, stop: &Stop) -> Result<u64> {
        let _shared = self.order.read().unwrap_or_else(PoisonError::into_inner);
        let set = self.set();
        let target = set.beside.as_ref().ok_or_else(none_beside)?;
        check_stored(&set.live, target)?;
        let _one = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        stop.check()?;
        let mut told = Vec::new();
        for id in ids {
            told.extend(as_it_is(&set, &set.live, target, &id)?);
        }
        let changed = told.len() as u64;
        let queued = BulkOptions::default().with_durability(Durability::Queued);
        let ids: Vec<_> = told.iter().map(|operation| operation.id().clone()).collect();
        let outcomes = target.client.bulk(told, &queued, (&target.client.mapping.schema, Rule::Exact))?;
        for (id, outcome) in ids.iter().zip(outcomes) {
            if let Outcome::Failed(error) = outcome {
                return Err(error.with_key(id.as_str()));
            }
        }
        Ok(changed)
    }
}

/// Writes rows, or what else is to be in this generation alone.
fn from_rows(
    home: &Generation,
    operations: Vec<Operation>,
    options: &BulkOptions,
    schema: &Schema,
) -> Result<Vec<Outcome>> {
    let late = home.rows.late(&operations);
    let taken = operations.into_iter().zip(&late).filter_map(|(operation, late)| (!late).then_some(operation));
    let mut taken = home.client.bulk(taken.collect(), options, (schema, Rule::Unknown))?.into_iter();
    let outcomes = late.into_iter().map(|late| if late { Some(Outcome::Stale) } else { taken.next() });
    Ok(outcomes.flatten().collect())
}

fn not_filled(number: u32) -> Error {
    let message = format!("generation {number} is not being filled: what is written is written to all");
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND)
}

fn gone() -> Error {
    Error::new(ErrorKind::Conflict, "the generation of this handle is gone: open the index anew").with_backend(BACKEND)
}

fn none_beside() -> Error {
    Error::new(ErrorKind::NotFound, "there is no generation beside the live one").with_backend(BACKEND)
}
