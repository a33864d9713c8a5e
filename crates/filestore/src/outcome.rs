//! What became of a write. A condition that does not hold is an answer; an error is only what prevented one.

use statehouse_core::{Error, ErrorKind, Result};

use crate::meta::Stored;
use crate::options::Condition;

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

/// What became of a delete without a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Deleted {
    /// The file was there and is gone.
    Removed,
    /// There was no such file.
    Absent,
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
    pub(crate) fn of(result: Result<Stored>, condition: &Condition) -> Result<Self> {
        match result {
            Ok(stored) => Ok(Self::Stored(stored)),
            Err(error) if *condition != Condition::Always && is_refusal(&error) => Ok(Self::Conflict),
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
    use crate::meta::ETag;

    #[test]
    fn only_a_condition_that_does_not_hold_is_an_outcome() {
        let error = |kind| Error::new(kind, "x");
        let conditions = [Condition::Absent, Condition::Match(ETag::new("e"))];
        for condition in &conditions {
            for kind in [ErrorKind::AlreadyExists, ErrorKind::Conflict] {
                assert_eq!(PutOutcome::of(Err(error(kind)), condition).unwrap(), PutOutcome::Conflict);
                let again = error(kind).with_retry(statehouse_core::Retry::Now);
                assert_eq!(PutOutcome::of(Err(again), condition).unwrap_err().kind(), kind);
                assert_eq!(PutOutcome::of(Err(error(kind)), &Condition::Always).unwrap_err().kind(), kind);
            }
            for kind in [ErrorKind::OutcomeUnknown, ErrorKind::NotFound, ErrorKind::Unsupported] {
                assert_eq!(PutOutcome::of(Err(error(kind)), condition).unwrap_err().kind(), kind);
            }
        }
        assert_eq!(DeleteOutcome::of(Err(error(ErrorKind::Conflict)), true).unwrap(), DeleteOutcome::Conflict);
        assert_eq!(DeleteOutcome::of(Err(error(ErrorKind::Conflict)), false).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(DeleteOutcome::Conflict.unconditional().unwrap_err().kind(), ErrorKind::Unexpected);
    }
}
