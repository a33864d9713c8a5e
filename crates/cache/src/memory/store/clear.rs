//! A clear goes in pieces, so that nobody waits for it longer than for a write.

use std::mem;
use std::sync::Mutex;

use statehouse_core::Version;

use super::ring::{MOST_PER_WRITE, Ring};
use super::{Slot, Store, Stripe, lock};

/// How many pieces follow each other until others of the same thread have their turn.
const PIECES: usize = 16;

/// What a clear has still to look at in one stripe. What is left of it when it is dropped goes back there.
pub(super) struct Clearing<'a> {
    stripe: &'a Mutex<Stripe>,
    ring: Ring,
    /// The last version before it began: what is newer was written beside the clear, and stays.
    last: Version,
}

impl<'a> Clearing<'a> {
    /// Ends the leases of a stripe, and takes note of what there is.
    pub(super) fn begin(stripe: &'a Mutex<Stripe>) -> Self {
        let mut own = lock(stripe);
        let (leases, ring, last) = (mem::take(&mut own.leases), own.ring.take(), own.last);
        // Behind the lock.
        drop((own, leases));
        Self { stripe, ring, last }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.ring.len()
    }
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        if !self.ring.is_empty() {
            lock(self.stripe).ring.give_back(&mut self.ring);
        }
    }
}

impl<T: Clone> Store<T> {
    /// Takes out every entry and lease that there is when it begins.
    pub(crate) async fn clear(&self) {
        let mut stripes: Vec<_> = self.stripes.iter().map(Clearing::begin).collect();
        let mut pieces = 0;
        for clearing in &mut stripes {
            while self.clear_some(clearing) {
                pieces += 1;
                if pieces % PIECES == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Takes out a few. Says whether there are more.
    pub(super) fn clear_some(&self, clearing: &mut Clearing<'_>) -> bool {
        // Declared before the lock, so that they are dropped after it: see `set`.
        let mut gone = Vec::with_capacity(MOST_PER_WRITE.min(clearing.ring.len()));
        let mut stripe = lock(clearing.stripe);
        for _ in 0..MOST_PER_WRITE {
            let Some(record) = clearing.ring.pop() else { break };
            let (last, mut stays) = (clearing.last, false);
            let removed = self.entries.remove_if(record.key(), |slot: &Slot<T>| {
                // Another entry of the same key has a record of its own.
                let is_its = slot.ticket == record.ticket();
                stays = is_its && slot.version > last;
                is_its && !stays
            });
            gone.extend(removed);
            if stays {
                stripe.ring.keep(record);
            }
        }
        !clearing.ring.is_empty()
    }
}
