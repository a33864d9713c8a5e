//! What became of a write. A condition that does not hold is an answer; an error is only what prevented one.

use statehouse_core::{Error, ErrorKind, Result, Version};

use crate::key::CoordKey;
use crate::options::PageToken;
use crate::record::Record;

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a put with a condition may not have been made"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum PutOutcome {
    /// It is stored, under this version.
    Stored(Version),
    /// The condition did not hold. This is the record as it is, if there is one; nothing was changed.
    Conflict(Option<Record>),
}

impl PutOutcome {
    /// The version, if the condition held.
    #[must_use]
    pub const fn stored(&self) -> Option<Version> {
        match self {
            Self::Stored(version) => Some(*version),
            Self::Conflict(_) => None,
        }
    }

    /// What to answer to a put whose condition does not hold, whatever the backend: that nobody knows, if it `repeats` one
    /// that may have been made and overwritten.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`], as said.
    pub fn refused(current: Option<Record>, repeats: bool) -> Result<Self> {
        if repeats {
            let message = "somebody else has written since, so that nobody knows whether this put was made before";
            return Err(Error::new(ErrorKind::OutcomeUnknown, message));
        }
        Ok(Self::Conflict(current))
    }
}

/// What became of a remove.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "another version is not removed"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum RemoveOutcome {
    /// The record was there and is gone.
    Removed,
    /// There was none.
    Absent,
    /// It has another version. This is the record; nothing was changed.
    Conflict(Record),
}

/// One page of a scan, in no particular order.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The records.
    pub records: Vec<(CoordKey, Record)>,
    /// Where the next page begins; none on the last. A page may have fewer records than asked for and yet not be the last.
    pub next: Option<PageToken>,
    /// How many names of this page have something else than a record.
    pub skipped: u64,
}

impl Page {
    /// A page, for authors of backends.
    #[must_use]
    pub const fn new(records: Vec<(CoordKey, Record)>, next: Option<PageToken>) -> Self {
        Self { records, next, skipped: 0 }
    }

    /// Adds what was found under a name, or counts it if that is no record.
    ///
    /// # Errors
    /// What prevented that it was read.
    pub fn add(&mut self, key: &CoordKey, found: Result<Option<Record>>) -> Result<()> {
        match found {
            Ok(found) => self.records.extend(found.map(|record| (key.clone(), record))),
            Err(error) if error.kind() == ErrorKind::Corrupt => self.skipped += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
