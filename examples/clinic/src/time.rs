use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    #[cfg(test)]
    let now = now + AHEAD.get();
    now
}

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
std::thread_local! {
    static AHEAD: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// As where this host's clock is ahead, for what runs on this thread.
#[cfg(test)]
pub(crate) fn set_ahead(millis: i64) {
    AHEAD.set(millis);
}

/// As an HTML `time` element wants it, in UTC. The page's script shows it in the reader's own time zone.
pub(crate) fn iso(millis: i64) -> String {
    at(millis).format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default()
}

/// As people read it, in UTC.
pub(crate) fn readable(millis: i64) -> String {
    at(millis).format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).unwrap_or_default()
}

fn at(millis: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(iso(1_767_225_600_000), "2026-01-01T00:00:00Z");
        assert_eq!(readable(1_767_225_659_999), "2026-01-01 00:00 UTC");
        assert_eq!(iso(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
