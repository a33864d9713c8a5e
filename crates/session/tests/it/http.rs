//! Sessions through an axum router, as a browser sees them.

mod times;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Router, extract::Path};
use statehouse_core::{Error, ErrorKind, ManualClock};
use statehouse_session::{
    Authority, ConflictPolicy, CookieConfig, MemoryConfig, MemorySessionStore, REMEMBERED, ServerErrorPolicy, Session,
    SessionConfig, SessionConfigBuilder, SessionLayer, SessionStoreExt as _, Sessions, Token,
};
use tower::ServiceExt;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct AppError(Error);

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> axum::response::Response {
        let status = match self.0.kind() {
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::IM_A_TEAPOT,
        };
        (status, self.0.to_string()).into_response()
    }
}

pub(crate) type Answer<T> = Result<T, AppError>;

async fn login(session: Session, Path(user): Path<String>) -> Answer<Redirect> {
    session.login(user).await?;
    session.insert("theme", "dark")?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session) -> Answer<&'static str> {
    session.logout().await?;
    Ok("bye")
}

async fn logout_and_flash(session: Session) -> Answer<()> {
    session.logout().await?;
    Ok(session.flash("info", "bye")?)
}

async fn who(session: Session) -> Answer<String> {
    Ok(session.principal().await?.map_or_else(|| "nobody".to_owned(), |principal| principal.to_string()))
}

async fn put(session: Session, Path((name, value)): Path<(String, String)>) -> Answer<()> {
    Ok(session.insert(&name, &value)?)
}

async fn read(session: Session, Path(name): Path<String>) -> Answer<String> {
    Ok(session.get::<String>(&name).await?.unwrap_or_default())
}

async fn failing_login(session: Session) -> Answer<StatusCode> {
    session.login("u42").await?;
    session.insert("theme", "dark")?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn fresh(session: Session) -> Answer<()> {
    Ok(session.require_fresh(5 * MINUTE).await?)
}

async fn flash(session: Session, Path(text): Path<String>) -> Answer<()> {
    session.flash("info", format!("{text} 1"))?;
    Ok(session.flash("info", format!("{text} 2"))?)
}

/// Takes messages in the hope of somebody to show them to.
async fn clear_and_take(session: Session) -> Answer<String> {
    session.clear()?;
    session.flash("info", "later")?;
    flashes(session).await
}

async fn flashes(session: Session) -> Answer<String> {
    let messages: Vec<_> = session.take_flash().await?.into_iter().map(|flash| flash.message).collect();
    Ok(messages.join(", "))
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get("hello"))
        .route("/login/{user}", post(login))
        .route("/logout", post(logout))
        .route("/logout-and-flash", post(logout_and_flash))
        .route("/who", get(who))
        .route("/put/{name}/{value}", post(put))
        .route("/read/{name}", get(read))
        .route("/failing-login", post(failing_login))
        .route("/fresh", get(fresh))
        .route("/flash/{text}", post(flash))
        .route("/flashes", get(flashes))
        .route("/clear-and-take", get(clear_and_take))
}

/// An application and the browsers in front of it.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) store: Arc<MemorySessionStore>,
    pub(crate) clock: ManualClock,
}

impl App {
    pub(crate) fn new(configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder) -> Self {
        Self::with_routes(routes(), configure)
    }

    pub(crate) fn with_routes(
        routes: Router,
        configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    ) -> Self {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone());
        let store = Arc::new(MemorySessionStore::with_config(config));
        let config = configure(SessionConfig::builder()).build().unwrap();
        let layer = SessionLayer::with_config(Arc::clone(&store), config);
        Self { router: routes.layer(layer), store, clock }
    }

    /// The browsers in front of a router that has its layer.
    pub(crate) fn around(router: Router, store: Arc<MemorySessionStore>) -> Self {
        Self { router, store, clock: ManualClock::default() }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, cookies: &[&str]) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for cookie in cookies {
            request = request.header(header::COOKIE, *cookie);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> (String, Option<String>) {
        let response = self.send("GET", path, &[cookie]).await;
        let cookie = set_cookie(&response);
        (text(response).await, cookie)
    }

    /// Posts and returns the cookie that the response sets.
    pub(crate) async fn post(&self, path: &str, cookie: &str) -> Option<String> {
        set_cookie(&self.send("POST", path, &[cookie]).await)
    }
}

pub(crate) async fn text(response: Response<Body>) -> String {
    String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// The `name=value` of each cookie that the response sets.
pub(crate) fn set_cookies(response: &Response<Body>) -> Vec<String> {
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

/// The same of the only cookie that it sets.
pub(crate) fn set_cookie(response: &Response<Body>) -> Option<String> {
    let mut cookies = set_cookies(response);
    assert!(cookies.len() <= 1, "one cookie at most");
    cookies.pop()
}

pub(crate) fn token(cookie: &str) -> Token {
    Token::parse(cookie.split_once('=').unwrap().1).unwrap()
}

#[tokio::test]
async fn login_gives_a_session_and_logout_ends_it() {
    let app = App::new(|config| config);
    let response = app.send("POST", "/login/u42", &[]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache=\"Set-Cookie\"");
    assert_eq!(response.headers()[header::VARY], "Cookie");
    let cookie = set_cookie(&response).unwrap();
    assert_eq!(app.get("/who", &cookie).await, ("u42".to_owned(), None));
    assert_eq!(app.get("/read/theme", &cookie).await.0, "dark");
    let response = app.send("POST", "/logout", &[&cookie]).await;
    let removal = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert_eq!(removal, "__Host-id=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
    assert_eq!(app.get("/who", &cookie).await, ("nobody".to_owned(), None));
    assert_eq!(app.store.len(), 1, "that it was deleted, and nothing else");
}

#[tokio::test]
async fn a_request_that_does_not_use_its_session_sets_no_cookie_and_stores_nothing() {
    let app = App::new(|config| config);
    let response = app.send("GET", "/", &[]).await;
    assert!(!response.headers().contains_key(header::SET_COOKIE) && !response.headers().contains_key(header::VARY));
    assert_eq!(app.get("/who", "").await.1, None);
    assert!(app.store.is_empty());
}

#[tokio::test]
async fn a_planted_session_is_anonymous_after_its_victim_logged_in() {
    let app = App::new(|config| config);
    let planted = app.post("/put/cart/bait", "").await.unwrap();
    let own = app.post("/login/victim", &planted).await.unwrap();
    assert_eq!(token(&own).key(), token(&planted).key(), "the same session");
    assert_eq!(app.get("/who", &own).await.0, "victim");
    assert_eq!(app.get("/who", &planted).await, ("nobody".to_owned(), None));
    assert_eq!(app.post("/put/theme/pink", &planted).await, None, "its writes land nowhere and set no cookie");
    let response = app.send("POST", "/logout", &[&planted]).await;
    assert_eq!(set_cookie(&response), None, "nor does it log the victim out");
    assert!(text(response).await.contains("nobody was logged out"), "which is said");
    assert_eq!(app.post("/logout-and-flash", &planted).await, None, "nor replace the victim's cookie");
    assert_eq!(app.get("/read/theme", &own).await.0, "dark");
    assert_eq!(app.get("/who", &own).await.0, "victim");
}

/// Two requests of one session that wait for each other, so that one is under way while the other ends.
fn gated_routes(entered: Arc<tokio::sync::Notify>, go_on: Arc<tokio::sync::Notify>) -> Router {
    let slow = async move |session: Session| -> Answer<()> {
        session.principal().await?;
        entered.notify_one();
        go_on.notified().await;
        Ok(session.insert("theme", "planted")?)
    };
    routes().route("/slow", post(slow))
}

async fn while_a_request_is_under_way(during: &str) -> (App, String, Option<String>, Response<Body>) {
    let (entered, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let app = App::with_routes(gated_routes(Arc::clone(&entered), Arc::clone(&go_on)), |config| config);
    let cookie = app.post("/login/u1", "").await.unwrap();
    let cookies = [cookie.as_str()];
    let slow = app.send("POST", "/slow", &cookies);
    let other = async {
        entered.notified().await;
        let answer = app.post(during, &cookie).await;
        go_on.notify_one();
        answer
    };
    let (slow, other) = tokio::join!(slow, other);
    (app, cookie, other, slow)
}

#[tokio::test]
async fn a_write_in_flight_during_a_login_does_not_land_and_does_not_replace_the_new_cookie() {
    let (app, _, own, slow) = while_a_request_is_under_way("/login/u2").await;
    assert_eq!((slow.status(), set_cookie(&slow)), (StatusCode::OK, None));
    let own = own.unwrap();
    assert_eq!(app.get("/read/theme", &own).await.0, "dark");
    assert_eq!(app.get("/who", &own).await.0, "u2");
}

#[tokio::test]
async fn a_write_in_flight_during_a_logout_does_not_bring_the_session_back() {
    let (app, cookie, _, slow) = while_a_request_is_under_way("/logout").await;
    assert_eq!((slow.status(), set_cookie(&slow)), (StatusCode::OK, None), "the browser may have a newer cookie");
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
    assert_eq!(app.store.len(), 1, "that it was deleted, and nothing else");
}

#[tokio::test]
async fn a_request_that_meets_a_deleted_session_begins_another_in_the_fallback_cookie() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u1", "").await.unwrap();
    app.post("/logout", &cookie).await;
    app.clock.advance(MINUTE / 60);
    assert_eq!(app.get("/read/theme", &cookie).await, (String::new(), None), "a read changes no cookie");
    let late = app.send("POST", "/put/theme/planted", &[&cookie]).await;
    let fallback = set_cookie(&late).unwrap();
    assert_eq!((late.status(), fallback.split('=').next()), (StatusCode::OK, Some("__Host-id-fallback")));
    let both = format!("{fallback}; {cookie}");
    assert_eq!(app.get("/read/theme", &both).await, ("planted".into(), None));
    assert_eq!(app.post("/put/theme/kept", &both).await, None, "it has its cookie");
    let mut set: Vec<_> = set_cookies(&app.send("POST", "/login/u3", &[&both]).await);
    assert_eq!(set.remove(1), "__Host-id-fallback=");
    assert_eq!(app.get("/read/theme", &set[0]).await.0, "dark", "as the login says");
    assert_eq!(token(&set[0]).key(), token(&fallback).key(), "the same session");
    assert_eq!(app.get("/who", &set[0]).await.0, "u3");
    let login = app.post("/login/u2", &cookie).await.unwrap();
    assert_eq!(app.get("/who", &login).await.0, "u2");
    assert_ne!(token(&login).key(), token(&cookie).key());
    app.clock.advance(REMEMBERED);
    let begun = app.post("/put/theme/light", &cookie).await.unwrap();
    assert_eq!(app.get("/read/theme", &begun).await.0, "light", "the cookie of long ago is no obstacle");
}

#[tokio::test]
async fn an_id_that_was_never_issued_is_replaced_and_never_stored() {
    let app = App::new(|config| config);
    let chosen = format!("__Host-id={}", "a5".repeat(32));
    let issued = app.post("/put/a/1", &chosen).await.unwrap();
    assert_ne!(token(&issued).key(), token(&chosen).key());
    assert!(app.store.load(&token(&chosen).key()).await.unwrap().found().is_none());
    for nonsense in ["__Host-id=", "__Host-id=admin", "__Host-id=\"x\"", "__Host-id", "=", ";;;", "__Host-id=%00"] {
        let issued = app.post("/put/a/1", nonsense).await.unwrap();
        assert!(app.store.load(&token(&issued).key()).await.unwrap().found().is_some(), "{nonsense}");
    }
}

#[tokio::test]
async fn of_several_cookies_the_first_valid_one_counts_and_64_tokens_are_tried() {
    let app = App::new(|config| config);
    let good = app.post("/login/u42", "").await.unwrap();
    let planted = |number: usize| format!("__Host-id={}{number:02x}", "a5".repeat(31));
    for before in [0, 1, 4, 5, 63, 64] {
        let planted: Vec<_> = (0..before).map(planted).collect();
        let nonsense = vec!["__Host-id=nonsense"; before];
        let cookies = [nonsense, planted.iter().map(String::as_str).collect(), vec![&good]].concat();
        let expected = if before < 64 { "u42" } else { "nobody" };
        for sent in [cookies.clone(), vec![&cookies.join("; ")]] {
            let response = app.send("GET", "/who", &sent).await;
            assert_eq!(text(response).await, expected, "{before} before it");
        }
    }
    let other = app.post("/login/u43", "").await.unwrap();
    assert_eq!(text(app.send("GET", "/who", &[&good, &other]).await).await, "u42");
}

#[tokio::test]
async fn a_logout_says_that_there_were_more_cookies_than_it_looks_at() {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let mut cookies = Vec::new();
    for number in 0..65 {
        let session = sessions.open(&HeaderMap::new());
        session.login(number).await.unwrap();
        session.commit().await.unwrap();
        let mut response = HeaderMap::new();
        session.write_cookie(&mut response);
        cookies.push(response[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned());
    }
    let request = |cookie: &str| HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
    let error = sessions.open(&request(&cookies.join("; "))).logout().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for (number, cookie) in cookies.iter().enumerate() {
        let alive = sessions.open(&request(cookie)).principal().await.unwrap().is_some();
        assert_eq!(alive, number == 64, "{number}");
    }
}

#[tokio::test]
async fn login_and_rotation_survive_a_server_error_and_attributes_by_configuration() {
    for (policy, theme) in [(ServerErrorPolicy::Keep, "dark"), (ServerErrorPolicy::Discard, "")] {
        let app = App::new(|config| config.on_server_error(policy));
        let before = app.post("/put/cart/full", "").await.unwrap();
        let response = app.send("POST", "/failing-login", &[&before]).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let cookie = set_cookie(&response).unwrap();
        assert_eq!(app.get("/who", &cookie).await.0, "u42");
        assert_eq!(app.get("/read/cart", &cookie).await.0, "full");
        assert_eq!(app.get("/read/theme", &cookie).await.0, theme);
    }
}

#[tokio::test]
async fn flashes_are_taken_once_in_order_and_two_requests_may_leave_some() {
    let app = App::new(|config| config);
    let cookie = app.post("/put/a/1", "").await.unwrap();
    app.post("/flash/first", &cookie).await;
    app.post("/flash/second", &cookie).await;
    assert_eq!(app.get("/flashes", &cookie).await.0, "first 1, first 2, second 1, second 2");
    assert_eq!(app.get("/flashes", &cookie).await.0, "");
    assert_eq!(app.get("/read/a", &cookie).await.0, "1");
}

#[tokio::test]
async fn limits_are_refused_at_the_insert() {
    let app = App::new(|config| config.max_attribute_size(200).max_session_size(500));
    let status = async |path: &str, cookie: &str| app.send("POST", path, &[cookie]).await.status();
    let text = |length| "x".repeat(length);
    let cookie = app.post(&format!("/put/a/{}", text(150)), "").await.unwrap();
    assert_eq!(status(&format!("/put/b/{}", text(200)), &cookie).await, StatusCode::PAYLOAD_TOO_LARGE);
    for name in ["b", "c"] {
        assert_eq!(status(&format!("/put/{name}/{}", text(150)), &cookie).await, StatusCode::OK);
    }
    // This request has not read its session, so that only the commit can see that it is too much.
    let late = app.send("POST", &format!("/put/d/{}", text(150)), &[&cookie]).await;
    assert_eq!((late.status(), set_cookie(&late)), (StatusCode::PAYLOAD_TOO_LARGE, None));
    assert_eq!(app.get("/read/d", &cookie).await.0, "");
    assert_eq!(app.get("/read/c", &cookie).await.0, text(150));
}

#[tokio::test]
async fn a_conflict_is_merged_or_refused_or_overwrites_by_policy() {
    for (policy, status, one, two) in [
        (ConflictPolicy::Merge, StatusCode::OK, "planted", "x"),
        (ConflictPolicy::Fail, StatusCode::CONFLICT, "dark", "x"),
        (ConflictPolicy::LastWriteWins, StatusCode::OK, "planted", ""),
    ] {
        let (entered, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let app = App::with_routes(gated_routes(Arc::clone(&entered), Arc::clone(&go_on)), |config| {
            config.on_conflict(policy)
        });
        let cookie = app.post("/login/u1", "").await.unwrap();
        let cookies = [cookie.as_str()];
        let other = async {
            entered.notified().await;
            app.post("/put/other/x", &cookie).await;
            go_on.notify_one();
        };
        let (slow, ()) = tokio::join!(app.send("POST", "/slow", &cookies), other);
        assert_eq!(slow.status(), status, "{policy:?}");
        assert_eq!(app.get("/read/theme", &cookie).await.0, one, "{policy:?}");
        assert_eq!(app.get("/read/other", &cookie).await.0, two, "{policy:?}");
    }
}

#[tokio::test]
async fn a_change_after_the_response_is_refused_and_not_lost_silently() {
    let kept: Arc<std::sync::Mutex<Option<Session>>> = Arc::default();
    let keep = {
        let kept = Arc::clone(&kept);
        async move |session: Session| {
            *kept.lock().unwrap() = Some(session);
        }
    };
    let app = App::with_routes(Router::new().route("/", get(keep)), |config| config);
    app.send("GET", "/", &[]).await;
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.insert("late", &1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(session.login("u42").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_handler_without_the_layer_is_told_so() {
    let response = routes().oneshot(Request::get("/who").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn plain_http_on_localhost_has_a_cookie_of_its_own() {
    let app = App::new(|config| config.cookie(CookieConfig::insecure_localhost()));
    let response = app.send("POST", "/login/u42", &[]).await;
    let header = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(header.starts_with("id=") && header.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{header}");
    assert_eq!(app.get("/who", &set_cookie(&response).unwrap()).await.0, "u42");
}

#[tokio::test]
async fn a_login_keeps_the_attributes_unless_somebody_else_was_logged_in() {
    let app = App::new(|config| config);
    let anonymous = app.post("/put/cart/full", "").await.unwrap();
    let first = app.post("/login/u1", &anonymous).await.unwrap();
    let again = app.post("/login/u1", &first).await.unwrap();
    assert_eq!(app.get("/read/cart", &again).await.0, "full");
    let other = app.post("/login/u2", &again).await.unwrap();
    assert_eq!(app.get("/read/cart", &other).await.0, "");
    assert_eq!(app.get("/read/theme", &other).await.0, "dark", "what the login itself inserts");
}

#[tokio::test]
async fn a_message_left_after_a_logout_goes_into_a_new_session() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u42", "").await.unwrap();
    let next = app.post("/logout-and-flash", &cookie).await.unwrap();
    assert_ne!(token(&next).key(), token(&cookie).key());
    assert_eq!(app.get("/who", &next).await.0, "nobody");
    assert_eq!(app.get("/flashes", &next).await.0, "bye");
}

#[tokio::test]
async fn the_application_may_end_any_session() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u42", "").await.unwrap();
    let _ = app.store.delete(&token(&cookie).key(), Authority::Application).await.unwrap();
    app.clock.advance(MINUTE / 60);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
    let next = app.post("/put/a/1", &cookie).await.expect("a new session");
    assert_eq!(app.get("/read/a", &format!("{cookie}; {next}")).await.0, "1", "at once");
    assert_eq!(app.get("/who", &format!("{cookie}; {next}")).await.0, "nobody");
}

#[tokio::test]
async fn nothing_printed_contains_the_token() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u42", "").await.unwrap();
    let sessions = Sessions::new(Arc::clone(&app.store), SessionConfig::default());
    let headers = [(header::COOKIE, cookie.parse().unwrap())].into_iter().collect();
    let session = sessions.open(&headers);
    session.principal().await.unwrap();
    let name = session.id_for_logs().unwrap();
    let printed = format!("{session:?} {sessions:?} {:?} {name}", app.store);
    let secret = cookie.split_once('=').unwrap().1;
    let key = token(&cookie).key().to_string();
    for part in [&secret[..16], &secret[32..48], &key[..16]] {
        assert!(!printed.contains(part), "{printed}");
    }
    assert!(!printed.contains("u42"), "{printed}");
}

#[tokio::test]
async fn what_was_cleared_is_no_message_any_more() {
    let app = App::new(|config| config);
    let cookie = app.post("/login/u42", "").await.unwrap();
    app.post("/flash/before", &cookie).await;
    assert_eq!(app.get("/clear-and-take", &cookie).await.0, "later");
    assert_eq!(app.get("/flashes", &cookie).await.0, "");
}
