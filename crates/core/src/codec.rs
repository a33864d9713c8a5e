use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not a `T` of this codec. The decoder's own message is left out: it may
    /// quote the value.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        let value = match self {
            Self::Postcard => postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|v| v.0),
            #[cfg(feature = "bincode")]
            Self::Bincode => bincode::serde::decode_from_slice(bytes, bincode::config::standard())
                .ok()
                .filter(|(_, used)| *used == bytes.len())
                .map(|v| v.0),
            #[cfg(feature = "json")]
            Self::Json => serde_json::from_slice(bytes).ok(),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => {
                let mut rest = bytes;
                rmp_serde::from_read(&mut rest).ok().filter(|_| rest.is_empty())
            }
        };
        value.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the stored bytes are not a value of the expected type"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Rate {
        pair: String,
        value: f64,
        history: Vec<Option<u32>>,
    }

    fn all() -> Vec<Codec> {
        (0..=u8::MAX).filter_map(|id| Codec::from_id(CodecId(id))).collect()
    }

    #[test]
    fn every_codec_round_trips_and_refuses_other_bytes() {
        let rate = Rate { pair: "EUR/USD".into(), value: 1.0842, history: vec![None, Some(7)] };
        for codec in all() {
            assert_eq!(Codec::from_id(codec.id()), Some(codec));
            let bytes = codec.encode(&rate).unwrap();
            assert_eq!(codec.encoded_len(&rate).unwrap(), bytes.len());
            assert_eq!(codec.decode::<Rate>(&bytes).unwrap(), rate);
            for end in 0..bytes.len() {
                assert_eq!(codec.decode::<Rate>(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "{codec:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(codec.decode::<Rate>(&longer).unwrap_err().kind(), ErrorKind::Corrupt, "{codec:?}");
        }
    }

    #[test]
    fn an_unknown_codec_is_told_apart() {
        assert_eq!(Codec::from_id(CodecId(200)), None);
        assert_eq!(Codec::from_id(CodecId::RAW), None);
    }
}
