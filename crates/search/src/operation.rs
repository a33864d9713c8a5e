use std::time::Duration;

use statehouse_core::Error;

use crate::{DocumentId, Record};

/// One change in a bulk.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Writes the document whether or not one with its id exists.
    Upsert(Record),
    /// Removes the document.
    Delete {
        /// Which one.
        id: DocumentId,
        /// The external version of the delete: it removes only an older document.
        version: Option<u64>,
    },
}

impl Operation {
    /// The external version, if it has one.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        match self {
            Self::Upsert(record) => record.version(),
            Self::Delete { version, .. } => *version,
        }
    }

    /// The document that it changes.
    #[must_use]
    pub const fn id(&self) -> &DocumentId {
        match self {
            Self::Upsert(record) => record.id(),
            Self::Delete { id, .. } => id,
        }
    }
}

/// How a bulk is written. The default waits until it is durable and does not wait until it is visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkOptions {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// When searches see it.
    pub refresh: Refresh,
    /// Gives up after this long instead of the backend's own deadline.
    pub timeout: Option<Duration>,
}

impl BulkOptions {
    /// Sets the durability.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets when searches see it.
    #[must_use]
    pub const fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What the acknowledgement of a write promises at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// The write is in order behind the earlier ones and seen by `get`. A crash of the process may lose it until the
    /// next commit, which comes on its own soon after. A commit that fails loses nothing: it is tried again, and health
    /// is degraded until one succeeds.
    Queued,
    /// The write survives a crash of the process and of the machine that acknowledged it.
    #[default]
    Committed,
}

/// When searches and counts see a write. `get` sees it at once in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// On its own, soon after.
    #[default]
    None,
    /// Before the call returns, at the backend's own pace: the right choice for a web request that shows the result.
    Wait,
    /// Before the call returns, at once: costs the server more.
    Now,
}

/// What became of one [`Operation`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// There was no document with this id.
    Created {
        /// The version it now has.
        version: u64,
    },
    /// It replaced an older one.
    Updated {
        /// The version it now has.
        version: u64,
    },
    /// The document is gone.
    Deleted {
        /// The version of the delete.
        version: u64,
    },
    /// A document, or the trace of a delete, of the same or a newer version is there. Nothing was changed.
    Stale,
    /// There was nothing to delete. An older document that arrives later is still refused as stale.
    NotFound,
    /// It was not applied, for this reason.
    Failed(Error),
}

impl Outcome {
    /// Whether the index now holds what was asked for or something newer.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// What became of each operation of a bulk, in the order they were given.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BulkReport {
    /// One outcome for each operation.
    pub outcomes: Vec<Outcome>,
}

impl BulkReport {
    /// A report of these outcomes.
    #[must_use]
    pub const fn new(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes }
    }

    /// The operations that failed: their place in the bulk, and why.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &Error)> {
        self.outcomes.iter().enumerate().filter_map(|(place, outcome)| match outcome {
            Outcome::Failed(error) => Some((place, error)),
            _ => None,
        })
    }

    /// Succeeds if no operation failed. Stale and missing ones are no failures.
    ///
    /// # Errors
    /// That of the first operation that failed.
    pub fn into_result(self) -> statehouse_core::Result<Self> {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        match self.outcomes.iter().position(failed) {
            Some(place) => match self.outcomes.into_iter().nth(place) {
                Some(Outcome::Failed(error)) => Err(error),
                _ => unreachable!("the outcome at this place is a failure"),
            },
            None => Ok(self),
        }
    }
}
