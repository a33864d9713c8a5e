use statehouse_core::Version;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when a lock is held, as the holder itself knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// Counted from when the request was sent that was answered last, so that the store's is never earlier.
    pub(super) deadline: Instant,
    /// The version of its record.
    pub(super) version: Version,
    /// Somebody else has it, or nobody.
    pub(super) is_over: bool,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        !self.is_over && Instant::now() < self.deadline
    }
}

/// Returns when the lock is no longer held, by the clock of this process if nothing else says so.
pub(super) async fn lost(mut lease: watch::Receiver<Lease>) {
    loop {
        let now = *lease.borrow_and_update();
        if !now.is_held() {
            return;
        }
        tokio::select! {
            () = sleep_until(now.deadline) => {}
            changed = lease.changed() => {
                // Whoever keeps it has ended: it will not be renewed.
                if changed.is_err() {
                    return sleep_until(now.deadline).await;
                }
            }
        }
    }
}
