//! Work on the threads where it may wait for the disk or take its time.

use statehouse_core::{Error, Result};
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

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

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
