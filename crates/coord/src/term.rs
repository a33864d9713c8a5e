//! Time that passes for others while this machine is suspended.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

/// How often it is looked whether the machine was suspended while nothing else happens.
const LOOK: Duration = Duration::from_secs(1);

/// A moment, by two clocks: one that nobody sets, which stands still while the machine is suspended, and the wall clock, which
/// goes on, or is set right, then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    at: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), wall: wall() }
    }

    /// How long it is ago, by the clock that says more. Who sets the wall clock forward seems to have slept, and who sets it back
    /// has the other one.
    pub(crate) fn passed(self) -> Duration {
        self.at.elapsed().max(wall().duration_since(self.wall).unwrap_or_default())
    }
}

/// So long from a moment on: never longer than either clock says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    from: Moment,
    length: Duration,
}

impl Term {
    pub(crate) const fn new(from: Moment, length: Duration) -> Self {
        Self { from, length }
    }

    /// Its end by the clock that timers go by, which is too late where the machine is suspended meanwhile.
    pub(crate) fn deadline(self) -> Instant {
        self.from.at + self.length
    }

    pub(crate) fn left(self) -> Duration {
        self.length.saturating_sub(self.from.passed())
    }

    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Returns when it is over. Whatever is waited for behind this in a biased `select!` takes no step once it is.
    pub(crate) async fn over(self) {
        let looked = poll_fn(|_| if self.is_over() { Poll::Ready(()) } else { Poll::Pending });
        let waited = async {
            while !self.is_over() {
                sleep(self.left().min(LOOK)).await;
            }
        };
        tokio::select! {
            biased;
            () = looked => {}
            () = waited => {}
        }
    }

    /// Returns when no more than that is left of it: soon after the machine was suspended, if it is so by then.
    pub(crate) async fn down_to(self, left: Duration) {
        loop {
            let early = self.left().saturating_sub(left);
            if early.is_zero() {
                return;
            }
            sleep(early.min(LOOK)).await;
        }
    }
}

#[cfg(not(test))]
fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
fn wall() -> SystemTime {
    SystemTime::now() + suspend::SLEPT.get()
}

/// A machine that is suspended: its wall clock goes on, for this thread.
#[cfg(test)]
pub(crate) mod suspend {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local!(pub(super) static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) });

    pub(crate) fn suspend(length: Duration) {
        SLEPT.set(SLEPT.get() + length);
    }
}

#[cfg(test)]
mod tests {
    use super::suspend::suspend;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_term_is_over_when_either_clock_says_so() {
        let term = || Term::new(Moment::now(), MINUTE);
        let (awake, begun) = (term(), Instant::now());
        awake.over().await;
        assert_eq!(begun.elapsed(), MINUTE);
        let asleep = term();
        suspend(MINUTE / 2);
        assert!(asleep.left() <= MINUTE / 2 && !asleep.is_over());
        suspend(MINUTE / 2);
        assert!(asleep.is_over() && asleep.deadline() > Instant::now());
        let before_it_was_set_back = Moment { wall: wall() + MINUTE, ..Moment::now() };
        assert_eq!(before_it_was_set_back.passed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_term_is_over_is_seen_without_anything_else_that_happens() {
        let (term, begun) = (Term::new(Moment::now(), 10 * MINUTE), Instant::now());
        let sleeper = async {
            sleep(MINUTE).await;
            suspend(10 * MINUTE);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = term.over() => {}
            () = sleeper => {}
        }
        assert!(begun.elapsed() <= MINUTE + LOOK, "{:?}", begun.elapsed());
    }
}
