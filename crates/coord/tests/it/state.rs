//! Shared state: no update is lost or made twice, whoever else updates and whatever answers are lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_coord::{
    CoordKey, CoordStore, Coordination, FilesConfig, FilesCoordStore, GetOptions, LayeredCoordStore, MemoryCoordStore,
    NowOptions, Page, PutOptions, PutOutcome, Record, RemoveOptions, RemoveOutcome, ScanOptions, WaitOptions,
};
use statehouse_core::layer::Faults;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result, Timestamp, Version};
use statehouse_filestore::MemoryFileStore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{durable_redis, open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);

/// Nine replicas add to one set; the revisions that they are given have no gap, and nothing that was added is missing.
async fn loses_no_update(handles: &[Coordination], updates: u32) {
    let mut replicas = JoinSet::new();
    for replica in 0..9 {
        let state = handles[replica as usize % handles.len()].state::<BTreeSet<u32>>("closure");
        replicas.spawn(async move {
            let mut made = Vec::new();
            for number in 0..updates {
                let added = replica * updates + number;
                let update = state.update("t1", |before| {
                    let mut set = before.unwrap_or_default();
                    assert!(set.insert(added), "{added} is made twice");
                    set
                });
                // A store whose answers are lost may say so once nothing else can be found out.
                made.push(update.await.unwrap().revision);
            }
            made
        });
    }
    let mut revisions: Vec<_> = replicas.join_all().await.into_iter().flatten().collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=u64::from(9 * updates)));
    let all = handles[0].state::<BTreeSet<u32>>("closure").get("t1").await.unwrap().unwrap();
    assert!(all.value.into_iter().eq(0..9 * updates));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_nine_replicas_are_all_kept_and_their_revisions_have_no_gap() {
    loses_no_update(&[Coordination::new(Arc::new(MemoryCoordStore::new()))], 20).await;
    let files = Arc::new(MemoryFileStore::new());
    let namespace = random_namespace();
    let host = || {
        let store = FilesCoordStore::new(Arc::clone(&files) as _, &namespace, FilesConfig::default()).unwrap();
        Coordination::new(Arc::new(store))
    };
    loses_no_update(&[host(), host()], 5).await;
    let server = durable_redis().await;
    let [one, other] = [open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await];
    loses_no_update(&[Coordination::new(Arc::new(one)), Coordination::new(Arc::new(other))], 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_whose_answer_was_lost_is_made_once() {
    let store: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    let sound = Coordination::new(Arc::clone(&store)).state::<u64>("counter");
    for seed in 0..20 {
        let faults = Faults::seeded(seed).with_lost_answers(0.5);
        let faulty = Coordination::new(Arc::new(LayeredCoordStore::new(Arc::clone(&store), faults)));
        let counter = faulty.state::<u64>("counter");
        let before = sound.get("n").await.unwrap().map_or(0, |now| now.value);
        // Reads may be lost, too: such an update says that it is not known.
        match counter.update("n", |before| before.unwrap_or_default() + 1).await {
            Ok(made) => assert_eq!((made.revision, made.value), (before + 1, before + 1), "seed {seed}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "seed {seed}"),
        }
        let after = sound.get("n").await.unwrap().map_or((0, 0), |now| (now.revision, now.value));
        assert!(after.0 == after.1 && (before..=before + 1).contains(&after.1), "seed {seed}: {after:?}");
    }
    assert!(sound.get("n").await.unwrap().unwrap().value > 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_is_waited_for_and_changes_are_heard_of() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let state = coord.state::<u32>("flags");
    let error = state.at_least("a", 1, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some("a")));
    let mut watch = state.watch("a").unwrap();
    let waiting = tokio::spawn({
        let state = state.clone();
        async move { state.at_least("a", 2, LONG).await.unwrap() }
    });
    for value in [7, 8] {
        state.update("a", |_| value).await.unwrap();
    }
    let waited = timeout(LONG, waiting).await.unwrap().unwrap();
    assert_eq!((waited.revision, waited.value), (2, 8));
    assert_eq!(watch.next().await.unwrap().revision, 2);
    let next = tokio::spawn(async move { watch.next().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    state.update("a", |before| before.unwrap() + 1).await.unwrap();
    assert_eq!(timeout(LONG, next).await.unwrap().unwrap().value, 9);
}

/// A store of which the first put is on its way for so long that its writer gives it up, and is made as the next one comes; and somebody
/// else updates the value then.
#[derive(Debug)]
struct Late {
    inner: Arc<MemoryCoordStore>,
    /// How often the put and its repetitions come to nothing that is known.
    unknown: AtomicIsize,
    first: Mutex<Option<(CoordKey, Bytes, PutOptions)>>,
    others: Coordination,
}

#[async_trait]
impl CoordStore for Late {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        self.inner.get_with(key, options).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        if self.unknown.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.first.lock().unwrap().get_or_insert((key.clone(), value, options));
            return Err(Error::new(ErrorKind::OutcomeUnknown, "it is on its way"));
        }
        let first = self.first.lock().unwrap().take();
        if let Some((key, value, options)) = first {
            assert!(self.inner.put_with(&key, value, options).await?.stored().is_some(), "it comes in time");
            self.others.state::<u64>("counter").update("n", |before| before.unwrap_or_default() + 1).await?;
        }
        self.inner.put_with(key, value, options).await
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.inner.remove_with(key, version, options).await
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        self.inner.scan_with(options).await
    }

    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        self.inner.now_with(options).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        self.inner.wait_with(key, seen, options).await;
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

/// As a request to S3 that is slow: it was looked for, and was not there yet.
#[tokio::test(start_paused = true)]
async fn an_update_that_is_made_after_it_was_looked_for_is_made_once() {
    for before in [0, 1] {
        let inner = Arc::new(MemoryCoordStore::new());
        let others = Coordination::new(Arc::clone(&inner) as _);
        for _ in 0..before {
            others.state::<u64>("counter").update("n", |_| 1).await.unwrap();
        }
        let late = Late { inner, unknown: AtomicIsize::new(4), first: Mutex::default(), others: others.clone() };
        let counter = Coordination::new(Arc::new(late)).state::<u64>("counter");
        // As one that draws a number: what it would make the second time is another value.
        let mut calls = 0;
        let update = counter.update("n", |before| {
            calls += 1;
            before.unwrap_or_default() + calls
        });
        let made = update.await.unwrap();
        assert_eq!((made.revision, made.value), (before + 1, before + 1), "as it is stored");
        assert_eq!(calls, 1);
        let now = others.state::<u64>("counter").get("n").await.unwrap().unwrap();
        assert_eq!((now.revision, now.value), (before + 2, before + 2), "one of each");
    }
}

#[tokio::test]
async fn no_two_names_have_values_in_common() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    coord.state::<u64>("users").update("ada/limit", |_| 7).await.unwrap();
    let other = coord.state::<u64>("users/ada");
    let refused = [other.get("limit").await.unwrap_err(), other.update("limit", |_| 8).await.unwrap_err()];
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{refused:?}");
}

#[tokio::test]
async fn a_value_of_another_type_or_size_is_refused() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    coord.state::<u32>("s").update("a", |_| 7).await.unwrap();
    assert_eq!(coord.state::<String>("s").get("a").await.unwrap_err().kind(), ErrorKind::Corrupt);
    let large = coord.state::<String>("s").update("b", |_| "x".repeat(1 << 20)).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    assert!(coord.state::<String>("s").get("b").await.unwrap().is_none());
    assert!(coord.state::<u32>("s").watch("a//b").is_err());
}
