//! A store that is away.

use statehouse_core::{Error, ErrorKind, Retry};

/// Whether the store cannot be asked now, as opposed to having answered that something is wrong.
pub(crate) fn is_away(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::OutcomeUnknown => true,
        // Half an answer, for example.
        ErrorKind::Unexpected => error.retry() != Retry::Never,
        _ => false,
    }
}
