//! A disk without space: what was acknowledged is kept and committed when there is space again, and health says so.

use std::path::Path;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, HealthStatus, Retry};
use statehouse_search::{
    BulkOptions, DocumentId, Durability, Operation, Outcome, Query, SearchIndex, SearchIndexExt as _, TantivyConfig,
};
use statehouse_testkit::SmallDisk;

use super::{schema, upsert};

fn is_full(error: &Error) {
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let folder = disk.path().join("index");
    let config = || TantivyConfig::folder(&folder).with_commit_interval(Duration::from_millis(20));
    let index = config().open(schema()).await.unwrap();
    index.bulk(vec![upsert("old", "cholera"), upsert("gone", "fever")]).await.unwrap().check().unwrap();
    disk.fill("filler");
    let health = index.health().await;
    assert_eq!(health.status, HealthStatus::Degraded, "told before a write fails");
    is_full(&health.error.unwrap());
    let id = |text: &str| DocumentId::new(text).unwrap();
    let queued = || BulkOptions::default().with_durability(Durability::Queued);
    let delete = Operation::Delete { id: id("gone"), version: None };
    index.bulk_with(vec![upsert("new", "typhoid"), delete], queued()).await.unwrap().check().unwrap();

    let kept =
        async || (index.get(&id("new")).await.unwrap().is_some(), index.get(&id("gone")).await.unwrap().is_none());
    for _ in 0..3 {
        is_full(&index.refresh().await.unwrap_err());
        assert_eq!(kept().await, (true, true));
        let health = index.health().await;
        assert_eq!(health.status, HealthStatus::Degraded);
        is_full(&health.error.unwrap());
    }
    // A write that waits is refused and did not happen; nor is one queued that might wait for ever.
    is_full(&index.bulk(vec![upsert("new", "other"), upsert("more", "x")]).await.unwrap_err());
    is_full(&index.bulk_with(vec![upsert("more", "x")], queued()).await.unwrap_err());
    assert!(index.get(&id("more")).await.unwrap().is_none());
    let new = index.get(&id("new")).await.unwrap().unwrap();
    assert_eq!(new.value("title").unwrap().as_text(), Some("typhoid"));

    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let committed = async {
        while index.count(&Query::matches("title", "typhoid").into()).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), committed).await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    index.close().await.unwrap();
    drop(index);
    let index = config().open(schema()).await.unwrap();
    let found = index.search(&Query::all().into()).await.unwrap();
    assert_eq!(found.ids(), ["new", "old"]);
    drop(index);
    disk.set_read_only(true);
    match config().open(schema()).await {
        Ok(index) => assert_eq!(index.health().await.error.unwrap().kind(), ErrorKind::PermissionDenied),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}"),
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    SmallDisk::run(4, "embedded::full_disk::the_process_on_the_small_disk");
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_that_deletes_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let folder = disk.path().join("index");
    let config = || TantivyConfig::folder(&folder).with_commit_interval(Duration::from_secs(3_600));
    let index = config().open(schema()).await.unwrap();
    let rows: Vec<_> = (0..9).map(|row| upsert(&format!("{row}"), "cholera")).collect();
    index.bulk(rows).await.unwrap().check().unwrap();
    let delete = |row: u32| Operation::Delete { id: DocumentId::new(format!("{row}")).unwrap(), version: None };
    // Behind it a log of deletes has room in its last block.
    index.bulk(vec![delete(0)]).await.unwrap().check().unwrap();
    disk.fill("filler");
    let files = || walk(&folder);
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index.bulk_with(vec![delete(1), delete(2)], queued).await.unwrap().check().unwrap();
    let mut most = 0;
    for _ in 0..10 {
        is_full(&index.refresh().await.unwrap_err());
        most = most.max(files());
    }
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    index.refresh().await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 6);
    assert!(most <= files() + 2, "what failed tries leave is removed: {most} files");
    index.close().await.unwrap();
    drop(index);
    let index = config().open(schema()).await.unwrap();
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 6);
    assert!(index.get(&DocumentId::new("1").unwrap()).await.unwrap().is_none());
}

fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[test]
fn deletes_that_could_not_be_committed_are_committed_once_there_is_room() {
    SmallDisk::run(4, "embedded::full_disk::the_process_that_deletes_on_the_small_disk");
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_that_indexes_much_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let config = TantivyConfig::folder(disk.path().join("index")).with_commit_interval(Duration::from_secs(3_600));
    let index = config.open(schema()).await.unwrap();
    index.bulk(vec![upsert("old", "cholera")]).await.unwrap().check().unwrap();
    disk.fill("filler");
    // More than a thread keeps in memory before it writes some of it.
    let mut random = crate::random::Random::new(7);
    let mut word = || format!("w{:x}", random.below(1 << 40));
    let queued = || BulkOptions::default().with_durability(Durability::Queued);
    let mut taken = 0;
    let failed = loop {
        let title = |_| (0..500).map(|_| word()).collect::<Vec<_>>().join(" ");
        let rows = (0..20).map(title).enumerate().map(|(row, title)| upsert(&format!("{}", taken + row), &title));
        let outcomes = index.bulk_with(rows.collect(), queued()).await.unwrap().outcomes;
        let failed = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        });
        let failed: Vec<_> = failed.collect();
        taken += 20 - failed.len();
        if !failed.is_empty() {
            break failed;
        }
        assert!(taken < 10_000, "nothing fails");
    };
    failed.iter().for_each(is_full);
    is_full(&index.health().await.error.unwrap());
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    index.bulk_with(vec![upsert("new", "typhoid")], queued()).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), taken as u64 + 2);
    assert_eq!(index.health().await.status, HealthStatus::Up);
}

#[test]
fn a_disk_that_is_full_while_documents_are_indexed_is_told_as_such() {
    SmallDisk::run(8, "embedded::full_disk::the_process_that_indexes_much_on_the_small_disk");
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[test]
fn the_process_that_logs_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = disk.path().join("index");
    let config = || TantivyConfig::folder(&folder).with_commit_interval(Duration::from_secs(3_600));
    let logged = || BulkOptions::default().with_durability(Durability::Logged);
    // It ends as by a crash: what was queued goes with its runtime.
    let first = runtime();
    let taken = first.block_on(async {
        let index = config().open(schema()).await.unwrap();
        index.bulk(vec![upsert("gone", "fever")]).await.unwrap().check().unwrap();
        index.bulk_with(vec![upsert("old", "cholera")], logged()).await.unwrap().check().unwrap();
        disk.fill("filler");
        let delete = Operation::Delete { id: DocumentId::new("gone").unwrap(), version: Some(5) };
        index.bulk_with(vec![delete], logged()).await.unwrap().check().unwrap();
        // The last block of the log has some room.
        let mut taken = 0_u32;
        let full = loop {
            let title = format!("typhoid {}", "w".repeat(300));
            let written = index.bulk_with(vec![upsert(&taken.to_string(), &title)], logged()).await;
            // The write fails, or the document in it, where what it is indexed by has failed before.
            if let Err(error) = written.and_then(|report| report.check()) {
                break error;
            }
            taken += 1;
            assert!(taken < 1_000, "nothing fails");
        };
        is_full(&full);
        let refused = DocumentId::new(taken.to_string()).unwrap();
        assert!(index.get(&refused).await.unwrap().is_none(), "it did not happen");
        assert!(taken == 0 || index.get(&DocumentId::new("0").unwrap()).await.unwrap().is_some());
        is_full(&index.bulk_with(vec![upsert("more", "x")], logged()).await.unwrap_err());
        is_full(&index.health().await.error.unwrap());
        taken
    });
    drop(first);
    // On the full disk it is opened, or told as full; what was acknowledged is there.
    let second = runtime();
    second.block_on(async {
        match config().open(schema()).await {
            Ok(index) => assert_holds(&index, taken).await,
            Err(error) => is_full(&error),
        }
    });
    drop(second);
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    runtime().block_on(async {
        let index = config().open(schema()).await.unwrap();
        assert_holds(&index, taken).await;
        index.bulk_with(vec![upsert("more", "x")], logged()).await.unwrap().check().unwrap();
        index.refresh().await.unwrap();
        assert_eq!(index.health().await.status, HealthStatus::Up);
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), u64::from(taken) + 2);
        index.close().await.unwrap();
    });
}

async fn assert_holds(index: &dyn SearchIndex, taken: u32) {
    let there = async |id: &str| index.get(&DocumentId::new(id).unwrap()).await.unwrap().is_some();
    assert!(there("old").await && !there("gone").await);
    for row in 0..taken {
        assert!(there(&row.to_string()).await, "{row} of {taken}");
    }
    assert!(!there(&taken.to_string()).await);
}

#[test]
fn what_was_logged_on_a_disk_that_is_full_is_there_behind_a_crash() {
    SmallDisk::run(4, "embedded::full_disk::the_process_that_logs_on_the_small_disk");
}
