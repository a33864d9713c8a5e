//! The writes that no snapshot shows yet, and the versions of what was deleted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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

/// The version of a delete, and when it was.
type Trace = (u64, Duration);

/// The versions of deleted documents, and since when.
#[derive(Debug, Default)]
pub(super) struct Traces {
    versions: HashMap<DocumentId, Trace>,
    /// In the order of time, also those that were replaced since.
    order: VecDeque<(Duration, DocumentId)>,
}

impl Traces {
    pub(super) fn version(&self, id: &DocumentId) -> Option<u64> {
        self.versions.get(id).map(|(version, _)| *version)
    }

    pub(super) fn set(&mut self, id: DocumentId, version: u64, now: Duration) {
        self.order.push_back((now, id.clone()));
        self.versions.insert(id, (version, now));
    }

    /// Forgets what is older. Costs as much as there is to forget.
    pub(super) fn forget_before(&mut self, time: Duration) {
        while let Some((since, id)) = self.order.front()
            && *since < time
        {
            if self.versions.get(id).is_some_and(|(_, last)| last == since) {
                self.versions.remove(id);
            }
            self.order.pop_front();
        }
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
        let (change, trace) = (pending.get(id), deleted.versions.get(id).copied());
        self.0.push(Replaced { id: id.clone(), change, trace });
    }

    /// Puts everything back.
    pub(super) fn all(self, pending: &Pending, deleted: &mut Traces) {
        for Replaced { id, change, trace } in self.0.into_iter().rev() {
            match change {
                Some(change) => pending.set(id.clone(), change),
                None => pending.remove(&id),
            }
            match trace {
                Some(trace) => drop(deleted.versions.insert(id, trace)),
                None => drop(deleted.versions.remove(&id)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_forgotten_in_the_order_of_time() {
        let (mut traces, id) = (Traces::default(), |text: &str| DocumentId::new(text).unwrap());
        let at = Duration::from_secs;
        traces.set(id("a"), 1, at(1));
        traces.set(id("b"), 1, at(2));
        traces.set(id("a"), 2, at(3));
        traces.forget_before(at(3));
        assert_eq!((traces.version(&id("a")), traces.version(&id("b"))), (Some(2), None));
        assert_eq!(traces.order.len(), 1);
        traces.forget_before(at(4));
        assert_eq!((traces.version(&id("a")), traces.order.len()), (None, 0));
    }

    #[test]
    fn what_a_bulk_did_is_undone_from_the_end() {
        let (pending, mut deleted, id) = (Pending::default(), Traces::default(), DocumentId::new("a").unwrap());
        let written = |version| Change::Written { version, record: Arc::new(Record::with_id(id.clone())) };
        pending.set(id.clone(), written(1));
        let mut undo = Undo::default();
        for version in 2..5 {
            undo.remember(&id, &pending, &deleted);
            pending.set(id.clone(), written(version));
            deleted.set(id.clone(), version, Duration::ZERO);
        }
        undo.all(&pending, &mut deleted);
        assert!(matches!(pending.get(&id), Some(Change::Written { version: 1, .. })));
        assert_eq!(deleted.version(&id), None);
    }
}
