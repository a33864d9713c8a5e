//! The writes that no snapshot shows yet.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::traces::{Trace, Traces};
use crate::{DocumentId, Record, Value};

/// What was done to a document.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Written {
        version: u64,
        /// As it was given: should the commit fail, it is written once more.
        record: Arc<Record>,
    },
    Deleted,
}

/// What is known of an id, to be made so elsewhere.
pub(super) enum Copied {
    /// With its version, and all of its fields that are stored.
    Document(Record),
    Deleted(u64),
    Nothing,
}

/// What a change takes beside its texts, about, and each value of its record.
const ENTRY: u64 = 200;
const VALUE: u64 = size_of::<(Cow<'static, str>, Value)>() as u64;

impl Change {
    fn weight(&self, id: &DocumentId) -> u64 {
        let id = id.as_str().len() as u64;
        let Self::Written { record, .. } = self else { return ENTRY + id };
        let text = |value: &Value| if let Value::Text(text) = value { text.len() as u64 } else { 0 };
        ENTRY + 2 * id + record.iter().map(|(_, value)| VALUE + text(value)).sum::<u64>()
    }
}

/// The last change of each document that was not committed and shown.
#[derive(Debug, Default)]
pub(super) struct Pending(RwLock<Changes>);

#[derive(Debug, Default)]
struct Changes {
    of: HashMap<DocumentId, Change>,
    /// How many bytes they take, about.
    bytes: u64,
}

impl Changes {
    fn replace(&mut self, id: DocumentId, change: Option<Change>) {
        let [before, after] = [self.of.get(&id), change.as_ref()].map(|change| change.map_or(0, |it| it.weight(&id)));
        self.bytes = self.bytes + after - before;
        match change {
            Some(change) => self.of.insert(id, change),
            None => self.of.remove(&id),
        };
    }
}

impl Pending {
    fn read(&self) -> RwLockReadGuard<'_, Changes> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Changes> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &DocumentId) -> Option<Change> {
        self.read().of.get(id).cloned()
    }

    pub(super) fn set(&self, id: DocumentId, change: Change) {
        self.write().replace(id, Some(change));
    }

    fn remove(&self, id: DocumentId) {
        self.write().replace(id, None);
    }

    pub(super) fn all(&self) -> Vec<(DocumentId, Change)> {
        self.read().of.iter().map(|(id, change)| (id.clone(), change.clone())).collect()
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        self.read().bytes
    }

    pub(super) fn clear(&self) {
        // Dropped when the lock is free again: there may be many, and gets take the lock on async threads.
        let changes = std::mem::take(&mut *self.write());
        drop(changes);
    }
}

/// What the operations of a bulk that failed replaced, in order.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<Replaced>);

#[derive(Debug)]
struct Replaced {
    id: DocumentId,
    change: Option<Change>,
    trace: Option<Trace>,
}

impl Undo {
    pub(super) fn remember(&mut self, id: &DocumentId, pending: &Pending, deleted: &Traces) {
        let (change, trace) = (pending.get(id), deleted.get(id));
        self.0.push(Replaced { id: id.clone(), change, trace });
    }

    /// Puts everything back.
    pub(super) fn all(self, pending: &Pending, deleted: &mut Traces) {
        for Replaced { id, change, trace } in self.0.into_iter().rev() {
            match change {
                Some(change) => pending.set(id.clone(), change),
                None => pending.remove(id.clone()),
            }
            deleted.restore(id, trace);
        }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::Timestamp;

    use super::*;

    #[test]
    fn what_a_bulk_did_is_undone_from_the_end() {
        let (pending, mut deleted, id) = (Pending::default(), Traces::default(), DocumentId::new("a").unwrap());
        let written = |version| Change::Written { version, record: Arc::new(Record::with_id(id.clone())) };
        pending.set(id.clone(), written(1));
        let mut undo = Undo::default();
        for version in 2..5 {
            undo.remember(&id, &pending, &deleted);
            pending.set(id.clone(), written(version));
            deleted.set(id.clone(), version, Timestamp::default());
        }
        assert!(pending.bytes() > 0);
        undo.all(&pending, &mut deleted);
        assert!(matches!(pending.get(&id), Some(Change::Written { version: 1, .. })));
        assert_eq!(deleted.version(&id), None);
        pending.remove(id);
        assert_eq!(pending.bytes(), 0);
    }
}
