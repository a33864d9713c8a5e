//! Limits on what a decoder does with bytes that may be anything.
//!
//! The formats let a few bytes claim much: a count of 2⁶⁴ elements that take no bytes, a string of a terabyte that is
//! allocated before it is read, a nesting that overflows the stack. None of that is an error of the decoders: they trust
//! their input. So each is given a deserializer that passes everything on and counts.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// How deep values may be nested: lists, maps, structs, options, newtypes and enum variants each count. JSON's own
/// limit of half as many lists and maps holds besides.
const DEEPEST: u32 = 256;

/// How many elements there may be beyond one for each byte, since `()` and its like take none.
const WITHOUT_BYTES: usize = 4096;

/// What is left to a decoder.
#[derive(Debug)]
pub(super) struct Limits {
    elements: Cell<usize>,
    levels: Cell<u32>,
}

impl Limits {
    /// The limits of an input of this many bytes.
    pub(super) const fn of(bytes: usize) -> Self {
        Self { elements: Cell::new(bytes.saturating_add(WITHOUT_BYTES)), levels: Cell::new(DEEPEST) }
    }

    /// The deserializer, visitor or seed under these limits.
    pub(super) const fn guard<T>(&self, inner: T) -> Guarded<'_, T> {
        Guarded { inner, limits: self, counts: Counts::No }
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

/// Something of serde's, under limits.
#[derive(Debug)]
pub(super) struct Guarded<'a, T> {
    inner: T,
    limits: &'a Limits,
    counts: Counts,
}

impl<'a, T> Guarded<'a, T> {
    const fn with<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { inner, limits: self.limits, counts: Counts::No }
    }

    const fn counting<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { inner, limits: self.limits, counts: Counts::Yes }
    }

    /// The same limits and counting for what is reached through this.
    const fn like<U>(&self, inner: U) -> Guarded<'a, U> {
        Guarded { inner, limits: self.limits, counts: self.counts }
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
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_bytes deserialize_option deserialize_unit deserialize_identifier
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
        let visitor = self.with(visitor);
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

impl<'de, T: Visitor<'de>> Visitor<'de> for Guarded<'_, T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
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
        let deserializer = self.with(deserializer);
        self.limits.nested(|| self.inner.visit_newtype_struct(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<T::Value, A::Error> {
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
        self.inner.struct_variant(fields, self.limits.guard(visitor))
    }
}
