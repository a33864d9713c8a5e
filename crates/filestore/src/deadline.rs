//! How long one call may take, if the caller says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use statehouse_core::{Error, ErrorKind, Result, Retry};

use crate::body::Body;

/// Ends work that changes nothing.
pub(crate) async fn read<T>(deadline: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(late(deadline)))
}

/// Ends work that may have been done by then.
pub(crate) async fn write<T>(deadline: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(unknown(deadline)))
}

/// Ends a put. As long as its body has not ended, nothing of it is visible or will be.
pub(crate) async fn put<T, F>(deadline: Option<Duration>, body: Body, work: impl FnOnce(Body) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let Some(deadline) = deadline else { return work(body).await };
    let ended = Arc::new(AtomicBool::new(false));
    let body = watched(body, Arc::clone(&ended));
    let done = tokio::time::timeout(deadline, work(body)).await;
    done.unwrap_or_else(|_| Err(if ended.load(Ordering::Acquire) { unknown(deadline) } else { late(deadline) }))
}

/// Sets the flag when the body has ended.
fn watched(body: Body, ended: Arc<AtomicBool>) -> Body {
    let len = body.len();
    match body.into_bytes() {
        Ok(bytes) => {
            ended.store(true, Ordering::Release);
            bytes.into()
        }
        Err(stream) => {
            let end = futures_util::stream::poll_fn(move |_| {
                ended.store(true, Ordering::Release);
                std::task::Poll::Ready(None)
            });
            let body = Body::from(stream.chain(end).boxed());
            match len {
                Some(len) => body.with_len(len),
                None => body,
            }
        }
    }
}

fn late(deadline: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("not done within the call's deadline of {deadline:?}"))
        .with_retry(Retry::Exhausted)
}

fn unknown(deadline: Duration) -> Error {
    let message = format!("not answered within the call's deadline of {deadline:?}; it may have been done or still be");
    Error::new(ErrorKind::OutcomeUnknown, message)
}
