use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a program that ends waits for its locks and permits. Less than a second, which is what a stop that is forced leaves.
const CLOSING: Duration = Duration::from_millis(900);

/// The locks and permits of a program, to be given back together when it ends. Clones are the same; each
/// [`Coordination`](crate::Coordination) has its own unless it is [given some](crate::Coordination::with_leases).
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, Leases, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (leases, store) = (Leases::default(), Arc::new(MemoryCoordStore::new()));
/// let coord = Coordination::new(Arc::clone(&store) as _).with_leases(leases.clone());
/// let guard = coord.lock("consumer").await?;
/// let working = tokio::spawn(async move {
///     guard.run(async { std::future::pending::<statehouse_core::Result<()>>().await }).await
/// });
/// # tokio::task::yield_now().await;
/// leases.close().await;
/// assert!(working.await?.is_err(), "the work was dropped");
/// Coordination::new(store).lock("consumer").await?; // another replica has it at once
/// assert!(coord.lock("consumer").await.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Leases(Arc<watch::Sender<bool>>);

impl Default for Leases {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Leases {
    /// Tells all who have a lock or a permit that it is [lost](crate::Guard::lost), gives each back once it is dropped, and lets
    /// nobody acquire one any more. Waits for that for 0.9 s at most: whatever is still at work then keeps what it has for the
    /// rest of the lease, which is not renewed.
    pub async fn close(&self) {
        self.0.send_replace(true);
        if timeout(CLOSING, self.0.closed()).await.is_err() {
            tracing::warn!(name: "coord.locks_kept", "locks or permits were not given back in time: their leases end them");
        }
    }

    pub(crate) fn join(&self) -> Lessee {
        Lessee(self.0.subscribe())
    }
}

/// A lock or permit that is acquired or held. It is waited for until it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Lessee(watch::Receiver<bool>);

impl Lessee {
    /// Refuses if they were given back.
    pub(crate) fn check(&self) -> Result<()> {
        if !*self.0.borrow() {
            return Ok(());
        }
        let message = "coordination was shut down, and no lock or permit is acquired any more";
        Err(Error::new(ErrorKind::Unavailable, message).with_retry(Retry::Never))
    }

    /// Returns when they are to be given back.
    pub(crate) async fn closed(&mut self) {
        // Nobody is left who could ask for it.
        if self.0.wait_for(|closed| *closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What is not known because the runtime ended before this.
pub(crate) fn ended(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the runtime ended before {what}"))
}
