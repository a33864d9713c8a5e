use std::sync::atomic::AtomicUsize;

use crate::connection::stream::Bounded;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError, thread_local};

const STRIPES: usize = 8;

/// The most clones that a stripe keeps. More are in use at a time only in bursts.
const KEPT: usize = 256;

/// Clones of one link's connection that no operation uses now.
///
/// Cloning and dropping a connection changes three reference counts that all threads share, twice per operation: on two
/// cores that cost a sixth of the throughput. So clones are kept and handed out again, by each thread mostly to itself.
#[derive(Default)]
pub(crate) struct Spares {
    /// Of the connection that may be handed out; zero if there is none.
    generation: AtomicU64,
    stripes: [Stripe; STRIPES],
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe(Mutex<Vec<Bounded>>);

impl Stripe {
    fn lock(&self) -> MutexGuard<'_, Vec<Bounded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spares {
    /// A clone and the generation of its connection.
    pub(crate) fn take(&self) -> Option<(Bounded, u64)> {
        let mut stripe = self.stripe().lock();
        // Read under the lock: what the stripe holds is of this generation, since changing it empties the stripe.
        let generation = self.generation.load(Ordering::Acquire);
        stripe.pop().filter(|_| generation != 0).map(|connection| (connection, generation))
    }

    pub(crate) fn give_back(&self, connection: Bounded, generation: u64) {
        let mut stripe = self.stripe().lock();
        if self.generation.load(Ordering::Acquire) == generation && stripe.len() < KEPT {
            stripe.push(connection);
        }
    }

    /// From now on only clones of this generation are taken and kept. The others are dropped, so that their connection
    /// is closed.
    pub(crate) fn change(&self, generation: u64) {
        self.generation.store(0, Ordering::Release);
        for stripe in &self.stripes {
            stripe.lock().clear();
        }
        self.generation.store(generation, Ordering::Release);
    }

    fn stripe(&self) -> &Stripe {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        &self.stripes[THREAD.with(|thread| thread % STRIPES)]
    }
}
