mod config;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Clock, CodecId, Fence, Health, RaiseOptions, Result};

pub(crate) use config::Bound;
pub use config::MemoryConfig;
pub(crate) use store::{ENTRY_OVERHEAD, Found, Reserved, Store};

use crate::capability::{FENCED, FENCED_AT_ONCE};
use crate::{
    Cache, CacheKey, ClearOptions, Entry, GetOptions, Lease, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    SetOptions, SetOutcome, TouchOptions, TouchOutcome, check_value_len, time_to_live_millis,
};

/// A cache of bytes in the memory of this process: the strict reference for the contract of [`Cache`].
///
/// Bounded by weight (the bytes of key and value, and about 128 for each entry) or by the number of entries. Beyond it the
/// engine, [`quick_cache`](https://docs.rs/quick_cache), evicts what is least used. A value above a shard's share of the
/// capacity would not be kept, and is [`TooLarge`](statehouse_core::ErrorKind::TooLarge). Leases weigh nothing and are not
/// evicted, up to 1,024 in each of 64 parts.
///
/// Expired entries leave when they are asked for, and a few with each write, so that they are never much more than a third
/// of what lives. Of a cache that is only read they leave as well, by one read in a millisecond, which takes some 50 µs at
/// most: among a million live ones within half a minute of reads. One that nobody touches keeps what it has until somebody
/// does: there are no background threads.
///
/// [`Caches::memory`](crate::Caches::memory) keeps typed values and not bytes, which is faster; this type is for code
/// that is written against the trait. Clones share the entries.
#[derive(Clone)]
pub struct MemoryCache {
    store: Arc<Store<Encoded>>,
    bound: Bound,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Encoded {
    bytes: Bytes,
    codec: CodecId,
}

impl MemoryCache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        let MemoryConfig { bound, clock } = config;
        Self { store: Arc::new(Store::new(bound, Arc::clone(&clock))), bound, clock }
    }

    fn entry(&self, found: Found<Encoded>) -> Entry {
        Entry::new(found.value.bytes, found.version)
            .with_codec(found.value.codec)
            .with_times(found.created, self.clock.now() + found.left)
    }
}

impl Default for MemoryCache {
    fn default() -> Self {
        Self::new(MemoryConfig::default())
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get_with(&self, key: &CacheKey, _: GetOptions) -> Result<Option<Entry>> {
        Ok(self.store.get(key).map(|found| self.entry(found)))
    }

    async fn get_many_with(&self, keys: &[CacheKey], _: GetOptions) -> Result<Vec<Option<Entry>>> {
        Ok(keys.iter().map(|key| self.store.get(key).map(|found| self.entry(found))).collect())
    }

    async fn set_with(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let (time_to_live, guard) = (whole_millis(options.time_to_live)?, options.guard()?);
        check_value_len(value.len())?;
        let weight = match self.bound {
            Bound::Entries(_) => 1,
            _ => ENTRY_OVERHEAD + key.len() as u64 + value.len() as u64,
        };
        self.store.check_weight(weight)?;
        let value = Encoded { bytes: value, codec: options.codec };
        let _held = self.store.marks.hold(options.fence.as_ref())?;
        Ok(self.store.set(key, value, weight, time_to_live, guard))
    }

    async fn remove_with(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        Ok(self.store.remove(key, options.guard()?, options.min_age))
    }

    async fn touch_with(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        Ok(self.store.touch(key, whole_millis(options.time_to_live)?))
    }

    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        let time_to_live = whole_millis(options.time_to_live)?;
        Ok(match self.store.reserve(key, time_to_live, &options) {
            Reserved::Hit(found) => Reservation::Hit(self.entry(found)),
            Reserved::Leased(token) => Reservation::Leased(Lease::new(token)),
            Reserved::Held(token) => Reservation::Held(Lease::new(token)),
            Reserved::Ended => Reservation::Ended,
        })
    }

    async fn clear_with(&self, _: ClearOptions) -> Result<()> {
        self.store.clear().await;
        Ok(())
    }

    async fn raise_with(&self, fence: &Fence, _: RaiseOptions) -> Result<()> {
        self.store.marks.raise(fence)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([FENCED, FENCED_AT_ONCE])
    }

    async fn health(&self) -> Health {
        Health::of("memory", Duration::ZERO, Ok(()))
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache").finish_non_exhaustive()
    }
}

/// As a store with milliseconds counts it, so that every backend lets entries live equally long.
pub(crate) fn whole_millis(time_to_live: Duration) -> Result<Duration> {
    time_to_live_millis(time_to_live).map(Duration::from_millis)
}
