use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Retry};

use crate::key::CoordKey;
use crate::operation::NAME;

/// Somebody else has the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    key: CoordKey,
    /// What the holder is called; see [`Coordination::with_label`](crate::Coordination::with_label).
    pub holder: String,
    /// How long the lock is held if it is not renewed.
    pub expires_in: Option<Duration>,
}

impl Busy {
    pub(super) const fn new(key: CoordKey, holder: String, expires_in: Option<Duration>) -> Self {
        Self { key, holder, expires_in }
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is held by {:?}", self.key.as_str(), self.holder)?;
        match self.expires_in {
            Some(left) => write!(f, ", for {left:?} if it is not renewed"),
            None => Ok(()),
        }
    }
}

impl StdError for Busy {}

/// Why a lock was not acquired. As an [`Error`], that it is busy is [`ErrorKind::Conflict`], to be tried again.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "who wants a lock decides by the one or the other")]
pub enum LockError {
    /// Somebody else has it, and had it all the time that was waited.
    Busy(Busy),
    /// It is not known: what prevented it.
    Failed(Error),
}

impl From<Busy> for LockError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<Error> for LockError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Failed(error) => error,
            LockError::Busy(busy) => {
                let retry = busy.expires_in.map_or(Retry::Now, Retry::After);
                let error = Self::new(ErrorKind::Conflict, "somebody else has the lock").with_retry(retry);
                error.with_operation(NAME.lock).with_key(&busy.key).with_source(busy)
            }
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(busy) => busy.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl StdError for LockError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Busy(_) => None,
            Self::Failed(error) => error.source(),
        }
    }
}
