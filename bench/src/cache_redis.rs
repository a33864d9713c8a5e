//! The cache on Redis beside bare connections to the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncCommands, Client, Script, cmd};
use statehouse_cache::{Caches, TypedCache};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_testkit::{FaultProxy, RedisServer, Reply};

use crate::cache::{HOUR, KEYS, Outcome, keys};
use crate::harness::{Bar, Case, Harness};

/// How many operations a block has, whatever the number of tasks.
pub(crate) const OPS: u32 = 12_800;
const BATCH: usize = 100;

/// Both sides of every comparison.
#[derive(Clone)]
pub(crate) struct Sides {
    ours: TypedCache<String>,
    raw: MultiplexedConnection,
    keys: Arc<Vec<String>>,
}

fn value() -> String {
    "7".repeat(64)
}

async fn client(url: &str) -> Result<RedisClient, statehouse_core::Error> {
    RedisClient::open(RedisConfig::from_url(&mut ServiceUrl::parse("bench", url)?)?).await
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let server = RedisServer::start().await;
    let caches = Caches::redis(client(&server.url()).await?, &Namespace::new("bench")?);
    let ours = caches.cache("rates").time_to_live(HOUR).open()?;
    let raw = Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let sides = Sides { ours, raw, keys: Arc::new(keys()) };
    for key in sides.keys.iter() {
        let _version = sides.ours.set(key, value()).await?;
        let () = sides.raw.clone().set(key, value()).await?;
    }
    gets(harness, &sides).await;
    checkouts(harness, &sides, &server).await?;
    crate::cache_fred::run(harness, &sides, &server.url()).await?;
    get_many(harness, &sides).await;
    sets(harness, &sides).await;
    invalidations(harness, &sides).await;
    cold_loads(harness, &sides).await;
    round_trips(harness, &server).await?;
    server_time(harness, &sides, &server).await
}

/// Spreads a block over so many tasks. Each makes a future when it is its turn, as callers do.
pub(crate) async fn spread<F: Future<Output = ()> + Send + 'static>(
    sides: &Sides,
    tasks: usize,
    call: impl Fn(Sides, String) -> F + Clone + Send + 'static,
) {
    let each = OPS as usize / tasks;
    all((0..tasks).map(|task| {
        let (sides, call) = (sides.clone(), call.clone());
        async move {
            for i in 0..each {
                let key = sides.keys[(task * each + i).wrapping_mul(7919) % KEYS].clone();
                call(sides.clone(), key).await;
            }
        }
    }))
    .await;
}

pub(crate) async fn our_get(sides: Sides, key: String) {
    assert!(sides.ours.get(&key).await.is_ok_and(|hit| hit.is_some()));
}

async fn raw_get(mut sides: Sides, key: String) {
    let value: Vec<u8> = sides.raw.get(key).await.expect("a value");
    assert_eq!(value.len(), 64);
}

async fn gets(harness: &mut Harness, sides: &Sides) {
    let rows = [
        (1, "redis get, typed, 64 B, 1 task", 0.9),
        (8, "redis get, typed, 64 B, 8 tasks", 0.9),
        (16, "redis get, typed, 64 B, 16 tasks", 1.1),
        (32, "redis get, typed, 64 B, 32 tasks", 1.1),
        (64, "redis get, typed, 64 B, 64 tasks", 1.1),
        (256, "redis get, typed, 64 B, 256 tasks", 1.3),
    ];
    for (tasks, name, bar) in rows {
        let peer = "one multiplexed connection";
        let case = Case { service: "cache", name, peer, bar: Bar::Ratio(bar), ops: OPS };
        let ours = async || spread(sides, tasks, our_get).await;
        harness.compare(case, ours, async || spread(sides, tasks, raw_get).await).await;
    }
}

async fn checkouts(harness: &mut Harness, sides: &Sides, server: &RedisServer) -> Outcome {
    let default = deadpool_redis::PoolConfig::default().max_size;
    for (peer, size) in [("deadpool checkout, default size", default), ("deadpool checkout, 32 connections", 32)] {
        let config = deadpool_redis::Config::from_url(server.url());
        let pool = config.builder()?.max_size(size).runtime(deadpool_redis::Runtime::Tokio1).build()?;
        let name = "redis get, typed, 64 B, 256 tasks";
        let case = Case { service: "cache", name, peer, bar: Bar::Ratio(8.0), ops: OPS };
        let ours = async || spread(sides, 256, our_get).await;
        let theirs = async || {
            let pool = pool.clone();
            let get = move |_: Sides, key: String| {
                let pool = pool.clone();
                async move {
                    let mut connection = pool.get().await.expect("a connection");
                    let value: Vec<u8> = connection.get(key).await.expect("a value");
                    assert_eq!(value.len(), 64);
                }
            };
            spread(sides, 256, get).await;
        };
        harness.compare(case, ours, theirs).await;
    }
    Ok(())
}

async fn our_batch(sides: Sides, at: usize) {
    let found = sides.ours.get_many(&sides.keys[at..at + BATCH]).await.expect("an answer");
    assert!(found.iter().all(Option::is_some));
}

async fn raw_batch(mut sides: Sides, at: usize) {
    let found: Vec<Option<String>> = sides.raw.mget(&sides.keys[at..at + BATCH]).await.expect("an answer");
    assert!(found.iter().all(Option::is_some));
}

/// Spreads batches over so many tasks.
async fn batches<F: Future<Output = ()> + Send + 'static>(
    sides: &Sides,
    (tasks, each): (usize, usize),
    call: impl Fn(Sides, usize) -> F + Clone + Send + 'static,
) {
    all((0..tasks).map(|task| {
        let (sides, call) = (sides.clone(), call.clone());
        async move {
            for i in 0..each {
                call(sides.clone(), (task * each + i) * BATCH % (KEYS - BATCH)).await;
            }
        }
    }))
    .await;
}

async fn get_many(harness: &mut Harness, sides: &Sides) {
    let rows = [
        (1, 128, "redis get_many of 100, typed, 1 task"),
        (8, 16, "redis get_many of 100, typed, 8 tasks"),
        (32, 8, "redis get_many of 100, typed, 32 tasks"),
        (256, 2, "redis get_many of 100, typed, 256 tasks"),
    ];
    for (tasks, each, name) in rows {
        let ops = u32::try_from(tasks * each * BATCH).unwrap_or(OPS);
        let case = Case { service: "cache", name, peer: "one MGET", bar: Bar::Ratio(0.8), ops };
        let ours = async || batches(sides, (tasks, each), our_batch).await;
        harness.compare(case, ours, async || batches(sides, (tasks, each), raw_batch).await).await;
    }
}

async fn our_set(sides: Sides, key: String) {
    assert!(sides.ours.set(&key, value()).await.is_ok());
}

async fn raw_set(mut sides: Sides, key: String) {
    let hour = u64::try_from(HOUR.as_millis()).unwrap_or(u64::MAX);
    let () = sides.raw.pset_ex(key, value(), hour).await.expect("stored");
}

async fn sets(harness: &mut Harness, sides: &Sides) {
    let rows = [
        (1, "redis set, typed, 64 B, 1 task", 0.8),
        (8, "redis set, typed, 64 B, 8 tasks", 0.3),
        (16, "redis set, typed, 64 B, 16 tasks", 0.3),
        (32, "redis set, typed, 64 B, 32 tasks", 0.3),
        (256, "redis set, typed, 64 B, 256 tasks", 0.3),
    ];
    for (tasks, name, bar) in rows {
        let case = Case { service: "cache", name, peer: "raw SET PX", bar: Bar::Ratio(bar), ops: OPS };
        let ours = async || spread(sides, tasks, our_set).await;
        harness.compare(case, ours, async || spread(sides, tasks, raw_set).await).await;
    }
}

async fn our_invalidation(sides: Sides, key: String) {
    sides.ours.invalidate(&key).await.expect("removed");
}

async fn raw_del(mut sides: Sides, key: String) {
    let () = sides.raw.unlink(key).await.expect("removed");
}

/// Of keys that are there the first time and absent later, on both sides alike. As of a set, no bar is stated for one that
/// is invalidated: it is held to that of a set.
async fn invalidations(harness: &mut Harness, sides: &Sides) {
    let rows = [
        (1, "redis invalidate, typed, 1 task", 0.8),
        (8, "redis invalidate, typed, 8 tasks", 0.3),
        (32, "redis invalidate, typed, 32 tasks", 0.3),
        (256, "redis invalidate, typed, 256 tasks", 0.3),
    ];
    for (tasks, name, bar) in rows {
        let case = Case { service: "cache", name, peer: "raw UNLINK", bar: Bar::Ratio(bar), ops: OPS };
        let ours = async || spread(sides, tasks, our_invalidation).await;
        harness.compare(case, ours, async || spread(sides, tasks, raw_del).await).await;
    }
}

fn fresh() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("cold/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn our_cold_load(sides: Sides, _: String) {
    let load = || async { Ok::<_, std::io::Error>(value()) };
    sides.ours.get_or_load(fresh(), load).await.expect("loaded");
}

async fn raw_cold_load(sides: Sides, _: String) {
    let (mut raw, key) = (sides.raw.clone(), fresh());
    let found: Option<String> = raw.get(&key).await.expect("an answer");
    assert!(found.is_none());
    raw_set(sides, key).await;
}

async fn cold_loads(harness: &mut Harness, sides: &Sides) {
    let rows = [
        (1, "redis get_or_load, cold, 1 task", 0.5),
        (8, "redis get_or_load, cold, 8 tasks", 0.3),
        (32, "redis get_or_load, cold, 32 tasks", 0.3),
        (256, "redis get_or_load, cold, 256 tasks", 0.3),
    ];
    for (tasks, name, bar) in rows {
        let case = Case { service: "cache", name, peer: "GET and SET", bar: Bar::Ratio(bar), ops: OPS };
        let ours = async || spread(sides, tasks, our_cold_load).await;
        harness.compare(case, ours, async || spread(sides, tasks, raw_cold_load).await).await;
    }
}

/// Requests per call, as a proxy counts them.
async fn round_trips(harness: &mut Harness, server: &RedisServer) -> Outcome {
    const CALLS: u32 = 20;
    let proxy = FaultProxy::start(server.address());
    let caches = Caches::redis(client(&proxy.url(&server.url())).await?, &Namespace::new("bench.trips")?);
    let cache: TypedCache<String> = caches.cache("rates").time_to_live(HOUR).open()?;
    let load = || async { Ok::<_, std::io::Error>(value()) };
    for warm in ["a", "b"] {
        let _version = cache.set(warm, value()).await?;
        cache.invalidate(warm).await?;
        cache.get_or_load(warm, load).await?;
    }
    let count = || {
        let counts = proxy.counts();
        ["EVALSHA", "EVAL", "GET", "MGET"].map(|name| counts.command(name)).iter().sum::<u64>()
    };
    let verbs = [("round trips of an idle set", 1.0), ("round trips of an invalidation", 1.0), ("of a cold load", 2.0)];
    for (verb, (name, most)) in verbs.into_iter().enumerate() {
        let mut sent = 0;
        for n in 0..CALLS {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            let (key, before) = (format!("{n}"), count());
            match verb {
                0 => drop(cache.set(&key, value()).await.is_ok()),
                1 => cache.invalidate(&key).await?,
                _ => drop(cache.get_or_load(format!("cold {n}"), load).await?),
            }
            sent += count() - before;
        }
        let case = Case { service: "cache", name, peer: "the contract", bar: Bar::Times(1.0), ops: CALLS };
        harness.counted(&case, "", sent as f64 / f64::from(CALLS), most);
    }
    Ok(())
}

/// What a set costs the server, by its own account, beside a script that does the SET and nothing else.
async fn server_time(harness: &mut Harness, sides: &Sides, server: &RedisServer) -> Outcome {
    let bare = Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])");
    bare.prepare_invoke().load_async(&mut sides.raw.clone()).await?;
    let hash = bare.get_hash().to_owned();
    let bare_set = move |mut sides: Sides, key: String| {
        let mut call = cmd("EVALSHA");
        // As long as what a set of ours stores.
        call.arg(&hash).arg(1).arg(key).arg(format!("{:0>138}", value())).arg(3_600_000);
        async move { call.query_async::<()>(&mut sides.raw).await.expect("stored") }
    };
    let mut pairs = Vec::new();
    for _ in 0..harness.rounds() {
        let _reset = server.command(&["CONFIG", "RESETSTAT"]).await?;
        spread(sides, 16, our_set).await;
        let ours = evalsha_time(server).await?;
        let _reset = server.command(&["CONFIG", "RESETSTAT"]).await?;
        spread(sides, 16, bare_set.clone()).await;
        pairs.push((ours, evalsha_time(server).await?));
    }
    let (name, peer) = ("server time of a set, 64 B", "EVALSHA that only sets");
    let case = Case { service: "cache", name, peer, bar: Bar::Times(2.2), ops: OPS };
    harness.paired(&case, "us", &pairs);
    Ok(())
}

/// Microseconds per call.
async fn evalsha_time(server: &RedisServer) -> Result<f64, Box<dyn std::error::Error>> {
    let Reply::Text(text) = server.command(&["INFO", "commandstats"]).await? else {
        return Err("INFO has no text".into());
    };
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).ok_or("no EVALSHA was counted")?;
    let figure = line.split(',').find_map(|part| part.strip_prefix("usec_per_call=")).ok_or("no time per call")?;
    Ok(figure.parse()?)
}

/// Runs them all, each in a task of its own.
async fn all<F: Future<Output = ()> + Send + 'static>(tasks: impl Iterator<Item = F>) {
    for task in tasks.map(tokio::spawn).collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
}
