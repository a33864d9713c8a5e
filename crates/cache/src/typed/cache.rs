use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::fence::Raising;
use statehouse_core::{Capabilities, Error, Fence, Guarded, Result};

use super::core::Core;
use super::tier::{Access, CacheValue, Format};
use crate::CacheKey;
use crate::operation::NAME;

/// One named cache of values of one type: what applications use. Made by [`Caches::cache`](crate::Caches::cache).
///
/// Values are handed out as `Arc<V>`: a hit copies nothing, and everybody who waited for a load shares its value. A
/// cached "there is none" is a `V` of `Option<…>`.
///
/// Keys are text of 1 to 1,024 bytes as [`CacheKey`] describes; another text is
/// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) before anything is sent. The contract is that of
/// [`Cache`](crate::Cache). Clones and handles of the same name share entries and loads.
pub struct TypedCache<V> {
    pub(super) core: Arc<Core<V>>,
    pub(super) settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) time_to_live: Duration,
    pub(super) load_timeout: Duration,
    pub(super) outage: Outage,
    pub(super) format: Format,
    /// How long a call may wait for the store.
    pub(super) deadline: Option<Duration>,
}

impl<V> TypedCache<V> {
    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// What the backend can do beyond the contract.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.core.tier.capabilities()
    }

    /// A hit in memory, without checking the key: a key that is none has no entry.
    #[inline]
    pub(super) fn hit(&self, key: &str) -> Option<Arc<V>> {
        let hit = self.core.tier.hit(key)?;
        self.core.lookups.hit.add(1);
        Some(hit)
    }

    /// This cache, for calls that wait no longer than this for the store, each of them; its own limit holds where none is
    /// set. `get_or_load` has it for each of reading, reserving and storing. A loader has its own limit, the
    /// [load timeout](crate::CacheBuilder::load_timeout): if the store does not say in time whether it has a value,
    /// `get_or_load` takes it for away and loads.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_cache::{Caches, MemoryConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let caches = Caches::memory(MemoryConfig::default());
    /// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(60)).open()?;
    /// let hasty = rates.with_deadline(Duration::from_millis(20));
    /// assert_eq!(hasty.get("EUR/USD").await?, None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let settings = Settings { deadline: Some(deadline), ..self.settings };
        Self { core: Arc::clone(&self.core), settings }
    }

    /// How a call goes about it.
    pub(super) fn access(&self) -> Access {
        self.settings.access()
    }

    pub(super) fn key(&self, text: impl AsRef<str>, operation: &'static str) -> Result<CacheKey> {
        let text = text.as_ref();
        CacheKey::new(text).map_err(|error| self.named(error, operation, text))
    }

    /// Says which operation of which cache failed, and on what.
    pub(super) fn named(&self, error: Error, operation: &'static str, key: &str) -> Error {
        let name = &*self.core.name;
        let place = if key.is_empty() { name.to_owned() } else { format!("{name}:{key}") };
        error.with_outer_operation(operation).with_key(&place)
    }
}

impl Settings {
    /// For a step that begins now.
    pub(super) fn access(&self) -> Access {
        let until = self.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        Access { codec: self.format.codec, until }
    }
}

/// What [`get_or_load`](TypedCache::get_or_load) does while the store is away, or [slow](crate::CacheBuilder::slow_after).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// The loader answers, and its value is not stored. There is one load per key and process as ever, and at most 128 run
    /// at once for a cache; what else comes waits for its turn within the load timeout, so that the source is not flooded.
    ///
    /// A caller who joins a load that is under way shares its value unless this process has set or invalidated the key. What
    /// other processes do in those moments cannot be known, so such a value may be older than the call by the time that
    /// one load takes.
    #[default]
    Load,
    /// It fails, as [`get`](TypedCache::get) does: for a source that would not bear all reads.
    Fail,
}

impl<V: CacheValue> Guarded for TypedCache<V> {
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a> {
        Box::pin(async move {
            let raised = self.core.tier.raise(fence, Some(limit)).await;
            raised.map_err(|error| error.with_operation(NAME.raise))
        })
    }
}

impl<V> Clone for TypedCache<V> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), settings: self.settings }
    }
}

impl<V> fmt::Debug for TypedCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCache")
            .field("name", &self.core.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
