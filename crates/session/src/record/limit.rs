//! How many sessions somebody may have.

use std::time::Duration;

use statehouse_core::{Error, Result};

/// How many sessions a principal may have at a time, and what becomes of a login that is one too many.
///
/// ```
/// use statehouse_session::{Limit, SessionConfig};
///
/// let config = SessionConfig::builder().limit(Limit::evict_oldest(5)).build()?;
/// # let _ = config;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// How many. At least 1.
    pub max: u32,
    /// What happens to one more.
    pub beyond: Beyond,
    /// How long sessions last that count, if that is less than their own timeouts say.
    pub timeouts: Option<Timeouts>,
}

/// How long sessions last by the configuration of now, which may be less than when they were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// While they are not used, unless their user is remembered.
    pub idle: Duration,
    /// From the login, or without one from the creation on.
    pub absolute: Duration,
    /// At most while they are not used, and from the login on, if their user is remembered.
    pub remembered: Duration,
}

impl Timeouts {
    /// As given.
    #[must_use]
    pub const fn new(idle: Duration, absolute: Duration, remembered: Duration) -> Self {
        Self { idle, absolute, remembered }
    }
}

/// What happens to a login whose principal has as many sessions as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beyond {
    /// It is refused with [`ErrorKind::Conflict`](statehouse_core::ErrorKind::Conflict).
    Reject,
    /// The session makes room that ends first by its absolute timeout. A login that is under way makes none: if there are
    /// only such, the next one is refused.
    EvictOldest,
}

impl Limit {
    /// So many, and another login is refused.
    #[must_use]
    pub const fn reject(max: u32) -> Self {
        Self { max, beyond: Beyond::Reject, timeouts: None }
    }

    /// So many, and for another login the oldest ends.
    #[must_use]
    pub const fn evict_oldest(max: u32) -> Self {
        Self { max, beyond: Beyond::EvictOldest, timeouts: None }
    }

    /// Of sessions that have not lasted for as long yet. The others do not count, and end with the login. What
    /// [`SessionConfig`](crate::SessionConfig) is given as its limit has that configuration's.
    ///
    /// ```
    /// use std::time::Duration;
    /// use statehouse_session::{Limit, Timeouts};
    ///
    /// let hour = Duration::from_secs(3_600);
    /// let limit = Limit::reject(5).with_timeouts(Timeouts::new(hour, 12 * hour, 2_160 * hour));
    /// # let _ = limit;
    /// ```
    #[must_use]
    pub const fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// Checks the number. Every backend calls it before a login.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for zero.
    pub fn check(self) -> Result<()> {
        if self.max == 0 {
            return Err(Error::invalid_input("a principal may have at least one session"));
        }
        Ok(())
    }
}
