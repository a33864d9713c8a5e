//! What is counted of a cache, for metrics. The table is in the documentation of this crate.

use statehouse_core::{Counter, Error};

use crate::away::is_away;

const LOOKUPS: &str = "statehouse.cache.lookups";

/// What became of lookups, by the name of the cache and the result.
///
/// | result | meaning |
/// | --- | --- |
/// | `hit` | the value came out of the cache |
/// | `miss` | there was none; of `get_or_load`, it was loaded by this caller or by one whom it waited for |
/// | `stale` | an entry was there and could not be read, because another build wrote it or it is damaged: a miss besides |
/// | `bypass` | the store was away: the loader answered without it, or the read failed |
pub(crate) struct Lookups {
    pub(crate) hit: Counter,
    pub(crate) miss: Counter,
    pub(crate) bypass: Counter,
}

impl Lookups {
    pub(crate) fn new(cache: &str) -> Self {
        let counter = |result| Counter::new(LOOKUPS, &[("cache", cache), ("result", result)]);
        Self { hit: counter("hit"), miss: counter("miss"), bypass: counter("bypass") }
    }

    pub(crate) fn stale(cache: &str) -> Counter {
        Counter::new(LOOKUPS, &[("cache", cache), ("result", "stale")])
    }

    /// A read of so many keys that found so many.
    pub(crate) fn of_many(&self, hits: usize, keys: usize) {
        self.hit.add(hits as u64);
        self.miss.add((keys - hits) as u64);
    }

    /// A read that found something, or did not, or failed.
    pub(crate) fn of(&self, found: Result<bool, &Error>) {
        match found {
            Ok(true) => self.hit.add(1),
            Ok(false) => self.miss.add(1),
            Err(error) if is_away(error) => self.bypass.add(1),
            Err(_) => {}
        }
    }
}
