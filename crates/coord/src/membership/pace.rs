use std::time::Duration;

use statehouse_core::{Error, Result};

use crate::api::CoordStore;
use crate::capability::{BEATS, SERVER_TIME, SHARED};

/// How often a member says that it is there, where the store is fast, and where each word is two requests that somebody pays
/// for.
const HEARTBEATS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// A look at a slow store reads one file for each member.
const FOR_EACH: Duration = Duration::from_secs(15);

/// Where beats are counted, for how many heartbeats a record lives, and after how many it is put again: it must be there when
/// its member stands still for a while, and builds that know no beats take a member for there as long as its record is.
const RECORD: u32 = 30;
const RENEWED: u32 = 20;

/// Where beats say that nothing has changed, for how many heartbeats they are believed: who knows no beats comes unannounced.
const BELIEVED: u32 = 30;

/// Nobody looks less often.
const SELDOM: Duration = Duration::from_secs(600);

const ACCEPTED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(600)];

/// How fast a member's heart beats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) heartbeat: Duration,
    is_slow: bool,
    /// Whether it beats, or puts its record each time.
    pub(super) beats: bool,
}

impl Pace {
    /// What the application says, or what is right for the store, once that is open.
    pub(super) fn of(store: &dyn CoordStore, heartbeat: Option<Duration>) -> Result<Self> {
        if heartbeat.is_some_and(|heartbeat| heartbeat < ACCEPTED[0] || heartbeat > ACCEPTED[1]) {
            return Err(Error::invalid_input("a heartbeat is at least 100 ms and at most ten minutes"));
        }
        let has = store.capabilities();
        let is_slow = has.has(SHARED) && !has.has(SERVER_TIME);
        Ok(Self { heartbeat: heartbeat.unwrap_or(HEARTBEATS[usize::from(is_slow)]), is_slow, beats: has.has(BEATS) })
    }

    /// For how long a member counts after its last beat.
    pub(super) fn lives(&self) -> Duration {
        self.heartbeat * 3
    }

    /// For how long its record is there after it was put; none if that is for as long as it counts.
    pub(super) fn record(&self) -> Option<Duration> {
        self.beats.then(|| self.heartbeat * RECORD)
    }

    /// After how long its record is put again, though it says the same.
    pub(super) fn renewed(&self) -> Duration {
        self.heartbeat * RENEWED
    }

    /// For how long beats are believed that say that nothing has changed.
    pub(super) fn believed(&self) -> Duration {
        self.heartbeat * BELIEVED
    }

    /// How long one request may take.
    pub(super) fn patience(&self) -> Duration {
        self.heartbeat.clamp(Duration::from_millis(500), Duration::from_secs(3))
    }

    /// What has changed is told after this at most.
    pub(super) fn gap(&self) -> Duration {
        self.heartbeat / 8
    }

    /// How long nobody has to look again at so many members.
    pub(super) fn look(&self, members: usize) -> Duration {
        if !self.is_slow {
            return self.heartbeat * 2;
        }
        let requests = u32::try_from(members + 1).unwrap_or(u32::MAX);
        FOR_EACH.saturating_mul(requests).clamp(self.heartbeat, SELDOM.max(self.heartbeat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests for a beat, and one for each member besides the listing for a look.
    #[test]
    fn a_store_that_is_paid_by_the_request_is_asked_once_in_ten_seconds() {
        let pace = Pace { heartbeat: HEARTBEATS[1], is_slow: true, beats: false };
        for members in [1_u32, 3, 10, 39] {
            let looks = f64::from(members + 1) / pace.look(members as usize).as_secs_f64();
            let a_second = looks + 2.0 / pace.heartbeat.as_secs_f64();
            assert!(a_second <= 0.1 + 1e-9, "{members}: {a_second}");
        }
        let fast = Pace { heartbeat: HEARTBEATS[0], is_slow: false, beats: true };
        assert_eq!((fast.look(100), fast.lives()), (Duration::from_secs(4), Duration::from_secs(6)));
        assert_eq!((fast.record(), pace.record()), (Some(Duration::from_secs(60)), None));
    }
}
