//! Requests that another site's page makes, and pages that only some may see.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::{get, post};
use statehouse_core::conformance::rounds;
use statehouse_session::{
    CookieConfig, CsrfLayer, CsrfRefused, Fresh, MemorySessionStore, Principal, RequireLoginLayer, Session,
    SessionConfig, SessionError, SessionLayer, SessionOf, SessionStoreExt as _,
};
use tower::ServiceExt;

use crate::http::{App, routes, set_cookie, text};

type Answer<T> = Result<T, SessionError>;

async fn token(session: Session) -> Answer<String> {
    Ok(session.csrf_token().await?.expose().to_owned())
}

async fn login_with_token(session: Session) -> Answer<String> {
    session.login("u42").await?;
    token(session).await
}

fn app() -> App {
    let exempt = |path: &str| path.starts_with("/login") || path.starts_with("/put");
    let routes: Router = routes()
        .route("/token", get(token))
        .route("/login-with-token", post(login_with_token))
        .route("/rotate", post(async |session: Session| -> Answer<()> { Ok(session.rotate().await?) }))
        .route("/echo", post(async |body: String| body))
        .layer(CsrfLayer::new().max_form(200).exempt(move |request| exempt(request.uri.path())));
    App::with_routes(routes, |config| config)
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn send(app: &App, cookie: &str, header: Option<&str>, kind: &str, body: impl Into<Body>) -> Response<Body> {
    let mut request = Request::post("/echo").header(header::COOKIE, cookie).header(header::CONTENT_TYPE, kind);
    if let Some(token) = header {
        request = request.header("x-csrf-token", token);
    }
    app.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn passes(app: &App, cookie: &str, token: &str) -> bool {
    let status = send(app, cookie, Some(token), "text/plain", "").await.status();
    assert!([StatusCode::OK, StatusCode::FORBIDDEN].contains(&status), "{status}");
    status == StatusCode::OK
}

#[tokio::test]
async fn a_request_that_changes_something_shows_the_token_in_the_header_or_in_its_form() {
    let app = app();
    let cookie = app.post("/login/u42", "").await.unwrap();
    let (token, _) = app.get("/token", &cookie).await;
    let long = format!("text={}&csrf={token}", "a".repeat(200));
    for (header, kind, body, expected) in [
        (Some(&*token), "application/json", "{}".to_owned(), 200),
        (None, FORM, format!("text=a%20b&csrf={token}"), 200),
        (None, "application/X-WWW-form-urlencoded ; charset=utf-8", format!("csrf={token}"), 200),
        (None, FORM, "text=a".to_owned(), 403),
        (None, FORM, String::new(), 403),
        (None, FORM, format!("xcsrf={token}"), 403),
        (None, "text/plain", format!("csrf={token}"), 403),
        (None, FORM, long.clone(), 413),
        (Some(&*token), FORM, long, 200),
        (Some("wrong"), FORM, format!("csrf={token}"), 403),
    ] {
        let response = send(&app, &cookie, header, kind, body.clone()).await;
        assert_eq!(response.status(), expected, "{header:?} {kind} {body}");
        assert_eq!(response.extensions().get::<CsrfRefused>().is_some(), expected == 403);
        if expected == 200 {
            assert_eq!(text(response).await, body, "the handler reads what was sent");
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        let status = app.send(method, "/who", &[&cookie]).await.status();
        assert_ne!(status, StatusCode::FORBIDDEN, "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        let status = app.send(method, "/who", &[&cookie]).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{method}");
    }
}

#[tokio::test]
async fn a_token_is_of_one_session_and_of_one_login() {
    let app = app();
    let (before, anonymous) = app.get("/token", "").await;
    let anonymous = anonymous.expect("a session for the form");
    assert!(passes(&app, &anonymous, &before).await);
    assert!(!passes(&app, "", &before).await, "without its session");
    let (other, other_cookie) = app.get("/token", "").await;
    assert!(!passes(&app, &anonymous, &other).await && !passes(&app, &other_cookie.unwrap(), &before).await);

    // Whoever planted the session before the login knows its token.
    let response = app.send("POST", "/login-with-token", &[&anonymous]).await;
    let cookie = set_cookie(&response).unwrap();
    let given = text(response).await;
    assert!(!passes(&app, &cookie, &before).await);
    assert!(passes(&app, &cookie, &given).await, "the one that was asked for after the login");
    let (shown, again) = (app.get("/token", &cookie).await.0, app.get("/token", &cookie).await.0);
    assert_ne!(shown, again, "a compressed page does not tell it");
    assert!(passes(&app, &cookie, &shown).await && passes(&app, &cookie, &given).await, "two tabs");

    let rotate = Request::post("/rotate").header(header::COOKIE, &cookie).header("x-csrf-token", &shown);
    let rotated = app.router.clone().oneshot(rotate.body(Body::empty()).unwrap()).await.unwrap();
    let cookie = set_cookie(&rotated).unwrap();
    assert!(!passes(&app, &cookie, &shown).await);
    let (last, _) = app.get("/token", &cookie).await;
    let second = app.post("/login/u42", &cookie).await.unwrap();
    assert!(!passes(&app, &second, &last).await, "also where the same one logs in again");
}

/// Whether the session had one before or not.
#[tokio::test]
async fn a_token_that_is_asked_for_after_everything_was_removed_is_right() {
    let routes = routes().route("/token", get(token)).route("/echo", post(async |body: String| body));
    let routes = routes.route(
        "/clear",
        get(async |session: Session| -> Answer<String> {
            session.clear()?;
            let shown = session.csrf_token().await?;
            assert!(session.is_csrf_token(shown.expose()).await?, "in the same request, too");
            assert!(session.is_csrf_token(session.csrf_token().await?.expose()).await?);
            token(session).await.map(|last| format!("{} {last}", shown.expose()))
        }),
    );
    let layer = CsrfLayer::new().exempt(|request| request.uri.path().starts_with("/login"));
    let app = App::with_routes(routes.layer(layer), |config| config);
    for had_one in [false, true] {
        let cookie = app.post("/login/u42", "").await.unwrap();
        let before = if had_one { app.get("/token", &cookie).await.0 } else { "0".repeat(64) };
        let shown = app.get("/clear", &cookie).await.0;
        for shown in shown.split(' ') {
            assert!(passes(&app, &cookie, shown).await, "had one before: {had_one}");
        }
        assert!(!passes(&app, &cookie, &before).await, "had one before: {had_one}");
        assert_eq!(app.get("/read/theme", &cookie).await.0, "");
    }
}

#[tokio::test]
async fn asking_again_for_the_token_writes_nothing() {
    let app = app();
    let cookie = app.post("/login/u42", "").await.unwrap();
    let version = async || app.store.list(&Principal::new("u42").unwrap()).await.unwrap()[0].record().version();
    let before = version().await;
    app.get("/token", &cookie).await;
    let first = version().await;
    assert_ne!(first, before, "the first time it is saved");
    let (_, set) = app.get("/token", &cookie).await;
    assert_eq!((set, version().await), (None, first));
}

/// Whoever has no token is not listened to first.
#[tokio::test]
async fn the_form_of_a_session_that_has_no_token_is_not_read() {
    let app = app();
    let cookie = app.post("/login/u42", "").await.unwrap();
    let unread = || {
        Body::from_stream(futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<String>>> {
            panic!("it is read")
        }))
    };
    for cookie in ["", &cookie] {
        assert_eq!(send(&app, cookie, None, FORM, unread()).await.status(), 403);
    }
    let (_, _) = app.get("/token", &cookie).await;
    let long = format!("csrf={}", "a".repeat(200));
    let unheard = Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(long)]));
    assert_eq!(send(&app, &cookie, None, FORM, unheard).await.status(), 413);
}

/// What axum's `nest` takes away of a path is there for whoever decides by it.
#[tokio::test]
async fn of_a_nested_router_the_whole_path_is_looked_at() {
    let to_login = |request: &http::request::Parts| {
        let place = format!("/login?next={}", request.uri);
        Response::builder().status(303).header(header::LOCATION, place).body(()).unwrap()
    };
    let pages = Router::new().route("/mine", get("mine")).layer(RequireLoginLayer::new().answer_with(to_login));
    let hooks = Router::new()
        .route("/hook", post(async |request: Request<Body>| request.uri().to_string()))
        .layer(CsrfLayer::new().exempt(|request| request.uri.path() == "/in/hook"));
    let app = App::with_routes(Router::new().nest("/in", pages.merge(hooks)), |config| config);
    assert_eq!(app.send("GET", "/in/mine?of=7", &[]).await.headers()[header::LOCATION], "/login?next=/in/mine?of=7");
    let response = app.send("POST", "/in/hook", &[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "/hook", "the handler sees what it is given elsewhere");
}

/// Of pages that are loaded together, each shows a token, and the last save must not make the others wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_pages_that_are_loaded_together_all_show_a_right_token() {
    for _ in 0..rounds(20, 1_000) {
        let app = std::sync::Arc::new(app());
        let cookie = app.post("/put/ward/7", "").await.unwrap();
        let pages: Vec<_> = (0..8)
            .map(|_| {
                let (app, cookie) = (std::sync::Arc::clone(&app), cookie.clone());
                tokio::spawn(async move { app.get("/token", &cookie).await.0 })
            })
            .collect();
        for page in pages {
            assert!(passes(&app, &cookie, &page.await.unwrap()).await);
        }
    }
}

#[tokio::test]
async fn pages_are_for_whoever_is_logged_in_or_logged_in_recently() {
    let minute = Duration::from_secs(60);
    let to_login = |request: &http::request::Parts| {
        let place = format!("/login?next={}", request.uri.path());
        Response::builder().status(303).header(header::LOCATION, place).body(()).unwrap()
    };
    let pages = Router::new().route("/mine", get("mine")).layer(RequireLoginLayer::new());
    let led = Router::new().route("/led", get("led")).layer(RequireLoginLayer::new().answer_with(to_login));
    let recent = Router::new().route("/recent", get("recent")).layer(RequireLoginLayer::new().fresh_within(minute));
    let extracted = Router::new()
        .route("/extracted", get(async |who: Principal| who.to_string()))
        .route("/maybe", get(async |who: Option<Principal>| who.is_some().to_string()))
        .route("/fresh-extracted", get(async |Fresh(who): Fresh<60>| who.to_string()));
    let app = App::with_routes(routes().merge(pages).merge(led).merge(recent).merge(extracted), |config| config);
    let status = async |path: &str, cookie: &str| app.send("GET", path, &[cookie]).await.status().as_u16();
    for (path, expected) in
        [("/mine", 401), ("/led", 303), ("/recent", 401), ("/extracted", 401), ("/fresh-extracted", 401)]
    {
        assert_eq!(status(path, "").await, expected, "{path}");
    }
    assert_eq!(app.send("GET", "/led", &[]).await.headers()[header::LOCATION], "/login?next=/led");
    assert_eq!(app.get("/maybe", "").await.0, "false");
    let cookie = app.post("/login/u42", "").await.unwrap();
    for (path, expected) in [
        ("/mine", "mine"),
        ("/led", "led"),
        ("/recent", "recent"),
        ("/extracted", "u42"),
        ("/fresh-extracted", "u42"),
        ("/maybe", "true"),
    ] {
        assert_eq!(app.get(path, &cookie).await.0, expected, "{path}");
    }
    app.clock.advance(minute + Duration::from_secs(1));
    for (path, expected) in
        [("/mine", 200), ("/led", 200), ("/recent", 401), ("/extracted", 200), ("/fresh-extracted", 401)]
    {
        assert_eq!(status(path, &cookie).await, expected, "{path}");
    }
}

struct Operators;

#[tokio::test]
async fn two_layers_around_one_application_keep_two_sessions_apart() {
    // One for both.
    let store = std::sync::Arc::new(MemorySessionStore::new());
    let own =
        SessionConfig::builder().cookie(CookieConfig::builder("__Host-operator").build().unwrap()).build().unwrap();
    let who = async |session: &Session| {
        session.principal().await.map(|who| who.map_or("nobody".to_owned(), |who| who.to_string()))
    };
    let operator_login = async |session: SessionOf<Operators>| -> Answer<String> {
        session.login("root").await?;
        Ok(session.csrf_token().await?.expose().to_owned())
    };
    let both = async move |visitor: Session, operator: SessionOf<Operators>| -> Answer<String> {
        Ok(format!("{} {}", who(&visitor).await?, who(&operator.into_session()).await?))
    };
    let delicate = Router::new()
        .route("/delicate", post("done"))
        .layer(CsrfLayer::new().of::<Operators>())
        .layer(RequireLoginLayer::new().of::<Operators>());
    let router = routes()
        .route("/operator", post(operator_login))
        .route("/both", get(both))
        .merge(delicate)
        .layer(SessionLayer::new(std::sync::Arc::clone(&store)))
        .layer(SessionLayer::with_config(std::sync::Arc::clone(&store), own).marked::<Operators>());
    let app = App::around(router, std::sync::Arc::new(MemorySessionStore::new()));
    let visitor = app.post("/login/u42", "").await.unwrap();
    let response = app.send("POST", "/operator", &[&visitor]).await;
    let operator = set_cookie(&response).unwrap();
    let token = text(response).await;
    assert!(operator.starts_with("__Host-operator="));
    assert_eq!(app.get("/both", &format!("{visitor}; {operator}")).await.0, "u42 root");
    assert_eq!(app.get("/both", &visitor).await.0, "u42 nobody");
    assert_eq!(app.get("/both", &operator).await.0, "nobody root");
    // A visitor's token in the place of an operator's, and the other way round.
    let up = operator.replace("__Host-operator", "__Host-id");
    assert_eq!(app.get("/both", &up).await.0, "nobody nobody");
    let moved = visitor.replace("__Host-id", "__Host-operator");
    for (cookie, expected) in [(&visitor, 401), (&moved, 401), (&operator, 200)] {
        let request = Request::post("/delicate").header(header::COOKIE, cookie).header("x-csrf-token", &token);
        let response = app.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn a_layer_without_sessions_around_it_is_a_mistake_that_is_told() {
    for router in [
        Router::new().route("/", post("hello")).layer(CsrfLayer::new()),
        Router::new().route("/", post("hello")).layer(RequireLoginLayer::new()),
        Router::new().route("/", post(async |_: Principal| "hello")),
    ] {
        let app = App::around(router, std::sync::Arc::new(MemorySessionStore::new()));
        assert_eq!(app.send("POST", "/", &[]).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
