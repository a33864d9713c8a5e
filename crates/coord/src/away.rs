use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

/// A try has so much time at least, however little is left.
const SHORTEST: Duration = Duration::from_secs(1);

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

/// How long a try may take of who waits for so long, of which so much is left: whoever waits is told soon after that.
pub(crate) fn time_of_try(patience: Duration, wait: Duration, left: Duration) -> Duration {
    if wait.is_zero() { patience } else { patience.min(left.max(SHORTEST)) }
}

/// What a store answers to a request that it is given so much time for. One that keeps to no deadline is left to itself.
pub(crate) async fn answer_in<T>(time: Duration, request: impl Future<Output = Result<T>>) -> Result<T> {
    let not_ended =
        |_| Err(Error::new(ErrorKind::OutcomeUnknown, "the store has not ended a request in the time that it had"));
    timeout(time + SHORTEST, request).await.unwrap_or_else(not_ended)
}

#[cfg(test)]
mod tests {
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
