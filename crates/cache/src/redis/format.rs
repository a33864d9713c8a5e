//! What lies at the key of an entry, byte by byte.
//!
//! All numbers are little-endian. The first 40 bytes, the *stamp*, are written by a script, so that version and expiry
//! follow the server's clock; what the client has *sealed* follows. A lease and the mark of a removal are records of the
//! same form without a payload.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic and format: `SHC` and 1 |
//! | 4 | 4 | check of the stamp: (2 × version − created + hard expiry + generation) modulo 4,294,967,291 |
//! | 8 | 8 | version |
//! | 16 | 8 | created, in microseconds since 1970; of a loaded value, when its lease was given out |
//! | 24 | 8 | hard expiry, in milliseconds since 1970: from then on it is gone |
//! | 32 | 8 | generation of its group |
//! | 40 | 8 | writer: random, the same for every try of one call |
//! | 48 | 4 | schema |
//! | 52 | 1 | codec ([`CodecId`]) |
//! | 53 | 1 | number of tags, *t* |
//! | 54 | 2 | flags: 1 compressed, 2 negative, 4 mark of a removal, 8 lease |
//! | 56 | 8 | soft expiry, in milliseconds after its creation, 0 for none: from then on it is stale and may still be served |
//! | 64 | 4 | payload length, *p* |
//! | 68 | 4 | CRC-32 (IEEE 802.3) of bytes 40 to 68, the hashes and the payload |
//! | 72 | 8 × *t* | hashes of the tags' names |
//! | 72 + 8 × *t* | *p* | payload |
//! | 72 + 8 × *t* + *p* | 8 × *t* | the tags' generations, as they were when the value was read from its source |
//! | 72 + 16 × *t* + *p* | 4 | if *t* > 0, their check: from 0, for each, (3 × check + generation) modulo 4,294,967,291 |
//!
//! Versions, times and generations are below 3 × 10¹⁵, microseconds up to the year 2065, so that scripts can add them up exactly. The generation of a group is text:
//! 16 digits and, each after a space, the schemas that are in use under it. That of a tag is 16 digits, at the key of the
//! group's generation with `:` and the hash as 16 hexadecimal digits, its first byte first.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use statehouse_core::{CodecId, SchemaId};

/// What a script can calculate with: it counts in floating-point numbers.
pub(super) const MOST: u64 = 3_000_000_000_000_000;

/// The flags, and what an entry of this build has.
pub(super) const PLAIN: u16 = 0;
pub(super) const REMOVED: u16 = 4;
pub(super) const LEASE: u16 = 8;

const MAGIC: [u8; 4] = *b"SHC\x01";
const HEADER: usize = 72;
const SEALED: usize = 40;
const CRC: usize = 68;
const PRIME: u64 = 4_294_967_291;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) version: u64,
    /// Microseconds since 1970.
    pub(super) created: u64,
    /// Milliseconds since 1970.
    pub(super) expires: u64,
    pub(super) generation: u64,
    pub(super) schema: SchemaId,
    pub(super) codec: CodecId,
    pub(super) flags: u16,
    pub(super) tags: Vec<Tag>,
    pub(super) payload: Bytes,
}

/// A tag of an entry, with the generation under which the entry is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) hash: [u8; 8],
    pub(super) generation: u64,
}

/// Why stored bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged,
    UnknownFormat,
}

/// What a script stamps and stores.
pub(super) fn seal(writer: [u8; 8], schema: SchemaId, codec: CodecId, flags: u16, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER - SEALED + payload.len());
    out.put_slice(&writer);
    out.put_u32_le(schema.0);
    out.put_u8(codec.0);
    out.put_u8(0);
    out.put_u16_le(flags);
    out.put_u64_le(0);
    // A value is at most 64 MiB long.
    out.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out);
    crc.update(payload);
    out.put_u32_le(crc.finalize());
    out.put_slice(payload);
    out.freeze()
}

impl Record {
    /// Reads stored bytes. The payload shares their memory.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Unreadable> {
        let head: [u8; HEADER] = *bytes.first_chunk().ok_or(Unreadable::Damaged)?;
        if head[..4] != MAGIC {
            let known = head[..3] == MAGIC[..3];
            return Err(if known { Unreadable::UnknownFormat } else { Unreadable::Damaged });
        }
        let count = usize::from(head[53]);
        let length = usize::try_from(number::<4>(&head, 64)).map_err(|_| Unreadable::Damaged)?;
        let payload = HEADER + 8 * count;
        let end = payload.saturating_add(length);
        let tail = if count > 0 { 8 * count + 4 } else { 0 };
        if bytes.len() != end.saturating_add(tail) {
            return Err(Unreadable::Damaged);
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[SEALED..CRC]);
        crc.update(&bytes[HEADER..end]);
        let mut record = Self::of_stamp(&head)?;
        record.tags = tags(&bytes[HEADER..payload], &bytes[end..])?;
        if u64::from(crc.finalize()) != number::<4>(&head, CRC) {
            return Err(Unreadable::Damaged);
        }
        bytes.truncate(end);
        bytes.advance(payload);
        record.payload = bytes;
        Ok(record)
    }

    fn of_stamp(head: &[u8; HEADER]) -> Result<Self, Unreadable> {
        let [version, created, expires, generation] = [8, 16, 24, 32].map(|at| number::<8>(head, at));
        let small = [version, created, expires, generation].iter().all(|number| *number < MOST);
        if !small || check(version, created, expires, generation) != number::<4>(head, 4) {
            return Err(Unreadable::Damaged);
        }
        Ok(Self {
            version,
            created,
            expires,
            generation,
            schema: SchemaId(u32::from_le_bytes([head[48], head[49], head[50], head[51]])),
            codec: CodecId(head[52]),
            flags: u16::from_le_bytes([head[54], head[55]]),
            tags: Vec::new(),
            payload: Bytes::new(),
        })
    }
}

/// Of numbers below [`MOST`].
fn check(version: u64, created: u64, expires: u64, generation: u64) -> u64 {
    // What is negative is never stored, and equals nothing.
    (2 * version + expires + generation).checked_sub(created).map_or(u64::MAX, |sum| sum % PRIME)
}

fn tags(hashes: &[u8], tail: &[u8]) -> Result<Vec<Tag>, Unreadable> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let (generations, sum) = tail.split_at(hashes.len());
    let mut check = 0;
    let pairs = hashes.as_chunks().0.iter().zip(generations.as_chunks().0);
    let tag = |(hash, generation): (&[u8; 8], &[u8; 8])| {
        let generation = Some(u64::from_le_bytes(*generation)).filter(|generation| *generation < MOST)?;
        check = (3 * check + generation) % PRIME;
        Some(Tag { hash: *hash, generation })
    };
    let tags = pairs.map(tag).collect::<Option<Vec<_>>>();
    tags.filter(|_| number::<4>(sum, 0) == check).ok_or(Unreadable::Damaged)
}

/// The little-endian number of `N` bytes at an offset, which is there.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + N].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
