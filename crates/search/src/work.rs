//! Work that grows with its input: away from the async threads, and ended when nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, deadline};

/// Says whether somebody still waits for the work. Loops that may run long ask it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether the work is in vain: its deadline passed, or its future was dropped.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// One that nobody waits for from the start.
    #[cfg(test)]
    pub(crate) fn set() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Fails once the work is in vain. The error has no reader: whoever waited has an answer already.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() { Err(in_vain()) } else { Ok(()) }
    }
}

/// Stops the work when the future that waits for it is gone, be it done, late or dropped.
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs work on the runtime's blocking threads, for at most so long. A panic in it is an error here: what was read is not
/// what was once written.
pub(crate) async fn away<T: Send + 'static>(
    timeout: Option<Duration>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stop = Stop::default();
    let waiting = Waiting(stop.clone());
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&stop)));
    let done = async {
        done.await.unwrap_or_else(|failed| {
            Err(if failed.is_panic() { panicked() } else { Error::abandoned().with_source(failed) })
        })
    };
    let done = within(timeout, done).await;
    drop(waiting);
    done
}

/// Waits for at most so long.
pub(crate) async fn within<T>(limit: Option<Duration>, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    deadline::within(limit, tokio::time::sleep, deadline::not_done, work).await
}

/// What a panic of the engine means.
pub(crate) fn panicked() -> Error {
    Error::new(ErrorKind::Corrupt, "reading the index failed beyond repair; rebuild it from its source")
}

fn in_vain() -> Error {
    Error::new(ErrorKind::Timeout, "nobody waits for the work any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_told_when_nobody_waits_for_it() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let late = away(Some(Duration::from_millis(1)), move |stop| {
            while !stop.is_set() {
                std::thread::yield_now();
            }
            let _ = tell.send(stop.check().is_err());
            Ok(())
        });
        assert_eq!(late.await.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(told.await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let failed: Result<()> = away(None, |_| panic!("a damaged file")).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
