//! Puts under a lock.

use std::sync::Arc;

use statehouse_core::conformance::fenced::{self, Writes, holder};
use statehouse_core::{ErrorKind, Fence, RaiseOptions, Result};

use super::kit::{CoordBackend, get, key};
use crate::api::CoordStore;
use crate::capability::FENCED;
use crate::options::PutOptions;

/// What is written under one name.
struct One(Arc<dyn CoordStore>);

impl Writes for One {
    async fn raise(&self, fence: &Fence) -> Result<()> {
        self.0.raise_with(fence, RaiseOptions::default()).await
    }

    async fn write(&self, text: &str, fence: Option<&Fence>) -> Result<()> {
        let options = PutOptions { fence: fence.cloned(), ..PutOptions::default() };
        self.0.put_with(&key("a"), text.to_owned().into(), options).await.map(drop)
    }

    async fn read(&self) -> Option<String> {
        Some(String::from_utf8(get(&*self.0, "a").await?.value.to_vec()).expect("text"))
    }
}

pub(super) async fn a_former_holder_is_refused(backend: &impl CoordBackend) {
    fenced::a_former_holder_is_refused(&One(backend.service().await)).await;
}

pub(super) async fn a_mark_only_rises(backend: &impl CoordBackend) {
    fenced::a_mark_only_rises(&One(backend.service().await)).await;
}

pub(super) async fn marks_are_of_their_locks(backend: &impl CoordBackend) {
    fenced::marks_are_of_their_locks(&One(backend.service().await)).await;
}

pub(super) async fn no_write_is_made_once_the_mark_has_risen(backend: &impl CoordBackend) {
    fenced::no_write_is_made_once_the_mark_has_risen(Arc::new(One(backend.service().await))).await;
}

pub(super) async fn a_fence_is_not_ignored_by_who_keeps_no_marks(backend: &impl CoordBackend) {
    let one = One(backend.service().await);
    if !backend.capabilities().await.has(FENCED) {
        let refused = one.raise(&holder("export", 1)).await.expect_err("no marks");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let refused = one.write("x", Some(&holder("export", 1))).await.expect_err("no marks");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(get(&*one.0, "a").await.is_none());
    }
}

pub(super) async fn marks_survive_a_restart(backend: &mut impl CoordBackend) {
    One(backend.service().await).raise(&holder("export", 9)).await.expect("a mark");
    backend.reopen().await;
    let one = One(backend.service().await);
    let late = one.write("late", Some(&holder("export", 8))).await.expect_err("a former holder");
    assert_eq!(late.kind(), ErrorKind::Fenced);
    one.write("in time", Some(&holder("export", 9))).await.expect("the holder");
}
