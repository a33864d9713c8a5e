//! What the record of a lock says: its value. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | 0 free, 1 held |
//! | 2 | 16 | the owner, zeros if it is free |
//! | 18 | | what the holder is called, UTF-8 |
//!
//! The record of a lock that is held lives for its lease; that of a free one stays, so that its version is not forgotten.

use bytes::{BufMut as _, Bytes, BytesMut};
use statehouse_core::{Error, ErrorKind, Result};

/// Whose a lock is: drawn for each acquisition, so that a holder knows its own lock and nobody else's, whatever they are
/// called.
pub(super) type Owner = [u8; 16];

/// What the record of a lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Held { owner: Owner, holder: String },
}

const FORMAT: u8 = 1;

impl State {
    pub(super) fn encode(&self) -> Bytes {
        let (held, owner, holder) = match self {
            Self::Free => (0, &[0; 16], ""),
            Self::Held { owner, holder } => (1, owner, holder.as_str()),
        };
        let mut bytes = BytesMut::with_capacity(18 + holder.len());
        bytes.put_slice(&[FORMAT, held]);
        bytes.put_slice(owner);
        bytes.put_slice(holder.as_bytes());
        bytes.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let (head, rest) = bytes.split_first_chunk::<2>()?;
            let (owner, holder) = rest.split_first_chunk::<16>()?;
            match head {
                [FORMAT, 0] => Some(Self::Free),
                [FORMAT, 1] => Some(Self::Held { owner: *owner, holder: std::str::from_utf8(holder).ok()?.to_owned() }),
                _ => None,
            }
        };
        read().ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no lock"))
    }

    pub(super) fn is_of(&self, mine: &Owner) -> bool {
        matches!(self, Self::Held { owner, .. } if owner == mine)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let held = State::Held { owner: *b"0123456789abcdef", holder: "é".to_owned() };
        assert_eq!(held.encode(), b"\x01\x010123456789abcdef\xc3\xa9".as_slice());
        assert_eq!(State::Free.encode(), [&[1, 0][..], &[0; 16]].concat());
        for state in [held, State::Free] {
            assert_eq!(State::decode(&state.encode()).unwrap(), state);
        }
        for bytes in [&b""[..], b"\x01", b"\x02\x000123456789abcdef", b"\x01\x020123456789abcdef", b"\x01\x010123"] {
            assert_eq!(State::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
