//! How a record becomes bytes: the payload of a [`statehouse_core::Envelope`] of codec `RAW` and schema 1.
//!
//! All numbers are little-endian. Times are microseconds. Scripts on a server read the fixed part in place.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 32 | session key: a record found under another key is refused |
//! | 32 | 32 | hash of the verifier |
//! | 64 | 32 | hash of the previous verifier, zeros for none |
//! | 96 | 8 | the previous verifier is accepted until this long after creation; all ones: until the verifier is used |
//! | 104 | 8 | rotated this long after creation |
//! | 112 | 8 | authenticated this long after creation, all ones for never |
//! | 120 | 8 | idle timeout |
//! | 128 | 8 | how long the previous verifier is accepted from the first use of the verifier on |
//! | 136 | 8 | epoch of the principal in which the login began; 0 if nobody is logged in |
//! | 144 | 8 | version since which all saves are in field 3 |
//! | 152 | | fields: tag (2), length (4), bytes |
//!
//! | tag | bytes |
//! | --- | --- |
//! | 1 | the principal, at most once |
//! | 2 | an attribute: length of the name (1), name, codec (1), schema (4), length of its type's name (1), that name, value |
//! | 3 | the last saves, at most once: 1 to 16 times version (8) and id (8) |
//! | 4 | that whoever logged in is remembered, at most once: how long after creation that login was (8), for how long without being used (8). Of another login than the last it says nothing |
//! | 5 | when an attribute ends, at most once for each: how long after creation (8), the first bytes of the SHA-256 of its codec (1), schema (4) and value (8), its name. Of another value, which an earlier build has set, it says nothing |
//!
//! Fields of other tags, from later versions, are kept byte for byte and written back after the known ones.
//!
//! In the place of a session whose deletion is remembered stands a tombstone of 15 or 23 bytes: `deleted`, when it was, in
//! microseconds since 1970 (8), and in Redis by which deletion, in bytes that nobody else draws (8).

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
#[cfg(any(unix, feature = "redis", test))]
use statehouse_core::Timestamp;
use statehouse_core::time::whole_micros;
use statehouse_core::{CodecId, Envelope, Error, ErrorKind, Result, SchemaId, Version};

use super::attribute::{Attribute, AttributeName};
use super::attributes::{Attributes, HEAD};
use super::change::Principal;
use super::ends::Ends;
use super::saves::Saves;
use super::stored::{Previous, Record, Remembered};
use crate::token::{SessionKey, VerifierHash};

const SCHEMA: SchemaId = SchemaId(1);
const PRINCIPAL: u16 = 1;
const ATTRIBUTE: u16 = 2;
const SAVES: u16 = 3;
const REMEMBERED: u16 = 4;
const ENDS: u16 = 5;
const NEVER: u64 = u64::MAX;

/// What a tombstone begins with. No record is as short.
#[cfg(any(unix, feature = "redis", test))]
pub(crate) const TOMBSTONE: &[u8; 7] = b"deleted";

/// What stands in the place of a session that was deleted then.
#[cfg(any(unix, test))]
pub(crate) fn tombstone(at: Timestamp) -> [u8; 15] {
    let mut bytes = [0; 15];
    bytes[..7].copy_from_slice(TOMBSTONE);
    bytes[7..].copy_from_slice(&at.as_micros().to_le_bytes());
    bytes
}

/// When the session was deleted in whose place this stands, if it is a tombstone.
#[cfg(any(unix, feature = "redis", test))]
pub(crate) fn deleted_at(bytes: &[u8]) -> Option<Timestamp> {
    let (at, by) = bytes.strip_prefix(TOMBSTONE)?.split_first_chunk()?;
    matches!(by.len(), 0 | 8).then(|| Timestamp::from_micros(u64::from_le_bytes(*at)))
}

/// The length of the fixed part.
pub(super) const FIXED: usize = 152;

impl Record {
    /// The bytes to store.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if they are more than [`Record::MAX_LEN`].
    pub fn encode(&self) -> Result<Bytes> {
        // Of each attribute what stands around its name and its value, and mostly less.
        let around = 512 + (HEAD + 8 + Attribute::MAX_TYPE_NAME) * self.attributes.len();
        let mut out = BytesMut::with_capacity(around + usize::try_from(self.attributes.size()).unwrap_or(0));
        out.put_slice(self.key.as_bytes());
        out.put_slice(self.verifier.as_bytes());
        out.put_slice(self.previous.as_ref().map_or(&[0; 32], |previous| previous.verifier.as_bytes()));
        out.put_u64_le(self.previous.map_or(0, |previous| previous.until.map_or(NEVER, micros)));
        out.put_u64_le(micros(self.rotated));
        out.put_u64_le(self.authenticated.map_or(NEVER, micros));
        out.put_u64_le(micros(self.idle_timeout));
        out.put_u64_le(self.previous.map_or(0, |previous| micros(previous.grace)));
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.saves.since().get());
        if let Some(principal) = &self.principal {
            put_field(&mut out, PRINCIPAL, &[principal.as_str().as_bytes()])?;
        }
        put_attributes(&mut out, &self.attributes)?;
        if !self.saves.is_empty() {
            let mut saves = BytesMut::new();
            self.saves.put(&mut saves);
            put_field(&mut out, SAVES, &[&saves])?;
        }
        if let Some(Remembered { login, idle }) = &self.remembered {
            let times = [*login, *idle].map(|time| micros(time).to_le_bytes());
            put_field(&mut out, REMEMBERED, &[&times.concat()])?;
        }
        for (tag, bytes) in &self.unknown {
            put_field(&mut out, *tag, &[bytes])?;
        }
        if out.len() > Self::MAX_LEN {
            return Err(too_large());
        }
        let mut envelope = Envelope::new(CodecId::RAW, SCHEMA, out.freeze());
        envelope.stamp = self.stamp;
        Ok(envelope.encode())
    }

    /// Reads stored bytes found under `key`. Attributes share their memory.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if they are not a record, of a format of a later version, or of another session.
    pub fn decode(key: &SessionKey, bytes: &Bytes) -> Result<Self> {
        if bytes.len() > Self::MAX_STORED {
            return Err(corrupt("the stored session is longer than any that is written"));
        }
        let envelope = Envelope::decode(bytes.clone())
            .map_err(|source| corrupt("the stored session cannot be read").with_source(source))?;
        let plain = envelope.codec == CodecId::RAW && envelope.schema == SCHEMA && envelope.generations.is_empty();
        if !plain || envelope.stamp.hard_expiry.is_none() {
            return Err(corrupt("the stored session is of a format that this version does not know"));
        }
        let mut record =
            Self::decode_fixed(&envelope.payload).ok_or_else(|| corrupt("the stored session is incomplete"))?;
        if record.key != *key {
            return Err(corrupt("the stored session belongs under another key"));
        }
        record.stamp = envelope.stamp;
        Ok(record)
    }

    fn decode_fixed(stored: &Bytes) -> Option<Self> {
        let (mut payload, fields) = stored.split_at_checked(FIXED)?;
        let payload = &mut payload;
        let key = SessionKey::from_bytes(take_32(payload));
        let verifier = VerifierHash::from_bytes(take_32(payload));
        let previous = VerifierHash::from_bytes(take_32(payload));
        let until = payload.get_u64_le();
        let rotated = Duration::from_micros(payload.get_u64_le());
        let authenticated = Some(payload.get_u64_le()).filter(|after| *after != NEVER).map(Duration::from_micros);
        let idle_timeout = Duration::from_micros(payload.get_u64_le());
        let grace = Duration::from_micros(payload.get_u64_le());
        let epoch = payload.get_u64_le();
        let since = Version::new(payload.get_u64_le());
        let until_time = Some(until).filter(|until| *until != NEVER).map(Duration::from_micros);
        let mut record = Self {
            key,
            stamp: Default::default(),
            verifier,
            previous: (until != 0).then_some(Previous { verifier: previous, until: until_time, grace }),
            rotated,
            authenticated,
            idle_timeout,
            remembered: None,
            principal: None,
            epoch,
            attributes: Attributes::in_stored(stored.clone()),
            saves: Saves::none_since(since),
            unknown: Vec::new(),
        };
        let (mut fields, mut ends) = (fields, Vec::new());
        while !fields.is_empty() {
            let tag = fields.try_get_u16_le().ok()?;
            let length = usize::try_from(fields.try_get_u32_le().ok()?).ok()?;
            let start = stored.len() - fields.len();
            fields = fields.get(length..)?;
            record.take_field(tag, stored, start..start + length, &mut ends)?;
        }
        ends.into_iter().try_for_each(|end| record.take_end(stored.slice(end)))?;
        Some(record)
    }

    fn take_field(
        &mut self,
        tag: u16,
        stored: &Bytes,
        field: Range<usize>,
        ends: &mut Vec<Range<usize>>,
    ) -> Option<()> {
        let bytes = &stored[field.clone()];
        let first = match tag {
            PRINCIPAL => {
                let principal = Principal::new(std::str::from_utf8(bytes).ok()?).ok()?;
                self.principal.replace(principal).is_none()
            }
            ATTRIBUTE => return self.attributes.push_stored(field),
            SAVES => {
                let first = self.saves.is_empty();
                self.saves = Saves::take(self.saves.since(), bytes)?;
                first
            }
            REMEMBERED => self.remembered.replace(take_remembered(bytes)?).is_none(),
            ENDS => {
                ends.push(field);
                true
            }
            unknown => {
                self.unknown.push((unknown, stored.slice(field)));
                true
            }
        };
        first.then_some(())
    }

    /// The end of an attribute, wherever that stands.
    fn take_end(&mut self, mut bytes: Bytes) -> Option<()> {
        let end = Duration::from_micros(bytes.try_get_u64_le().ok()?);
        if bytes.len() < DIGEST {
            return None;
        }
        let of = bytes.split_to(DIGEST);
        let name = AttributeName::stored(bytes)?;
        match self.attributes.get(&name).filter(|value| digest(value)[..] == of[..]) {
            Some(_) => self.attributes.set_end(&name, end),
            None => Some(()),
        }
    }
}

/// Those that are as they were stored are copied, all at once that stand together.
fn put_attributes(out: &mut BytesMut, attributes: &Attributes) -> Result<()> {
    let mut copied = 0..0;
    let copy = |out: &mut BytesMut, copied: &mut Range<usize>, next| {
        out.put_slice(attributes.stored(std::mem::replace(copied, next)));
    };
    for index in 0..attributes.len() {
        match attributes.field(index) {
            Some(field) if field.start == copied.end => copied.end = field.end,
            Some(field) => copy(out, &mut copied, field),
            None => {
                copy(out, &mut copied, 0..0);
                let (name, value) = attributes.nth(index);
                put_attribute(out, name, value)?;
            }
        }
        if let Ends::At(end) = attributes.ends(index) {
            copy(out, &mut copied, 0..0);
            let (name, value) = attributes.nth(index);
            put_field(out, ENDS, &[&micros(end).to_le_bytes(), &digest(value), name.as_bytes()])?;
        }
    }
    copy(out, &mut copied, 0..0);
    Ok(())
}

fn put_attribute(out: &mut BytesMut, name: &AttributeName, value: &Attribute) -> Result<()> {
    let (name, kind) = (name.as_bytes(), &value.type_name);
    let (length, kind_length) = (short_len(name)?, short_len(kind)?);
    let schema = value.schema.0.to_le_bytes();
    let parts = [&length[..], name, &[value.codec.0], &schema, &kind_length, kind, &value.bytes];
    put_field(out, ATTRIBUTE, &parts)
}

/// How much tells the value of an attribute from others, in bytes.
const DIGEST: usize = 8;

/// What tells the value of an attribute from others.
fn digest(value: &Attribute) -> [u8; DIGEST] {
    let digest = Sha256::new().chain_update([value.codec.0]).chain_update(value.schema.0.to_le_bytes());
    let digest = digest.chain_update(&value.bytes).finalize();
    std::array::from_fn(|at| digest[at])
}

fn take_remembered(mut bytes: &[u8]) -> Option<Remembered> {
    if bytes.len() != 16 {
        return None;
    }
    let [login, idle] = [bytes.get_u64_le(), bytes.get_u64_le()].map(Duration::from_micros);
    Some(Remembered { login, idle })
}

fn short_len(bytes: &[u8]) -> Result<[u8; 1]> {
    u8::try_from(bytes.len()).map(|length| [length]).map_err(|_| too_large())
}

fn put_field(out: &mut BytesMut, tag: u16, parts: &[&[u8]]) -> Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.put_u16_le(tag);
    out.put_u32_le(u32::try_from(length).map_err(|_| too_large())?);
    parts.iter().for_each(|part| out.put_slice(part));
    Ok(())
}

/// The caller has checked the length.
fn take_32(payload: &mut &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    payload.copy_to_slice(&mut bytes);
    bytes
}

/// All ones say something else.
fn micros(duration: Duration) -> u64 {
    whole_micros(duration).min(NEVER - 1)
}

fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "the session is larger than 16 MiB")
}

#[cfg(test)]
mod fuzz;
