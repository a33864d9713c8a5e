use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use statehouse_core::{ErrorKind, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{MissingSessionLayer, bare, error_response};
use super::body::SessionBody;
use super::which::{Which, as_it_came};
use crate::session::Session;

/// Lets through only requests of somebody who is logged in, or who logged in recently. All others are answered with 401,
/// or as [said](Self::answer_with).
///
/// It stands inside the [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use std::time::Duration;
/// use axum::Router;
/// use axum::http::{Response, header::LOCATION};
/// use axum::routing::{get, post};
/// use statehouse_session::{MemorySessionStore, RequireLoginLayer, SessionLayer};
///
/// let ten_minutes = Duration::from_secs(600);
/// let pages = Router::new().route("/notes", get("mine")).layer(RequireLoginLayer::new().answer_with(|request| {
///     let wanted = request.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
///     let next = wanted.replace('%', "%25").replace('&', "%26").replace('+', "%2B");
///     Response::builder().status(303).header(LOCATION, format!("/login?next={next}")).body(()).unwrap_or_default()
/// }));
/// let delicate = Router::new()
///     .route("/password", post("changed"))
///     .layer(RequireLoginLayer::new().fresh_within(ten_minutes));
/// let app: Router = pages.merge(delicate).layer(SessionLayer::new(MemorySessionStore::new()));
/// ```
///
/// Whoever follows `next` after the login checks that it is a path of this site, for anybody can write such a link: it begins with `/`, and
/// not with `//` or `/\`, which browsers take for another site.
#[derive(Clone, Debug)]
#[must_use]
pub struct RequireLoginLayer {
    settings: Settings,
}

type Answer = Arc<dyn Fn(&Parts) -> Response<()> + Send + Sync>;

#[derive(Clone)]
struct Settings {
    which: Which,
    fresh_within: Option<Duration>,
    answer: Option<Answer>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("fresh_within", &self.fresh_within).finish_non_exhaustive()
    }
}

impl Default for RequireLoginLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl RequireLoginLayer {
    /// Somebody must be logged in.
    pub fn new() -> Self {
        Self { settings: Settings { which: Which::only(), fresh_within: None, answer: None } }
    }

    /// And must have logged in not longer ago than this, by the store's clock: see [`require_fresh`](Session::require_fresh).
    pub fn fresh_within(mut self, age: Duration) -> Self {
        self.settings.fresh_within = Some(age);
        self
    }

    /// What is answered instead of 401, such as a redirect to the login. With the feature `axum` the path is the one that came, also
    /// where `Router::nest` has taken a part away.
    pub fn answer_with(mut self, answer: impl Fn(&Parts) -> Response<()> + Send + Sync + 'static) -> Self {
        self.settings.answer = Some(Arc::new(answer));
        self
    }

    /// For the session of the layer with this [mark](crate::SessionLayer::marked).
    pub fn of<M: 'static>(mut self) -> Self {
        self.settings.which = Which::marked::<M>();
        self
    }
}

impl<S> Layer<S> for RequireLoginLayer {
    type Service = RequireLoginService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireLoginService { inner, settings: self.settings.clone() }
    }
}

/// The service that [`RequireLoginLayer`] makes.
#[derive(Clone, Debug)]
pub struct RequireLoginService<S> {
    inner: S,
    settings: Settings,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for RequireLoginService<S>
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

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let mut inner = statehouse_core::take_polled(&mut self.inner);
        let settings = self.settings.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match settings.refusal(&mut parts).await {
                None => Ok(inner.call(Request::from_parts(parts, body)).await?.map(SessionBody::of)),
                Some(refused) => Ok(refused.map(|()| SessionBody::empty())),
            }
        })
    }
}

impl Settings {
    async fn refusal(&self, parts: &mut Parts) -> Option<Response<()>> {
        let Some(session) = (self.which.find)(&parts.extensions) else { return Some(MissingSessionLayer.response()) };
        match allows(&session, self.fresh_within).await {
            Ok(true) => None,
            Ok(false) => {
                let answer = self.answer.as_ref().map(|answer| as_it_came(parts, &**answer));
                Some(answer.unwrap_or_else(|| bare(StatusCode::UNAUTHORIZED)))
            }
            Err(error) => Some(error_response(&error)),
        }
    }
}

async fn allows(session: &Session, fresh_within: Option<Duration>) -> Result<bool> {
    let Some(age) = fresh_within else { return Ok(session.known_principal().await?.is_some()) };
    match session.require_fresh(age).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Unauthenticated && error.backend().is_none() => Ok(false),
        Err(error) => Err(error),
    }
}
