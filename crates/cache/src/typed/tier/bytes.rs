use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use statehouse_core::{Capabilities, Codec, Result};

use super::{CacheValue, Claim, Form, Format, Place, Prepared, Tier, prepared_elsewhere, settle};
use crate::{
    Cache, CacheExt, CacheKey, Condition, Entry, Lease, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, Reservation,
    ReserveOptions, SetOptions, SetOutcome, TouchOutcome, Versioned,
};

/// In a cache of bytes, encoded.
pub(crate) struct BytesTier(pub(crate) Arc<dyn Cache>);

#[async_trait]
impl<V: CacheValue> Tier<V> for BytesTier {
    fn hit(&self, _: &str) -> Option<Arc<V>> {
        None
    }

    fn prepare(&self, _: &CacheKey, value: V, format: Format) -> Result<Prepared<V>> {
        let encoded = |bytes: Vec<u8>| Form::Encoded(bytes.into());
        if !format.verify.applies() {
            let form = format.codec.encode_checked(&value, MAX_VALUE_LEN).map(encoded);
            return settle(value, form);
        }
        match format.codec.round_trip(&value, MAX_VALUE_LEN) {
            Ok((bytes, same)) => settle(same, Ok(encoded(bytes))),
            Err(error) => settle(value, Err(error)),
        }
    }

    async fn get(&self, key: &CacheKey, codec: Codec) -> Result<Option<Versioned<V>>> {
        Ok(self.0.get(key).await?.as_ref().and_then(|entry| decode(entry, codec)))
    }

    async fn get_many(&self, keys: &[CacheKey], codec: Codec) -> Result<Vec<Option<Versioned<V>>>> {
        let entries = self.0.get_many(keys).await?;
        Ok(entries.iter().map(|entry| entry.as_ref().and_then(|entry| decode(entry, codec))).collect())
    }

    async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        condition: Condition,
        codec: Codec,
    ) -> Result<SetOutcome> {
        let Form::Encoded(bytes) = prepared.form? else { return prepared_elsewhere() };
        let options = SetOptions::new(time_to_live).with_condition(condition).with_codec(codec.id());
        self.0.set_with(key, bytes, options).await
    }

    async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.0.remove_with(key, options).await
    }

    async fn touch(&self, key: &CacheKey, time_to_live: Duration) -> Result<TouchOutcome> {
        self.0.touch(key, time_to_live).await
    }

    async fn clear(&self) -> Result<()> {
        self.0.clear().await
    }

    /// An entry that this process cannot decode is replaced, as if it were absent. If there is another one in its place
    /// each time, somebody else keeps writing what this process cannot read: it then loads for itself alone.
    async fn reserve(&self, key: &CacheKey, options: ReserveOptions, codec: Codec) -> Result<Claim<V>> {
        let mut attempt = options.clone();
        for _ in 0..3 {
            match self.0.reserve_with(key, attempt).await? {
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

    fn give_back(&self, key: &CacheKey, lease: Lease) {
        let options = RemoveOptions::default().with_condition(Condition::Lease(lease));
        let (cache, key) = (Arc::clone(&self.0), key.clone());
        // Without a runtime, as when that shuts down, the lease ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { cache.remove_with(&key, options).await });
        }
    }

    fn place(&self) -> Place {
        Place::Elsewhere
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        0
    }
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
