use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use statehouse_core::{Error, ErrorKind};
use tower_layer::Layer;
use tower_service::Service;

use super::body::SessionBody;
use crate::api::SessionStore;
use crate::config::{OutagePolicy, ServerErrorPolicy, SessionConfig};
use crate::session::{Session, Sessions};

/// Gives every request of a tower service its [`Session`], in the request's extensions, and commits it before the
/// response head is sent.
///
/// - A login, rotation or logout is kept whatever the status of the response; changed attributes too, unless
///   [`ServerErrorPolicy`] says otherwise.
/// - If the store could not be reached while the request used its session, the response is 503, with `Retry-After` where that
///   will help ([`OutagePolicy`]), and what the request changed is dropped: it may rest on what could not be read. If the session
///   cannot be saved for another reason, the response is 409 (conflict by policy), 413 (attributes were left out,
///   because the session would be too large; all else was saved) or 500. The body of such a response is empty.
/// - If the inner service fails instead of answering, nothing is committed.
/// - A response is marked as private and as varying by cookie if the session was read or written, and so that caches
///   do not store the cookie if it sets one.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    sessions: Sessions,
}

impl SessionLayer {
    /// Sessions in `store`, configured as [`SessionConfig::default`] says.
    #[must_use]
    pub fn new(store: impl SessionStore) -> Self {
        Self::with_config(store, SessionConfig::default())
    }

    /// Sessions in `store` with these settings.
    #[must_use]
    pub fn with_config(store: impl SessionStore, config: SessionConfig) -> Self {
        Self { sessions: Sessions::new(store, config) }
    }

    /// The sessions that this layer opens.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl From<Sessions> for SessionLayer {
    fn from(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, sessions: self.sessions.clone() }
    }
}

/// The service that [`SessionLayer`] makes.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    sessions: Sessions,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    RequestBody: Send + 'static,
    ResponseBody: Send + 'static,
{
    type Response = Response<SessionBody<ResponseBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let session = self.sessions.open(request.headers());
        request.extensions_mut().insert(session.clone());
        // The clone is not ready; the one that was polled is.
        let ready_for_next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready_for_next);
        let sessions = self.sessions.clone();
        Box::pin(async move {
            let response = inner.call(request).await?;
            Ok(conclude(&session, sessions.config(), response).await)
        })
    }
}

async fn conclude<B>(session: &Session, config: &SessionConfig, response: Response<B>) -> Response<SessionBody<B>> {
    if response.status().is_server_error() && config.on_server_error == ServerErrorPolicy::Discard {
        session.discard_attributes().await;
    }
    let fails_closed = config.on_outage == OutagePolicy::FailClosed;
    let committed = match session.outage() {
        Some(_) if fails_closed => {
            session.abandon().await;
            Ok(())
        }
        _ => session.commit().await,
    };
    session.close();
    let outage = session.outage().filter(|_| committed.is_err() || fails_closed);
    let mut response = match (outage, committed) {
        (Some(outage), _) => unavailable(outage.retry_after),
        (None, Err(error)) => failed(&error),
        (None, Ok(())) => response.map(SessionBody::of),
    };
    // Of a commit that failed there is no cookie; the removal of a session that was deleted before stands.
    session.write_cookie(response.headers_mut());
    response
}

fn unavailable<B>(retry_after: Option<Duration>) -> Response<SessionBody<B>> {
    let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

fn failed<B>(error: &Error) -> Response<SessionBody<B>> {
    tracing::error!(name: "session.not_saved", kind = %error.kind(), %error, "the session could not be saved");
    status(match error.kind() {
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

fn status<B>(code: StatusCode) -> Response<SessionBody<B>> {
    let mut response = Response::new(SessionBody::empty());
    *response.status_mut() = code;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
