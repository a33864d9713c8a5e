use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result, Version};

use super::TypedCache;
use super::kept::Debt;
use super::tier::CacheValue;
use crate::{Condition, SetOutcome};

/// A write of one value on no condition; made by [`TypedCache::set`], run by `.await`, which gives the value's version.
///
/// A value above what the cache keeps is [`TooLarge`](ErrorKind::TooLarge), and nothing is changed.
#[must_use = "nothing happens until it is awaited"]
pub struct Set<'a, V, K> {
    cache: &'a TypedCache<V>,
    key: K,
    value: V,
    time_to_live: Duration,
}

/// A write of one value on a condition; made by [`Set::if_absent`] and [`Set::if_version`], run by `.await`, which says
/// whether it was stored.
#[must_use = "nothing happens until it is awaited"]
pub struct SetIf<'a, V, K> {
    set: Set<'a, V, K>,
    condition: Condition,
}

impl<'a, V, K> Set<'a, V, K> {
    pub(crate) const fn new(cache: &'a TypedCache<V>, key: K, value: V) -> Self {
        let time_to_live = cache.settings.time_to_live;
        Self { cache, key, value, time_to_live }
    }

    /// Keeps the value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// Stores only if there is no value.
    pub fn if_absent(self) -> SetIf<'a, V, K> {
        SetIf { set: self, condition: Condition::Absent }
    }

    /// Stores only if the value that is there has this version, as given by [`TypedCache::versioned`].
    pub fn if_version(self, version: Version) -> SetIf<'a, V, K> {
        SetIf { set: self, condition: Condition::Match(version) }
    }
}

impl<V, K> SetIf<'_, V, K> {
    /// Keeps the value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.set.time_to_live = time_to_live;
        self
    }
}

impl<V, K> Set<'_, V, K>
where
    V: CacheValue,
    K: AsRef<str> + Send,
{
    async fn run(self, condition: Condition) -> Result<SetOutcome> {
        let cache = self.cache;
        let key = cache.key(self.key, "cache.set")?;
        let stored = async {
            let (core, format, begun) = (&cache.core, cache.settings.format, Instant::now());
            if condition != Condition::Always {
                core.replay(&key).await?;
            }
            let prepared = core.tier.prepare(&key, self.value, format)?;
            let outcome = core.tier.set(&key, prepared, self.time_to_live, condition, format.codec).await?;
            if matches!(outcome, SetOutcome::Stored(_)) {
                // What was there before is gone.
                core.kept.paid(&Debt::Key(key.clone()), begun);
            }
            Ok(outcome)
        };
        stored.await.map_err(|error| cache.named(error, "cache.set", &key))
    }
}

impl<'a, V, K> IntoFuture for Set<'a, V, K>
where
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
{
    type Output = Result<Version>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Version>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { unconditional(self.run(Condition::Always).await?) })
    }
}

impl<'a, V, K> IntoFuture for SetIf<'a, V, K>
where
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
{
    type Output = Result<SetOutcome>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<SetOutcome>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.set.run(self.condition))
    }
}

/// The version of a write on no condition.
pub(crate) fn unconditional(outcome: SetOutcome) -> Result<Version> {
    outcome.stored().ok_or_else(|| Error::new(ErrorKind::Unexpected, "a write without a condition met a conflict"))
}

impl<V, K> fmt::Debug for Set<'_, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("time_to_live", &self.time_to_live).finish_non_exhaustive()
    }
}

impl<V, K> fmt::Debug for SetIf<'_, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetIf")
            .field("time_to_live", &self.set.time_to_live)
            .field("condition", &self.condition)
            .finish_non_exhaustive()
    }
}
