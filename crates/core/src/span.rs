//! The spans of all services, made in one place and so in one style.
//!
//! Every span is called `statehouse` for `tracing`, has the level `DEBUG`, and is called `service.verb` for OpenTelemetry
//! (`otel.name`): what an application asked for. What it is made of lies within: the operation of the backend, under the same
//! rule, and the request to a server, which has `otel.kind`. Keys and values are in none.
//!
//! | field | of | meaning |
//! | --- | --- | --- |
//! | `otel.name` | all | `service.verb`, such as `cache.get` |
//! | `statehouse.backend` | operations of a backend | such as `redis` |
//! | `statehouse.name` | those of a cache | which one |
//! | `error.type` | operations that failed | the kind of the error |
//! | `otel.kind`, `db.system.name`, `db.operation.name` | requests to a server | `client`, such as `redis` and `GET` |

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
        error.r#type = field::Empty
    )
}
