//! What is held for somebody who may never come back.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Something that is let go of when it was not used for so long.
#[derive(Debug)]
pub(crate) struct Lease<T> {
    slot: Arc<Slot<T>>,
    keep_alive: Duration,
    /// For the timer, where no other runtime is entered.
    runtime: Handle,
}

type Slot<T> = Mutex<Place<T>>;

/// What is held and in no use now, since when, and what lets go of it.
#[derive(Debug)]
struct Place<T> {
    idle: Option<(Arc<T>, Instant)>,
    timer: Option<AbortHandle>,
}

impl<T: Send + Sync + 'static> Lease<T> {
    /// Holds it from now on.
    pub(crate) fn new(held: T, keep_alive: Duration) -> Self {
        let slot = Arc::new(Mutex::new(Place { idle: None, timer: None }));
        let lease = Self { slot, keep_alive, runtime: Handle::current() };
        drop(lease.used(Arc::new(held)));
        lease
    }

    /// What is held. While it is in use nothing lets go of it, and from then on it is held for as long as from the start:
    /// however the use ends.
    ///
    /// # Errors
    /// `Conflict` if it was let go of.
    pub(crate) fn get(&self) -> Result<Use<T>> {
        // The timer may be late.
        drop(expired(&self.slot, self.keep_alive));
        let (held, _) = open(&self.slot).idle.take().ok_or_else(gone)?;
        Ok(self.used(held))
    }

    fn used(&self, held: Arc<T>) -> Use<T> {
        Use { held, slot: Arc::clone(&self.slot), keep_alive: self.keep_alive, runtime: self.runtime.clone() }
    }

    /// Lets go of it.
    pub(crate) fn end(&mut self) -> Option<Arc<T>> {
        open(&self.slot).idle.take().map(|(held, _)| held)
    }
}

/// A use of what is held.
#[derive(Debug)]
pub(crate) struct Use<T: Send + Sync + 'static> {
    held: Arc<T>,
    slot: Arc<Slot<T>>,
    keep_alive: Duration,
    runtime: Handle,
}

impl<T: Send + Sync + 'static> Deref for Use<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.held
    }
}

impl<T: Send + Sync + 'static> Drop for Use<T> {
    fn drop(&mut self) {
        let (slot, keep_alive) = (Arc::downgrade(&self.slot), self.keep_alive);
        let timer = async move {
            sleep(keep_alive).await;
            // It may be in use again, or was while this one woke up.
            drop(slot.upgrade().and_then(|slot| expired(&slot, keep_alive)));
        };
        let mut place = open(&self.slot);
        place.idle = Some((Arc::clone(&self.held), Instant::now()));
        let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
        if let Some(earlier) = place.timer.replace(runtime.spawn(timer).abort_handle()) {
            earlier.abort();
        }
    }
}

fn open<T>(slot: &Slot<T>) -> MutexGuard<'_, Place<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what was not used for too long.
fn expired<T>(slot: &Slot<T>, keep_alive: Duration) -> Option<Arc<T>> {
    let expired = open(slot).idle.take_if(|(_, used)| used.elapsed() >= keep_alive);
    expired.map(|(held, _)| held)
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(timer) = open(&self.slot).timer.take() {
            timer.abort();
        }
    }
}

/// The error for a state that is no longer held.
pub(crate) fn gone() -> Error {
    let message = "the state of the index that was read is no longer held: begin anew, behind the last cursor if another state will do";
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_let_go_of_and_what_is_used_is_not() {
        let held = Arc::new(());
        let lease = Lease::new(Arc::clone(&held), Duration::from_secs(60));
        for use_of in [0, 1, 100, 0] {
            sleep(Duration::from_secs(50)).await;
            let used = lease.get().unwrap();
            // Perhaps for longer than it is held, and whatever comes of it.
            sleep(Duration::from_secs(use_of)).await;
            drop(used);
        }
        assert_eq!(Arc::strong_count(&held), 2);
        sleep(Duration::from_secs(61)).await;
        assert_eq!(Arc::strong_count(&held), 1, "without being asked");
        assert_eq!(lease.get().unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_let_go_of_at_once() {
        let held = Arc::new(());
        drop(Lease::new(Arc::clone(&held), Duration::from_secs(60)));
        assert_eq!(Arc::strong_count(&held), 1);
        let mut lease = Lease::new(Arc::clone(&held), Duration::from_secs(60));
        assert!(lease.end().is_some() && lease.get().is_err());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
