//! What lies in lists, maps and variants.

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{Counts, Expects, Guarded};

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
