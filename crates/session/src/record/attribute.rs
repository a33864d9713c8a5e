use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Codec, CodecId, Error, ErrorKind, Result, SchemaId};
use std::any::type_name;
use std::fmt;
use std::time::Duration;

use super::ends::Ends;

/// The name of an attribute: 1 to 128 bytes of UTF-8 without control characters, not beginning with `statehouse.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Bytes);

impl AttributeName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;
    /// Names below this are for the library's own attributes.
    const RESERVED: &str = "statehouse.";

    /// Checks the text and takes it as a name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], saying which rule the text breaks.
    pub fn new(text: &str) -> Result<Self> {
        if text.starts_with(Self::RESERVED) {
            let reason = "attribute names beginning with \"statehouse.\" are reserved";
            return Err(Error::invalid_input(reason).with_key(text));
        }
        Self::stored(Bytes::copy_from_slice(text.as_bytes())).ok_or_else(|| {
            let rule = "an attribute name is 1 to 128 bytes without control characters";
            Error::invalid_input(rule).with_key(text)
        })
    }

    /// A name as it may stand in a record: reserved ones too. It shares the memory of the record.
    pub(crate) fn stored(bytes: Bytes) -> Option<Self> {
        Self::is_good(&bytes).then_some(Self(bytes))
    }

    /// Whether these are a name as it may stand in a record.
    pub(super) fn is_good(bytes: &[u8]) -> bool {
        let fits = (1..=Self::MAX_LEN).contains(&bytes.len());
        let is_text = |text: &str| !text.chars().any(char::is_control);
        // Most are plain, which is said sooner.
        fits && (bytes.iter().all(u8::is_ascii_graphic) || std::str::from_utf8(bytes).is_ok_and(is_text))
    }

    /// Of bytes that are.
    pub(super) const fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// One of the library's own names.
    pub(crate) fn reserved(text: &str) -> Self {
        debug_assert!(text.starts_with(Self::RESERVED), "{text:?}");
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when the name was made")
    }

    /// The text's bytes.
    pub(crate) const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttributeName({:?})", self.as_str())
    }
}

/// A stored value, how it is encoded, and what it was when it was stored. `Debug` prints its length only.
///
/// Two attributes are equal if their codecs, schemas, bytes and ends are: the name of a type is there for people to read.
#[derive(Clone)]
pub struct Attribute {
    pub(crate) codec: CodecId,
    pub(crate) schema: SchemaId,
    pub(crate) type_name: Bytes,
    pub(crate) bytes: Bytes,
    pub(crate) ends: Ends,
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        let same = self.codec == other.codec && self.schema == other.schema && self.ends == other.ends;
        same && self.bytes == other.bytes
    }
}

impl Eq for Attribute {}

impl Attribute {
    /// The codec of values written by this version, which has names of fields and variants.
    const CODEC: Codec = Codec::MessagePack;
    /// The longest name of a type that is stored, in bytes. Of longer ones the end is left out.
    pub const MAX_TYPE_NAME: usize = 64;

    /// Bytes of any codec, of schema 0 and a type without a name.
    #[must_use]
    pub const fn new(codec: CodecId, bytes: Bytes) -> Self {
        Self { codec, schema: SchemaId(0), type_name: Bytes::new(), bytes, ends: Ends::Never }
    }

    /// Encodes a value, of schema 0.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the value cannot be represented in MessagePack, or would not come back: see
    /// [`Codec::encode`].
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let attribute = Self::new(Self::CODEC.id(), Self::CODEC.encode(value)?.into());
        Ok(attribute.with_type_name(&short_type_name(type_name::<T>())))
    }

    /// The same under the number of a layout: see
    /// [`SessionConfigBuilder::attribute_schema`](crate::SessionConfigBuilder::attribute_schema).
    #[must_use]
    pub fn with_schema(self, schema: u32) -> Self {
        Self { schema: SchemaId(schema), ..self }
    }

    /// The same for so long from the change on that sets it, by the store's clock: it is absent then. That change is one, also where the
    /// value is the same. Without a time it lives as long as its session.
    #[must_use]
    pub fn with_time_to_live(self, time: Duration) -> Self {
        Self { ends: Ends::After(time), ..self }
    }

    /// The same with the name of a type.
    pub(crate) fn with_type_name(self, name: &str) -> Self {
        let mut end = name.len().min(Self::MAX_TYPE_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        Self { type_name: Bytes::copy_from_slice(&name.as_bytes()[..end]), ..self }
    }

    /// Decodes the value. The stored number does not choose the decoder: what another codec wrote than
    /// [`encode`](Self::encode) uses is for its owner to read, by [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], naming both types, if it is not a `T`, or of another codec.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let decoded = match self.codec == Self::CODEC.id() {
            true => Self::CODEC.decode(&self.bytes),
            false => Err(Error::new(ErrorKind::Corrupt, "it is of another codec than attributes are read with")),
        };
        decoded.map_err(|source| {
            let (stored, wanted) = (self.stored_as(), short_type_name(type_name::<T>()));
            let message = format!("the attribute was stored as {stored} and cannot be read as {wanted}");
            Error::new(ErrorKind::Corrupt, message).with_source(source)
        })
    }

    /// What it was stored as, in words.
    pub(crate) fn stored_as(&self) -> String {
        let name = if self.type_name.is_empty() { "a type without a name" } else { self.type_name() };
        match self.schema {
            SchemaId(0) => name.to_owned(),
            SchemaId(schema) => format!("{name} of schema {schema}"),
        }
    }

    /// Whether the other value is this one with the entries of its maps in another order. A `HashMap` has another each
    /// time.
    pub(crate) fn is_reordered(&self, other: &Self) -> bool {
        let same = self.schema == other.schema
            && self.codec == other.codec
            && self.bytes.len() == other.bytes.len()
            && self.bytes != other.bytes;
        same && self.codec == Self::CODEC.id() && Self::CODEC.is_equal(&self.bytes, &other.bytes)
    }

    /// How the bytes are encoded.
    #[must_use]
    pub const fn codec(&self) -> CodecId {
        self.codec
    }

    /// The number of the layout that it had when it was stored; 0 unless the configuration said another.
    #[must_use]
    pub const fn schema(&self) -> u32 {
        self.schema.0
    }

    /// The name of the type that it was stored as, without modules and for people to read; empty if nobody said.
    #[must_use]
    pub fn type_name(&self) -> &str {
        std::str::from_utf8(&self.type_name).unwrap_or_default()
    }

    /// The encoded value.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// The name of a type without the modules of it and of its parameters: `Vec<Cart>` for
/// `alloc::vec::Vec<shop::cart::Cart>`.
pub(crate) fn short_type_name(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut word = 0;
    for (at, letter) in full.char_indices() {
        if letter.is_alphanumeric() || letter == '_' {
            continue;
        }
        let in_path = letter == ':' && (full[at + 1..].starts_with(':') || full[..at].ends_with(':'));
        if !in_path {
            short.push_str(&full[word..at]);
            short.push(letter);
        }
        word = at + letter.len_utf8();
    }
    short.push_str(&full[word..]);
    short
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Attribute");
        shown.field("codec", &self.codec).field("schema", &self.schema).field("type_name", &self.type_name());
        shown.field("len", &self.bytes.len()).field("ends", &self.ends).finish()
    }
}

pub(crate) fn entry_size(name: &AttributeName, value: &Attribute) -> u64 {
    (name.as_bytes().len() + value.bytes.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "theme", "shop.cart", "ключ", &"x".repeat(128)] {
            assert_eq!(AttributeName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\n", "statehouse.flash", &"x".repeat(129)] {
            assert_eq!(AttributeName::new(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }

    #[test]
    fn values_survive_a_struct_that_gains_a_field() {
        #[derive(serde::Serialize)]
        struct Old {
            items: Vec<u32>,
        }
        #[derive(serde::Deserialize)]
        struct New {
            items: Vec<u32>,
            #[serde(default)]
            voucher: Option<String>,
        }
        let stored = Attribute::encode(&Old { items: vec![7] }).unwrap();
        let read: New = stored.decode().unwrap();
        assert_eq!((read.items, read.voucher), (vec![7], None));
        assert_eq!(stored.decode::<bool>().unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_both_types() {
        #[derive(serde::Serialize)]
        struct Cart {
            items: Vec<u32>,
        }
        let stored = Attribute::encode(&Cart { items: vec![7] }).unwrap();
        assert_eq!((stored.type_name(), stored.schema()), ("Cart", 0));
        let error = stored.decode::<Vec<Duration>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "the attribute was stored as Cart and cannot be read as Vec<Duration>");
        let error = stored.with_schema(3).decode::<bool>().unwrap_err();
        assert_eq!(error.to_string(), "the attribute was stored as Cart of schema 3 and cannot be read as bool");
        for (full, short) in [
            ("u32", "u32"),
            ("&str", "&str"),
            ("alloc::vec::Vec<shop::cart::Cart>", "Vec<Cart>"),
            ("(alloc::string::String, [core::option::Option<a::B>; 3])", "(String, [Option<B>; 3])"),
            ("std::collections::hash::map::HashMap<a::Ключ, dyn b::C>", "HashMap<Ключ, dyn C>"),
        ] {
            assert_eq!(short_type_name(full), short);
        }
        let long = Attribute::encode(&1).unwrap().with_type_name(&"й".repeat(40));
        assert_eq!(long.type_name(), "й".repeat(32));
    }

    #[test]
    fn the_stored_codec_does_not_choose_the_decoder() {
        let yes = Attribute::encode(&true).unwrap();
        assert!(yes.decode::<bool>().unwrap());
        for other in (0..=u8::MAX).map(CodecId).filter(|id| *id != yes.codec) {
            // One byte that is `true` in every codec but JSON.
            for bytes in [&b"\x01"[..], b"true", yes.bytes()] {
                let other = Attribute::new(other, Bytes::copy_from_slice(bytes));
                assert_eq!(other.decode::<bool>().unwrap_err().kind(), ErrorKind::Corrupt, "{other:?}");
            }
        }
    }
}
