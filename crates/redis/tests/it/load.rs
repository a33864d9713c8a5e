use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use tokio::task::JoinHandle;

/// Sixteen tasks that set keys in many slots, and sixteen that count, until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sets: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Tally>>,
}

/// What became of the operations of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Sets that succeeded.
    pub(crate) sets: u64,
    /// Sets that failed with a typed error.
    pub(crate) failed: u64,
    /// Increments that succeeded, by key.
    pub(crate) counted: HashMap<String, u64>,
    /// Increments whose outcome is unknown, by key.
    pub(crate) unknown: HashMap<String, u64>,
    pub(crate) slowest: Duration,
}

impl Load {
    pub(crate) fn start(client: &RedisClient) -> Self {
        let (stop, sets) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let spawn = |n: usize| tokio::spawn(run(client.clone(), Arc::clone(&stop), Arc::clone(&sets), n));
        let tasks = (0..32).map(spawn).collect();
        Self { stop, sets, tasks }
    }

    /// How many sets have succeeded so far.
    pub(crate) fn sets(&self) -> u64 {
        self.sets.load(Ordering::Relaxed)
    }

    pub(crate) async fn end(self, what: &str) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for task in self.tasks {
            total.add(task.await.unwrap());
        }
        let (counted, unknown): (u64, u64) = (total.counted.values().sum(), total.unknown.values().sum());
        println!(
            "{what}: {} sets and {counted} increments succeeded, {} failed with typed errors, {unknown} increments of \
             unknown outcome, slowest {:?}",
            total.sets, total.failed, total.slowest
        );
        total
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sets += other.sets;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
        self.counted.extend(other.counted);
        self.unknown.extend(other.unknown);
    }

    /// That no increment was lost and none executed twice.
    pub(crate) async fn assert_exact(&self, client: &RedisClient) {
        for (key, counted) in &self.counted {
            let found: u64 = client.query(cmd("GET").arg(key), Idempotence::Idempotent).await.unwrap();
            let most = counted + self.unknown.get(key).unwrap_or(&0);
            assert!((*counted..=most).contains(&found), "{key}: {found}, expected {counted} to {most}");
        }
    }
}

async fn run(client: RedisClient, stop: Arc<AtomicBool>, done: Arc<AtomicU64>, n: usize) -> Tally {
    let (mut tally, key) = (Tally::default(), format!("load{n}"));
    let (sets, mut counted, mut unknown) = (n < 16, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let outcome = if sets {
            client.query::<()>(cmd("SET").arg(&key).arg(tally.sets), Idempotence::Idempotent).await
        } else {
            client.query::<u64>(cmd("INCR").arg(&key), Idempotence::NotIdempotent).await.map(drop)
        };
        tally.slowest = tally.slowest.max(begun.elapsed());
        match outcome.map_err(|error| (error.kind(), error)) {
            Ok(()) if sets => {
                tally.sets += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(()) => counted += 1,
            Err((ErrorKind::OutcomeUnknown, _)) => {
                assert!(!sets, "only what must not be repeated");
                unknown += 1;
            }
            Err((ErrorKind::Unavailable | ErrorKind::Timeout, _)) => tally.failed += 1,
            Err((_, error)) => panic!("{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    if !sets {
        tally.counted.insert(key.clone(), counted);
        tally.unknown.insert(key, unknown);
    }
    tally
}
