//! Requests that are answered once where coordination lies in files.

use std::path::Path;

use statehouse_core::Namespace;
use statehouse_filestore::{FileStore, LocalFileStore};
use statehouse_testkit::S3Server;

use super::*;
use crate::lock::Skewed;
use crate::open_files_at;

/// A replica whose clock is off by so many minutes.
pub(super) async fn on_disk(folder: &Path, minutes: i64) -> FilesCoordStore {
    let files = Arc::new(LocalFileStore::open(folder).await.unwrap());
    FilesCoordStore::new(files, &Namespace::new("n").unwrap(), FilesConfig::default().with_clock(Skewed(minutes)))
        .unwrap()
}

/// Two replicas whose clocks differ by half an hour, on one folder: a request is answered by one of them, and told by both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_with_one_folder_answer_a_request_once_whatever_their_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let ahead = layer(on_disk(folder.path(), 15).await).checked().await.unwrap();
    let behind = layer(on_disk(folder.path(), -15).await).checked().await.unwrap();
    let replicas = [counting(&ahead), counting(&behind)];
    for round in 0..5 {
        let mut askers = JoinSet::new();
        for asker in 0..8 {
            let orders = replicas[asker % 2].0.clone();
            askers.spawn(async move { ask(&orders, order(&format!("k{round}"), "apples")).await });
        }
        for answer in askers.join_all().await {
            assert!([201, 409].contains(&answer.status), "{answer:?}");
        }
        for (orders, _) in &replicas {
            let again = ask(orders, order(&format!("k{round}"), "apples")).await;
            assert!(again.status == 201 && again.is_replayed, "{again:?}");
            assert_eq!(ask(orders, order(&format!("k{round}"), "pears")).await.status, 422);
        }
    }
    let made: usize = replicas.iter().map(|(_, count)| count.load(Ordering::SeqCst)).sum();
    assert_eq!(made, 5);
}

/// A replica dies with a request under way: its key is free for the next after the lease, from when somebody came with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_replica_that_died_is_free_after_its_lease() {
    let (files, namespace) = (Arc::new(MemoryFileStore::new()) as Arc<dyn FileStore>, random_namespace());
    let open = |clock: &ManualClock| {
        let config = FilesConfig::default().with_clock(clock.clone());
        layer(FilesCoordStore::new(Arc::clone(&files), &namespace, config).unwrap()).lease(LONG)
    };
    let died = {
        let (layer, begun) = (open(&ManualClock::default()), Arc::new(Notify::new()));
        let (told, is_begun) = (Arc::clone(&begun), begun);
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let orders = orders(&layer, move |_| {
                    told.notify_one();
                    std::future::pending()
                });
                let asking = tokio::spawn(async move { ask(&orders, order("k1", "apples")).await });
                is_begun.notified().await;
                drop(asking);
            });
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(move || process.join()).await.unwrap()
    };
    died.unwrap();
    let clock = ManualClock::default();
    let (orders, count) = counting(&open(&clock));
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 409);
    clock.advance(LONG - Duration::from_millis(1));
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 409);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 201);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// The price that the documentation names, and that the store's silence is none of the client's: nothing is passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_s3_a_request_is_two_reads_and_two_writes_and_one_read_when_it_is_told_again() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let endpoint = server.endpoint().replace(server.address(), &proxy.address());
    let files = open_files_at(&server, &endpoint, "&timeout=1s&retries=1").await;
    let store = FilesCoordStore::new(files, &random_namespace(), FilesConfig::default()).unwrap();
    let (orders, count) = counting(&layer(store));
    // The first is what begins a sweep.
    assert_eq!(ask(&orders, order("k0", "apples")).await.status, 201);
    let mut before = proxy.counts();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = proxy.counts();
        if now == before {
            break;
        }
        before = now;
    }
    let took = |before: &statehouse_testkit::Counts| {
        let now = proxy.counts();
        ["GET", "PUT", "HEAD", "DELETE"].map(|method| now.command(method) - before.command(method))
    };
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 201);
    assert_eq!(took(&before), [2, 2, 0, 0]);
    let before = proxy.counts();
    assert!(ask(&orders, order("k1", "apples")).await.is_replayed);
    assert_eq!(took(&before), [1, 0, 0, 0]);
    proxy.cut();
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 503);
    assert_eq!(ask(&orders, order("k2", "apples")).await.status, 503);
    proxy.heal();
    assert!(ask(&orders, order("k1", "apples")).await.is_replayed);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}
