//! What became of what was asked. A condition that does not hold is an answer; an error is only what prevented one.

use statehouse_core::{Error, ErrorKind, Result, Version};

use crate::{Entry, Lease};

/// What became of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a set with a condition may not have been stored"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum SetOutcome {
    /// The value is stored with this version.
    Stored(Version),
    /// The condition did not hold. Nothing was changed. With the version of the live entry, if there is one.
    Conflict(Option<Version>),
}

impl SetOutcome {
    /// The version, if the value was stored.
    #[must_use]
    pub const fn stored(self) -> Option<Version> {
        match self {
            Self::Stored(version) => Some(version),
            Self::Conflict(_) => None,
        }
    }
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a removal with a condition may have removed nothing"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum RemoveOutcome {
    /// The entry, or the lease that the condition named, was removed.
    Removed,
    /// There was no live entry. A lease of an unconditional removal is gone all the same.
    Absent,
    /// The condition did not hold, or the entry is younger than the removal was to take. With the version of the live
    /// entry.
    Conflict(Version),
}

/// What became of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the entry may be gone"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum TouchOutcome {
    /// The entry with this version has the new time to live.
    Touched(Version),
    /// There was no live entry.
    Absent,
}

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a lease is to be used or given back"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Reservation {
    /// There is a live entry, so nothing needs loading.
    Hit(Entry),
    /// There is none. Whoever loads the value may store it with [`SetOptions::lease`](crate::SetOptions::lease).
    Leased(Lease),
    /// There is none, and somebody else holds this lease. Only for [`Holding::Alone`](crate::Holding::Alone).
    Held(Lease),
    /// The lease that was to be prolonged has ended. Only for [`Holding::Renew`](crate::Holding::Renew).
    Ended,
}

/// The version of a write on no condition.
pub(crate) fn unconditional(outcome: SetOutcome) -> Result<Version> {
    outcome.stored().ok_or_else(|| Error::new(ErrorKind::Unexpected, "a write without a condition met a conflict"))
}
