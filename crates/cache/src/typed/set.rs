use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Key, Result, Version};

use super::TypedCache;
use crate::{Condition, SetOutcome};

/// A write of one value; made by [`TypedCache::set`], run by `.await`.
#[must_use = "nothing happens until it is awaited"]
pub struct Set<'a, V, K> {
    cache: &'a TypedCache<V>,
    key: K,
    value: V,
    time_to_live: Duration,
    condition: Condition,
}

impl<'a, V, K> Set<'a, V, K> {
    pub(crate) const fn new(cache: &'a TypedCache<V>, key: K, value: V) -> Self {
        let time_to_live = cache.settings.time_to_live;
        Self { cache, key, value, time_to_live, condition: Condition::Always }
    }

    /// Keeps the value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// Stores only if there is no value.
    pub fn if_absent(mut self) -> Self {
        self.condition = Condition::Absent;
        self
    }

    /// Stores only if the value that is there has this version, as given by [`TypedCache::versioned`].
    pub fn if_version(mut self, version: Version) -> Self {
        self.condition = Condition::Match(version);
        self
    }
}

impl<'a, V, K> IntoFuture for Set<'a, V, K>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    K: AsRef<str> + Send + 'a,
{
    type Output = Result<SetOutcome>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<SetOutcome>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let key = Key::new(self.key)?;
            let format = self.cache.settings.format;
            let tier = &self.cache.core.tier;
            let stored = match tier.prepare(&key, self.value, format) {
                Ok(prepared) => tier.set(&key, prepared, self.time_to_live, self.condition, format.codec).await,
                Err(error) => Err(error),
            };
            stored.map_err(|error| error.with_operation("cache.set").with_key(&key))
        })
    }
}

impl<V, K> fmt::Debug for Set<'_, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("time_to_live", &self.time_to_live)
            .field("condition", &self.condition)
            .finish_non_exhaustive()
    }
}
