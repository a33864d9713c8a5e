//! The only place where what OpenSearch or the network says becomes an [`Error`].
//!
//! OpenSearch's own reasons are left out of messages: some of them quote a document's values.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Retry};

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
    #[serde(default)]
    root_cause: Vec<Self>,
}

impl Exception {
    /// The exception that explains the failure: a phase exception only wraps it.
    pub(super) fn kind(&self) -> Option<&str> {
        let wraps = |kind: &str| matches!(kind, "search_phase_execution_exception" | "remote_transport_exception");
        match self.kind.as_deref() {
            Some(kind) if wraps(kind) => self.root_cause.iter().find_map(Self::kind).or(Some(kind)),
            kind => kind,
        }
    }
}

#[derive(Deserialize)]
struct Failure {
    error: Option<Reported>,
}

/// The error for an answer that is not a success, whatever its body.
pub(super) fn of_answer(status: u16, body: &[u8]) -> Error {
    let failure: Option<Failure> = serde_json::from_slice(body).ok();
    match failure.and_then(|failure| failure.error) {
        Some(Reported::Exception(exception)) => of_exception(status, exception.kind()),
        Some(Reported::Text(_)) | None => of_exception(status, None),
    }
}

/// The error for one exception, of a whole answer, an item of a bulk or a shard.
pub(super) fn of_exception(status: u16, exception: Option<&str>) -> Error {
    let (kind, retry, meaning) = classify(status, exception.unwrap_or_default());
    let exception = exception.map(|exception| format!(", {exception}")).unwrap_or_default();
    let error = Error::new(kind, format!("{meaning} (status {status}{exception})"));
    error.with_backend(BACKEND).with_retry(retry)
}

/// How long to leave a server alone that asks for it. It never says how long itself.
const BACK_OFF: Retry = Retry::After(Duration::from_millis(500));

fn classify(status: u16, exception: &str) -> (ErrorKind, Retry, &'static str) {
    use ErrorKind as K;
    match (status, exception) {
        (401, _) => (K::Unauthenticated, Retry::Never, "OpenSearch refused the user name or password"),
        (_, "version_conflict_engine_exception") => (K::Conflict, Retry::Never, "a newer version is there"),
        (_, "index_not_found_exception") => (K::Unavailable, Retry::Never, "the index is gone from OpenSearch"),
        (_, "index_closed_exception") => (K::Unavailable, Retry::Never, "the index is closed"),
        (_, "cluster_block_exception") => (K::Unavailable, BACK_OFF, "the index or cluster is blocked for this"),
        (_, "resource_already_exists_exception") => (K::AlreadyExists, Retry::Never, "it exists already"),
        (_, "circuit_breaking_exception") => (K::RateLimited, BACK_OFF, "OpenSearch is short of memory"),
        (429, _) => (K::RateLimited, BACK_OFF, "OpenSearch asks for fewer requests"),
        (403, _) => (K::PermissionDenied, Retry::Never, "OpenSearch does not allow this user to do it"),
        (413, _) => (K::TooLarge, Retry::Never, "the request is larger than OpenSearch accepts"),
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
    let mut causes = std::iter::successors(Some(error as Cause<'_>), |cause| within(*cause));
    causes.find_map(|cause| match cause.downcast_ref()? {
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        _ => None,
    })
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// The error inside an I/O error, which its `source` leaves out, or the source of any other.
fn within(error: Cause<'_>) -> Option<Cause<'_>> {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as Cause<'_>),
        None => error.source(),
    }
}

/// The error for an attempt on `node` that got no answer.
pub(super) fn of_lost(lost: Lost, effect: Effect, node: &dyn fmt::Display, cause: reqwest::Error) -> Error {
    let (kind, happened) = match (lost, effect) {
        (Lost::Unreached, _) => (ErrorKind::Unavailable, "cannot be reached"),
        (Lost::Untrusted, _) => (ErrorKind::InvalidConfig, "has a certificate that is not trusted"),
        (Lost::Broken, Effect::Reads) => (ErrorKind::Unavailable, "broke the connection"),
        (Lost::TimedOut, Effect::Reads) => (ErrorKind::Timeout, "did not answer in time"),
        (Lost::Broken, _) => (ErrorKind::OutcomeUnknown, "broke the connection before it answered"),
        (Lost::TimedOut, _) => (ErrorKind::OutcomeUnknown, "did not answer in time"),
    };
    let reason = certificate_error(&cause).map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("OpenSearch at {node} {happened}{reason}");
    // The address stands in the message already.
    let error = Error::new(kind, message).with_backend(BACKEND).with_source(cause.without_url());
    if kind == ErrorKind::OutcomeUnknown && effect == Effect::Repeatable { error.with_retry(Retry::Now) } else { error }
}

/// The error for a write of which an earlier try may have been applied and a later one failed like this.
pub(super) fn of_doubt(effect: Effect, last: Error) -> Error {
    let message = "an earlier try may have been applied, and OpenSearch failed to say so since";
    let retry = if effect == Effect::Repeatable { last.retry() } else { Retry::Never };
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(BACKEND).with_retry(retry).with_source(last)
}

/// Some of the index can be neither read nor written now.
pub(super) fn of_missing_shard() -> Error {
    Error::new(ErrorKind::Unavailable, "a shard of the index has no copy to serve it").with_backend(BACKEND)
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
#[path = "error_tests.rs"]
mod tests;
