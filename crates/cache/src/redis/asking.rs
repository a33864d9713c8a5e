//! A reservation whose answer may not be waited for, or may be lost.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::told::ToldOf;

/// The pauses between attempts to give a lease back.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type Answer = Result<ToldOf>;
type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Given = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A reservation under way. If its answer is lost, or nobody waits for it any more, there may be a lease that nobody knows of
/// who could give it back, and until it ends all who want the key would wait for a load that nobody does. So whoever leaves
/// lets this go on by itself, until nothing of it can be executed any more, and then what it has made is given back.
pub(super) struct Asking {
    work: Option<Work>,
    lost: Option<Lost>,
}

/// What is known of a lease that may have been made.
pub(super) struct Lost {
    /// Ends it, if it is there.
    pub(super) give_back: Box<dyn Fn() -> Given + Send + Sync>,
    /// How long it lives.
    pub(super) millis: u64,
}

impl Asking {
    pub(super) const fn new(work: Work, lost: Lost) -> Self {
        Self { work: Some(work), lost: Some(lost) }
    }
}

impl Future for Asking {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let work = self.work.as_mut().expect("it is polled until it is ready, and not after");
        let answer = ready!(work.as_mut().poll(context));
        self.work = None;
        let lost = self.lost.take();
        // Of any other error nothing was executed.
        if let (Err(error), Some(lost)) = (&answer, lost)
            && error.kind() == ErrorKind::OutcomeUnknown
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(lost.give_back());
        }
        Poll::Ready(answer)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Without a runtime, as when that shuts down, the lease ends by itself.
        if let (Some(work), Some(lost), Ok(runtime)) = (self.work.take(), self.lost.take(), Handle::try_current()) {
            runtime.spawn(async move {
                match work.await {
                    Err(error) if error.kind() != ErrorKind::OutcomeUnknown => {}
                    _ => lost.give_back().await,
                }
            });
        }
    }
}

impl Lost {
    /// Tries for as long as the lease may live: an application may have taken it for an hour, and who wants the key would wait
    /// for as long.
    async fn give_back(self) {
        let until = Instant::now() + Duration::from_millis(self.millis);
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while (self.give_back)().await.is_err() && Instant::now() < until {
            sleep(pauses.pause()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use statehouse_core::Error;

    use super::*;

    /// In how many attempts a lease of so many milliseconds is given back by a store that is away for this long.
    async fn attempts(millis: u64, away: Duration) -> (usize, bool) {
        let (back, asked) = (Instant::now() + away, Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        let give_back = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let away = Instant::now() < back;
            Box::pin(async move { if away { Err(Error::new(ErrorKind::Unavailable, "away")) } else { Ok(()) } }) as _
        });
        Lost { give_back, millis }.give_back().await;
        (asked.load(Ordering::Relaxed), Instant::now() >= back)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_an_hour_is_given_back_after_whatever_outage_that_it_outlives() {
        const HOUR: u64 = 3_600_000;
        for away in [Duration::from_secs(15), Duration::from_secs(3000)] {
            let (asked, given) = attempts(HOUR, away).await;
            assert!(given && asked < 1200, "{away:?}: {asked}");
        }
        assert!(!attempts(1000, Duration::from_secs(60)).await.1, "it has ended by itself");
    }
}
