//! Coordination: what a call costs in round trips, beside its bare peer, and for Redis; and what is left of it in a crowd.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncCommands, Client};
use futures_util::future::join_all;
use statehouse_cache::{Caches, TypedCache};
use statehouse_coord::{
    Coordination, Guard, Rate, RateLimiter, RedisCoordStore, RedisSignals, SharedState, WithoutStore,
};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_testkit::{FaultProxy, RedisServer, Reply};

use crate::cache::{HOUR, Outcome};
use crate::harness::{Bar, Case, Harness};

/// How many operations a block of one task has.
const OPS: u32 = 1_000;

/// How many tasks there are where a call's processor time is measured: a server that sleeps between two calls begins each with
/// cold caches, and its account is of the time that passes.
const TASKS: u32 = 64;

/// How many calls the round trips are counted of.
const COUNTED: u32 = 100;

/// A server that keeps what it has acknowledged, as locks need it.
pub(crate) async fn durable() -> RedisServer {
    RedisServer::builder().arg("--appendonly", "yes").start().await
}

pub(crate) async fn client(url: &str) -> Result<RedisClient, statehouse_core::Error> {
    RedisClient::open(RedisConfig::from_url(&mut ServiceUrl::parse("bench", url)?)?).await
}

/// One replica's, over a client of its own.
pub(crate) async fn replica(url: &str, namespace: &str) -> Result<Coordination, statehouse_core::Error> {
    let (client, namespace) = (client(url).await?, Namespace::new(namespace)?);
    let store = RedisCoordStore::connect(client.clone(), &namespace).await?;
    Ok(Coordination::new(Arc::new(store)).with_signals(Arc::new(RedisSignals::new(client, &namespace)?)))
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let server = durable().await;
    round_trips(harness, &server).await?;
    fenced(harness, &server).await?;
    limits(harness, &server).await?;
    crate::coord_crowd::run(harness, &server).await?;
    crate::coord_idle::run(harness).await?;
    crates(harness)
}

/// Requests per call, as a proxy counts them.
async fn round_trips(harness: &mut Harness, server: &RedisServer) -> Outcome {
    let proxy = FaultProxy::start(server.address());
    let coord = replica(&proxy.url(&server.url()), "bench.trips").await?;
    let other = replica(&server.url(), "bench.trips").await?;
    let table: SharedState<u32> = coord.state("table");
    let sent = || {
        let counts = proxy.counts();
        ["EVALSHA", "EVAL", "GET", "SET", "ZRANGEBYLEX"].map(|name| counts.command(name)).iter().sum::<u64>()
    };
    coord.lock("warm").await?.release().await?;
    let _warm = table.update("warm", |_| 0).await?;
    for name in ["lock and release, new", "lock and release, of before", "lock and release, by turns"] {
        let mut all = 0;
        for number in 0..COUNTED {
            let lock = if name.ends_with("new") { format!("new {number}") } else { name.to_owned() };
            if name.ends_with("turns") {
                other.lock(&lock).await?.release().await?;
            }
            let before = sent();
            coord.lock(&lock).await?.release().await?;
            all += sent() - before;
        }
        harness.limited("coord", name, "round trips", per_call(all), 2.0);
    }
    let before = sent();
    for _ in 0..COUNTED {
        let _now = table.update("t1", |before| before.unwrap_or(0) + 1).await?;
    }
    harness.limited("coord", "update of shared state, alone", "round trips", per_call(sent() - before), 2.0);
    Ok(())
}

fn per_call(requests: u64) -> f64 {
    requests as f64 / f64::from(COUNTED)
}

/// A set of a cache under a lock, beside one without.
async fn fenced(harness: &mut Harness, server: &RedisServer) -> Outcome {
    let coord = replica(&server.url(), "bench.fenced").await?;
    let caches = Caches::redis(client(&server.url()).await?, &Namespace::new("bench.fenced")?);
    let cache: TypedCache<String> = caches.cache("exports").time_to_live(HOUR).open()?;
    let guard = coord.lock("export").guards(&cache).await?;
    let case = |name, bar| Case { service: "coord", name, peer: "the same, unfenced", bar, ops: OPS };
    let (ours, theirs) = (async || set(&cache, Some(&guard)).await, async || set(&cache, None).await);
    harness.compare(case("fenced set of a cache, 64 B, 1 task", Bar::Times(1.1)), ours, theirs).await;
    let mut pairs = Vec::new();
    for _ in 0..harness.rounds() {
        let fenced = server_time(server, async || set(&cache, Some(&guard)).await).await?;
        pairs.push((fenced, server_time(server, async || set(&cache, None).await).await?));
    }
    harness.paired(&case("server time of a fenced set", Bar::Times(1.4)), "us", &pairs);
    let (runs, mut pairs) = (coord.state::<u32>("runs"), Vec::new());
    let held = runs.fenced(&guard);
    for _ in 0..harness.rounds() {
        let fenced = server_time(server, async || update(&held).await).await?;
        pairs.push((fenced, server_time(server, async || update(&runs).await).await?));
    }
    harness.paired(&case("server time of a fenced update", Bar::Times(1.4)), "us", &pairs);
    Ok(guard.release().await?)
}

async fn set(cache: &TypedCache<String>, guard: Option<&Guard>) {
    for number in 0..OPS {
        let set = cache.set(number.to_string(), "7".repeat(64));
        let stored = match guard {
            Some(guard) => set.fenced(guard).await,
            None => set.await,
        };
        assert!(stored.is_ok());
    }
}

async fn update(state: &SharedState<u32>) {
    for _ in 0..OPS / 2 {
        assert!(state.update("export", |before| before.unwrap_or(0) + 1).await.is_ok());
    }
}

/// One limit for one client, who is never refused, beside an `INCR`.
async fn limits(harness: &mut Harness, server: &RedisServer) -> Outcome {
    let coord = replica(&server.url(), "bench.limits").await?;
    let rate = Rate::new(1_000_000, Duration::from_secs(1))?;
    let limiter = coord.limiter("api", rate, WithoutStore::Closed);
    let mut raw = Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let (mut pairs, mut alone, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let _warm = (check(&limiter).await, incr(&mut raw).await?);
    for _ in 0..harness.rounds() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        alone.push(server_time(server, async || ours = check(&limiter).await).await?);
        theirs.extend(incr(&mut raw).await?);
        pairs.push((percentile(&mut ours, 50), percentile(&mut theirs, 50)));
        let together = async || drop(join_all((0..TASKS).map(|_| check(&limiter))).await);
        times.push(server_time(server, together).await?);
    }
    let case = Case { service: "coord", name: "limiter, p50, 1 task", peer: "INCR", bar: Bar::Times(2.0), ops: OPS };
    harness.paired(&case, "us", &pairs);
    for (name, times) in
        [("server time of a limit, 1 task", &mut alone), ("server time of a limit, 64 tasks", &mut times)]
    {
        times.sort_by(f64::total_cmp);
        harness.limited("coord", name, "us", times[times.len() / 2], 4.0);
    }
    Ok(())
}

async fn check(limiter: &RateLimiter) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..OPS {
        let called = Instant::now();
        let decision = limiter.check("203.0.113.7").await.expect("an answer");
        times.push(micros(called.elapsed()));
        assert!(decision.is_allowed());
    }
    times
}

async fn incr(raw: &mut MultiplexedConnection) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let mut times = Vec::new();
    for _ in 0..OPS {
        let called = Instant::now();
        let _count: u64 = raw.incr("203.0.113.7", 1).await?;
        times.push(micros(called.elapsed()));
    }
    Ok(times)
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of times that there are.
pub(crate) fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// What each of the scripts that run meanwhile takes of the server's time, by its own account: microseconds per call.
async fn server_time(server: &RedisServer, meanwhile: impl AsyncFnOnce()) -> Result<f64, Box<dyn std::error::Error>> {
    let _reset = server.command(&["CONFIG", "RESETSTAT"]).await?;
    meanwhile().await;
    let Reply::Text(text) = server.command(&["INFO", "commandstats"]).await? else {
        return Err("INFO has no text".into());
    };
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).ok_or("no EVALSHA was counted")?;
    let figure = line.split(',').find_map(|part| part.strip_prefix("usec_per_call=")).ok_or("no time per call")?;
    Ok(figure.parse()?)
}

/// How many crates the facade needs, as it is by default.
fn crates(harness: &mut Harness) -> Outcome {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree =
        ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", "statehouse"];
    let output = std::process::Command::new(cargo).args(tree).args(["--manifest-path", manifest]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    // One that stands there again is marked.
    let names: std::collections::BTreeSet<_> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    harness.limited("coord", "crates of the facade's default", "crates", names.len() as f64, 60.0);
    Ok(())
}
