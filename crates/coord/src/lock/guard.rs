use std::fmt;
use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{AsFence, Error, ErrorKind, Fence, Result, Version};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::keep::Held;
use crate::away::is_away;
use crate::key::CoordKey;
use crate::lease::{Lease, lost};
use crate::operation::NAME;
use crate::term::{Moment, Term};

/// The pauses of what is written under a lock while the store is away.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A lock that is held, renewed in the background until it is dropped or lost.
///
/// Dropping it gives the lock back, without waiting for that.
#[must_use = "the lock is given back when this is dropped"]
pub struct Guard {
    key: CoordKey,
    fence: Fence,
    lease: watch::Receiver<Lease<Version>>,
    stop: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<Result<()>>>,
}

impl Guard {
    /// Begins to keep a lock, which was acquired under this version by a request sent at that time.
    pub(super) fn keep(held: Held, token: Version, sent: Moment) -> Self {
        let (key, fence) = (held.key.clone(), Fence::new(held.key.as_key().clone(), token));
        let (sender, lease) = watch::channel(Lease::new(Term::new(sent, held.lease), token));
        let (stop, stopped) = oneshot::channel();
        let keeper = tokio::spawn(held.keep(sender, stopped));
        Self { key, fence, lease, stop: Some(stop), keeper: Some(keeper) }
    }

    /// A number that is greater for each holder of this lock than for all before it: the version of its record when it was
    /// acquired.
    #[must_use]
    pub const fn token(&self) -> Version {
        self.fence.token()
    }

    /// What a write carries that is refused once somebody else has the lock; see [`Lock::guards`](crate::Lock::guards).
    #[must_use]
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether the lock is held. It can be lost at any time after: what must not go on then is [run](Self::run) under it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.borrow().is_held()
    }

    /// How long the lock is held if it is not renewed any more.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        let lease = *self.lease.borrow();
        if lease.is_held() { lease.term.left() } else { Duration::ZERO }
    }

    /// Returns when the lock is lost: somebody else has it, or it could not be renewed in time.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
    /// let guard = coord.lock("consumer").await?;
    /// tokio::select! {
    ///     () = guard.lost() => println!("somebody else goes on"),
    ///     () = async { /* the work */ } => guard.release().await?,
    /// }
    /// # Ok(()) }
    /// ```
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        lost(self.lease.clone())
    }

    /// Does work as long as the lock is held, and drops it when that is lost.
    ///
    /// What is dropped stops where it waits next. A request that it has sent by then may still be executed.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
    /// let guard = coord.lock("nightly-export").await?;
    /// let rows = guard.run(async { Ok::<_, statehouse_core::Error>(17) }).await?;
    /// assert_eq!(rows, 17);
    /// guard.release().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the work; and [`ErrorKind::Conflict`] if the lock was lost before it was done.
    pub async fn run<T, E: From<Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.lost() => Err(E::from(self.lost_error())),
            done = work => done,
        }
    }

    /// Does what can be done again, until it is done or fails for good: as long as the store is away and the lock is held. What is
    /// done under the lock need not be done again for that.
    pub(crate) async fn persist<T, F>(&self, step: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        loop {
            match step().await {
                Err(error) if is_away(&error) && self.is_held() => tokio::select! {
                    () = self.lost() => {}
                    () = sleep(backoff.pause()) => {}
                },
                done => return done,
            }
        }
    }

    fn lost_error(&self) -> Error {
        let message = "the lock was lost, and what was done under it was dropped";
        Error::new(ErrorKind::Conflict, message).with_operation(NAME.lock).with_key(&self.key)
    }

    /// Gives the lock back and waits until that is done: then somebody else can have it at once.
    ///
    /// # Errors
    /// What prevented it: the lock is free when its lease is over. [`ErrorKind::Conflict`] if it was lost before, so that others
    /// may have been at work beside its holder.
    pub async fn release(mut self) -> Result<()> {
        self.stop = None;
        match self.keeper.take() {
            Some(keeper) => keeper.await.unwrap_or_else(|_| Err(stopped())),
            None => Ok(()),
        }
    }
}

/// The runtime ends.
fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "the runtime ended before the lock was given back")
}

impl AsFence for Guard {
    fn as_fence(&self) -> &Fence {
        &self.fence
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("key", &self.key)
            .field("token", &self.token())
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}
