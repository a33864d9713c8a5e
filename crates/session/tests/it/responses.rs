//! What responses tell browsers and caches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use statehouse_session::{
    CookieConfig, CsrfLayer, Fresh, LayeredSessionStore, MemorySessionStore, OutagePolicy, Principal,
    RequireLoginLayer, Session, SessionConfig, SessionConfigBuilder, SessionError, SessionLayer, SessionOf, Token,
};
use tower::{ServiceBuilder, ServiceExt};

use crate::http::{Answer, App, MINUTE, routes, set_cookie, text, token};
use crate::logs::Log;

fn cache_control(response: &Response<Body>) -> Vec<&str> {
    response.headers().get_all(header::CACHE_CONTROL).iter().map(|value| value.to_str().unwrap()).collect()
}

/// What it has left to a task is not told that it is saved.
#[tokio::test]
async fn nothing_is_changed_once_the_service_has_failed() {
    let kept: Arc<std::sync::Mutex<Option<Session>>> = Arc::default();
    let keeps = Arc::clone(&kept);
    let fails = tower::service_fn(move |request: Request<Body>| {
        *keeps.lock().unwrap() = request.extensions().get::<Session>().cloned();
        std::future::ready(Err::<Response<Body>, _>("it fails"))
    });
    let service = ServiceBuilder::new().layer(SessionLayer::new(MemorySessionStore::new())).service(fails);
    assert_eq!(service.oneshot(Request::new(Body::empty())).await.err(), Some("it fails"));
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.insert("late", &1).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_the_session_was_used_for_is_private_and_varies_by_cookie() {
    let app = App::with_routes(
        routes()
            .route(
                "/mine",
                get(async |session: Session| -> Answer<Response<Body>> {
                    session.principal().await?;
                    Ok(([(header::CACHE_CONTROL, "max-age=60")], "mine").into_response())
                }),
            )
            .route(
                "/no-store",
                get(async |session: Session| -> Answer<Response<Body>> {
                    session.principal().await?;
                    Ok(([(header::CACHE_CONTROL, "no-store")], "mine").into_response())
                }),
            ),
        |config| config,
    );
    let cookie = app.post("/login/u42", "").await.unwrap();
    for cookie in [cookie.as_str(), ""] {
        for (method, path, control) in [
            ("GET", "/who", "private"),
            ("GET", "/read/theme", "private"),
            ("GET", "/flashes", "private"),
            ("GET", "/mine", "max-age=60, private"),
            ("GET", "/no-store", "no-store"),
        ] {
            let response = app.send(method, path, &[cookie]).await;
            assert_eq!(cache_control(&response), [control], "{path}");
            assert_eq!(response.headers()[header::VARY], "Cookie", "{path}");
        }
        let written = app.send("POST", "/put/theme/x", &[cookie]).await;
        assert!(cache_control(&written).contains(&"private"), "{:?}", cache_control(&written));
        assert_eq!(written.headers()[header::VARY], "Cookie");
        let untouched = app.send("GET", "/", &[cookie]).await;
        assert!(!untouched.headers().contains_key(header::VARY), "it is the same for everybody");
        assert_eq!(cache_control(&untouched), Vec::<&str>::new());
    }
}

fn lasting(config: SessionConfigBuilder) -> SessionConfigBuilder {
    config.cookie(CookieConfig::builder("__Host-id").max_age(30 * MINUTE).build().unwrap())
}

#[tokio::test]
async fn the_browser_keeps_the_cookie_of_a_session_in_use() {
    let app = App::new(lasting);
    for (method, path) in [("GET", "/who"), ("POST", "/put/n/{}")] {
        let mut cookie = app.post("/login/u42", "").await.unwrap();
        // When the browser throws it away, in minutes from now on.
        let mut left = 30;
        for minute in 0..120 {
            app.clock.advance(MINUTE);
            left -= 1;
            assert!(left > 0, "{path}: the browser has thrown the cookie away after {minute} minutes");
            let response = app.send(method, &path.replace("{}", &minute.to_string()), &[&cookie]).await;
            assert_eq!(response.status(), StatusCode::OK);
            tokio::task::yield_now().await;
            if let Some(set) = response.headers().get(header::SET_COOKIE) {
                assert!(set.to_str().unwrap().contains("; Max-Age=1800;"), "{set:?}");
                let again = set_cookie(&response).unwrap();
                assert_eq!(again, cookie, "the same token");
                (cookie, left) = (again, 30);
            }
        }
        assert_eq!(app.get("/who", &cookie).await.0, "u42");
    }
}

/// A session ends by its own timeouts and not by those of the cookie, in its last half hour too.
#[tokio::test]
async fn a_cookie_that_is_kept_for_less_than_the_session_may_idle_is_sent_again_in_time() {
    let brief = |config: SessionConfigBuilder| {
        let cookie = CookieConfig::builder("__Host-id").max_age(2 * MINUTE).build().unwrap();
        config.cookie(cookie).absolute_timeout(60 * MINUTE)
    };
    let app = App::new(brief);
    let cookie = app.post("/login/u42", "").await.unwrap();
    let mut left = 4;
    for half_minute in 1..120 {
        app.clock.advance(MINUTE / 2);
        left -= 1;
        assert!(left > 0, "the browser has thrown the cookie away after {half_minute} half minutes");
        let response = app.send("GET", "/who", &[&cookie]).await;
        tokio::task::yield_now().await;
        if let Some(again) = set_cookie(&response) {
            assert_eq!(again, cookie);
            left = 4;
        }
        assert_eq!(text(response).await, "u42");
    }
}

#[tokio::test]
async fn a_cookie_that_ends_with_the_browser_is_not_sent_again() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u42", "").await.unwrap();
    app.clock.advance(10 * MINUTE);
    assert_eq!(app.get("/who", &cookie).await, ("u42".into(), None));
    assert_eq!(app.post("/put/theme/light", &cookie).await, None);
}

/// Lets loads fail as often as it is told to, and counts them.
#[derive(Clone, Debug, Default)]
struct Failing(Arc<Loads>);

#[derive(Debug, Default)]
struct Loads {
    asked: AtomicU32,
    failures: AtomicU32,
    lists_fail: AtomicBool,
}

/// The store says itself when to come again.
fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is away").with_retry(Retry::After(Duration::from_secs(7)))
}

impl Layer for Failing {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == "session.load" {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            if self.0.failures.load(Ordering::Relaxed) > 0 {
                self.0.failures.fetch_sub(1, Ordering::Relaxed);
                return Err(away());
            }
        }
        if operation == "session.list" && self.0.lists_fail.load(Ordering::Relaxed) {
            return Err(away());
        }
        work.await
    }
}

/// The handler goes on after an error, as if there were no session.
fn careless() -> Router {
    routes().route(
        "/careless",
        post(async |session: Session| {
            for _ in 0..5 {
                drop(session.get::<String>("theme").await);
            }
            drop(session.insert("theme", "default"));
            drop(session.login("u42").await);
        }),
    )
}

fn failing(policy: OutagePolicy, routes: Router) -> (App, Arc<Loads>) {
    let failing = Failing::default();
    let store = LayeredSessionStore::new(Arc::new(MemorySessionStore::new()), failing.clone());
    let config = SessionConfig::builder().on_outage(policy).build().unwrap();
    (App::around(routes.layer(SessionLayer::with_config(store, config)), Arc::default()), failing.0)
}

#[tokio::test]
async fn after_an_outage_nothing_is_saved_that_rests_on_what_was_not_read_and_no_cookie_is_new() {
    let (app, loads) = failing(OutagePolicy::FailClosed, careless());
    let cookie = app.post("/login/u1", "").await.unwrap();
    app.post("/put/theme/light", &cookie).await;
    let before = loads.asked.load(Ordering::Relaxed);
    // The store is back before the request ends.
    loads.failures.store(1, Ordering::Relaxed);
    let response = app.send("POST", "/careless", &[&cookie]).await;
    assert_eq!((response.status(), set_cookie(&response)), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(cache_control(&response), ["no-store"]);
    assert_eq!(loads.asked.load(Ordering::Relaxed) - before, 1, "five reads wait for the store once");
    assert_eq!(app.get("/read/theme", &cookie).await.0, "light");
    assert_eq!(app.get("/who", &cookie).await.0, "u1");
}

#[tokio::test]
async fn an_anonymous_request_in_an_outage_waits_for_the_store_once() {
    let (app, loads) = failing(OutagePolicy::Anonymous, careless());
    let cookie = app.post("/login/u1", "").await.unwrap();
    let before = loads.asked.load(Ordering::Relaxed);
    loads.failures.store(100, Ordering::Relaxed);
    let response = app.send("POST", "/careless", &[&cookie]).await;
    assert_eq!((response.status(), set_cookie(&response)), (StatusCode::OK, None));
    assert_eq!(loads.asked.load(Ordering::Relaxed) - before, 1);
}

/// Looks at somebody's sessions before anything else, and goes on without an answer.
async fn lists(session: Session, request: Request<Body>, next: Next) -> Response<Body> {
    drop(session.list().await);
    next.run(request).await
}

/// Pages that somebody must be logged in to, and a form.
fn guarded() -> Router {
    let page = |guard: RequireLoginLayer| get("in").layer(guard);
    routes()
        .route("/mine", page(RequireLoginLayer::new()))
        .route("/delicate", page(RequireLoginLayer::new().fresh_within(MINUTE)))
        .route("/principal", get(async |_: Principal| "in"))
        .route("/just-now", get(async |_: Fresh<300>| "in"))
        .route("/perhaps", get(async |who: Option<Principal>| who.map_or("nobody", |_| "somebody")))
        .route("/form", post("in").layer(CsrfLayer::new()))
        .route("/listed-form", post("in").layer(CsrfLayer::new()).layer(from_fn(lists)))
        .route("/list", get(async |session: Session| session.list().await.map(drop).map_err(SessionError::from)))
        .route(
            "/revoke-others",
            get(async |session: Session| session.revoke_others().await.map_err(SessionError::from)),
        )
        .route(
            "/revoke",
            get(async |session: Session| {
                let key = Token::generate().unwrap().key();
                session.revoke(&key).await.map_err(SessionError::from)
            }),
        )
        .route(
            "/ended",
            get(async |session: Session| {
                let ended = tokio::time::timeout(Duration::from_millis(1), session.ended(MINUTE)).await;
                ended.unwrap_or(Ok(())).map_err(SessionError::from)
            }),
        )
        .route("/token", get(async |session: Session| session.csrf_token().await.map(drop).map_err(SessionError::from)))
}

const PAGES: [&str; 8] =
    ["/mine", "/delicate", "/principal", "/just-now", "/list", "/revoke", "/revoke-others", "/ended"];

#[tokio::test]
async fn an_outage_is_no_refusal_where_requests_go_on_without_a_session() {
    for policy in [OutagePolicy::FailClosed, OutagePolicy::Anonymous] {
        let (app, loads) = failing(policy, guarded());
        let cookie = app.post("/login/u1", "").await.unwrap();
        let form = Request::post("/form").header(header::COOKIE, &cookie);
        let in_header = form.header("x-csrf-token", "0".repeat(64)).body(Body::empty()).unwrap();
        let form = Request::post("/form").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let in_form = form.header(header::COOKIE, &cookie).body("csrf=0".into()).unwrap();
        let page = |path| Request::get(path).header(header::COOKIE, &cookie).body(Body::empty()).unwrap();
        for request in PAGES.iter().chain(&["/token"]).copied().map(page).chain([in_header, in_form]) {
            loads.failures.store(1, Ordering::Relaxed);
            let case = format!("{policy:?} {}", request.uri());
            let response = app.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{case}");
            assert_eq!(response.headers()[header::RETRY_AFTER], "7", "{case}");
            assert_eq!(set_cookie(&response), None, "{case}");
        }
        // The store is there, and so is an answer.
        for path in PAGES {
            assert_eq!(app.send("GET", path, &[&cookie]).await.status(), 200, "{policy:?} {path}");
            assert_eq!(app.send("GET", path, &[]).await.status(), 401, "{policy:?} {path}");
        }
        assert_eq!(app.send("POST", "/form", &[&cookie]).await.status(), 403, "{policy:?}");
    }
    // What failed beside it says nothing of a token that was read.
    let (app, loads) = failing(OutagePolicy::Anonymous, guarded());
    let cookie = app.post("/login/u1", "").await.unwrap();
    loads.lists_fail.store(true, Ordering::Relaxed);
    assert_eq!(app.send("POST", "/listed-form", &[&cookie]).await.status(), 403);
    let (app, loads) = failing(OutagePolicy::Anonymous, guarded());
    let cookie = app.post("/login/u1", "").await.unwrap();
    loads.failures.store(1, Ordering::Relaxed);
    assert_eq!(app.get("/perhaps", &cookie).await.0, "nobody", "a page for everybody goes on");
}

#[tokio::test]
async fn a_session_that_may_be_there_is_none_without_its_layer() {
    struct Operators;
    let store = || SessionLayer::new(MemorySessionStore::new());
    let page = async |one: Option<Session>, other: Option<SessionOf<Operators>>| {
        format!("{} {}", one.is_some(), other.is_some())
    };
    let router = || Router::new().route("/", get(page));
    for (router, expected) in [
        (router(), "false false"),
        (router().layer(store()), "true false"),
        (router().layer(store().marked::<Operators>()), "false true"),
        (router().layer(store()).layer(store().marked::<Operators>()), "true true"),
    ] {
        assert_eq!(App::around(router, Arc::default()).get("/", "").await.0, expected);
    }
}

#[tokio::test]
async fn tokens_that_open_nothing_are_a_line_and_not_one_each() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let app = App::new(|config| config);
    let cookie = app.post("/login/u1", "").await.unwrap();
    let stale = token(&cookie).with_new_verifier().unwrap();
    app.clock.advance(2 * MINUTE);
    for _ in 0..50 {
        for token in [&stale, &Token::generate().unwrap()] {
            let cookie = format!("__Host-id={}", token.expose().expose());
            assert_eq!(app.get("/who", &cookie).await.0, "nobody");
        }
    }
    for said in ["unknown session token", "old or a wrong verifier refused"] {
        assert_eq!(log.text().matches(said).count(), 1, "{said}");
    }
}

/// Their bodies are not `Default`, so this is a matter of types.
#[tokio::test]
async fn the_layer_stands_on_either_side_of_one_that_wraps_bodies() {
    let layer = || SessionLayer::new(MemorySessionStore::new());
    let trace = tower_http::trace::TraceLayer::new_for_http;
    let outside = routes().layer(ServiceBuilder::new().layer(trace()).layer(layer()));
    let inside = routes().layer(ServiceBuilder::new().layer(layer()).layer(trace()));
    for (name, router) in [("outside", outside), ("inside", inside)] {
        let app = App::around(router, Arc::default());
        let cookie = app.post("/login/u42", "").await.unwrap();
        assert_eq!(app.get("/who", &cookie).await.0, "u42", "{name}");
        let response = app.send("GET", "/who", &[&cookie]).await;
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "3", "{name}");
    }
}
