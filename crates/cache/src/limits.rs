//! How long a value may be, and how long it may live. A limit of one type is by that type.

use std::time::Duration;

use statehouse_core::time::millis_rounded_up;
use statehouse_core::{Error, ErrorKind, Result};

/// The longest time to live: 36,500 days.
pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The longest value, in bytes: 64 MiB.
pub const MAX_VALUE_LEN: usize = 64 << 20;

/// The time to live in whole milliseconds, rounded up. For backends.
///
/// # Errors
/// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for zero and for more than [`MAX_TIME_TO_LIVE`].
pub fn time_to_live_millis(time_to_live: Duration) -> Result<u64> {
    if time_to_live.is_zero() {
        return Err(Error::invalid_input("the time to live must be above zero"));
    }
    if time_to_live > MAX_TIME_TO_LIVE {
        return Err(Error::invalid_input("the time to live must not be longer than 36,500 days"));
    }
    Ok(millis_rounded_up(time_to_live))
}

/// Refuses a value that is too long. For backends.
///
/// # Errors
/// [`TooLarge`](statehouse_core::ErrorKind::TooLarge) for more than [`MAX_VALUE_LEN`] bytes.
pub fn check_value_len(length: usize) -> Result<()> {
    if length > MAX_VALUE_LEN {
        let message = "a cached value must not be longer than 64 MiB";
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_rounded_up_and_bounded() {
        let millis = |duration| time_to_live_millis(duration).ok();
        assert_eq!(millis(Duration::ZERO), None);
        assert_eq!(millis(Duration::from_nanos(1)), Some(1));
        assert_eq!(millis(Duration::from_micros(1_001)), Some(2));
        assert_eq!(millis(MAX_TIME_TO_LIVE), Some(3_153_600_000_000));
        assert_eq!(millis(MAX_TIME_TO_LIVE + Duration::from_nanos(1)), None);
        assert_eq!(millis(Duration::MAX), None);
    }
}
