//! Why a try failed, and how far it came: what decides whether it may be repeated.

use std::io;

use redis::{ErrorKind, RedisError};

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

pub(crate) fn not_the_master() -> RedisError {
    redis::make_extension_error("NOTMASTER".to_owned(), None)
}

pub(crate) fn no_owner() -> RedisError {
    redis::make_extension_error("NOOWNER".to_owned(), None)
}

pub(crate) fn no_such_master() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no such master").into()
}

/// How the error of an answer above the limit begins.
pub(crate) const TOO_LARGE: &str = "an answer of more than";
