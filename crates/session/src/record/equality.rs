//! Whether two encoded values differ only in the order of their maps' entries.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use statehouse_core::Codec;

/// Compares two values in MessagePack. Bytes that cannot be read are equal to nothing.
pub(super) fn same_value(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes| Codec::MessagePack.decode::<Value>(bytes).ok();
    read(one).is_some_and(|one| Some(one) == read(other))
}

/// Any value, with the entries of maps in the order of their keys.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Unit,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    /// By its bits: a value that is not a number is equal to itself.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Unit)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Unit)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value.to_bits()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        map.sort_unstable();
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn encode(value: &impl serde::Serialize) -> Vec<u8> {
        Codec::MessagePack.encode(value).unwrap()
    }

    #[test]
    fn maps_are_equal_in_any_order_at_any_depth_and_lists_are_not() {
        let map = |seed: u32| (0..40).map(|n| (format!("k{n}"), n ^ seed)).collect::<HashMap<_, _>>();
        let nested = |seed| HashMap::from([("a", map(seed)), ("b", map(7))]);
        let (one, other) = (encode(&nested(0)), encode(&nested(0)));
        assert_ne!(one, other, "two maps of 40 entries have the same order once in a lifetime");
        assert!(same_value(&one, &other));
        assert!(!same_value(&one, &encode(&nested(1))));
        assert!(!same_value(&encode(&[1, 2]), &encode(&[2, 1])));
        assert!(!same_value(&encode(&1.5), &encode(&2.5)));
        assert!(!same_value(&[0xc1], &[0xc1]), "what cannot be read is equal to nothing");
    }
}
