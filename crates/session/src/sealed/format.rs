//! What is stored in the place of a session's attributes: the bytes of a seal, and what is under it.
//!
//! All numbers are little-endian. HMAC is HMAC-SHA-256, of several texts each behind its length (8). The first of them is in
//! quotes, and *names* is the secret of the names:
//!
//! | what | is |
//! | --- | --- |
//! | *place* | HMAC under *names* of `statehouse session seal`, the namespace |
//! | the name of an attribute | the first 16 bytes of HMAC under *names* of `statehouse session attribute`, *place*, the session's key, the name; in 32 hexadecimal digits |
//! | the principal | HMAC under *names* of `statehouse session principal`, the namespace, the principal; in 64 hexadecimal digits |
//! | a session's key of the cipher | HMAC under a secret of the ring of `statehouse session seal`, *place*, the session's key |
//!
//! The value of an attribute, whose codec is `RAW`, and whose schema and type are none:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | length of the id of the ring's key, *n* |
//! | 2 | *n* | the id |
//! | 2 + *n* | | AES-256-GCM-SIV, with a nonce of zeros, of what is below; with all before it and the 32 digits of the name as its associated data; its tag (16) last |
//!
//! Under the seal:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | length of the name, *n* |
//! | 1 | 1 | length of the name of the type, *t* |
//! | 2 | *n* | the name |
//! | 2 + *n* | *t* | the name of the type |
//! | 2 + *n* + *t* | 1 | codec |
//! | 3 + *n* + *t* | 4 | schema |
//! | 7 + *n* + *t* | | the value |
//!
//! Who is logged in is the attribute `statehouse.principal` of codec `RAW`: the principal, and zeros up to 256 bytes.

use bytes::Bytes;
use statehouse_core::CodecId;

use crate::record::{Attribute, AttributeName};

const FORMAT: u8 = 1;

/// What stands before the text that is sealed with the key of this id.
pub(super) fn head(id: &str) -> Vec<u8> {
    // Ids have at most 24 bytes.
    [&[FORMAT, u8::try_from(id.len()).unwrap_or(u8::MAX)], id.as_bytes()].concat()
}

/// What stands before the text, the text, and the id of the key.
pub(super) fn parts(sealed: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [FORMAT, length, ..] = *sealed else { return None };
    let (head, text) = sealed.split_at_checked(2 + usize::from(length))?;
    Some((head, text, &head[2..]))
}

/// An attribute as it is under its seal.
pub(super) fn written(name: &AttributeName, value: &Attribute) -> Vec<u8> {
    let (name, type_name) = (name.as_bytes(), value.type_name().as_bytes());
    let mut plain = Vec::with_capacity(7 + name.len() + type_name.len() + value.bytes().len());
    // Names have at most 128 bytes, those of types 64.
    plain.extend([name.len(), type_name.len()].map(|length| u8::try_from(length).unwrap_or(u8::MAX)));
    plain.extend_from_slice(name);
    plain.extend_from_slice(type_name);
    plain.push(value.codec().0);
    plain.extend_from_slice(&value.schema().to_le_bytes());
    plain.extend_from_slice(value.bytes());
    plain
}

pub(super) fn read(plain: &Bytes) -> Option<(AttributeName, Attribute)> {
    let name = 2..2 + usize::from(*plain.first()?);
    let type_name = name.end..name.end + usize::from(*plain.get(1)?);
    let (codec, schema) = (type_name.end, type_name.end + 1..type_name.end + 5);
    let written_as = std::str::from_utf8(plain.get(type_name)?).ok()?;
    let numbers = u32::from_le_bytes(plain.get(schema.clone())?.try_into().ok()?);
    let value = Attribute::new(CodecId(*plain.get(codec)?), plain.slice(schema.end..));
    let value = value.with_schema(numbers).with_type_name(written_as);
    Some((AttributeName::stored(plain.slice(name))?, value))
}
