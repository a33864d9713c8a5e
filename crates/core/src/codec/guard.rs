//! Limits on what a decoder does with bytes that may be anything.
//!
//! The formats let a few bytes claim much: a count of 2⁶⁴ elements that take no bytes, a string of a terabyte that is
//! allocated before it is read, a nesting that overflows the stack. None of that is an error of the decoders: they trust
//! their input. So each is given a deserializer that passes everything on and counts.
//!
//! Of a format with names it also keeps what another type wrote from being taken for this one's: a list is no struct, a
//! number is the name of no field and no variant, and a number that a float cannot hold is not rounded.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::survey::{DEEPEST, Form, SIGNED, UNSIGNED};

/// How many elements there may be beyond one for each byte, since `()` and its like take none.
const WITHOUT_BYTES: usize = 4096;

/// What is left to a decoder.
#[derive(Debug)]
pub(super) struct Limits {
    form: Form,
    elements: Cell<usize>,
    levels: Cell<u32>,
}

impl Limits {
    /// The limits of an input of this many bytes.
    pub(super) const fn of(bytes: usize, form: Form) -> Self {
        Self { form, elements: Cell::new(bytes.saturating_add(WITHOUT_BYTES)), levels: Cell::new(DEEPEST) }
    }

    /// The deserializer, visitor or seed under these limits.
    pub(super) const fn guard<T>(&self, inner: T) -> Guarded<'_, T> {
        Guarded { inner, limits: self, counts: Counts::No, expects: Expects::Anything }
    }

    fn take_element<E: de::Error>(&self) -> Result<(), E> {
        let left = self.elements.get().checked_sub(1);
        self.elements.set(left.ok_or_else(|| E::custom("more elements than the input can hold"))?);
        Ok(())
    }

    fn nested<T, E: de::Error>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let levels = self.levels.get();
        self.levels.set(levels.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?);
        let result = work();
        self.levels.set(levels);
        result
    }
}

/// Whether the elements of a sequence are counted: how many there are is said by the input, and not by the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

/// What the type asks for, where the decoders of formats with names would give it more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Anything,
    /// The name of a field or a variant, and not its index.
    Name,
    /// Fields by their names, and not a list.
    Fields,
    F32,
    F64,
    /// A number of up to 128 bits.
    Wide,
}

/// Something of serde's, under limits.
#[derive(Debug)]
pub(super) struct Guarded<'a, T> {
    inner: T,
    limits: &'a Limits,
    counts: Counts,
    expects: Expects,
}

impl<'a, T> Guarded<'a, T> {
    const fn with<U>(&self, inner: U) -> Guarded<'a, U> {
        self.limits.guard(inner)
    }

    fn counting<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { counts: Counts::Yes, ..self.limits.guard(inner) }
    }

    fn expecting<U>(&self, expects: Expects, inner: U) -> Guarded<'a, U> {
        let expects = if self.limits.form.is_named() { expects } else { Expects::Anything };
        Guarded { expects, ..self.limits.guard(inner) }
    }

    /// The same limits and counting for what is reached through this.
    fn like<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { counts: self.counts, ..self.limits.guard(inner) }
    }

    /// Whether a whole number of this size may be visited.
    fn check_whole<E: de::Error>(&self, size: u64) -> Result<(), E>
    where
        Self: de::Expected,
    {
        let largest = match self.expects {
            Expects::Name => return Err(E::invalid_type(Unexpected::Other("a number"), self)),
            Expects::F32 => 1 << f32::MANTISSA_DIGITS,
            Expects::F64 => 1 << f64::MANTISSA_DIGITS,
            Expects::Anything | Expects::Fields | Expects::Wide => return Ok(()),
        };
        if size > largest { Err(E::custom("a number that would be rounded")) } else { Ok(()) }
    }

    fn hint(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.limits.elements.get()))
    }
}

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

impl<'de, T: SeqAccess<'de>> SeqAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, T::Error> {
        let element = self.inner.next_element_seed(self.limits.guard(seed))?;
        if element.is_some() && self.counts == Counts::Yes {
            self.limits.take_element()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'de, T: MapAccess<'de>> MapAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, T::Error> {
        let key = self.inner.next_key_seed(self.limits.guard(seed))?;
        if key.is_some() && self.counts == Counts::Yes {
            self.limits.take_element()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, T::Error> {
        self.inner.next_value_seed(self.limits.guard(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'a, 'de, T: EnumAccess<'de>> EnumAccess<'de> for Guarded<'a, T> {
    type Error = T::Error;
    type Variant = Guarded<'a, T::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), T::Error> {
        let limits = self.limits;
        let (value, variant) = self.inner.variant_seed(limits.guard(seed))?;
        Ok((value, limits.guard(variant)))
    }
}

impl<'de, T: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, T> {
    type Error = T::Error;

    fn unit_variant(self) -> Result<(), T::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, T::Error> {
        self.inner.newtype_variant_seed(self.limits.guard(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, T::Error> {
        self.inner.tuple_variant(len, self.limits.guard(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, T::Error> {
        let visitor = self.expecting(Expects::Fields, visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
