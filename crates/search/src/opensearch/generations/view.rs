//! What is known of the generations of an index.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::super::error::BACKEND;
use super::super::found::Known;
use super::super::mapping::{Stored, mismatch};
use super::filler::Fillers;
use super::set::{Beside, Set, readable, told};
use crate::translate::translated;
use crate::{GenerationState, Operation, Record, Schema, SchemaDiff};

/// The live one, and the one beside it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) set: Set,
    pub(crate) live: Known,
    pub(crate) beside: Option<Known>,
}

/// Which generation serves a schema, and what of it that does not have.
pub(crate) struct Serving<'a> {
    pub(crate) known: &'a Known,
    pub(crate) lacks: Vec<String>,
}

impl View {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Known> {
        [Some(&self.live), self.beside.as_ref()].into_iter().flatten()
    }

    pub(crate) fn number(&self, number: u32) -> Option<&Known> {
        self.all().find(|known| known.number == number)
    }

    pub(crate) fn state(&self, known: &Known) -> GenerationState {
        match self.set.beside {
            Some((number, beside)) if number == known.number => beside.state(),
            _ => GenerationState::Live,
        }
    }

    /// What the one beside the live one is for, if it is this one.
    pub(crate) fn beside_of(&self, known: &Known) -> Option<Beside> {
        self.set.beside.filter(|(number, _)| *number == known.number).map(|(_, beside)| beside)
    }

    /// The alias by which a generation is reached, whatever it is for.
    pub(crate) fn address(&self, alias: &str, known: &Known) -> String {
        if self.beside_of(known).is_some() { told(alias, known.number) } else { readable(alias, known.number) }
    }

    /// By what all of them are reached.
    pub(crate) fn addresses(&self, alias: &str) -> String {
        self.all().map(|known| self.address(alias, known)).collect::<Vec<_>>().join(",")
    }

    /// The generation that a handle of this schema uses: the live one if that has it, or can have it, else the other. `own` is
    /// one that the handle may see while it is filled.
    pub(crate) fn find(&self, wanted: &Schema, own: Option<u32>, fillers: &Fillers) -> Result<Serving<'_>> {
        let is_own = |known: &&Known| Some(known.number) == own && self.state(known) == GenerationState::Filling;
        let is_whole = |known: &&Known| matches!(self.state(known), GenerationState::Live | GenerationState::Kept);
        let own = self.all().filter(is_own);
        if let Some(known) = own.chain(self.all().filter(is_whole)).find(|known| known.stored.serves(wanted)) {
            return Ok(Serving { known, lacks: Vec::new() });
        }
        if let Some(known) = self.beside.as_ref().filter(|known| known.stored.serves(wanted)) {
            return Err(self.not_whole(known, fillers));
        }
        for known in self.all().filter(is_whole) {
            if let SchemaDiff::Additive { added, .. } = known.stored.diff(wanted) {
                return Ok(Serving { known, lacks: added });
            }
        }
        Err(other_schema(&self.live.stored, wanted))
    }

    /// Why a generation is not used.
    fn not_whole(&self, known: &Known, fillers: &Fillers) -> Error {
        let number = known.number;
        if self.state(known) != GenerationState::Filling {
            return mismatch(format!(
                "generation {number} of the index, which has this schema, does not hold what the live one does: go back to it with a rollback, or run a Reindex"
            ));
        }
        if fillers.is_anybody(number) {
            let message = format!("generation {number} of the index, which has this schema, is being filled");
            return Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND).with_retry(Retry::After(AGAIN));
        }
        mismatch(format!(
            "generation {number} was begun and not finished, or another process fills it: run the Reindex, which goes on with it, or drop it"
        ))
    }

    /// An operation by the schema of one generation, as another one has it.
    pub(crate) fn adapted(&self, from: &Known, to: &Known, operation: &Operation) -> Operation {
        match operation {
            Operation::Upsert(record) => Operation::Upsert(self.record(from, to, record)),
            delete @ Operation::Delete { .. } => delete.clone(),
        }
    }

    pub(crate) fn record(&self, from: &Known, to: &Known, record: &Record) -> Record {
        if from.number == to.number {
            return record.clone();
        }
        // The one that was made later says how it names what was there before.
        if to.number > from.number {
            translated(record, &to.stored.schema, |field| to.stored.newer(field))
        } else {
            translated(record, &to.stored.schema, |field| from.stored.older(field))
        }
    }

    /// Refuses to make documents of stored ones that lack what is only searched.
    pub(crate) fn check_stored(from: &Known, to: &Known) -> Result<()> {
        let wanted = |field: &str| {
            let name = if to.number > from.number { to.stored.newer(field) } else { from.stored.older(field) };
            to.stored.schema.field(name).is_some()
        };
        let mut fields = from.stored.schema.fields().iter();
        let lost = fields.find(|field| field.source().is_none() && !field.is_stored() && wanted(field.name()));
        lost.map_or(Ok(()), |field| {
            let message = "the field is not stored, so it cannot be copied: index the documents anew from their source";
            Err(Error::new(ErrorKind::Unsupported, message).with_backend(BACKEND).with_key(field.name()))
        })
    }
}

fn other_schema(stored: &Stored, wanted: &Schema) -> Error {
    let reasons = stored.diff(wanted).into_added().err().unwrap_or_default();
    let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    let message = format!("the index was created with another schema than the one given: {}", reasons.join("; "));
    mismatch(message)
}

pub(crate) fn absent(number: u32) -> Error {
    Error::new(ErrorKind::NotFound, format!("the index has no generation {number}")).with_backend(BACKEND)
}

/// When it is worth to ask again for a generation that is being filled.
const AGAIN: Duration = Duration::from_secs(1);
