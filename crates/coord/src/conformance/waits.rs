//! Waiting for a change.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Version;
use tokio::time::{Instant, sleep, timeout};

use super::kit::{CoordBackend, get, key, put};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::options::WaitOptions;

/// What nobody waits for: a wait that lasts so long has missed the change.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the record is another, as whoever waits does.
async fn changed(store: &dyn CoordStore, seen: Option<Version>) {
    while get(store, "a").await.map(|record| record.version) == seen {
        store.wait_with(&key("a"), seen, WaitOptions::default().with_limit(LIMIT)).await;
    }
}

/// Does something while somebody waits, who must notice before the wait's limit.
async fn noticed(store: &Arc<dyn CoordStore>, seen: Option<Version>, work: impl Future<Output = ()>) {
    let waiter = tokio::spawn({
        let store = Arc::clone(store);
        async move { changed(&*store, seen).await }
    });
    sleep(Duration::from_millis(50)).await;
    work.await;
    timeout(LIMIT / 2, waiter).await.expect("the change is noticed").expect("the waiter");
}

pub(super) async fn a_wait_ends_when_the_record_changes(backend: &impl CoordBackend) {
    let store = backend.service().await;
    noticed(&store, None, async {
        put(&*store, "a", "1").await;
    })
    .await;
    let seen = get(&*store, "a").await.map(|record| record.version);
    noticed(&store, seen, async {
        put(&*store, "b", "1").await;
        put(&*store, "a", "2").await;
    })
    .await;
}

pub(super) async fn a_wait_ends_when_the_record_is_removed(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let version = put(&*store, "a", "1").await;
    let remove = async { drop(store.remove(&key("a"), version).await.expect("an answer")) };
    noticed(&store, Some(version), remove).await;
}

pub(super) async fn a_wait_for_what_has_changed_already_returns_at_once(backend: &impl CoordBackend) {
    let store = backend.service().await;
    put(&*store, "a", "1").await;
    let waits = async {
        for seen in [None, Some(Version::new(1))] {
            store.wait_with(&key("a"), seen, WaitOptions::default().with_limit(LIMIT)).await;
        }
        store.wait_with(&key("b"), Some(Version::new(1)), WaitOptions::default().with_limit(LIMIT)).await;
    };
    timeout(LIMIT / 2, waits).await.expect("no wait");
}

pub(super) async fn a_wait_ends_at_its_limit(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let version = put(&*store, "a", "1").await;
    let begun = Instant::now();
    let (name, options) = (key("a"), WaitOptions::default().with_limit(Duration::from_millis(30)));
    timeout(LIMIT / 2, store.wait_with(&name, Some(version), options)).await.expect("the limit");
    // A hint may be early, and is never early because of nothing again and again.
    let mut early = 0;
    while begun.elapsed() < Duration::from_millis(200) && early < 1000 {
        store.wait_with(&key("a"), Some(version), WaitOptions::default().with_limit(Duration::from_millis(50))).await;
        early += 1;
    }
    assert!(early < 1000, "a wait does not wait");
}
