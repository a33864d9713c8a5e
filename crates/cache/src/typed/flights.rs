use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statehouse_core::{Error, Key};
use tokio::sync::watch;

/// The loads that are under way in this process, at most one per key.
///
/// A load's result is shared with those who waited for it only if it was stored under a lease after the last of them
/// had joined: the store has then proven that nothing invalidated it between their call and its storing.
pub(crate) struct Flights<V>(Mutex<HashMap<Key, Flight<V>>>);

struct Flight<V> {
    outcome: watch::Receiver<Option<Outcome<V>>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Who joins now may share the value.
    Loading,
    /// The value is on its way to the store. Who joins now asks the store again afterwards.
    Storing,
}

/// How a flight ended, for those who waited.
pub(crate) enum Outcome<V> {
    /// This is the value.
    Shared(Arc<V>),
    /// The load failed.
    Failed(Error),
    /// There is nothing to share: look into the store again, and load if need be.
    Again,
}

impl<V> Clone for Outcome<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(value) => Self::Shared(Arc::clone(value)),
            Self::Failed(error) => Self::Failed(error.clone()),
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
    key: Key,
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
    phase: Phase,
}

impl<V> Flights<V> {
    pub(crate) fn enter(&self, key: &Key) -> Enter<'_, V> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            return Enter::Wait(Waiter { outcome: flight.outcome.clone(), phase: flight.phase });
        }
        let (outcome, receiver) = watch::channel(None);
        flights.insert(key.clone(), Flight { outcome: receiver, phase: Phase::Loading });
        Enter::Lead(Leader { flights: self, key: key.clone(), outcome, place: Place::Held })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Flight<V>>> {
        // Nothing in here can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Leader<'_, V> {
    /// To be called before the value is sent to the store.
    pub(crate) fn begin_storing(&self) {
        if let Some(flight) = self.flights.lock().get_mut(&self.key) {
            flight.phase = Phase::Storing;
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

impl<V> Waiter<V> {
    pub(crate) async fn outcome(mut self) -> Outcome<V> {
        let Ok(outcome) = self.outcome.wait_for(Option::is_some).await else { return Outcome::Again };
        match outcome.as_ref() {
            Some(Outcome::Shared(_)) if self.phase == Phase::Storing => Outcome::Again,
            Some(outcome) => outcome.clone(),
            None => Outcome::Again,
        }
    }
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
