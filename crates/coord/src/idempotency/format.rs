//! What is known of a request under its key: the value of a record. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | 0 the request is under way, 1 its response is kept, 2 it was answered and that is not kept |
//! | 2 | 32 | the fingerprint of the request |
//! | 34 | 2 | of a response: its status |
//! | 36 | 2 | how many headers follow |
//! | | 4 + *n* + *m* | of each: length *n* of the name and *m* of the value, 2 bytes each, name, value |
//! | | | the body |

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use statehouse_core::{Error, ErrorKind, Result};

/// What tells one request from another under the same key: SHA-256 of its method, its path with the query, and its body.
pub(super) type Fingerprint = [u8; 32];

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Kept(Kept),
    /// Its response is not kept: it is larger than that, or there are too many.
    Unkept,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

const FORMAT: u8 = 1;

impl Known {
    /// None for headers that are too many or too long to be told.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let mut bytes = BytesMut::with_capacity(64);
        let state = match &self.state {
            State::Running => 0,
            State::Kept(_) => 1,
            State::Unkept => 2,
        };
        bytes.put_slice(&[FORMAT, state]);
        bytes.put_slice(&self.fingerprint);
        if let State::Kept(kept) = &self.state {
            bytes.put_u16_le(kept.status.as_u16());
            bytes.put_u16_le(kept.headers.len().try_into().ok()?);
            for (name, value) in &kept.headers {
                bytes.put_u16_le(name.as_str().len().try_into().ok()?);
                bytes.put_u16_le(value.len().try_into().ok()?);
                bytes.put_slice(name.as_str().as_bytes());
                bytes.put_slice(value.as_bytes());
            }
            bytes.put_slice(&kept.body);
        }
        Some(bytes.freeze())
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self> {
        read(bytes.clone())
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no answer to a request"))
    }
}

fn read(mut bytes: Bytes) -> Option<Known> {
    let (head, _) = bytes.split_first_chunk::<34>()?;
    let ([FORMAT, state], fingerprint) = head.split_first_chunk::<2>()? else { return None };
    let (state, fingerprint) = (*state, fingerprint.try_into().ok()?);
    bytes.advance(34);
    let state = match state {
        0 if bytes.is_empty() => State::Running,
        1 => State::Kept(read_kept(bytes)?),
        2 if bytes.is_empty() => State::Unkept,
        _ => return None,
    };
    Some(Known { fingerprint, state })
}

fn read_kept(mut bytes: Bytes) -> Option<Kept> {
    let status = StatusCode::from_u16(bytes.try_get_u16_le().ok()?).ok()?;
    let mut headers = HeaderMap::new();
    for _ in 0..bytes.try_get_u16_le().ok()? {
        let (name, value) = (bytes.try_get_u16_le().ok()?, bytes.try_get_u16_le().ok()?);
        let (name, value) = (usize::from(name), usize::from(value));
        if bytes.len() < name + value {
            return None;
        }
        let name = HeaderName::from_bytes(&bytes.split_to(name)).ok()?;
        // It takes 32,768 of different names.
        headers.try_append(name, HeaderValue::from_maybe_shared(bytes.split_to(value)).ok()?).ok()?;
    }
    Some(Kept { status, headers, body: bytes })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Known {
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("/o/7"));
        let kept = Kept { status: StatusCode::CREATED, headers, body: Bytes::from_static(b"ok") };
        Known { fingerprint: [7; 32], state: State::Kept(kept) }
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let golden = [&b"\x01\x01"[..], &[7; 32], b"\xc9\0\x01\0\x08\0\x04\0location/o/7ok"].concat();
        assert_eq!(kept().encode().unwrap(), golden);
        assert_eq!(Known::decode(&kept().encode().unwrap()).unwrap(), kept());
        for (state, number) in [(State::Running, 0), (State::Unkept, 2)] {
            let known = Known { fingerprint: [7; 32], state };
            assert_eq!(known.encode().unwrap(), [&[1, number][..], &[7; 32]].concat());
            assert_eq!(Known::decode(&known.encode().unwrap()).unwrap(), known);
        }
    }

    #[test]
    fn what_is_no_answer_is_corrupt() {
        let whole = kept().encode().unwrap();
        let other = |at: usize, byte: u8| {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            bytes
        };
        let broken = [whole[..33].to_vec(), whole[..50].to_vec(), other(0, 2), other(1, 0), other(1, 3), other(35, 9)];
        for bytes in broken.into_iter().chain([other(42, b' '), other(40, 0xff), Vec::new()]) {
            assert_eq!(Known::decode(&bytes.clone().into()).unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
    }

    #[test]
    fn more_headers_than_a_map_takes_are_no_answer() {
        let names = (0..40_000_u32).map(|number| format!("{number:x}"));
        let header = |name: String| [&[u8::try_from(name.len()).unwrap(), 0, 0, 0][..], name.as_bytes()].concat();
        let headers: Vec<u8> = names.flat_map(header).collect();
        let head = [&b"\x01\x01"[..], &[7; 32], &200_u16.to_le_bytes(), &40_000_u16.to_le_bytes()].concat();
        let error = Known::decode(&[head, headers].concat().into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
