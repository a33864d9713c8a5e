//! What files that synchronise by hand do so with. `crates/interleavings` compiles the same files with what tries their orders out
//! in its place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
