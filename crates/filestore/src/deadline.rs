//! How long one call may take, if the caller says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use statehouse_core::Result;
use statehouse_core::deadline::{in_doubt, not_done, within};

use crate::body::Body;

/// Ends work that changes nothing.
pub(crate) fn read<T>(
    deadline: Option<Duration>,
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    within(deadline, tokio::time::sleep, not_done, work)
}

/// Ends work that may have been done by then.
pub(crate) fn write<T>(
    deadline: Option<Duration>,
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    within(deadline, tokio::time::sleep, in_doubt, work)
}

/// Ends a put. As long as its body has not ended, nothing of it is visible or will be.
pub(crate) async fn put<T, F>(deadline: Option<Duration>, body: Body, work: impl FnOnce(Body) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    if deadline.is_none() {
        return work(body).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let body = watched(body, Arc::clone(&ended));
    let late = |limit| if ended.load(Ordering::Acquire) { in_doubt(limit) } else { not_done(limit) };
    within(deadline, tokio::time::sleep, late, work(body)).await
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
