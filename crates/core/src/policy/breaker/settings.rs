use std::time::Duration;

/// When a [`Breaker`](crate::policy::Breaker) opens and how long it stays so.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::ManualClock;
/// use statehouse_core::policy::{Breaker, BreakerSettings};
///
/// let settings = BreakerSettings::default()
///     .with_failures(5)
///     .with_silence(Duration::from_secs(2))
///     .with_slow(Duration::from_millis(800))
///     .with_pauses(Duration::from_millis(50), Duration::from_secs(1));
/// let breaker = Breaker::with_clock(settings, ManualClock::default());
/// assert!(breaker.ask().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// How many failures in a row open it, if there was no success for [`silence`](Self::silence) as well.
    pub failures: u32,
    /// How long there was no success, counted from the beginning of what failed first.
    pub silence: Duration,
    /// A success that took longer than this counts as a failure. Without it, latency does not open the breaker: what is
    /// slow and answers is left alone.
    pub slow: Option<Duration>,
    /// How long it is open until the first probe. Each probe that fails doubles that.
    pub first_pause: Duration,
    /// The longest time between two probes.
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    /// Three failures and a second without a success; latency does not count; probes after 100 ms, and then up to every
    /// half second.
    fn default() -> Self {
        Self {
            failures: 3,
            silence: Duration::from_secs(1),
            slow: None,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(500),
        }
    }
}

impl BreakerSettings {
    /// Opens after so many failures in a row. At least 1.
    #[must_use]
    pub fn with_failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// Opens only if nothing succeeded for this long.
    #[must_use]
    pub const fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Takes a success that took longer than this for a failure.
    #[must_use]
    pub const fn with_slow(mut self, slow: Duration) -> Self {
        self.slow = Some(slow);
        self
    }

    /// The time until the first probe, and the longest between two.
    #[must_use]
    pub const fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }
}
