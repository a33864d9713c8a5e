//! The bodies of answers, of which no server decides how long they are.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

/// How much is read of an answer that is no success: what OpenSearch says of a failure is much shorter.
const MAX_ERROR: usize = 64 << 10;

/// How long the body of such an answer may take. Its status is known by then, and says most of it.
const ERROR_TIME: Duration = Duration::from_secs(2);

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// As far as it is wanted.
    Whole(Bytes),
    /// It is longer than it may be.
    Long,
}

/// The body of a success, if it has at most `limit` bytes. The time is bounded by the request's.
pub(super) async fn whole(mut response: Response, limit: u64) -> reqwest::Result<Body> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Ok(Body::Long);
    }
    let Some(first) = response.chunk().await? else { return Ok(Body::Whole(Bytes::new())) };
    let Some(second) = response.chunk().await? else { return Ok(within(first, limit)) };
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut body = BytesMut::with_capacity(expected.max(first.len() + second.len()));
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    while body.len() as u64 <= limit {
        match response.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(within(body.freeze(), limit)),
        }
    }
    Ok(Body::Long)
}

fn within(body: Bytes, limit: u64) -> Body {
    if body.len() as u64 <= limit { Body::Whole(body) } else { Body::Long }
}

/// The beginning of the body of an answer that is no success: what has arrived of it counts, however it ends.
pub(super) async fn beginning(mut response: Response) -> Body {
    let until = Instant::now() + ERROR_TIME;
    let mut body = BytesMut::new();
    while body.len() < MAX_ERROR {
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR - body.len())]),
            _ => break,
        }
    }
    Body::Whole(body.freeze())
}
