use std::time::Duration;

use crate::Clock;
use crate::sync::{AtomicU64, Ordering};

/// Tells when to say that something goes wrong, so that a thousand failures in a row are one line in the log and not a
/// thousand.
///
/// It is over with the first success after a quiet time without failures: where some requests fail and others do not, as
/// while one shard of many is down, that is one trouble and not one for each failure.
///
/// ```
/// use std::time::Duration;
///
/// use statehouse_core::ManualClock;
/// use statehouse_core::policy::Trouble;
///
/// let (clock, trouble) = (ManualClock::default(), Trouble::new(Duration::from_secs(5)));
/// assert!(trouble.failed(&clock), "the first: say so");
/// assert!(!trouble.failed(&clock) && !trouble.failed(&clock));
/// assert_eq!(trouble.is_over(&clock), None);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(trouble.is_over(&clock), Some(3), "what is to be said now");
/// assert_eq!(trouble.is_over(&clock), None);
/// ```
#[derive(Debug)]
pub struct Trouble {
    quiet: Duration,
    failures: AtomicU64,
    /// When the last failure was, in milliseconds.
    last: AtomicU64,
}

impl Trouble {
    /// All is well. A trouble is over when there was no failure for this long.
    #[must_use]
    pub const fn new(quiet: Duration) -> Self {
        Self { quiet, failures: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    /// Counts a failure; whether it is the first since all was well.
    pub fn failed(&self, clock: &dyn Clock) -> bool {
        self.last.store(millis(clock.elapsed()), Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// To be told with each success: how many failures there were, if that ends them.
    pub fn is_over(&self, clock: &dyn Clock) -> Option<u64> {
        // The usual case is one load.
        if self.failures.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let quiet = millis(clock.elapsed()).saturating_sub(self.last.load(Ordering::Relaxed));
        let failures = if quiet < millis(self.quiet) { 0 } else { self.failures.swap(0, Ordering::Relaxed) };
        Some(failures).filter(|failures| *failures > 0)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// As [`Trouble`], for what has no end: single values that cannot be used, beside others that can. There is a line for the
/// first, and then at most one in so much time, with how many there were.
#[derive(Debug)]
pub struct Occasional {
    period: Duration,
    /// When the last line was, in milliseconds, plus one; zero before the first.
    told: AtomicU64,
    since: AtomicU64,
}

impl Occasional {
    /// At most one line in `period`.
    #[must_use]
    pub const fn new(period: Duration) -> Self {
        Self { period, told: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// Counts one more: how many there were since the last line, with this one, if there is to be a line now.
    pub fn happened(&self, clock: &dyn Clock) -> Option<u64> {
        let now = millis(clock.elapsed()).saturating_add(1);
        self.since.fetch_add(1, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        let due = told == 0 || now.saturating_sub(told) >= millis(self.period);
        // Of several at the same time one says it.
        let mine = due && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| self.since.swap(0, Ordering::Relaxed).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn of_many_failures_the_first_is_told_and_the_end_with_their_number() {
        let (clock, trouble) = (ManualClock::default(), Trouble::new(Duration::from_secs(5)));
        for _ in 0..3 {
            assert_eq!(trouble.is_over(&clock), None);
            let mut told = 0;
            for _ in 0..1000 {
                told += usize::from(trouble.failed(&clock));
                assert_eq!(trouble.is_over(&clock), None, "others succeed meanwhile");
                clock.advance(Duration::from_secs(1));
            }
            assert_eq!(told, 1);
            clock.advance(Duration::from_secs(5));
            assert_eq!(trouble.is_over(&clock), Some(1000));
        }
    }

    #[test]
    fn what_has_no_end_is_told_once_in_a_while() {
        let (clock, often) = (ManualClock::default(), Occasional::new(Duration::from_secs(60)));
        let told = |times: u64| (0..times).filter_map(|_| often.happened(&clock)).collect::<Vec<_>>();
        assert_eq!(told(100), [1]);
        clock.advance(Duration::from_secs(59));
        assert_eq!(told(100), [] as [u64; 0]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(told(100), [200]);
    }
}
