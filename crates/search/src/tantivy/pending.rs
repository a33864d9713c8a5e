//! The writes that no snapshot shows yet.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::traces::{Trace, Traces};
use crate::{DocumentId, Record};

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

/// The last change of each document that was not committed and shown.
#[derive(Debug, Default)]
pub(super) struct Pending(RwLock<HashMap<DocumentId, Change>>);

impl Pending {
    pub(super) fn get(&self, id: &DocumentId) -> Option<Change> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn set(&self, id: DocumentId, change: Change) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, change);
    }

    fn remove(&self, id: &DocumentId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn all(&self) -> Vec<(DocumentId, Change)> {
        let changes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        changes.iter().map(|(id, change)| (id.clone(), change.clone())).collect()
    }

    pub(super) fn clear(&self) {
        // Dropped when the lock is free again: there may be many, and gets take the lock on async threads.
        let changes = std::mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
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
                None => pending.remove(&id),
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
        undo.all(&pending, &mut deleted);
        assert!(matches!(pending.get(&id), Some(Change::Written { version: 1, .. })));
        assert_eq!(deleted.version(&id), None);
    }
}
