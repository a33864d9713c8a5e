//! A lock among the threads of one process that is taken in the order in which it was asked for.
//!
//! The system's locks are not fair: who has just let go is often the first to take them again, and as long as others
//! share one, who wants it alone waits. So threads queue here first, and the system's lock is only between processes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Instant;

/// Who else may hold the lock at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// Others that need no compare: their renames are atomic by themselves.
    Shared,
    /// Nobody: between the compare and the write nothing may change.
    Alone,
}

#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sharing: usize,
    alone: bool,
    queue: VecDeque<Arc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    share: Share,
    thread: Thread,
    admitted: AtomicBool,
}

/// The right to be inside, until dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    share: Share,
}

impl Gate {
    /// Waits for its turn; none if that has not come by then.
    pub(super) fn enter(&self, share: Share, until: Instant) -> Option<Pass<'_>> {
        let pass = Pass { gate: self, share };
        let waiter = {
            let mut state = self.state();
            if state.queue.is_empty() && state.admits(share) {
                state.admit(share);
                return Some(pass);
            }
            let (thread, admitted) = (std::thread::current(), AtomicBool::new(false));
            let waiter = Arc::new(Waiter { share, thread, admitted });
            state.queue.push_back(Arc::clone(&waiter));
            waiter
        };
        while !waiter.admitted.load(Ordering::Acquire) {
            match until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                Some(left) => std::thread::park_timeout(left),
                None if self.give_up(&waiter) => {
                    std::mem::forget(pass);
                    return None;
                }
                None => {}
            }
        }
        Some(pass)
    }

    /// Leaves the queue, unless it was admitted just now.
    fn give_up(&self, waiter: &Arc<Waiter>) -> bool {
        let mut state = self.state();
        let Some(at) = state.queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return false };
        state.queue.remove(at);
        state.admit_next();
        true
    }

    // Nothing panics while the state is locked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn admits(&self, share: Share) -> bool {
        match share {
            Share::Shared => !self.alone,
            Share::Alone => !self.alone && self.sharing == 0,
        }
    }

    const fn admit(&mut self, share: Share) {
        match share {
            Share::Shared => self.sharing += 1,
            Share::Alone => self.alone = true,
        }
    }

    fn admit_next(&mut self) {
        while self.queue.front().is_some_and(|next| self.admits(next.share)) {
            let Some(next) = self.queue.pop_front() else { return };
            self.admit(next.share);
            next.admitted.store(true, Ordering::Release);
            next.thread.unpark();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        match self.share {
            Share::Shared => state.sharing -= 1,
            Share::Alone => state.alone = false,
        }
        state.admit_next();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Waits until so many threads queue.
    fn queued(gate: &Gate, number: usize) {
        let start = Instant::now();
        while gate.state().queue.len() < number {
            assert!(start.elapsed() < Duration::from_secs(20), "a thread passed that should have queued");
            std::thread::yield_now();
        }
    }

    #[test]
    fn threads_are_admitted_in_the_order_in_which_they_came() {
        let (gate, order) = (Gate::default(), Mutex::new(Vec::new()));
        let shares = [Share::Alone, Share::Shared, Share::Alone, Share::Alone, Share::Shared, Share::Alone];
        std::thread::scope(|scope| {
            let first = gate.enter(Share::Shared, soon()).unwrap();
            for (number, share) in shares.into_iter().enumerate() {
                let (gate, order) = (&gate, &order);
                scope.spawn(move || {
                    let _pass = gate.enter(share, soon()).unwrap();
                    order.lock().unwrap().push(number);
                });
                queued(gate, number + 1);
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn who_gives_up_lets_those_behind_pass() {
        let gate = Gate::default();
        let inside = gate.enter(Share::Shared, soon()).unwrap();
        std::thread::scope(|scope| {
            let impatient =
                scope.spawn(|| gate.enter(Share::Alone, Instant::now() + Duration::from_millis(50)).is_none());
            queued(&gate, 1);
            let patient = scope.spawn(|| gate.enter(Share::Shared, soon()).is_some());
            assert!(impatient.join().unwrap() && patient.join().unwrap());
        });
        drop(inside);
        assert!(gate.enter(Share::Alone, Instant::now()).is_some(), "nothing is left inside");
    }
}
