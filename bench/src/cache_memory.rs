//! The cache in memory beside the engine that it stands on: two threads at once, and what an entry takes.

use std::sync::Arc;

use futures_util::FutureExt as _;
use statehouse_cache::{Caches, MemoryConfig, TypedCache};

use crate::cache::{HOUR, Outcome, Requests, Scans};
use crate::harness::{Bar, Case, Harness};
use crate::memory::{measured, status};

const THREADS: usize = 2;
const KEYS: u32 = 100_000;
const REQUESTS: u32 = 400_000;

/// The argument of the process that measures what entries take.
pub(crate) const ENTRIES: &str = "entries";

const HELD: u32 = 1_000_000;
const VALUE: usize = 100;

type Quick = quick_cache::sync::Cache<String, Arc<Vec<u8>>>;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    // Drawn before: what is measured is the cache.
    let mut requests = Requests::new(KEYS, Scans::None);
    let asked: Vec<_> = (0..REQUESTS).map(|_| requests.next()).collect();
    two_threads(harness, &asked, KEYS, "2 threads, zipf, 100,000 keys, room for all").await?;
    two_threads(harness, &asked, KEYS / 10, "2 threads, zipf, 100,000 keys, for a tenth").await?;
    per_entry(harness)
}

/// Each key that is asked for is read, and set if it is missing.
async fn two_threads(harness: &mut Harness, asked: &[String], room: u32, name: &'static str) -> Outcome {
    let open = Caches::memory(MemoryConfig::default()).cache("threads").time_to_live(HOUR);
    let ours: TypedCache<Vec<u8>> = open.max_entries(u64::from(room)).open()?;
    let quick = Quick::new(room as usize);
    let case = Case { service: "cache", name, peer: "quick_cache", bar: Bar::Ratio(0.8), ops: REQUESTS };
    let mine = async || {
        in_threads(asked, |key| {
            let hit = ours.get(key).now_or_never().is_some_and(|hit| hit.is_ok_and(|hit| hit.is_some()));
            if !hit {
                let set = ours.set(key, vec![7; 64]).into_future().now_or_never();
                assert!(set.is_some_and(|set| set.is_ok()));
            }
        });
    };
    let theirs = async || {
        in_threads(asked, |key| {
            if quick.get(key).is_none() {
                quick.insert(key.to_owned(), Arc::new(vec![7; 64]));
            }
        });
    };
    harness.compare(case, mine, theirs).await;
    Ok(())
}

/// Each thread asks for its share, so that together they ask for all.
fn in_threads(asked: &[String], ask: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for share in asked.chunks(asked.len().div_ceil(THREADS)) {
            scope.spawn(|| share.iter().for_each(|key| ask(key)));
        }
    });
}

/// Each in a process of its own, which is this program again.
fn per_entry(harness: &mut Harness) -> Outcome {
    let [ours, theirs] = ["ours", "quick_cache"].map(|whose| measured(&[ENTRIES, whose]));
    let (name, peer) = ("memory of an entry, 1,000,000 x 100 B", "quick_cache");
    let case = Case { service: "cache", name, peer, bar: Bar::Extra(32.0), ops: HELD };
    harness.counted(&case, "B", ours?, theirs?);
    Ok(())
}

/// What the other process does. It prints how many bytes it took for each entry.
pub(crate) async fn child(arguments: &[String]) -> Outcome {
    let before = status("VmRSS:")?;
    let (ours, quick): (TypedCache<Vec<u8>>, _);
    match arguments.first().map(String::as_str) {
        Some("ours") => {
            let open = Caches::memory(MemoryConfig::default()).cache("entries").time_to_live(HOUR);
            ours = open.max_entries(u64::from(HELD)).open()?;
            for n in 0..HELD {
                let _version = ours.set(key(n), vec![7; VALUE]).await?;
            }
        }
        _ => {
            quick = Quick::new(HELD as usize);
            (0..HELD).for_each(|n| quick.insert(key(n), Arc::new(vec![7; VALUE])));
        }
    }
    println!("{:.1}", (status("VmRSS:")? - before) * 1024.0 / f64::from(HELD));
    Ok(())
}

fn key(n: u32) -> String {
    format!("rates/{n:07}")
}
