//! What is seen of something by looking at it again and again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::HealthStatus;

/// What is down is lost when it has been down for so long: one lost packet is no outage.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(3);
/// What was lost is back when it has not been down for so long: what comes and goes is not back.
pub(crate) const BACK_AFTER: Duration = Duration::from_secs(1);

/// One thing that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Option<Seen>>);

/// How it is by all that was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    status: HealthStatus,
    /// Since when it is so.
    pub(crate) since: Instant,
    /// Since when it is down, or is not.
    pub(crate) turned: Instant,
    /// Whether it is to be counted on.
    pub(crate) is_lost: bool,
}

impl Watched {
    /// Takes down what was seen just now.
    pub(crate) fn saw(&self, status: HealthStatus, now: Instant) -> Seen {
        // Nothing panics while it is held.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = seen.map_or_else(|| Seen::first(status, now), |before| before.then(status, now));
        *seen = Some(next);
        next
    }
}

impl Seen {
    /// With nothing to compare it to, it is as it looks.
    const fn first(status: HealthStatus, now: Instant) -> Self {
        Self { status, since: now, turned: now, is_lost: matches!(status, HealthStatus::Down) }
    }

    fn then(self, status: HealthStatus, now: Instant) -> Self {
        let is_down = status == HealthStatus::Down;
        let since = if status == self.status { self.since } else { now };
        let turned = if is_down == (self.status == HealthStatus::Down) { self.turned } else { now };
        let lasted = now.saturating_duration_since(turned);
        let is_lost = if is_down { self.is_lost || lasted >= LOST_AFTER } else { self.is_lost && lasted < BACK_AFTER };
        Self { status, since, turned, is_lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sees one status after another, each at its millisecond, and says after which it is lost.
    fn lost(looks: &[(u64, HealthStatus)]) -> Vec<bool> {
        let (watched, start) = (Watched::default(), Instant::now());
        let see = |(at, status): &(u64, HealthStatus)| watched.saw(*status, start + Duration::from_millis(*at)).is_lost;
        looks.iter().map(see).collect()
    }

    use HealthStatus::{Degraded, Down, Up};

    #[test]
    fn what_is_down_is_lost_when_it_stays_down_and_back_when_it_stays_up() {
        let looks = [(0, Up), (1_000, Down), (3_999, Down), (4_000, Down), (5_000, Up), (5_999, Degraded), (6_000, Up)];
        assert_eq!(lost(&looks), [false, false, false, true, true, true, false]);
    }

    #[test]
    fn what_comes_and_goes_changes_nothing() {
        let looks = [(0, Up), (1_000, Down), (3_000, Up), (3_500, Down), (6_000, Down), (6_200, Up), (6_300, Down)];
        assert_eq!(lost(&looks), [false; 7]);
        let looks = [(0, Down), (1_000, Up), (1_500, Down), (2_000, Up), (2_900, Up), (3_000, Up)];
        assert_eq!(lost(&looks), [true, true, true, true, true, false]);
    }

    #[test]
    fn it_is_told_since_when_it_is_as_it_is() {
        let (watched, start) = (Watched::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(watched.saw(Up, at(0)).since, at(0));
        assert_eq!(watched.saw(Up, at(9)).since, at(0));
        assert_eq!(watched.saw(Degraded, at(10)).since, at(10));
        assert!(!watched.saw(Degraded, at(99)).is_lost, "it answers");
    }
}
