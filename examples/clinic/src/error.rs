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
/// When to try again where there is no room: somebody has to make some.
const NO_ROOM: Duration = Duration::from_secs(10);

const AWAY: &str = "The database is out of reach. Try again in a moment.";
/// What nobody can do anything about who waits.
pub(crate) const REFUSED: &str = "A service that this needs refuses its work, and will until whoever runs this clinic changes \
                                  that. It has been recorded.";

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
            ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidConfig
            | ErrorKind::Unsupported => {
                outages::refused(error.backend().unwrap_or("a service"), &error);
                Self::new(StatusCode::SERVICE_UNAVAILABLE, REFUSED)
            }
            // What caches load here comes from the database.
            ErrorKind::LoadFailed => of_database(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        of_database(&error)
    }
}

/// What a failure that the database caused comes to.
fn of_database(error: &(dyn std::error::Error + 'static)) -> AppError {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    match causes.find_map(|cause| cause.downcast_ref()).and_then(Trouble::of) {
        Some(Trouble::Away) => {
            outages::failed("the database", &error);
            AppError::unavailable(AWAY, SOON)
        }
        Some(Trouble::Full) => {
            outages::failed("the database", &error);
            let words = "There is no room left to save anything. What you typed is still here: try again later.";
            AppError::unavailable(words, NO_ROOM)
        }
        Some(Trouble::Refuses) => {
            outages::refused("the database", &error);
            AppError::new(StatusCode::SERVICE_UNAVAILABLE, REFUSED)
        }
        None => AppError::internal(&error),
    }
}

/// What is wrong with the database, as opposed to what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Away,
    Full,
    Refuses,
}

impl Trouble {
    fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Some(Self::Away)
            }
            sqlx::Error::Database(refused) => Self::of_code(&refused.code()?),
            _ => None,
        }
    }

    /// PostgreSQL's codes have five characters. SQLite's are numbers of at most four digits, and the lowest byte is the kind.
    fn of_code(code: &str) -> Option<Self> {
        if code.len() == 5 {
            return Self::of_postgres(code);
        }
        match code.parse::<u32>().ok()? & 0xff {
            13 => Some(Self::Full),
            // Busy, locked, an error of the disk, and a file that cannot be opened.
            5 | 6 | 10 | 14 => Some(Self::Away),
            // No permission, only readable, not authorized.
            3 | 8 | 23 => Some(Self::Refuses),
            _ => None,
        }
    }

    fn of_postgres(code: &str) -> Option<Self> {
        match code {
            "53100" => Some(Self::Full),
            "42501" => Some(Self::Refuses),
            // 08 connection exception, 53 insufficient resources, 57P operator intervention, 58 system error.
            _ if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => Some(Self::Away),
            // 28 invalid authorization.
            _ if code.starts_with("28") => Some(Self::Refuses),
            _ => None,
        }
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
        for kind in [ErrorKind::Corrupt, ErrorKind::Unexpected, ErrorKind::LoadFailed] {
            let error = AppError::from(Error::new(kind, "hunter2"));
            assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "{kind}");
            assert!(!error.message.contains("hunter2"));
        }
    }

    #[test]
    fn what_refuses_its_work_is_503_and_nobody_is_told_to_come_again() {
        for kind in [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied, ErrorKind::Unsupported] {
            let error = AppError::from(Error::new(kind, "hunter2"));
            assert!(!error.message.contains("hunter2"));
            let response = error.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind}");
            assert!(!response.headers().contains_key(header::RETRY_AFTER), "{kind}");
        }
    }

    #[test]
    fn what_was_loaded_from_the_database_fails_as_the_database_does() {
        let error = Error::new(ErrorKind::LoadFailed, "no load").with_source(sqlx::Error::PoolTimedOut);
        assert_eq!(AppError::from(error).retry_after, Some(SOON));
    }

    #[test]
    fn each_code_of_a_database_says_whether_to_wait() {
        for (code, expected) in [
            ("5", Some(Trouble::Away)),
            ("517", Some(Trouble::Away)),
            ("10", Some(Trouble::Away)),
            ("4874", Some(Trouble::Away)),
            ("14", Some(Trouble::Away)),
            ("13", Some(Trouble::Full)),
            ("1032", Some(Trouble::Refuses)),
            ("2067", None),
            ("1", None),
            ("08006", Some(Trouble::Away)),
            ("53300", Some(Trouble::Away)),
            ("53100", Some(Trouble::Full)),
            ("57P01", Some(Trouble::Away)),
            ("57014", None),
            ("58030", Some(Trouble::Away)),
            ("28P01", Some(Trouble::Refuses)),
            ("42501", Some(Trouble::Refuses)),
            ("23505", None),
        ] {
            assert_eq!(Trouble::of_code(code), expected, "{code}");
        }
    }
}
