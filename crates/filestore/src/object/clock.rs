//! The server's clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// What time it is at a server, by its last answer that said so and what has passed since. It says so in whole seconds.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Option<(SystemTime, Instant)>>);

impl ServerClock {
    /// An answer has just said what time it is.
    pub(super) fn hear(&self, date: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
    }

    /// None if no answer has said so.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let (date, heard) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(date + heard.elapsed())
    }
}
