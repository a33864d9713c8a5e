use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use statehouse_core::policy::Occasional;
use statehouse_core::{Capabilities, Codec, Counter, Fence, RaiseOptions, Result, SystemClock};

use super::contract::{
    Access, CacheValue, Claim, Form, Format, LONG, Place, Prepared, Preparing, Tier, away, is_too_large,
    prepared_elsewhere, settle,
};
use crate::counters::Lookups;
use crate::options::Guard;
use crate::typed::versioned::Versioned;
use crate::{
    Cache, CacheKey, ClearOptions, Entry, GetOptions, Lease, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, Reservation,
    ReserveOptions, SetOptions, SetOutcome, TouchOptions, TouchOutcome,
};

/// How often it is said that there are entries that cannot be decoded: one build may meet those of another for long.
const PERIOD: Duration = Duration::from_secs(60);

/// In a cache of bytes, encoded.
pub(crate) struct BytesTier {
    cache: Arc<dyn Cache>,
    name: Box<str>,
    undecodable: Occasional,
    stale: Counter,
}

impl BytesTier {
    pub(crate) fn new(cache: Arc<dyn Cache>, name: &str) -> Self {
        Self { cache, name: name.into(), undecodable: Occasional::new(PERIOD), stale: Lookups::stale(name) }
    }

    /// What cannot be decoded is a miss, and is reported as an event. So is what another codec wrote than this cache's: the
    /// bytes don't choose who reads them.
    async fn decode<V: CacheValue>(&self, entry: &Entry, codec: Codec) -> Result<Option<Versioned<V>>> {
        let decoded = if entry.value.len() > LONG {
            let entry = entry.clone();
            away(move || decoded(&entry, codec)).await?
        } else {
            decoded(entry, codec)
        };
        Ok(self.told(decoded))
    }

    fn told<V>(&self, decoded: Result<Versioned<V>, &'static str>) -> Option<Versioned<V>> {
        decoded.map_or_else(|part| self.undecodable(part), Some)
    }

    fn undecodable<T>(&self, part: &'static str) -> Option<T> {
        self.stale.add(1);
        if let Some(count) = self.undecodable.happened(&SystemClock::default()) {
            let cache = &*self.name;
            tracing::warn!(name: "cache.undecodable", cache, part, count, "cached entries cannot be decoded and count as misses");
        }
        None
    }
}

#[async_trait]
impl<V: CacheValue> Tier<V> for BytesTier {
    fn hit(&self, _: &str) -> Option<Arc<V>> {
        None
    }

    fn prepare<'a>(&'a self, _: &'a CacheKey, value: V, format: Format) -> Result<Preparing<'a, V>> {
        let (value, form) = encoded(value, format, LONG);
        if !is_too_large(&form) {
            return settle(value, form).map(Preparing::Done);
        }
        Ok(Preparing::Long(Box::pin(async move {
            let (value, form) = away(move || encoded(value, format, MAX_VALUE_LEN)).await?;
            settle(value, form)
        })))
    }

    async fn get(&self, key: &CacheKey, access: Access) -> Result<Option<Versioned<V>>> {
        let entry = self.cache.get_with(key, reading(access)).await?;
        match entry {
            Some(entry) => self.decode(&entry, access.codec).await,
            None => Ok(None),
        }
    }

    async fn get_many(&self, keys: &[CacheKey], access: Access) -> Result<Vec<Option<Versioned<V>>>> {
        let entries = self.cache.get_many_with(keys, reading(access)).await?;
        let (codec, bytes) = (access.codec, entries.iter().flatten().map(|entry| entry.value.len()).sum::<usize>());
        let decode = move |entries: Vec<Option<Entry>>| -> Vec<_> {
            entries.into_iter().map(|entry| entry.map(|entry| decoded(&entry, codec))).collect()
        };
        let found = if bytes > LONG { away(move || decode(entries)).await? } else { decode(entries) };
        Ok(found.into_iter().map(|found| found.and_then(|decoded| self.told(decoded))).collect())
    }

    async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        guard: Guard,
        fence: Option<&Fence>,
        access: Access,
    ) -> Result<SetOutcome> {
        let Form::Encoded(bytes) = prepared.form? else { return prepared_elsewhere() };
        let mut options = SetOptions::new(time_to_live).with_guard(guard).with_codec(access.codec.id());
        (options.fence, options.deadline) = (fence.cloned(), access.deadline());
        self.cache.set_with(key, bytes, options).await
    }

    async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.cache.remove_with(key, options).await
    }

    async fn touch(&self, key: &CacheKey, time_to_live: Duration, access: Access) -> Result<TouchOutcome> {
        let mut options = TouchOptions::new(time_to_live);
        options.deadline = access.deadline();
        self.cache.touch_with(key, options).await
    }

    async fn clear(&self, options: ClearOptions) -> Result<()> {
        self.cache.clear_with(options).await
    }

    /// An entry that this process cannot decode is replaced, as if it were absent. If there is another one in its place
    /// each time, somebody else keeps writing what this process cannot read: it then loads for itself alone.
    async fn reserve(&self, key: &CacheKey, options: ReserveOptions, access: Access) -> Result<Claim<V>> {
        let mut attempt = options.clone();
        for _ in 0..3 {
            attempt.deadline = access.deadline();
            match self.cache.reserve_with(key, attempt).await? {
                Reservation::Leased(lease) => return Ok(Claim::Load(lease)),
                Reservation::Held(lease) => return Ok(Claim::Held(lease)),
                Reservation::Ended => return Ok(Claim::Ended),
                Reservation::Hit(entry) => match self.decode(&entry, access.codec).await? {
                    Some(hit) => return Ok(Claim::Hit(hit.value)),
                    None => attempt = options.clone().with_replacing(entry.version),
                },
            }
        }
        Ok(Claim::Unreadable)
    }

    fn give_back(&self, key: &CacheKey, lease: Lease) {
        let options = RemoveOptions::default().with_lease(lease);
        let (cache, key) = (Arc::clone(&self.cache), key.clone());
        // Without a runtime, as when that shuts down, the lease ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { cache.remove_with(&key, options).await });
        }
    }

    async fn raise(&self, fence: &Fence, limit: Option<Duration>) -> Result<()> {
        let mut options = RaiseOptions::default();
        options.deadline = limit;
        self.cache.raise_with(fence, options).await
    }

    fn place(&self) -> Place {
        Place::Elsewhere
    }

    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        self.cache.server_of(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.cache.capabilities()
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        0
    }
}

/// The value, or what of the entry cannot be read.
fn decoded<V: DeserializeOwned>(entry: &Entry, codec: Codec) -> Result<Versioned<V>, &'static str> {
    if entry.codec != codec.id() {
        return Err("codec");
    }
    let value = codec.decode::<V>(&entry.value).map_err(|_| "payload")?;
    Ok(Versioned::new(Arc::new(value), entry.version))
}

/// The value as it is kept, and its bytes, if there are at most so many.
fn encoded<V: CacheValue>(value: V, format: Format, limit: usize) -> (V, Result<Form>) {
    let form = |bytes: Vec<u8>| Form::Encoded(bytes.into());
    if !format.verify.applies() {
        let encoded = format.codec.encode_checked(&value, limit).map(form);
        return (value, encoded);
    }
    match format.codec.round_trip(&value, limit) {
        Ok((bytes, same)) => (same, Ok(form(bytes))),
        Err(error) => (value, Err(error)),
    }
}

fn reading(access: Access) -> GetOptions {
    GetOptions { deadline: access.deadline() }
}
