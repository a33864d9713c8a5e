//! Rows that a generation is filled from, and what is written meanwhile.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{DocumentId, Operation};

/// What is known of the rows that a generation is filled from.
#[derive(Debug, Default)]
pub(super) struct FromRows {
    /// It is filled from them, and is not compared with the live one before it becomes live.
    pub(super) expected: AtomicBool,
    /// Some may be in it.
    pub(super) came: AtomicBool,
    /// What was written without a version since it was begun: whatever version a row has, it is older. It is in memory: a
    /// generation that another process has begun is begun anew.
    written: Mutex<HashSet<DocumentId>>,
}

impl FromRows {
    pub(super) fn new(expected: bool, came: bool) -> Self {
        Self { expected: AtomicBool::new(expected), came: AtomicBool::new(came), written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, HashSet<DocumentId>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of these rows are late, whatever version they have. They come now.
    pub(super) fn late(&self, rows: &[Operation]) -> Vec<bool> {
        self.expected.store(true, Ordering::Release);
        self.came.store(true, Ordering::Release);
        let written = self.written();
        rows.iter().map(|row| written.contains(row.id())).collect()
    }

    /// Takes note of what was written, and whether it had a version: that is compared with those of rows.
    pub(super) fn note(&self, changes: impl Iterator<Item = (DocumentId, Option<u64>)>) {
        let mut written = self.written();
        for (id, version) in changes {
            match version {
                Some(_) => drop(written.remove(&id)),
                None => drop(written.insert(id)),
            }
        }
    }
}
