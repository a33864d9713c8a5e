use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Codec, CodecId, Error, ErrorKind, Result, SchemaId};
use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::attributes::Attributes;
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

/// Changes to the attributes of a session, independent of what the others are.
///
/// Applied in the order clear, remove, set. Because a delta names only what changed, it can be applied to a newer
/// record than the one it was made on, and parallel changes of other attributes stay.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta {
    /// Attributes to set.
    pub set: Attributes,
    /// Attributes to remove.
    pub remove: BTreeSet<AttributeName>,
    /// Whether all attributes are removed first.
    pub clear: bool,
}

impl Delta {
    /// A delta that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The delta that makes the attributes exactly these.
    #[must_use]
    pub const fn replace(set: Attributes) -> Self {
        Self { set, remove: BTreeSet::new(), clear: true }
    }

    /// This delta, and then the attribute set.
    #[must_use]
    pub fn with_set(mut self, name: AttributeName, value: Attribute) -> Self {
        self.remove.remove(&name);
        self.set.insert(name, value);
        self
    }

    /// This delta, and then the attribute removed.
    #[must_use]
    pub fn with_removed(mut self, name: AttributeName) -> Self {
        self.set.remove(&name);
        self.remove.insert(name);
        self
    }

    /// This delta followed by a later one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        if later.clear {
            return later;
        }
        let removed = later.remove.into_iter().fold(self, Self::with_removed);
        later.set.into_iter().fold(removed, |delta, (name, value)| delta.with_set(name, value))
    }

    /// Whether nothing was asked for. A delta that sets what is there already is not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.clear && self.set.is_empty() && self.remove.is_empty()
    }

    /// The attributes with this delta applied, or `None` if they are the same as before.
    #[must_use]
    pub fn apply(&self, attributes: &Attributes) -> Option<Attributes> {
        if !self.changes(attributes) {
            return None;
        }
        if self.clear {
            return Some(self.set.clone());
        }
        let mut next = attributes.clone();
        for name in &self.remove {
            next.remove(name);
        }
        next.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        Some(next)
    }

    /// Whether the attributes would be others with this delta applied.
    pub(crate) fn changes(&self, attributes: &Attributes) -> bool {
        if self.clear {
            return self.set != *attributes;
        }
        let sets = self.set.iter().any(|(name, value)| attributes.get(name) != Some(value));
        sets || self.remove.iter().any(|name| attributes.contains_key(name) && !self.set.contains_key(name))
    }

    /// The size of the attributes with this delta applied.
    pub(crate) fn size_on(&self, attributes: &Attributes) -> u64 {
        let gone = self.replaced(attributes).map(|(name, value)| entry_size(name, value)).sum::<u64>();
        let kept = if self.clear { 0 } else { attributes.size() - gone };
        kept + self.set.size()
    }

    /// How many attributes there are with this delta applied.
    pub(crate) fn count_on(&self, attributes: &Attributes) -> usize {
        let kept = if self.clear { 0 } else { attributes.len() - self.replaced(attributes).count() };
        kept + self.set.len()
    }

    /// The attributes that it removes or sets anew, unless it removes all.
    fn replaced<'a>(&'a self, attributes: &'a Attributes) -> impl Iterator<Item = (&'a AttributeName, &'a Attribute)> {
        let removed = self.remove.iter().filter(|name| !self.set.contains_key(name));
        let names = removed.chain(self.set.keys());
        names.filter_map(|name| Some((name, attributes.get(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AttributeName {
        AttributeName::new(text).unwrap()
    }

    fn value(text: &str) -> Attribute {
        Attribute::encode(text).unwrap()
    }

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
    fn a_delta_touches_only_what_it_names_and_equal_values_change_nothing() {
        let base = Delta::new().with_set(name("a"), value("1")).with_set(name("b"), value("2")).set;
        let changed = Delta::new().with_set(name("a"), value("9")).with_removed(name("c")).apply(&base).unwrap();
        assert_eq!(changed[&name("a")], value("9"));
        assert_eq!(changed[&name("b")], value("2"));
        assert_eq!(Delta::new().with_set(name("a"), value("1")).apply(&base), None);
        assert_eq!(Delta::new().with_removed(name("c")).apply(&base), None);
        assert_eq!(Delta::replace(base.clone()).apply(&base), None);
        assert_eq!(Delta::replace(Attributes::new()).apply(&base), Some(Attributes::new()));
    }

    #[test]
    fn a_later_delta_wins_name_by_name() {
        let first = Delta::new().with_set(name("a"), value("1")).with_removed(name("b"));
        let both = first.clone().then(Delta::new().with_set(name("b"), value("2")).with_removed(name("a")));
        assert_eq!(both, Delta::new().with_removed(name("a")).with_set(name("b"), value("2")));
        assert_eq!(first.then(Delta::replace(Attributes::new())), Delta::replace(Attributes::new()));
    }

    #[test]
    fn sizes_and_changes_are_known_without_applying() {
        let base = Delta::new().with_set(name("a"), value("1")).with_set(name("bb"), value("22")).set;
        let deltas = [
            Delta::new(),
            Delta::new().with_set(name("a"), value("1")),
            Delta::new().with_set(name("a"), value("999")),
            Delta::new().with_set(name("ccc"), value("3")).with_removed(name("bb")).with_removed(name("missing")),
            Delta { remove: [name("a")].into(), ..Delta::new().with_set(name("a"), value("1")) },
            Delta::replace(base.clone()),
            Delta::replace(Attributes::new()).with_set(name("bb"), value("4444")),
        ];
        for delta in deltas {
            let (next, changed) = (delta.apply(&base), delta.changes(&base));
            assert_eq!(next.is_some(), changed, "{delta:?}");
            let next = next.as_ref().unwrap_or(&base);
            assert_eq!((delta.size_on(&base), delta.count_on(&base)), (next.size(), next.len()), "{delta:?}");
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
