use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use statehouse_core::{Capabilities, Codec, Result};

use super::contract::{Access, CacheValue, Claim, Form, Format, Place, Prepared, Tier, prepared_elsewhere, settle};
use crate::memory::{ENTRY_OVERHEAD, Found, Reserved, Store, whole_millis};
use crate::options::Guard;
use crate::typed::versioned::Versioned;
use crate::{
    CacheKey, ClearOptions, Lease, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, ReserveOptions, SetOutcome,
    TouchOutcome, check_value_len,
};

/// The caller's own measure of an entry.
pub(crate) type Weigher<V> = Arc<dyn Fn(&str, &V) -> u64 + Send + Sync>;

/// In this process, values as they are.
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

#[async_trait]
impl<V: CacheValue> Tier<V> for MemoryTier<V> {
    fn hit(&self, key: &str) -> Option<Arc<V>> {
        self.store.value(key)
    }

    fn prepare(&self, key: &CacheKey, value: V, format: Format) -> Result<Prepared<V>> {
        let value = if format.verify.applies() {
            match format.codec.round_trip(&value, MAX_VALUE_LEN) {
                Ok((_, same)) => same,
                Err(error) => return settle(value, Err(error)),
            }
        } else {
            value
        };
        let form = self.weigh(key, &value, format.codec).map(Form::Weighed);
        settle(value, form)
    }

    async fn get(&self, key: &CacheKey, _: Access) -> Result<Option<Versioned<V>>> {
        Ok(self.store.get(key).map(versioned))
    }

    async fn get_many(&self, keys: &[CacheKey], _: Access) -> Result<Vec<Option<Versioned<V>>>> {
        Ok(keys.iter().map(|key| self.store.get(key).map(versioned)).collect())
    }

    async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        guard: Guard,
        _: Access,
    ) -> Result<SetOutcome> {
        let Form::Weighed(weight) = prepared.form? else { return prepared_elsewhere() };
        Ok(self.store.set(key, prepared.value, weight, whole_millis(time_to_live)?, guard))
    }

    async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        Ok(self.store.remove(key, options.guard()?, options.min_age))
    }

    async fn touch(&self, key: &CacheKey, time_to_live: Duration, _: Access) -> Result<TouchOutcome> {
        Ok(self.store.touch(key, whole_millis(time_to_live)?))
    }

    async fn clear(&self, _: ClearOptions) -> Result<()> {
        self.store.clear();
        Ok(())
    }

    async fn reserve(&self, key: &CacheKey, options: ReserveOptions, _: Access) -> Result<Claim<V>> {
        Ok(match self.store.reserve(key, whole_millis(options.time_to_live)?, &options) {
            Reserved::Hit(found) => Claim::Hit(found.value),
            Reserved::Leased(token) => Claim::Load(Lease::new(token)),
            Reserved::Held(token) => Claim::Held(Lease::new(token)),
            Reserved::Ended => Claim::Ended,
        })
    }

    fn give_back(&self, key: &CacheKey, lease: Lease) {
        self.store.remove(key, Guard::Lease(lease), None);
    }

    fn place(&self) -> Place {
        Place::Here
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        self.store.weight()
    }
}

fn versioned<V>(found: Found<Arc<V>>) -> Versioned<V> {
    Versioned::new(found.value, found.version)
}
