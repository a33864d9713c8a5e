use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use statehouse_core::{Capabilities, Codec, Fence, Operation, Result, span};
use tracing::Span;

use super::contract::{Access, CacheValue, Claim, Form, Format, Place, Prepared, Tier, prepared_elsewhere, settle};
use crate::capability::{FENCED, FENCED_AT_ONCE};
use crate::memory::{ENTRY_OVERHEAD, Found, Reserved, Store, whole_millis};
use crate::operation::Operations;
use crate::options::Guard;
use crate::typed::versioned::Versioned;
use crate::{
    CacheKey, ClearOptions, Lease, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, ReserveOptions, SetOutcome,
    TouchOutcome, check_value_len,
};

const OPERATION: Operations = Operations::of("memory");

/// The caller's own measure of an entry.
pub(crate) type Weigher<V> = Arc<dyn Fn(&str, &V) -> u64 + Send + Sync>;

/// In this process, values as they are.
pub(crate) struct MemoryTier<V> {
    /// The cache's.
    pub(crate) name: Box<str>,
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

impl<V> MemoryTier<V> {
    fn span(&self, operation: Operation) -> Span {
        span::named(operation.span(), &self.name)
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

#[async_trait]
impl<V: CacheValue> Tier<V> for MemoryTier<V> {
    fn hit(&self, key: &str) -> Option<Arc<V>> {
        let hit = self.store.value(key)?;
        if span::is_listened_to() {
            // It took less time than to tell of it.
            drop(self.span(OPERATION.get));
        }
        Some(hit)
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
        Ok(self.span(OPERATION.get).in_scope(|| self.store.get(key)).map(versioned))
    }

    async fn get_many(&self, keys: &[CacheKey], _: Access) -> Result<Vec<Option<Versioned<V>>>> {
        let span = self.span(OPERATION.get_many);
        Ok(span.in_scope(|| keys.iter().map(|key| self.store.get(key).map(versioned)).collect()))
    }

    async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        guard: Guard,
        fence: Option<&Fence>,
        _: Access,
    ) -> Result<SetOutcome> {
        let Form::Weighed(weight) = prepared.form? else { return prepared_elsewhere() };
        let millis = whole_millis(time_to_live)?;
        self.span(OPERATION.set).in_scope(|| {
            let _held = self.store.marks.hold(fence)?;
            Ok(self.store.set(key, prepared.value, weight, millis, guard))
        })
    }

    async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        let guard = options.guard()?;
        Ok(self.span(OPERATION.remove).in_scope(|| self.store.remove(key, guard, options.min_age)))
    }

    async fn touch(&self, key: &CacheKey, time_to_live: Duration, _: Access) -> Result<TouchOutcome> {
        let millis = whole_millis(time_to_live)?;
        Ok(self.span(OPERATION.touch).in_scope(|| self.store.touch(key, millis)))
    }

    async fn clear(&self, _: ClearOptions) -> Result<()> {
        self.span(OPERATION.clear).in_scope(|| self.store.clear());
        Ok(())
    }

    async fn reserve(&self, key: &CacheKey, options: ReserveOptions, _: Access) -> Result<Claim<V>> {
        let millis = whole_millis(options.time_to_live)?;
        let reserved = self.span(OPERATION.reserve).in_scope(|| self.store.reserve(key, millis, &options));
        Ok(match reserved {
            Reserved::Hit(found) => Claim::Hit(found.value),
            Reserved::Leased(token) => Claim::Load(Lease::new(token)),
            Reserved::Held(token) => Claim::Held(Lease::new(token)),
            Reserved::Ended => Claim::Ended,
        })
    }

    fn give_back(&self, key: &CacheKey, lease: Lease) {
        let _ = self.store.remove(key, Guard::Lease(lease), None);
    }

    async fn raise(&self, fence: &Fence, _: Option<Duration>) -> Result<()> {
        self.store.marks.raise(fence)
    }

    fn place(&self) -> Place {
        Place::Here
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([FENCED, FENCED_AT_ONCE])
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        self.store.weight()
    }
}

fn versioned<V>(found: Found<Arc<V>>) -> Versioned<V> {
    Versioned::new(found.value, found.version)
}
