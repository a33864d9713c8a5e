//! How long a future holds the thread that polls it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a future came to, and the longest of its polls, in time of the thread itself: what others do meanwhile does not count.
pub async fn longest_poll<F: Future>(future: F) -> (F::Output, Duration) {
    Measured { inner: Box::pin(future), longest: Duration::ZERO }.await
}

/// The time that this thread has had of a processor.
#[must_use]
pub fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

struct Measured<F> {
    inner: Pin<Box<F>>,
    longest: Duration,
}

impl<F: Future> Future for Measured<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let start = thread_time();
        let polled = self.inner.as_mut().poll(context);
        self.longest = self.longest.max(thread_time().saturating_sub(start));
        polled.map(|output| (output, self.longest))
    }
}
