//! A disk without space: a typed error, the old content, no litter, and all is well when there is space again.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::conformance::fenced::holder;
use statehouse_core::{ErrorKind, HealthStatus, Namespace, Retry};
use statehouse_filestore::{Body, Decision, DeleteOutcome, Deleted, Files, LocalFileStore, ObjectFileStore};
use statehouse_testkit::{S3Server, SmallDisk};

use crate::s3;

/// The shortest that a file may live.
const BRIEF: Duration = Duration::from_secs(1);

fn in_pieces(content: &[u8]) -> Body {
    let pieces: Vec<_> = content.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let store = LocalFileStore::open(disk.path().join("files")).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    files.put("a", "old").await.unwrap();
    let large = vec![7_u8; 3 << 20];
    for body in [in_pieces(&large), Body::from(large)] {
        let error = files.put("a", body).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
        assert_eq!(error.message(), "the disk is full");
    }
    assert_eq!(files.get("a").bytes().await.unwrap(), "old");
    // As much as there is only if the failed puts left nothing.
    files.put("b", vec![7; 1_500_000]).await.unwrap();
    files.delete("b").await.unwrap();
    files.put("a", vec![8; 1_500_000]).await.unwrap();
    every_verb_on_a_full_disk(&files, disk.path()).await;
}

/// What needs no space goes on, also in a store that is opened only now; the rest is told and changes nothing.
async fn every_verb_on_a_full_disk(files: &Files, disk: &std::path::Path) {
    let etag = files.put("small", "old").await.unwrap().etag;
    // A mark has been raised there before, and not that of who comes when the disk is full.
    files.put("brief", "x").time_to_live(BRIEF).fenced(&holder("before", 1)).await.unwrap();
    let _ = files.put("staged", "x").stage().await.unwrap();
    files.put("guarded", "x").await.unwrap();
    let full = std::fs::File::create(disk.join("others")).unwrap();
    while std::io::Write::write(&mut &full, &[7; 4096]).is_ok() {}
    let is_full = |error: statehouse_core::Error| {
        assert_eq!((error.retry(), error.message()), (Retry::FULL, "the disk is full"), "{error:?}");
    };
    let content = || vec![7_u8; 100_000];
    is_full(files.put("small", content()).await.unwrap_err());
    is_full(files.put("small", content()).if_match(&etag).await.unwrap_err());
    is_full(files.put("new/file", content()).if_absent().await.unwrap_err());
    is_full(files.copy("a", "b").await.unwrap_err());
    let again = LocalFileStore::open(disk.join("files")).await;
    let again = again.map(|store| Files::new(Arc::new(store), Namespace::new("n").unwrap()));
    let again = again.unwrap();
    for files in [files, &again] {
        assert_eq!(files.get("small").bytes().await.unwrap(), "old");
        let names: Vec<_> = files.list("").await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
        // The one that has ended may be listed until it is swept.
        let names: Vec<_> = names.into_iter().filter(|name| *name != files.key("brief").unwrap()).collect();
        assert_eq!(names, ["a", "guarded", "small"].map(|name| files.key(name).unwrap()));
        let health = files.store().health().await;
        assert_eq!(health.status, HealthStatus::Degraded, "what reads goes on: {health:?}");
        is_full(health.error.unwrap());
    }
    what_frees_space_needs_none(again).await;
    assert_eq!(files.delete("small").if_match(&etag).await.unwrap(), DeleteOutcome::Removed);
    files.delete("a").await.unwrap();
    files.put("b", vec![7; 1_000_000]).await.unwrap();
    assert!(files.store().health().await.is_up());
}

/// In a store that has written nothing since it was opened.
async fn what_frees_space_needs_none(files: Files) {
    files.store().now().await.unwrap();
    assert_eq!(files.delete("guarded").fenced(&holder("new", 1)).await.unwrap(), Deleted::Removed);
    let late = files.delete("a").fenced(&holder("new", 0)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced);
    let late = files.delete("brief").fenced(&holder("before", 0)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced);
    tokio::time::sleep(BRIEF + BRIEF / 10).await;
    let swept = files.sweep().grace(Duration::ZERO).decide(|_, _| async { Ok(Decision::Discard) }).await.unwrap();
    assert_eq!((swept.discarded, swept.expired), (1, 1));
    assert!(files.exists("a").await.unwrap());
}

#[test]
fn a_full_disk_is_told_keeps_the_old_file_and_leaves_no_litter() {
    SmallDisk::run(2, "full_disk::the_process_on_the_small_disk");
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_server_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let server = S3Server::builder().data_in(disk.path().join("data")).start().await;
    let files = s3::files(ObjectFileStore::open_s3(s3::config(&server)).await.unwrap());
    files.put("a", "old").await.unwrap();
    disk.fill("filler");
    let large = vec![7_u8; 6 << 20];
    for body in [Body::from(vec![7_u8; 100_000]), in_pieces(&large)] {
        let error = files.put("a", body).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
    }
    assert_eq!(files.get("a").bytes().await.unwrap(), "old");
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    files.put("a", vec![7_u8; 100_000]).await.unwrap();
}

#[test]
fn a_server_with_a_full_disk_is_told_and_keeps_the_old_file() {
    SmallDisk::run(4, "full_disk::the_server_on_the_small_disk");
}
