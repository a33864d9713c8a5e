//! How what is large gets on: what is seen of it before it is whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Arg, Cmd};

/// From how many bytes on a request or a value is large: it travels on connections that small ones do not share.
pub(crate) const LARGE: usize = 64 << 10;

/// What is large has a second more for so many bytes, in either direction.
const RATE: usize = 4 << 20;

/// What has passed over one connection. A server that is sending is there, though it has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    moved: AtomicU64,
    coming: AtomicU64,
}

impl Flow {
    /// Counts up while bytes pass.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How much of a large value is still to come: what is asked now waits for it.
    pub(crate) fn coming(&self) -> usize {
        usize::try_from(self.coming.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Notes that bytes have passed. Only the task that drives the connection does so.
    pub(crate) fn pass(&self, bytes: usize) {
        self.moved.store(self.moved().wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    /// Notes what is still to come.
    pub(crate) fn expect(&self, coming: u64) {
        if self.coming.load(Ordering::Relaxed) != coming {
            self.coming.store(coming, Ordering::Relaxed);
        }
    }
}

/// How much longer it may take because of so many bytes.
pub(crate) fn time_for(bytes: usize) -> Duration {
    if bytes < LARGE { Duration::ZERO } else { Duration::from_secs_f64(bytes as f64 / RATE as f64) }
}

/// How many bytes a command has.
pub(crate) fn length(command: &Cmd) -> usize {
    command.args_iter().map(|arg| if let Arg::Simple(bytes) = arg { bytes.len() } else { 0 }).sum()
}
