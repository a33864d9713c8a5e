//! Models of the loads that a cache has under way.

use std::panic::resume_unwind;
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;

use crate::sync::{AtomicU64, Ordering, PoisonError, any_of, block_on, yield_now};
use crate::typed::flights::{Enter, Flights, Freshness, Leader, Outcome, Shared};
use crate::{CacheKey, Error, ErrorKind, together};

fn key() -> CacheKey {
    CacheKey::new("key").unwrap_or_else(|error| panic!("{error}"))
}

/// Each key is loaded by one at a time, and who waits learns how that ended, whether it finished or was given up.
pub fn one_loads_and_all_learn_of_it() {
    let flights = Arc::new(Flights::<u64>::default());
    let (entered, leading) = (Arc::clone(&flights), AtomicU64::new(0));
    together(3, move || block_on(until_loaded(&entered, &leading)));
    assert!(matches!(flights.enter(&key()), Enter::Lead(_)), "nobody is left under way");
}

async fn until_loaded(flights: &Flights<u64>, leading: &AtomicU64) {
    let arrival = flights.arrive();
    for _ in 0..3 {
        match flights.enter(&key()) {
            Enter::Lead(leader) => {
                assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two load one key");
                yield_now().await;
                leading.fetch_sub(1, Ordering::SeqCst);
                match any_of(3) {
                    0 => drop(leader),
                    1 => leader.finish(Outcome::Failed(Error::new(ErrorKind::Unavailable, "away"))),
                    _ => leader.finish(Outcome::Valid(Arc::new(1))),
                }
                return;
            }
            Enter::Wait(waiter) => match waiter.outcome(arrival).await {
                Shared::Again => {}
                _ => return,
            },
        }
    }
}

/// What is cached of a source that changes: the value, and the lease under which the next one may be stored.
#[derive(Default)]
struct Store {
    value: Option<u64>,
    leases: u64,
    lease: Option<u64>,
}

/// A source, the cache of it, and what has been acknowledged of its changes.
struct Cached {
    source: AtomicU64,
    settled: AtomicU64,
    store: Mutex<Store>,
    flights: Flights<u64>,
}

impl Cached {
    fn with<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        f(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the source and then invalidates what is cached of it, as `Core::invalidate` does.
    fn write(&self) {
        let value = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.flights.spoil(&key());
        self.with(|store| (store.value, store.lease) = (None, None));
        self.settled.fetch_max(value, Ordering::SeqCst);
    }

    /// As `get_or_load` does it, with a store that sometimes does not answer.
    async fn read(&self) -> Option<u64> {
        let arrival = self.flights.arrive();
        for _ in 0..3 {
            if let Some(value) = self.with(|store| store.value) {
                return Some(value);
            }
            match self.flights.enter(&key()) {
                Enter::Lead(leader) => return Some(self.load(leader).await),
                Enter::Wait(waiter) => {
                    if let Shared::Value(value) = waiter.outcome(arrival).await {
                        return Some(*value);
                    }
                }
            }
        }
        None
    }

    async fn load(&self, leader: Leader<'_, u64>) -> u64 {
        // Without a lease, nothing is stored: the store is away.
        let lease = (any_of(3) > 0).then(|| {
            self.with(|store| {
                store.leases += 1;
                store.lease = Some(store.leases);
                store.leases
            })
        });
        let value = self.source.load(Ordering::SeqCst);
        yield_now().await;
        let fresh = leader.begin_storing() == Freshness::Unspoiled;
        let stored = fresh
            && self.with(|store| {
                let mine = lease.is_some() && store.lease == lease;
                if mine {
                    (store.value, store.lease) = (Some(value), None);
                }
                mine
            });
        let value = Arc::new(value);
        let is_valid = stored || (lease.is_none() && fresh);
        leader.finish(if is_valid { Outcome::Valid(Arc::clone(&value)) } else { Outcome::Loaded(Arc::clone(&value)) });
        *value
    }
}

/// Whoever calls after a change was acknowledged is answered with that or with a later one.
pub fn nobody_is_answered_with_what_was_before() {
    let flights = Flights::default();
    let (source, settled) = (AtomicU64::new(1), AtomicU64::new(1));
    let cached = Arc::new(Cached { source, settled, store: Mutex::default(), flights });
    let writes = Arc::clone(&cached);
    let writer = thread::spawn(move || (0..2).for_each(|_| writes.write()));
    together(3, move || {
        for _ in 0..2 {
            let settled = cached.settled.load(Ordering::SeqCst);
            let read = block_on(cached.read());
            assert!(read.is_none_or(|value| value >= settled), "{read:?} was before {settled}");
        }
    });
    writer.join().unwrap_or_else(|panic| resume_unwind(panic));
}
