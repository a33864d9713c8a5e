use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Operation, Result, span};
use tracing::{Instrument as _, Span};

use super::contract::{
    Access, CacheValue, Claim, Form, Format, LONG, Place, Prepared, Preparing, Tier, away, is_too_large,
    prepared_elsewhere, settle,
};
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

impl<V> MemoryTier<V> {
    /// A value of this encoded length.
    fn weighed(&self, key: &CacheKey, value: V, length: Result<usize>) -> Result<Prepared<V>> {
        let weight = length.and_then(|length| self.weigh(key, &value, length));
        settle(value, weight.map(Form::Weighed))
    }

    fn weigh(&self, key: &CacheKey, value: &V, length: usize) -> Result<u64> {
        let weight = match &self.measure {
            Measure::Own(weigher) => weigher(key, value),
            Measure::Entries => 1,
            Measure::Encoded => {
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

    fn prepare<'a>(&'a self, key: &'a CacheKey, value: V, format: Format) -> Result<Preparing<'a, V>> {
        let is_measured = matches!(self.measure, Measure::Encoded);
        let (value, length) = measured(value, format, is_measured, Some(LONG));
        if !is_too_large(&length) {
            return self.weighed(key, value, length).map(Preparing::Done);
        }
        Ok(Preparing::Long(Box::pin(async move {
            let (value, length) = away(move || measured(value, format, is_measured, None)).await?;
            self.weighed(key, value, length)
        })))
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
        self.store.clear().instrument(self.span(OPERATION.clear)).await;
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

/// The value as it is kept, and its encoded length if that is asked for: those of at most so many bytes, if there is a limit.
fn measured<V: CacheValue>(value: V, format: Format, is_measured: bool, limit: Option<usize>) -> (V, Result<usize>) {
    if format.verify.applies() {
        return match format.codec.round_trip(&value, limit.unwrap_or(MAX_VALUE_LEN)) {
            Ok((bytes, same)) => (same, Ok(bytes.len())),
            Err(error) => (value, Err(error)),
        };
    }
    let measure = || format.codec.encoded_len_within(&value, limit.unwrap_or(usize::MAX));
    let length = if is_measured { measure() } else { Ok(0) };
    (value, length)
}

fn versioned<V>(found: Found<Arc<V>>) -> Versioned<V> {
    Versioned::new(found.value, found.version)
}
