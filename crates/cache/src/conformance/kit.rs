//! What the cases have in common.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::time::Duration;

pub(super) use bytes::Bytes;
use statehouse_core::conformance::Backend;
pub(super) use statehouse_core::{CodecId, ErrorKind, Version};
pub(super) use tokio::task::JoinHandle;

pub(super) use crate::{
    Cache, CacheExt, CacheKey, ClearOptions, Condition, Entry, GetOptions, Lease, MAX_TIME_TO_LIVE, MAX_VALUE_LEN,
    RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions, SetOutcome, TouchOptions, TouchOutcome,
};

/// What the cases ask of a backend; the [another](Backend::another) of a cache is one in the same namespace.
pub(super) trait CacheBackend: Backend<Service = dyn Cache> {}

impl<B: Backend<Service = dyn Cache>> CacheBackend for B {}

pub(super) const LONG: Duration = Duration::from_secs(600);

pub(super) fn key(text: &str) -> CacheKey {
    CacheKey::new(text).expect("a good key")
}

pub(super) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) async fn value(cache: &dyn Cache, key: &CacheKey) -> Option<Bytes> {
    cache.get(key).await.expect("a read that works").map(|entry| entry.value)
}

pub(super) async fn store(cache: &dyn Cache, key: &CacheKey, text: &'static str) -> Version {
    cache.set(key, bytes(text), LONG).await.expect("a write that works")
}

pub(super) fn stored(outcome: SetOutcome) -> Version {
    outcome.stored().expect("stored")
}

pub(super) async fn set_if(cache: &dyn Cache, key: &CacheKey, text: &'static str, condition: Condition) -> SetOutcome {
    let options = SetOptions::new(LONG).with_condition(condition);
    cache.set_with(key, bytes(text), options).await.expect("a write that works")
}

pub(super) async fn set_under(cache: &dyn Cache, key: &CacheKey, text: &'static str, lease: Lease) -> SetOutcome {
    let options = SetOptions::new(LONG).with_lease(lease);
    cache.set_with(key, bytes(text), options).await.expect("a write that works")
}

pub(super) async fn reserve(cache: &dyn Cache, key: &CacheKey) -> Lease {
    match cache.reserve_with(key, ReserveOptions::new(LONG)).await.expect("a reservation that works") {
        Reservation::Leased(lease) => lease,
        other => panic!("no lease where one was expected: {other:?}"),
    }
}

pub(super) async fn late(cache: &dyn Cache, key: &CacheKey, lease: Lease) -> SetOutcome {
    set_under(cache, key, "late", lease).await
}
