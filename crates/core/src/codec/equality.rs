//! Whether two encoded values are one, apart from the order of what has none.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any value in 128 bits, whatever the order of the entries of its maps; of a `Digest<true>` also whatever that of the
/// elements of lists: a set is a list, and has another order each time.
///
/// It is computed while the value is read, so that a comparison takes as much memory as the value is deep, and not as it is
/// long. Its keys are this process's own and nobody knows them, so that no two values can be made to have one digest; it is
/// neither stored nor sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest<const SORTED: bool>(u128);

/// What kind of value it is, so that none of one kind is one of another.
#[derive(Hash)]
enum Kind {
    Unit,
    Bool,
    Unsigned,
    Signed,
    Float,
    Text,
    Bytes,
    List,
    Map,
}

impl<const SORTED: bool> Digest<SORTED> {
    fn of(kind: Kind, value: impl Hash) -> Self {
        let mut hashers = Hashers::new(kind);
        hashers.add(value);
        hashers.digest()
    }
}

static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// Two that know nothing of each other, for 64 bits each.
struct Hashers<H>([H; 2]);

impl Hashers<<RandomState as BuildHasher>::Hasher> {
    fn new(kind: Kind) -> Self {
        let mut hashers = Self([KEYS[0].build_hasher(), KEYS[1].build_hasher()]);
        hashers.add(kind);
        hashers
    }
}

impl<H: Hasher> Hashers<H> {
    fn add(&mut self, value: impl Hash) {
        self.0.iter_mut().for_each(|hasher| value.hash(hasher));
    }

    fn digest<const SORTED: bool>(&self) -> Digest<SORTED> {
        let [high, low] = &self.0;
        Digest(u128::from(high.finish()) << 64 | u128::from(low.finish()))
    }
}

/// Digests in any order: their sum and how many they are.
#[derive(Default, Hash)]
struct Unordered {
    sum: u128,
    count: u64,
}

impl Unordered {
    const fn add(&mut self, digest: u128) {
        self.sum = self.sum.wrapping_add(digest);
        self.count += 1;
    }
}

impl<'de, const SORTED: bool> Deserialize<'de> for Digest<SORTED> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read<const SORTED: bool>;

impl<'de, const SORTED: bool> Visitor<'de> for Read<SORTED> {
    type Value = Digest<SORTED>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Unit, ()))
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Unit, ()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Bool, value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Unsigned, value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value)
            .map_or_else(|_| Digest::of(Kind::Signed, value), |value| Digest::of(Kind::Unsigned, value)))
    }

    /// By its bits: a value that is not a number is equal to itself.
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Float, value.to_bits()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Text, value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Self::Value, E> {
        Ok(Digest::of(Kind::Bytes, value))
    }

    /// An extension type: its number and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Digest::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut in_order, mut unordered) = (Hashers::new(Kind::List), Unordered::default());
        while let Some(Digest(item)) = items.next_element::<Self::Value>()? {
            unordered.add(item);
            if !SORTED {
                in_order.add(item);
            }
        }
        in_order.add(if SORTED { unordered } else { Unordered { sum: 0, ..unordered } });
        Ok(in_order.digest())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut unordered = Unordered::default();
        while let Some(entry) = entries.next_entry::<Self::Value, Self::Value>()? {
            let Digest(entry) = Digest::<SORTED>::of(Kind::Map, entry);
            unordered.add(entry);
        }
        Ok(Digest::of(Kind::Map, unordered))
    }
}
