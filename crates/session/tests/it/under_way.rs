//! Requests of one browser that overtake each other.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::post;
use statehouse_core::conformance::rounds;
use statehouse_session::{Authority, Session, SessionConfig, SessionConfigBuilder, SessionLayer, SessionStoreExt as _};
use statehouse_testkit::RedisServer;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::http::{Answer, App, MINUTE, routes, set_cookie, set_cookies, text, token};
use crate::{open_redis, random_namespace};

/// What the handler does before the other request runs, and after it.
#[derive(Clone, Copy, Debug)]
enum Slow {
    ReadThenWrite,
    Write,
    ReadThenLogOut,
    LogOut,
}

const SLOW: [Slow; 4] = [Slow::ReadThenWrite, Slow::Write, Slow::ReadThenLogOut, Slow::LogOut];

fn with_slow(how: Slow, entered: Arc<Notify>, go_on: Arc<Notify>) -> Router {
    let slow = async move |session: Session| -> Answer<()> {
        if matches!(how, Slow::ReadThenWrite | Slow::ReadThenLogOut) {
            session.principal().await?;
        }
        entered.notify_one();
        go_on.notified().await;
        match how {
            Slow::ReadThenWrite | Slow::Write => Ok(session.insert("late", "x")?),
            Slow::ReadThenLogOut | Slow::LogOut => Ok(session.logout().await?),
        }
    };
    routes().route("/slow", post(slow))
}

/// Runs `during` while a slow request with the cookie of a login is under way. A browser applies what the responses
/// say in the order in which they come.
async fn while_under_way<T>(
    how: Slow,
    configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    during: impl AsyncFnOnce(&App, &str) -> T,
) -> (App, T, Response<Body>) {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = App::with_routes(with_slow(how, Arc::clone(&entered), Arc::clone(&go_on)), configure);
    let cookie = app.post("/login/u1", "").await.unwrap();
    let cookies = [cookie.as_str()];
    let other = async {
        entered.notified().await;
        let answer = during(&app, &cookie).await;
        go_on.notify_one();
        answer
    };
    let (slow, answer) = tokio::join!(app.send("POST", "/slow", &cookies), other);
    (app, answer, slow)
}

#[tokio::test]
async fn a_slow_request_of_a_session_that_was_logged_out_does_not_touch_the_cookie_of_the_next_login() {
    for round in 0..rounds(50, 2_000) {
        let how = SLOW[round % SLOW.len()];
        let again = async |app: &App, old: &str| {
            let removal = app.post("/logout", old).await.unwrap();
            app.post("/login/u2", &removal).await.unwrap()
        };
        let (app, fresh, slow) = while_under_way(how, |config| config, again).await;
        assert_eq!(set_cookie(&slow), None, "round {round}, {how:?}");
        assert_eq!(app.get("/who", &fresh).await.0, "u2", "round {round}, {how:?}");
        assert_eq!(app.get("/read/late", &fresh).await.0, "", "round {round}, {how:?}");
    }
}

#[tokio::test]
async fn a_slow_request_of_a_session_that_was_revoked_does_not_touch_the_cookie_of_the_next_login() {
    for how in SLOW {
        let again = async |app: &App, old: &str| {
            let _ = app.store.delete(&token(old).key(), Authority::Application).await.unwrap();
            app.post("/login/u2", old).await.unwrap()
        };
        let (app, fresh, slow) = while_under_way(how, |config| config, again).await;
        assert_eq!(set_cookie(&slow), None, "{how:?}");
        assert_eq!(app.get("/who", &fresh).await.0, "u2", "{how:?}");
    }
}

#[tokio::test]
async fn a_slow_request_of_a_session_that_expired_does_not_touch_the_cookie_of_the_next_login() {
    for how in [Slow::ReadThenWrite, Slow::ReadThenLogOut] {
        let again = async |app: &App, old: &str| {
            app.clock.advance(30 * MINUTE);
            app.post("/login/u2", old).await.unwrap()
        };
        let (app, fresh, slow) = while_under_way(how, |config| config, again).await;
        assert_eq!(set_cookie(&slow), None, "{how:?}");
        assert_eq!(app.get("/who", &fresh).await.0, "u2", "{how:?}");
    }
}

#[tokio::test]
async fn a_slow_request_of_a_session_whose_token_was_replaced_does_not_touch_the_new_cookie() {
    for how in SLOW {
        let again = async |app: &App, old: &str| app.post("/login/u2", old).await.unwrap();
        let (app, fresh, slow) = while_under_way(how, |config| config, again).await;
        assert_eq!(set_cookie(&slow), None, "{how:?}");
        let logs_out = matches!(how, Slow::LogOut | Slow::ReadThenLogOut);
        assert_eq!(slow.status() == StatusCode::OK, !logs_out, "{how:?}");
        assert_eq!(text(slow).await.contains("nobody was logged out"), logs_out, "{how:?}");
        assert_eq!(app.get("/who", &fresh).await.0, "u2", "{how:?}");
    }
}

/// A page with several requests whose first one logs somebody in, and whose others are sent before its answer is there.
#[tokio::test]
async fn what_was_sent_before_the_answer_of_a_login_or_a_logout_does_not_throw_the_login_out() {
    const LATE: [&str; 4] = ["/put/late/x", "/flash/x", "/logout", "/logout-and-flash"];
    for (late, after) in LATE.into_iter().flat_map(|late| [(late, "/login/u1"), (late, "/logout")]) {
        for had in ["/put/cart/full", "/login/u0"] {
            let app = App::new(|config| config);
            let old = app.post(had, "").await.unwrap();
            let mut cookie = app.post(after, &old).await.unwrap();
            if after == "/logout" {
                cookie = app.post("/login/u1", &cookie).await.unwrap();
            }
            app.clock.advance(MINUTE / 60);
            let late_answer = set_cookies(&app.send("POST", late, &[&old]).await);
            let case = format!("{had}, {after}, then {late}: {late_answer:?}");
            assert!(late_answer.iter().all(|set| set.starts_with("__Host-id-fallback=")), "{case}");
            let both = [vec![cookie.clone()], late_answer].concat().join("; ");
            let who = app.send("GET", "/who", &[&both]).await;
            let removed = set_cookies(&who);
            assert_eq!(text(who).await, "u1", "{case}");
            assert_eq!(removed.is_empty(), both == cookie, "{case}: {removed:?}");
            assert!(removed.iter().all(|set| set == "__Host-id-fallback="), "{case}: {removed:?}");
            let left = set_cookies(&app.send("POST", "/logout", &[&both]).await);
            assert!(left.contains(&"__Host-id=".to_owned()), "{case}: {left:?}");
            assert_eq!(app.get("/who", &both).await.0, "nobody", "{case}");
        }
    }
}

/// The answer of a login is lost, and the form to log in with has a token that is kept in the session.
#[tokio::test]
async fn somebody_whose_login_got_lost_has_a_session_at_once_and_for_as_long_as_others() {
    let app = App::new(|config| config);
    let old = app.post("/put/cart/full", "").await.unwrap();
    app.post("/login/u1", &old).await.unwrap();
    app.clock.advance(MINUTE / 60);
    let fallback = app.post("/put/form/f1", &old).await.unwrap();
    for _ in 0..3 {
        app.clock.advance(MINUTE / 3);
        let both = format!("{old}; {fallback}");
        assert_eq!(app.get("/read/form", &both).await.0, "f1");
    }
    // Of a cookie that was replaced long ago no other is on its way.
    let both = format!("{old}; {fallback}");
    assert_eq!(app.get("/read/form", &both).await.0, "f1");
    app.clock.advance(10 * MINUTE);
    let set = set_cookies(&app.send("POST", "/put/form/f2", &[&both]).await);
    assert!(set[0].starts_with("__Host-id=") && set[1] == "__Host-id-fallback=", "{set:?}");
}

/// A cookie with a maximum age is sent again as the session slides, but not over a newer one.
#[tokio::test]
async fn a_slow_read_does_not_bring_back_the_cookie_of_before_a_login_or_a_logout() {
    let lasting = |config: SessionConfigBuilder| {
        let cookie = statehouse_session::CookieConfig::builder("__Host-id").max_age(60 * MINUTE).build().unwrap();
        config.cookie(cookie)
    };
    for during in ["/login/u2", "/logout"] {
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (entered, go_on) = (Arc::clone(&entered), Arc::clone(&go_on));
            async move |session: Session| -> Answer<()> {
                session.principal().await?;
                entered.notify_one();
                go_on.notified().await;
                Ok(())
            }
        };
        let app = App::with_routes(routes().route("/slow", post(slow)), lasting);
        let cookie = app.post("/login/u1", "").await.unwrap();
        app.clock.advance(10 * MINUTE);
        let cookies = [cookie.as_str()];
        let other = async {
            entered.notified().await;
            app.post(during, &cookie).await;
            go_on.notify_one();
        };
        let (slow, ()) = tokio::join!(app.send("POST", "/slow", &cookies), other);
        assert_eq!((slow.status(), slow.headers().get(header::SET_COOKIE)), (StatusCode::OK, None), "{during}");
    }
}

/// Redis holds a login back that another request comes behind: when that came, nothing was replaced yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_before_a_rotation_is_made_was_under_way_however_long_that_took() {
    let server = RedisServer::start().await;
    let store = Arc::new(open_redis(&server.url(), &random_namespace()).await);
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let routes = with_slow(Slow::Write, Arc::clone(&entered), Arc::clone(&go_on));
    let router = routes.layer(SessionLayer::with_config(store, SessionConfig::default()));
    let post = |path: &str, cookie: &str| {
        let request = Request::builder().method("POST").uri(path).header(header::COOKIE, cookie);
        router.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    for had in ["/put/cart/full", "/login/u1"] {
        let old = set_cookie(&post(had, "").await.unwrap()).unwrap();
        // The server knows the script from then on.
        let old = set_cookie(&post("/login/u0", &old).await.unwrap()).unwrap();
        server.command(&["CLIENT", "PAUSE", "60000", "WRITE"]).await.unwrap();
        let login = tokio::spawn(post("/login/u2", &old));
        // It has read and written by then, or the other comes before it all the same.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let slow = tokio::spawn(post("/slow", &old));
        entered.notified().await;
        server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
        let fresh = set_cookie(&login.await.unwrap().unwrap()).unwrap();
        go_on.notify_one();
        let slow = slow.await.unwrap().unwrap();
        assert_eq!(set_cookies(&slow), [""; 0], "{had}");
        let request = Request::get("/who").header(header::COOKIE, &fresh);
        let who = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(text(who).await, "u2", "{had}");
        // Whoever comes now has not got its answer.
        let late = set_cookies(&post("/put/late/x", &old).await.unwrap());
        assert!(late.len() == 1 && late[0].starts_with("__Host-id-fallback="), "{had}: {late:?}");
    }
}
