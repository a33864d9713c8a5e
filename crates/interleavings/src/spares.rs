//! A model of the clones of a connection that are kept.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::connection::spares::Spares;
use crate::connection::stream::Bounded;
use crate::sync::{Mutex, MutexGuard, Ordering, PoisonError, any_of};
use crate::together;

/// How many connections there are at most, one after the other: one for each thread, behind the first.
const MOST: usize = 4;

/// Who takes one has the connection that it is said to be, and of one that was replaced none is kept.
pub fn none_is_of_a_connection_that_was_replaced() {
    let (spares, open) = (Arc::new(Spares::default()), <[Arc<AtomicU64>; MOST + 1]>::default());
    spares.change(1);
    // As in a link, one at a time replaces the connection.
    let (used, made, current) = (Arc::clone(&spares), open.clone(), Arc::new(Mutex::new(1)));
    let last = Arc::clone(&current);
    together(3, move || {
        if any_of(2) == 0 {
            let mut current = lock(&current);
            if any_of(2) == 0 {
                used.change(0);
            }
            *current += 1;
            used.change(*current);
        }
        let generation = *lock(&current);
        let new = || (Bounded::new(generation, &made[usize::try_from(generation).unwrap_or(0)]), generation);
        let (connection, of) = used.take().unwrap_or_else(new);
        assert_eq!(connection.number(), of, "it is another one");
        used.give_back(connection, of);
    });
    let last = usize::try_from(*lock(&last)).unwrap_or(0);
    let kept = open[..last].iter().map(|open| open.load(Ordering::Relaxed));
    assert_eq!(kept.sum::<u64>(), 0, "of what was replaced before {last}");
}

fn lock(current: &Mutex<u64>) -> MutexGuard<'_, u64> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
