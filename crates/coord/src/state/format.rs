//! A value of shared state as its record has it. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | codec |
//! | 2 | 8 | revision: how many updates were made |
//! | 10 | 1 | how many ids follow, *n* |
//! | 11 | 16 × *n* | the ids of the last updates, the latest first |
//! | 11 + 16 × *n* | | the encoded value |

use bytes::{BufMut as _, Bytes, BytesMut};
use statehouse_core::{Codec, CodecId, Error, ErrorKind, Result};

use crate::record::WriteId;

/// How many updates are remembered by their ids, so that one whose answer was lost is known.
pub(super) const REMEMBERED: usize = 16;

/// A value of shared state as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) codec: CodecId,
    pub(super) revision: u64,
    pub(super) ids: Vec<WriteId>,
    pub(super) value: Bytes,
}

const FORMAT: u8 = 1;

/// The most bytes of all that stands before a value.
pub(super) const HEAD: usize = 11 + 16 * REMEMBERED;

impl Kept {
    /// What an update makes of it.
    pub(super) fn next(before: Option<&Self>, id: WriteId, value: Vec<u8>) -> Self {
        let known = before.map_or(&[][..], |before| &before.ids);
        let ids = std::iter::once(id).chain(known.iter().copied()).take(REMEMBERED).collect();
        let revision = before.map_or(0, |before| before.revision) + 1;
        Self { codec: Codec::MessagePack.id(), revision, ids, value: value.into() }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD + self.value.len());
        bytes.put_slice(&[FORMAT, self.codec.0]);
        bytes.put_u64_le(self.revision);
        bytes.put_u8(u8::try_from(self.ids.len()).unwrap_or(0));
        self.ids.iter().for_each(|id| bytes.put_slice(id.as_bytes()));
        bytes.put_slice(&self.value);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self> {
        let read = || {
            let (head, rest) = bytes.split_first_chunk::<11>()?;
            let [FORMAT, codec, number @ .., count] = head else { return None };
            let (ids, value) = rest.split_at_checked(16 * usize::from(*count))?;
            Some(Self {
                codec: CodecId(*codec),
                revision: u64::from_le_bytes(*number),
                ids: ids.as_chunks::<16>().0.iter().map(|id| WriteId::from_bytes(*id)).collect(),
                value: bytes.slice(bytes.len() - value.len()..),
            })
        };
        read().ok_or_else(|| Error::new(ErrorKind::Corrupt, "what is stored here is no shared state"))
    }

    /// The revision that the update of this id made.
    pub(super) fn made_by(&self, id: WriteId) -> Option<u64> {
        let at = self.ids.iter().position(|known| *known == id)?;
        self.revision.checked_sub(at as u64)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let ids = vec![WriteId::from_bytes([7; 16]), WriteId::from_bytes([6; 16])];
        let kept = Kept { codec: CodecId::MESSAGEPACK, revision: 0x0102, ids, value: Bytes::from_static(b"\x2a") };
        let golden = [&b"\x01\x04\x02\x01\0\0\0\0\0\0\x02"[..], &[7; 16], &[6; 16], b"\x2a"].concat();
        assert_eq!(kept.encode(), golden);
        assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
        for bytes in [&golden[..10], &golden[..40], &golden[1..], b""] {
            let error = Kept::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn the_last_updates_are_known_with_their_revisions() {
        let id = |number: u8| WriteId::from_bytes([number; 16]);
        let mut kept = None;
        for number in 1..=20 {
            kept = Some(Kept::next(kept.as_ref(), id(number), Vec::new()));
        }
        let kept = kept.unwrap();
        assert_eq!((kept.revision, kept.ids.len()), (20, REMEMBERED));
        assert_eq!(kept.made_by(id(20)), Some(20));
        assert_eq!(kept.made_by(id(5)), Some(5));
        assert_eq!(kept.made_by(id(4)), None);
        assert!(kept.encode().len() <= HEAD);
    }
}
