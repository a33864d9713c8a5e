//! What the files under test synchronise with, as shuttle has it.

use std::time::Duration;

pub(crate) use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
pub(crate) use shuttle::sync::{Mutex, MutexGuard, PoisonError};
pub(crate) use shuttle::thread_local;
use tokio::time::Instant;

pub(crate) use crate::watch;

/// The runtime, which is always there.
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn try_current() -> Result<Self, ()> {
        Ok(Self)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }
}

/// Of a runtime that may be about to end: then the task is dropped, and never runs.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if any_of(4) > 0 {
        drop(shuttle::future::spawn(task));
    }
}

/// A time that is over once others have had their turn.
pub(crate) async fn sleep(_time: Duration) {
    yield_now().await;
}

/// A time that does not end.
pub(crate) async fn timeout_at<T>(_until: Instant, work: impl Future<Output = T>) -> Result<T, ()> {
    Ok(work.await)
}

/// The same.
pub(crate) async fn timeout<T>(_time: Duration, work: impl Future<Output = T>) -> Result<T, ()> {
    Ok(work.await)
}

/// One of `n`, and in the same order of threads the same one.
pub(crate) fn any_of(n: u32) -> u32 {
    thread_rng().gen_range(0..n)
}
