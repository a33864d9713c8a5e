//! What a case is given, and what cases have in common.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::time::Duration;

pub(super) use async_trait::async_trait;
pub(super) use bytes::Bytes;
pub(super) use statehouse_core::{Capability, CodecId, ErrorKind, Version};
pub(super) use tokio::task::JoinHandle;

pub(super) use crate::{
    Cache, CacheExt, CacheKey, ClearOptions, Condition, Entry, GetOptions, Lease, MAX_TIME_TO_LIVE, MAX_VALUE_LEN,
    RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions, SetOutcome, TouchOptions, TouchOutcome,
};

/// How to make and treat the caches of one test. Each test makes its own.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The cache under test, empty at first. Each call gives a handle to the same cache, as from another process if
    /// the backend has [`capability::SHARED`](crate::capability::SHARED).
    async fn open(&self) -> Arc<dyn Cache>;

    /// Another cache beside it, for example of another name in the same namespace.
    async fn open_other(&self) -> Arc<dyn Cache>;

    /// Lets time pass for the store: moves its clock, or sleeps.
    async fn pass(&self, time: Duration);
}

/// Whether the backend has what a case needs. Prints the case as skipped if it has not.
#[doc(hidden)]
#[expect(clippy::print_stdout, reason = "a skipped case must be visible in the test's output")]
pub async fn applies(subject: &impl Subject, case: &str, needs: &[Capability]) -> bool {
    let capabilities = subject.open().await.capabilities();
    let missing = needs.iter().find(|capability| !capabilities.has(**capability));
    if let Some(missing) = missing {
        println!("skipped by capability: {case} needs {}", missing.name());
    }
    missing.is_none()
}

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

pub(super) async fn set_if(
    cache: &dyn Cache,
    key: &CacheKey,
    text: &'static str,
    condition: Condition<Version>,
) -> SetOutcome {
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
