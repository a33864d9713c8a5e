//! Durations as the whole numbers that go over the wire.

use std::time::Duration;

/// Whole microseconds, cut off; `u64::MAX` above 584,542 years.
#[must_use]
pub fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, cut off; `u64::MAX` above 584 million years.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds, rounded up: a time to live that is sent so does not end early, and one above zero does not become zero.
#[must_use]
pub fn millis_rounded_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_and_what_is_rounded_up() {
        let odd = Duration::from_nanos(1_000_001);
        assert_eq!((whole_micros(odd), whole_millis(odd), millis_rounded_up(odd)), (1_000, 1, 2));
        assert_eq!(millis_rounded_up(Duration::from_nanos(1)), 1);
        assert_eq!(millis_rounded_up(Duration::ZERO), 0);
        assert_eq!(whole_micros(Duration::MAX), u64::MAX);
    }
}
