//! What tells a process to stop.

use std::io;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::time::{Instant, sleep_until};

/// Ctrl-C and, on Unix, SIGTERM. From the moment that they are listened for they do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// Which came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// By whoever runs it among others, and tells load balancers of it.
    Terminate,
    /// By somebody at a keyboard, who waits.
    Interrupt,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Terminate,
            _ = self.interrupt.recv() => Told::Interrupt,
        }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> Told {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Told::Interrupt
    }

    /// The next signal, or `end`: whichever comes first, for all who wait for it.
    pub(super) fn next_or(mut self, end: Instant) -> Cut {
        let cut = async move {
            tokio::select! {
                _ = self.next() => tracing::warn!(name: "serve.forced", "told to stop again: nobody is waited for any more"),
                () = sleep_until(end) => {}
            }
        };
        cut.boxed().shared()
    }
}

/// Ends when what is under way is cut off.
pub(super) type Cut = Shared<BoxFuture<'static, ()>>;

/// What a stop may take, divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Until then requests may go on.
    pub(super) cut: Instant,
    /// Until then what is to be stored is stored.
    pub(super) end: Instant,
}

impl Budget {
    /// How long new requests are answered after the signal: half of the budget at most, so that there is time for those that come
    /// last.
    pub(super) fn delay(wanted: Duration, within: Duration) -> Duration {
        wanted.min(within / 2)
    }

    /// A fifth, and five seconds at most, is kept for what is to be stored.
    pub(super) fn new(now: Instant, within: Duration) -> Self {
        let end = now + within;
        Self { cut: end - (within / 5).min(Duration::from_secs(5)), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_keeps_time_for_what_is_to_be_stored() {
        let now = Instant::now();
        for (within, cut) in [(25, 20_000), (5, 4_000), (100, 95_000), (0, 0)] {
            let budget = Budget::new(now, Duration::from_secs(within));
            assert_eq!(budget.cut - now, Duration::from_millis(cut));
            assert_eq!(budget.end - now, Duration::from_secs(within));
        }
    }

    #[test]
    fn what_comes_last_has_time_before_it_is_cut_off() {
        let now = Instant::now();
        for (wanted, within, delay) in [(2000, 25_000, 2000), (2000, 2000, 1000), (60_000, 5000, 2500), (0, 2000, 0)] {
            let [wanted, within] = [wanted, within].map(Duration::from_millis);
            let found = Budget::delay(wanted, within);
            assert_eq!(found, Duration::from_millis(delay));
            assert!(now + found < Budget::new(now, within).cut);
        }
    }
}
