//! What a type asks for.

use serde::de::{DeserializeSeed, Deserializer, Visitor};

use super::{Expects, Form, Guarded};

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer)
    }
}

macro_rules! pass_on {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
            let visitor = self.with(visitor);
            self.inner.$method(visitor)
        })*
    };
}

macro_rules! pass_on_counting {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
            let visitor = self.counting(visitor);
            self.inner.$method(visitor)
        })*
    };
}

impl<'de, T: Deserializer<'de>> Deserializer<'de> for Guarded<'_, T> {
    type Error = T::Error;

    pass_on! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_char deserialize_str deserialize_bytes deserialize_option deserialize_unit
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::Name, visitor);
        self.inner.deserialize_identifier(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::F32, visitor);
        self.inner.deserialize_f32(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::F64, visitor);
        self.inner.deserialize_f64(visitor)
    }

    /// MessagePack's decoder would take bytes for a number, and a negative number for a large one.
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::Wide, visitor);
        match self.limits.form {
            Form::MessagePack => self.inner.deserialize_any(visitor),
            #[cfg(any(feature = "json", feature = "bincode", feature = "postcard"))]
            _ => self.inner.deserialize_i128(visitor),
        }
    }

    /// As [`deserialize_i128`](Self::deserialize_i128).
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::Wide, visitor);
        match self.limits.form {
            Form::MessagePack => self.inner.deserialize_any(visitor),
            #[cfg(any(feature = "json", feature = "bincode", feature = "postcard"))]
            _ => self.inner.deserialize_u128(visitor),
        }
    }

    pass_on_counting! { deserialize_any deserialize_ignored_any deserialize_seq deserialize_map }

    /// As borrowed text: what bincode is to own, it allocates before it looks whether it is there.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        self.deserialize_str(visitor)
    }

    /// As [`deserialize_string`](Self::deserialize_string).
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, T::Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, T::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, T::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::Fields, visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, T::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
