use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use statehouse_core::{Error, ErrorKind, Retry};

use super::body::FileBody;
use super::failures::to_be_told;
use super::unsupported::UnsupportedType;

/// When to try again if the store does not say.
const SOON: u64 = 1;

/// An answer without a body that no cache keeps.
pub(super) fn bare(status: StatusCode) -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a request that failed, by the kind of the error and without its words. [`FileServer`](crate::FileServer) answers so.
///
/// | status | kinds |
/// | --- | --- |
/// | 400 | `InvalidInput`; with [`UnsupportedType`] it is 415 |
/// | 404 | `NotFound` |
/// | 409 | `AlreadyExists`, `Conflict` and `Fenced`; a conflict that says to try again is 503 |
/// | 413 | `TooLarge` |
/// | 501 | `Unsupported` |
/// | 503 | `Unavailable`, `Timeout`, `RateLimited` and `OutcomeUnknown`, with `Retry-After`; what refuses this application its work (`Unauthenticated`, `PermissionDenied`, `InvalidConfig`), without |
/// | 500 | everything else, `Corrupt` among them |
///
/// ```
/// use statehouse_core::{Error, ErrorKind};
/// use statehouse_filestore::error_response;
///
/// assert_eq!(error_response(&Error::new(ErrorKind::NotFound, "no such file")).status(), 404);
/// let away = error_response(&Error::new(ErrorKind::Unavailable, "the server is away"));
/// assert_eq!((away.status().as_u16(), &away.headers()["retry-after"]), (503, &"1".parse().unwrap()));
/// ```
#[must_use]
pub fn error_response(error: &Error) -> Response<FileBody> {
    use ErrorKind as Kind;
    let status = match error.kind() {
        Kind::InvalidInput if UnsupportedType::of(error).is_some() => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::InvalidInput => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        Kind::AlreadyExists | Kind::Conflict | Kind::Fenced => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable | Kind::Timeout | Kind::RateLimited | Kind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unauthenticated | Kind::PermissionDenied | Kind::InvalidConfig => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error()
        && let Some(count) = to_be_told(error)
    {
        let kind = error.kind();
        tracing::warn!(name: "filestore.answer_failed", %kind, %error, count, "a request for a file failed");
    }
    let mut response = bare(status);
    // Whoever comes again is refused again until somebody changes that.
    let refused = matches!(error.kind(), Kind::Unauthenticated | Kind::PermissionDenied | Kind::InvalidConfig);
    if status == StatusCode::SERVICE_UNAVAILABLE && !refused {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(error.retry())));
    }
    response
}

fn seconds(retry: Retry) -> u64 {
    match retry {
        Retry::After(wait) => (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(SOON),
        _ => SOON,
    }
}
