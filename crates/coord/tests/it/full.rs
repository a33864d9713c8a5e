//! A server or a disk without space: nothing is stored, and what is removed or given back is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use statehouse_coord::{AcquireOptions, Acquired, Guard, LockError, News, PermitId, PutOptions, Rate, RemoveOutcome};
use statehouse_coord::{
    CoordKey, CoordStore, CoordStoreExt as _, Coordination, FilesConfig, FilesCoordStore, Joined, LayeredCoordStore,
};
use statehouse_coord::{RenewOptions, Renewed, Signals as _, SignalsExt as _};
use statehouse_core::layer::Layer;
use statehouse_core::{Condition, Error, ErrorKind, Result, Retry, Version};
use statehouse_filestore::LocalFileStore;
use statehouse_testkit::{RedisServer, SmallDisk};
use tokio::time::{Instant, sleep};

use crate::lock::until;
use crate::membership::{named, sees};
use crate::{durable_redis, open_redis, random_namespace, signals};

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

/// Less than it has in use already, so that no buffer that is freed makes room.
async fn is_full(server: &RedisServer, is_full: bool) {
    let most = if is_full { "100kb" } else { "0" };
    server.command(&["CONFIG", "SET", "maxmemory", most]).await.unwrap();
}

/// What is there takes no more room when it goes on; what is new has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_renews_permits_counts_on_and_tells_messages() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let signals = signals::open(&server.url(), &namespace).await;
    let (a, [id, late]) = (key("a"), [(); 2].map(|()| PermitId::generate().unwrap()));
    let (lease, rate) = (Duration::from_secs(2), Rate::new(100, Duration::from_secs(3600)).unwrap());
    let mut subscriber = signals.subscribe(std::slice::from_ref(&a)).unwrap();
    assert_eq!(subscriber.next().await, Some(News::Resync));
    signals.publish(&a, "before").await.unwrap();
    assert_eq!(signals.add(&a, 1).await.unwrap().value, 1);
    assert_eq!(signals.take(&a, rate).await.unwrap().remaining, 99);
    assert_eq!(signals.acquire_with(&a, id, AcquireOptions::new(1, lease)).await.unwrap(), Acquired::Held(1));
    is_full(&server, true).await;
    let begun = Instant::now();
    while begun.elapsed() < 2 * lease {
        assert_eq!(signals.renew_with(&a, id, RenewOptions::new(lease)).await.unwrap(), Renewed::Held);
        let other = signals.acquire_with(&a, late, AcquireOptions::new(1, lease)).await.unwrap();
        assert!(matches!(other, Acquired::Full { .. }), "{other:?}");
        sleep(lease / 4).await;
    }
    for (number, left) in [(2, 98), (3, 97)] {
        assert_eq!(signals.add(&a, 1).await.unwrap().value, number);
        assert_eq!(signals.take(&a, rate).await.unwrap().remaining, left);
        signals.publish(&a, format!("{number}")).await.unwrap();
    }
    for message in ["before", "2", "3"] {
        assert_eq!(subscriber.next().await, Some(News::Message { channel: a.clone(), message: message.into() }));
    }
    let new = key("new");
    for error in [signals.add(&new, 1).await.err(), signals.take(&new, rate).await.err()] {
        assert_eq!(error.expect("it has no room").retry(), Retry::FULL);
    }
    signals.release(&a, id).await.unwrap();
    is_full(&server, false).await;
    assert_eq!(signals.acquire_with(&a, late, AcquireOptions::new(1, lease)).await.unwrap(), Acquired::Held(1));
}

/// For longer than anybody is there without a word, and than a record is not put again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_redis_without_memory_go_on_seeing_each_other() {
    let (server, namespace, beat) = (RedisServer::start().await, random_namespace(), Duration::from_millis(200));
    let who = async || {
        let store = open_redis(&server.url(), &namespace).await;
        Coordination::new(Arc::new(store)).membership().heartbeat(beat)
    };
    let (one, other) = (who().await, who().await);
    let joined = [one.join(named("a")).await.unwrap(), other.join(named("b")).await.unwrap()];
    let ids = joined.each_ref().map(Joined::id);
    sees(&one, &ids).await;
    is_full(&server, true).await;
    // What one says of itself from now on has no room, and what it said before stands.
    joined[1].update(|info| info.build = "b".repeat(200)).unwrap();
    sleep(40 * beat).await;
    for who in [&one, &other] {
        sees(who, &ids).await;
    }
    until("they are listed", async || joined.iter().all(Joined::is_listed)).await;
    assert!(joined[0].is_told() && !joined[1].is_told());
    assert!(one.members().await.unwrap().iter().all(|member| member.info.build.len() == 1));
    is_full(&server, false).await;
    until("it is told", async || joined[1].is_told()).await;
    assert!(one.members().await.unwrap().iter().any(|member| member.info.build.len() == 200));
}

/// A way to a store that puts get lost on while this is not zero: it counts them.
#[derive(Clone, Debug, Default)]
struct Lost(Arc<AtomicU64>);

impl Layer for Lost {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let is_lost = operation == "coord.put" && self.0.load(Ordering::SeqCst) > 0;
        if is_lost {
            self.0.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "it is lost"));
        }
        work.await
    }
}

/// What it says anew is lost on its way, and then there is no room for it: what it said before stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_word_was_lost_before_there_was_no_room_goes_on() {
    let (server, namespace, beat) = (RedisServer::start().await, random_namespace(), Duration::from_millis(200));
    let other = Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await)).membership();
    let (store, lost) = (open_redis(&server.url(), &namespace).await, Lost::default());
    let store = LayeredCoordStore::new(Arc::new(store), lost.clone());
    let one = Coordination::new(Arc::new(store)).membership().heartbeat(beat);
    let joined = one.join(named("a")).await.unwrap();
    sees(&other, &[joined.id()]).await;
    lost.0.store(1, Ordering::SeqCst);
    joined.update(|info| info.build = "b".repeat(200)).unwrap();
    until("its word is lost", async || lost.0.load(Ordering::SeqCst) > 1).await;
    is_full(&server, true).await;
    lost.0.store(0, Ordering::SeqCst);
    sleep(40 * beat).await;
    sees(&other, &[joined.id()]).await;
    until("it is listed", async || joined.is_listed()).await;
    is_full(&server, false).await;
    until("it is told", async || joined.is_told()).await;
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
