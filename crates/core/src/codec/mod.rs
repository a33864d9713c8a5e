mod equality;
mod guard;
mod survey;
mod writer;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::equality::Digest;
use self::guard::Limits;
use self::survey::{Form, Survey};
use self::writer::{Count, Limited};
use crate::{Error, ErrorKind, Result};

/// The codec's number in a stored [`Envelope`](crate::Envelope). Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
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
    /// [MessagePack](https://msgpack.org): structs as maps, variants by their names, numbers of more than 64 bits as the
    /// extension types 1 (unsigned) and 2 (signed) with 16 bytes, the highest first.
    pub const MESSAGEPACK: Self = Self(4);
}

/// How typed values become bytes.
///
/// An enum and not a trait: what is stored names its codec by number, so the set of codecs is part of the format, and
/// every replica must know all that its peers write. MessagePack is always there; the others are features of this crate.
///
/// # Types that change
/// MessagePack and JSON write the names of fields and variants. A replica with another version of a type reads what it
/// can and refuses the rest as [`Corrupt`](ErrorKind::Corrupt), and never takes one thing for another: numbers may become
/// wider, fields and variants may change places, fields with a `#[serde(default)]` and variants may be added, in both
/// directions. A list is no struct, a number is no variant, and no number is rounded.
///
/// [`is_self_describing`](Self::is_self_describing) tells these codecs from the compact ones, which write fields in their
/// order and variants by their numbers: whoever chooses one of those has to say with each change of a type that it is
/// another.
///
/// # Values that would not come back
/// are refused where they are encoded: an option of nothing (`Some(None)`, `Some(())`) where the format has one nothing, a
/// number that is none in JSON, a field that is left out in a compact codec, what is nested deeper than 256 levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Self-describing and small.
    #[default]
    MessagePack,
    /// Compact and fast, not self-describing.
    #[cfg(feature = "postcard")]
    Postcard,
    /// Compact, not self-describing. For data that already is bincode: the crate is no longer maintained.
    #[cfg(feature = "bincode")]
    Bincode,
    /// Self-describing, and readable by everything.
    #[cfg(feature = "json")]
    Json,
}

impl Codec {
    /// The number stored with what this codec wrote.
    ///
    /// ```
    /// use statehouse_core::{Codec, CodecId};
    ///
    /// assert_eq!(Codec::default().id(), CodecId::MESSAGEPACK);
    /// ```
    #[must_use]
    pub const fn id(self) -> CodecId {
        match self {
            Self::MessagePack => CodecId::MESSAGEPACK,
            #[cfg(feature = "postcard")]
            Self::Postcard => CodecId::POSTCARD,
            #[cfg(feature = "bincode")]
            Self::Bincode => CodecId::BINCODE,
            #[cfg(feature = "json")]
            Self::Json => CodecId::JSON,
        }
    }

    /// The codec with this number, if it is compiled in.
    #[must_use]
    pub const fn from_id(id: CodecId) -> Option<Self> {
        match id {
            CodecId::MESSAGEPACK => Some(Self::MessagePack),
            #[cfg(feature = "postcard")]
            CodecId::POSTCARD => Some(Self::Postcard),
            #[cfg(feature = "bincode")]
            CodecId::BINCODE => Some(Self::Bincode),
            #[cfg(feature = "json")]
            CodecId::JSON => Some(Self::Json),
            _ => None,
        }
    }

    /// Whether what it writes has the names of fields and variants, so that another version of the type is never misread.
    #[must_use]
    pub const fn is_self_describing(self) -> bool {
        self.form().is_named()
    }

    const fn form(self) -> Form {
        match self {
            Self::MessagePack => Form::MessagePack,
            #[cfg(feature = "postcard")]
            Self::Postcard => Form::Compact,
            #[cfg(feature = "bincode")]
            Self::Bincode => Form::Compact,
            #[cfg(feature = "json")]
            Self::Json => Form::Json,
        }
    }

    /// Encodes a value of a type that need not be readable.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the value would not come back, as said [above](Self#values-that-would-not-come-back);
    /// or if it cannot be represented, for example a map with struct keys in JSON. In a self-describing codec also for a
    /// number of more than 64 bits, which comes back in some types only: see [`encode_checked`](Self::encode_checked).
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>> {
        let survey = Survey::new(self.form());
        let bytes = self.write(value, &survey, usize::MAX)?;
        if survey.is_wide() {
            let message = "a number of more than 64 bits does not come back in every type: keep it as text";
            return Err(Error::invalid_input(message));
        }
        Ok(bytes)
    }

    /// Encodes a value of at most `limit` bytes, and reads it back if only that shows whether it would come back: if fields
    /// were left out (`skip_serializing_if`), if there are maps of no known length (`flatten`), or numbers of more than 64
    /// bits, which serde passes through neither `flatten` nor `untagged` nor tags.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`ErrorKind::TooLarge`] above the limit, before all of it was encoded;
    /// [`ErrorKind::InvalidInput`] if the value cannot be read back, or is another then.
    pub fn encode_checked<T: Serialize + DeserializeOwned>(self, value: &T, limit: usize) -> Result<Vec<u8>> {
        let survey = Survey::new(self.form());
        let bytes = self.write(value, &survey, limit)?;
        if survey.is_doubtful() {
            self.read_back::<T>(&bytes)?;
        }
        Ok(bytes)
    }

    /// Encodes a value of at most `limit` bytes and reads it back, and returns both.
    ///
    /// A value is another then if it is encoded to other bytes, apart from the order of sets and maps. What a type does
    /// not write at all (`#[serde(skip)]`) nobody can miss.
    ///
    /// # Errors
    /// As [`encode_checked`](Self::encode_checked).
    pub fn round_trip<T: Serialize + DeserializeOwned>(self, value: &T, limit: usize) -> Result<(Vec<u8>, T)> {
        let bytes = self.write(value, &Survey::new(self.form()), limit)?;
        let value = self.read_back(&bytes)?;
        Ok((bytes, value))
    }

    fn read_back<T: Serialize + DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        let value: T = self.decode(bytes).map_err(|error| {
            let message = "the value does not survive its codec: what was encoded cannot be decoded";
            Error::invalid_input(message).with_source(error)
        })?;
        let again = self.write(&value, &Survey::new(self.form()), usize::MAX)?;
        if again == bytes || self.is_same(&again, bytes) {
            return Ok(value);
        }
        Err(Error::invalid_input("the value does not survive its codec: it would come back as another"))
    }

    /// Of a compact codec only the lengths can be compared: a map has another order each time.
    fn is_same(self, one: &[u8], other: &[u8]) -> bool {
        let read = |bytes| self.decode::<Digest<true>>(bytes).ok();
        match self.is_self_describing() {
            true => read(one).is_some_and(|one| Some(one) == read(other)),
            false => one.len() == other.len(),
        }
    }

    /// Whether two encoded values differ in nothing but the order of the entries of maps, which a `HashMap` has anew each
    /// time. What cannot be read is equal to nothing, and so is what a compact codec wrote, unless it is the same bytes.
    #[must_use]
    pub fn is_equal(self, one: &[u8], other: &[u8]) -> bool {
        let read = |bytes| self.decode::<Digest<false>>(bytes).ok();
        one == other || (self.is_self_describing() && read(one).is_some_and(|one| Some(one) == read(other)))
    }

    fn write<T: Serialize + ?Sized>(self, value: &T, survey: &Survey, limit: usize) -> Result<Vec<u8>> {
        let mut out = Limited::to(limit);
        let written = match self {
            #[cfg(feature = "postcard")]
            Self::Postcard if limit == usize::MAX || self.encoded_len(value)? <= limit => {
                postcard::to_stdvec(&survey.of(value)).map(|bytes| out.bytes = bytes).map_err(refused)
            }
            #[cfg(feature = "postcard")]
            Self::Postcard => return Err(too_large(limit)),
            #[cfg(feature = "bincode")]
            Self::Bincode => {
                let config = bincode::config::standard();
                bincode::serde::encode_into_std_write(survey.of(value), &mut out, config).map(drop).map_err(refused)
            }
            #[cfg(feature = "json")]
            Self::Json => serde_json::to_writer(&mut out, &survey.of(value)).map_err(refused),
            Self::MessagePack => rmp_serde::encode::write_named(&mut out, &survey.of(value)).map_err(refused),
        };
        match written {
            Ok(()) => Ok(out.bytes),
            Err(_) if out.is_full => Err(too_large(limit)),
            Err(error) => Err(survey.refusal().map_or(error, Error::invalid_input)),
        }
    }

    /// The encoded length of a value, in bytes, found without allocating where the codec can.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), save for numbers of more than 64 bits.
    pub fn encoded_len<T: Serialize + ?Sized>(self, value: &T) -> Result<usize> {
        self.encoded_len_within(value, usize::MAX)
    }

    /// [`encoded_len`](Self::encoded_len) of a value that has at most `limit` bytes.
    ///
    /// # Errors
    /// The same; [`ErrorKind::TooLarge`] above the limit, before all of it was looked at.
    pub fn encoded_len_within<T: Serialize + ?Sized>(self, value: &T, limit: usize) -> Result<usize> {
        let survey = Survey::new(self.form());
        let mut count = Count::to(limit);
        let counted = match self {
            #[cfg(feature = "postcard")]
            Self::Postcard => postcard::to_io(&survey.of(value), &mut count).map(drop).map_err(refused),
            #[cfg(feature = "bincode")]
            Self::Bincode => {
                let config = bincode::config::standard();
                bincode::serde::encode_into_std_write(survey.of(value), &mut count, config).map(drop).map_err(refused)
            }
            #[cfg(feature = "json")]
            Self::Json => serde_json::to_writer(&mut count, &survey.of(value)).map_err(refused),
            Self::MessagePack => rmp_serde::encode::write_named(&mut count, &survey.of(value)).map_err(refused),
        };
        match counted {
            Ok(()) => Ok(count.bytes),
            Err(_) if count.is_full => Err(too_large(limit)),
            Err(error) => Err(survey.refusal().map_or(error, Error::invalid_input)),
        }
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
        let limits = Limits::of(bytes.len(), self.form());
        let value = match self {
            #[cfg(feature = "postcard")]
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
            Self::MessagePack => {
                let mut decoder = rmp_serde::Deserializer::new(bytes);
                T::deserialize(limits.guard(&mut decoder)).ok().filter(|_| decoder.get_ref().is_empty())
            }
        };
        value.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the stored bytes are not a value of the expected type"))
    }
}

fn refused(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_input("the value cannot be encoded").with_source(source)
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the encoded value is longer than {limit} bytes"))
}

#[cfg(test)]
mod tests;
