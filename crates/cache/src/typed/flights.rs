use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Error;
use tokio::sync::watch;

use crate::CacheKey;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// The loads that are under way in this process, at most one per key.
///
/// A load's result is shared with two kinds of those who waited for it. Who called before the load began takes it in any
/// case: it is no older than the call. Who called later takes it only if nothing can have invalidated it in between: it was
/// stored under a lease after the last of them had joined. Everybody else looks again, and the next load begins after
/// their call: so nobody waits for more than one load that began before.
pub(crate) struct Flights<V> {
    flights: Mutex<HashMap<CacheKey, Flight<V>>>,
    /// How many flights have begun.
    begun: AtomicU64,
}

/// When somebody called, in flights that had begun.
#[derive(Clone, Copy)]
pub(crate) struct Arrival(u64);

struct Flight<V> {
    outcome: watch::Receiver<Option<Outcome<V>>>,
    phase: Phase,
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Who joins now may share the value.
    Loading,
    /// The value is on its way to the store. Who joins now asks the store again afterwards.
    Storing,
    /// This process has begun to set or invalidate it: it is neither shared with who joins now nor stored.
    Spoiled,
}

/// How a flight ended, for those who waited.
pub(crate) enum Outcome<V> {
    /// This is the value, and nothing has invalidated it since the last of those who may share it had joined.
    Valid(Arc<V>),
    /// This is the value, and it may have been invalidated meanwhile.
    Loaded(Arc<V>),
    /// The load failed.
    Failed(Error),
    /// The store did not answer who led, who waited no longer than this for it. Who waits may be more patient, or do without it.
    Unanswered(Error, Option<Duration>),
    /// There is nothing to share: look into the store again, and load if need be.
    Again,
}

impl<V> Clone for Outcome<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Valid(value) => Self::Valid(Arc::clone(value)),
            Self::Loaded(value) => Self::Loaded(Arc::clone(value)),
            Self::Failed(error) => Self::Failed(error.clone()),
            Self::Unanswered(error, deadline) => Self::Unanswered(error.clone(), *deadline),
            Self::Again => Self::Again,
        }
    }
}

/// What to do about a key that is missing.
pub(crate) enum Enter<'a, V> {
    /// Load it.
    Lead(Leader<'a, V>),
    /// Somebody is loading it.
    Wait(Waiter<V>),
}

/// Ends the flight when dropped, so that a leader that is cancelled or panics hands over to one of the waiters.
pub(crate) struct Leader<'a, V> {
    flights: &'a Flights<V>,
    key: CacheKey,
    outcome: watch::Sender<Option<Outcome<V>>>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Held,
    Left,
}

pub(crate) struct Waiter<V> {
    outcome: watch::Receiver<Option<Outcome<V>>>,
    /// As it was when this one joined.
    phase: Phase,
    number: u64,
}

impl<V> Flights<V> {
    /// To be called before anything else is looked at.
    pub(crate) fn arrive(&self) -> Arrival {
        Arrival(self.begun.load(Ordering::SeqCst))
    }

    pub(crate) fn enter(&self, key: &CacheKey) -> Enter<'_, V> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            let Flight { outcome, phase, number } = flight;
            return Enter::Wait(Waiter { outcome: outcome.clone(), phase: *phase, number: *number });
        }
        let (outcome, receiver) = watch::channel(None);
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        flights.insert(key.clone(), Flight { outcome: receiver, phase: Phase::Loading, number });
        Enter::Lead(Leader { flights: self, key: key.clone(), outcome, place: Place::Held })
    }

    /// To be called when a set or an invalidation begins: what is being loaded is neither stored nor shared with later callers,
    /// whether or not the write reaches the store.
    pub(crate) fn spoil(&self, key: &CacheKey) {
        if let Some(flight) = self.lock().get_mut(key) {
            flight.phase = Phase::Spoiled;
        }
    }

    /// As [`spoil`](Self::spoil), for every key.
    pub(crate) fn spoil_all(&self) {
        self.lock().values_mut().for_each(|flight| flight.phase = Phase::Spoiled);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Flight<V>>> {
        // Nothing in here can panic between two changes that belong together.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process has begun to set or invalidate a value while it was loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    Unspoiled,
    Spoiled,
}

impl<V> Leader<'_, V> {
    /// To be called before the value is sent to the store.
    pub(crate) fn begin_storing(&self) -> Freshness {
        match self.flights.lock().get_mut(&self.key) {
            Some(flight) if flight.phase == Phase::Loading => {
                flight.phase = Phase::Storing;
                Freshness::Unspoiled
            }
            _ => Freshness::Spoiled,
        }
    }

    /// Leaves first, so that nobody joins a flight that has ended.
    pub(crate) fn finish(mut self, outcome: Outcome<V>) {
        self.leave();
        self.outcome.send_replace(Some(outcome));
    }

    fn leave(&mut self) {
        if self.place == Place::Held {
            self.place = Place::Left;
            self.flights.lock().remove(&self.key);
        }
    }
}

impl<V> Drop for Leader<'_, V> {
    fn drop(&mut self) {
        // The sender is dropped after this, which wakes the waiters.
        self.leave();
    }
}

/// What somebody gets who waited.
pub(crate) enum Shared<V> {
    Value(Arc<V>),
    Failed(Error),
    Unanswered(Error, Option<Duration>),
    Again,
}

impl<V> Waiter<V> {
    pub(crate) async fn outcome(mut self, arrival: Arrival) -> Shared<V> {
        let Ok(outcome) = self.outcome.wait_for(Option::is_some).await else { return Shared::Again };
        let came_before = arrival.0 < self.number;
        match outcome.as_ref() {
            Some(Outcome::Valid(value)) if came_before || self.phase == Phase::Loading => {
                Shared::Value(Arc::clone(value))
            }
            Some(Outcome::Loaded(value)) if came_before => Shared::Value(Arc::clone(value)),
            Some(Outcome::Failed(error)) => Shared::Failed(error.clone()),
            Some(Outcome::Unanswered(error, deadline)) => Shared::Unanswered(error.clone(), *deadline),
            _ => Shared::Again,
        }
    }
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { flights: Mutex::default(), begun: AtomicU64::new(0) }
    }
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
