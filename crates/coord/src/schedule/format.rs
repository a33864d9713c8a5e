//! What the record of a job says: the planned time that was claimed last, or done last where it is to be done at least once. It
//! has no time to live, and is the only one of its job. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 8 | the planned time, in microseconds since 1970 |

use bytes::Bytes;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

const FORMAT: u8 = 1;

pub(super) fn encode(planned: Timestamp) -> Bytes {
    Bytes::from([&[FORMAT][..], &planned.as_micros().to_le_bytes()].concat())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Timestamp> {
    match bytes.split_first_chunk::<1>() {
        Some(([FORMAT], micros)) => micros.try_into().ok().map(u64::from_le_bytes).map(Timestamp::from_micros),
        _ => None,
    }
    .ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no schedule"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let planned = Timestamp::from_micros(0x0102);
        assert_eq!(encode(planned), b"\x01\x02\x01\0\0\0\0\0\0"[..]);
        assert_eq!(decode(&encode(planned)).unwrap(), planned);
        for bytes in [&b""[..], b"\x02\0\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
