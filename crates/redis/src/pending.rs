//! Waiting for the answer to something sent over a shared connection.

use std::io;
use std::pin::Pin;

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::link::{Link, SILENCE};

/// How far a request came that failed. It decides whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was certainly not sent.
    No,
    /// It may have been sent and executed: the answer was lost.
    Unanswered,
    /// The server answered with an error.
    Answered,
    /// It was not sent, because the server is known to be away: the error says why it is thought so.
    Away,
}

/// Why one try failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: RedisError,
    pub(crate) sent: Sent,
}

impl Failure {
    pub(crate) const fn not_sent(error: RedisError) -> Self {
        Self { error, sent: Sent::No }
    }

    pub(crate) const fn away(error: RedisError) -> Self {
        Self { error, sent: Sent::Away }
    }

    pub(crate) const fn unanswered(error: RedisError) -> Self {
        Self { error, sent: Sent::Unanswered }
    }

    pub(crate) const fn answered(error: RedisError) -> Self {
        Self { error, sent: Sent::Answered }
    }

    /// The code of the server's error, such as `READONLY`.
    pub(crate) fn code(&self) -> Option<&str> {
        self.error.code()
    }

    /// The failure that is known by what redis-rs answers: the server's error, or none.
    pub(crate) fn of_reply(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::answered(error).of_first_command(),
            _ => Self::unanswered(error),
        }
    }

    /// A pipeline's or transaction's failure says what its first failed command was answered.
    fn of_first_command(self) -> Self {
        let first = self.error.clone().into_server_errors().and_then(|errors| errors.first().cloned());
        match first {
            Some((_, error)) => Self { error: error.into(), sent: self.sent },
            None => self,
        }
    }
}

pub(crate) fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

pub(crate) fn connection_lost() -> RedisError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

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
    reply: Pin<&mut impl Future<Output = RedisResult<T>>>,
    until: Instant,
) -> RedisResult<T> {
    link.doubt(generation);
    tokio::select! {
        biased;
        answer = reply => answer,
        () = link.lost(generation) => Err(connection_lost()),
        () = sleep_until(until) => Err(timed_out()),
    }
}
