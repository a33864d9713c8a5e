use std::fmt;

use statehouse_core::{Error, ErrorKind, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::key::CoordKey;
use crate::lease::{Lease, lost};
use crate::operation::NAME;

/// A permit that is held, renewed in the background until it is dropped or lost.
///
/// Dropping it gives it back, without waiting for that.
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit {
    key: CoordKey,
    lease: watch::Receiver<Lease>,
    stop: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<Result<()>>>,
}

impl Permit {
    /// One that is kept by this task, which says until when it is held and is told when to stop.
    pub(super) const fn new(
        key: CoordKey,
        lease: watch::Receiver<Lease>,
        stop: oneshot::Sender<()>,
        keeper: JoinHandle<Result<()>>,
    ) -> Self {
        Self { key, lease, stop: Some(stop), keeper: Some(keeper) }
    }

    /// Whether it is held. It can be lost at any time after: what must not go on then is [run](Self::run) under it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.borrow().is_held()
    }

    /// Returns when it is lost: it could not be renewed in time, or the store does not know it any more.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        lost(self.lease.clone())
    }

    /// Does work as long as the permit is held, and drops it when that is lost.
    ///
    /// # Errors
    /// Those of the work; and [`ErrorKind::Conflict`] if the permit was lost before it was done.
    pub async fn run<T, E: From<Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.lost() => {
                let error = Error::new(ErrorKind::Conflict, "the permit was lost, and what was done under it was dropped");
                Err(E::from(error.with_operation(NAME.permits).with_key(&self.key)))
            }
            done = work => done,
        }
    }

    /// Gives it back and waits until that is done: then somebody else can have it at once.
    ///
    /// # Errors
    /// What prevented it: it is free when its lease is over. [`ErrorKind::Conflict`] if it was lost before.
    pub async fn release(mut self) -> Result<()> {
        self.stop = None;
        let stopped = |_| Err(Error::new(ErrorKind::Unavailable, "the runtime ended before the permit was given back"));
        match self.keeper.take() {
            Some(keeper) => keeper.await.unwrap_or_else(stopped),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("key", &self.key).field("is_held", &self.is_held()).finish_non_exhaustive()
    }
}
