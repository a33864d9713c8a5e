//! What the layer answers itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Body;

use super::body::IdempotencyBody;
use super::format::Kept;

/// On a response that was kept.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// After which time whoever is to try again does so, mostly.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoKey,
    BadKey,
    Broken,
    TooLarge,
    AnotherRequest,
    UnderWay,
    Unkept,
    Away,
    TookTooLong,
    Misconfigured,
}

impl Refusal {
    /// Status, what to say, and whether to come back.
    const fn told(self) -> (StatusCode, &'static str, bool) {
        match self {
            Self::NoKey => (StatusCode::BAD_REQUEST, "an Idempotency-Key is required", false),
            Self::BadKey => (StatusCode::BAD_REQUEST, "the Idempotency-Key must be one of 1 to 255 characters", false),
            Self::Broken => (StatusCode::BAD_REQUEST, "the request ended early", false),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large", false),
            Self::AnotherRequest => {
                (StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request", false)
            }
            Self::UnderWay => (StatusCode::CONFLICT, "a request with this Idempotency-Key is under way", true),
            Self::Unkept => {
                (StatusCode::CONFLICT, "this request was answered, with more than is kept to be told again", false)
            }
            Self::Away => (StatusCode::SERVICE_UNAVAILABLE, "it is not known whether this request was answered", true),
            Self::TookTooLong => (StatusCode::SERVICE_UNAVAILABLE, "the request took too long", true),
            Self::Misconfigured => {
                (StatusCode::INTERNAL_SERVER_ERROR, "requests with an Idempotency-Key cannot be answered", false)
            }
        }
    }

    pub(super) fn response<B: Body<Data = Bytes>>(self) -> Response<IdempotencyBody<B>> {
        self.response_for(AGAIN)
    }

    /// A problem as RFC 9457 describes it; who may come back is to do so after that time.
    pub(super) fn response_for<B: Body<Data = Bytes>>(self, wait: Duration) -> Response<IdempotencyBody<B>> {
        let (status, title, again) = self.told();
        let text = format!(r#"{{"title":"{title}","status":{}}}"#, status.as_u16());
        let mut response = Response::new(IdempotencyBody::whole(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if again {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        response
    }
}

pub(super) fn replay<B: Body<Data = Bytes>>(kept: Kept) -> Response<IdempotencyBody<B>> {
    let mut response = Response::new(IdempotencyBody::whole(kept.body));
    *response.status_mut() = kept.status;
    *response.headers_mut() = kept.headers;
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
