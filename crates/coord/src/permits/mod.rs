//! At most so many at a time.

mod keep;
mod permit;

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use self::keep::Wanted;
pub use self::permit::Permit;
use crate::key::CoordKey;
use crate::leases::Leases;
use crate::signals::{AcquireOptions, Signals};

/// Permits of which at most so many are held at a time, in the whole fleet.
///
/// ```
/// use std::time::Duration;
/// # use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()))
/// #     .with_signals(std::sync::Arc::new(MemorySignals::new()));
/// let exports = coord.permits("exports", 3).wait(Duration::from_secs(5));
/// match exports.acquire().await? {
///     Some(permit) => {
///         permit.run(async { Ok::<_, statehouse_core::Error>(()) }).await?; // dropped if the permit is lost
///         permit.release().await?;
///     }
///     None => println!("three are at work already"),
/// }
/// # Ok(()) }
/// ```
///
/// # What is guaranteed
/// Never more than so many are held at once, as long as the store keeps what it was told: see
/// [`Signals`](crate::Signals#durability). Who holds one counts its lease from when it asked and steps down by itself, so that
/// one that is cut off from the store is free again after the lease, and not before its holder knows. A process that stood
/// still, or whose machine was suspended, may find that out late: [`Permit::run`] drops the work before its next step. A wall
/// clock that is set forward ends it for its holder, and gives it to nobody earlier. There is no order in which those are
/// served who wait.
#[derive(Clone, Debug)]
#[must_use = "nothing is acquired by itself"]
pub struct Permits {
    signals: Arc<dyn Signals>,
    key: Result<CoordKey>,
    most: u32,
    lease: Duration,
    wait: Duration,
    leases: Leases,
}

impl Permits {
    /// The least lease, of which a third must be enough to renew it.
    pub const MIN_LEASE: Duration = Duration::from_secs(1);

    /// So many permits of this name, as [`CoordKey`] takes it: with a lease of 15 seconds, and waiting for none.
    pub fn new(signals: Arc<dyn Signals>, name: &str, most: u32) -> Self {
        let (key, leases) = (CoordKey::new(name), Leases::default());
        Self { signals, key, most, lease: Duration::from_secs(15), wait: Duration::ZERO, leases }
    }

    /// For how long one is held by who no longer renews it, which is done at a third: a second at least.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// For how long is waited for one, if all are in use or the store is away; not at all at first. A store that does not answer
    /// is waited for a second longer at most. What is wrong for ever is told at once.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// They are given back with the locks of these when the program ends; those of
    /// [`Coordination::permits`](crate::Coordination::permits) are, with all that it has.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Leases, MemorySignals, Permits};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let leases = Leases::default();
    /// let exports = Permits::new(Arc::new(MemorySignals::new()), "exports", 3).with_leases(leases.clone());
    /// leases.close().await;
    /// assert!(exports.acquire().await.is_err(), "the program ends");
    /// # Ok(()) }
    /// ```
    pub fn with_leases(self, leases: Leases) -> Self {
        Self { leases, ..self }
    }

    /// Acquires one; none if all were in use all the time that was waited.
    ///
    /// Dropping the future gives it back, if it was acquired.
    ///
    /// # Errors
    /// What prevented it. What may have been acquired then is free after its lease.
    pub async fn acquire(&self) -> Result<Option<Permit>> {
        let options = AcquireOptions::new(self.most, self.lease);
        options.check()?;
        if self.lease < Self::MIN_LEASE {
            return Err(Error::invalid_input("the lease of a permit is a second at least"));
        }
        let wanted = Wanted::new(Arc::clone(&self.signals), self.key.clone()?, options, self.leases.join())?;
        let (answer, answered) = oneshot::channel();
        // By itself, so that one that nobody waits for any more is given back.
        drop(tokio::spawn(wanted.acquire(self.wait, answer)));
        let stopped = |_| Error::new(ErrorKind::Unavailable, "the runtime ended before a permit was acquired");
        answered.await.map_err(stopped)?
    }
}
