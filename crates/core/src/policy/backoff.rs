use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::sync::{AtomicI64, Ordering};

/// Pauses that double from `first` up to `most`, each shortened by up to half at random, so that the replicas of an
/// application don't come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// The first pause, and the longest.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        pause.mul_f64(0.5 + random_fraction() / 2.0)
    }
}

/// A random number from 0 up to 1, good enough to spread load.
fn random_fraction() -> f64 {
    let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX)
}

/// Limits retries to a share of the traffic: ten successes pay for one retry, and a hundred retries are saved up at
/// most. Without it, each operation's three tries would triple the load on a server that is already struggling.
#[derive(Debug)]
pub struct RetryBudget(AtomicI64);

impl RetryBudget {
    const RETRY: i64 = 10;
    const MOST: i64 = 100 * Self::RETRY;

    /// A full budget.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(Self::MOST))
    }

    /// Notes a success.
    pub fn earn(&self) {
        // A racing pair may overshoot by one, which is harmless; the usual case is one load of a full budget.
        if self.0.load(Ordering::Relaxed) < Self::MOST {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pays for a retry, if there is enough left.
    #[must_use]
    pub fn spend(&self) -> bool {
        let take = |left: i64| (left >= Self::RETRY).then_some(left - Self::RETRY);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_vary() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for whole in [100, 200, 400, 400] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(whole / 2) && pause <= Duration::from_millis(whole), "{pause:?}");
        }
        let varied: std::collections::HashSet<_> =
            (0..20).map(|_| Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).pause()).collect();
        assert!(varied.len() > 10);
    }

    #[test]
    fn the_budget_ends_and_is_earned_back() {
        let budget = RetryBudget::new();
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 100);
        (0..25).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 2);
    }
}
