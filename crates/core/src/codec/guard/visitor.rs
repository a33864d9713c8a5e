//! What the input has.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, Visitor};

use super::super::survey::{SIGNED, UNSIGNED};
use super::{Expects, Form, Guarded};

macro_rules! visit_plain {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<T::Value, E> {
            self.inner.$method(value)
        })*
    };
}

macro_rules! visit_whole {
    ($($method:ident: $type:ty, $size:expr;)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<T::Value, E> {
            self.check_whole($size(value))?;
            self.inner.$method(value)
        })*
    };
}

macro_rules! visit_bytes {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<T::Value, E> {
            match self.expects {
                Expects::Name => Err(E::invalid_type(Unexpected::Other("bytes"), &self)),
                _ => self.inner.$method(value),
            }
        })*
    };
}

impl<'de, T: Visitor<'de>> Visitor<'de> for Guarded<'_, T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_bool: bool, visit_i128: i128, visit_u128: u128, visit_f32: f32,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
    }

    visit_whole! {
        visit_i8: i8, |value: i8| u64::from(value.unsigned_abs());
        visit_i16: i16, |value: i16| u64::from(value.unsigned_abs());
        visit_i32: i32, |value: i32| u64::from(value.unsigned_abs());
        visit_i64: i64, i64::unsigned_abs;
        visit_u8: u8, u64::from;
        visit_u16: u16, u64::from;
        visit_u32: u32, u64::from;
        visit_u64: u64, u64::from;
    }

    visit_bytes! { visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>, }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T::Value, E> {
        #[expect(clippy::cast_possible_truncation, reason = "it is looked at whether it is one")]
        let narrowed = f64::from(value as f32);
        let is_kept = narrowed.to_bits() == value.to_bits() || value.is_nan();
        match (self.expects, self.limits.form) {
            (Expects::F32, Form::MessagePack) if !is_kept => Err(E::custom("a number that would be rounded")),
            _ => self.inner.visit_f64(value),
        }
    }

    fn visit_none<E: de::Error>(self) -> Result<T::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<T::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.limits.nested(|| self.inner.visit_some(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        if self.expects == Expects::Wide {
            return self.visit_wide(deserializer);
        }
        let deserializer = self.with(deserializer);
        self.limits.nested(|| self.inner.visit_newtype_struct(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<T::Value, A::Error> {
        if self.expects == Expects::Fields {
            return Err(de::Error::invalid_type(Unexpected::Seq, &self));
        }
        let sequence = self.like(sequence);
        self.limits.nested(|| self.inner.visit_seq(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T::Value, A::Error> {
        let map = self.like(map);
        self.limits.nested(|| self.inner.visit_map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<T::Value, A::Error> {
        let data = self.with(data);
        self.limits.nested(|| self.inner.visit_enum(data))
    }
}

impl<'de, T: Visitor<'de>> Guarded<'_, T> {
    /// A number of more than 64 bits, as MessagePack has it here.
    fn visit_wide<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let (tag, Sixteen(bytes)) = <(i8, Sixteen)>::deserialize(deserializer)?;
        match tag {
            UNSIGNED => self.inner.visit_u128(u128::from_be_bytes(bytes)),
            SIGNED => self.inner.visit_i128(i128::from_be_bytes(bytes)),
            _ => Err(de::Error::custom("an extension type that nobody knows")),
        }
    }
}

struct Sixteen([u8; 16]);

impl<'de> Deserialize<'de> for Sixteen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Sixteen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Sixteen, E> {
                bytes.try_into().map(Sixteen).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Read)
    }
}
