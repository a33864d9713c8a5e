use std::time::Duration;

use statehouse_core::{Error, Result};

/// How much may be taken from a limit: so many in each period, and so many at once.
///
/// ```
/// use std::time::Duration;
/// use statehouse_coord::Rate;
///
/// let rate = Rate::new(100, Duration::from_secs(60))?; // 100 a minute, and 100 at once
/// assert_eq!(rate.with_burst(10)?.burst(), 10); // 100 a minute, and 10 at once
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    period: Duration,
    burst: u32,
}

impl Rate {
    /// The most in one period, and at once.
    pub const MAX_COUNT: u32 = 1_000_000;

    /// The longest that a limit may need until a whole burst may come again.
    pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 24 * 3600);

    /// So many in each period, which is the burst too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) unless the count is 1 to 1,000,000 and the period
    /// a millisecond to 366 days.
    pub fn new(count: u32, period: Duration) -> Result<Self> {
        Self { count, period, burst: count }.checked()
    }

    /// Sets how many may come at once after nobody came for long.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) unless it is 1 to 1,000,000, and comes within 366
    /// days.
    pub fn with_burst(self, burst: u32) -> Result<Self> {
        Self { burst, ..self }.checked()
    }

    fn checked(self) -> Result<Self> {
        let counts = 1..=Self::MAX_COUNT;
        if !counts.contains(&self.count) || !counts.contains(&self.burst) {
            return Err(Error::invalid_input("a rate and its burst are 1 to 1000000"));
        }
        if !(Duration::from_millis(1)..=Self::MAX_PERIOD).contains(&self.period) || self.window() > Self::MAX_PERIOD {
            return Err(Error::invalid_input("the period of a rate, and of its burst, is a millisecond to 366 days"));
        }
        Ok(self)
    }

    /// How many may come in each period.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The period.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// How many may come at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// In which time as many come as the burst.
    #[must_use]
    pub fn window(&self) -> Duration {
        // Two counts of at most a million, so that neither is rounded.
        self.period.mul_f64(f64::from(self.burst) / f64::from(self.count))
    }

    /// The share of one of so many replicas, which gives one at once at least.
    #[must_use]
    pub(crate) fn share(self, replicas: u32) -> Self {
        let burst = (self.burst / replicas).max(1);
        Self { period: self.period * replicas, burst, ..self }
    }

    /// Every so many microseconds one comes.
    pub(super) fn every(&self) -> f64 {
        self.period.as_secs_f64() * 1e6 / f64::from(self.count)
    }
}
