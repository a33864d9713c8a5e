mod builder;
mod flights;
mod load;
mod set;
mod tier;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Capabilities, Key, Result, Version};

pub use builder::CacheBuilder;
pub use load::{GetOrLoad, LoadFuture};
pub use set::Set;

use crate::{Condition, TouchOutcome};
use flights::Flights;
use tier::{Format, Tier};

/// One named cache of values of one type: what applications use. Made by [`Caches::cache`](crate::Caches::cache).
///
/// Values are handed out as `Arc<V>`: a hit copies nothing, and everybody who waited for a load shares its value. A
/// cached "there is none" is a `V` of `Option<…>`.
///
/// Keys are text of 1 to 1,024 bytes as [`Key`] describes; another text is
/// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) before anything is sent. The contract is that of
/// [`Cache`](crate::Cache). Clones and handles of the same name share entries and loads.
pub struct TypedCache<V> {
    core: Arc<Core<V>>,
    settings: Settings,
}

/// What all handles of one cache in this process share.
struct Core<V> {
    name: Box<str>,
    tier: Tier<V>,
    flights: Flights<V>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    time_to_live: Duration,
    load_timeout: Duration,
    format: Format,
}

/// A value with the version that the store gave it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Versioned<V> {
    /// The value.
    pub value: Arc<V>,
    /// Its version, for [`Set::if_version`].
    pub version: Version,
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
        match &self.core.tier {
            Tier::Memory(_) => Capabilities::default(),
            Tier::Bytes(cache) => cache.capabilities(),
        }
    }

    /// A hit in memory, without checking the key: a key that is none has no entry.
    #[inline]
    fn hit(&self, key: &str) -> Option<Arc<V>> {
        match &self.core.tier {
            Tier::Memory(memory) => memory.store.value(key),
            Tier::Bytes(_) => None,
        }
    }
}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> TypedCache<V> {
    /// Reads a value.
    ///
    /// # Errors
    /// What the backend says. An outage is an error and not `None`.
    pub async fn get(&self, key: impl AsRef<str> + Send) -> Result<Option<Arc<V>>> {
        if let Some(hit) = self.hit(key.as_ref()) {
            return Ok(Some(hit));
        }
        Ok(self.versioned(key).await?.map(|found| found.value))
    }

    /// Reads a value with its version, for a conditional [`set`](Self::set).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn versioned(&self, key: impl AsRef<str> + Send) -> Result<Option<Versioned<V>>> {
        let found = self.core.tier.get(&Key::new(key)?, self.settings.format.codec).await;
        found.map_err(|error| error.with_operation("cache.get"))
    }

    /// Reads many values in one round trip. The answer has the order and the length of `keys`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<K: AsRef<str> + Sync>(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>> {
        let keys = keys.iter().map(Key::new).collect::<Result<Vec<_>>>()?;
        let found = self.core.tier.get_many(&keys, self.settings.format.codec).await;
        let found = found.map_err(|error| error.with_operation("cache.get_many"))?;
        Ok(found.into_iter().map(|entry| entry.map(|found| found.value)).collect())
    }

    /// Reads a value, or loads and stores it.
    ///
    /// - **One loader per key and process.** Callers that miss while a load is under way wait for it and share its
    ///   value or its error. On a shared backend, two processes may load the same key at the same time; the first to
    ///   store wins.
    /// - **The loader runs inside the caller's future** and may borrow. If that future is dropped or panics, one of
    ///   those who wait takes over with its own loader.
    /// - **Load or invalidate.** If the key is set, invalidated or cleared while the loader runs, its value is given
    ///   to its caller and not stored, and those who wait look again.
    /// - **A loader that takes longer than the cache's load timeout** is dropped, and everybody who waits gets
    ///   [`Timeout`](statehouse_core::ErrorKind::Timeout). A loader that asks the same cache for the same key waits
    ///   for itself and ends that way.
    /// - If the value was loaded and the cache cannot be reached any more, the value is returned and an event is
    ///   emitted.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_cache::Caches;
    /// # async fn fetch() -> Result<f64, std::io::Error> { Ok(1.08) }
    /// # async fn example() -> statehouse_core::Result<()> {
    /// # let caches = Caches::memory(Default::default());
    /// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
    /// let rate = rates.get_or_load("EUR/USD", || fetch()).time_to_live(Duration::from_secs(60)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`LoadFailed`](statehouse_core::ErrorKind::LoadFailed) with the loader's error as source,
    /// [`Timeout`](statehouse_core::ErrorKind::Timeout), and what the backend says if it cannot be read.
    pub fn get_or_load<K, F>(&self, key: K, loader: F) -> GetOrLoad<'_, V, K, F> {
        GetOrLoad::new(self, key, loader)
    }

    /// Sets a value; see [`Set`] for conditions.
    ///
    /// Prefer [`get_or_load`](Self::get_or_load) for values that come from elsewhere: a value that was read before an
    /// invalidation and is set after it stays.
    pub fn set<K>(&self, key: K, value: V) -> Set<'_, V, K> {
        Set::new(self, key, value)
    }

    /// Removes a value. When this has returned, no later read gives it, and no load that began before stores it.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn invalidate(&self, key: impl AsRef<str> + Send) -> Result<()> {
        let removed = self.core.tier.remove(&Key::new(key)?, Condition::Always).await;
        removed.map(|_| ()).map_err(|error| error.with_operation("cache.invalidate"))
    }

    /// Gives a value that is there a new time to live, counted from now.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn touch(&self, key: impl AsRef<str> + Send, time_to_live: Duration) -> Result<TouchOutcome> {
        let touched = self.core.tier.touch(&Key::new(key)?, time_to_live).await;
        touched.map_err(|error| error.with_operation("cache.touch"))
    }

    /// Removes every value of this cache, as [`invalidate`](Self::invalidate) removes one.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn clear(&self) -> Result<()> {
        self.core.tier.clear().await.map_err(|error| error.with_operation("cache.clear"))
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

#[cfg(test)]
mod tests;
