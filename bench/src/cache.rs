use std::sync::Arc;
use std::time::Duration;

use statehouse_cache::{Caches, MemoryConfig, TypedCache};

use crate::harness::{Bar, Case, Harness};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const KEYS: usize = 10_000;
const HITS: u32 = 200_000;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    crate::cache_faults::expiry(harness).await?;
    memory(harness).await?;
    crate::cache_memory::run(harness).await?;
    hit_ratio(harness).await?;
    crate::cache_redis::run(harness).await?;
    crate::cache_faults::run(harness).await
}

pub(crate) fn keys() -> Vec<String> {
    (0..KEYS).map(|i| format!("rates/{i:06}")).collect()
}

/// 64-byte values; the keys are visited in an order that does not favour one shard or cache line.
async fn memory(harness: &mut Harness) -> Outcome {
    let keys = keys();
    let ours = Caches::memory(MemoryConfig::default()).cache::<Vec<u8>>("rates").time_to_live(HOUR).open()?;
    let quick = quick_cache::sync::Cache::<String, Arc<Vec<u8>>>::new(KEYS * 2);
    let moka =
        moka::sync::Cache::<String, Arc<Vec<u8>>>::builder().max_capacity(KEYS as u64 * 2).time_to_live(HOUR).build();
    for key in &keys {
        let value = vec![7_u8; 64];
        let _stored = ours.set(key, value.clone()).await?;
        quick.insert(key.clone(), Arc::new(value.clone()));
        moka.insert(key.clone(), Arc::new(value));
    }
    let visit = || (0..HITS as usize).map(|i| &keys[i.wrapping_mul(7919) % KEYS]);
    let mine = async || {
        for key in visit() {
            assert!(ours.get(key).await.is_ok_and(|hit| hit.is_some()));
        }
    };
    let case = |peer, bar| Case { service: "cache", name: "memory hit, typed, 64 B", peer, bar, ops: HITS };
    harness
        .compare(case("quick_cache, no expiry", Bar::Extra(25.0)), mine, async || {
            for key in visit() {
                assert!(quick.get(key.as_str()).is_some());
            }
        })
        .await;
    let theirs = async || {
        for key in visit() {
            assert!(moka.get(key.as_str()).is_some());
        }
    };
    harness.compare(case("moka::sync, time to live", Bar::Ratio(4.0)), mine, theirs).await;
    Ok(())
}

/// Which keys are asked for, as numbers up to that of the keys.
pub(crate) struct Requests {
    /// The cumulative weights of the ranks.
    ranks: Vec<f64>,
    random: u64,
    scans: Scans,
    asked: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scans {
    None,
    /// Of every ten requests one is for the next key of a scan over keys that nobody else asks for.
    OneInTen,
}

impl Requests {
    const KEYS: u32 = 1_000_000;
    const MEASURED: usize = 1_000_000;

    /// Zipf with 0.99, as YCSB has it.
    pub(crate) fn new(keys: u32, scans: Scans) -> Self {
        let mut sum = 0.0;
        let weigh = |rank| {
            sum += f64::from(rank).powf(-0.99);
            sum
        };
        Self { ranks: (1..=keys).map(weigh).collect(), random: 0x9E37_79B9_7F4A_7C15, scans, asked: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.asked += 1;
        if self.scans == Scans::OneInTen && self.asked.is_multiple_of(10) {
            return format!("scan {}", self.asked);
        }
        // xorshift64*, https://www.jstatsoft.org/article/view/v008i14
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let unit = (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64;
        let drawn = unit * self.ranks.last().copied().unwrap_or_default();
        self.ranks.partition_point(|sum| *sum < drawn).to_string()
    }
}

/// The percentage of hits once it is warm, of 10,000 entries.
async fn hits(scans: Scans, mut ask: impl AsyncFnMut(String) -> bool) -> f64 {
    let mut requests = Requests::new(Requests::KEYS, scans);
    let mut hits = 0_u32;
    for n in 0..2 * Requests::MEASURED {
        let hit = ask(requests.next()).await;
        hits += u32::from(hit && n >= Requests::MEASURED);
    }
    f64::from(hits) * 100.0 / Requests::MEASURED as f64
}

async fn hit_ratio(harness: &mut Harness) -> Outcome {
    const ENTRIES: u32 = 10_000;
    for (scans, by_set, by_load) in [
        (Scans::None, "hits, zipf, get and set", "hits, zipf, get_or_load"),
        (Scans::OneInTen, "hits, zipf and scans, get and set", "hits, zipf and scans, get_or_load"),
    ] {
        let quick = quick_cache::sync::Cache::<String, ()>::new(ENTRIES as usize);
        let theirs = hits(scans, async |key| {
            let hit = quick.get(key.as_str()).is_some();
            if !hit {
                quick.insert(key, ());
            }
            hit
        })
        .await;
        let open = || Caches::memory(MemoryConfig::default()).cache("hits").time_to_live(HOUR);
        let ours: TypedCache<()> = open().max_entries(u64::from(ENTRIES)).open()?;
        let set = hits(scans, async |key| {
            let hit = ours.get(&key).await.is_ok_and(|hit| hit.is_some());
            if !hit {
                ours.set(&key, ()).await.expect("room");
            }
            hit
        })
        .await;
        let ours: TypedCache<()> = open().max_entries(u64::from(ENTRIES)).open()?;
        let load = hits(scans, async |key| {
            let mut hit = true;
            let load = || {
                hit = false;
                std::future::ready(Ok::<_, std::io::Error>(()))
            };
            ours.get_or_load(&key, load).await.expect("loaded");
            hit
        })
        .await;
        for (name, ours) in [(by_set, set), (by_load, load)] {
            let case = Case { service: "cache", name, peer: "quick_cache", bar: Bar::Short(0.5), ops: 1 };
            harness.counted(&case, "%", ours, theirs);
        }
    }
    Ok(())
}
