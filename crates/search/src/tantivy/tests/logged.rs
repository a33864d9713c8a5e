//! What is acknowledged as logged, and what is told where that cannot be.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_core::{ErrorKind, HealthStatus, Result};
use tantivy::directory::RamDirectory;

use super::super::client::{Client, Rule};
use super::super::folder::Storage;
use super::super::log::{Frame, Instead};
use super::committed::{Disk, known, open_in};
use super::{schema, upsert};
use crate::{
    BulkOptions, DocumentId, Durability, Field, Operation, Outcome, Query, Record, Refresh, Schema, SearchIndex,
    SearchIndexExt, TantivyConfig, TantivyIndex,
};

fn logged() -> BulkOptions {
    BulkOptions::default().with_durability(Durability::Logged)
}

fn queued() -> BulkOptions {
    BulkOptions::default().with_durability(Durability::Queued)
}

fn versioned(id: &str, version: u64) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with("title", format!("v{version}")).with_version(version))
}

fn delete(id: &str, version: Option<u64>) -> Operation {
    Operation::Delete { id: DocumentId::new(id).unwrap(), version }
}

/// An index that commits nothing on its own.
async fn open(folder: &Path, schema: Schema) -> Result<TantivyIndex> {
    TantivyConfig::folder(folder).with_commit_interval(Duration::from_secs(3_600)).open(schema).await
}

async fn write(index: &TantivyIndex, operations: Vec<Operation>, options: BulkOptions) -> Vec<Outcome> {
    index.bulk_with(operations, options).await.unwrap().outcomes
}

/// The folder as a crash would leave it now.
fn crashed(folder: &Path) -> tempfile::TempDir {
    loop {
        let left = tempfile::tempdir().unwrap();
        match copy(folder, left.path()) {
            Ok(()) => return left,
            // What is not needed any more goes meanwhile.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&path, &to)?;
        } else {
            std::fs::copy(path, to)?;
        }
    }
    Ok(())
}

fn sync_instead(index: &TantivyIndex, instead: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    let instead: Instead = Arc::new(instead);
    index.client().unwrap().log().unwrap().sync_instead(instead);
}

fn logs(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("000001")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut logs: Vec<_> =
        entries.map(|name| name.into_string().unwrap()).filter(|name| name.contains("log")).collect();
    logs.sort();
    logs
}

async fn version(index: &TantivyIndex, id: &str) -> Option<u64> {
    index.get(&DocumentId::new(id).unwrap()).await.unwrap().and_then(|record| record.version())
}

#[tokio::test]
async fn what_was_logged_is_there_after_a_crash_and_what_was_deleted_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let schema = || {
        let fields = Schema::builder().field(Field::text("title")).field(Field::text("hidden").not_stored());
        fields.build().unwrap()
    };
    let index = open(folder.path(), schema()).await.unwrap();
    let hidden = |id: &str| Record::new(id).unwrap().with("title", "cholera").with("hidden", "secret");
    let first = ["a", "b", "c"].map(|id| Operation::Upsert(hidden(id)));
    index.bulk(first.into()).await.unwrap().check().unwrap();
    let later = vec![Operation::Upsert(hidden("a").with_version(7)), delete("b", Some(9)), delete("never", Some(5))];
    let outcomes = write(&index, later, logged()).await;
    assert!(matches!(
        outcomes[..],
        [Outcome::Updated { version: 7 }, Outcome::Deleted { version: 9 }, Outcome::NotFound]
    ));
    let more = vec![Operation::Upsert(hidden("new")), Operation::Upsert(hidden("d")), delete("d", None)];
    write(&index, more, logged()).await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 3, "it is not committed");

    // Again and again, before a commit and behind it.
    let mut left = crashed(folder.path());
    for _ in 0..3 {
        let found = open(left.path(), schema()).await.unwrap();
        let versions = [version(&found, "a").await, version(&found, "b").await, version(&found, "new").await];
        assert_eq!(versions, [Some(7), None, Some(1)]);
        let late = vec![versioned("a", 7), versioned("b", 8), versioned("never", 5), versioned("d", 1)];
        let outcomes = write(&found, late, queued()).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stale)), "{outcomes:?}");
        left = crashed(left.path());
        drop(found);
    }
    let found = open(left.path(), schema()).await.unwrap();
    assert_eq!(logs(left.path()), ["log-000001"]);
    found.refresh().await.unwrap();
    assert_eq!(logs(left.path()), [""; 0], "a commit holds it");
    assert_eq!(found.count(&Query::matches("hidden", "secret").into()).await.unwrap(), 3);
    assert_eq!(found.count(&Query::all().into()).await.unwrap(), 3);
}

/// Whoever opens the folder need not write to it.
#[tokio::test]
async fn what_was_logged_is_committed_behind_a_crash_without_anybody_asking() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    write(&index, vec![upsert("a", "cholera")], logged()).await;
    let left = crashed(folder.path());
    let config = TantivyConfig::folder(left.path()).with_commit_interval(Duration::from_millis(5));
    let found = config.open(schema()).await.unwrap();
    let shown = async {
        while found.count(&Query::all().into()).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_was_closed_has_no_log() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..4 {
        let index = open(folder.path(), schema()).await.unwrap();
        write(&index, vec![versioned("a", 2 * round)], logged()).await;
        assert_eq!(logs(folder.path()).len(), 1);
        // What comes too late is logged, and changes nothing.
        index.refresh().await.unwrap();
        write(&index, vec![delete("gone", Some(5))], logged()).await;
        index.refresh().await.unwrap();
        let late = write(&index, vec![delete("gone", Some(3)), versioned("a", 1)], logged()).await;
        assert!(matches!(late[..], [Outcome::Stale, Outcome::Stale]), "{late:?}");
        index.close().await.unwrap();
        assert_eq!(logs(folder.path()), [""; 0]);
    }
}

/// Who is told that something newer is there takes it for durable.
#[tokio::test]
async fn what_a_logged_write_came_too_late_for_is_logged_too() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    index.bulk(vec![versioned("b", 1)]).await.unwrap().check().unwrap();
    write(&index, vec![versioned("a", 5), delete("b", Some(5)), delete("c", Some(5))], queued()).await;
    let late = write(&index, vec![versioned("a", 5), versioned("b", 4), versioned("c", 3)], logged()).await;
    assert!(matches!(late[..], [Outcome::Stale, Outcome::Stale, Outcome::Stale]), "{late:?}");
    let left = crashed(folder.path());
    let found = open(left.path(), schema()).await.unwrap();
    assert_eq!([version(&found, "a").await, version(&found, "b").await], [Some(5), None]);
    let late = write(&found, vec![versioned("b", 5), versioned("c", 5)], queued()).await;
    assert!(matches!(late[..], [Outcome::Stale, Outcome::Stale]), "{late:?}");
}

#[tokio::test]
async fn no_write_is_acknowledged_before_its_log_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    let (go_on, goes_on) = channel::<()>();
    let goes_on = Mutex::new(goes_on);
    sync_instead(&index, move || goes_on.lock().unwrap().recv().map_err(io::Error::other));
    // Those that make the file.
    (0..2).for_each(|_| go_on.send(()).unwrap());
    let handle = index.clone();
    let mut written = tokio::spawn(async move { write(&handle, vec![upsert("a", "cholera")], logged()).await });
    while version(&index, "a").await.is_none() {
        tokio::task::yield_now().await;
    }
    let early = tokio::time::timeout(Duration::from_millis(50), &mut written).await;
    assert!(early.is_err(), "it is acknowledged");
    go_on.send(()).unwrap();
    assert!(matches!(written.await.unwrap()[..], [Outcome::Created { version: 1 }]));
}

#[tokio::test]
async fn a_commit_lets_those_go_who_wait_for_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    let (syncs, (go_on, goes_on)) = (AtomicU64::new(0), channel::<()>());
    let goes_on = Mutex::new(goes_on);
    sync_instead(&index, move || {
        if syncs.fetch_add(1, Ordering::SeqCst) >= 2 {
            let _ = goes_on.lock().unwrap().recv();
        }
        Ok(())
    });
    let handle = index.clone();
    let written = tokio::spawn(async move { write(&handle, vec![upsert("a", "cholera")], logged()).await });
    while version(&index, "a").await.is_none() {
        tokio::task::yield_now().await;
    }
    index.refresh().await.unwrap();
    written.await.unwrap();
    drop(go_on);
}

/// 32 of them, on a disk that takes its time: no more than a sync for each 16, with those that make the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_wait_at_the_same_time_share_a_sync() {
    const WRITERS: u64 = 32;
    const EACH: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    sync_instead(&index, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(25));
        Ok(())
    });
    let writers = (0..WRITERS).map(|writer| {
        let index = index.clone();
        tokio::spawn(async move {
            for row in 0..EACH {
                write(&index, vec![upsert(&format!("{writer}-{row}"), "cholera")], logged()).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let syncs = syncs.load(Ordering::SeqCst);
    assert!(syncs <= WRITERS * EACH / 16, "{syncs} syncs");
    let left = crashed(folder.path());
    let found = open(left.path(), schema()).await.unwrap();
    found.refresh().await.unwrap();
    assert_eq!(found.count(&Query::all().into()).await.unwrap(), WRITERS * EACH);
}

#[tokio::test]
async fn a_sync_that_fails_leaves_in_doubt_what_the_next_commit_holds() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    let syncs = AtomicU64::new(0);
    sync_instead(&index, move || match syncs.fetch_add(1, Ordering::SeqCst) {
        3 => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    });
    write(&index, vec![upsert("a", "cholera")], logged()).await;
    let error = index.bulk_with(vec![upsert("b", "cholera")], logged()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert_eq!(version(&index, "b").await, Some(1));
    assert_eq!(index.health().await.status, HealthStatus::Degraded);
    // What a sync that failed has left is not trusted: the next write commits all before it, and begins another file.
    write(&index, vec![upsert("c", "cholera")], logged()).await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 2);
    assert_eq!(index.health().await.status, HealthStatus::Up);
    assert_eq!(logs(folder.path()), ["log-000002"]);
    write(&index, vec![upsert("d", "cholera")], logged()).await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 2);
    let left = crashed(folder.path());
    let found = open(left.path(), schema()).await.unwrap();
    found.refresh().await.unwrap();
    assert_eq!(found.count(&Query::all().into()).await.unwrap(), 4);
}

#[tokio::test]
async fn what_the_log_has_no_room_for_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    write(&index, vec![upsert("a", "cholera")], logged()).await;
    let mut frame = Frame::new();
    frame.written(1, &vec![0; (64 << 20) - 200]);
    assert!(index.client().unwrap().log().unwrap().append(frame).unwrap());
    write(&index, vec![upsert("b", &"cholera ".repeat(50))], logged()).await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 2);
    assert_eq!(logs(folder.path()), [""; 0]);
    write(&index, vec![upsert("c", "cholera")], logged()).await;
    assert_eq!((index.count(&Query::all().into()).await.unwrap(), logs(folder.path()).len()), (2, 1));
}

/// Of a file that cannot be made nothing is told, and nothing stays.
#[tokio::test]
async fn what_cannot_be_logged_did_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    write(&index, vec![versioned("a", 3)], queued()).await;
    let syncs = AtomicU64::new(0);
    sync_instead(&index, move || match syncs.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => Err(io::Error::from_raw_os_error(28)),
        _ => Ok(()),
    });
    // The file, and then the folder.
    for _ in 0..2 {
        let operations = vec![versioned("a", 9), upsert("b", "cholera"), delete("c", Some(4))];
        let error = index.bulk_with(operations, logged()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, statehouse_core::Retry::FULL), "{error:?}");
        assert_eq!([version(&index, "a").await, version(&index, "b").await], [Some(3), None]);
    }
    let outcomes = write(&index, vec![versioned("a", 9), versioned("c", 1)], logged()).await;
    assert!(matches!(outcomes[..], [Outcome::Updated { version: 9 }, Outcome::Created { version: 1 }]), "{outcomes:?}");
    index.refresh().await.unwrap();
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 2);
}

#[tokio::test]
async fn in_memory_a_logged_write_is_queued_and_one_that_searches_see_is_committed() {
    let config = TantivyConfig::memory().with_commit_interval(Duration::from_millis(5));
    let index = config.open(schema()).await.unwrap();
    write(&index, vec![upsert("a", "cholera")], logged()).await;
    assert_eq!(version(&index, "a").await, Some(1));
    let shown = async {
        while index.count(&Query::all().into()).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    write(&index, vec![upsert("a", "cholera")], logged().with_refresh(Refresh::Wait)).await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 1);
    assert_eq!(logs(folder.path()), [""; 0]);
}

fn log(client: &Client, operation: Operation) -> Outcome {
    client.bulk(vec![operation], &logged(), (&schema(), Rule::Newer)).unwrap().remove(0)
}

#[test]
fn a_log_stays_until_a_commit_holds_what_it_has() {
    let (inner, disk, folder) = (RamDirectory::create(), Arc::new(Disk::default()), tempfile::tempdir().unwrap());
    let open = || open_in(&inner, &disk, Storage::Folder(folder.path().to_owned()));
    let client = open();
    assert!(matches!(log(&client, versioned("a", 1)), Outcome::Created { version: 1 }));
    disk.before.store(true, Ordering::SeqCst);
    assert!(client.refresh().is_err());
    drop(client);
    let client = open();
    assert_eq!(known(&client, "a"), (Some(1), None));
    disk.before.store(false, Ordering::SeqCst);
    assert!(matches!(log(&client, delete("a", Some(2))), Outcome::Deleted { version: 2 }));
    client.refresh().unwrap();

    // It may be there, and so it is behind: what was logged since comes to the same.
    disk.behind.store(true, Ordering::SeqCst);
    assert!(matches!(log(&client, versioned("b", 1)), Outcome::Created { version: 1 }));
    assert!(client.refresh().is_err());
    drop(client);
    disk.behind.store(false, Ordering::SeqCst);
    let client = open();
    assert_eq!((known(&client, "a"), known(&client, "b")), ((None, Some(2)), (Some(1), None)));
    assert!(matches!(log(&client, versioned("b", 2)), Outcome::Updated { version: 2 }));
    drop(client);
    let client = open();
    client.refresh().unwrap();
    assert_eq!((known(&client, "b"), client.snapshot().searcher.num_docs()), ((Some(2), None), 1));
}

/// The process ended between the two.
#[tokio::test]
async fn what_a_commit_holds_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    for name in ["log-000001", "log-000002"] {
        write(&index, vec![upsert("a", "cholera"), upsert("b", "cholera")], logged()).await;
        let path = folder.path().join("000001").join(name);
        let log = std::fs::read(&path).unwrap();
        index.bulk(vec![delete("a", None), delete("b", None)]).await.unwrap().check().unwrap();
        assert!(!path.exists());
        let left = crashed(folder.path());
        std::fs::write(left.path().join("000001").join(name), log).unwrap();
        let found = open(left.path(), schema()).await.unwrap();
        assert_eq!([version(&found, "a").await, version(&found, "b").await], [None, None]);
        // What is logged from here on is in no file that a commit speaks of.
        write(&found, vec![upsert("c", "cholera")], logged()).await;
        let left = crashed(left.path());
        drop(found);
        let found = open(left.path(), schema()).await.unwrap();
        assert_eq!([version(&found, "a").await, version(&found, "c").await], [None, Some(1)]);
    }
}

/// Each record is whole on its own: what is short of the end is told, or what was never acknowledged.
#[tokio::test]
async fn a_damaged_log_is_corrupt_or_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), schema()).await.unwrap();
    for row in 0..12 {
        let operations = vec![upsert(&format!("{row}"), "cholera"), delete(&format!("{}", row / 2), None)];
        write(&index, operations, logged()).await;
    }
    let expected = [11_u32, 10, 9, 8, 7, 6].map(|row| row.to_string());
    let file = "000001/log-000001";
    let whole = std::fs::read(folder.path().join(file)).unwrap();
    let left = crashed(folder.path());
    let answer = async |log: &[u8]| {
        let left = crashed(left.path());
        std::fs::write(left.path().join(file), log).unwrap();
        let index = open(left.path(), schema()).await?;
        index.refresh().await?;
        assert_eq!(index.count(&Query::ids(expected.clone()).into()).await?, 6);
        assert_eq!(index.count(&Query::all().into()).await?, 6);
        index.close().await
    };
    answer(&whole).await.unwrap();
    answer(&[&whole[..], &whole[..50]].concat()).await.unwrap();
    answer(&[&whole[..], &[0; 100]].concat()).await.unwrap();
    let mut told = 0;
    for at in 0..50 {
        let at = at * whole.len() / 50;
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let mut zero = whole.clone();
        zero[at..].iter_mut().take(64).for_each(|byte| *byte = 0);
        for (what, log) in [("cut", &whole[..at]), ("flipped", &flipped), ("zero", &zero)] {
            match answer(log).await {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what} at {at}: {error:?}");
                    told += 1;
                }
            }
        }
    }
    assert!(told > 140, "{told} told");
}
