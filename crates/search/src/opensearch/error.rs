//! The only place where what OpenSearch or the network says becomes an [`Error`].
//!
//! OpenSearch's own reasons are left out of messages: some of them quote a document's values.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Retry, Unreached, causes};

pub(super) const BACKEND: &str = "opensearch";

/// What the server says of a failure: the type of the exception that explains it, if it says one.
///
/// Errors come as an object with causes, or as a plain string when no handler was reached.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reported {
    Exception(Exception),
    Text(#[expect(dead_code, reason = "read only to accept the shape")] String),
}

#[derive(Debug, Deserialize)]
pub(super) struct Exception {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    root_cause: Vec<Self>,
    caused_by: Option<Box<Self>>,
}

impl Exception {
    /// The exception that explains the failure: one of a phase or of the transport only wraps it.
    pub(super) fn kind(&self) -> Option<&str> {
        match self.kind.as_deref() {
            Some(kind) if wraps(kind) => {
                let inside = self.root_cause.iter().chain(self.caused_by.as_deref());
                inside.filter_map(Self::kind).find(|kind| !wraps(kind)).or(Some(kind))
            }
            kind => kind,
        }
    }

    /// Whether the index is not there.
    pub(super) fn lacks_index(&self) -> bool {
        // What it makes of a delete with a version, for which it would make an index were the name one.
        let kinds = ["index_not_found_exception", "invalid_index_name_exception"];
        self.any(&|one| one.kind.as_deref().is_some_and(|kind| kinds.contains(&kind)))
    }

    /// Whether a hit has several values of the field that hits are collapsed by: the server has no name for it.
    pub(super) fn says_several_values(&self) -> bool {
        let said = "the collapse field must be single valued";
        self.any(&|one| one.reason.as_deref().is_some_and(|reason| reason.ends_with(said)))
    }

    /// Whether one of them is like this.
    fn any(&self, like: &dyn Fn(&Self) -> bool) -> bool {
        like(self) || self.root_cause.iter().chain(self.caused_by.as_deref()).any(|inside| inside.any(like))
    }

    /// What a block is called, without the name of the index. No other reason is shown: it may quote a document.
    fn block(&self) -> Option<&str> {
        self.kind().filter(|kind| blocks(kind))?;
        let (_, block) = self.reason.as_deref()?.split_once("blocked by: [")?;
        block.split('/').nth(2)?.split(']').next()
    }
}

fn wraps(kind: &str) -> bool {
    matches!(
        kind,
        "search_phase_execution_exception" | "remote_transport_exception" | "exception" | "runtime_exception"
    )
}

/// Whether an exception says that somebody, or the cluster for want of disk, has stopped such requests.
fn blocks(kind: &str) -> bool {
    matches!(kind, "cluster_block_exception" | "index_create_block_exception")
}

#[derive(Deserialize)]
struct Failure {
    error: Option<Reported>,
}

/// The exception in an answer that is not a success.
fn reported(body: &[u8]) -> Option<Exception> {
    match serde_json::from_slice::<Failure>(body).ok()?.error? {
        Reported::Exception(exception) => Some(exception),
        Reported::Text(_) => None,
    }
}

/// Whether an answer that is not a success says that what it would be read of is gone for good: its index is not there or
/// closed, or its node has left the cluster, for which the server has no name of its own.
pub(super) fn lacks_state(body: &[u8]) -> bool {
    reported(body).is_some_and(|exception| {
        exception.any(&|one| match one.kind.as_deref() {
            Some("index_not_found_exception" | "index_closed_exception") => true,
            Some("illegal_state_exception") => {
                one.reason.as_deref().is_some_and(|why| why.starts_with("no node found"))
            }
            _ => false,
        })
    })
}

/// The error for an answer that is not a success, whatever its body, `from` this node.
pub(super) fn of_answer(status: u16, body: &[u8], from: &dyn fmt::Display) -> Error {
    // OpenSearch says also of what it does not know what that is.
    if status == 404 && serde_json::from_slice::<Failure>(body).is_err() {
        let message = format!("something answers that is not OpenSearch (status {status}, from {from})");
        return Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND).with_retry(BACK_OFF);
    }
    of_report(status, reported(body).as_ref(), format_args!(", from {from}"))
}

/// The error for one exception of an item of a bulk, a document or a shard.
pub(super) fn of_exception(status: u16, exception: Option<&Exception>) -> Error {
    of_report(status, exception, format_args!(""))
}

fn of_report(status: u16, exception: Option<&Exception>, from: fmt::Arguments<'_>) -> Error {
    if exception.is_some_and(Exception::says_several_values) {
        return of_several_values();
    }
    let name = exception.and_then(Exception::kind);
    let (kind, retry, meaning) = classify(status, name.unwrap_or_default());
    let block = exception.and_then(Exception::block).map(|block| format!(": {block}")).unwrap_or_default();
    let name = name.map(|name| format!(", {name}")).unwrap_or_default();
    let error = Error::new(kind, format!("{meaning}{block} (status {status}{name}{from})"));
    error.with_backend(BACKEND).with_retry(retry)
}

/// The error where the server has given up.
pub(super) fn of_stopped() -> Error {
    Error::new(ErrorKind::Timeout, "OpenSearch stopped before it had seen all documents").with_backend(BACKEND)
}

/// The error where hits are collapsed by a field of which one has several values.
pub(super) fn of_several_values() -> Error {
    crate::request::several_values().with_backend(BACKEND)
}

/// What an answer says of the chance of another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another try would be answered in the same way.
    Final,
    /// Nothing was done, and it may go better soon or elsewhere.
    Refused,
    /// It may have been done, and may go better soon or elsewhere.
    Failed,
}

impl Verdict {
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        if matches!(status, 200..=299) {
            return Self::Final;
        }
        Self::of_exception(status, reported(body).as_ref())
    }

    pub(super) fn of_exception(status: u16, exception: Option<&Exception>) -> Self {
        match (status, exception.and_then(Exception::kind).unwrap_or_default()) {
            // While a cluster starts its state is blocked; any other block stays until somebody lifts it.
            (503, name) if blocks(name) => Self::Refused,
            (_, name) if blocks(name) => Self::Final,
            (_, "too_many_buckets_exception") => Self::Final,
            (429 | 503, _) => Self::Refused,
            // A proxy's answer: the node behind it may have done what was asked.
            (502 | 504, _) => Self::Failed,
            (_, name) if is_passing(name) => Self::Failed,
            _ => Self::Final,
        }
    }

    /// Of an item of a bulk, or a document. A node sends such a one again by itself where another has broken the connection, and says in
    /// the end only that the shard is not there, with 503: the first may have done it.
    pub(super) fn of_item(status: u16, exception: Option<&Exception>) -> Self {
        let blocked = exception.and_then(Exception::kind).is_some_and(blocks);
        match Self::of_exception(status, exception) {
            Self::Refused if status != 429 && !blocked => Self::Failed,
            verdict => verdict,
        }
    }
}

/// Whether an exception says that a shard, a node or the cluster's manager is not there now: after a restart, while
/// shards move, and when nodes leave. Their status depends on the way they took: 503, 500, 404 or none.
fn is_passing(exception: &str) -> bool {
    const PASSING: [&str; 29] = [
        "already_closed_exception",
        "alreadyclosed_exception",
        "cluster_manager_not_discovered_exception",
        "connect_transport_exception",
        "failed_to_commit_cluster_state_exception",
        "illegal_index_shard_state_exception",
        "master_not_discovered_exception",
        "no_longer_primary_shard_exception",
        "no_node_available_exception",
        "no_seed_node_left_exception",
        "no_shard_available_action_exception",
        "node_closed_exception",
        "node_decommissioned_exception",
        "node_disconnected_exception",
        "node_health_check_failure_exception",
        "node_not_connected_exception",
        "node_weighed_away_exception",
        "not_cluster_manager_exception",
        "not_master_exception",
        "primary_missing_action_exception",
        "process_cluster_event_timeout_exception",
        "receive_timeout_transport_exception",
        "retry_on_primary_exception",
        "retry_on_replica_exception",
        "send_request_transport_exception",
        "shard_not_found_exception",
        "shard_not_in_primary_mode_exception",
        "task_cancelled_exception",
        "unavailable_shards_exception",
    ];
    // As of a shard that starts, recovers, moves or is closed.
    PASSING.contains(&exception) || exception.starts_with("index_shard_")
}

/// How long to leave a server alone that asks for it. It never says how long itself.
pub(super) const BACK_OFF: Retry = Retry::After(Duration::from_millis(500));

const NOT_HELD: &str = "the state of the index that was read is no longer held: begin anew";

const BLOCKED: &str = "the index or cluster is blocked for this";

fn classify(status: u16, exception: &str) -> (ErrorKind, Retry, &'static str) {
    use ErrorKind as K;
    match (status, exception) {
        // With status 503, as if it could go better in a moment.
        (_, "too_many_buckets_exception") => (K::InvalidInput, Retry::Never, "what is counted has too many buckets"),
        (401, _) => (K::Unauthenticated, Retry::Never, "OpenSearch refused the user name or password"),
        (_, "version_conflict_engine_exception") => (K::Conflict, Retry::Never, "a newer version is there"),
        // A node that started anew, or an index that was opened anew, has none of those from before.
        (_, "search_context_missing_exception") => (K::Conflict, Retry::Never, NOT_HELD),
        (_, "index_not_found_exception" | "invalid_index_name_exception") => {
            (K::Unavailable, Retry::Never, "the index is gone from OpenSearch")
        }
        (_, "index_closed_exception") => (K::Unavailable, Retry::Never, "the index is closed"),
        (503, name) if blocks(name) => (K::Unavailable, BACK_OFF, BLOCKED),
        // For want of disk above all.
        (_, name) if blocks(name) => (K::Unavailable, Retry::FULL, BLOCKED),
        (_, name) if is_passing(name) => (K::Unavailable, BACK_OFF, "a shard or node is not there now"),
        (_, "resource_already_exists_exception") => (K::AlreadyExists, Retry::Never, "it exists already"),
        (_, "circuit_breaking_exception") => (K::RateLimited, BACK_OFF, "OpenSearch is short of memory"),
        (429, _) => (K::RateLimited, BACK_OFF, "OpenSearch asks for fewer requests"),
        (403, _) => (K::PermissionDenied, Retry::Never, "OpenSearch does not allow this user to do it"),
        (413, _) => (K::TooLarge, Retry::Never, "the request is larger than OpenSearch accepts"),
        // Every body of ours has a type that it takes.
        (406 | 415, _) => {
            (K::InvalidConfig, Retry::Never, "something in between takes the Content-Type of requests away")
        }
        (408, _) => (K::Timeout, Retry::Now, "OpenSearch gave up waiting"),
        (409, _) => (K::Conflict, Retry::Never, "a concurrent change won"),
        (404, _) => (K::NotFound, Retry::Never, "OpenSearch does not know it"),
        (400, "illegal_argument_exception" | "mapper_parsing_exception") => {
            (K::InvalidInput, Retry::Never, "OpenSearch does not accept a value")
        }
        (400, "strict_dynamic_mapping_exception") => {
            (K::InvalidInput, Retry::Never, "the index does not have such a field")
        }
        (400, "") => (K::Unexpected, Retry::Never, "OpenSearch did not understand the request"),
        (400, _) => (K::InvalidInput, Retry::Never, "OpenSearch does not accept the request"),
        (502..=504, _) => (K::Unavailable, BACK_OFF, "OpenSearch cannot serve this now"),
        _ => (K::Unexpected, Retry::Never, "OpenSearch answered with an error"),
    }
}

/// What it means that a request was sent and no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    Reads,
    /// It may have been applied, and sending it again is safe: its writes carry versions.
    Repeatable,
    /// It may have been applied, and sending it again could overwrite somebody else's newer document.
    Once,
}

/// What happened to one attempt that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// No connection: nothing was sent.
    Unreached,
    /// No connection, because the node's certificate is not trusted.
    Untrusted,
    /// The connection broke, or its answer could not be read to the end.
    Broken,
    /// The time was up.
    TimedOut,
}

impl Lost {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        // A timeout while connecting is both; nothing was sent then.
        if certificate_error(error).is_some() {
            Self::Untrusted
        } else if error.is_connect() {
            Self::Unreached
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken
        }
    }
}

/// What is wrong with a node's certificate, if that is why there is no connection.
fn certificate_error(error: &reqwest::Error) -> Option<&rustls::CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref()? {
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        _ => None,
    })
}

/// Whether the node was reached and spoke something else than TLS.
pub(super) fn is_wrong_language(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

/// Whether the node speaks TLS: it got as far as showing a certificate, or refused in a way that only TLS has.
pub(super) fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidMessage(_)) | None => false,
        Some(_) => true,
    })
}

/// Why there is no connection, and where to look.
fn unreached(error: &reqwest::Error) -> String {
    let why = if error.is_timeout() { Some(Unreached::TimedOut) } else { Unreached::of(error) };
    match why {
        Some(why) => format!(": {why}"),
        None if is_wrong_language(error) => ": it does not speak TLS".to_owned(),
        None => String::new(),
    }
}

/// What is wrong with a certificate, and what to do about it.
fn untrusted(error: &reqwest::Error) -> String {
    match certificate_error(error) {
        Some(reason @ rustls::CertificateError::UnknownIssuer) => {
            format!(": {reason}; name the file of its authority by the parameter \"ca\"")
        }
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    }
}

/// The error for an attempt on `node` that got no answer.
pub(super) fn of_lost(lost: Lost, effect: Effect, node: &dyn fmt::Display, cause: &reqwest::Error) -> Error {
    let (kind, happened) = match (lost, effect) {
        (Lost::Unreached, _) => (ErrorKind::Unavailable, "cannot be reached"),
        (Lost::Untrusted, _) => (ErrorKind::InvalidConfig, "has a certificate that is not trusted"),
        (Lost::Broken, Effect::Reads) => (ErrorKind::Unavailable, "broke the connection"),
        (Lost::TimedOut, Effect::Reads) => (ErrorKind::Timeout, "did not answer in time"),
        (Lost::Broken, _) => (ErrorKind::OutcomeUnknown, "broke the connection before it answered"),
        (Lost::TimedOut, _) => (ErrorKind::OutcomeUnknown, "did not answer in time"),
    };
    let reason = match lost {
        Lost::Unreached => unreached(cause),
        Lost::Untrusted => untrusted(cause),
        Lost::Broken | Lost::TimedOut => String::new(),
    };
    let error = Error::new(kind, format!("OpenSearch at {node} {happened}{reason}")).with_backend(BACKEND);
    let error = match causes(cause).last() {
        // The message has said it.
        _ if lost == Lost::Untrusted => error,
        // The layers around it say only that a request failed.
        last => error.with_source(last.map(ToString::to_string).unwrap_or_default()),
    };
    if kind == ErrorKind::OutcomeUnknown && effect == Effect::Repeatable { error.with_retry(Retry::Now) } else { error }
}

/// The error for an answer of more bytes than are read.
pub(super) fn of_long_answer(effect: Effect, limit: u64, node: &dyn fmt::Display) -> Error {
    let message = format!("the answer of OpenSearch at {node} is longer than \"max_answer\", {limit} bytes");
    let error = Error::new(ErrorKind::TooLarge, message).with_backend(BACKEND);
    if effect == Effect::Reads { error } else { of_doubt(effect, error) }
}

/// Whether what was asked for is not there, as the server says for good.
pub(super) fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.retry() == Retry::Never
}

/// The error where an index was looked for that was there before.
pub(super) fn of_gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the index is gone").with_backend(BACKEND).with_retry(Retry::Never)
}

/// The error for an answer to another question.
pub(super) fn of_other_question(what: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, what).with_backend(BACKEND)
}

/// The error for a write of which an earlier try may have been applied and a later one failed like this.
pub(super) fn of_doubt(effect: Effect, last: Error) -> Error {
    let message = "an earlier try may have been applied, and OpenSearch failed to say so since";
    let retry = if effect == Effect::Repeatable { last.retry() } else { Retry::Never };
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_retry(retry).with_source(last)
}

/// Some of the index can be neither read nor written now.
pub(super) fn of_missing_shard() -> Error {
    let error = Error::new(ErrorKind::Unavailable, "a shard of the index has no copy to serve it");
    error.with_backend(BACKEND).with_retry(BACK_OFF)
}

/// The error for an answer that says success in a form that cannot be read.
pub(super) fn of_broken_body(cause: serde_json::Error) -> Error {
    let message = "OpenSearch answered with something that is not its usual form";
    Error::new(ErrorKind::Unexpected, message).with_backend(BACKEND).with_source(Position(cause))
}

/// Where the parser stopped, without the text that it quotes.
#[derive(Debug)]
struct Position(serde_json::Error);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(f, "unreadable at line {}, column {} ({:?})", error.line(), error.column(), error.classify())
    }
}

impl std::error::Error for Position {}

#[cfg(test)]
mod tests;
