use std::fmt::Debug;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::whole_micros;

/// A point in time: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A timestamp from microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, or zero if this is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(duration)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, whole_micros))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_micros(timestamp.0)
    }
}

/// Where an embedded backend takes the time from. A distributed backend uses its server's clock instead.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock's time.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start, which never runs backwards: for deadlines inside this process.
    fn elapsed(&self) -> Duration;
}

/// Forwards to the shared clock.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn elapsed(&self) -> Duration {
        (**self).elapsed()
    }
}

/// A clock's time of day as it was when this was made, and what has passed since by the clock that nobody sets: for stores
/// whose entries expire.
///
/// A wall clock that is put right by a quarter of an hour would else log out everybody who has been idle for as long.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{Clock, ManualClock, Steady};
///
/// let clock = ManualClock::default();
/// let steady = Steady::new(clock.clone());
/// let before = steady.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(steady.now().since(before), Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct Steady {
    clock: Arc<dyn Clock>,
    start: u64,
}

impl Steady {
    /// Reads the time of day, for the only time.
    #[must_use]
    pub fn new(clock: impl Clock) -> Self {
        let start = clock.now().as_micros().saturating_sub(whole_micros(clock.elapsed()));
        Self { clock: Arc::new(clock), start }
    }

    /// The time of day of the beginning, and what has passed since.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.start) + self.clock.elapsed()
    }

    /// As [`Clock::elapsed`].
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// The operating system's clocks at full resolution.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

/// The operating system's clocks at the resolution of the scheduler tick (1 to 10 ms), at about a fifth of the cost
/// (4 ns instead of 23 ns): for expiry checks on a hot path. Elsewhere than on Linux it is [`SystemClock`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CoarseClock;

impl Clock for CoarseClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Timestamp {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Timestamp(whole_micros(duration(time)))
    }

    #[cfg(target_os = "linux")]
    fn elapsed(&self) -> Duration {
        duration(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse))
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    #[cfg(not(target_os = "linux"))]
    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

#[cfg(target_os = "linux")]
fn duration(time: rustix::time::Timespec) -> Duration {
    time.try_into().unwrap_or_default()
}

/// A clock that stands still until it is moved: for tests that must not sleep.
///
/// Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: u64,
    micros: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at the given time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { start: time.0, micros: Arc::new(AtomicU64::new(0)) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.micros.fetch_add(whole_micros(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_micros(1_767_225_600_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.start + self.micros.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_stays_within_a_tick_of_the_system_clock() {
        let (coarse, exact) = (CoarseClock.now(), SystemClock.now());
        assert!(exact.since(coarse) < Duration::from_millis(200), "{coarse:?} {exact:?}");
        let (coarse, exact) = (CoarseClock.elapsed(), SystemClock.elapsed());
        assert!(exact.saturating_sub(coarse) < Duration::from_millis(200), "{coarse:?} {exact:?}");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_and_shares_its_time() {
        let clock = ManualClock::default();
        let (before, twin) = (clock.now(), clock.clone());
        clock.advance(Duration::from_secs(3));
        assert_eq!(twin.now().since(before), Duration::from_secs(3));
        assert_eq!(twin.elapsed(), Duration::from_secs(3));
        assert_eq!(before + Duration::from_secs(3), twin.now());
    }
}
