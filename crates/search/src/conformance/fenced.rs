//! Bulks under a lock.

use std::sync::Arc;

use statehouse_core::conformance::fenced::{self, Writes, holder};
use statehouse_core::{ErrorKind, Fence, RaiseOptions, Result};

use super::kit::{SearchBackend, delete, id, record};
use crate::capability::FENCED;
use crate::{BulkOptions, Operation, SearchIndex, SearchIndexExt as _};

fn under(fence: Option<&Fence>) -> BulkOptions {
    BulkOptions { fence: fence.cloned(), ..BulkOptions::default() }
}

/// What is written under one name.
struct One(Arc<dyn SearchIndex>);

impl Writes for One {
    async fn raise(&self, fence: &Fence) -> Result<()> {
        self.0.raise_with(fence, RaiseOptions::default()).await
    }

    async fn write(&self, text: &str, fence: Option<&Fence>) -> Result<()> {
        let written = vec![Operation::Upsert(record("a").with("title", text))];
        self.0.bulk_with(written, under(fence)).await?.check()
    }

    async fn read(&self) -> Option<String> {
        let found = self.0.get(&id("a")).await.expect("an answer")?;
        found.value("title").and_then(|title| title.as_text()).map(str::to_owned)
    }
}

pub(super) async fn a_former_holder_is_refused(backend: &impl SearchBackend) {
    fenced::a_former_holder_is_refused(&One(backend.service().await)).await;
}

pub(super) async fn a_mark_only_rises(backend: &impl SearchBackend) {
    fenced::a_mark_only_rises(&One(backend.service().await)).await;
}

pub(super) async fn marks_are_of_their_locks(backend: &impl SearchBackend) {
    fenced::marks_are_of_their_locks(&One(backend.service().await)).await;
}

pub(super) async fn no_write_is_made_once_the_mark_has_risen(backend: &impl SearchBackend) {
    fenced::no_write_is_made_once_the_mark_has_risen(Arc::new(One(backend.service().await))).await;
}

pub(super) async fn a_former_holder_deletes_nothing_whatever_its_versions(backend: &impl SearchBackend) {
    let (index, first) = (One(backend.service().await), holder("loading", 5));
    index.write("as it was", Some(&first)).await.expect("the holder");
    index.raise(&holder("loading", 9)).await.expect("its successor");
    for version in [None, Some(7_000_000_000_000_000)] {
        let late = index.0.bulk_with(vec![delete("a", version)], under(Some(&first))).await;
        assert_eq!(late.expect_err("a former holder").kind(), ErrorKind::Fenced);
    }
    assert_eq!(index.read().await.as_deref(), Some("as it was"));
}

pub(super) async fn a_fence_is_not_ignored_by_who_keeps_no_marks(backend: &impl SearchBackend) {
    let index = One(backend.service().await);
    if !backend.capabilities().await.has(FENCED) {
        let refused = index.raise(&holder("loading", 1)).await.expect_err("no marks");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let refused = index.write("x", Some(&holder("loading", 1))).await.expect_err("no marks");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(index.read().await, None);
    }
}
