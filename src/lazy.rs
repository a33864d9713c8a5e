//! A service that is opened when it is first needed.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use statehouse_core::{Error, ErrorKind, Health, Result, Retry};
use tokio::time::{timeout, timeout_at};

use crate::place::Place;

/// The most that a health check takes: whoever asks has an answer before they give up, which for most is after a second.
pub(crate) const HEALTH_WITHIN: Duration = Duration::from_secs(1);

type Open<T> = dyn Fn() -> BoxFuture<'static, Result<T>> + Send + Sync;

/// One attempt to open, for all who wait for it.
type Attempt = Shared<BoxFuture<'static, Result<()>>>;

/// What is opened once, by whoever needs it first. If that fails, all who wait for it learn why, and whoever comes later
/// tries again: so a program that was started while a server was away needs no restart. An attempt goes on when nobody
/// waits for it any more, or a slow server would never be opened by those who have less time than it takes.
pub(crate) struct Lazy<T>(Arc<Inner<T>>);

struct Inner<T> {
    opened: OnceLock<T>,
    open: Box<Open<T>>,
    under_way: Mutex<Option<Attempt>>,
    failed: Mutex<Option<Error>>,
    closed: AtomicBool,
}

impl<T: Send + Sync + 'static> Lazy<T> {
    pub(crate) fn new(open: impl Fn() -> BoxFuture<'static, Result<T>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            opened: OnceLock::new(),
            open: Box::new(open),
            under_way: Mutex::default(),
            failed: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
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
        let _set = lazy.0.opened.set(value);
        lazy
    }

    pub(crate) fn opened(&self) -> Option<&T> {
        self.0.opened.get()
    }

    /// Opens it if it is not open.
    pub(crate) async fn get(&self) -> Result<&T> {
        if self.opened().is_none() {
            self.attempt().await?;
        }
        self.opened().ok_or_else(shut_down)
    }

    /// Within what is left of a call's deadline, which is less afterwards.
    pub(crate) async fn within(&self, deadline: &mut Option<Duration>) -> Result<&T> {
        if let Some(opened) = self.opened() {
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

    /// How it is, or why that cannot be told, within [`HEALTH_WITHIN`]; opened if it is not open.
    pub(crate) async fn health<'a>(&'a self, ask: impl FnOnce(&'a T) -> BoxFuture<'a, Health>) -> Result<Health> {
        let until = tokio::time::Instant::now() + HEALTH_WITHIN;
        match timeout_at(until, self.get()).await {
            Ok(Ok(opened)) => {
                let late = |_| Error::new(ErrorKind::Timeout, "no answer within a second");
                // A store that was brought may do anything, and is asked again.
                let panicked = |_| Error::new(ErrorKind::Unexpected, "its check has panicked");
                let asked = AssertUnwindSafe(ask(opened)).catch_unwind();
                timeout_at(until, asked).await.map_err(late)?.map_err(panicked)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let opening = || Error::new(ErrorKind::Timeout, "the service is still being opened");
                Err(self.last_failure().unwrap_or_else(opening))
            }
        }
    }

    /// The attempt that is under way, or a new one.
    fn attempt(&self) -> Attempt {
        let mut under_way = locked(&self.0.under_way);
        // One that is over is still there only if it was ended from outside, with its runtime.
        if let Some(attempt) = under_way.as_ref().filter(|attempt| attempt.peek().is_none()) {
            return attempt.clone();
        }
        let inner = Arc::clone(&self.0);
        let trying = tokio::spawn(async move {
            let _over = Over(&inner);
            inner.attempt().await
        });
        let lost = |error| Error::new(ErrorKind::Unexpected, "the service was not opened").with_source(error);
        let attempt = async move { trying.await.map_err(lost)? }.boxed().shared();
        *under_way = Some(attempt.clone());
        attempt
    }

    /// Why it is not open, as far as was tried.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        locked(&self.0.failed).clone()
    }

    /// Lets nobody open it any more.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Inner<T> {
    async fn attempt(&self) -> Result<()> {
        if self.opened.get().is_some() {
            return Ok(());
        }
        self.check_not_closed()?;
        let opened = (self.open)().await.inspect_err(|error| *locked(&self.failed) = Some(error.clone()))?;
        // Nobody would close it.
        self.check_not_closed()?;
        // There is one attempt at a time.
        let _set = self.opened.set(opened);
        Ok(())
    }

    fn check_not_closed(&self) -> Result<()> {
        if self.is_closed() { Err(shut_down()) } else { Ok(()) }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Whoever comes after an attempt does not get what it failed with.
struct Over<'a, T>(&'a Inner<T>);

impl<T> Drop for Over<'_, T> {
    fn drop(&mut self) {
        *locked(&self.0.under_way) = None;
    }
}

fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: fmt::Debug> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.0.opened.get()).finish()
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
    async fn opening_goes_on_for_those_who_have_less_time_than_it_takes() {
        let (source, lazy) = counted(0, false);
        for _ in 0..5 {
            let late = lazy.within(&mut Some(Duration::from_millis(20))).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Timeout);
        }
        source.permits.add_permits(1);
        assert_eq!(*lazy.within(&mut Some(Duration::from_secs(60))).await.unwrap(), 1);
        assert_eq!(source.tries.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_when_nobody_waits_any_more_is_tried_again() {
        let (source, lazy) = counted(0, true);
        lazy.within(&mut Some(Duration::from_millis(20))).await.unwrap_err();
        source.permits.add_permits(1);
        while lazy.last_failure().is_none() {
            tokio::task::yield_now().await;
        }
        source.fails.store(false, Ordering::SeqCst);
        source.permits.add_permits(1);
        assert_eq!(*lazy.get().await.unwrap(), 2);
    }

    /// Time is the test's own.
    #[tokio::test(start_paused = true)]
    async fn how_it_is_is_told_within_a_second_whatever_opens_or_answers() {
        let silent = |_: &u32| -> BoxFuture<'_, Health> { Box::pin(std::future::pending()) };
        let (source, lazy) = counted(0, false);
        let start = tokio::time::Instant::now();
        assert_eq!(lazy.health(silent).await.unwrap_err().message(), "the service is still being opened");
        source.permits.add_permits(1);
        lazy.get().await.unwrap();
        assert_eq!(lazy.health(silent).await.unwrap_err().message(), "no answer within a second");
        let took = start.elapsed();
        assert!(2 * HEALTH_WITHIN <= took && took < 3 * HEALTH_WITHIN, "a second each: {took:?}");
    }

    #[tokio::test]
    async fn what_was_not_opened_before_a_shutdown_is_not_opened_after_it() {
        let (source, lazy) = counted(1, false);
        lazy.close();
        assert_eq!(lazy.get().await.unwrap_err().message(), shut_down().message());
        assert_eq!(source.tries.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_is_opened_when_a_shutdown_is_over_is_dropped() {
        let (source, lazy) = counted(0, false);
        let opening = async {
            while source.tries.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            lazy.close();
            source.permits.add_permits(1);
        };
        let (got, ()) = tokio::join!(lazy.get(), opening);
        assert_eq!((got.unwrap_err().message(), lazy.opened()), (shut_down().message(), None));
    }
}
