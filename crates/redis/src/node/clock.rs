//! What time it is on a server, usually without asking it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use statehouse_core::Timestamp;

/// How long a reading of a server's clock is used.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What time it is on a server, as far as that is known without asking.
#[derive(Default)]
pub(crate) struct ServerClock(Mutex<Option<Reading>>);

#[derive(Clone, Copy)]
pub(crate) struct Reading {
    server: Timestamp,
    taken: Instant,
    wall: SystemTime,
}

impl ServerClock {
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).filter(Reading::is_good)
    }

    pub(crate) fn set(&self, server: Timestamp) {
        let reading = Reading { server, taken: Instant::now(), wall: SystemTime::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }
}

impl Reading {
    /// Of a machine that was suspended only the wall clock tells.
    fn is_good(&self) -> bool {
        self.taken.elapsed() < GOOD_FOR && self.wall.elapsed().is_ok_and(|passed| passed < GOOD_FOR)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.server + self.taken.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_good_for_a_second_of_either_clock() {
        let said = Timestamp::from_micros(1_000_000);
        let ago = |taken: u64, wall: u64| Reading {
            server: said,
            taken: Instant::now().checked_sub(Duration::from_millis(taken)).unwrap(),
            wall: SystemTime::now() - Duration::from_millis(wall),
        };
        assert!(ago(500, 500).is_good());
        assert!(!ago(1_000, 500).is_good());
        assert!(!ago(500, 60_000).is_good(), "the machine was suspended");
        let ahead = Reading { wall: SystemTime::now() + Duration::from_secs(60), ..ago(500, 0) };
        assert!(!ahead.is_good(), "somebody set this machine's clock");
        assert!(ago(500, 500).now() >= said + Duration::from_millis(500));
    }
}
