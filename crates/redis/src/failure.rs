//! Why a try failed, and how far it came: what decides whether it may be repeated.

use std::io;
use std::sync::Arc;

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
    /// Of what was sent and not answered: the connection over which it went, if the server has said what it calls it.
    pub(crate) over: Option<Arc<Carrier>>,
}

/// A connection that carried a request.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// The server's name here.
    pub(crate) server: Arc<str>,
    /// The number that the server has for it: it gives none out twice while it runs.
    pub(crate) client: u64,
}

impl Failure {
    const fn new(error: RedisError, sent: Sent) -> Self {
        Self { error, sent, over: None }
    }

    pub(crate) const fn not_sent(error: RedisError) -> Self {
        Self::new(error, Sent::No)
    }

    pub(crate) const fn away(error: RedisError) -> Self {
        Self::new(error, Sent::Away)
    }

    pub(crate) const fn unanswered(error: RedisError) -> Self {
        Self::new(error, Sent::Unanswered)
    }

    pub(crate) fn answered(error: RedisError) -> Self {
        let inner = inner_code(error.code().unwrap_or_default(), error.detail());
        let inner = inner.map(|code| redis::make_extension_error(code.to_owned(), None));
        Self::new(inner.unwrap_or(error), Sent::Answered)
    }

    /// With the connection over which the request went, if it is known and that matters.
    pub(crate) fn over(mut self, server: &Arc<str>, client: Option<u64>) -> Self {
        if self.sent == Sent::Unanswered {
            self.over = client.map(|client| Arc::new(Carrier { server: Arc::clone(server), client }));
        }
        self
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
            Some((_, error)) => Self { error: error.into(), ..self },
            None => self,
        }
    }
}

/// What a server says that refuses what a script calls. Before Redis 7 the code stands at the end of a sentence of its own:
/// `ERR Error running script (call to f_0f2c): @user_script:7: @user_script: 7: -READONLY You can't …`, and
/// `@user_script: 7: -READONLY You can't …` of an error that the script hands on.
const OF_SCRIPTS: [&str; 8] =
    ["READONLY", "NOREPLICAS", "MISCONF", "OOM", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "WRONGTYPE"];

/// The code within such a sentence.
pub(crate) fn inner_code(code: &str, detail: Option<&str>) -> Option<&'static str> {
    if code != "ERR" && !code.starts_with("@user_script") {
        return None;
    }
    let (_, last) = detail?.rsplit_once(": -")?;
    let word = last.split(' ').next()?;
    OF_SCRIPTS.into_iter().find(|code| *code == word)
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

/// How it is told of a server that answers, and is no sentinel.
pub(crate) const NO_SENTINEL: &str = "no sentinel";

pub(crate) fn no_sentinel() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, NO_SENTINEL).into()
}

/// How the error of an answer above the limit begins.
pub(crate) const TOO_LARGE: &str = "an answer of more than";
