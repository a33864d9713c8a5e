//! What is counted of files, for metrics. The table is in the documentation of this crate.

use bytes::Bytes;
use statehouse_core::{Counter, Result};

use crate::content::Object;
use crate::operation::NAME;
use crate::outcome::{DeleteOutcome, PutOutcome};

const CONTENT: &str = "statehouse.filestore.content";
const CONFLICTS: &str = "statehouse.filestore.conflicts";
#[cfg(feature = "s3")]
const RETRIES: &str = "statehouse.filestore.retries";

/// The counters of one open store.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    stored: Counter,
    read: Counter,
    puts: Counter,
    deletes: Counter,
    copies: Counter,
}

impl Counters {
    pub(crate) fn new(backend: &'static str) -> Self {
        let content = |direction| {
            let attributes = [("backend", backend), ("direction", direction)];
            Counter::of_bytes(CONTENT, "Content of files that was stored or read.", &attributes)
        };
        let conflicts = |operation| Counter::new(CONFLICTS, &[("backend", backend), ("operation", operation)]);
        Self {
            stored: content("stored"),
            read: content("read"),
            puts: conflicts(NAME.put),
            deletes: conflicts(NAME.delete),
            copies: conflicts(NAME.copy),
        }
    }

    pub(crate) fn put(&self, outcome: &Result<PutOutcome>) {
        match outcome {
            Ok(PutOutcome::Stored(stored)) => self.stored.add(stored.len),
            Ok(PutOutcome::Conflict) => self.puts.add(1),
            Err(_) => {}
        }
    }

    /// Counts what was stored out of sight: its commit stores nothing more.
    pub(crate) fn staged(&self, len: u64) {
        self.stored.add(len);
    }

    pub(crate) fn delete(&self, outcome: &Result<DeleteOutcome>) {
        self.deletes.add(u64::from(matches!(outcome, Ok(DeleteOutcome::Conflict))));
    }

    pub(crate) fn copy(&self, outcome: &Result<PutOutcome>) {
        self.copies.add(u64::from(matches!(outcome, Ok(PutOutcome::Conflict))));
    }

    /// Counts the content as it is read.
    pub(crate) fn reading(&self, object: Object) -> Object {
        let read = self.read.clone();
        object.seen(|bytes| self.read.add(bytes), move |piece: &Bytes| read.add(piece.len() as u64))
    }
}

/// Counts a request that is sent again: because the one before it was not sent, was not answered, or had this status.
#[cfg(feature = "s3")]
pub(crate) fn retry(reason: &str) {
    Counter::new(RETRIES, &[("reason", reason)]).add(1);
}
