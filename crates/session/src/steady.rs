//! The time of the embedded stores.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::time::whole_micros;
use statehouse_core::{Clock, Timestamp};

/// A clock's time of day as it was when the store was opened, and what has passed since by the clock that nobody sets.
///
/// A wall clock that is put right by a quarter of an hour would else log out everybody who has been idle for as long.
#[derive(Clone, Debug)]
pub(crate) struct Steady {
    clock: Arc<dyn Clock>,
    start: u64,
}

impl Steady {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.now().as_micros().saturating_sub(whole_micros(clock.elapsed()));
        Self { clock, start }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.start) + self.clock.elapsed()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}
