//! What the holder of a lock or of a permit knows of it.

use statehouse_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::key::CoordKey;
use crate::leases::Lessee;
use crate::term::Term;

/// For how long something is held, as its holder itself knows; and what else it knows of it, such as a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease<K = ()> {
    /// Counted from when the request was sent that was answered last, so that the store's is never over earlier.
    pub(crate) term: Term,
    pub(crate) known: K,
    /// Somebody else has it, or nobody.
    pub(crate) is_over: bool,
}

impl<K> Lease<K> {
    pub(crate) const fn new(term: Term, known: K) -> Self {
        Self { term, known, is_over: false }
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.is_over && !self.term.is_over()
    }
}

/// What a holder is told who gives back what was lost before.
pub(crate) fn lost_before(operation: &'static str, key: &CoordKey) -> Error {
    let message = "it was lost before it was given back: others may have been at work meanwhile";
    Error::new(ErrorKind::Conflict, message).with_operation(operation).with_key(key)
}

/// Returns when it is no longer held, by the clocks of this machine if nothing else says so.
pub(crate) async fn lost<K: Copy>(mut lease: watch::Receiver<Lease<K>>) {
    loop {
        let now = *lease.borrow_and_update();
        if !now.is_held() {
            return;
        }
        tokio::select! {
            biased;
            () = now.term.over() => {}
            changed = lease.changed() => {
                // Whoever keeps it has ended: it will not be renewed.
                if changed.is_err() {
                    return now.term.over().await;
                }
            }
        }
    }
}

/// Frees what is left of what was lost, once the store's lease would be over if it was renewed no more: the answer of a renewal may
/// have been lost, and then it would live on, and nobody hold it.
///
/// A step of the holder that is under way is not over for that the wall clock was set forward. It is waited for in the background.
pub(crate) async fn free_when_over(term: Term, mut leases: Lessee, free: impl Future<Output = ()> + Send + 'static) {
    let freeing = async move {
        tokio::select! {
            biased;
            () = sleep_until(term.deadline()) => free.await,
            () = leases.closed() => {}
        }
    };
    match Instant::now() < term.deadline() {
        true => drop(tokio::spawn(freeing)),
        false => freeing.await,
    }
}
