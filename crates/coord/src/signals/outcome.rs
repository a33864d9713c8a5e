//! What became of a call. That something is refused is an answer; an error is only what prevented one.

use std::fmt;
use std::time::Duration;

use statehouse_core::Result;

use crate::record::WriteId;

/// A counter as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// The sum of all that was added.
    pub value: i64,
    /// After how long it is gone; it stays if none.
    pub expires_in: Option<Duration>,
}

impl Count {
    /// The most that a counter counts, and with the other sign the least: 2⁵³ − 1.
    pub const MAX: i64 = (1 << 53) - 1;

    /// A counter, for authors of backends.
    #[must_use]
    pub const fn new(value: i64, expires_in: Option<Duration>) -> Self {
        Self { value, expires_in }
    }
}

/// What became of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it may have been refused"]
pub struct Taken {
    /// How many may be taken at once: the burst.
    pub limit: u32,
    /// How many may be taken now, after this.
    pub remaining: u32,
    /// After how long so many may be taken as were wanted; none if they were taken.
    pub retry_after: Option<Duration>,
    /// After how long all may be taken again.
    pub reset_after: Duration,
}

impl Taken {
    /// What became of a take, for authors of backends.
    pub const fn new(limit: u32, remaining: u32, retry_after: Option<Duration>, reset_after: Duration) -> Self {
        Self { limit, remaining, retry_after, reset_after }
    }

    /// Whether they were taken.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.retry_after.is_none()
    }
}

/// Who holds a permit: an id that is random for each time one is acquired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermitId([u8; 16]);

impl PermitId {
    /// An id that nobody else has.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable) if the system has no random bytes.
    pub fn generate() -> Result<Self> {
        WriteId::generate().map(|id| Self(*id.as_bytes()))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for PermitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PermitId({})", statehouse_core::hex::encode(&self.0))
    }
}

/// What became of acquiring a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it may have been refused"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Acquired {
    /// It is held, as one of so many in use.
    Held(u32),
    /// All are in use.
    Full {
        /// How many are in use, which is more than were asked for if somebody else was allowed more.
        in_use: u32,
        /// After how long one of them is over, if it is neither renewed nor released.
        retry_after: Duration,
    },
}

/// What became of renewing a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it may be lost"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Renewed {
    /// It is held for its lease.
    Held,
    /// It was over, or released.
    Lost,
}
