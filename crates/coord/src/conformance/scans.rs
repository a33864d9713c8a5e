//! Records by their prefix, deadlines, health, and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::kit::{CoordBackend, get, key, put, put_with};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::options::{GetOptions, NowOptions, PutOptions, RemoveOptions, ScanOptions};
use crate::outcome::RemoveOutcome;

/// More than any call takes.
const LONG: Duration = Duration::from_secs(20);

/// How often each name is on the pages.
async fn scanned(store: &dyn CoordStore, prefix: &str, limit: u16) -> BTreeMap<String, usize> {
    let (mut found, mut options) = (BTreeMap::new(), ScanOptions::new(prefix).with_limit(limit));
    for _ in 0..100 {
        let page = store.scan_with(options.clone()).await.expect("a page");
        assert!(page.records.len() <= usize::from(limit), "{}", page.records.len());
        for (key, _) in page.records {
            *found.entry(key.as_str().to_owned()).or_default() += 1;
        }
        match page.next {
            Some(next) => options = options.with_start(next),
            None => return found,
        }
    }
    panic!("the scan does not end")
}

pub(super) async fn a_scan_has_every_record_of_its_prefix_once(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let names: Vec<_> = (0..23).map(|number| format!("jobs/{number}")).collect();
    for name in names.iter().map(String::as_str).chain(["job", "jobt", "jobs", "kobs/1"]) {
        put(&*store, name, "1").await;
    }
    let expected: BTreeMap<_, _> = names.into_iter().map(|name| (name, 1)).collect();
    for limit in [7, 23, 1000] {
        assert_eq!(scanned(&*store, "jobs/", limit).await, expected, "{limit}");
    }
    assert_eq!(scanned(&*store, "jobs/1", 4).await.len(), 11);
    assert_eq!(scanned(&*store, "", 10).await.len(), 27);
    assert_eq!(scanned(&*store, "none", 10).await.len(), 0);
}

pub(super) async fn what_was_removed_or_has_expired_is_not_scanned(backend: &impl CoordBackend) {
    let store = backend.service().await;
    put(&*store, "a/kept", "1").await;
    let removed = put(&*store, "a/removed", "1").await;
    put_with(&*store, "a/expired", "1", PutOptions::default().with_time_to_live(2 * backend.step())).await;
    assert_eq!(store.remove(&key("a/removed"), removed).await.expect("an answer"), RemoveOutcome::Removed);
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(scanned(&*store, "a/", 1).await.into_keys().collect::<Vec<_>>(), ["a/kept"]);
}

pub(super) async fn what_is_there_all_the_time_is_scanned_while_others_come_and_go(backend: &impl CoordBackend) {
    let store = backend.service().await;
    for number in 0..12 {
        put(&*store, &format!("a/{number}/kept"), "1").await;
    }
    let coming = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in (0..12).chain(0..12) {
                let name = format!("a/{number}/gone");
                let version = put(&*store, &name, "1").await;
                let _ = store.remove(&key(&name), version).await.expect("an answer");
            }
        }
    });
    while !coming.is_finished() {
        let found = scanned(&*store, "a/", 3).await;
        let kept = found.iter().filter(|(name, count)| name.ends_with("kept") && **count == 1).count();
        assert_eq!(kept, 12, "{found:?}");
    }
    coming.await.expect("the writer");
}

pub(super) async fn a_deadline_that_is_kept_changes_nothing(backend: &impl CoordBackend) {
    let (store, there) = (backend.service().await, key("a"));
    let version = put_with(&*store, "a", "1", PutOptions::default().with_deadline(LONG)).await;
    let found = store.get_with(&there, GetOptions::default().with_deadline(LONG)).await.expect("an answer");
    assert_eq!(found.expect("the record").version, version);
    let page = store.scan_with(ScanOptions::new("a").with_deadline(LONG)).await.expect("an answer");
    assert_eq!(page.records.len(), 1);
    store.now_with(NowOptions::default().with_deadline(LONG)).await.expect("the time");
    let remove = RemoveOptions::default().with_deadline(LONG);
    assert_eq!(store.remove_with(&there, version, remove).await.expect("an answer"), RemoveOutcome::Removed);
    assert_eq!(get(&*store, "a").await, None);
}

pub(super) async fn a_store_that_works_is_up(backend: &impl CoordBackend) {
    let health = backend.service().await.health().await;
    assert!(health.is_up() && !health.backend.is_empty(), "{health:?}");
}

pub(super) async fn records_survive_a_restart(backend: &mut impl CoordBackend) {
    let store = backend.service().await;
    let version = put(&*store, "a", "1").await;
    drop(store);
    backend.reopen().await;
    let store = backend.service().await;
    assert_eq!(get(&*store, "a").await.expect("the record").version, version);
    assert!(put(&*store, "a", "2").await > version);
}
