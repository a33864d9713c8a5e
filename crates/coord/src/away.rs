use statehouse_core::{Error, ErrorKind, Retry};

/// Whether the same call may succeed once the store is back, so that whoever promises to wait for that goes on, with pauses of
/// its own and until its own time is over. That a backend has tried again up to its budget ends nothing: a store may be away
/// for longer than that. What is wrong for ever, and what was closed for good, is not waited for.
///
/// It is no advice for a write that must not be made twice: after [`ErrorKind::OutcomeUnknown`] the next try has to know its
/// own.
pub(crate) fn is_away(error: &Error) -> bool {
    match error.kind() {
        // A program that ends says `Never`.
        ErrorKind::Unavailable => error.retry() != Retry::Never,
        ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::OutcomeUnknown => true,
        _ => error.is_retryable(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_store_that_is_away_is_waited_for_whatever_was_tried_and_what_is_wrong_for_ever_is_not() {
        let advice = [Retry::Now, Retry::After(Duration::from_secs(1)), Retry::Exhausted, Retry::FULL];
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::RateLimited, ErrorKind::OutcomeUnknown] {
            for retry in advice {
                assert!(is_away(&Error::new(kind, "").with_retry(retry)), "{kind} {retry:?}");
            }
        }
        assert!(is_away(&Error::new(ErrorKind::OutcomeUnknown, "")), "its advice is never");
        assert!(!is_away(&Error::abandoned()));
        for kind in [
            ErrorKind::Conflict,
            ErrorKind::Corrupt,
            ErrorKind::Fenced,
            ErrorKind::InvalidConfig,
            ErrorKind::InvalidInput,
            ErrorKind::PermissionDenied,
            ErrorKind::TooLarge,
            ErrorKind::Unauthenticated,
            ErrorKind::Unsupported,
        ] {
            assert!(!is_away(&Error::new(kind, "")), "{kind}");
        }
    }
}
