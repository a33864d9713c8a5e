//! Answers of the layers themselves.

use std::fmt;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use statehouse_core::{Error, ErrorKind};

use crate::session::{Closed, Outage};

/// The head of the answer to a request that failed with an error of its session, without the error's words.
///
/// | status | errors |
/// | --- | --- |
/// | 400 | `InvalidInput`: what was to be a name of an attribute or a principal is none |
/// | 401 | `Unauthenticated`: nobody is logged in, or not recently enough; not that of a store, which is 503 |
/// | 409 | `Conflict`, `AlreadyExists`: another request was faster, or a login is one too many |
/// | 413 | `TooLarge` |
/// | 503 | the store could not be reached or refused its work, with `Retry-After` where that will help; or the client had gone when the session was to be changed |
/// | 500 | everything else, `Corrupt` among them |
///
/// ```
/// use statehouse_core::{Error, ErrorKind};
/// use statehouse_session::error_response;
///
/// assert_eq!(error_response(&Error::new(ErrorKind::Unauthenticated, "nobody is logged in")).status(), 401);
/// let away = error_response(&Error::new(ErrorKind::Unavailable, "the server is away"));
/// assert_eq!((away.status().as_u16(), &away.headers()["retry-after"]), (503, &"1".parse().unwrap()));
/// let lost = error_response(&Error::new(ErrorKind::OutcomeUnknown, "no answer"));
/// assert_eq!((lost.status().as_u16(), &lost.headers()["retry-after"]), (503, &"1".parse().unwrap()));
/// ```
#[must_use]
pub fn error_response(error: &Error) -> Response<()> {
    let response = match status_of(error) {
        StatusCode::SERVICE_UNAVAILABLE => unavailable(Outage::retry_after(error).filter(|_| is_away(error))),
        status => bare(status),
    };
    // An outage is a line when it begins and one when it is over.
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(name: "session.answer_failed", kind = %error.kind(), %error, "a request failed because of its session");
    }
    response
}

/// Whether it may help to wait.
fn is_away(error: &Error) -> bool {
    use ErrorKind::{OutcomeUnknown, RateLimited, Timeout, Unavailable};
    matches!(error.kind(), Unavailable | Timeout | RateLimited | OutcomeUnknown)
}

/// The status of the answer to a request that failed with an error of its session.
pub(super) fn status_of(error: &Error) -> StatusCode {
    use ErrorKind as Kind;
    match error.kind() {
        // To be sent again: whoever answers a request once does not keep that.
        Kind::InvalidInput if Closed::is_source_of(error) => StatusCode::SERVICE_UNAVAILABLE,
        Kind::InvalidInput => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated if error.backend().is_none() => StatusCode::UNAUTHORIZED,
        Kind::AlreadyExists | Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unauthenticated | Kind::PermissionDenied | Kind::InvalidConfig => StatusCode::SERVICE_UNAVAILABLE,
        _ if is_away(error) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer that no cache keeps.
pub(super) fn bare(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn unavailable(retry_after: Option<Duration>) -> Response<()> {
    let mut response = bare(StatusCode::SERVICE_UNAVAILABLE);
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// That a [`Session`](crate::Session) is asked for and no [`SessionLayer`](crate::SessionLayer) is around. Answered with 500.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MissingSessionLayer;

impl MissingSessionLayer {
    pub(super) fn response(self) -> Response<()> {
        tracing::error!(name: "session.no_layer", "{self}");
        bare(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl fmt::Display for MissingSessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session is asked for, and no SessionLayer is around")
    }
}

impl std::error::Error for MissingSessionLayer {}
