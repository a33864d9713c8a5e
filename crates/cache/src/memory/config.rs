use std::num::NonZeroU64;
use std::sync::Arc;

use statehouse_core::{Clock, CoarseClock, Result, ServiceUrl};

/// How much a cache in memory may hold, and by which clock its entries expire.
///
/// As a URL: `memory:?capacity=256MiB` or `memory:?max_entries=10000`.
///
/// ```
/// use statehouse_cache::{Caches, MemoryConfig};
/// use statehouse_core::ManualClock;
///
/// let small = Caches::memory(MemoryConfig::default().with_capacity(8 << 20));
/// let clock = ManualClock::default(); // a test moves it on
/// let few = Caches::memory(MemoryConfig::default().with_max_entries(1_000).with_clock(clock.clone()));
/// # let _ = (small, few);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(crate) bound: Bound,
    pub(crate) clock: Arc<dyn Clock>,
}

impl MemoryConfig {
    /// The capacity of one cache unless told otherwise: 64 MiB.
    pub const DEFAULT_CAPACITY: u64 = 64 << 20;

    /// Reads a `memory:` URL and takes its parameter: `capacity`, a size such as `256MiB`, or `max_entries`, a number;
    /// both for each cache. The caller may take more of its own and then calls [`finish`](ServiceUrl::finish).
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting, for another scheme, for a bound
    /// that is none, and for both at once.
    pub fn from_url(url: &mut ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" {
            return Err(statehouse_core::Error::invalid_config(url.setting(), "expected a URL such as \"memory:\""));
        }
        let capacity = url.take_size("capacity")?;
        let entries = url.take_parsed::<NonZeroU64>("max_entries", "a whole number above zero")?;
        match (capacity, entries) {
            (Some(_), Some(_)) => {
                let message = "a cache is bounded by capacity or by max_entries: give one of them";
                Err(statehouse_core::Error::invalid_config(url.setting(), message))
            }
            (None, Some(entries)) => Ok(Self::default().with_max_entries(entries.get())),
            (capacity, None) => Ok(Self::default().with_capacity(capacity.unwrap_or(Self::DEFAULT_CAPACITY))),
        }
    }

    /// With another bound for the weight of all entries of one cache, in bytes unless the cache has its own weigher.
    #[must_use]
    pub const fn with_capacity(mut self, capacity: u64) -> Self {
        self.bound = Bound::Bytes(capacity);
        self
    }

    /// Bounds the number of entries of one cache, whatever they weigh, instead of their weight. For values of about
    /// equal size: a few large ones are not told from as many small ones.
    #[must_use]
    pub const fn with_max_entries(mut self, entries: u64) -> Self {
        self.bound = Bound::Entries(entries);
        self
    }

    /// With another clock, for tests that must not sleep.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { bound: Bound::Bytes(Self::DEFAULT_CAPACITY), clock: Arc::new(CoarseClock::default()) }
    }
}

/// What bounds a cache in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The bytes of keys and values, and what an entry costs besides.
    Bytes(u64),
    /// The number of entries: each weighs one.
    Entries(u64),
    /// The sum of what the caller's own weigher says.
    Units(u64),
}

/// A shard of the engine does not admit an entry above its own share of the capacity, so shards are kept this large.
const LEAST_SHARD_BYTES: u64 = 4 << 20;
const LEAST_SHARD_ENTRIES: u64 = 4096;

/// The writer that makes a shard grow moves all that is in it, so those of a large memory are kept this small.
const LARGE_SHARD_BYTES: u64 = 16 << 20;
const LARGE_SHARD_ENTRIES: u64 = 1 << 16;
const MOST_OF_LARGE: u64 = 64;

impl Bound {
    /// The capacity, the number of entries to expect, and the number of shards, for the engine.
    ///
    /// By the number of entries the engine bounds how many evicted keys it remembers, and by those it tells what is
    /// asked for again from what is not.
    pub(crate) fn layout(self) -> (u64, usize, usize) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let shards = |bound: u64, least: u64, large: u64| {
            (bound / least).clamp(1, cores * 4).max((bound / large).min(MOST_OF_LARGE))
        };
        let bytes = |bound| shards(bound, LEAST_SHARD_BYTES, LARGE_SHARD_BYTES);
        let (capacity, items, shards) = match self {
            Self::Bytes(bound) => (bound, (bound / 256).clamp(32, 1 << 24), bytes(bound)),
            Self::Entries(bound) => {
                (bound, bound.clamp(32, 1 << 24), shards(bound, LEAST_SHARD_ENTRIES, LARGE_SHARD_ENTRIES))
            }
            // How much of the unit an entry has is not known: one may be as much as all.
            Self::Units(bound) => (bound, bound.clamp(32, 1 << 17), bytes(bound)),
        };
        let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
        (capacity, number(items), number(shards))
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[test]
    fn the_url_sets_the_bound_and_nothing_unknown_is_accepted() {
        let read = |text: &str| {
            let mut url = ServiceUrl::parse("URL", text).unwrap();
            MemoryConfig::from_url(&mut url).and_then(|config| url.finish().map(|()| config))
        };
        assert_eq!(read("memory:").unwrap().bound, Bound::Bytes(64 << 20));
        assert_eq!(read("memory:?capacity=1GiB").unwrap().bound, Bound::Bytes(1 << 30));
        assert_eq!(read("memory:?max_entries=10000").unwrap().bound, Bound::Entries(10_000));
        let both = "memory:?capacity=1MiB&max_entries=5";
        for text in [
            "memory:?capacity=0",
            "memory:?max_entries=0",
            "memory:?max_entries=1MiB",
            both,
            "memory:?size=1",
            "memory:/x",
            "memory://host",
            "redis://host",
        ] {
            assert_eq!(read(text).unwrap_err().kind(), ErrorKind::InvalidConfig, "{text}");
        }
    }
}
