//! What synchronises by hand, in the orders in which its threads may come.
//!
//! The files under test are those of the other crates, compiled here once more: what they take from `crate::sync` is there the
//! standard library's and tokio's, and here [shuttle's](https://docs.rs/shuttle), which runs all threads as one and decides at
//! each lock and each atomic operation which of them goes on. Whatever else they use is atomic to it: so are the channels of
//! tokio, which hold their own locks for no longer than a call. Orders that only weak memory has are not among those tried.
//!
//! A model is a function that a test calls: see [`explore`].

// Compiled as tests, the files of the other crates would bring theirs, which know no shuttle.
#![cfg(not(test))]

pub mod breaker;
pub mod flights;
pub mod gathering;
pub mod kept;
pub mod link;
pub mod spares;

/// Of `statehouse-core`.
#[allow(dead_code, unreachable_pub, unused_imports, reason = "compiled for its locks, not for its callers")]
#[path = "../../core/src/policy/mod.rs"]
mod policy;
#[allow(dead_code, unreachable_pub, reason = "as above")]
#[path = "../../core/src/time.rs"]
mod time;

/// Of `statehouse-cache`.
#[allow(dead_code, reason = "as above")]
#[path = "../../cache/src/typed"]
mod typed {
    pub(crate) mod flights;
    pub(crate) mod kept;
}

/// Of `statehouse-redis`.
mod connection;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/counters.rs"]
mod counters;
#[allow(dead_code, reason = "as above")]
#[path = "../../redis/src/failure.rs"]
mod failure;
mod node;

mod sync;
mod watch;

use std::panic::resume_unwind;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use statehouse_cache::CacheKey;
use statehouse_core::conformance::rounds;
use statehouse_core::{Clock, Error, ErrorKind, Retry, SystemClock};

/// Runs a model in some orders drawn at random, and in as many that change threads seldom and at the worst of places (PCT). One
/// that fails is printed, and `shuttle::replay` runs it again.
pub fn explore(model: fn()) {
    /// How many changes of thread a mistake may need.
    const DEPTH: usize = 3;
    let each = rounds(500, 20_000);
    Runner::new(RandomScheduler::new(each), Config::default()).run(model);
    Runner::new(PctScheduler::new(DEPTH, each), Config::default()).run(model);
}

/// Runs the same on so many threads, to the end of all.
fn together<T: Send + 'static>(threads: usize, run: impl Fn() -> T + Send + Sync + 'static) -> Vec<T> {
    let run = Arc::new(run);
    let begin = |_| {
        let run = Arc::clone(&run);
        thread::spawn(move || run())
    };
    let begun: Vec<_> = (0..threads).map(begin).collect();
    begun.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
}
