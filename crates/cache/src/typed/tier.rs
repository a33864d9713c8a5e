use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Codec, Key, Result};

use crate::memory::{ENTRY_OVERHEAD, Found, Reserved, Store, check_removal, whole_millis};
use crate::{
    Cache, CacheExt, Condition, Entry, Lease, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions,
    SetOutcome, TouchOutcome, Versioned, check_value_len,
};

/// The caller's own measure of an entry.
pub(crate) type Weigher<V> = Arc<dyn Fn(&str, &V) -> u64 + Send + Sync>;

/// Where a typed cache keeps its values.
pub(crate) enum Tier<V> {
    /// In this process, as they are.
    Memory(MemoryTier<V>),
    /// In a cache of bytes, encoded.
    Bytes(Arc<dyn Cache>),
}

pub(crate) struct MemoryTier<V> {
    pub(crate) store: Store<Arc<V>>,
    pub(crate) weigher: Option<Weigher<V>>,
}

/// A value that is ready to be stored: what is left to do cannot be refused because of the value.
pub(crate) struct Prepared<V> {
    pub(crate) value: Arc<V>,
    form: Form,
}

enum Form {
    Weighed(u64),
    Encoded(Bytes),
}

/// What [`Tier::reserve`] found or gave out.
pub(crate) enum Claim<V> {
    Hit(Arc<V>),
    /// Without a lease, the value may be loaded and not stored.
    Load(Option<Lease>),
}

/// How values become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) verify: Verify,
}

/// Whether every stored value goes through the codec and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Off,
    EveryValue,
}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> Tier<V> {
    pub(crate) fn prepare(&self, key: &Key, value: V, format: Format) -> Result<Prepared<V>> {
        let (value, encoded) = match format.verify {
            Verify::Off => (value, None),
            Verify::EveryValue => {
                let bytes = format.codec.encode(&value)?;
                (format.codec.decode(&bytes)?, Some(bytes))
            }
        };
        let form = match self {
            Self::Memory(memory) => Form::Weighed(memory.weigh(key, &value, format.codec)?),
            Self::Bytes(_) => {
                let bytes = encoded.map_or_else(|| format.codec.encode(&value), Ok)?;
                check_value_len(bytes.len())?;
                Form::Encoded(bytes.into())
            }
        };
        Ok(Prepared { value: Arc::new(value), form })
    }

    pub(crate) async fn get(&self, key: &Key, codec: Codec) -> Result<Option<Versioned<V>>> {
        match self {
            Self::Memory(memory) => Ok(memory.store.get(key).map(versioned)),
            Self::Bytes(cache) => Ok(cache.get(key).await?.as_ref().and_then(|entry| decode(entry, codec))),
        }
    }

    pub(crate) async fn get_many(&self, keys: &[Key], codec: Codec) -> Result<Vec<Option<Versioned<V>>>> {
        match self {
            Self::Memory(memory) => Ok(keys.iter().map(|key| memory.store.get(key).map(versioned)).collect()),
            Self::Bytes(cache) => {
                let entries = cache.get_many(keys).await?;
                Ok(entries.iter().map(|entry| entry.as_ref().and_then(|entry| decode(entry, codec))).collect())
            }
        }
    }

    pub(crate) async fn set(
        &self,
        key: &Key,
        prepared: Prepared<V>,
        time_to_live: Duration,
        condition: Condition,
        codec: Codec,
    ) -> Result<SetOutcome> {
        match (self, prepared.form) {
            (Self::Memory(memory), Form::Weighed(weight)) => {
                Ok(memory.store.set(key, prepared.value, weight, whole_millis(time_to_live)?, condition))
            }
            (Self::Bytes(cache), Form::Encoded(bytes)) => {
                let options = SetOptions::new(time_to_live).with_condition(condition).with_codec(codec.id());
                cache.set_with(key, bytes, options).await
            }
            _ => unreachable!("a value is prepared for the tier that stores it"),
        }
    }

    pub(crate) async fn remove(&self, key: &Key, condition: Condition) -> Result<RemoveOutcome> {
        match self {
            Self::Memory(memory) => {
                check_removal(condition)?;
                Ok(memory.store.remove(key, condition))
            }
            Self::Bytes(cache) => cache.remove_with(key, RemoveOptions::default().with_condition(condition)).await,
        }
    }

    pub(crate) async fn touch(&self, key: &Key, time_to_live: Duration) -> Result<TouchOutcome> {
        match self {
            Self::Memory(memory) => Ok(memory.store.touch(key, whole_millis(time_to_live)?)),
            Self::Bytes(cache) => cache.touch(key, time_to_live).await,
        }
    }

    pub(crate) async fn clear(&self) -> Result<()> {
        match self {
            Self::Memory(memory) => {
                memory.store.clear();
                Ok(())
            }
            Self::Bytes(cache) => cache.clear().await,
        }
    }

    pub(crate) async fn reserve(&self, key: &Key, time_to_live: Duration, codec: Codec) -> Result<Claim<V>> {
        match self {
            Self::Memory(memory) => Ok(match memory.store.reserve(key, whole_millis(time_to_live)?, None) {
                Reserved::Hit(found) => Claim::Hit(found.value),
                Reserved::Leased(token) => Claim::Load(Some(Lease::new(token, 0))),
            }),
            Self::Bytes(cache) => reserve_bytes(&**cache, key, ReserveOptions::new(time_to_live), codec).await,
        }
    }

    /// Frees the space of a lease that will not be used. On a shared cache other processes may be loading under the
    /// same lease, so there it is left to end by itself.
    pub(crate) fn give_back(&self, key: &Key, lease: Option<Lease>) {
        if let (Self::Memory(memory), Some(lease)) = (self, lease) {
            memory.store.remove(key, Condition::Lease(lease));
        }
    }
}

impl<V: Serialize> MemoryTier<V> {
    fn weigh(&self, key: &Key, value: &V, codec: Codec) -> Result<u64> {
        if let Some(weigher) = &self.weigher {
            return Ok(weigher(key, value));
        }
        let length = codec.encoded_len(value)?;
        check_value_len(length)?;
        Ok(ENTRY_OVERHEAD + key.len() as u64 + length as u64)
    }
}

/// An entry that this process cannot decode is replaced, as if it were absent. If there is another one in its place
/// each time, somebody else keeps writing what this process cannot read: it then loads for itself alone.
async fn reserve_bytes<V: DeserializeOwned>(
    cache: &dyn Cache,
    key: &Key,
    options: ReserveOptions,
    codec: Codec,
) -> Result<Claim<V>> {
    let mut attempt = options;
    for _ in 0..3 {
        match cache.reserve_with(key, attempt).await? {
            Reservation::Leased(lease) => return Ok(Claim::Load(Some(lease))),
            Reservation::Hit(entry) => match decode(&entry, codec) {
                Some(hit) => return Ok(Claim::Hit(hit.value)),
                None => attempt = options.with_replacing(entry.version),
            },
        }
    }
    Ok(Claim::Load(None))
}

fn versioned<V>(found: Found<Arc<V>>) -> Versioned<V> {
    Versioned { value: found.value, version: found.version }
}

/// What cannot be decoded is a miss, and is reported as an event. So is what another codec wrote than this cache's: the
/// bytes don't choose who reads them.
fn decode<V: DeserializeOwned>(entry: &Entry, codec: Codec) -> Option<Versioned<V>> {
    if entry.codec != codec.id() {
        return undecodable("codec");
    }
    match codec.decode::<V>(&entry.value) {
        Ok(value) => Some(Versioned { value: Arc::new(value), version: entry.version }),
        Err(_) => undecodable("payload"),
    }
}

fn undecodable<T>(part: &'static str) -> Option<T> {
    tracing::warn!(name: "cache.undecodable", part, "a cached entry cannot be decoded and counts as a miss");
    None
}
