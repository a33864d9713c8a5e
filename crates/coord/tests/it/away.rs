//! What promises to wait for a store that is away: it goes on when that is back, and ends at once with what is wrong for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use statehouse_coord::{
    Coordination, Delivery, FilesConfig, FilesCoordStore, LayeredCoordStore, LayeredSignals, LockError,
    MemoryCoordStore, MemorySignals, Ran, RedisSignals, Revision, Run, Tick,
};
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Result};
use statehouse_testkit::{Direction, FaultProxy, S3Server};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::{durable_redis, open_files_at, open_redis, random_namespace, signals};

const LONG: Duration = Duration::from_secs(60);
const AWAY: Duration = Duration::from_secs(4);
const EVERY: Duration = Duration::from_millis(200);

/// Over a way that can be broken, with a server that is given up after a second or less.
async fn redis(proxy: &FaultProxy, url: &str) -> Coordination {
    redis_within("timeout=300ms&deadline=1s", proxy, url).await
}

async fn redis_within(limits: &str, proxy: &FaultProxy, url: &str) -> Coordination {
    let (url, namespace) = (format!("{}?{limits}", proxy.url(url)), random_namespace());
    let signals: RedisSignals = signals::open(&url, &namespace).await;
    Coordination::new(Arc::new(open_redis(&url, &namespace).await)).with_signals(Arc::new(signals))
}

async fn s3(proxy: &FaultProxy) -> Coordination {
    s3_within("connect_timeout=500ms&timeout=1s&retries=1", proxy).await
}

async fn s3_within(limits: &str, proxy: &FaultProxy) -> Coordination {
    let endpoint = format!("http://{}", proxy.address());
    let files = open_files_at(S3Server::shared().await, &endpoint, &format!("&{limits}")).await;
    let config = FilesConfig::default().with_longest_pause(EVERY).unwrap();
    Coordination::new(Arc::new(FilesCoordStore::new(files, &random_namespace(), config).unwrap()))
}

/// Counts the times that were done.
fn job(coord: &Coordination, name: &str) -> (tokio::task::JoinHandle<Error>, Arc<AtomicU32>) {
    let times = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&times);
    let running = coord.schedule(name, EVERY, Delivery::AtMostOnce).run(move |_: Tick| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Error>(()) }
    });
    (tokio::spawn(running), times)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

/// All that waits begins when the store has gone, but for what is scheduled, which has begun before as well.
async fn all_wait(
    coord: &Coordination,
    leases: &[Duration],
    with_permits: bool,
    go: impl FnOnce(),
    heal: impl FnOnce(),
) {
    // The store is there, and its answers may be late on a busy machine.
    let first = async { while coord.state::<u32>("feed").update("version", |_| 1).await.is_err() {} };
    timeout(LONG, first).await.unwrap();
    let (before, times) = job(coord, "before");
    until("a time", || times.load(Ordering::SeqCst) > 1).await;
    go();
    let (begun, first) = job(coord, "begun");
    let mut waiting = JoinSet::new();
    for lease in leases.iter().copied() {
        let lock = coord.lock(&format!("export-{}", lease.as_millis())).lease(lease).wait(2 * LONG);
        waiting.spawn(async move { lock.await.map(drop).map_err(|error| format!("lock {lease:?}: {error:?}")) });
    }
    for number in 0..if with_permits { 8 } else { 0 } {
        let permits = coord.permits("exports", 8).lease(Duration::from_secs(1 + number)).wait(2 * LONG);
        waiting.spawn(async move {
            match permits.acquire().await {
                Ok(Some(permit)) => permit.release().await.map_err(|error| format!("release: {error:?}")),
                other => Err(format!("permits: {other:?}")),
            }
        });
    }
    let run = coord.run_once("terminology", Revision::new(1, ""));
    waiting.spawn(async move {
        let ran = run.run(async |_: Run| Ok::<_, Error>(())).await;
        if matches!(ran, Ok(Ran::Now { .. })) { Ok(()) } else { Err(format!("{ran:?}")) }
    });
    let state = coord.state::<u32>("feed");
    waiting.spawn(async move {
        state.at_least("version", 2, 2 * LONG).await.map(drop).map_err(|error| format!("state: {error:?}"))
    });
    sleep(AWAY).await;
    if let Some(ended) = waiting.try_join_next() {
        panic!("one has ended in an outage: {ended:?}");
    }
    assert!(!before.is_finished() && !begun.is_finished(), "a schedule has ended in an outage");
    let done = times.load(Ordering::SeqCst);
    heal();
    let update = async { while coord.state::<u32>("feed").update("version", |_| 2).await.is_err() {} };
    timeout(LONG, update).await.unwrap();
    let all = async {
        while let Some(ended) = waiting.join_next().await {
            ended.unwrap().unwrap()
        }
    };
    timeout(LONG, all).await.expect("all go on when the store is back");
    until("another time", || times.load(Ordering::SeqCst) > done && first.load(Ordering::SeqCst) > 0).await;
    before.abort();
    begun.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_redis_waits_until_it_is_back_however_the_way_is_broken() {
    let server = durable_redis().await;
    let leases = [100, 1_000, 15_000].map(Duration::from_millis);
    for broken in [FaultProxy::cut, FaultProxy::black_hole] {
        let proxy = FaultProxy::start(server.address());
        let coord = redis(&proxy, &server.url()).await;
        all_wait(&coord, &leases, true, || broken(&proxy), || proxy.heal()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_s3_waits_until_it_is_back_however_the_way_is_broken() {
    let server = S3Server::shared().await;
    let leases = [6, 15].map(Duration::from_secs);
    for broken in [FaultProxy::cut, FaultProxy::black_hole] {
        let proxy = FaultProxy::start(server.address());
        let coord = s3(&proxy).await;
        all_wait(&coord, &leases, false, || broken(&proxy), || proxy.heal()).await;
    }
}

/// The server makes what is asked, and its answers are lost: whoever did not know its own lock would wait for its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_whose_answers_are_lost_for_longer_than_a_request_is_known_for_its_own() {
    let (server, proxied) = (durable_redis().await, S3Server::shared().await);
    let [one, other] = [FaultProxy::start(server.address()), FaultProxy::start(proxied.address())];
    for (coord, proxy) in [(redis(&one, &server.url()).await, &one), (s3(&other).await, &other)] {
        let _ = coord.lock("warm").wait(LONG).await.unwrap().release().await;
        proxy.black_hole_way(Direction::ToClient);
        let waiting = tokio::spawn(coord.lock("export").lease(10 * LONG).wait(LONG).into_future());
        sleep(AWAY).await;
        assert!(!waiting.is_finished(), "{waiting:?}");
        proxy.heal();
        let guard = timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
        assert!(guard.is_held());
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_for_ever_is_told_at_once_to_all_who_would_wait() {
    let server = durable_redis().await;
    let proxy = FaultProxy::start(server.address());
    let coord = redis(&proxy, &server.url()).await;
    let _ = coord.lock("warm").wait(LONG).await.unwrap().release().await;
    server.command(&["ACL", "SETUSER", "default", "-@scripting"]).await.unwrap();
    let told = async {
        let LockError::Failed(lock) = coord.lock("export").wait(2 * LONG).await.unwrap_err() else {
            panic!("it is free")
        };
        let run = coord.run_once("terminology", Revision::new(1, "")).run(async |_: Run| Ok::<_, Error>(())).await;
        let (schedule, _) = job(&coord, "refused");
        let permit = coord.permits("exports", 1).wait(2 * LONG).acquire().await;
        let state = coord.state::<u32>("feed").at_least("version", 1, 2 * LONG).await;
        [lock, run.unwrap_err(), schedule.await.unwrap(), permit.unwrap_err(), state.unwrap_err()]
    };
    for error in timeout(LONG, told).await.expect("at once") {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
}

/// That it is done is recorded when the store is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_over_while_its_store_is_away_is_not_begun_again() {
    let (server, proxied) = (durable_redis().await, S3Server::shared().await);
    let [one, other] = [FaultProxy::start(server.address()), FaultProxy::start(proxied.address())];
    for (coord, proxy) in [(redis(&one, &server.url()).await, one), (s3(&other).await, other)] {
        let (proxy, begun) = (Arc::new(proxy), AtomicU32::new(0));
        let body = async |_: Run| {
            begun.fetch_add(1, Ordering::SeqCst);
            proxy.cut();
            let proxy = Arc::clone(&proxy);
            drop(tokio::spawn(async move {
                sleep(AWAY).await;
                proxy.heal();
            }));
            Ok::<_, Error>(())
        };
        let run = coord.run_once("terminology", Revision::new(1, "")).lease(2 * LONG).run(body);
        assert_eq!(timeout(LONG, run).await.unwrap().unwrap(), Ran::Now { attempt: 1 });
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}

/// A note that is for show must not hold the work up: whoever waits for it no longer loses neither the run nor what it saves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_nobody_waits_for_any_more_is_known_for_its_own() {
    let (server, proxied) = (durable_redis().await, S3Server::shared().await);
    let [one, other] = [FaultProxy::start(server.address()), FaultProxy::start(proxied.address())];
    // Here nothing is too late but for who does not wait.
    let in_redis = redis_within("timeout=5s&deadline=30s", &one, &server.url()).await;
    let in_files = s3_within("timeout=10s&retries=1", &other).await;
    for (coord, proxy) in [(in_redis, &one), (in_files, &other)] {
        coord.lock("warm").await.unwrap().release().await.unwrap();
        let begun = AtomicU32::new(0);
        let body = async |run: Run| {
            begun.fetch_add(1, Ordering::SeqCst);
            proxy.delay(Direction::ToClient, Duration::from_millis(100));
            for part in 1..=5_u64 {
                // On its way there, on its way back, or in between.
                let patience = Duration::from_millis(30 * part);
                let _ = timeout(patience, run.progress(part, 10)).await;
                let _ = timeout(patience, run.save("early", part, 10)).await;
            }
            run.save("batch 5", 5, 10).await?;
            let _ = timeout(Duration::from_millis(20), run.progress(6, 10)).await;
            Ok::<_, Error>(())
        };
        let run = coord.run_once("terminology", Revision::new(1, "")).lease(LONG).run(body);
        assert_eq!(timeout(LONG, run).await.unwrap().unwrap(), Ran::Now { attempt: 1 });
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        let report = coord.runs().get("terminology").await.unwrap().unwrap();
        assert!([5, 6].contains(&report.status.unwrap().done));
        proxy.heal();
    }
}

/// A store that keeps to no deadline.
#[derive(Debug)]
struct Silence;

impl Layer for Silence {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        _: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_lock_of_a_store_that_says_nothing_is_told_in_time() {
    let store = LayeredCoordStore::new(Arc::new(MemoryCoordStore::new()), Silence);
    let coord = Coordination::new(Arc::new(store));
    for (wait, most) in [(0, 7), (100, 4), (10_000, 14)] {
        let begun = tokio::time::Instant::now();
        let acquired = coord.lock("export").wait(Duration::from_millis(wait)).await;
        let took = begun.elapsed();
        assert!(matches!(acquired, Err(LockError::Failed(_))), "{acquired:?}");
        assert!(took >= Duration::from_millis(wait) && took <= Duration::from_secs(most), "{wait}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_permit_of_a_store_that_says_nothing_is_told_in_time() {
    let signals = LayeredSignals::new(Arc::new(MemorySignals::new()), Silence);
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new())).with_signals(Arc::new(signals));
    for (wait, most) in [(0, 7), (100, 3), (10_000, 13)] {
        let begun = tokio::time::Instant::now();
        let acquired = coord.permits("exports", 1).wait(Duration::from_millis(wait)).acquire().await;
        let took = begun.elapsed();
        assert!(acquired.is_err(), "{acquired:?}");
        assert!(took >= Duration::from_millis(wait) && took <= Duration::from_secs(most), "{wait}: {took:?}");
    }
}
