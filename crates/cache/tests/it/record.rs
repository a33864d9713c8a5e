//! A record of an entry, as whoever has only the table in `redis/format.rs` reads and writes it.

use bytes::Bytes;
use statehouse_core::{CodecId, SchemaId};

pub(crate) const PLAIN: u16 = 0;

const HEADER: usize = 72;
const SEALED: usize = 40;
const CRC: usize = 68;
const PRIME: u64 = 4_294_967_291;

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) version: u64,
    /// Microseconds since 1970.
    pub(crate) created: u64,
    /// Milliseconds since 1970.
    pub(crate) expires: u64,
    pub(crate) generation: u64,
    pub(crate) schema: SchemaId,
    pub(crate) codec: CodecId,
    pub(crate) flags: u16,
    pub(crate) tags: Vec<Tag>,
    pub(crate) payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) hash: [u8; 8],
    pub(crate) generation: u64,
}

impl Record {
    /// None for what does not begin like a record. Checks are for those who read what others may have damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || !bytes.starts_with(b"SHC\x01") {
            return None;
        }
        let (tags, length) = (usize::from(bytes[53]), usize::try_from(number(bytes, 64, 4)).ok()?);
        let payload = HEADER + 8 * tags;
        let end = payload + length;
        let tag = |n| Tag {
            hash: *bytes[HEADER + 8 * n..].first_chunk().unwrap(),
            generation: number(bytes, end + 8 * n, 8),
        };
        Some(Self {
            version: number(bytes, 8, 8),
            created: number(bytes, 16, 8),
            expires: number(bytes, 24, 8),
            generation: number(bytes, 32, 8),
            schema: SchemaId(u32::from_le_bytes(*bytes[48..].first_chunk()?)),
            codec: CodecId(bytes[52]),
            flags: u16::from_le_bytes(*bytes[54..].first_chunk()?),
            tags: (0..tags).map(tag).collect(),
            payload: Bytes::copy_from_slice(bytes.get(payload..end)?),
        })
    }

    pub(crate) fn encode(&self, writer: [u8; 8]) -> Vec<u8> {
        let Self { version, created, expires, generation, .. } = *self;
        let check = (2 * version - created + expires + generation) % PRIME;
        let mut out = b"SHC\x01".to_vec();
        out.extend(small(check));
        out.extend([version, created, expires, generation].into_iter().flat_map(u64::to_le_bytes));
        out.extend(writer);
        out.extend(self.schema.0.to_le_bytes());
        out.extend([self.codec.0, u8::try_from(self.tags.len()).unwrap()]);
        out.extend(self.flags.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(small(self.payload.len() as u64));
        let behind: Vec<u8> = self.tags.iter().flat_map(|tag| tag.hash).chain(self.payload.iter().copied()).collect();
        out.extend(crc32fast::hash(&[&out[SEALED..CRC], &behind].concat()).to_le_bytes());
        out.extend(behind);
        out.extend(self.tags.iter().flat_map(|tag| tag.generation.to_le_bytes()));
        if !self.tags.is_empty() {
            out.extend(small(self.tags.iter().fold(0, |sum, tag| (3 * sum + tag.generation) % PRIME)));
        }
        out
    }
}

fn small(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
