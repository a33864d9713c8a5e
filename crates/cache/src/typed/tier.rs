use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Codec, ErrorKind, Result};

use crate::memory::{ENTRY_OVERHEAD, Found, Reserved, Store, check_removal, whole_millis};
use crate::{
    Cache, CacheExt, CacheKey, Condition, Entry, Lease, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, Reservation,
    ReserveOptions, SetOptions, SetOutcome, TouchOutcome, Versioned, check_value_len,
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
    pub(crate) measure: Measure<V>,
}

/// What an entry in memory weighs.
pub(crate) enum Measure<V> {
    /// Its key's and its encoded length, and what an entry costs besides.
    Encoded,
    /// One.
    Entries,
    /// What the caller says.
    Own(Weigher<V>),
}

/// A value that is ready to be stored: what is left to do cannot be refused because of the value.
pub(crate) struct Prepared<V> {
    pub(crate) value: Arc<V>,
    /// An error if it is too large.
    form: Result<Form>,
}

enum Form {
    Weighed(u64),
    Encoded(Bytes),
}

/// What [`Tier::reserve`] found or gave out.
pub(crate) enum Claim<V> {
    Hit(Arc<V>),
    Load(Lease),
    /// Somebody else holds this lease.
    Held(Lease),
    /// The lease that was to be prolonged has ended.
    Ended,
    /// There is an entry that this process cannot read, again and again.
    Unreadable,
}

/// How values become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) verify: VerifyCodec,
}

/// Whether every stored value goes through the codec and back, also in memory, and what comes back is kept: a type that
/// does not survive its codec is then found before the cache moves to a server, and so is a value that would come back as
/// another, as of an `untagged` enum whose variants cannot be told apart. Elsewhere only those values are read back of
/// which it cannot be seen while they are encoded ([`Codec::encode_checked`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyCodec {
    /// Where the program is compiled with debug assertions, as tests usually are.
    #[default]
    InDebugBuilds,
    /// With every value.
    Always,
    /// Never.
    Never,
}

impl VerifyCodec {
    const fn applies(self) -> bool {
        match self {
            Self::InDebugBuilds => cfg!(debug_assertions),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> Tier<V> {
    /// # Errors
    /// If the value cannot be encoded, or does not come back.
    pub(crate) fn prepare(&self, key: &CacheKey, value: V, format: Format) -> Result<Prepared<V>> {
        if !format.verify.applies() {
            let form = match self {
                Self::Memory(memory) => memory.weigh(key, &value, format.codec).map(Form::Weighed),
                Self::Bytes(_) => {
                    let bytes = format.codec.encode_checked(&value, MAX_VALUE_LEN);
                    bytes.map(|bytes| Form::Encoded(bytes.into()))
                }
            };
            return settle(value, form);
        }
        let (bytes, value) = match format.codec.round_trip(&value, MAX_VALUE_LEN) {
            Ok(both) => both,
            Err(error) => return settle(value, Err(error)),
        };
        let form = match self {
            Self::Memory(memory) => memory.weigh(key, &value, format.codec).map(Form::Weighed),
            Self::Bytes(_) => Ok(Form::Encoded(bytes.into())),
        };
        settle(value, form)
    }

    pub(crate) async fn get(&self, key: &CacheKey, codec: Codec) -> Result<Option<Versioned<V>>> {
        match self {
            Self::Memory(memory) => Ok(memory.store.get(key).map(versioned)),
            Self::Bytes(cache) => Ok(cache.get(key).await?.as_ref().and_then(|entry| decode(entry, codec))),
        }
    }

    pub(crate) async fn get_many(&self, keys: &[CacheKey], codec: Codec) -> Result<Vec<Option<Versioned<V>>>> {
        match self {
            Self::Memory(memory) => Ok(keys.iter().map(|key| memory.store.get(key).map(versioned)).collect()),
            Self::Bytes(cache) => {
                let entries = cache.get_many(keys).await?;
                Ok(entries.iter().map(|entry| entry.as_ref().and_then(|entry| decode(entry, codec))).collect())
            }
        }
    }

    /// # Errors
    /// [`TooLarge`](ErrorKind::TooLarge) before anything is changed, and what the backend says.
    pub(crate) async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        condition: Condition,
        codec: Codec,
    ) -> Result<SetOutcome> {
        match (self, prepared.form?) {
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

    pub(crate) async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        match self {
            Self::Memory(memory) => {
                check_removal(options.condition)?;
                Ok(memory.store.remove(key, &options))
            }
            Self::Bytes(cache) => cache.remove_with(key, options).await,
        }
    }

    pub(crate) async fn touch(&self, key: &CacheKey, time_to_live: Duration) -> Result<TouchOutcome> {
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

    pub(crate) async fn reserve(&self, key: &CacheKey, options: ReserveOptions, codec: Codec) -> Result<Claim<V>> {
        match self {
            Self::Memory(memory) => {
                Ok(match memory.store.reserve(key, whole_millis(options.time_to_live)?, &options) {
                    Reserved::Hit(found) => Claim::Hit(found.value),
                    Reserved::Leased(token) => Claim::Load(Lease::new(token)),
                    Reserved::Held(token) => Claim::Held(Lease::new(token)),
                    Reserved::Ended => Claim::Ended,
                })
            }
            Self::Bytes(cache) => reserve_bytes(&**cache, key, options, codec).await,
        }
    }
}

impl<V: Send + Sync + 'static> Tier<V> {
    /// Ends a lease that will not be used, so that nobody waits for it. In a cache of bytes that takes a request, which
    /// its caller does not wait for: the future that held the lease may be gone.
    pub(crate) fn give_back(&self, key: &CacheKey, lease: Lease) {
        let options = RemoveOptions::default().with_condition(Condition::Lease(lease));
        match self {
            Self::Memory(memory) => {
                memory.store.remove(key, &options);
            }
            Self::Bytes(cache) => {
                let (cache, key) = (Arc::clone(cache), key.clone());
                // Without a runtime, as when that shuts down, the lease ends by itself.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { cache.remove_with(&key, options).await });
                }
            }
        }
    }
}

/// A value that is too large is good for its caller all the same; one that cannot be encoded is not.
fn settle<V>(value: V, form: Result<Form>) -> Result<Prepared<V>> {
    match form {
        Err(error) if error.kind() != ErrorKind::TooLarge => Err(error),
        form => {
            if let Err(error) = &form {
                tracing::warn!(name: "cache.too_large", reason = error.message(), "a value is too large to be cached");
            }
            Ok(Prepared { value: Arc::new(value), form })
        }
    }
}

impl<V: Serialize> MemoryTier<V> {
    fn weigh(&self, key: &CacheKey, value: &V, codec: Codec) -> Result<u64> {
        let weight = match &self.measure {
            Measure::Own(weigher) => weigher(key, value),
            Measure::Entries => 1,
            Measure::Encoded => {
                let length = codec.encoded_len(value)?;
                check_value_len(length)?;
                ENTRY_OVERHEAD + key.len() as u64 + length as u64
            }
        };
        self.store.check_weight(weight)?;
        Ok(weight)
    }
}

/// An entry that this process cannot decode is replaced, as if it were absent. If there is another one in its place
/// each time, somebody else keeps writing what this process cannot read: it then loads for itself alone.
async fn reserve_bytes<V: DeserializeOwned>(
    cache: &dyn Cache,
    key: &CacheKey,
    options: ReserveOptions,
    codec: Codec,
) -> Result<Claim<V>> {
    let mut attempt = options.clone();
    for _ in 0..3 {
        match cache.reserve_with(key, attempt).await? {
            Reservation::Leased(lease) => return Ok(Claim::Load(lease)),
            Reservation::Held(lease) => return Ok(Claim::Held(lease)),
            Reservation::Ended => return Ok(Claim::Ended),
            Reservation::Hit(entry) => match decode(&entry, codec) {
                Some(hit) => return Ok(Claim::Hit(hit.value)),
                None => attempt = options.clone().with_replacing(entry.version),
            },
        }
    }
    Ok(Claim::Unreadable)
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
