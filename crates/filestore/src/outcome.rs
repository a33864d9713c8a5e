//! What became of a write. A condition that does not hold is an answer; an error is only what prevented one.

use statehouse_core::{Error, ErrorKind, Result};

use crate::meta::Stored;

/// What became of a put or a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a write with a condition may not have been done"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum PutOutcome {
    /// The file is stored.
    Stored(Stored),
    /// The condition did not hold. Nothing was changed.
    Conflict,
}

/// What became of a get or a head with conditions.
///
/// ```
/// # use std::sync::Arc;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let known = scans.put("p42/chest.dcm", "DICM").await?.etag;
/// match scans.get("p42/chest.dcm").if_none_match(&known).await? {
///     ReadOutcome::NotModified => {} // what the reader has is what there is
///     ReadOutcome::Found(object) => drop(object.bytes().await?),
/// }
/// scans.put("p42/chest.dcm", "DICM, corrected").await?;
/// assert!(scans.head("p42/chest.dcm").if_none_match(&known).await?.found().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what the reader has may be what there is"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum ReadOutcome<T> {
    /// There is a file other than what the reader has, or no condition that says what that is.
    Found(T),
    /// The reader has what there is: nothing of it is read.
    NotModified,
}

/// What became of a delete with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a delete with a condition may not have been done"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum DeleteOutcome {
    /// The file was there and is gone.
    Removed,
    /// There was no such file, and no condition.
    Absent,
    /// The condition did not hold. Nothing was changed.
    Conflict,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a stage may not have been committed"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum CommitOutcome {
    /// The file is stored, by this commit or by one before it.
    Committed(Stored),
    /// The condition that it was staged with did not hold. Nothing was changed, and the stage is still there.
    Conflict,
    /// Nothing was changed, and nothing will be: there is no such stage. It was discarded, as by a sweep, or it was committed
    /// and the file has been replaced or deleted since.
    Gone,
}

/// What became of a stage that was to be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stage may have been committed"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum DiscardOutcome {
    /// It was there and is gone: it can never be committed.
    Discarded,
    /// There is no such stage.
    Absent,
    /// It was committed before: the file is there, and stays.
    Committed,
}

/// What a sweep removed, and of the stages it came upon what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Uploads that were begun and never ended. On S3 their parts cost as much as files and are in no listing.
    pub uploads: u64,
    /// Digests of files that have been replaced or deleted, on S3.
    pub digests: u64,
    /// Files whose time to live was over.
    pub expired: u64,
    /// Stages that were committed, because what they belong to was.
    pub committed: u64,
    /// Stages that were discarded.
    pub discarded: u64,
    /// Stages that are old enough and were left alone: undecided, or refused by the condition that they were staged with.
    pub kept: u64,
}

/// What became of many files that were to be deleted.
#[derive(Clone, Debug, Default)]
#[must_use = "some files may not have been deleted"]
#[non_exhaustive]
pub struct DeletedMany {
    /// How many were there and are gone.
    pub removed: u64,
    /// How many were not there.
    pub absent: u64,
    /// How many are not what the listing of a prefix has come upon, because somebody has replaced or deleted them since: what is there stays.
    pub kept: u64,
    /// How many foreign things the listing has left out, as [`Page::skipped`](crate::Page::skipped) counts them: they are still there.
    pub skipped: u64,
    /// How many could not be deleted, or may not have been.
    pub failed: u64,
    /// The first 1,000 of these by their names, and why.
    pub failures: Vec<(String, Error)>,
}

impl DeletedMany {
    pub(crate) fn add(&mut self, name: String, deleted: Result<DeleteOutcome>) {
        const MOST: usize = 1000;
        match deleted {
            Ok(DeleteOutcome::Removed) => self.removed += 1,
            Ok(DeleteOutcome::Absent) => self.absent += 1,
            Ok(DeleteOutcome::Conflict) => self.kept += 1,
            Err(error) => {
                self.failed += 1;
                self.failures.extend((self.failures.len() < MOST).then_some((name, error)));
            }
        }
    }
}

/// What became of a delete without a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Deleted {
    /// The file was there and is gone.
    Removed,
    /// There was no such file.
    Absent,
}

impl CommitOutcome {
    /// What is stored, if it was committed.
    #[must_use]
    pub fn stored(self) -> Option<Stored> {
        match self {
            Self::Committed(stored) => Some(stored),
            Self::Conflict | Self::Gone => None,
        }
    }

    /// The outcome of work that says with an error that the stage's condition does not hold.
    pub(crate) fn of(result: Result<Option<Stored>>, conditional: bool) -> Result<Self> {
        match result {
            Ok(Some(stored)) => Ok(Self::Committed(stored)),
            Ok(None) => Ok(Self::Gone),
            Err(error) if conditional && is_refusal(&error) => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }
}

impl<T> ReadOutcome<T> {
    /// What there is, if the reader has not got it.
    #[must_use]
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::NotModified => None,
        }
    }

    /// The outcome of a read that does not say what the reader has.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] of a store that takes it to have the file in spite of that.
    pub fn unconditional(self) -> Result<T> {
        let message = "the store took a file for unchanged since a state that it was not told";
        self.found().ok_or_else(|| Error::new(ErrorKind::Unexpected, message))
    }

    /// The same of something else.
    pub(crate) fn map<U>(self, of: impl FnOnce(T) -> U) -> ReadOutcome<U> {
        match self {
            Self::Found(found) => ReadOutcome::Found(of(found)),
            Self::NotModified => ReadOutcome::NotModified,
        }
    }
}

impl PutOutcome {
    /// What is stored, if the condition held.
    #[must_use]
    pub fn stored(self) -> Option<Stored> {
        match self {
            Self::Stored(stored) => Some(stored),
            Self::Conflict => None,
        }
    }

    /// The outcome of work that says with an error that its condition does not hold.
    pub(crate) fn of(result: Result<Stored>, conditional: bool) -> Result<Self> {
        match result {
            Ok(stored) => Ok(Self::Stored(stored)),
            Err(error) if conditional && is_refusal(&error) => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }

    /// The outcome of a write without a condition.
    pub(crate) fn unconditional(self) -> Result<Stored> {
        self.stored().ok_or_else(unasked)
    }
}

impl DeleteOutcome {
    /// As [`PutOutcome::of`].
    pub(crate) fn of(result: Result<Deleted>, conditional: bool) -> Result<Self> {
        match result {
            Ok(Deleted::Removed) => Ok(Self::Removed),
            Ok(Deleted::Absent) => Ok(Self::Absent),
            Err(error) if conditional && is_refusal(&error) => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }

    /// The outcome of a delete without a condition.
    pub(crate) fn unconditional(self) -> Result<Deleted> {
        match self {
            Self::Removed => Ok(Deleted::Removed),
            Self::Absent => Ok(Deleted::Absent),
            Self::Conflict => Err(unasked()),
        }
    }
}

/// Whether an error says that a condition does not hold. One that is worth trying again says that nobody has looked.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) && !error.is_retryable()
}

fn unasked() -> Error {
    Error::new(ErrorKind::Unexpected, "the store refused a write for a condition that it did not have")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_condition_that_does_not_hold_is_an_outcome() {
        let error = |kind| Error::new(kind, "x");
        for kind in [ErrorKind::AlreadyExists, ErrorKind::Conflict] {
            assert_eq!(PutOutcome::of(Err(error(kind)), true).unwrap(), PutOutcome::Conflict);
            let again = error(kind).with_retry(statehouse_core::Retry::Now);
            assert_eq!(PutOutcome::of(Err(again), true).unwrap_err().kind(), kind);
            assert_eq!(PutOutcome::of(Err(error(kind)), false).unwrap_err().kind(), kind);
        }
        for kind in [ErrorKind::OutcomeUnknown, ErrorKind::NotFound, ErrorKind::Unsupported] {
            assert_eq!(PutOutcome::of(Err(error(kind)), true).unwrap_err().kind(), kind);
        }
        assert_eq!(DeleteOutcome::of(Err(error(ErrorKind::Conflict)), true).unwrap(), DeleteOutcome::Conflict);
        assert_eq!(DeleteOutcome::of(Err(error(ErrorKind::Conflict)), false).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(DeleteOutcome::Conflict.unconditional().unwrap_err().kind(), ErrorKind::Unexpected);
    }
}
