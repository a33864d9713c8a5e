use std::time::Duration;

use bytes::Bytes;
use statehouse_core::time::whole_micros;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

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

/// The record of a job is the format, 1, and the planned time that was claimed last, or done last where it is to be done at
/// least once: microseconds in 8 bytes, little-endian. It has no time to live, and is the only one of its job.
pub(super) fn encode(planned: Timestamp) -> Bytes {
    Bytes::from([&[FORMAT][..], &planned.as_micros().to_le_bytes()].concat())
}

const FORMAT: u8 = 1;

pub(super) fn decode(bytes: &[u8]) -> Result<Timestamp> {
    match bytes.split_first_chunk::<1>() {
        Some(([FORMAT], micros)) => micros.try_into().ok().map(u64::from_le_bytes).map(Timestamp::from_micros),
        _ => None,
    }
    .ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no schedule"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_words_say() {
        let planned = Timestamp::from_micros(0x0102);
        assert_eq!(encode(planned), b"\x01\x02\x01\0\0\0\0\0\0"[..]);
        assert_eq!(decode(&encode(planned)).unwrap(), planned);
        for bytes in [&b""[..], b"\x02\0\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn times_are_the_same_for_all_whenever_they_began() {
        let tick = |micros| Tick::last(Timestamp::from_micros(micros), Duration::from_micros(60));
        let at = |planned, late| Tick { planned: Timestamp::from_micros(planned), late: Duration::from_micros(late) };
        assert_eq!([tick(0), tick(59), tick(60), tick(119)], [at(0, 0), at(0, 59), at(60, 0), at(60, 59)]);
    }
}
