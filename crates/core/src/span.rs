//! The spans of all services, made in one place and so in one style.
//!
//! Every span is called `statehouse` for `tracing`, has the level `DEBUG`, and is called `service.verb` for OpenTelemetry
//! (`otel.name`): what an application asked for. What it is made of lies within: the operation of the backend, under the same
//! rule, and the request to a server, which has `otel.kind`: `redis.request`, `s3.request`, `azure.request`, `opensearch.request`. Keys and values are in none.
//!
//! | field | of | meaning |
//! | --- | --- | --- |
//! | `otel.name` | all | `service.verb`, such as `cache.get` |
//! | `statehouse.backend` | operations of a backend | such as `redis` |
//! | `statehouse.name` | those of a cache | which one |
//! | `error.type` | operations that failed | the kind of the error |
//! | `otel.kind`, `db.system.name`, `db.operation.name` | requests to a server | `client`, such as `redis` and `GET`; S3 is none that the two would name |
//! | `http.request.method`, `server.address`, `server.port` | requests over HTTP | such as `PUT`, and which server |
//! | `http.request.resend_count` | those that are sent again | which try it is: 1 for the second |
//! | `http.response.status_code` | those that are answered | such as 200 |
//! | `error.type` | those that fail | the status from 400 on, `not_sent` or `unanswered`: as the metrics of retries |
//!
//! One of a request to Redis lasts until the last try is over, and one over HTTP is one try, as OpenTelemetry has it: the first
//! and the second have a span each. It ends with the answer, but for a file's content, with that of its head. `url.full` is left out: it is made of keys.

use std::fmt::Display;

use tracing::{Level, Span, field};

/// The span of a part of a service that is above its backends, such as `session.commit`.
#[must_use]
pub fn of_service(name: &'static str) -> Span {
    make(name)
}

/// The span of an operation of a backend; [`Operation`](crate::Operation) makes them.
pub(crate) fn of_backend(name: &'static str, backend: &'static str) -> Span {
    let span = make(name);
    span.record("statehouse.backend", backend);
    span
}

/// The span of a request to a server.
#[must_use]
pub fn of_request(name: &'static str, system: &'static str, request: impl Display) -> Span {
    let span = make(name);
    span.record("otel.kind", "client");
    span.record("db.system.name", system);
    span.record("db.operation.name", field::display(request));
    span
}

/// The span of one request over HTTP, and how many were sent before it for the same.
#[must_use]
pub fn of_http_request(name: &'static str, method: &str, (address, port): (&str, u16), resent: u32) -> Span {
    let span = make(name);
    span.record("otel.kind", "client");
    span.record("http.request.method", method);
    span.record("server.address", address);
    span.record("server.port", port);
    if resent > 0 {
        span.record("http.request.resend_count", resent);
    }
    span
}

/// The same to a database, which is asked by an endpoint, such as `search`.
#[must_use]
pub fn to_database(span: Span, system: &'static str, endpoint: Option<&str>) -> Span {
    span.record("db.system.name", system);
    if let Some(endpoint) = endpoint {
        span.record("db.operation.name", endpoint);
    }
    span
}

/// Says what a request over HTTP was answered: a status, or else why there is none, in a word.
pub fn answered(span: &Span, answer: Result<u16, &str>) {
    match answer {
        Ok(status) => {
            span.record("http.response.status_code", status);
            if status >= 400 {
                span.record("error.type", field::display(status));
            }
        }
        Err(why) => {
            span.record("error.type", why);
        }
    }
}

/// Says which of the service's it is about, such as a cache by its name.
#[must_use]
pub fn named(span: Span, name: &str) -> Span {
    span.record("statehouse.name", name);
    span
}

/// Whether anybody listens to spans, for where making one is too much to do for nobody.
#[must_use]
pub fn is_listened_to() -> bool {
    tracing::span_enabled!(Level::DEBUG)
}

fn make(name: &'static str) -> Span {
    tracing::debug_span!(
        "statehouse",
        otel.name = name,
        otel.kind = field::Empty,
        statehouse.backend = field::Empty,
        statehouse.name = field::Empty,
        db.system.name = field::Empty,
        db.operation.name = field::Empty,
        http.request.method = field::Empty,
        http.request.resend_count = field::Empty,
        http.response.status_code = field::Empty,
        server.address = field::Empty,
        server.port = field::Empty,
        error.r#type = field::Empty
    )
}
