use std::time::Duration;

use statehouse_core::Timestamp;
use statehouse_core::time::whole_micros;

/// One time at which a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// The time: a multiple of the interval since the Unix epoch.
    pub planned: Timestamp,
    /// How long ago that was when it was begun, by the store's time.
    pub late: Duration,
}

impl Tick {
    /// The last one that is due at a time.
    pub(super) fn last(now: Timestamp, every: Duration) -> Self {
        let late = now.as_micros() % whole_micros(every);
        Self { planned: Timestamp::from_micros(now.as_micros() - late), late: Duration::from_micros(late) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_same_for_all_whenever_they_began() {
        let tick = |micros| Tick::last(Timestamp::from_micros(micros), Duration::from_micros(60));
        let at = |planned, late| Tick { planned: Timestamp::from_micros(planned), late: Duration::from_micros(late) };
        assert_eq!([tick(0), tick(59), tick(60), tick(119)], [at(0, 0), at(0, 59), at(60, 0), at(60, 59)]);
    }
}
