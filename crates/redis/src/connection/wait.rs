//! Waiting for the answer to something sent over a shared connection.

use std::pin::Pin;

use redis::RedisResult;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connection::flow::time_for;
use crate::connection::link::{Link, SILENCE};
use crate::failure::{Failure, Sent, connection_lost, timed_out};

/// Waits for `reply` until `until`. After a while of silence the connection is put to the test; if it fails, the wait
/// ends early.
pub(crate) async fn wait<T>(
    link: &Link,
    generation: u64,
    mut reply: Pin<&mut impl Future<Output = RedisResult<T>>>,
    until: Instant,
) -> Result<T, Failure> {
    let mut pending = Pending { link, generation, begun: Instant::now(), answered: false };
    let patience = until.min(pending.begun + SILENCE);
    let answer = match timeout_at(patience, reply.as_mut()).await {
        Ok(answer) => answer,
        // Boxed, so that the usual case does not carry the room for it.
        Err(_) => Box::pin(wait_in_doubt(link, generation, reply, until)).await,
    };
    pending.answered = true;
    match answer {
        Ok(value) => {
            link.heard();
            Ok(value)
        }
        Err(error) => {
            let failure = Failure::of_reply(error);
            if failure.sent == Sent::Answered {
                link.heard();
            } else if failure.error.is_unrecoverable_error() {
                link.broke(generation, "failed while in use");
            }
            Err(failure)
        }
    }
}

/// Tells the link if the caller gives up first.
struct Pending<'a> {
    link: &'a Link,
    generation: u64,
    begun: Instant,
    answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.abandoned(self.generation, self.begun);
        }
    }
}

async fn wait_in_doubt<T>(
    link: &Link,
    generation: u64,
    mut reply: Pin<&mut impl Future<Output = RedisResult<T>>>,
    until: Instant,
) -> RedisResult<T> {
    link.doubt(generation);
    let (before, mut end) = (link.moved(generation), until);
    loop {
        tokio::select! {
            biased;
            answer = reply.as_mut() => return answer,
            () = link.lost(generation) => return Err(connection_lost()),
            () = sleep_until(end) => {}
        }
        // What has come since, of this answer and of those before it, has the time that it needs, and so has the rest of a large
        // value that has begun to come.
        let moved = usize::try_from(link.moved(generation).wrapping_sub(before)).unwrap_or(usize::MAX);
        let longer = until + time_for(moved.saturating_add(link.coming(generation)));
        if longer <= end {
            return Err(timed_out());
        }
        end = longer;
    }
}
