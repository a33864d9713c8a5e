//! Work on the threads where it may wait for the disk.

use statehouse_core::{Error, ErrorKind, Result};

/// Does it there.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    ended(tokio::task::spawn_blocking(work)).await
}

/// Waits for the end of work that was begun.
pub(super) async fn ended<T>(work: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    let stopped = |source| Error::new(ErrorKind::Unavailable, "the runtime is shutting down").with_source(source);
    work.await.map_err(stopped)?
}
