//! Times as the file system has them.

use statehouse_core::Timestamp;

#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn modified(stat: &rustix::fs::Stat) -> Timestamp {
    timestamp(stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

pub(super) fn timestamp(seconds: i64, nanos: i64) -> Timestamp {
    let (seconds, micros) = (u64::try_from(seconds).unwrap_or(0), u64::try_from(nanos).unwrap_or(0) / 1000);
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
