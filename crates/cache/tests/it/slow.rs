//! Redis answers, and so slowly that loaders are faster.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use statehouse_testkit::Direction;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

const LOAD: Duration = Duration::from_millis(20);

/// Of each answer. The connector takes it for no outage, on a busy machine neither.
const DELAY: Duration = Duration::from_millis(600);

const LIMIT: Duration = Duration::from_millis(200);

/// By when it must be known, on a busy machine too.
const KNOWN: Duration = Duration::from_secs(30);

async fn behind_a_proxy() -> (FaultProxy, Caches) {
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let mut url = ServiceUrl::parse("URL", &proxy.url(&server.url())).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    (proxy, Caches::redis(client, &namespace()))
}

async fn load(cache: &TypedCache<u32>, key: String, value: u32) -> u32 {
    let load = || async move {
        sleep(LOAD).await;
        Ok::<_, io::Error>(value)
    };
    *timeout(DEADLINE, cache.get_or_load(key, load)).await.expect("an answer in time").unwrap()
}

/// Asks until it is known that the store is slow.
async fn learn(cache: &TypedCache<u32>, key: impl Fn(u32) -> String) {
    let begun = Instant::now();
    for n in 0.. {
        let asked = Instant::now();
        load(cache, key(n), 7).await;
        if asked.elapsed() < DELAY / 2 {
            return;
        }
        assert!(begun.elapsed() < KNOWN, "after {KNOWN:?} a caller still waits for a slow store");
    }
}

/// Sixteen callers load twenty keys each, and hardly any load takes as long as an answer of Redis. Without what is tested each
/// does; some may, since a machine that is busy holds up all callers at once.
async fn few_of_a_crowd_wait(cache: &TypedCache<u32>) {
    let callers = (0..16).map(|caller| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut waited = 0;
            for n in 0..20 {
                let asked = Instant::now();
                assert_eq!(load(&cache, format!("{caller} {n}"), 7).await, 7);
                waited += usize::from(asked.elapsed() >= DELAY);
            }
            waited
        })
    });
    let waited: usize = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert!(waited <= 16 * 20 / 4, "{waited} of {} waited as long as Redis takes", 16 * 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_it_is_known_that_redis_is_slow_a_read_takes_as_long_as_its_loader() {
    let (proxy, caches) = behind_a_proxy().await;
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).slow_after(LIMIT).open().unwrap();
    cache.set("hot", 1).await.unwrap();
    proxy.delay(Direction::ToClient, DELAY);
    learn(&cache, |_| "hot".to_owned()).await;
    few_of_a_crowd_wait(&cache).await;
    proxy.delay(Direction::ToClient, Duration::ZERO);
    // Fast again, it is what answers: the value of before is there, and no loader runs.
    let begun = Instant::now();
    while load(&cache, "hot".to_owned(), 8).await != 1 {
        assert!(begun.elapsed() < DEADLINE, "the store is not asked again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_slow_no_more_than_128_loads_run_at_once() {
    let (proxy, caches) = behind_a_proxy().await;
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).slow_after(LIMIT).open().unwrap();
    cache.set("hot", 1).await.unwrap();
    proxy.delay(Direction::ToClient, DELAY);
    learn(&cache, |_| "hot".to_owned()).await;
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = (0..500).map(|n| {
        let load = || async {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // However slowly they are begun.
            while most.load(Ordering::SeqCst) < 128 {
                sleep(LOAD).await;
            }
            sleep(LOAD).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, io::Error>(7)
        };
        cache.get_or_load(n.to_string(), load).into_future()
    });
    assert!(join_all(calls).await.into_iter().all(|value| *value.unwrap() == 7));
    assert_eq!(most.into_inner(), 128);
}

/// Loads these keys, of which each begins when it is known that those before are late: others say nothing.
async fn learn_of_writes(cache: &TypedCache<u32>, keys: impl Iterator<Item = String>) {
    let mut waiting = JoinSet::new();
    for key in keys.take(5) {
        let cache = cache.clone();
        waiting.spawn(async move { load(&cache, key, 7).await });
        sleep(DELAY * 2).await;
    }
    let known = timeout(PATIENCE / 2, waiting.join_all()).await;
    assert_eq!(known.expect("no more is waited for once three were late"), [7; 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_holds_writes_back_a_load_takes_as_long_as_its_loader() {
    let server = RedisServer::start().await;
    // It would wait for a write long after it must be known that none is answered.
    let subject = InRedis::new(format!("{}{PATIENT}", server.url()));
    let caches = Caches::redis(subject.client().await, &subject.namespace);
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).slow_after(LIMIT).open().unwrap();
    cache.set("hot", 1).await.unwrap();
    // As Redis does itself while it hands over to a replica. Reads are answered.
    raw(&server, &[b"CLIENT", b"PAUSE", b"120000", b"WRITE"]).await;
    let reader = cache.clone();
    let reads = tokio::spawn(async move {
        loop {
            // Over a connection on which a write is held back it takes longer.
            let _ = reader.get("hot").await;
            sleep(Duration::from_millis(5)).await;
        }
    });
    learn_of_writes(&cache, (0..).map(|n| format!("new {n}"))).await;
    few_of_a_crowd_wait(&cache).await;
    reads.abort();
    raw(&server, &[b"CLIENT", b"UNPAUSE"]).await;
    let begun = Instant::now();
    for n in 0.. {
        let key = format!("again {n}");
        load(&cache, key.clone(), 8).await;
        if load(&cache, key, 9).await == 8 {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "what is loaded is not stored again");
    }
}

/// Ever new keys that this server of a cluster has, or that others have.
fn keys(cache: &RedisCache, server: &str, is_its: bool) -> impl Iterator<Item = String> {
    let lies_there = move |key: &String| {
        let owner = cache.server_of(&CacheKey::new(key).unwrap()).expect("a server of the cluster");
        (&*owner == server) == is_its
    };
    (0..).map(|n| format!("{n}")).filter(lies_there)
}

/// Each server is known for itself, whether or not others are asked meanwhile.
async fn a_node_holds_writes_back(others_are_asked: bool) {
    let cluster = RedisCluster::start().await;
    let subject = InRedis::new(format!("{}{PATIENT}", cluster.url()));
    let caches = Caches::redis(subject.client().await, &subject.namespace);
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).slow_after(DELAY).open().unwrap();
    // The first is a primary, as the testkit makes them.
    let (inner, sick) = (subject.cache("rates").await, &cluster.nodes()[0]);
    let (mut its, mut others) = (keys(&inner, sick.address(), true), keys(&inner, sick.address(), false));
    let is_kept = async |key: String| load(&cache, key.clone(), 8).await == 8 && load(&cache, key, 9).await == 8;
    assert!(is_kept(its.next().unwrap()).await && is_kept(others.next().unwrap()).await);
    raw(sick, &[b"CLIENT", b"PAUSE", b"120000", b"WRITE"]).await;
    let ask = async {
        loop {
            if others_are_asked {
                assert!(is_kept(others.next().unwrap()).await);
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = learn_of_writes(&cache, &mut its) => {}
        () = ask => {}
    }
    let mut waited = 0;
    for _ in 0..20 {
        let asked = Instant::now();
        load(&cache, its.next().unwrap(), 7).await;
        waited += usize::from(asked.elapsed() >= DELAY);
        assert!(is_kept(others.next().unwrap()).await, "another node's is loaded without the store");
    }
    // One at a time finds out for all.
    assert!(waited <= 10, "{waited} of 20 waited for the node");
    raw(sick, &[b"CLIENT", b"UNPAUSE"]).await;
    let begun = Instant::now();
    while !is_kept(its.next().unwrap()).await {
        assert!(begun.elapsed() < DEADLINE, "what is loaded is not stored again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_holds_writes_back_is_slow_though_others_are_not() {
    a_node_holds_writes_back(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_holds_writes_back_makes_no_other_slow() {
    a_node_holds_writes_back(false).await;
}
