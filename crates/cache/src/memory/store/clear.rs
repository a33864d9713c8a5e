//! A clear goes in pieces, so that nobody waits for it longer than for a write.

use std::mem;
use std::sync::Mutex;

use super::ring::MOST_PER_WRITE;
use super::{Slot, Store, Stripe, lock};

/// How many pieces follow each other until others of the same thread have their turn.
const PIECES: usize = 16;

/// One clear's part in one stripe. What is left when the last of them is dropped is among the stripe's records again.
pub(super) struct Clearing<'a> {
    stripe: &'a Mutex<Stripe>,
}

impl<'a> Clearing<'a> {
    /// Ends the leases of a stripe, and takes note of what there is.
    pub(super) fn begin(stripe: &'a Mutex<Stripe>) -> Self {
        let mut own = lock(stripe);
        let (leases, mut ring) = (mem::take(&mut own.leases), own.ring.take());
        own.cleared.ring.give_back(&mut ring);
        own.cleared.last = own.last;
        own.cleared.clears += 1;
        // Behind the lock.
        drop((own, leases));
        Self { stripe }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        lock(self.stripe).cleared.ring.len()
    }
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        let own = &mut *lock(self.stripe);
        own.cleared.clears -= 1;
        if own.cleared.clears == 0 && !own.cleared.ring.is_empty() {
            own.ring.give_back(&mut own.cleared.ring);
        }
    }
}

impl<T: Clone> Store<T> {
    /// Takes out every entry and lease that there is when it begins.
    pub(crate) async fn clear(&self) {
        let stripes: Vec<_> = self.stripes.iter().map(Clearing::begin).collect();
        let mut pieces = 0;
        for clearing in &stripes {
            while self.clear_some(clearing) {
                pieces += 1;
                if pieces % PIECES == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Takes out a few. Says whether there are more.
    pub(super) fn clear_some(&self, clearing: &Clearing<'_>) -> bool {
        // Declared before the lock, so that they are dropped after it: see `set`.
        let mut gone = Vec::with_capacity(MOST_PER_WRITE);
        let stripe = &mut *lock(clearing.stripe);
        for _ in 0..MOST_PER_WRITE {
            let Some(record) = stripe.cleared.ring.pop() else { break };
            let (last, mut stays) = (stripe.cleared.last, false);
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
        !stripe.cleared.ring.is_empty()
    }
}
