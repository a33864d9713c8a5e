mod guard;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::guard::Limits;
use crate::{Error, ErrorKind, Result};

/// The codec's number in a stored [`Envelope`](crate::Envelope). Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecId(pub u8);

impl CodecId {
    /// Plain bytes, not encoded by statehouse.
    pub const RAW: Self = Self(0);
    /// [postcard 1](https://postcard.jamesmunns.com/wire-format).
    pub const POSTCARD: Self = Self(1);
    /// [bincode 2](https://docs.rs/bincode/2.0.1/bincode/), standard configuration.
    pub const BINCODE: Self = Self(2);
    /// [JSON](https://www.rfc-editor.org/rfc/rfc8259).
    pub const JSON: Self = Self(3);
    /// [MessagePack](https://msgpack.org), structs as maps.
    pub const MESSAGEPACK: Self = Self(4);
}

/// How typed values become bytes.
///
/// An enum and not a trait: what is stored names its codec by number, so the set of codecs is part of the format, and
/// every replica must know all that its peers write. Postcard is always there; the others are features of this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Compact and fast, not self-describing: adding a field to a struct makes it a new schema.
    #[default]
    Postcard,
    /// Compact, not self-describing. For data that already is bincode: the crate is no longer maintained.
    #[cfg(feature = "bincode")]
    Bincode,
    /// Readable by everything. A struct may gain fields that have `#[serde(default)]`.
    #[cfg(feature = "json")]
    Json,
    /// Like JSON, smaller and faster.
    #[cfg(feature = "messagepack")]
    MessagePack,
}

impl Codec {
    /// The number stored with what this codec wrote.
    #[must_use]
    pub const fn id(self) -> CodecId {
        match self {
            Self::Postcard => CodecId::POSTCARD,
            #[cfg(feature = "bincode")]
            Self::Bincode => CodecId::BINCODE,
            #[cfg(feature = "json")]
            Self::Json => CodecId::JSON,
            #[cfg(feature = "messagepack")]
            Self::MessagePack => CodecId::MESSAGEPACK,
        }
    }

    /// The codec with this number, if it is compiled in.
    #[must_use]
    pub const fn from_id(id: CodecId) -> Option<Self> {
        match id {
            CodecId::POSTCARD => Some(Self::Postcard),
            #[cfg(feature = "bincode")]
            CodecId::BINCODE => Some(Self::Bincode),
            #[cfg(feature = "json")]
            CodecId::JSON => Some(Self::Json),
            #[cfg(feature = "messagepack")]
            CodecId::MESSAGEPACK => Some(Self::MessagePack),
            _ => None,
        }
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the value cannot be represented, for example a map with struct keys in JSON.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>> {
        fn refuse(source: impl std::error::Error + Send + Sync + 'static) -> Error {
            Error::invalid_input("the value cannot be encoded").with_source(source)
        }
        match self {
            Self::Postcard => postcard::to_stdvec(value).map_err(refuse),
            #[cfg(feature = "bincode")]
            Self::Bincode => bincode::serde::encode_to_vec(value, bincode::config::standard()).map_err(refuse),
            #[cfg(feature = "json")]
            Self::Json => serde_json::to_vec(value).map_err(refuse),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(refuse),
        }
    }

    /// The encoded length of a value, in bytes, found without allocating where the codec can.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encoded_len<T: Serialize + ?Sized>(self, value: &T) -> Result<usize> {
        if self == Self::Postcard {
            let count = postcard::ser_flavors::Size::default();
            return postcard::serialize_with_flavor(value, count)
                .map_err(|source| Error::invalid_input("the value cannot be encoded").with_source(source));
        }
        self.encode(value).map(|bytes| bytes.len())
    }

    /// Decodes a value. All bytes must be used up.
    ///
    /// The bytes may be anything: what is allocated and how long it takes is bounded by their number. A value that is
    /// nested deeper than 256 levels is refused, and so are lists and maps that have more elements than bytes and 4,096
    /// besides, as only those can have whose elements take no bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not a `T` of this codec. The decoder's own message is left out: it may
    /// quote the value.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        let limits = Limits::of(bytes.len());
        let value = match self {
            Self::Postcard => {
                let mut decoder = postcard::Deserializer::from_bytes(bytes);
                let value = T::deserialize(limits.guard(&mut decoder)).ok();
                value.filter(|_| decoder.finalize().is_ok_and(<[u8]>::is_empty))
            }
            #[cfg(feature = "bincode")]
            Self::Bincode => {
                let seed = limits.guard(std::marker::PhantomData::<T>);
                bincode::serde::seed_decode_from_slice(seed, bytes, bincode::config::standard())
                    .ok()
                    .filter(|(_, used)| *used == bytes.len())
                    .map(|(value, _)| value)
            }
            #[cfg(feature = "json")]
            Self::Json => {
                let mut decoder = serde_json::Deserializer::from_slice(bytes);
                T::deserialize(limits.guard(&mut decoder)).ok().filter(|_| decoder.end().is_ok())
            }
            #[cfg(feature = "messagepack")]
            Self::MessagePack => {
                let mut decoder = rmp_serde::Deserializer::new(bytes);
                T::deserialize(limits.guard(&mut decoder)).ok().filter(|_| decoder.get_ref().is_empty())
            }
        };
        value.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the stored bytes are not a value of the expected type"))
    }
}

#[cfg(test)]
mod tests;
