//! What is held for somebody who may never come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Something that is let go of when it was not used for so long.
#[derive(Debug)]
pub(crate) struct Lease<T> {
    slot: Arc<Slot<T>>,
    keep_alive: Duration,
    timer: Option<AbortHandle>,
}

/// What is held, and when it was used last.
type Slot<T> = Mutex<Option<(Arc<T>, Instant)>>;

impl<T: Send + Sync + 'static> Lease<T> {
    /// Holds it from now on.
    pub(crate) fn new(held: T, keep_alive: Duration) -> Self {
        let mut lease = Self { slot: Arc::default(), keep_alive, timer: None };
        lease.renew(Arc::new(held));
        lease
    }

    /// What is held.
    ///
    /// # Errors
    /// `Conflict` if it was let go of.
    pub(crate) fn get(&self) -> Result<Arc<T>> {
        // The timer may be late.
        drop(expired(&self.slot, self.keep_alive));
        open(&self.slot).as_ref().map(|(held, _)| Arc::clone(held)).ok_or_else(gone)
    }

    /// Holds it on from now: it was used until now, however long that took.
    pub(crate) fn renew(&mut self, held: Arc<T>) {
        *open(&self.slot) = Some((held, Instant::now()));
        let (slot, keep_alive) = (Arc::downgrade(&self.slot), self.keep_alive);
        let timer = tokio::spawn(async move {
            sleep(keep_alive).await;
            // It may have been used while this one woke up.
            drop(slot.upgrade().and_then(|slot| expired(&slot, keep_alive)));
        });
        if let Some(earlier) = self.timer.replace(timer.abort_handle()) {
            earlier.abort();
        }
    }

    /// Lets go of it.
    pub(crate) fn end(&mut self) -> Option<Arc<T>> {
        open(&self.slot).take().map(|(held, _)| held)
    }
}

fn open<T>(slot: &Slot<T>) -> MutexGuard<'_, Option<(Arc<T>, Instant)>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what was not used for too long.
fn expired<T>(slot: &Slot<T>, keep_alive: Duration) -> Option<Arc<T>> {
    let expired = open(slot).take_if(|(_, used)| used.elapsed() >= keep_alive);
    expired.map(|(held, _)| held)
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
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
        let mut lease = Lease::new(Arc::clone(&held), Duration::from_secs(60));
        for use_of in [0, 1, 100, 0] {
            sleep(Duration::from_secs(50)).await;
            let used = lease.get().unwrap();
            // Perhaps for longer than it is held.
            sleep(Duration::from_secs(use_of)).await;
            lease.renew(used);
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
