//! A write where there are two generations.
//!
//! One of them decides what becomes of each operation; the other one is then told what is so now, with the version that it
//! has there. So both hold the same documents in the same versions, whatever either has forgotten.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use statehouse_core::{Error, ErrorKind, Result};

use super::super::client::Rule;
use super::super::error::BACKEND;
use super::copied::{adapted, as_it_is, check_stored};
use super::{Generation, Set};
use crate::{BulkOptions, DocumentId, GenerationState, Operation, Outcome, Schema};

pub(super) struct Both<'a> {
    pub(super) set: &'a Set,
    /// That of the handle, and what the handle knows of it.
    pub(super) home: &'a Generation,
    pub(super) schema: &'a Schema,
    /// One that holds all that was acknowledged.
    pub(super) decides: &'a Generation,
    pub(super) follows: &'a Generation,
}

impl Both<'_> {
    pub(super) fn bulk(&self, operations: Vec<Operation>, options: &BulkOptions) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<_> = operations.iter().map(|operation| self.refusal(operation)).collect();
        let taken = operations.into_iter().enumerate().filter(|(place, _)| outcomes[*place].is_none());
        let (places, taken): (Vec<_>, Vec<_>) = taken.unzip();
        let decided = taken.iter().map(|operation| self.by(self.decides, operation.clone())).collect();
        let rule = (&*self.decides.client.mapping.schema, Rule::Newer);
        let mut decided = self.decides.client.bulk(decided, options, rule)?;
        self.tell(taken, &mut decided, options)?;
        for (place, outcome) in places.into_iter().zip(decided) {
            outcomes[place] = Some(outcome);
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// An operation by the schema of a generation.
    fn by(&self, generation: &Generation, operation: Operation) -> Operation {
        let is_home = generation.number == self.home.number;
        if is_home { operation } else { adapted(self.set, self.home, generation, operation) }
    }

    fn is_filling(&self, generation: &Generation) -> bool {
        self.set.state(generation) == GenerationState::Filling
    }

    /// Whether what it lacks is found before it becomes live: what is copied to it is compared with the live one.
    fn is_compared(&self, generation: &Generation) -> bool {
        self.is_filling(generation) && !generation.rows.expected.load(Ordering::Acquire)
    }

    /// What one of them cannot hold is in neither. For one that is being copied to that is found before it becomes live.
    fn refusal(&self, operation: &Operation) -> Option<Outcome> {
        let others = self.set.all().filter(|other| other.number != self.home.number && !self.is_compared(other));
        let mut checks = others.map(|other| {
            let operation = self.by(other, operation.clone());
            other.client.mapping.schema.check_operation(&operation)
        });
        let checked = self.schema.check_operation(operation).and_then(|()| checks.try_for_each(|checked| checked));
        checked.err().map(Outcome::Failed)
    }

    /// Tells the other one what is so now.
    fn tell(&self, operations: Vec<Operation>, outcomes: &mut [Outcome], options: &BulkOptions) -> Result<()> {
        let applied = operations.iter().zip(&*outcomes).filter(|(_, outcome)| is_applied(outcome));
        let applied: HashSet<_> = applied.map(|(operation, _)| operation.id().clone()).collect();
        let is_filled = self.is_filling(self.follows) && self.follows.rows.expected.load(Ordering::Acquire);
        let (mut places, mut told, mut versions) = (Vec::new(), Vec::new(), Vec::new());
        for (place, operation) in operations.into_iter().enumerate() {
            if is_filled && is_applied(&outcomes[place]) {
                versions.push((place, operation.id().clone(), operation.version()));
            }
            match self.now(operation, &outcomes[place], &applied) {
                Ok(None) => {}
                Ok(Some(operation)) => {
                    places.push(place);
                    told.push(operation);
                }
                Err(error) => outcomes[place] = Outcome::Failed(error),
            }
        }
        let mut options = options.clone();
        options.fence = None;
        let rule = (&*self.follows.client.mapping.schema, Rule::Exact);
        self.settle(self.follows.client.bulk(told, &options, rule), &places, outcomes)?;
        versions.retain(|(place, ..)| is_applied(&outcomes[*place]));
        self.follows.rows.note(versions.into_iter().map(|(_, id, version)| (id, version)));
        Ok(())
    }

    /// What is so behind an operation; `None` if it changed nothing, and the other one knows that.
    fn now(&self, operation: Operation, outcome: &Outcome, applied: &HashSet<DocumentId>) -> Result<Option<Operation>> {
        let now = match (operation, outcome) {
            (_, Outcome::Failed(_)) => return Ok(None),
            // What was done to it by the same bulk is told.
            (operation, Outcome::Stale) if applied.contains(operation.id()) => return Ok(None),
            (operation, Outcome::Stale) => return self.again(operation),
            (operation, _) if self.is_older_than_a_row(&operation)? => return Ok(None),
            (Operation::Upsert(record), Outcome::Created { version } | Outcome::Updated { version }) => {
                Operation::Upsert(record.with_version(*version))
            }
            (Operation::Delete { id, .. }, Outcome::Deleted { version }) => {
                Operation::Delete { id, version: Some(*version) }
            }
            (Operation::Delete { id, .. }, _) => {
                let version = self.decides.client.versions(&id)?.1;
                Operation::Delete { id, version }
            }
            (Operation::Upsert(_), _) => return Ok(None),
        };
        Ok(Some(self.by(self.follows, now)))
    }

    /// Whether one that is filled from elsewhere has got something newer from there.
    fn is_older_than_a_row(&self, operation: &Operation) -> Result<bool> {
        if operation.version().is_none() || !self.is_filling(self.follows) {
            return Ok(false);
        }
        let (there, deleted) = self.follows.client.versions(operation.id())?;
        Ok(there.max(deleted) > operation.version())
    }

    /// What the other one lacks of what came too late: this may be the second time that it is sent, and the first time only
    /// one of them has got it.
    fn again(&self, operation: Operation) -> Result<Option<Operation>> {
        let id = operation.id();
        let (decided, known) = (self.decides.client.versions(id)?, self.follows.client.versions(id)?);
        // What one that is being filled lacks is found before it becomes live, unless its own handle reads it.
        let is_read = !self.is_compared(self.follows) || self.follows.number == self.home.number;
        let is_newer = self.is_filling(self.follows) && known.0.max(known.1) >= decided.0.max(decided.1);
        if decided == known || !is_read || is_newer { Ok(None) } else { self.lacking(operation, decided) }
    }

    fn lacking(&self, operation: Operation, decided: (Option<u64>, Option<u64>)) -> Result<Option<Operation>> {
        let is_all_of_it = match &operation {
            Operation::Upsert(record) => decided.0 == record.version(),
            Operation::Delete { version, .. } => decided.0.is_none() && decided.1 == *version,
        };
        if is_all_of_it {
            return Ok(Some(self.by(self.follows, operation)));
        }
        match check_stored(self.decides, self.follows) {
            Ok(()) => as_it_is(self.set, self.decides, self.follows, operation.id()),
            // It is not taken for the same anyway.
            Err(_) if !self.set.is_whole(self.follows) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it means that the other generation did not take it.
    fn settle(&self, done: Result<Vec<Outcome>>, places: &[usize], outcomes: &mut [Outcome]) -> Result<()> {
        // What is lacking in one that is copied to is found before it becomes live. What a handle reads is not copied to it.
        let may_lack = self.is_compared(self.follows) && self.follows.number != self.home.number;
        let of_other = match done {
            Ok(of_other) => of_other,
            Err(error) if may_lack => {
                tracing::warn!(name: "search.generation_behind", error = %error, "a generation that is being filled was not written");
                return Ok(());
            }
            Err(error) => return Err(in_one(error)),
        };
        for (place, outcome) in places.iter().zip(of_other) {
            if let Outcome::Failed(error) = outcome
                && !may_lack
            {
                outcomes[*place] = Outcome::Failed(in_one(error));
            }
        }
        Ok(())
    }
}

const fn is_applied(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Stale | Outcome::Failed(_))
}

fn in_one(cause: Error) -> Error {
    let message = "it was written to one generation of the index, and not to the other";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_source(cause)
}
