use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use statehouse_core::{Error, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{MissingSessionLayer, bare, error_response};
use super::body::SessionBody;
use super::form::{CsrfBody, field, is_form, read};
use super::which::{Which, as_it_came};
use crate::session::Session;

/// Lets through what changes nothing, and what shows the [token](crate::Session::csrf_token) of its session's forms; all else is
/// refused with 403. So another site's page cannot make a visitor's browser change anything here: it does not know the token.
///
/// It stands inside the [`SessionLayer`](crate::SessionLayer). `GET`, `HEAD`, `OPTIONS` and `TRACE` are let through, so they must change nothing.
/// The token is looked for in the header `X-CSRF-Token`, and without it in the field `csrf` of a form
/// (`application/x-www-form-urlencoded`, which is read for that and handed on); all other requests, such as those with files
/// (`multipart/form-data`) or JSON, need the header. A request without a session has no right token: what is sent before a
/// login is let through by [`exempt`](Self::exempt), and protected as [`login`](crate::Session::login) says.
///
/// ```
/// use axum::body::Body;
/// use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
/// use axum::http::{Request, StatusCode};
/// use axum::routing::{get, post};
/// use axum::{Form, Router};
/// use statehouse_session::{CsrfLayer, MemorySessionStore, Session, SessionError, SessionLayer};
/// # use tower::ServiceExt;
///
/// async fn form(session: Session) -> Result<String, SessionError> {
///     session.login("u42").await?; // elsewhere, of course
///     Ok(session.csrf_token().await?.expose().to_owned())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new()
///     .route("/form", get(form))
///     .route("/notes", post(async |Form(note): Form<Vec<(String, String)>>| note[0].1.clone()))
///     .layer(CsrfLayer::new().exempt(|request| request.uri.path() == "/login"))
///     .layer(SessionLayer::new(MemorySessionStore::new()));
///
/// let page = app.clone().oneshot(Request::get("/form").body(Body::empty())?).await?;
/// let cookie = page.headers()[SET_COOKIE].to_str()?.split(';').next().unwrap_or_default().to_owned();
/// let token = String::from_utf8(axum::body::to_bytes(page.into_body(), 100).await?.to_vec())?;
/// for (form, expected) in [("text=hello".to_owned(), 403), (format!("text=hello&csrf={token}"), 200)] {
///     let request = Request::post("/notes").header(COOKIE, &cookie);
///     let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::from(form))?;
///     assert_eq!(app.clone().oneshot(request).await?.status(), expected);
/// }
/// # Ok(()) }
/// ```
///
/// For scripts and forms that have other names, of one of [several](crate::SessionLayer::marked) sessions:
///
/// ```
/// use http::HeaderName;
/// use statehouse_session::CsrfLayer;
///
/// struct Operators;
///
/// let layer = CsrfLayer::new()
///     .header(HeaderName::from_static("x-xsrf-token"))
///     .field("authenticity_token")?
///     .max_form(64 << 10)
///     .of::<Operators>();
/// # let _ = layer;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
///
/// A response that refuses has [`CsrfRefused`] among its extensions, so that a layer between this and the
/// [`SessionLayer`](crate::SessionLayer) can show the form once more, with a new token.
#[derive(Clone, Debug)]
#[must_use]
pub struct CsrfLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    which: Which,
    header: HeaderName,
    field: String,
    max_form: usize,
    exempt: Option<Exempt>,
}

type Exempt = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, field, max_form, .. } = self;
        f.debug_struct("Settings")
            .field("header", header)
            .field("field", field)
            .field("max_form", max_form)
            .finish_non_exhaustive()
    }
}

/// That a request was refused because it did not show the token of its session, in the extensions of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsrfRefused;

impl Default for CsrfLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl CsrfLayer {
    /// The header `X-CSRF-Token`, the field `csrf`, forms of at most 2 MiB.
    pub fn new() -> Self {
        let header = HeaderName::from_static("x-csrf-token");
        let settings = Settings { which: Which::only(), header, field: "csrf".into(), max_form: 2 << 20, exempt: None };
        Self { settings: Arc::new(settings) }
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }

    /// The header that scripts show the token in.
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.header = name)
    }

    /// The field that forms show the token in.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) unless it is letters, digits, `-`, `.` and `_`, as browsers send them.
    pub fn field(self, name: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::invalid_config("csrf field", "must be letters, digits, -, . and _"));
        }
        Ok(self.with(|settings| settings.field = name.to_owned()))
    }

    /// The most bytes of a form whose token is a field. A larger one is refused with 413.
    pub fn max_form(self, bytes: usize) -> Self {
        self.with(|settings| settings.max_form = bytes)
    }

    /// Requests that need no token: those that come before a login, and those that bring another proof than a cookie, such
    /// as a signature. With the feature `axum` the path is the one that came, also where `Router::nest` has taken a part away.
    pub fn exempt(self, is_exempt: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.exempt = Some(Arc::new(is_exempt)))
    }

    /// For the session of the layer with this [mark](crate::SessionLayer::marked).
    pub fn of<M: 'static>(self) -> Self {
        self.with(|settings| settings.which = Which::marked::<M>())
    }
}

impl<S> Layer<S> for CsrfLayer {
    type Service = CsrfService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CsrfService { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The service that [`CsrfLayer`] makes.
#[derive(Clone, Debug)]
pub struct CsrfService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for CsrfService<S>
where
    S: Service<Request<CsrfBody<RequestBody>>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    RequestBody: Body<Data = Bytes> + Send + 'static,
    RequestBody::Error: Send + 'static,
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
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            match settings.check(request).await {
                Ok(request) => Ok(inner.call(request).await?.map(SessionBody::of)),
                Err(refused) => Ok(refused.map(|()| SessionBody::empty())),
            }
        })
    }
}

impl Settings {
    /// The request as it is passed on, or what is answered in its place.
    async fn check<B: Body<Data = Bytes>>(&self, request: Request<B>) -> Result<Request<CsrfBody<B>>, Response<()>> {
        let (mut parts, body) = request.into_parts();
        let changes_nothing = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&parts.method);
        let is_exempt =
            |parts: &mut Parts| self.exempt.as_ref().is_some_and(|is_exempt| as_it_came(parts, &**is_exempt));
        if changes_nothing || is_exempt(&mut parts) {
            return Ok(Request::from_parts(parts, CsrfBody::unread(body)));
        }
        let session = (self.which.find)(&parts.extensions).ok_or_else(|| MissingSessionLayer.response())?;
        let (shown, body) = match parts.headers.get(&self.header) {
            Some(shown) => (shown.to_str().ok().map(str::to_owned), CsrfBody::unread(body)),
            // Whoever can have no right one is not listened to.
            None if is_form(&parts.headers) && has_token(&session).await? => {
                let form = read(body, self.max_form).await.map_err(bare)?;
                (field(&form, &self.field).map(str::to_owned), CsrfBody::read(form))
            }
            None => (None, CsrfBody::unread(body)),
        };
        let is_right = match shown {
            Some(shown) => session.is_csrf_token(&shown).await.map_err(|error| error_response(&error))?,
            None => false,
        };
        if is_right {
            return Ok(Request::from_parts(parts, body));
        }
        // Whether the token is right is not known.
        session.refuse_unknown_token().map_err(|error| error_response(&error))?;
        session.csrf_refused();
        let mut refused = bare(StatusCode::FORBIDDEN);
        refused.extensions_mut().insert(CsrfRefused);
        Err(refused)
    }
}

async fn has_token(session: &Session) -> Result<bool, Response<()>> {
    session.has_csrf_token().await.map_err(|error| error_response(&error))
}
