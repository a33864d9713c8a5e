//! A lock with a lease.

mod acquire;
mod busy;
mod format;
mod guard;
mod keep;
mod list;

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Guarded, Result};
use tokio::sync::oneshot;

pub(crate) use self::acquire::{durable, raise_all};
pub use self::busy::{Busy, LockError};
use self::format::State;
pub use self::guard::Guard;
use self::keep::Held;
pub(crate) use self::list::list;
pub use self::list::{LockKind, LockList, LockReport};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::key::CoordKey;
use crate::leases::Leases;
use crate::record::WriteId;

/// A lock that is wanted: made by [`Coordination::lock`](crate::Coordination::lock), acquired when it is awaited.
///
/// # Behavior
/// - At most one holder has it, as long as the store keeps its record and no holder is stopped for longer than its lease while
///   it believes that no time has passed (a paused process finds out with its first step; a request that it had sent before
///   may still arrive).
/// - The **lease** is renewed at a third of it, by a task of its own. It counts from when a request was sent, so that the
///   holder's ends before the store's, by the wall clock too, which goes on while a machine is suspended: one that is set forward
///   by as much ends it for the holder, and others wait for the store's. A holder whose renewals fail steps down by itself at the deadline, be the store
///   reachable or not.
/// - Each acquisition has a random owner and a [token](Guard::token) that is greater than all before. It is not re-entrant:
///   who has it and wants it again waits like everybody else.
/// - **Waiting** hears of a release where the store tells, else looks again and again; and in any case looks when the lease of
///   the holder ends. There is no order among those who wait.
/// - **Cancellation**: whoever stops waiting gives back what was acquired meanwhile.
/// - **The end of a program**: when its locks are [closed](crate::Leases::close), each is lost for its holder, and free for
///   others as soon as the guard is dropped.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_coord::{Coordination, LockError, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new())).with_label("replica 1");
/// let guard = coord.lock("nightly-export").lease(Duration::from_secs(15)).wait(Duration::from_secs(5)).await?;
///
/// match coord.lock("nightly-export").await {
///     Err(LockError::Busy(busy)) => assert_eq!(busy.holder, "replica 1"),
///     other => panic!("it is held: {other:?}"),
/// }
/// guard.release().await?;
/// coord.lock("nightly-export").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is acquired until it is awaited"]
pub struct Lock {
    store: Arc<dyn CoordStore>,
    key: Result<CoordKey>,
    holder: String,
    lease: Duration,
    wait: Duration,
    leases: Leases,
    guarded: Vec<Arc<dyn Guarded>>,
}

/// The shortest and the longest lease.
const LEASES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(24 * 3600)];

impl Lock {
    pub(crate) fn new(store: Arc<dyn CoordStore>, key: Result<CoordKey>, holder: String, leases: Leases) -> Self {
        Self { store, key, holder, lease: Duration::from_secs(15), wait: Duration::ZERO, leases, guarded: Vec::new() }
    }

    /// For how long it is held if it is not renewed: a replica that is killed keeps the others waiting for so long. 15
    /// seconds at first; a tenth of a second at least, and a day at most.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long to wait for it while somebody else has it, or the store is away: that long, whatever the lease is, and whether or
    /// not the store gave up a request by itself. What is wrong for ever is told at once. Not at all at first. A try that is under way at the end has
    /// a second, and the first one of who does not wait a third of the lease or five seconds; stores that it [guards](Self::guards) have five more.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Names a store that the lock guards; several may be named. Before the lock is handed out, its mark is raised there: from
    /// then on the store refuses what all former holders write [fenced](statehouse_core::Fence), though they may not know yet
    /// that they have lost the lock, and what was on its way if the store can do
    /// [that](statehouse_core::capability::FENCED_AT_ONCE). Where a mark cannot be raised, the lock is given back, and acquiring
    /// it fails. Whoever acquires the lock must name the same stores. A mark
    /// stays in its store: there are as many as names of locks that guard it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse_coord::{Coordination, MemoryCoordStore};
    /// use statehouse_core::{ErrorKind, Namespace};
    /// use statehouse_filestore::{Files, MemoryFileStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let exports = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("exports")?);
    ///
    /// let first = coord.lock("export").guards(&exports).await?;
    /// exports.put("today", "17 rows").fenced(&first).await?;
    /// let fence = first.fence().clone(); // of a process that will be stopped
    /// first.release().await?;
    ///
    /// let second = coord.lock("export").guards(&exports).await?;
    /// let late = exports.put("today", "16 rows").fenced(&fence).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
    /// # drop(second);
    /// # Ok(()) }
    /// ```
    pub fn guards(mut self, store: &(impl Guarded + Clone)) -> Self {
        self.guarded.push(Arc::new(store.clone()));
        self
    }

    async fn acquire(self) -> Result<Guard, LockError> {
        if self.lease < LEASES[0] || self.lease > LEASES[1] {
            return Err(Error::invalid_input("a lease is at least 100 ms and at most a day").into());
        }
        let owner = *WriteId::generate()?.as_bytes();
        let Self { store, key, holder, lease, wait, leases, guarded } = self;
        let held = Held { store, key: key?, owner, holder, lease, leases: leases.join(), guarded };
        let (answer, answered) = oneshot::channel();
        // A task of its own, so that whoever stops waiting leaves no lock behind.
        drop(tokio::spawn(held.acquire(wait, answer)));
        answered.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the runtime ended before the lock was acquired").into())
        })
    }
}

/// What the holder of a lock is called, if somebody has it.
pub(crate) async fn holder_of(store: &dyn CoordStore, key: &CoordKey) -> Result<Option<String>> {
    let Some(record) = store.get(key).await? else { return Ok(None) };
    Ok(match State::decode(&record.value)? {
        State::Free => None,
        State::Held { holder, .. } => Some(holder),
    })
}

impl IntoFuture for Lock {
    type Output = Result<Guard, LockError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}
