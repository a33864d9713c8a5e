//! What files that synchronise by hand do so with. `crates/interleavings` compiles the same files with what tries their orders out
//! in its place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
pub(crate) use std::thread_local;

pub(crate) use tokio::runtime::Handle;
pub(crate) use tokio::spawn;
pub(crate) use tokio::sync::watch;
pub(crate) use tokio::task::yield_now;
pub(crate) use tokio::time::{sleep, timeout, timeout_at};
