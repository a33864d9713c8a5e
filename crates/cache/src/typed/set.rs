use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use statehouse_core::capability::FENCED;
use statehouse_core::{AsFence, Fence, Result, Version};

use super::cache::TypedCache;
use super::kept::Debt;
use super::tier::CacheValue;
use crate::SetOutcome;
use crate::operation::NAME;
use crate::options::Guard;
use crate::outcome::unconditional;

/// A write of one value on no condition; made by [`TypedCache::set`], run by `.await`, which gives the value's version.
///
/// A value above what the cache keeps is [`TooLarge`](statehouse_core::ErrorKind::TooLarge), and nothing is changed.
///
/// ```
/// # use std::time::Duration;
/// # use statehouse_cache::{Caches, MemoryConfig, SetOutcome};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let rates = Caches::memory(MemoryConfig::default()).cache("rates").time_to_live(Duration::from_secs(60)).open()?;
/// let minute = Duration::from_secs(60);
/// let version = rates.set("EUR/USD", 1.08).time_to_live(10 * minute).await?;
/// // On a condition it is an answer and no error that somebody was faster.
/// let first = rates.set("EUR/USD", 1.09).if_absent().time_to_live(minute).await?;
/// assert_eq!(first, SetOutcome::Conflict(Some(version)));
/// assert!(rates.set("EUR/USD", 1.09).time_to_live(minute).if_version(version).await?.stored().is_some());
/// // What is loaded may live shorter than what is set.
/// let loaded = rates.get_or_load("EUR/CHF", async || Ok::<_, std::io::Error>(0.93)).time_to_live(minute).await?;
/// assert_eq!(*loaded, 0.93);
/// # Ok(()) }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Set<'a, V, K> {
    cache: &'a TypedCache<V>,
    key: K,
    value: V,
    time_to_live: Duration,
    fence: Option<Fence>,
}

/// A write of one value on a condition; made by [`Set::if_absent`] and [`Set::if_version`], run by `.await`, which says
/// whether it was stored.
#[must_use = "nothing happens until it is awaited"]
pub struct SetIf<'a, V, K> {
    set: Set<'a, V, K>,
    guard: Guard,
}

impl<'a, V, K> Set<'a, V, K> {
    pub(crate) const fn new(cache: &'a TypedCache<V>, key: K, value: V) -> Self {
        let time_to_live = cache.settings.time_to_live;
        Self { cache, key, value, time_to_live, fence: None }
    }

    /// Keeps the value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// Stores only as long as nobody else has acquired the lock since: else it is refused as
    /// [`Fenced`](statehouse_core::ErrorKind::Fenced). The lock should [guard](statehouse_core::Guarded) this cache; if it does
    /// not, this is refused once its next holder has set the key.
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.fence = Some(guard.as_fence().clone());
        self
    }

    /// Stores only if there is no value.
    pub fn if_absent(self) -> SetIf<'a, V, K> {
        SetIf { set: self, guard: Guard::Absent }
    }

    /// Stores only if the value that is there has this version, as given by [`TypedCache::versioned`].
    pub fn if_version(self, version: Version) -> SetIf<'a, V, K> {
        SetIf { set: self, guard: Guard::Match(version) }
    }
}

impl<V, K> SetIf<'_, V, K> {
    /// Keeps the value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.set.time_to_live = time_to_live;
        self
    }

    /// As [`Set::fenced`].
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.set = self.set.fenced(guard);
        self
    }
}

impl<V, K> Set<'_, V, K>
where
    V: CacheValue,
    K: AsRef<str> + Send,
{
    async fn run(self, guard: Guard) -> Result<SetOutcome> {
        let cache = self.cache;
        let key = cache.key(self.key, NAME.set)?;
        let stored = async {
            let (core, format, begun) = (&cache.core, cache.settings.format, Instant::now());
            let access = cache.access();
            // A store that does not say that it keeps marks raises this one first, as the set would: one that is not open yet
            // opens for it, and one of somebody else's that ignores fences cannot.
            if let Some(fence) = self.fence.as_ref().filter(|_| !core.tier.capabilities().has(FENCED)) {
                core.tier.raise(fence, access.deadline()).await?;
            }
            if guard != Guard::Always {
                core.replay(&key, access).await?;
            }
            let prepared = core.tier.prepare(&key, self.value, format)?.end().await?;
            let fence = self.fence.as_ref();
            let outcome = core.tier.set(&key, prepared, self.time_to_live, guard, fence, access).await?;
            if matches!(outcome, SetOutcome::Stored(_)) {
                core.familiar.saw(&key, true);
                core.kept.paid(&Debt::Key(key.clone()), begun);
            }
            Ok(outcome)
        };
        stored.await.map_err(|error| cache.named(error, NAME.set, &key))
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
        Box::pin(async move { unconditional(self.run(Guard::Always).await?) })
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
        Box::pin(self.set.run(self.guard))
    }
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
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
