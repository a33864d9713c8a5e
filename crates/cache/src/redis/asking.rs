//! A reservation whose answer may not be waited for, or may be lost.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use statehouse_core::policy::Backoff;
use statehouse_core::{ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::told::ToldOf;

/// The pauses between attempts to give a lease back.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it is tried to give a lease back: an application may have taken it for an hour.
const LONGEST: Duration = Duration::from_secs(10);

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
    /// Tries for as long as the lease may live, and no longer than loads lease a key for.
    async fn give_back(self) {
        let until = Instant::now() + Duration::from_millis(self.millis).min(LONGEST);
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while (self.give_back)().await.is_err() && Instant::now() < until {
            sleep(pauses.pause()).await;
        }
    }
}
