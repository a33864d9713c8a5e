//! Writes under a lock.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::conformance::fenced::{self, Writes, holder};
use statehouse_core::{ErrorKind, Fence, RaiseOptions, Result};

use super::kit::{Fixture, SessionBackend, is_absent, loaded, name, set};
use crate::api::SessionStore;
use crate::capability::FENCED;
use crate::options::{DeleteOptions, SaveOptions};
use crate::outcome::{Deleted, Saved};
use crate::record::{Authority, Delta, Rotate, Rotation};

/// One session of a store.
struct One {
    store: Arc<dyn SessionStore>,
    fixture: Fixture,
}

impl One {
    async fn of(backend: &impl SessionBackend) -> Arc<Self> {
        let store = backend.service().await;
        // It does not expire while a case is under way.
        let mut fixture = Fixture::new(Duration::from_secs(3600));
        fixture.new.idle_timeout = Duration::from_secs(3600);
        fixture.create_in(&*store).await;
        Arc::new(Self { store, fixture })
    }
}

impl Writes for One {
    async fn raise(&self, fence: &Fence) -> Result<()> {
        self.store.raise_with(fence, RaiseOptions::default()).await
    }

    async fn write(&self, text: &str, fence: Option<&Fence>) -> Result<()> {
        let options = SaveOptions { fence: fence.cloned(), ..SaveOptions::default() };
        loop {
            let base = loaded(&*self.store, &self.fixture.key()).await;
            let saved =
                self.store.save_with(&base, Authority::Application, &set("text", text), options.clone()).await?;
            if let Saved::Applied(_) = saved {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read(&self) -> Option<String> {
        let found = loaded(&*self.store, &self.fixture.key()).await;
        found.record().attributes().get(&name("text")).map(|value| value.decode().expect("text"))
    }
}

pub(super) async fn a_former_holder_is_refused(backend: &impl SessionBackend) {
    fenced::a_former_holder_is_refused(&*One::of(backend).await).await;
}

pub(super) async fn a_mark_only_rises(backend: &impl SessionBackend) {
    fenced::a_mark_only_rises(&*One::of(backend).await).await;
}

pub(super) async fn marks_are_of_their_locks(backend: &impl SessionBackend) {
    fenced::marks_are_of_their_locks(&*One::of(backend).await).await;
}

pub(super) async fn no_write_is_made_once_the_mark_has_risen(backend: &impl SessionBackend) {
    fenced::no_write_is_made_once_the_mark_has_risen(One::of(backend).await).await;
}

pub(super) async fn a_former_holder_neither_rotates_nor_deletes(backend: &impl SessionBackend) {
    let one = One::of(backend).await;
    let (store, key) = (&one.store, one.fixture.key());
    let (first, second) = (holder("cleaning", 5), holder("cleaning", 9));
    one.raise(&second).await.expect("a mark");
    let (base, rotation) =
        (loaded(&**store, &key).await, Rotation::new(one.fixture.token.verifier_hash(), Rotate::PrivilegeChange));
    let options = SaveOptions::default().with_fence(&first);
    let late = store.rotate_with(&base, Authority::Application, &rotation, &Delta::new(), options).await;
    assert_eq!(late.expect_err("a former holder").kind(), ErrorKind::Fenced);
    let options = |fence| DeleteOptions::default().with_fence(fence);
    let late = store.delete_with(&key, Authority::Application, options(&first)).await;
    assert_eq!(late.expect_err("a former holder").kind(), ErrorKind::Fenced);
    assert_eq!(loaded(&**store, &key).await.record().version(), base.record().version());
    let deleted = store.delete_with(&key, Authority::Application, options(&second)).await.expect("an answer");
    assert!(deleted == Deleted::Removed && is_absent(&**store, &key).await);
}

pub(super) async fn a_fence_is_not_ignored_by_who_keeps_no_marks(backend: &impl SessionBackend) {
    if backend.capabilities().await.has(FENCED) {
        return;
    }
    let (one, fence) = (One::of(backend).await, holder("cleaning", 1));
    let deletion = DeleteOptions::default().with_fence(&fence);
    let deleted = one.store.delete_with(&one.fixture.key(), Authority::Application, deletion).await.map(drop);
    for refused in [one.raise(&fence).await, one.write("x", Some(&fence)).await, deleted] {
        assert_eq!(refused.expect_err("no marks").kind(), ErrorKind::Unsupported);
    }
    assert_eq!(one.read().await, None);
}
