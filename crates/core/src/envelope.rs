use std::error::Error as StdError;
use std::fmt;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

use crate::{CodecId, Timestamp, Version};

/// The header of a record that is stored as one binary value, as each session is, so that old and new replicas can share a
/// store and a damaged value is never misread.
///
/// # Layout
/// All numbers are little-endian. The *stamp* is written by the store (by a script on the server, so that version and
/// expiry follow the server's clock) and has a check of its own that a script can compute; the rest is written by the
/// client.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 2 | magic, `SH` |
/// | 2 | 1 | format, 1 |
/// | 3 | 1 | codec ([`CodecId`]) |
/// | 4 | 4 | schema ([`SchemaId`]) |
/// | 8 | 2 | flags ([`Flags`]) |
/// | 10 | 2 | number of generations, *n* |
/// | 12 | 4 | payload length |
/// | 16 | 8 | stamp: version |
/// | 24 | 8 | stamp: created, microseconds since the Unix epoch |
/// | 32 | 8 | stamp: soft expiry, likewise, 0 for none |
/// | 40 | 8 | stamp: hard expiry, likewise, 0 for none |
/// | 48 | 4 | [Adler-32](https://www.rfc-editor.org/rfc/rfc1950#section-8) of bytes 16 to 48 |
/// | 52 | 4 | CRC-32 (IEEE 802.3) of bytes 0 to 16, the generations and the payload |
/// | 56 | 16 × *n* | generations: tag hash, generation |
/// | 56 + 16 × *n* | | payload |
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its fields are those of the stored format")]
pub struct Envelope {
    /// How the payload is encoded.
    pub codec: CodecId,
    /// The version of the payload's type.
    pub schema: SchemaId,
    /// Properties of the entry.
    pub flags: Flags,
    /// What the store decided when it was written.
    pub stamp: Stamp,
    /// The tag generations that were current when the value was read from its source.
    pub generations: Vec<Generation>,
    /// The encoded value.
    pub payload: Bytes,
}

/// The application's number for the layout of a stored type. Values of another schema are not decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct SchemaId(pub u32);

/// A bit set of entry properties. Bits that this version does not know make an envelope [`EnvelopeError::Unknown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No property.
    pub const NONE: Self = Self(0);
    /// The payload is compressed.
    pub const COMPRESSED: Self = Self(1);
    /// The entry says that the source has no such value.
    pub const NEGATIVE: Self = Self(2);
    /// The entry marks an invalidation; late writes of older values are refused.
    pub const TOMBSTONE: Self = Self(4);
    /// The entry has no value yet: a load is under way, and only it may replace the entry by what it loaded.
    pub const LEASE: Self = Self(8);
    const KNOWN: u16 = 15;

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    ///
    /// ```
    /// use statehouse_core::Flags;
    ///
    /// let both = Flags::COMPRESSED.union(Flags::NEGATIVE);
    /// assert!(both.contains(Flags::NEGATIVE) && !both.contains(Flags::LEASE));
    /// ```
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the store decides when an envelope is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its fields are those of the stored format")]
pub struct Stamp {
    /// The version.
    pub version: Version,
    /// When it was written.
    pub created: Timestamp,
    /// From when on the value is stale.
    pub soft_expiry: Option<Timestamp>,
    /// From when on the value is gone.
    pub hard_expiry: Option<Timestamp>,
}

/// A tag's generation as of the load of a value: the value is valid only while it is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct Generation {
    /// The hash of the tag's name.
    pub tag: u64,
    /// The generation.
    pub generation: u64,
}

const MAGIC: [u8; 2] = *b"SH";
const FORMAT: u8 = 1;
const HEADER: usize = 56;
const STAMP: std::ops::Range<usize> = 16..48;

impl Envelope {
    /// The offset of the 32-byte stamp, for scripts that write it in place. Its Adler-32 follows it.
    pub const STAMP_OFFSET: usize = STAMP.start;

    /// An envelope without stamp, generations and flags.
    #[must_use]
    pub const fn new(codec: CodecId, schema: SchemaId, payload: Bytes) -> Self {
        Self {
            codec,
            schema,
            flags: Flags::NONE,
            stamp: Stamp {
                version: Version::new(0),
                created: Timestamp::from_micros(0),
                soft_expiry: None,
                hard_expiry: None,
            },
            generations: Vec::new(),
            payload,
        }
    }

    /// The bytes to store.
    ///
    /// # Panics
    /// If the payload is 4 GiB or longer, or there are more than 65,535 generations: the services refuse both long
    /// before.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let generations = u16::try_from(self.generations.len()).expect("at most 65,535 generations");
        let length = u32::try_from(self.payload.len()).expect("a payload under 4 GiB");
        let mut out = BytesMut::with_capacity(HEADER + 16 * self.generations.len() + self.payload.len());
        out.put_slice(&MAGIC);
        out.put_u8(FORMAT);
        out.put_u8(self.codec.0);
        out.put_u32_le(self.schema.0);
        out.put_u16_le(self.flags.0);
        out.put_u16_le(generations);
        out.put_u32_le(length);
        out.put_slice(&self.stamp.encode());
        out.put_u32_le(0);
        for generation in &self.generations {
            out.put_u64_le(generation.tag);
            out.put_u64_le(generation.generation);
        }
        out.put_slice(&self.payload);
        let sum = checksum(&out);
        out[52..56].copy_from_slice(&sum.to_le_bytes());
        out.freeze()
    }

    /// Reads stored bytes. The payload shares their memory.
    ///
    /// # Errors
    /// [`EnvelopeError::Corrupt`] if the bytes are not what was written, [`EnvelopeError::Unknown`] if they are of a
    /// format or carry a flag that this version does not know.
    pub fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(EnvelopeError::Corrupt)?;
        if header[..2] != MAGIC {
            return Err(EnvelopeError::Corrupt);
        }
        if header[2] != FORMAT {
            return Err(EnvelopeError::Unknown);
        }
        let body = HEADER + 16 * usize::from(u16_at(header, 10));
        if bytes.len().checked_sub(body) != usize::try_from(u32_at(header, 12)).ok() {
            return Err(EnvelopeError::Corrupt);
        }
        if checksum(&bytes) != u32_at(header, 52) {
            return Err(EnvelopeError::Corrupt);
        }
        let flags = u16_at(header, 8);
        if flags & !Flags::KNOWN != 0 {
            return Err(EnvelopeError::Unknown);
        }
        let generations = bytes[HEADER..body]
            .chunks_exact(16)
            .map(|pair| Generation { tag: u64_at(pair, 0), generation: u64_at(pair, 8) })
            .collect();
        let mut envelope = Self {
            codec: CodecId(header[3]),
            schema: SchemaId(u32_at(header, 4)),
            flags: Flags(flags),
            stamp: Stamp::decode(&header[STAMP.start..STAMP.end + 4])?,
            generations,
            payload: Bytes::new(),
        };
        bytes.advance(body);
        envelope.payload = bytes;
        Ok(envelope)
    }
}

impl Stamp {
    /// The 36 bytes at [`Envelope::STAMP_OFFSET`]: the stamp and its Adler-32.
    #[must_use]
    pub fn encode(&self) -> [u8; 36] {
        let mut out = [0; 36];
        let expiry = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_micros);
        let numbers =
            [self.version.get(), self.created.as_micros(), expiry(self.soft_expiry), expiry(self.hard_expiry)];
        for (slot, number) in out.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let sum = adler32(&out[..32]);
        out[32..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if adler32(&bytes[..32]) != u32_at(bytes, 32) {
            return Err(EnvelopeError::Corrupt);
        }
        let expiry = |at| Some(u64_at(bytes, at)).filter(|micros| *micros != 0).map(Timestamp::from_micros);
        Ok(Self {
            version: Version::new(u64_at(bytes, 0)),
            created: Timestamp::from_micros(u64_at(bytes, 8)),
            soft_expiry: expiry(16),
            hard_expiry: expiry(24),
        })
    }
}

/// Covers what the client writes: the first 16 bytes and all that follows the header.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..STAMP.start]);
    hasher.update(&bytes[HEADER..]);
    hasher.finalize()
}

/// RFC 1950 section 8. Over 32 bytes the sums stay far below the modulus times 2^16, so one reduction is enough.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a += u32::from(*byte);
        b += a;
    }
    ((b % 65_521) << 16) | (a % 65_521)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | (u32::from(u16_at(bytes, at + 2)) << 16)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | (u64::from(u32_at(bytes, at + 4)) << 32)
}

/// Why stored bytes were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes are not what was written: truncated, changed, or never an envelope.
    Corrupt,
    /// The bytes were written by a version whose format this one does not know.
    Unknown,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the stored bytes are damaged",
            Self::Unknown => "the stored bytes are of a format that this version does not know",
        })
    }
}

impl StdError for EnvelopeError {}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Envelope {
        Envelope {
            codec: CodecId::POSTCARD,
            schema: SchemaId(3),
            flags: Flags::NEGATIVE,
            stamp: Stamp {
                version: Version::new(1_795_223_382_034_413),
                created: Timestamp::from_micros(1_795_223_382_034_400),
                soft_expiry: None,
                hard_expiry: Some(Timestamp::from_micros(1_795_223_442_034_400)),
            },
            generations: vec![Generation { tag: 0xfeed, generation: 9 }],
            payload: Bytes::from_static(b"hello"),
        }
    }

    /// The golden file pins the format: it is read by replicas of every later version.
    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let golden = Bytes::from_static(include_bytes!("../golden/envelope-v1.bin"));
        assert_eq!(sample().encode(), golden);
        assert_eq!(Envelope::decode(golden), Ok(sample()));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let good = sample().encode();
        for end in 0..good.len() {
            assert!(Envelope::decode(good.slice(..end)).is_err(), "cut at {end}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::decode(bad.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_unknown_and_not_corrupt() {
        let mut later = sample().encode().to_vec();
        later[2] = 2;
        assert_eq!(Envelope::decode(later.into()), Err(EnvelopeError::Unknown));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..20_000_usize {
            let bytes: Vec<u8> = (0..round % 200)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[0]
                })
                .collect();
            let framed = [b"SH\x01".as_slice(), &bytes].concat();
            assert!(Envelope::decode(bytes.into()).is_err());
            assert!(Envelope::decode(framed.into()).is_err());
        }
    }

    #[test]
    fn adler32_agrees_with_the_well_known_value() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
