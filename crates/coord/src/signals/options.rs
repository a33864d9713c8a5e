//! What one call may be told besides what it does.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use super::outcome::Count;
use super::rate::Rate;
use crate::options::PutOptions;

statehouse_core::deadline_options! {
    /// Options of reading a counter.
    CountOptions
    /// Options of removing a counter.
    ResetOptions
    /// Options of giving a permit back.
    ReleaseOptions
    /// Options of a message.
    PublishOptions
}

/// Refuses what no store keeps time of.
fn check_time(time: Duration, what: &'static str) -> Result<()> {
    if (Duration::from_millis(1)..=PutOptions::MAX_TIME_TO_LIVE).contains(&time) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("{what} is at least a millisecond and at most 366 days")))
}

/// Options of an add.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_coord::{AddOptions, CoordKey, MemorySignals, Signals};
///
/// let (signals, failures) = (MemorySignals::new(), CoordKey::new("login/anna")?);
/// let quarter = AddOptions::default().with_time_to_live(Duration::from_secs(900));
/// assert_eq!(signals.add_with(&failures, 1, quarter).await?.value, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AddOptions {
    /// After how long the counter is gone, if this add begins it; it stays if none.
    pub time_to_live: Option<Duration>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl AddOptions {
    statehouse_core::with_deadline!();

    /// With the time to live of a counter that this add begins.
    #[must_use]
    pub const fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self, more: i64) -> Result<()> {
        if more.unsigned_abs() > Count::MAX.unsigned_abs() {
            return Err(Error::invalid_input("at most 2^53 - 1 is added at once"));
        }
        self.time_to_live.map_or(Ok(()), |time| check_time(time, "a time to live"))
    }

    /// The error of an add that would leave the range of a counter, for authors of backends.
    #[must_use]
    pub fn out_of_range() -> Error {
        Error::new(ErrorKind::TooLarge, "the counter would be more than 2^53 - 1, or less than that below zero")
    }
}

/// Options of a take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TakeOptions {
    /// How many are taken; one at first.
    pub count: u32,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl Default for TakeOptions {
    fn default() -> Self {
        Self { count: 1, deadline: None }
    }
}

impl TakeOptions {
    statehouse_core::with_deadline!();

    /// With how many to take, or none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use statehouse_coord::{CoordKey, MemorySignals, Rate, Signals, TakeOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let (signals, a_minute) = (MemorySignals::new(), Rate::new(100, Duration::from_secs(60))?);
    /// let taken = signals.take_with(&CoordKey::new("imports")?, a_minute, TakeOptions::default().with_count(20)).await?;
    /// assert_eq!(taken.remaining, 80);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self, rate: &Rate) -> Result<()> {
        if (1..=rate.burst()).contains(&self.count) {
            return Ok(());
        }
        Err(Error::invalid_input("at least one is taken at once, and at most the burst of the rate"))
    }
}

/// Options of acquiring a permit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcquireOptions {
    /// How many may be held.
    pub most: u32,
    /// For how long it is held if it is not renewed.
    pub lease: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl AcquireOptions {
    statehouse_core::with_deadline!();

    /// The most permits of one name.
    pub const MAX_PERMITS: u32 = 10_000;

    /// One of so many, for so long.
    #[must_use]
    pub const fn new(most: u32, lease: Duration) -> Self {
        Self { most, lease, deadline: None }
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self) -> Result<()> {
        if !(1..=Self::MAX_PERMITS).contains(&self.most) {
            return Err(Error::invalid_input("there are 1 to 10000 permits of one name"));
        }
        check_time(self.lease, "a lease")
    }
}

/// Options of renewing a permit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RenewOptions {
    /// For how long it is held from now on if it is not renewed again.
    pub lease: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl RenewOptions {
    statehouse_core::with_deadline!();

    /// For so long.
    #[must_use]
    pub const fn new(lease: Duration) -> Self {
        Self { lease, deadline: None }
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self) -> Result<()> {
        check_time(self.lease, "a lease")
    }
}

impl PublishOptions {
    /// The most bytes of a message.
    pub const MAX_MESSAGE: usize = 64 << 10;

    /// Refuses a message that is too large. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] above [`MAX_MESSAGE`](Self::MAX_MESSAGE).
    pub fn check(&self, message: &[u8]) -> Result<()> {
        if message.len() <= Self::MAX_MESSAGE {
            return Ok(());
        }
        let text = format!("the message has {} bytes; at most {} are told at once", message.len(), Self::MAX_MESSAGE);
        Err(Error::new(ErrorKind::TooLarge, text))
    }
}
