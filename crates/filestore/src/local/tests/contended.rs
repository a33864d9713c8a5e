//! One file that is compared and set beside many writers of others.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::lock::shard;
use super::*;
use crate::{Files, PutOutcome};

/// Its lock is shared by all these keys, as it would be by some among a great many.
fn neighbours(of: &str, namespace: &str) -> Vec<String> {
    let lock = shard(&format!("{namespace}/{of}"));
    let names = (0..).map(|number| format!("neighbour{number}"));
    names.filter(|name| shard(&format!("{namespace}/{name}")) == lock).take(64).collect()
}

async fn compares_and_sets(files: &Files, others: &Files) {
    let mut etag = files.put("counted", "0").await.unwrap().etag;
    let done = Arc::new(AtomicBool::new(false));
    let writers = neighbours("counted", "app").into_iter().map(|name| {
        let (files, done) = (others.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut writes = 0_u32;
            while !done.load(Ordering::Relaxed) {
                files.put(&*name, name.clone()).await.unwrap();
                writes += 1;
            }
            writes
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 1..=40_u32 {
        let put = files.put("counted", round.to_string()).if_match(&etag).await.unwrap();
        let PutOutcome::Stored(stored) = put else { panic!("round {round}: {put:?}, and nobody else writes it") };
        etag = stored.etag;
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0, "each of the others gets on, too");
    }
    assert_eq!(files.get("counted").bytes().await.unwrap(), "40");
}

fn files(store: LocalFileStore) -> Files {
    Files::new(Arc::new(store), Namespace::new("app").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_compared_and_set_beside_64_writers_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileStore::open(folder.path()).await.unwrap();
    let files = files(store);
    compares_and_sets(&files, &files).await;
}

/// As between two processes: each store has queues of its own, and only the system's locks between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_compared_and_set_beside_64_writers_in_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let one = LocalFileStore::open(folder.path()).await.unwrap();
    let other = LocalFileStore::open(folder.path()).await.unwrap();
    compares_and_sets(&files(one), &files(other)).await;
}
