//! Work on the threads where it may wait for the disk or take its time.

use statehouse_core::{Error, ErrorKind, Result};
use tokio::task::{JoinError, JoinHandle};

/// Does it there.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    ended(tokio::task::spawn_blocking(work)).await
}

/// Waits for the end of work that was begun.
pub(crate) async fn ended<T>(work: JoinHandle<Result<T>>) -> Result<T> {
    work.await.map_err(unanswered)?
}

/// Why work on another thread or task gave no answer.
pub(crate) fn unanswered(failed: JoinError) -> Error {
    if failed.is_panic() { Error::panicked() } else { Error::abandoned().with_source(failed) }
}

/// Why a put's task gave no answer. One that has all of its file may have stored it.
pub(crate) fn put_unanswered(failed: JoinError, is_whole: bool) -> Error {
    let error = unanswered(failed);
    if !is_whole {
        return error;
    }
    let message = "the put ended before it was known what has become of it: it may have been done";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_from_the_end_of_the_runtime_and_quotes_nothing() {
        let failed = blocking::<()>(|| panic!("at hunter2")).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unexpected);
        assert!(!format!("{failed:?} {failed:#?}").contains("hunter2"));
        let waiting = tokio::spawn(std::future::pending::<Result<()>>());
        waiting.abort();
        assert_eq!(ended(waiting).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
