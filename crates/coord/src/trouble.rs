//! What the log says of requests that strangers send.

use std::time::Duration;

use statehouse_core::SystemClock;
use statehouse_core::policy::Trouble;

/// How long all must have gone well for the next failure to be news.
const QUIET: Duration = Duration::from_secs(60);

/// One line for a trouble, and not one for each request in it.
#[derive(Debug)]
pub(crate) struct Said {
    trouble: Trouble,
    clock: SystemClock,
}

impl Default for Said {
    fn default() -> Self {
        Self { trouble: Trouble::new(QUIET), clock: SystemClock::default() }
    }
}

impl Said {
    /// Counts a failure; whether it is to be said.
    pub(crate) fn failed(&self) -> bool {
        self.trouble.failed(&self.clock)
    }

    /// How many failures there were, if they are over.
    pub(crate) fn is_over(&self) -> Option<u64> {
        self.trouble.is_over(&self.clock)
    }
}
