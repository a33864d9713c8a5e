//! What can be done with a cache.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Result;

use super::cache::TypedCache;
use super::kept::Debt;
use super::load::GetOrLoad;
use super::set::Set;
use super::tier::CacheValue;
use super::versioned::Versioned;
use crate::operation::NAME;
use crate::{ClearOptions, RemoveOptions, TouchOutcome};

impl<V: CacheValue> TypedCache<V> {
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
        let key = self.key(key, NAME.get)?;
        let found = self.core.look(&key, self.access()).await;
        self.core.lookups.of(found.as_ref().map(Option::is_some));
        found.map_err(|error| self.named(error, NAME.get, &key))
    }

    /// Reads many values in one round trip. The answer has the order and the length of `keys`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<K: AsRef<str> + Sync>(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>> {
        let keys = keys.iter().map(|key| self.key(key, NAME.get_many)).collect::<Result<Vec<_>>>()?;
        let access = self.access();
        if !self.core.kept.is_empty() {
            for key in &keys {
                let replayed = self.core.replay(key, access).await;
                replayed.map_err(|error| self.named(error, NAME.get_many, key))?;
            }
        }
        let found = self.core.tier.get_many(&keys, access).await;
        let found = found.map_err(|error| {
            self.core.lookups.of(Err(&error));
            self.named(error, NAME.get_many, "")
        })?;
        self.core.lookups.of_many(found.iter().flatten().count(), found.len());
        Ok(found.into_iter().map(|entry| entry.map(|found| found.value)).collect())
    }

    /// Reads a value, or loads and stores it.
    ///
    /// - **One loader per key.** Callers that miss while a load is under way wait for it and share its value or its
    ///   error. On a shared backend that holds for all processes while the lease of the load lives: others wait for it,
    ///   looking every few milliseconds. A process that dies in the middle of a load holds the others up for at most 10 s.
    /// - **Nobody waits long.** A caller waits for at most one load that began before its call. What it gets is no older
    ///   than its call if the key was invalidated in between: then it takes part in the next load or loads itself.
    /// - **The loader runs inside the caller's future** and may borrow. If that future is dropped or panics, one of
    ///   those who wait takes over with its own loader.
    /// - **Load or invalidate.** If the key is set, invalidated or cleared while the loader runs, its value is given
    ///   to its caller and to those who called before the load began, and is not stored.
    /// - **A loader that takes longer than the cache's load timeout** is dropped, and everybody who waits gets
    ///   [`Timeout`](statehouse_core::ErrorKind::Timeout). A loader that asks the same cache for the same key waits
    ///   for itself and ends that way.
    /// - **A value that cannot be stored** is given to its callers all the same, and an event is emitted: because it is
    ///   too large (`cache.too_large`), or because the store cannot be reached any more or is full
    ///   (`cache.load.not_stored`).
    /// - **While the store is away** the loader answers, unless the cache says
    ///   [`Outage::Fail`](crate::Outage::Fail); see there.
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
    /// [`Timeout`](statehouse_core::ErrorKind::Timeout) of the loader, and what the backend says if it cannot be read for
    /// another reason than an outage.
    pub fn get_or_load<K, F>(&self, key: K, loader: F) -> GetOrLoad<'_, V, K, F> {
        GetOrLoad::new(self, key, loader)
    }

    /// Sets a value; see [`Set`] for conditions.
    ///
    /// Prefer [`get_or_load`](Self::get_or_load) for values that come from elsewhere: a value that was read before an
    /// invalidation and is set after it stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_cache::{Caches, MemoryConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let caches = Caches::memory(MemoryConfig::default());
    /// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
    /// let first = rates.set("EUR/USD", 1.08).time_to_live(Duration::from_secs(60)).await?;
    /// assert!(rates.set("EUR/USD", 1.09).if_version(first).await?.stored().is_some());
    /// assert!(rates.set("EUR/USD", 1.10).if_absent().await?.stored().is_none(), "there is one");
    /// assert_eq!(rates.get("EUR/USD").await?.as_deref(), Some(&1.09));
    /// # Ok(()) }
    /// ```
    pub fn set<K>(&self, key: K, value: V) -> Set<'_, V, K> {
        Set::new(self, key, value)
    }

    /// Removes a value. When this has returned, no later read gives it, and no load that began before stores it.
    ///
    /// If the store is away, or refuses it for another reason than that it takes none (a login that is refused, a right that is
    /// missing, a certificate that has ended), this fails, and is kept and replayed once the store takes it; so is one whose
    /// future is dropped. From the call on, this process stores nothing that it forbids; once it has failed it serves nothing of
    /// that either: reads of the key fail until it is replayed, and [`get_or_load`](Self::get_or_load) loads. What was set since
    /// stays, but for what was set in the first two seconds: the clocks of two servers may differ by so much. **Limits:** other
    /// processes serve the old value until then; what is kept is lost with this process; above 1 MiB of kept keys all become one
    /// [`clear`](Self::clear).
    ///
    /// # Errors
    /// What the backend says. An outage is an error although it is replayed later.
    pub async fn invalidate(&self, key: impl AsRef<str> + Send) -> Result<()> {
        let key = self.key(key, NAME.invalidate)?;
        let options = RemoveOptions { deadline: self.settings.deadline, ..RemoveOptions::default() };
        let remove = async { self.core.tier.remove(&key, options).await };
        let removed = self.core.invalidate(Debt::Key(key.clone()), remove).await;
        removed.map(|_| ()).map_err(|error| self.named(error, NAME.invalidate, &key))
    }

    /// Gives a value that is there a new time to live, counted from now.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn touch(&self, key: impl AsRef<str> + Send, time_to_live: Duration) -> Result<TouchOutcome> {
        let key = self.key(key, NAME.touch)?;
        let touched = async {
            let access = self.access();
            self.core.replay(&key, access).await?;
            self.core.tier.touch(&key, time_to_live, access).await
        };
        touched.await.map_err(|error| self.named(error, NAME.touch, &key))
    }

    /// Removes every value of this cache, as [`invalidate`](Self::invalidate) removes one. Where one is
    /// replayed after an outage it ends what was set since, too; it does not return to shards of a cluster that it has reached.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn clear(&self) -> Result<()> {
        let options = ClearOptions { deadline: self.settings.deadline, ..ClearOptions::default() };
        let cleared = self.core.invalidate(Debt::Clear, async { self.core.tier.clear(options).await }).await;
        cleared.map_err(|error| self.named(error, NAME.clear, ""))
    }
}
