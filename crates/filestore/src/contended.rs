//! Repeating what two have written at the same moment.

use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};

/// How often it is tried. With the pauses in between these are some three seconds.
const TRIES: u32 = 10;

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Whether an error is of two who write at the same moment: nothing was done, and nobody has looked at the condition.
pub(crate) fn is_contended(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && error.is_retryable()
}

/// Does it again for as long as another write is in its way, a few times at most.
pub(crate) async fn insist<T, F>(mut work: impl FnMut() -> F + Send) -> Result<T>
where
    F: Future<Output = Result<T>> + Send,
{
    let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
    for _ in 1..TRIES {
        match work().await {
            Err(error) if is_contended(&error) => tokio::time::sleep(pauses.pause()).await,
            done => return done,
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use statehouse_core::Retry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_contended_is_done_again_and_not_for_ever() {
        let contended = Error::new(ErrorKind::Conflict, "x").with_retry(Retry::Now);
        for (error, expected) in [
            (contended, TRIES),
            (Error::new(ErrorKind::Conflict, "x"), 1),
            (Error::new(ErrorKind::Unavailable, "x").with_retry(Retry::Now), 1),
        ] {
            let (mut tries, kind) = (0, error.kind());
            let (retry, failed) = (error.retry(), || Err::<(), _>(Error::new(kind, "x").with_retry(error.retry())));
            let done = insist(|| {
                tries += 1;
                std::future::ready(failed())
            });
            let told = done.await.unwrap_err();
            assert_eq!((told.kind(), told.retry(), tries), (kind, retry, expected));
        }
    }
}
