//! Locks on one store from several handles, and what becomes of them when a holder, a way or a server fails.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_coord::{
    CoordStore, Coordination, FilesConfig, FilesCoordStore, Guard, LayeredCoordStore, LockError, LockKind,
    MemoryCoordStore,
};
use statehouse_core::layer::Faults;
use statehouse_core::{Clock, Error, ErrorKind, HealthStatus, Retry, SystemClock, Timestamp};
use statehouse_filestore::{LocalFileStore, MemoryFileStore};
use statehouse_testkit::{FaultProxy, RedisServer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::{durable_redis, open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn over(store: impl CoordStore) -> Coordination {
    Coordination::new(Arc::new(store))
}

fn holder(error: LockError) -> String {
    match error {
        LockError::Busy(busy) => busy.holder,
        LockError::Failed(error) => panic!("expected that it is held, got {error:?}"),
    }
}

/// Waits for a state, and says what was seen if it does not come.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LONG, "{what} did not come");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sixteen tasks on several handles take a lock again and again. At no time two have it, and every token is greater than the one
/// before.
async fn is_exclusive(handles: &[Coordination], sections: usize) {
    let (inside, tokens) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (coord, inside, tokens) = (handles[task % handles.len()].clone(), Arc::clone(&inside), Arc::clone(&tokens));
        tasks.spawn(async move {
            for _ in 0..sections {
                let guard = coord.lock("export").lease(LONG).wait(LONG).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                tokens.lock().unwrap().push(guard.token());
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let tokens = tokens.lock().unwrap();
    assert!(tokens.len() == 8 * sections && tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_has_a_lock_and_tokens_rise() {
    is_exclusive(&[over(MemoryCoordStore::new())], 20).await;
    let (server, namespace) = (durable_redis().await, random_namespace());
    let [one, other] = [open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await];
    is_exclusive(&[over(one), over(other)], 5).await;
}

#[tokio::test]
async fn who_finds_a_lock_busy_is_told_who_has_it_and_for_how_long() {
    let store = Arc::new(MemoryCoordStore::new());
    let coord = Coordination::new(store).with_label("replica 1");
    let guard = coord.lock("export").lease(LONG).await.unwrap();
    let error = coord.lock("export").await.unwrap_err();
    let LockError::Busy(busy) = &error else { panic!("{error:?}") };
    assert!(busy.holder == "replica 1" && busy.expires_in.is_some_and(|left| left <= LONG), "{busy:?}");
    let error = Error::from(error);
    assert!(error.kind() == ErrorKind::Conflict && error.is_retryable(), "{error:?}");
    drop(coord.lock("another").await.unwrap());
    assert!(guard.is_held());
    for lease in [Duration::ZERO, Duration::MAX] {
        let LockError::Failed(error) = coord.lock("x").lease(lease).await.unwrap_err() else { panic!("a lease") };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(coord.lock("a//b").await.is_err());
}

/// Of state that cannot be shared. Each of these has a connection of its own: the server knows no more of two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_what_another_owns_is_told_where_that_is_and_where_it_has_moved() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let at = async |address: &str| {
        Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await)).with_label(address)
    };
    let (one, other, router) = (at("10.0.0.1:8080").await, at("10.0.0.2:8080").await, at("router").await);
    let owner = async || {
        let locks = router.locks().await.unwrap().locks;
        locks.into_iter().map(|lock| (lock.kind, lock.name, lock.holder)).collect::<Vec<_>>()
    };
    let owned_by = |address: &str| [(LockKind::Lock, "closure/t1".to_owned(), address.to_owned())];
    let stale = one.lock("closure/t1").lease(LONG).await.unwrap();
    let _elsewhere = one.state::<u32>("lock").update("closure/t1", |_| 1).await.unwrap();
    assert_eq!(owner().await, owned_by("10.0.0.1:8080"));
    let asks = other.lock("closure/t1");
    assert_eq!(holder(asks.await.unwrap_err()), "10.0.0.1:8080");
    drop(stale);
    let moved = other.lock("closure/t1").lease(LONG).wait(LONG).await.unwrap();
    assert_eq!(owner().await, owned_by("10.0.0.2:8080"));
    moved.release().await.unwrap();
    assert_eq!(owner().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_given_back_when_its_guard_is_dropped_and_by_who_stopped_waiting() {
    let coord = over(MemoryCoordStore::new());
    let guard = coord.lock("export").lease(LONG).await.unwrap();
    for _ in 0..20 {
        let waiting = coord.lock("export").lease(LONG).wait(LONG);
        assert!(timeout(Duration::from_millis(1), waiting.into_future()).await.is_err());
    }
    drop(guard);
    drop(coord.lock("export").lease(LONG).wait(LONG).await.unwrap());
    let guard = coord.lock("export").lease(LONG).wait(LONG).await.unwrap();
    guard.release().await.unwrap();
    drop(coord.lock("export").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_acquiring_renewing_and_releasing_leave_no_lock_behind() {
    let store = Arc::new(MemoryCoordStore::new());
    let sound = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    for seed in 0..12 {
        let faults = Faults::seeded(seed).with_lost_answers(0.4);
        let faulty = over(LayeredCoordStore::new(Arc::clone(&store) as Arc<dyn CoordStore>, faults));
        let guard = faulty.lock("export").lease(Duration::from_millis(300)).wait(LONG).await.unwrap();
        sleep(Duration::from_millis(150)).await;
        // By its lease, if the answers of all tries were lost.
        let _ = guard.release().await;
        sound.lock("export").wait(LONG).await.unwrap().release().await.unwrap();
    }
}

/// Counts what is done under a lock.
async fn work(steps: &AtomicU64) -> Result<(), Error> {
    loop {
        steps.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_cut_off_steps_down_at_its_deadline_before_another_has_the_lock() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let far = over(open_redis(&format!("{}?timeout=2s&deadline=4s", proxy.url(&server.url())), &namespace).await);
    let near = over(open_redis(&server.url(), &namespace).await);
    let guard = far.lock("export").lease(5 * SECOND).await.unwrap();
    let token = guard.token();
    // Longer than a lease: it is renewed.
    sleep(6 * SECOND).await;
    assert!(guard.is_held());
    assert!(!holder(near.lock("export").await.unwrap_err()).is_empty());
    let steps = Arc::new(AtomicU64::new(0));
    let working = tokio::spawn({
        let steps = Arc::clone(&steps);
        async move {
            let done = guard.run(work(&steps)).await;
            (done, guard)
        }
    });
    until("work", async || steps.load(Ordering::SeqCst) > 0).await;
    proxy.black_hole();
    let next = near.lock("export").lease(LONG).wait(LONG).await.unwrap();
    assert!(next.token() > token);
    let (done, guard) = timeout(LONG, working).await.unwrap().unwrap();
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!guard.is_held() && guard.expires_in().is_zero());
    timeout(LONG, guard.lost()).await.unwrap();
    let steps_then = steps.load(Ordering::SeqCst);
    proxy.heal();
    // What the first one had sent comes too late, whatever becomes of giving it back.
    let _ = guard.release().await;
    assert_eq!(steps.load(Ordering::SeqCst), steps_then);
    assert!(next.is_held());
    // As soon as its store answers again.
    until("who has it", async || matches!(far.lock("export").await, Err(LockError::Busy(_)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_paused_does_nothing_more_when_it_goes_on() {
    let store = Arc::new(MemoryCoordStore::new());
    let coord = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let (paused, after) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (has_next, go_on) = std::sync::mpsc::channel::<()>();
    // A process that is stopped: neither its work nor its renewals go on.
    let process = std::thread::spawn({
        let (coord, paused, after) = (coord.clone(), Arc::clone(&paused), Arc::clone(&after));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let guard = coord.lock("export").lease(Duration::from_millis(200)).await.unwrap();
                let body = async {
                    paused.store(1, Ordering::SeqCst);
                    go_on.recv().unwrap();
                    sleep(Duration::from_millis(1)).await;
                    after.store(1, Ordering::SeqCst);
                    Ok::<_, Error>(())
                };
                guard.run(body).await.unwrap_err().kind()
            })
        }
    });
    until("the pause", async || paused.load(Ordering::SeqCst) == 1).await;
    let next = coord.lock("export").lease(LONG).wait(LONG).await.unwrap();
    has_next.send(()).unwrap();
    let kind = tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
    assert_eq!((kind, after.load(Ordering::SeqCst)), (ErrorKind::Conflict, 0));
    assert!(next.is_held());
}

/// A host whose clock is off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skewed(pub(crate) i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock::default().now().as_micros().saturating_add_signed(self.0 * 60_000_000))
    }

    fn elapsed(&self) -> Duration {
        SystemClock::default().elapsed()
    }
}

/// The lock of a process that ends without giving it back.
fn killed(coord: &Coordination, lease: Duration) -> statehouse_core::Version {
    let coord = coord.clone();
    let process = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let guard = runtime.block_on(coord.lock("export").lease(lease).wait(LONG).into_future()).unwrap();
        let token = guard.token();
        std::mem::forget(guard);
        runtime.shutdown_background();
        token
    };
    std::thread::spawn(process).join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_whose_clocks_are_a_quarter_of_an_hour_off_share_locks_in_files() {
    let (files, namespace) = (Arc::new(MemoryFileStore::new()), random_namespace());
    let host = |minutes| {
        let config = FilesConfig::default().with_clock(Skewed(minutes));
        let config = config.with_longest_pause(Duration::from_millis(100)).unwrap();
        over(FilesCoordStore::new(Arc::clone(&files) as _, &namespace, config).unwrap())
    };
    let hosts = [host(15), host(-15), host(0)];
    let mut tokens = Vec::new();
    for round in 0..6 {
        let coord = &hosts[round % 3];
        if round == 3 {
            let begun = Instant::now();
            tokens.push(killed(coord, SECOND));
            // It lives for its lease at least, whatever the clocks say.
            let guard = hosts[1].lock("export").lease(LONG).wait(LONG).await.unwrap();
            assert!(begun.elapsed() >= SECOND, "{:?}", begun.elapsed());
            tokens.push(guard.token());
            guard.release().await.unwrap();
        }
        let guard: Guard = coord.lock("export").lease(LONG).wait(LONG).await.unwrap();
        assert!(!holder(hosts[(round + 1) % 3].lock("export").await.unwrap_err()).is_empty());
        tokens.push(guard.token());
        guard.release().await.unwrap();
    }
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_rises_when_the_application_is_moved_to_another_kind_of_store() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let files = FilesCoordStore::new(Arc::new(MemoryFileStore::new()), &namespace, FilesConfig::default()).unwrap();
    let stores = [over(MemoryCoordStore::new()), over(files), over(open_redis(&server.url(), &namespace).await)];
    let mut last = None;
    for coord in stores.iter().chain(stores.iter().rev()) {
        let guard = coord.lock("export").wait(LONG).await.unwrap();
        assert!(Some(guard.token()) > last, "{:?} after {last:?} on {coord:?}", guard.token());
        last = Some(guard.token());
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_is_refused_by_what_it_lacks() {
    let server = RedisServer::start().await;
    let coord = over(open_redis(&server.url(), &random_namespace()).await);
    let LockError::Failed(error) = coord.lock("export").await.unwrap_err() else { panic!("it is free") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("appendonly yes, maxmemory-policy noeviction"), "{error}");
    let error = coord.state::<u8>("s").update("k", |_| 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// What an administrator changes while replicas run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_told_to_forget_gives_no_more_locks_until_it_is_mended() {
    // One without a limit evicts nothing, whatever its policy is.
    let server = RedisServer::builder().arg("--appendonly", "yes").arg("--maxmemory", "1gb").start().await;
    let store = Arc::new(open_redis(&server.url(), &random_namespace()).await);
    let coord = Coordination::new(Arc::<statehouse_coord::RedisCoordStore>::clone(&store));
    for (setting, forgets, keeps) in
        [("appendonly", "no", "yes"), ("maxmemory-policy", "allkeys-lru", "noeviction"), ("appendonly", "no", "yes")]
    {
        coord.lock("export").await.unwrap().release().await.unwrap();
        let held = coord.lock("held").lease(SECOND).await.unwrap();
        server.command(&["CONFIG", "SET", setting, forgets]).await.unwrap();
        let health = store.health().await;
        assert_eq!(health.status, HealthStatus::Degraded, "{setting}: {health:?}");
        assert_eq!(health.error.unwrap().kind(), ErrorKind::InvalidConfig);
        let LockError::Failed(error) = coord.lock("export").await.unwrap_err() else { panic!("it is free") };
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        // Who has one keeps it, for nothing has been forgotten yet.
        sleep(2 * SECOND).await;
        assert!(held.is_held(), "{setting}");
        held.release().await.unwrap();
        server.command(&["CONFIG", "SET", setting, keeps]).await.unwrap();
        until("what keeps again", async || store.health().await.status == HealthStatus::Up).await;
    }
}

/// Whoever removes a folder frees none of the locks in it: that they are missing is not known.
#[tokio::test]
async fn in_a_folder_that_is_gone_no_lock_is_free() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("files");
    let files = LocalFileStore::open(&root).await.unwrap();
    let store = FilesCoordStore::new(Arc::new(files), &random_namespace(), FilesConfig::default()).unwrap();
    let coord = over(store);
    let guard = coord.lock("export").lease(LONG).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    for name in ["export", "another"] {
        let LockError::Failed(error) = coord.lock(name).await.unwrap_err() else { panic!("{name} is held") };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::DISK_FAILED), "{name}: {error:?}");
    }
    drop(guard);
}

/// Work that notices at its own pace that its lock is lost: nobody else may have it until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_program_a_lock_is_free_once_its_holder_has_stopped_and_none_is_acquired_any_more() {
    let store = Arc::new(MemoryCoordStore::new());
    let replica = || Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let (one, other) = (replica(), replica());
    let guard = one.lock("export").lease(LONG).await.unwrap();
    let slow = one.lock("slow").lease(LONG).await.unwrap();
    let waiting = tokio::spawn(one.lock("export").wait(LONG).into_future());
    sleep(Duration::from_millis(20)).await;
    let working = Arc::new(AtomicUsize::new(1));
    let worker = tokio::spawn({
        let working = Arc::clone(&working);
        async move {
            guard.lost().await;
            assert!(!guard.is_held());
            sleep(Duration::from_millis(200)).await;
            working.store(0, Ordering::SeqCst);
        }
    });
    let next = tokio::spawn(other.lock("export").lease(LONG).wait(LONG).into_future());
    timeout(LONG, one.close()).await.unwrap();
    let next = timeout(LONG, next).await.unwrap().unwrap().unwrap();
    assert_eq!(working.load(Ordering::SeqCst), 0, "two are at work");
    worker.await.unwrap();
    let LockError::Failed(error) = waiting.await.unwrap().unwrap_err() else { panic!("it waited on") };
    assert!(error.kind() == ErrorKind::Unavailable && !error.is_retryable(), "{error:?}");
    assert!(one.lock("another").await.is_err());
    // Whoever does not stop keeps the lock, until it does or its lease is over.
    assert!(!slow.is_held());
    holder(other.lock("slow").await.unwrap_err());
    slow.release().await.unwrap();
    other.lock("slow").await.unwrap().release().await.unwrap();
    next.release().await.unwrap();
}
