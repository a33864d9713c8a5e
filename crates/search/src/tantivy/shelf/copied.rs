//! What one generation holds, as another one does.

use statehouse_core::{Error, ErrorKind, Result};

use super::super::error::BACKEND;
use super::super::pending::Copied;
use super::{Generation, Set};
use crate::translate::translated;
use crate::{DocumentId, Operation, Record};

/// What one generation knows of an id, for one that knows something else.
pub(super) fn as_it_is(set: &Set, from: &Generation, to: &Generation, id: &DocumentId) -> Result<Option<Operation>> {
    let known = to.client.versions(id)?;
    if from.client.versions(id)? == known {
        return Ok(None);
    }
    Ok(match from.client.copy_of(id)? {
        Copied::Document(record) => Some(adapted(set, from, to, Operation::Upsert(record))),
        Copied::Deleted(version) => Some(Operation::Delete { id: id.clone(), version: Some(version) }),
        Copied::Nothing => known.0.map(|_| Operation::Delete { id: id.clone(), version: None }),
    })
}

/// The operation by the schema of another generation.
pub(super) fn adapted(set: &Set, from: &Generation, to: &Generation, operation: Operation) -> Operation {
    match operation {
        Operation::Upsert(record) => Operation::Upsert(record_of(set, from, to, &record)),
        delete @ Operation::Delete { .. } => delete,
    }
}

fn record_of(set: &Set, from: &Generation, to: &Generation, record: &Record) -> Record {
    let schema = &to.client.mapping.schema;
    // The one that was made later says how it names what was there before.
    let newer = set.all().max_by_key(|generation| generation.number).map_or(from, |newer| newer);
    if newer.number == to.number {
        translated(record, schema, |field| to.notes.newer(field))
    } else {
        translated(record, schema, |field| from.notes.older(field))
    }
}

/// Refuses to make documents of stored ones that lack what is only searched.
pub(super) fn check_stored(from: &Generation, to: &Generation) -> Result<()> {
    let wanted = |field: &str| {
        let name = if to.number > from.number { to.notes.newer(field) } else { from.notes.older(field) };
        to.client.mapping.schema.field(name).is_some()
    };
    let mut fields = from.client.mapping.schema.fields().iter();
    let lost = fields.find(|field| field.source().is_none() && !field.is_stored() && wanted(field.name()));
    lost.map_or(Ok(()), |field| {
        let message = "the field is not stored, so it cannot be copied: index the documents anew from their source";
        Err(Error::new(ErrorKind::Unsupported, message).with_backend(BACKEND).with_key(field.name()))
    })
}
