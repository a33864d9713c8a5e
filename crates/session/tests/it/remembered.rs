//! Who has ticked the box to stay logged in, as a browser sees it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, StatusCode, header};
use axum::routing::{get, post};
use statehouse_core::ErrorKind;
use statehouse_session::{
    Authority, CookieConfig, Delta, LoginOptions, NewSession, Persistence, Principal, Rotation, Session, SessionConfig,
    SessionConfigBuilder, SessionLayer, SessionStoreExt as _, Sessions, Token,
};
use statehouse_testkit::RedisServer;

use crate::http::{Answer, App, MINUTE, routes, set_cookie, token};
use crate::{open_redis, random_namespace};

const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn remembered() -> LoginOptions {
    LoginOptions::default().with_persistence(Persistence::Remember(MONTH)).with_absolute_timeout(3 * MONTH)
}

async fn remember(session: Session, Path(user): Path<String>) -> Answer<()> {
    Ok(session.login_with(user, remembered()).await?)
}

async fn rotate(session: Session) -> Answer<()> {
    Ok(session.rotate().await?)
}

async fn listed(session: Session) -> Answer<String> {
    Ok(format!("{:?}", session.list().await?.iter().map(|listed| listed.persistence).collect::<Vec<_>>()))
}

fn with_boxes() -> Router {
    routes().route("/remember/{user}", post(remember)).route("/rotate", post(rotate)).route("/list", get(listed))
}

fn app(configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder) -> App {
    App::with_routes(with_boxes(), configure)
}

/// In seconds, of the cookie that the response sets.
fn max_age(response: &Response<Body>) -> Option<u64> {
    let cookie = response.headers().get(header::SET_COOKIE)?.to_str().unwrap();
    cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).map(|seconds| seconds.parse().unwrap())
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_cookie_of_whoever_is_remembered_lasts_as_long_as_the_session_and_is_renewed_as_it_slides() {
    let app = app(|config| config);
    let response = app.send("POST", "/remember/u42", &[]).await;
    assert_eq!(max_age(&response), Some(MONTH.as_secs()));
    let cookie = set_cookie(&response).unwrap();
    // When the browser throws it away, and the session ends, in days from now on.
    let (mut left, mut end, mut renewals) = (30, 90, 0);
    while end > 1 {
        app.clock.advance(DAY);
        (left, end) = (left - 1, end - 1);
        assert!(left > 0, "the browser has thrown the cookie away {end} days before the end");
        let response = app.send("GET", "/who", &[&cookie]).await;
        settle().await;
        if let Some(seconds) = max_age(&response) {
            assert_eq!(set_cookie(&response).as_ref(), Some(&cookie), "the same token");
            let days = (seconds + 1) / DAY.as_secs();
            assert!(days == 30.min(end) || days + 1 == 30.min(end), "{seconds} s, {end} days before the end");
            (left, renewals) = (30.min(end), renewals + 1);
        }
    }
    assert!((10..=30).contains(&renewals), "a tenth of the month is to be gained each time: {renewals}");
    assert_eq!(app.get("/who", &cookie).await.0, "u42");
    app.clock.advance(DAY);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody", "nothing moves the end");
}

#[tokio::test]
async fn whoever_is_remembered_may_be_away_for_as_long_and_no_longer() {
    let app = app(|config| config);
    let cookie = app.post("/remember/u42", "").await.unwrap();
    app.clock.advance(29 * DAY);
    assert_eq!(app.get("/who", &cookie).await.0, "u42");
    settle().await;
    app.clock.advance(29 * DAY);
    assert_eq!(app.get("/who", &cookie).await.0, "u42");
    settle().await;
    app.clock.advance(30 * DAY);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
}

#[tokio::test]
async fn no_browser_is_remembered_that_nobody_has_asked_for() {
    let app = app(|config| config);
    let response = app.send("POST", "/login/u42?remember=1", &["Max-Age=2592000; Persistence=Remember"]).await;
    assert_eq!(max_age(&response), None);
    let cookie = set_cookie(&response).unwrap();
    for path in ["/put/a/1", "/rotate"] {
        assert_eq!(max_age(&app.send("POST", path, &[&cookie]).await), None);
    }
    let cookie = app.post("/login/u42", "").await.unwrap();
    app.clock.advance(30 * MINUTE);
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
}

#[tokio::test]
async fn rotations_and_renewals_keep_it_and_saves_send_the_cookie_again() {
    let app = app(|config| config.renew_every(7 * DAY, MINUTE));
    let first = app.post("/remember/u42", "").await.unwrap();
    let response = app.send("POST", "/rotate", &[&first]).await;
    assert_eq!(max_age(&response), Some(MONTH.as_secs()));
    let mut cookie = set_cookie(&response).unwrap();
    assert_ne!(cookie, first);
    for week in 0..8 {
        app.clock.advance(7 * DAY);
        let response = app.send("GET", "/list", &[&cookie]).await;
        assert_eq!(max_age(&response), Some(MONTH.as_secs()), "week {week}");
        let renewed = set_cookie(&response).unwrap();
        assert_ne!(renewed, cookie, "week {week}");
        assert_eq!(crate::http::text(response).await, "[Remember(2592000s)]", "week {week}");
        // That the browser has it is known from its first use on.
        assert_eq!(app.get("/who", &renewed).await.0, "u42");
        settle().await;
        cookie = renewed;
    }
    let response = app.send("POST", "/put/a/1", &[&cookie]).await;
    assert_eq!(max_age(&response), Some(MONTH.as_secs()));
}

#[tokio::test]
async fn a_logout_and_the_next_login_of_whomever_end_it() {
    let app = app(|config| config);
    for user in ["u42", "u43"] {
        let cookie = app.post("/remember/u42", "").await.unwrap();
        app.clock.advance(20 * DAY);
        // There is as much time as for every other login, and no more.
        let response = app.send("POST", &format!("/login/{user}"), &[&cookie]).await;
        assert_eq!(max_age(&response), None, "{user}");
        let next = set_cookie(&response).unwrap();
        assert_eq!(app.get("/list", &next).await.0, "[Browser]");
        for _ in 0..25 {
            app.clock.advance(28 * MINUTE);
            assert_eq!(app.get("/who", &next).await.0, user);
            settle().await;
        }
        app.clock.advance(20 * MINUTE);
        assert_eq!(app.get("/who", &next).await.0, "nobody", "after twelve hours");
    }
    let cookie = app.post("/remember/u42", "").await.unwrap();
    assert_eq!(max_age(&app.send("POST", "/logout", &[&cookie]).await), Some(0));
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");
    assert_eq!(max_age(&app.send("POST", "/login/u42", &[&cookie]).await), None);
}

#[tokio::test]
async fn the_cookie_of_a_layer_that_lasts_is_that_of_whoever_is_not_remembered() {
    let app = app(|config| config.cookie(CookieConfig::builder("__Host-id").max_age(60 * MINUTE).build().unwrap()));
    assert_eq!(max_age(&app.send("POST", "/login/u42", &[]).await), Some(3_600));
    assert_eq!(max_age(&app.send("POST", "/remember/u42", &[]).await), Some(MONTH.as_secs()));
}

#[tokio::test]
async fn nobody_is_remembered_for_longer_than_the_configuration_allows() {
    let app = app(|config| config.max_remembered(365 * DAY));
    let sessions = |most: Duration| {
        Sessions::new(Arc::clone(&app.store), SessionConfig::builder().max_remembered(most).build().unwrap())
    };
    let session = sessions(60 * DAY).open(&header::HeaderMap::new());
    let ask = |idle, absolute: Option<Duration>| {
        let options = LoginOptions::default().with_persistence(Persistence::Remember(idle));
        session.login_with("u42", absolute.map_or(options.clone(), |most| options.with_absolute_timeout(most)))
    };
    for (idle, absolute) in
        [(61 * DAY, None), (MONTH, Some(61 * DAY)), (MONTH, Some(29 * DAY)), (Duration::from_millis(999), None)]
    {
        let refused = ask(idle, absolute).await.unwrap_err();
        assert_eq!((refused.kind(), refused.operation()), (ErrorKind::InvalidInput, Some("session.login")));
        assert!(refused.to_string().contains("max_remembered"), "{refused}");
    }
    assert_eq!(session.principal().await.unwrap(), None);
    ask(60 * DAY, None).await.unwrap();
    session.commit().await.unwrap();

    // Lowered, it holds for whoever was remembered before.
    let cookie = app.post("/remember/u42", "").await.unwrap();
    let lower = |most| App {
        router: with_boxes().layer(SessionLayer::from(sessions(most))),
        store: Arc::clone(&app.store),
        clock: app.clock.clone(),
    };
    app.clock.advance(9 * DAY);
    assert_eq!(lower(10 * DAY).get("/who", &cookie).await.0, "u42");
    settle().await;
    let response = lower(10 * DAY).send("POST", "/put/a/1", &[&cookie]).await;
    assert_eq!(max_age(&response), Some(10 * DAY.as_secs()));
    app.clock.advance(2 * DAY);
    assert_eq!(lower(10 * DAY).get("/who", &cookie).await.0, "nobody");
    assert_eq!(app.get("/who", &cookie).await.0, "u42");
}

/// How often it is touched.
#[tokio::test]
async fn a_session_of_a_month_is_touched_when_a_tenth_of_that_is_to_be_gained() {
    let app = app(|config| config);
    let cookie = app.post("/remember/u42", "").await.unwrap();
    let key = token(&cookie).key();
    let used = async || app.store.load(&key).await.unwrap().found().unwrap().last_seen();
    let begun = used().await;
    app.clock.advance(2 * DAY);
    assert_eq!(app.send("GET", "/who", &[&cookie]).await.status(), StatusCode::OK);
    settle().await;
    assert_eq!(used().await, begun);
    app.clock.advance(2 * DAY);
    assert_eq!(app.send("GET", "/who", &[&cookie]).await.status(), StatusCode::OK);
    settle().await;
    assert!(used().await >= begun + 4 * DAY);
}

/// A process that has listed a session does not know that another has moved its end, and died before it could list it anew.
#[tokio::test]
async fn a_session_that_ends_later_is_listed_anew_by_whoever_uses_it() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (one, other) = (open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await);
    let (who, token) = (Principal::new("u42").unwrap(), Token::generate().unwrap());
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
    let created = one.create(&token.key(), &new).await.unwrap();
    let login = Rotation::login(Token::generate().unwrap().verifier_hash(), who.clone())
        .with_persistence(Persistence::Remember(DAY))
        .with_absolute_timeout(MONTH);
    let _ = other.rotate(&created, Authority::Application, &login, &Delta::new()).await.unwrap();
    let index = format!("{namespace}:session:principals:{{u42}}:sessions");
    server.command(&["DEL", &index]).await.unwrap();
    assert!(one.list(&who).await.unwrap().is_empty());
    let _ = one.touch(&token.key()).await.unwrap();
    let listed = one.list(&who).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].record().persistence(), Persistence::Remember(DAY));
}
