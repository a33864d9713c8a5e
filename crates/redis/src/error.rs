//! The only mapping from what redis-rs and the server say to [`statehouse_core::Error`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use redis::{ErrorKind as RedisKind, RedisError, ServerErrorKind};
use statehouse_core::{Error, ErrorKind, Retry};

use crate::failure::{Failure, NO_SENTINEL, Sent, TOO_LARGE};
use crate::idempotence::Idempotence;

const SOON: Retry = Retry::After(Duration::from_millis(100));
pub(crate) const LATER: Retry = Retry::After(Duration::from_secs(1));

/// The oldest servers that know every command that the statehouse services send: `SET` with `GET` is of 6.2.
pub(crate) const OLDEST: (u32, u32) = (6, 2);

/// What a script answers that was to run by an earlier time.
pub(crate) const LATE: &str = "LATE";

/// What this crate says of a write that too few replicas had in time.
pub(crate) const UNREPLICATED: &str = "UNREPLICATED";

/// What a script answers that was to run under a lock that somebody else has acquired since.
const FENCED: &str = "FENCED";

/// [`OLDEST`] in words.
pub(crate) const NEEDED: &str = "it must be Redis 6.2 or newer, or Valkey";

/// In the midst of a connection that is a broken way; when it is opened, it is another service.
pub(crate) const NOT_REDIS: &str = "answered with something that is not the Redis protocol";

/// A server that is away is asked again at least this often.
const NEXT_PROBE: Retry = Retry::After(Duration::from_millis(500));

/// Whether the request may be sent again: it was certainly not executed, or repeating it does no harm; and the reason
/// may pass.
pub(crate) fn may_retry(failure: &Failure, idempotence: Idempotence) -> bool {
    match failure.sent {
        Sent::No | Sent::Unanswered if is_refusal(&failure.error) => false,
        Sent::No => true,
        Sent::Unanswered => idempotence == Idempotence::Idempotent,
        Sent::Answered => is_passing(&failure.error),
        // Whoever waits for such a server waits in vain, and everybody does.
        Sent::Away => false,
    }
}

/// Whether the server said that it can't serve now and has executed nothing.
fn is_passing(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" | "BUSY" | LATE)
    )
}

/// Whether the server said that it is there, is busy, and will soon be done. It is asked until the deadline, and not only
/// a number of times.
pub(crate) fn is_busy(error: &RedisError) -> bool {
    matches!(error.code(), Some("BUSY" | "LOADING" | "TRYAGAIN"))
}

/// Whether connecting fails in a way that trying again won't change.
fn is_refusal(error: &RedisError) -> bool {
    let lasting =
        [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied, ErrorKind::InvalidConfig, ErrorKind::TooLarge];
    lasting.contains(&classify(error).0)
}

/// Whether the server's answer is longer than any that is taken.
pub(crate) fn is_too_large(error: &RedisError) -> bool {
    classify(error).0 == ErrorKind::TooLarge
}

/// Whether another look might find the server well.
pub(crate) fn may_pass(error: &Error) -> bool {
    [ErrorKind::Timeout, ErrorKind::Unavailable].contains(&error.kind())
}

/// The error for the caller. `place` says which Redis; `exhausted`, that this crate has retried already.
pub(crate) fn map_error(failure: &Failure, idempotence: Idempotence, place: &str, exhausted: bool) -> Error {
    if failure.sent == Sent::Away {
        return away(failure, place);
    }
    let (kind, retry, reason) = classify(&failure.error);
    let lost = failure.sent == Sent::Unanswered && idempotence == Idempotence::NotIdempotent;
    let (kind, retry) = if lost { (ErrorKind::OutcomeUnknown, Retry::Never) } else { (kind, retry) };
    let passing = matches!(retry, Retry::Now | Retry::After(_));
    let retry = if exhausted && passing { Retry::Exhausted } else { retry };
    let message = if lost {
        format!("{place} was sent the command and its answer was lost: {reason}")
    } else {
        format!("{place} {reason}")
    };
    with_cause(Error::new(kind, message).with_backend("redis").with_retry(retry), failure)
}

/// With what redis-rs said as the source, unless the message says it already.
fn with_cause(error: Error, failure: &Failure) -> Error {
    let cause = Cause::of(&failure.error);
    if error.message().contains(&cause.0) { error } else { error.with_source(cause) }
}

/// The error for a request that was not sent, because its server has been silent for a while.
fn away(failure: &Failure, place: &str) -> Error {
    let (kind, retry, reason) = classify(&failure.error);
    let error = match kind {
        ErrorKind::Timeout | ErrorKind::Unavailable => {
            let message = format!("{place} is away: it {reason}, and is asked nothing until it answers a probe");
            Error::new(ErrorKind::Unavailable, message).with_retry(NEXT_PROBE)
        }
        _ => Error::new(kind, format!("{place} {reason}")).with_retry(retry),
    };
    with_cause(error.with_backend("redis"), failure)
}

/// The error for an answer that is not of the type the operation expects.
///
/// redis-rs' own error is not kept: it prints the value, and values never appear in errors.
pub(crate) fn unexpected_reply(place: &str) -> Error {
    let message = format!("{place} answered with something of another type than expected");
    Error::new(ErrorKind::Unexpected, message).with_backend("redis")
}

/// The error for a script of a service that answered what it does not say.
#[must_use]
pub fn unexpected_answer() -> Error {
    Error::new(ErrorKind::Unexpected, "the server answered something that the script does not say")
        .with_backend("redis")
}

fn classify(error: &RedisError) -> (ErrorKind, Retry, Cow<'static, str>) {
    match error.kind() {
        RedisKind::AuthenticationFailed => {
            (ErrorKind::Unauthenticated, Retry::Never, "refused the login: user or password is wrong".into())
        }
        RedisKind::Io => classify_io(error),
        // Of a connection that ended in the middle of an answer: what is whole never lacks anything.
        RedisKind::Parse if error.to_string().contains("end of input") => {
            (ErrorKind::Unavailable, Retry::Now, "ended the connection in the middle of an answer".into())
        }
        RedisKind::Parse => (ErrorKind::Unexpected, Retry::Now, NOT_REDIS.into()),
        RedisKind::RESP3NotSupported => {
            (ErrorKind::InvalidConfig, Retry::Never, format!("does not know HELLO: {NEEDED}").into())
        }
        RedisKind::MasterNameNotFoundBySentinel if error.to_string().contains(NO_SENTINEL) => {
            let reason = "is asked for at a server that is no sentinel: give the sentinels' ports, or the scheme redis";
            (ErrorKind::InvalidConfig, Retry::Never, reason.into())
        }
        RedisKind::MasterNameNotFoundBySentinel => {
            (ErrorKind::InvalidConfig, Retry::Never, "is not known by that name to its sentinels".into())
        }
        RedisKind::InvalidClientConfig => (ErrorKind::Unavailable, SOON, "cannot be connected to".into()),
        RedisKind::Server(_) | RedisKind::Extension => classify_answer(error),
        _ => (ErrorKind::Unexpected, Retry::Never, "failed in the client".into()),
    }
}

fn classify_io(error: &RedisError) -> (ErrorKind, Retry, Cow<'static, str>) {
    if error.is_timeout() {
        return (ErrorKind::Timeout, Retry::Now, "did not answer in time".into());
    }
    if error.to_string().contains(TOO_LARGE) {
        return (ErrorKind::TooLarge, Retry::Never, format!("began {error}").into());
    }
    if is_certificate_error(error) {
        let message = format!("has a certificate that is not trusted ({error}): \"ca\" names the authority to trust");
        return (ErrorKind::InvalidConfig, Retry::Never, message.into());
    }
    if error.is_connection_refusal() {
        return (ErrorKind::Unavailable, SOON, "refused the connection: nothing listens on that port".into());
    }
    if error.to_string().contains("lookup address") {
        return (ErrorKind::Unavailable, SOON, "has a name that does not resolve to an address".into());
    }
    (ErrorKind::Unavailable, Retry::Now, "cannot be reached".into())
}

/// rustls' errors arrive as `InvalidData`; its type is not named without the `tls` feature.
fn is_certificate_error(error: &RedisError) -> bool {
    let text = error.to_string();
    error.is_io_error() && (text.contains("certificate") || text.contains("Certificate"))
}

fn classify_answer(error: &RedisError) -> (ErrorKind, Retry, Cow<'static, str>) {
    let (kind, retry, reason) = match error.code().unwrap_or_default() {
        "NOAUTH" => (ErrorKind::Unauthenticated, Retry::Never, "requires a password, and none is given"),
        "WRONGPASS" => (ErrorKind::Unauthenticated, Retry::Never, "refused the login: user or password is wrong"),
        "NOPERM" => {
            (ErrorKind::PermissionDenied, Retry::Never, "does not allow this user the command or key: see ACL GETUSER")
        }
        "READONLY" | "NOTMASTER" => (ErrorKind::Unavailable, SOON, "is a replica: a failover may be under way"),
        "LOADING" => (ErrorKind::Unavailable, SOON, "is loading its data"),
        "MASTERDOWN" => (ErrorKind::Unavailable, SOON, "is a replica that lost its master"),
        "CLUSTERDOWN" | "NOOWNER" => (ErrorKind::Unavailable, SOON, "has no server for the key's slot now"),
        "TRYAGAIN" | "MOVED" | "ASK" => (ErrorKind::Unavailable, SOON, "is moving the key's slot"),
        "BUSY" => (ErrorKind::Unavailable, SOON, "is busy running a script"),
        FENCED => {
            (ErrorKind::Fenced, Retry::Never, "has seen that somebody else acquired the lock since, and did nothing")
        }
        LATE => (ErrorKind::Timeout, Retry::Now, "got the request too late, and did nothing"),
        "OOM" => {
            (ErrorKind::Unavailable, Retry::FULL, "is out of memory: maxmemory is reached and nothing may be evicted")
        }
        "MISCONF" => (ErrorKind::Unavailable, Retry::FULL, "refuses writes: it cannot save to its disk"),
        "NOREPLICAS" => (ErrorKind::Unavailable, LATER, "refuses writes: it has too few replicas"),
        "WRONGTYPE" => (ErrorKind::Corrupt, Retry::Never, "has something of another type under the key"),
        "NOSCRIPT" => (ErrorKind::Unexpected, Retry::Now, "does not have the script"),
        "CROSSSLOT" => (ErrorKind::Unexpected, Retry::Never, "was sent keys of different slots in one command"),
        UNREPLICATED => return unreplicated(error),
        _ => return classify_detail(error),
    };
    (kind, retry, reason.into())
}

/// Of a write that its server has made, and may lose with a failover.
fn unreplicated(error: &RedisError) -> (ErrorKind, Retry, Cow<'static, str>) {
    let why = error.detail().unwrap_or_default();
    (ErrorKind::OutcomeUnknown, Retry::Never, format!("has done it, and a failover may undo it: {why}").into())
}

/// Conditions that Redis tells apart only in the text behind `ERR`.
fn classify_detail(error: &RedisError) -> (ErrorKind, Retry, Cow<'static, str>) {
    let detail = error.detail().unwrap_or_default();
    let has = |text: &str| detail.to_ascii_lowercase().contains(text);
    if has("max number of clients") {
        return (ErrorKind::Unavailable, LATER, "has reached its maxclients".into());
    }
    if has("db index is out of range") || has("invalid db index") || has("select is not allowed") {
        return (ErrorKind::InvalidConfig, Retry::Never, "has no database of that number".into());
    }
    if has("cluster support disabled") {
        return (ErrorKind::InvalidConfig, Retry::Never, "is no node of a cluster: its scheme is redis".into());
    }
    if has("unknown command") || has("unknown subcommand") {
        let message = format!("does not know the command: it is renamed or disabled there, or {NEEDED}");
        return (ErrorKind::Unsupported, Retry::Never, message.into());
    }
    // What a script calls is checked against the rights of the user, and refused in the words of the script's error.
    if has("the user executing the script can't") || has("no permissions to") || has("acl failure in script") {
        let message = "does not allow this user a command or key that a script uses: it needs TIME, and the commands on \
                       the keys of its namespace";
        return (ErrorKind::PermissionDenied, Retry::Never, message.into());
    }
    // The script was running when somebody else's had become too slow, and was stopped.
    if has("script killed by user") {
        return (ErrorKind::Unavailable, SOON, "was told to stop the script".into());
    }
    let message = format!("answered with an error: {}", Cause::of(error));
    (ErrorKind::Unexpected, Retry::Never, message.into())
}

/// What redis-rs said, without what may hold arguments: the server repeats those of an unknown command, and a
/// conversion error repeats the value.
#[derive(Debug)]
pub(crate) struct Cause(String);

impl std::error::Error for Cause {}

impl Cause {
    const LONGEST: usize = 160;

    fn of(error: &RedisError) -> Self {
        let text = match error.kind() {
            RedisKind::Io | RedisKind::InvalidClientConfig => error.to_string(),
            RedisKind::Server(ServerErrorKind::ResponseError) => {
                let detail = error.detail().unwrap_or_default();
                let safe = detail.split(", with args").next().unwrap_or_default();
                format!("ERR {}", safe.chars().take(Self::LONGEST).collect::<String>())
            }
            RedisKind::Server(_) | RedisKind::Extension => error.code().unwrap_or("unknown").to_owned(),
            other => format!("{other:?}"),
        };
        Self(text)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
