//! Commits of queued writes, which come on their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_core::policy::Backoff;

use super::blocking::blocking;
use super::client::OPERATION;
use super::shelf::Shelf;

/// How long to wait at most before a commit that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When queued writes are committed. Clones know of each other's.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    interval: Duration,
    scheduled: Arc<AtomicBool>,
}

/// Says that a commit is on its way, until it begins or its task is gone: a runtime that ends takes the task with it.
struct Due(Arc<AtomicBool>);

impl Due {
    /// `None` if one is on its way already.
    fn of(scheduled: &Arc<AtomicBool>) -> Option<Self> {
        (!scheduled.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(scheduled)))
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Queued {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, scheduled: Arc::default() }
    }

    /// Sees to it that queued writes are committed soon, once for all that are queued until then.
    ///
    /// To be called where the write was made, behind it: who waited for it may be gone.
    pub(super) fn schedule(&self, shelf: &Arc<Shelf>) {
        let Some(due) = Due::of(&self.scheduled) else { return };
        let (scheduled, interval) = (Arc::clone(&self.scheduled), self.interval);
        // What is queued is committed once also if the last handle goes before. A commit that fails is tried again for as
        // long as there is a handle.
        let (mut shelf, weak) = (Some(Arc::clone(shelf)), Arc::downgrade(shelf));
        tokio::spawn(async move {
            let (mut pause, mut pauses) = (interval, Backoff::new(interval, interval.max(LONGEST_PAUSE)));
            let mut due = Some(due);
            while due.is_some() {
                tokio::time::sleep(pause).await;
                // What is queued from here on has a commit of its own.
                drop(due.take());
                let Some(shelf) = shelf.take().or_else(|| weak.upgrade()) else { return };
                let Err(error) = blocking(OPERATION.commit, None, move |_| shelf.commit_queued()).await else {
                    return;
                };
                let given_up = error.kind() == ErrorKind::Unavailable && !error.is_retryable();
                tracing::error!(name: "search.not_committed", error = %error, "queued writes could not be committed");
                due = if given_up { None } else { Due::of(&scheduled) };
                pause = pauses.pause();
            }
        });
    }
}
