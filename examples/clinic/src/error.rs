//! What can go wrong, as the status and the words that the browser gets.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use statehouse::{Error, ErrorKind, Retry};

use crate::outages;

pub(crate) type Result<T, E = AppError> = std::result::Result<T, E>;

/// A refusal or a failure. `web/errors.rs` turns it into a page or into JSON, as the request asks.
#[derive(Clone, Debug)]
pub(crate) struct AppError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The field of the form that it is about.
    pub(crate) field: Option<&'static str>,
    /// What a script does about it.
    pub(crate) code: Option<&'static str>,
}

/// When to try again if nobody knows better.
pub(crate) const SOON: Duration = Duration::from_secs(2);

impl AppError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, field: None, code: None }
    }

    /// What was typed in this field cannot be taken.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message).at(field)
    }

    /// The same, with its words beside this field.
    pub(crate) fn at(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// Too many of these; later again.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no such {what}."))
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// Something that this needs is out of reach. Never a 401 or an empty answer: the user is still logged in, and the
    /// data are still there.
    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    pub(crate) fn internal(cause: &dyn fmt::Debug) -> Self {
        tracing::error!(?cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here. It has been recorded.")
    }
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::not_found("thing"),
            ErrorKind::AlreadyExists | ErrorKind::Conflict => {
                Self::conflict("Somebody else changed this at the same time. Look at it again.")
            }
            ErrorKind::InvalidInput => Self::bad_request(error.message().to_owned()),
            ErrorKind::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.message().to_owned()),
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::OutcomeUnknown => {
                outages::failed(error.backend().unwrap_or("a service"), &error);
                let wait = if let Retry::After(wait) = error.retry() { wait.max(SOON) } else { SOON };
                Self::unavailable("A service that this needs is out of reach. Try again in a moment.", wait)
            }
            _ => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) {
            outages::failed("the database", &error);
            return Self::unavailable("The database is out of reach. Try again in a moment.", SOON);
        }
        Self::internal(&error)
    }
}

fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // PostgreSQL: 08 connection exception, 53 insufficient resources, 57P operator intervention. SQLite: 5 busy.
        sqlx::Error::Database(refused) => refused
            .code()
            .is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) || code == "5"),
        _ => false,
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_503_with_a_time_to_retry_and_never_401() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::RateLimited, ErrorKind::OutcomeUnknown] {
            let response = AppError::from(Error::new(kind, "down")).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind}");
            assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        }
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())] {
            assert_eq!(AppError::from(error).status, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(AppError::from(sqlx::Error::RowNotFound).status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn a_failure_that_nobody_expected_says_nothing_about_its_cause() {
        for kind in [ErrorKind::Corrupt, ErrorKind::Unauthenticated, ErrorKind::PermissionDenied, ErrorKind::Unexpected]
        {
            let error = AppError::from(Error::new(kind, "hunter2"));
            assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "{kind}");
            assert!(!error.message.contains("hunter2"));
        }
    }
}
