//! Sets under a lock.

use statehouse_core::conformance::fenced::{self, Writes, holder};
use statehouse_core::{Fence, RaiseOptions, Result};

use super::kit::*;
use crate::capability::FENCED;

/// What is written under one name.
struct One(Arc<dyn Cache>);

impl Writes for One {
    async fn raise(&self, fence: &Fence) -> Result<()> {
        self.0.raise_with(fence, RaiseOptions::default()).await
    }

    async fn write(&self, text: &str, fence: Option<&Fence>) -> Result<()> {
        let mut options = SetOptions::new(LONG);
        options.fence = fence.cloned();
        stored(self.0.set_with(&key("a"), Bytes::copy_from_slice(text.as_bytes()), options).await?);
        Ok(())
    }

    async fn read(&self) -> Option<String> {
        let found = value(&*self.0, &key("a")).await?;
        Some(String::from_utf8(found.to_vec()).expect("text"))
    }
}

pub(super) async fn a_former_holder_is_refused(backend: &impl CacheBackend) {
    fenced::a_former_holder_is_refused(&One(backend.service().await)).await;
}

pub(super) async fn a_mark_only_rises(backend: &impl CacheBackend) {
    fenced::a_mark_only_rises(&One(backend.service().await)).await;
}

pub(super) async fn marks_are_of_their_locks(backend: &impl CacheBackend) {
    fenced::marks_are_of_their_locks(&One(backend.service().await)).await;
}

pub(super) async fn no_write_is_made_once_the_mark_has_risen(backend: &impl CacheBackend) {
    fenced::no_write_is_made_once_the_mark_has_risen(Arc::new(One(backend.service().await))).await;
}

/// In all groups of keys that a backend may have.
pub(super) async fn a_former_holder_is_refused_for_every_key_and_after_a_clear(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let options = |token| SetOptions::new(LONG).with_fence(&holder("export", token));
    cache.raise_with(&holder("export", 9), RaiseOptions::default()).await.unwrap();
    for round in 0..2 {
        for number in 0..200 {
            let late = cache.set_with(&key(&format!("key {number}")), bytes("late"), options(8)).await;
            assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced, "{round} {number}");
        }
        stored(cache.set_with(&key("key 0"), bytes("in time"), options(9)).await.unwrap());
        cache.clear().await.unwrap();
    }
}

pub(super) async fn a_fence_goes_together_with_a_condition(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let (first, second) = (holder("export", 5), holder("export", 9));
    let absent = SetOptions::new(LONG).with_condition(Condition::Absent);
    let version = stored(cache.set_with(&key("a"), bytes("1"), absent.clone().with_fence(&first)).await.unwrap());
    let met = cache.set_with(&key("a"), bytes("2"), absent.with_fence(&second)).await.unwrap();
    assert_eq!(met, SetOutcome::Conflict(Some(version)));
    // It has raised the mark all the same, and a lease is no way around it.
    let matching = SetOptions::new(LONG).with_condition(Condition::Match(version)).with_fence(&first);
    assert_eq!(cache.set_with(&key("a"), bytes("3"), matching).await.unwrap_err().kind(), ErrorKind::Fenced);
    cache.raise_with(&second, RaiseOptions::default()).await.unwrap();
    let lease = reserve(&*cache, &key("b")).await;
    let under = SetOptions::new(LONG).with_lease(lease).with_fence(&first);
    assert_eq!(cache.set_with(&key("b"), bytes("4"), under).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!((value(&*cache, &key("a")).await, value(&*cache, &key("b")).await), (Some(bytes("1")), None));
}

pub(super) async fn a_fence_is_not_ignored_by_who_keeps_no_marks(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    if !backend.capabilities().await.has(FENCED) {
        let one = One(Arc::clone(&cache));
        let refused = one.raise(&holder("export", 1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let refused = one.write("x", Some(&holder("export", 1))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(value(&*cache, &key("a")).await, None);
    }
}
