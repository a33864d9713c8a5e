use std::marker::PhantomData;

use quick_cache::Lifecycle;

use crate::CacheKey;

/// Keeps what a write has evicted, until its caller drops it: a value may take long to drop, and may itself use the cache, so
/// that none is dropped under a lock.
pub(super) struct KeepEvicted<T>(PhantomData<fn() -> T>);

type Item<T> = (CacheKey, T);

/// One or two are evicted by most writes, which takes no allocation.
pub(super) struct Evicted<T> {
    first: [Option<Item<T>>; 2],
    more: Vec<Item<T>>,
}

impl<T> Lifecycle<CacheKey, T> for KeepEvicted<T> {
    type RequestState = Evicted<T>;

    #[inline]
    fn on_evict(&self, evicted: &mut Evicted<T>, key: CacheKey, slot: T) {
        match evicted.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((key, slot)),
            None => evicted.more.push((key, slot)),
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

impl<T> Default for Evicted<T> {
    fn default() -> Self {
        Self { first: [None, None], more: Vec::new() }
    }
}
