use std::time::Duration;

use statehouse_core::time::millis_rounded_up;
use statehouse_core::{CodecId, Condition, Error, ErrorKind, Result, Version};

use crate::{Entry, Lease};

/// How to read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl GetOptions {
    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How to set: for how long, and on which condition.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetOptions {
    /// How long the entry lives.
    pub time_to_live: Duration,
    /// What must hold for it to be stored. [`Condition::Always`] unless told. A load that is under way is no entry: a set on
    /// [`Condition::Absent`] wins over it.
    pub condition: Condition<Version>,
    /// Stores only if this is still the key's lease: the key was neither set nor removed nor cleared since it was issued,
    /// and it did not expire. Not together with a condition.
    pub lease: Option<Lease>,
    /// How the value is encoded. [`CodecId::RAW`] unless told.
    pub codec: CodecId,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl SetOptions {
    /// Stores unconditionally for this long. There is no default: every entry ends.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, condition: Condition::Always, lease: None, codec: CodecId::RAW, deadline: None }
    }

    /// With a condition.
    #[must_use]
    pub const fn with_condition(mut self, condition: Condition<Version>) -> Self {
        self.condition = condition;
        self
    }

    /// Only under this lease.
    #[must_use]
    pub const fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    pub(crate) fn with_guard(mut self, guard: Guard) -> Self {
        (self.condition, self.lease) = match guard {
            Guard::Always => (Condition::Always, None),
            Guard::Absent => (Condition::Absent, None),
            Guard::Match(version) => (Condition::Match(version), None),
            Guard::Lease(lease) => (Condition::Always, Some(lease)),
        };
        self
    }

    /// What is asked for.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a lease together with a condition.
    pub(crate) fn guard(&self) -> Result<Guard> {
        Guard::of(self.condition, self.lease)
    }

    /// With the codec that the value is encoded by.
    #[must_use]
    pub const fn with_codec(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What a write asks for, as one: a condition, or a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Always,
    Absent,
    Match(Version),
    Lease(Lease),
}

impl Guard {
    fn of(condition: Condition<Version>, lease: Option<Lease>) -> Result<Self> {
        match (condition, lease) {
            (Condition::Always, Some(lease)) => Ok(Self::Lease(lease)),
            (_, Some(_)) => Err(Error::invalid_input("a write is under a lease or on a condition, not both")),
            (Condition::Always, None) => Ok(Self::Always),
            (Condition::Absent, None) => Ok(Self::Absent),
            (Condition::Match(version), None) => Ok(Self::Match(version)),
        }
    }
}

/// What became of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a set with a condition may not have been stored"]
#[non_exhaustive]
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

/// The version of a write on no condition.
pub(crate) fn unconditional(outcome: SetOutcome) -> Result<Version> {
    outcome.stored().ok_or_else(|| Error::new(ErrorKind::Unexpected, "a write without a condition met a conflict"))
}

/// How to remove.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// What must hold for the removal. [`Condition::Absent`] is refused: it removes nothing.
    pub condition: Condition<Version>,
    /// Removes only if this is still the key's lease, and then that. Not together with a condition.
    pub lease: Option<Lease>,
    /// Removes only what is at least this old by the store's clock: an entry that was set, or whose load began, and a
    /// lease that was given out, this long ago or longer. For a removal that comes late and must not take away what is
    /// newer than its cause.
    pub min_age: Option<Duration>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl RemoveOptions {
    /// With a condition.
    #[must_use]
    pub const fn with_condition(mut self, condition: Condition<Version>) -> Self {
        self.condition = condition;
        self
    }

    /// Only under this lease.
    #[must_use]
    pub const fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// What is asked for.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a lease together with a condition, and for
    /// [`Condition::Absent`], under which nothing is removed.
    pub(crate) fn guard(&self) -> Result<Guard> {
        match Guard::of(self.condition, self.lease)? {
            Guard::Absent => {
                Err(Error::invalid_input("a removal on the condition that the key is absent removes nothing"))
            }
            guard => Ok(guard),
        }
    }

    /// Removes only what is at least this old.
    #[must_use]
    pub const fn with_min_age(mut self, age: Duration) -> Self {
        self.min_age = Some(age);
        self
    }

    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveOutcome {
    /// The entry, or the lease that the condition named, was removed.
    Removed,
    /// There was no live entry. A lease of an unconditional removal is gone all the same.
    Absent,
    /// The condition did not hold, or the entry is younger than the removal was to take. With the version of the live
    /// entry.
    Conflict(Version),
}

/// How to clear.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClearOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl ClearOptions {
    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How to touch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TouchOptions {
    /// How long the entry lives from now on.
    pub time_to_live: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl TouchOptions {
    /// Lets the entry live for this long from now.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, deadline: None }
    }

    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What became of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the entry may be gone"]
#[non_exhaustive]
pub enum TouchOutcome {
    /// The entry with this version has the new time to live.
    Touched(Version),
    /// There was no live entry.
    Absent,
}

/// How to reserve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReserveOptions {
    /// How long the load may take: a lease that nobody used ends after this long.
    pub time_to_live: Duration,
    /// A live entry of this version counts as absent. For an entry that the caller cannot decode.
    pub replacing: Option<Version>,
    /// What to do about a lease that somebody holds. [`Holding::Share`] unless told.
    pub holding: Holding,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

/// What a reservation does about a lease that the key has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holding {
    /// Takes it as well, prolonged if need be: the first to store wins.
    #[default]
    Share,
    /// Leaves it to its holder: the answer is [`Reservation::Held`].
    Alone,
    /// Prolongs this lease, and gives out no other: if it has ended, the answer is [`Reservation::Ended`].
    Renew(Lease),
}

impl ReserveOptions {
    /// A reservation for a load that takes no longer than this.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, replacing: None, holding: Holding::Share, deadline: None }
    }

    /// With a version that counts as absent.
    #[must_use]
    pub const fn with_replacing(mut self, version: Version) -> Self {
        self.replacing = Some(version);
        self
    }

    /// With what to do about a lease that somebody holds.
    #[must_use]
    pub const fn with_holding(mut self, holding: Holding) -> Self {
        self.holding = holding;
        self
    }

    /// With a limit for how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a lease is to be used or given back"]
#[non_exhaustive]
pub enum Reservation {
    /// There is a live entry, so nothing needs loading.
    Hit(Entry),
    /// There is none. Whoever loads the value may store it with [`SetOptions::lease`].
    Leased(Lease),
    /// There is none, and somebody else holds this lease. Only for [`Holding::Alone`].
    Held(Lease),
    /// The lease that was to be prolonged has ended. Only for [`Holding::Renew`].
    Ended,
}

/// The longest time to live: 36,500 days.
pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The longest value, in bytes: 64 MiB.
pub const MAX_VALUE_LEN: usize = 64 << 20;

/// The time to live in whole milliseconds, rounded up. For backends.
///
/// # Errors
/// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for zero and for more than [`MAX_TIME_TO_LIVE`].
pub fn time_to_live_millis(time_to_live: Duration) -> Result<u64> {
    if time_to_live.is_zero() {
        return Err(Error::invalid_input("the time to live must be above zero"));
    }
    if time_to_live > MAX_TIME_TO_LIVE {
        return Err(Error::invalid_input("the time to live must not be longer than 36,500 days"));
    }
    Ok(millis_rounded_up(time_to_live))
}

/// Refuses a value that is too long. For backends.
///
/// # Errors
/// [`TooLarge`](statehouse_core::ErrorKind::TooLarge) for more than [`MAX_VALUE_LEN`] bytes.
pub fn check_value_len(length: usize) -> Result<()> {
    if length > MAX_VALUE_LEN {
        let message = "a cached value must not be longer than 64 MiB";
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_rounded_up_and_bounded() {
        let millis = |duration| time_to_live_millis(duration).ok();
        assert_eq!(millis(Duration::ZERO), None);
        assert_eq!(millis(Duration::from_nanos(1)), Some(1));
        assert_eq!(millis(Duration::from_micros(1_001)), Some(2));
        assert_eq!(millis(MAX_TIME_TO_LIVE), Some(3_153_600_000_000));
        assert_eq!(millis(MAX_TIME_TO_LIVE + Duration::from_nanos(1)), None);
        assert_eq!(millis(Duration::MAX), None);
    }
}
