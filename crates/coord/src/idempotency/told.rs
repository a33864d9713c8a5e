//! What the log is told, once for each trouble.

use statehouse_core::{Error, Result};

use crate::trouble::Said;

#[derive(Debug, Default)]
pub(super) struct Told {
    settings: Said,
    keeping: Said,
}

impl Told {
    /// No request under a key can be answered.
    pub(super) fn misconfigured(&self, error: &Error) {
        if self.settings.failed() {
            tracing::error!(name: "coord.idempotency_failed", %error, "requests with an Idempotency-Key are refused");
        }
    }

    /// What became of keeping an answer; false if it came too late.
    pub(super) fn kept(&self, kept: Result<bool>) {
        match kept {
            Ok(true) => {
                if let Some(count) = self.keeping.is_over() {
                    tracing::info!(name: "coord.answers_kept_again", count, "answers are kept again");
                }
            }
            Ok(false) if self.keeping.failed() => {
                tracing::warn!(name: "coord.answer_not_kept", "an answer came too late to be kept");
            }
            Err(error) if self.keeping.failed() => {
                tracing::warn!(name: "coord.answer_not_kept", %error, "an answer could not be kept");
            }
            Ok(false) | Err(_) => {}
        }
    }
}
