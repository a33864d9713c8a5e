use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::Instrument;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work that is done to its end, once it has begun, even if its caller stops waiting.
///
/// A handler's timeout drops the future of a commit whose command is on its way. Whether it was applied is then known
/// to nobody, and the new token of a login would be lost with it. So a runtime goes on with what was dropped, and who
/// asks next waits for it at the session's gate.
pub(super) struct Finish<T: Send + 'static> {
    work: Option<Work<T>>,
    begun: bool,
}

impl<T: Send + 'static> Finish<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), begun: false }
    }
}

impl<T: Send + 'static> Future for Finish<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(output)
    }
}

/// Without a runtime the work is dropped, and the next commit repeats it.
impl<T: Send + 'static> Drop for Finish<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.begun) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(work.await) }.in_current_span());
        }
    }
}
