//! A server that is away: requests fail at once until it is back. One that is slow is not away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::policy::BreakerState;
use statehouse_core::{Error, ErrorKind, Retry};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisServer};
use tokio::task::JoinSet;

use crate::{generously, open, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

/// By when it is known that a server is away: after a second and a half, and later on a machine that is busy.
const KNOWN_BY: Duration = Duration::from_secs(30);

/// What "at once" is on a machine that is busy with other tests. Who waits for a server waits for longer, always; who is
/// only held up by this machine, now and then.
const AT_ONCE: Duration = Duration::from_millis(900);

/// How many in a hundred may be held up.
const HELD_UP: usize = 10;

/// By when a server that is back is asked again: within two seconds, and later on a machine that is busy.
const BACK_BY: Duration = Duration::from_secs(30);

async fn get(client: &RedisClient, key: &str) -> Result<Option<String>, Error> {
    client.query(cmd("GET").arg(key), YES).await
}

fn assert_away(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(matches!(error.retry(), Retry::After(_)), "{error:?}");
}

/// Eight callers, until each has asked for two seconds a server that is known to be away: how long those calls took, but for
/// the few that may be held up.
async fn callers(client: &RedisClient) -> Duration {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..8 {
        let client = client.clone();
        callers.spawn(async move {
            let (mut lasted, mut known) = (Vec::new(), None);
            while known.is_none_or(|known: Instant| known.elapsed() < Duration::from_secs(2)) {
                assert!(known.is_some() || begun.elapsed() < KNOWN_BY, "not known to be away");
                let (asked, away) = (Instant::now(), client.breaker() != BreakerState::Closed);
                let answer = match n % 2 {
                    0 => get(&client, "k").await.map(drop),
                    _ => client.query::<i64>(cmd("INCR").arg("n"), NO).await.map(drop),
                };
                if away {
                    known.get_or_insert(asked);
                    lasted.push(asked.elapsed());
                    assert_away(&answer.expect_err("nobody answers"));
                    assert_ne!(client.breaker(), BreakerState::Closed);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            lasted
        });
    }
    but_for_a_few(callers.join_all().await.concat())
}

/// The longest of these but for those that may have been held up.
fn but_for_a_few(mut lasted: Vec<Duration>) -> Duration {
    lasted.sort_unstable();
    lasted[lasted.len() - 1 - lasted.len() * HELD_UP / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_waited_for_by_nobody_once_that_is_known() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    get(&client, "k").await.unwrap();
    for round in 1..=2 {
        server.pause();
        let slowest = callers(&client).await;
        assert!(slowest < AT_ONCE, "{slowest:?}");
        let begun = Instant::now();
        let error = client.exclusive(None).await.unwrap_err();
        assert_away(&error);
        assert_away(&client.get_many(&["k", "n"]).await.unwrap_err());
        let many = client.query_many::<()>(&[cmd("SET").arg("k").arg(1).clone()], YES).await;
        assert_away(many[0].as_ref().unwrap_err());
        assert!(begun.elapsed() < AT_ONCE * 3, "{:?}", begun.elapsed());
        server.resume();
        let back = until(Duration::from_secs(30), async || get(&client, "k").await.is_ok()).await;
        println!("paused, round {round}: slowest {slowest:?} once it was known, back after {back:?}: {error}");
        assert!(back < BACK_BY, "{back:?}");
        assert_eq!((client.breaker(), client.breaker_openings()), (BreakerState::Closed, round));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_waited_for_by_nobody_once_that_is_known() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    for direction in [None, Some(Direction::ToServer), Some(Direction::ToClient)] {
        let client = open(&proxy.url(&server.url())).await.unwrap();
        get(&client, "k").await.unwrap();
        match direction {
            None => proxy.black_hole(),
            Some(direction) => proxy.black_hole_way(direction),
        }
        let slowest = callers(&client).await;
        proxy.heal();
        let back = until(Duration::from_secs(30), async || get(&client, "k").await.is_ok()).await;
        println!("black hole {direction:?}: slowest {slowest:?} once it was known, back after {back:?}");
        assert!(slowest < AT_ONCE && back < BACK_BY, "{slowest:?} {back:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_waited_for_by_nobody_once_that_is_known() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    server.kill();
    let slowest = callers(&client).await;
    server.restart().await;
    let back = until(Duration::from_secs(30), async || get(&client, "k").await.is_ok()).await;
    println!("gone: slowest {slowest:?} once it was known, back {back:?} after the restart");
    assert!(slowest < AT_ONCE && back < BACK_BY, "{slowest:?} {back:?}");
}

/// A shard without a replica is paused for good: only requests for its keys fail, and those at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_is_away_is_away_for_its_own_keys_only() {
    let settings = RedisServer::builder().arg("--cluster-require-full-coverage", "no");
    let cluster = RedisCluster::start_with(settings).await;
    let client = open(&cluster.url()).await.unwrap();
    let away = cluster.primary_of("k").await.unwrap().unwrap().address().to_owned();
    let mut elsewhere = Vec::new();
    for n in 0..30 {
        let key = format!("other{n}");
        if cluster.primary_of(&key).await.unwrap().unwrap().address() != away {
            elsewhere.push(key);
        }
    }
    // With every replica gone, nobody takes the slots over.
    for node in cluster.nodes() {
        let info = node.command(&["INFO", "replication"]).await.unwrap();
        if info.text().unwrap().contains("role:slave") {
            node.kill();
        }
    }
    let node = cluster.nodes().iter().find(|node| node.address() == away).unwrap();
    node.pause();
    let (begun, mut lasted) = (Instant::now(), Vec::new());
    let others = tokio::spawn({
        let (client, elsewhere) = (client.clone(), elsewhere.clone());
        async move {
            let mut slowest = Duration::ZERO;
            while begun.elapsed() < Duration::from_secs(4) {
                for key in &elsewhere {
                    let asked = Instant::now();
                    client.query::<()>(cmd("SET").arg(key).arg("v"), YES).await.unwrap();
                    slowest = slowest.max(asked.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            slowest
        }
    });
    while begun.elapsed() < Duration::from_secs(4) || lasted.len() < 20 {
        assert!(begun.elapsed() < KNOWN_BY, "not known to be away");
        let (asked, away) = (Instant::now(), client.breaker() != BreakerState::Closed);
        let answer = get(&client, "k").await;
        if away {
            assert_away(&answer.unwrap_err());
            lasted.push(asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (others, slowest) = (others.await.unwrap(), but_for_a_few(lasted));
    println!("cluster, one node away: slowest {slowest:?} for its keys once it was known, {others:?} for the others");
    assert!(slowest < AT_ONCE && others < generously(Duration::from_secs(3)), "{slowest:?} {others:?}");
    node.resume();
    let back = until(Duration::from_secs(30), async || get(&client, "k").await.is_ok()).await;
    println!("cluster, one node away: back after {back:?}");
}

/// Slow is not away: a network with a long way, and a server that is busy most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_slow_and_answers_is_never_away() {
    let server = RedisServer::builder().arg("--enable-debug-command", "yes").start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&format!("{}?timeout=2s", proxy.url(&server.url()))).await.unwrap();
    proxy.delay(Direction::ToClient, Duration::from_millis(400));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        get(&client, "k").await.unwrap();
        assert_eq!(client.breaker(), BreakerState::Closed);
    }
    proxy.heal();
    // Not by a script that looks at the clock: on newer servers and Valkey time stands still in a script.
    let other = open(&server.url()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let blocking = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            while !done.load(Ordering::Relaxed) {
                other.query::<()>(cmd("DEBUG").arg("SLEEP").arg("0.3"), YES).await.unwrap();
            }
        }
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        get(&client, "k").await.unwrap();
        assert_eq!(client.breaker(), BreakerState::Closed);
    }
    done.store(true, Ordering::Relaxed);
    blocking.await.unwrap();
    assert_eq!(client.breaker_openings(), 0);
}

/// This process stands still for longer than a server may be silent: its timers are all due, and the answers have come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_does_not_take_its_server_for_away() {
    let server = RedisServer::start().await;
    for _ in 0..10 {
        if stands_still_beside(&server).await {
            return;
        }
    }
    panic!("this machine never resumed the server before it was away");
}

/// False if the server was away once, since this machine resumed it too late: that shows nothing.
async fn stands_still_beside(server: &RedisServer) -> bool {
    let client = open(&format!("{}?connections=1", server.url())).await.unwrap();
    let id = async || client.query::<u64>(cmd("CLIENT").arg("ID"), YES).await.unwrap();
    let before = id().await;
    for _ in 0..3 {
        // Silent for long enough to be doubted: the probe is under way when everything stops.
        let silent = Instant::now();
        server.pause();
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await }
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.resume();
        let was_away = silent.elapsed() > Duration::from_millis(900);
        let stalls = [(); 4].map(|()| tokio::spawn(async { std::thread::sleep(Duration::from_millis(1300)) }));
        for stall in stalls {
            stall.await.unwrap();
        }
        let _ = asking.await.unwrap();
        until(Duration::from_secs(30), async || get(&client, "k").await.is_ok()).await;
        if was_away {
            return false;
        }
    }
    assert_eq!(id().await, before, "the connection is the one that it was");
    assert_eq!(client.breaker_openings(), 0);
    true
}
