//! The records in a file of traces, one behind the other. A later one of an id takes the place of an earlier one.
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32 (IEEE 802.3) of what follows |
//! | 4 | 2 | length of the id, *n*: 1 to 512 |
//! | 6 | 8 | version of the delete |
//! | 14 | 8 | when it was deleted, in microseconds since 1970 |
//! | 22 | *n* | the id, in UTF-8 |

use statehouse_core::Timestamp;

use crate::DocumentId;

/// The version of a delete, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(super) version: u64,
    pub(super) since: Timestamp,
}

const CHECKSUM: usize = 4;
const HEAD: usize = CHECKSUM + 2 + 8 + 8;

pub(super) fn encode(id: &DocumentId, trace: Trace, into: &mut Vec<u8>) {
    let start = into.len();
    let length = u16::try_from(id.as_str().len()).unwrap_or(u16::MAX);
    into.extend_from_slice(&[0; CHECKSUM]);
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&trace.version.to_le_bytes());
    into.extend_from_slice(&trace.since.as_micros().to_le_bytes());
    into.extend_from_slice(id.as_str().as_bytes());
    let checksum = crc32fast::hash(&into[start + CHECKSUM..]);
    into[start..start + CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

pub(super) fn decode(rest: &mut &[u8]) -> Option<(DocumentId, Trace)> {
    let head: &[u8; HEAD] = rest.first_chunk()?;
    let number = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let length = usize::from(u16::from_le_bytes(*head.get(CHECKSUM..)?.first_chunk()?));
    let trace = Trace { version: number(CHECKSUM + 2)?, since: Timestamp::from_micros(number(CHECKSUM + 10)?) };
    let record = rest.get(..HEAD + length)?;
    let checksum = u32::from_le_bytes(*head.first_chunk()?);
    if crc32fast::hash(&record[CHECKSUM..]) != checksum {
        return None;
    }
    let id = DocumentId::new(std::str::from_utf8(&record[HEAD..]).ok()?).ok()?;
    *rest = &rest[HEAD + length..];
    Some((id, trace))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DocumentId {
        DocumentId::new(text).unwrap()
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let mut bytes = Vec::new();
        encode(&id("I21"), Trace { version: 5, since: Timestamp::from_micros(0x0102_0304) }, &mut bytes);
        let golden = b"\x4f\xc8\xc7\x7e\x03\x00\x05\0\0\0\0\0\0\0\x04\x03\x02\x01\0\0\0\0I21";
        assert_eq!(bytes, golden, "{bytes:02x?}");
        let mut rest = &golden[..];
        assert_eq!(decode(&mut rest).unwrap().0, id("I21"));
        for at in 0..golden.len() {
            let mut flipped = golden.to_vec();
            flipped[at] ^= 1;
            assert!(decode(&mut &flipped[..]).is_none(), "{at}");
            assert!(decode(&mut &golden[..at]).is_none(), "{at}");
        }
    }
}
