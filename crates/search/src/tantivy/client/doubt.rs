//! What is known of a commit that failed.

use statehouse_core::{Error, ErrorKind};

use super::super::error::BACKEND;

/// Why something was not committed, or not shown.
pub(super) struct NotShown {
    pub(super) cause: Error,
    /// Whether it may have been committed all the same.
    pub(super) perhaps: bool,
}

impl NotShown {
    pub(super) const fn surely(cause: Error) -> Self {
        Self { cause, perhaps: false }
    }

    pub(super) const fn perhaps(cause: Error) -> Self {
        Self { cause, perhaps: true }
    }
}

pub(super) fn in_doubt(cause: Error) -> Error {
    let message = "it may be durable and not shown, or not yet durable; both are tried again";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_source(cause)
}
