//! What the log says of requests that strangers send.

use std::time::Duration;

use statehouse_core::policy::Trouble;
use statehouse_core::{Error, Result, SystemClock};

/// How long all must have gone well for the next failure to be news.
const QUIET: Duration = Duration::from_secs(60);

/// One line for each trouble, and not for each request in it.
#[derive(Debug)]
pub(super) struct Told {
    clock: SystemClock,
    settings: Trouble,
    keeping: Trouble,
}

impl Default for Told {
    fn default() -> Self {
        Self { clock: SystemClock::default(), settings: Trouble::new(QUIET), keeping: Trouble::new(QUIET) }
    }
}

impl Told {
    /// No request under a key can be answered.
    pub(super) fn misconfigured(&self, error: &Error) {
        if self.settings.failed(&self.clock) {
            tracing::error!(name: "coord.idempotency_failed", %error, "requests with an Idempotency-Key are refused");
        }
    }

    /// What became of keeping an answer; false if it came too late.
    pub(super) fn kept(&self, kept: Result<bool>) {
        match kept {
            Ok(true) => {
                if let Some(count) = self.keeping.is_over(&self.clock) {
                    tracing::info!(name: "coord.answers_kept_again", count, "answers are kept again");
                }
            }
            Ok(false) if self.keeping.failed(&self.clock) => {
                tracing::warn!(name: "coord.answer_not_kept", "an answer came too late to be kept");
            }
            Err(error) if self.keeping.failed(&self.clock) => {
                tracing::warn!(name: "coord.answer_not_kept", %error, "an answer could not be kept");
            }
            Ok(false) | Err(_) => {}
        }
    }
}
