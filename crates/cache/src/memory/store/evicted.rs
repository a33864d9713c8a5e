use std::marker::PhantomData;

use quick_cache::Lifecycle;

use crate::CacheKey;

/// Keeps what a write has evicted, until its caller drops it: a value may take long to drop, and may itself use the cache, so
/// that none is dropped under a lock.
pub(super) struct KeepEvicted<T>(PhantomData<fn() -> T>);

/// Most writes evict one or two.
pub(super) type Evicted<T> = Kept<(CacheKey, T), 2>;

/// What waits to be dropped. So many take no allocation.
pub(super) struct Kept<T, const FEW: usize> {
    first: [Option<T>; FEW],
    more: Vec<T>,
}

impl<T> Lifecycle<CacheKey, T> for KeepEvicted<T> {
    type RequestState = Evicted<T>;

    #[inline]
    fn on_evict(&self, evicted: &mut Evicted<T>, key: CacheKey, slot: T) {
        evicted.keep((key, slot));
    }
}

impl<T, const FEW: usize> Kept<T, FEW> {
    #[inline]
    pub(super) fn keep(&mut self, value: T) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(value),
            None => self.more.push(value),
        }
    }
}

impl<T> Clone for KeepEvicted<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> Default for KeepEvicted<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, const FEW: usize> Default for Kept<T, FEW> {
    fn default() -> Self {
        Self { first: std::array::from_fn(|_| None), more: Vec::new() }
    }
}
