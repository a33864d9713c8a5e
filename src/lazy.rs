//! A service that is opened when it is first needed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::place::Place;

type Open<T> = dyn Fn() -> BoxFuture<'static, Result<T>> + Send + Sync;

/// What is opened once, by whoever needs it first. If that fails, all who wait for it learn why, and whoever comes later
/// tries again: so a program that was started while a server was away needs no restart.
pub(crate) struct Lazy<T> {
    opened: OnceCell<T>,
    open: Box<Open<T>>,
    failed: Mutex<Failed>,
    closed: AtomicBool,
}

/// How often opening has failed, and how the last time.
#[derive(Default)]
struct Failed {
    times: u64,
    last: Option<Error>,
}

impl Failed {
    /// How it failed, if it has since it had failed so often.
    fn since(&self, seen: u64) -> Option<Error> {
        self.last.clone().filter(|_| self.times != seen)
    }

    fn note(&mut self, error: &Error) {
        self.times += 1;
        self.last = Some(error.clone());
    }
}

impl<T: Send + Sync> Lazy<T> {
    pub(crate) fn new(open: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync + 'static) -> Self {
        Self { opened: OnceCell::new(), open: Box::new(open), failed: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// With errors that name the place.
    pub(crate) fn named<F>(place: Place, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Self::new(move || {
            let (opening, place) = (open(), place.clone());
            Box::pin(async move {
                let opened = opening.await.map_err(|error| place.name(error))?;
                tracing::info!(name: "services.opened", setting = place.setting(), "a service is open");
                Ok(opened)
            })
        })
    }

    /// What is open already.
    pub(crate) fn ready(value: T) -> Self {
        let lazy = Self::new(|| Box::pin(async { Err(shut_down()) }));
        // A new cell is empty.
        let _set = lazy.opened.set(value);
        lazy
    }

    pub(crate) fn opened(&self) -> Option<&T> {
        self.opened.get()
    }

    /// Opens it if it is not open.
    pub(crate) async fn get(&self) -> Result<&T> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let seen = self.failures().times;
        self.opened.get_or_try_init(|| self.attempt(seen)).await
    }

    /// Within what is left of a call's deadline, which is less afterwards.
    pub(crate) async fn within(&self, deadline: &mut Option<Duration>) -> Result<&T> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let Some(limit) = *deadline else { return self.get().await };
        let start = Instant::now();
        let opened = timeout(limit, self.get()).await.map_err(|_| late())??;
        match limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            None => Err(late()),
            left => {
                *deadline = left;
                Ok(opened)
            }
        }
    }

    /// Opens it, unless an attempt has failed since its caller began to wait.
    async fn attempt(&self, seen: u64) -> Result<T> {
        if self.is_closed() {
            return Err(shut_down());
        }
        if let Some(error) = self.failures().since(seen) {
            return Err(error);
        }
        (self.open)().await.inspect_err(|error| self.failures().note(error))
    }

    /// Why it is not open, as far as was tried.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        self.failures().last.clone()
    }

    /// Lets nobody open it any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failed> {
        // Nothing panics while it is held.
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.opened.get()).finish()
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the service was not open within the deadline of the call")
}

pub(crate) fn shut_down() -> Error {
    Error::new(ErrorKind::Unavailable, "the services were shut down").with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Opens as a number: how often it was tried. Each attempt takes a permit and fails while `fails` says so.
    struct Source {
        tries: AtomicU32,
        permits: Semaphore,
        fails: AtomicBool,
    }

    fn counted(permits: usize, fails: bool) -> (Arc<Source>, Lazy<u32>) {
        let source = Source { tries: AtomicU32::new(0), permits: Semaphore::new(permits), fails: fails.into() };
        let source = Arc::new(source);
        let opening = Arc::clone(&source);
        let lazy = Lazy::new(move || {
            let source = Arc::clone(&opening);
            Box::pin(async move {
                let tries = source.tries.fetch_add(1, Ordering::SeqCst) + 1;
                source.permits.acquire().await.map_err(|_| late())?.forget();
                if source.fails.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Unavailable, "away"));
                }
                Ok(tries)
            })
        });
        (source, lazy)
    }

    #[tokio::test]
    async fn it_is_opened_once_and_only_when_it_is_needed() {
        let (source, lazy) = counted(9, false);
        assert_eq!((source.tries.load(Ordering::SeqCst), lazy.opened()), (0, None));
        let got = join_all((0..9).map(|_| lazy.get())).await;
        assert!(got.into_iter().all(|got| *got.unwrap() == 1));
        assert_eq!(lazy.opened(), Some(&1));
    }

    #[tokio::test]
    async fn all_who_wait_share_a_failure_and_later_ones_try_again() {
        let (source, lazy) = counted(0, true);
        let waiting = join_all((0..100).map(|_| lazy.get()));
        let failing = async { source.permits.add_permits(100) };
        let (got, ()) = tokio::join!(waiting, failing);
        assert!(got.into_iter().all(|got| got.unwrap_err().message() == "away"));
        assert_eq!(source.tries.load(Ordering::SeqCst), 1, "one attempt for all who waited");
        source.fails.store(false, Ordering::SeqCst);
        assert_eq!(*lazy.get().await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_no_longer_than_its_deadline_and_the_next_one_opens_it() {
        let (source, lazy) = counted(0, false);
        let mut deadline = Some(Duration::from_secs(1));
        assert_eq!(lazy.within(&mut deadline).await.unwrap_err().kind(), ErrorKind::Timeout);
        source.permits.add_permits(1);
        assert_eq!(*lazy.within(&mut Some(Duration::from_secs(60))).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_was_not_opened_before_a_shutdown_is_not_opened_after_it() {
        let (source, lazy) = counted(1, false);
        lazy.close();
        assert_eq!(lazy.get().await.unwrap_err().message(), shut_down().message());
        assert_eq!(source.tries.load(Ordering::SeqCst), 0);
    }
}
