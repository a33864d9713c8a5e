//! What is due at planned times, though replicas are killed between claim and end, and clocks are off.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_coord::{
    CoordStore, Coordination, Delivery, FilesConfig, FilesCoordStore, MemoryConfig, MemoryCoordStore, PutOptions, Tick,
};
use statehouse_core::{Clock as _, ErrorKind, SystemClock};
use statehouse_filestore::MemoryFileStore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::lock::Skewed;
use crate::{durable_redis, open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_millis(300);
/// So that no other time comes due.
const YEAR: Duration = PutOptions::MAX_TIME_TO_LIVE;

fn over(store: impl CoordStore) -> Coordination {
    Coordination::new(Arc::new(store))
}

/// The times that handles do, in their order, until there are so many.
async fn done_by(handles: &[Coordination], every: Duration, delivery: Delivery, count: usize) -> Vec<Tick> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut replicas = JoinSet::new();
    for coord in handles {
        let sender = sender.clone();
        let schedule = coord.schedule("cleanup", every, delivery).lease(LONG);
        replicas.spawn(schedule.run(move |tick| {
            let sent = sender.send(tick);
            async move { sent }
        }));
    }
    let mut ticks = Vec::new();
    while ticks.len() < count {
        ticks.push(timeout(LONG, receiver.recv()).await.expect("it is due").unwrap());
    }
    replicas.shutdown().await;
    ticks
}

fn are_done_once(ticks: &[Tick], every: Duration) {
    assert!(ticks.is_sorted_by(|one, next| one.planned < next.planned), "{ticks:?}");
    let every = u64::try_from(every.as_micros()).unwrap();
    assert!(ticks.iter().all(|tick| tick.planned.as_micros() % every == 0), "{ticks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_replicas_one_does_what_is_due_at_each_planned_time() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let memory = over(MemoryCoordStore::new());
    let mut redis = Vec::new();
    for _ in 0..3 {
        redis.push(over(open_redis(&server.url(), &namespace).await));
    }
    let every = Duration::from_millis(200);
    for (delivery, name) in [(Delivery::AtMostOnce, "one"), (Delivery::AtLeastOnce, "other")] {
        for handles in [&[memory.clone(), memory.clone(), memory.clone()], &redis[..]] {
            let ticks = done_by(handles, every, delivery, 6).await;
            are_done_once(&ticks, every);
            assert!(ticks.len() == 6, "{name}");
        }
    }
}

/// A replica that is stopped for ever in the middle of what is due.
fn killed(open: impl Future<Output = Coordination> + Send + 'static, every: Duration, delivery: Delivery) -> Tick {
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let tick = runtime.block_on(async move {
            let coord = open.await;
            tokio::spawn(coord.schedule("cleanup", every, delivery).lease(LEASE).run(move |tick| {
                let sent = sender.send(tick);
                async move {
                    sent.unwrap();
                    std::future::pending::<Result<(), std::fmt::Error>>().await
                }
            }));
            receiver.recv().await.unwrap()
        });
        // Nothing of it goes on, and nothing is given back.
        std::mem::forget(runtime);
        tick
    });
    process.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_done_at_least_once_is_done_by_another_when_its_replica_was_killed() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let (url, of_dead) = (server.url(), namespace.clone());
    let open = async move { over(open_redis(&url, &of_dead).await) };
    let dead = tokio::task::spawn_blocking(|| killed(open, YEAR, Delivery::AtLeastOnce)).await.unwrap();
    let coord = over(open_redis(&server.url(), &namespace).await);
    let done = done_by(std::slice::from_ref(&coord), YEAR, Delivery::AtLeastOnce, 1).await;
    assert_eq!(done[0].planned, dead.planned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_done_at_most_once_is_not_done_again_when_its_replica_was_killed() {
    let coord = over(MemoryCoordStore::new());
    let of_dead = coord.clone();
    let every = Duration::from_secs(1);
    let dead =
        tokio::task::spawn_blocking(move || killed(async { of_dead }, every, Delivery::AtMostOnce)).await.unwrap();
    let next = done_by(&[coord.clone(), coord], every, Delivery::AtMostOnce, 2).await;
    assert!(dead.planned < next[0].planned, "{dead:?} {next:?}");
    are_done_once(&next, every);

    // Nor if no other time comes.
    let coord = over(MemoryCoordStore::new());
    let of_dead = coord.clone();
    let killing = move || killed(async { of_dead }, YEAR, Delivery::AtMostOnce);
    tokio::task::spawn_blocking(killing).await.unwrap();
    let again = done_by(std::slice::from_ref(&coord), YEAR, Delivery::AtMostOnce, 1);
    assert!(timeout(5 * LEASE, again).await.is_err(), "it was done again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_fails_is_tried_again_only_where_it_is_to_be_done_at_least_once() {
    for (delivery, most) in [(Delivery::AtLeastOnce, 2), (Delivery::AtMostOnce, 1)] {
        let coord = over(MemoryCoordStore::new());
        let tries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&tries);
        let running = tokio::spawn(coord.schedule("cleanup", YEAR, delivery).run(move |tick| {
            let mut seen = seen.lock().unwrap();
            seen.push(tick.planned);
            let failed = if seen.len() == 1 { Err("the database is away") } else { Ok(()) };
            async move { failed }
        }));
        let all = async {
            while tries.lock().unwrap().len() < most {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, all).await.expect("it is tried again");
        // No more often, though there is a pause of a second between two tries.
        sleep(Duration::from_secs(3)).await;
        assert!(!running.is_finished());
        running.abort();
        let tries = tries.lock().unwrap();
        assert!(tries.len() == most && tries.iter().all(|planned| *planned == tries[0]), "{delivery:?} {tries:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_time_decides_what_is_due_and_hosts_whose_clocks_are_off_do_nothing_twice() {
    // A store that is a quarter of an hour ahead of this host.
    let store = MemoryCoordStore::with_config(MemoryConfig::default().with_clock(Skewed(15)));
    let begun = SystemClock::default().now();
    let every = Duration::from_secs(1);
    let ticks = done_by(&[over(store)], every, Delivery::AtMostOnce, 1).await;
    assert!(ticks[0].planned.since(begun) > Duration::from_secs(14 * 60), "{ticks:?}");

    let (files, namespace) = (Arc::new(MemoryFileStore::new()), random_namespace());
    let host = |minutes| {
        let config = FilesConfig::default().with_clock(Skewed(minutes));
        let config = config.with_longest_pause(Duration::from_millis(50)).unwrap();
        over(FilesCoordStore::new(Arc::clone(&files) as _, &namespace, config).unwrap())
    };
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let hosts = [host(15), host(-15), host(0)];
        let ticks = done_by(&hosts, every, delivery, 4).await;
        // The one that is behind may come first, with a time of its own.
        are_done_once(&ticks, every);
    }
}

#[tokio::test]
async fn what_came_due_while_the_body_ran_is_missed_but_for_the_last() {
    let coord = over(MemoryCoordStore::new());
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let every = Duration::from_millis(100);
    let running = tokio::spawn(coord.schedule("slow", every, Delivery::AtLeastOnce).run(move |tick| {
        let sender = sender.clone();
        async move {
            sleep(Duration::from_millis(350)).await;
            sender.send(tick)
        }
    }));
    let mut ticks = Vec::new();
    for _ in 0..3 {
        ticks.push(timeout(LONG, receiver.recv()).await.unwrap().unwrap());
    }
    are_done_once(&ticks, every);
    let gap = |pair: &[Tick]| pair[1].planned.since(pair[0].planned);
    assert!(ticks.windows(2).all(|pair| gap(pair) >= 3 * every), "{ticks:?}");
    assert!(ticks.iter().all(|tick| tick.late < every), "{ticks:?}");
    // What is wrong, and the end of the program, end it.
    coord.close().await;
    assert_eq!(timeout(LONG, running).await.unwrap().unwrap().kind(), ErrorKind::Unavailable);
    for (name, every) in [("a//b", every), ("a", Duration::from_millis(99)), ("a", Duration::MAX)] {
        let body = async |_: Tick| Ok::<_, std::fmt::Error>(());
        let error = coord.schedule(name, every, Delivery::AtMostOnce).run(body).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name} {every:?}");
    }
}
