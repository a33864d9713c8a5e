use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use statehouse_core::Error;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{bare, status_of, unavailable};
use super::body::SessionBody;
use super::which::Which;
use crate::api::SessionStore;
use crate::config::{OutagePolicy, ServerErrorPolicy, SessionConfig};
use crate::session::{Outage, Session, Sessions};

/// Gives every request of a tower service its [`Session`], in the request's extensions, and commits it before the
/// response head is sent.
///
/// - A login, rotation or logout is kept whatever the status of the response; changed attributes too, unless
///   [`ServerErrorPolicy`] says otherwise.
/// - If the store could not be reached while the request used its session, the response is 503, with `Retry-After` where that
///   will help ([`OutagePolicy`]), and what the request changed is dropped: it may rest on what could not be read. If the session
///   cannot be saved for another reason, the response is 409 (conflict by policy), 413 (attributes were left out,
///   because the session would be too large; all else was saved) or what else [`error_response`](crate::error_response) says of it. The
///   body of such a response is empty.
/// - If the inner service fails instead of answering, nothing is committed; nor if its client goes before it has answered. Where a
///   handler goes on without its client, in a task of its own or because another layer sees to that, it reads the session, changes it
///   no more, and what it has changed before is saved by a [commit](Session::commit) of its own, and else not: see
///   [who outlives the client](Session#who-outlives-the-client).
/// - A response is marked as private and as varying by cookie if the session was read or written, and so that caches
///   do not store the cookie if it sets one.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    sessions: Sessions,
    which: Which,
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
        Sessions::new(store, config).into()
    }

    /// One of several layers around one service: its session is found as [`SessionOf<M>`](crate::SessionOf), not as [`Session`]. Each
    /// needs a cookie of its own name, in which its tokens open their sessions and in no other, so that no visitor becomes an operator by
    /// sending theirs in the other cookie. In one store the devices and limits of principals of the same name are the same: give
    /// each layer a store, or a [namespace](statehouse_core::Namespace) of one, of its own, or principals of names that differ. What opens its sessions beside the layer does
    /// so by [`sessions`](Self::sessions).
    ///
    /// ```
    /// # use statehouse_session::{CookieConfig, MemorySessionStore, Session, SessionConfig, SessionLayer, SessionOf};
    /// struct Operators;
    ///
    /// # #[cfg(feature = "axum")]
    /// # fn app() -> statehouse_core::Result<axum::Router> {
    /// let cookie = CookieConfig::builder("__Host-operator").build()?;
    /// let operators = SessionConfig::builder().cookie(cookie).build()?;
    /// let app = axum::Router::new()
    ///     .route("/", axum::routing::get(async |visitor: Session, operator: SessionOf<Operators>| "both"))
    ///     .layer(SessionLayer::new(MemorySessionStore::new()))
    ///     .layer(SessionLayer::with_config(MemorySessionStore::new(), operators).marked::<Operators>());
    /// # Ok(app) }
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub fn marked<M: 'static>(self) -> Self {
        Self { sessions: self.sessions.in_its_cookie_only(), which: Which::marked::<M>() }
    }

    /// The sessions that this layer opens.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// A layer of the sessions that handlers list and end, too: so that both have one configuration.
impl From<Sessions> for SessionLayer {
    fn from(sessions: Sessions) -> Self {
        Self { sessions, which: Which::only() }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, sessions: self.sessions.clone(), which: self.which }
    }
}

/// The service that [`SessionLayer`] makes.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    sessions: Sessions,
    which: Which,
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
        let asked = Asked(self.sessions.open(request.headers()));
        (self.which.insert)(request.extensions_mut(), asked.0.clone());
        let mut inner = statehouse_core::take_polled(&mut self.inner);
        let sessions = self.sessions.clone();
        Box::pin(async move {
            let response = inner.call(request).await?;
            Ok(conclude(&asked.0, sessions.config(), response).await)
        })
    }
}

/// The session of a request that waits for its response. Whatever ends that wait, an error, a panic or that the client goes, whoever
/// goes on with the session then is told that nobody commits it.
struct Asked(Session);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.close();
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
        _ => session.commit_last().await,
    };
    // What was met before and is over does not make another failure one.
    let failed_now = committed.as_ref().err().and_then(Outage::of);
    let outage = session.outage().filter(|_| fails_closed).or(failed_now);
    let mut response = match (outage, committed) {
        (Some(outage), _) => unavailable(outage.retry_after).map(|()| SessionBody::empty()),
        (None, Err(error)) => failed(&error).map(|()| SessionBody::empty()),
        (None, Ok(())) => response.map(SessionBody::of),
    };
    // Of a commit that failed there is no cookie; the removal of a session that was deleted before stands.
    session.write_cookie(response.headers_mut());
    response
}

fn failed(error: &Error) -> Response<()> {
    tracing::error!(name: "session.not_saved", kind = %error.kind(), %error, "the session could not be saved");
    bare(status_of(error))
}
