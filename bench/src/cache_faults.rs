//! The cache where something is wrong: a server that is gone or slow, a busy machine, large values on a slow link, and
//! entries that expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_cache::{Caches, MemoryConfig, TypedCache};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_testkit::{Direction, FaultProxy, RedisServer, thread_time};

use crate::cache::{HOUR, Outcome};
use crate::harness::{Bar, Case, Harness};

/// How long a loader takes.
const LOAD: Duration = Duration::from_millis(20);

/// From when on nobody may wait for a server that is gone.
const GONE: Duration = Duration::from_millis(1_500);

/// From when on nobody may wait for one that answers after 0.9 s: it is slow once three answers in a row were.
const SLOW: Duration = Duration::from_secs(4);

const TASKS: usize = 64;

/// How many caches of keys that expire there are, one after another.
const ROUNDS: u32 = 5;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    away(harness, "p99 of a 20 ms load, Redis stands still", GONE, |server, _| server.pause()).await?;
    let slow = |millis| {
        let delay = Duration::from_millis(millis);
        move |_: &RedisServer, proxy: &FaultProxy| proxy.delay(Direction::ToClient, delay)
    };
    away(harness, "p99 of a 20 ms load, Redis slow by 2 s", GONE, slow(2_000)).await?;
    away(harness, "p99 of a 20 ms load, Redis slow by 0.9 s", SLOW, slow(900)).await?;
    false_openings(harness).await?;
    beside_large_values(harness).await
}

async fn open(url: &str) -> Result<(RedisClient, Caches), statehouse_core::Error> {
    let mut url = ServiceUrl::parse("bench", url)?;
    let client = RedisClient::open(RedisConfig::from_url(&mut url)?).await?;
    let caches = Caches::redis(client.clone(), &Namespace::new("bench.faults")?);
    Ok((client, caches))
}

/// The p99 of loads that begin once the fault is `known` for what it is.
async fn away(
    harness: &mut Harness,
    name: &'static str,
    known: Duration,
    fault: impl Fn(&RedisServer, &FaultProxy),
) -> Outcome {
    let lasts = known + Duration::from_secs(if harness.is_quick() { 2 } else { 9 });
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let (_, caches) = open(&proxy.url(&server.url())).await?;
    let cache: TypedCache<u32> = caches.cache("away").time_to_live(HOUR).open()?;
    let _version = cache.set("warm", 1).await?;
    fault(&server, &proxy);
    let begun = Instant::now();
    let callers: Vec<_> = (0..TASKS)
        .map(|caller| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for n in 0.. {
                    let called = Instant::now();
                    let load = || async {
                        tokio::time::sleep(LOAD).await;
                        Ok::<_, std::io::Error>(7)
                    };
                    cache.get_or_load(format!("{caller} {n}"), load).await.expect("the loader's");
                    if called - begun >= known {
                        times.push(called.elapsed());
                    }
                    if begun.elapsed() > lasts {
                        break;
                    }
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await?);
    }
    harness.limited("cache", name, "ms", millis(percentile(&mut times, 99)), millis(LOAD) + 20.0);
    Ok(())
}

/// How often a server counts as away that is only asked by a process that hardly runs.
async fn false_openings(harness: &mut Harness) -> Outcome {
    let (lasts, name) = match harness.is_quick() {
        true => (Duration::from_secs(10), "false openings in 10 s at a load of 8"),
        false => (Duration::from_secs(600), "false openings in 10 min at a load of 8"),
    };
    let server = RedisServer::start().await;
    let (client, caches) = open(&server.url()).await?;
    let cache: TypedCache<u32> = caches.cache("busy").time_to_live(HOUR).open()?;
    let busy = Arc::new(AtomicBool::new(true));
    let burners: Vec<_> = (0..8)
        .map(|_| {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {})
        })
        .collect();
    let (begun, mut n) = (Instant::now(), 0_u32);
    while begun.elapsed() < lasts {
        n += 1;
        // What fails is counted by the breaker.
        let _loaded = cache.get_or_load(format!("{}", n % 1000), || async { Ok::<_, std::io::Error>(7) }).await;
    }
    busy.store(false, Ordering::Relaxed);
    for burner in burners {
        burner.join().map_err(|_| "a busy thread panicked")?;
    }
    let case = Case { service: "cache", name, peer: "the contract", bar: Bar::Extra(0.0), ops: n };
    harness.counted(&case, "", client.breaker_openings() as f64, 0.0);
    Ok(())
}

/// Small reads beside values of 16 MiB on a link of 50 MB a second.
async fn beside_large_values(harness: &mut Harness) -> Outcome {
    const LARGE: usize = 16 << 20;
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    proxy.limit(Direction::ToServer, 50_000_000);
    proxy.limit(Direction::ToClient, 50_000_000);
    let (_, caches) = open(&proxy.url(&server.url())).await?;
    let cache: TypedCache<Vec<u8>> = caches.cache("large").time_to_live(HOUR).open()?;
    let _version = cache.set("small", vec![7; 64]).await?;
    let reads = if harness.is_quick() { 200 } else { 2_000 };
    let idle = small_reads(&cache, reads).await?;
    let going = Arc::new(AtomicBool::new(true));
    let traffic = tokio::spawn({
        let (cache, going) = (cache.clone(), Arc::clone(&going));
        async move {
            while going.load(Ordering::Relaxed) {
                let _stored = cache.set("large", vec![7; LARGE]).await;
                let _found = cache.get("large").await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let beside = small_reads(&cache, reads).await?;
    going.store(false, Ordering::Relaxed);
    traffic.await?;
    let (name, peer) = ("p99 of small reads beside 16 MiB", "the same, idle");
    let case = Case { service: "cache", name, peer, bar: Bar::Times(3.0), ops: 1 };
    harness.counted(&case, "ms", millis(beside), millis(idle));
    Ok(())
}

async fn small_reads(cache: &TypedCache<Vec<u8>>, reads: usize) -> Result<Duration, statehouse_core::Error> {
    let mut times = Vec::with_capacity(reads);
    for _ in 0..reads {
        let called = Instant::now();
        let _found = cache.get("small").await?;
        times.push(called.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(percentile(&mut times, 99))
}

/// Ever new keys that live for 200 ms, with room for a gigabyte: what is held follows what is live, and no caller sweeps
/// for long. To be run first: what a process has given back before, it takes again unseen.
///
/// Each of several caches does the same work from its beginning. What the machine takes from this thread besides, which is
/// milliseconds on one that is shared, falls on another set in each: so of their longest sets the shortest counts.
pub(crate) async fn expiry(harness: &mut Harness) -> Outcome {
    let keys = if harness.is_quick() { 1_000_000_u32 } else { 10_000_000 };
    let (before, mut longest) = (resident()?, Duration::MAX);
    for _ in 0..ROUNDS {
        let config = MemoryConfig::default().with_capacity(1 << 30);
        let cache = Caches::memory(config).cache::<u64>("expiring").time_to_live(Duration::from_millis(200)).open()?;
        longest = longest.min(longest_set(&cache, keys / ROUNDS).await?);
    }
    let grown = (resident()? - before).max(0.0);
    harness.limited("cache", "memory of ever new keys that live 200 ms", "MiB", grown, 64.0);
    harness.limited("cache", "longest set among them, processor time", "ms", millis(longest), 0.2);
    Ok(())
}

async fn longest_set(cache: &TypedCache<u64>, keys: u32) -> Result<Duration, statehouse_core::Error> {
    let mut longest = Duration::ZERO;
    for n in 0..keys {
        let called = thread_time();
        let _version = cache.set(n.to_string(), u64::from(n)).await?;
        longest = longest.max(thread_time().saturating_sub(called));
    }
    Ok(longest)
}

/// What this process holds, in MiB.
fn resident() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
