//! A server or a disk without space: nothing is stored, and what is removed or given back is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_coord::{CoordKey, CoordStore, CoordStoreExt as _, Coordination, FilesConfig, FilesCoordStore};
use statehouse_coord::{Guard, LockError, PutOptions, RemoveOutcome};
use statehouse_core::{Condition, ErrorKind, Retry, Version};
use statehouse_filestore::LocalFileStore;
use statehouse_testkit::SmallDisk;

use crate::{durable_redis, open_redis, random_namespace};

const LEASE: Duration = Duration::from_secs(600);

fn key(name: &str) -> CoordKey {
    CoordKey::new(name).unwrap()
}

/// What a store has before it has no room.
struct Before {
    version: Version,
    guard: Guard,
}

async fn fill(store: &Arc<dyn CoordStore>) -> Before {
    let version = store.put(&key("old"), Bytes::from(vec![7; 9 << 10])).await.unwrap().stored().unwrap();
    let guard = Coordination::new(Arc::clone(store)).lock("held").lease(LEASE).await.unwrap();
    Before { version, guard }
}

async fn frees(store: &Arc<dyn CoordStore>, Before { version, guard }: Before) {
    let error = store.put(&key("new"), Bytes::from(vec![7; 9 << 10])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
    assert_eq!(store.remove(&key("old"), version).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(store.get(&key("old")).await.unwrap(), None);
    assert_eq!(store.remove(&key("old"), version).await.unwrap(), RemoveOutcome::Absent);
    guard.release().await.unwrap();
}

/// What takes no more room than before is stored, as whoever renews a lock needs it; what takes more is not.
async fn renews(store: &Arc<dyn CoordStore>, before: Version) -> Version {
    let put = |len: usize, on: Version| {
        let options = PutOptions::default().with_condition(Condition::Match(on));
        async move { store.put_with(&key("old"), Bytes::from(vec![8; len]), options).await }
    };
    let error = put(9 << 11, before).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
    let renewed = put(9 << 10, before).await.unwrap().stored().unwrap();
    assert!(renewed > before, "{before} and then {renewed}");
    assert_eq!(put(9 << 10, before).await.unwrap().stored(), None, "it is another by now");
    assert_eq!(store.get(&key("old")).await.unwrap().unwrap().version, renewed);
    renewed
}

/// Once there is room again: nobody waits for what was given back, and versions rise.
async fn goes_on(store: &Arc<dyn CoordStore>, before: Version) {
    let again = store.put(&key("old"), "x").await.unwrap().stored().unwrap();
    assert!(again > before, "{before} and then {again}");
    let next = Coordination::new(Arc::clone(store)).lock("held").lease(LEASE).await;
    assert!(!matches!(next, Err(LockError::Busy { .. })), "{next:?}");
    next.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_redis_without_memory_removes_and_takes_locks_back() {
    let server = durable_redis().await;
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &random_namespace()).await);
    // The scripts are known to the server from here on: it could not take a new one.
    let warm = fill(&store).await;
    store.remove(&key("old"), warm.version).await.map(drop).unwrap();
    warm.guard.release().await.unwrap();
    let mut before = fill(&store).await;
    // Less than it has in use already, so that no buffer that is freed makes room.
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    before.version = renews(&store, before.version).await;
    let version = before.version;
    frees(&store, before).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    goes_on(&store, version).await;
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let files = LocalFileStore::open(disk.path().join("files")).await.unwrap();
    let store = FilesCoordStore::new(Arc::new(files), &random_namespace(), FilesConfig::default()).unwrap();
    let store: Arc<dyn CoordStore> = Arc::new(store);
    let before = fill(&store).await;
    let version = before.version;
    disk.fill("filler");
    frees(&store, before).await;
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    goes_on(&store, version).await;
}

#[test]
fn a_disk_without_space_removes_and_takes_locks_back() {
    SmallDisk::run(4, "full::the_process_on_the_small_disk");
}
