//! How much a session may hold, and for how long it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::{ErrorKind, ManualClock};
use statehouse_session::{
    Limit, MemoryConfig, MemorySessionStore, Principal, Session, SessionConfig, SessionConfigBuilder,
    SessionStoreExt as _, Sessions, Token,
};

use crate::http::{Answer, App, MINUTE, routes, set_cookie};

fn config(configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder) -> SessionConfig {
    configure(SessionConfig::builder()).build().unwrap()
}

/// Commits, and gives the headers of the browser's next request.
async fn committed(session: &Session) -> HeaderMap {
    session.commit().await.unwrap();
    next(session)
}

fn next(session: &Session) -> HeaderMap {
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    let cookie = response[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
}

fn key(headers: &HeaderMap) -> statehouse_session::SessionKey {
    Token::parse(headers[COOKIE].to_str().unwrap().split_once('=').unwrap().1).unwrap().key()
}

#[tokio::test]
async fn ten_thousand_attributes_are_refused_at_the_limit_of_their_count() {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let session = sessions.open(&HeaderMap::new());
    let refused = (0..10_000).filter_map(|number| session.insert(&format!("a{number}"), &number).err());
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 10_000 - 4_096);
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::TooLarge));
    assert!(refused[0].to_string().contains("4096 attributes"), "{}", refused[0]);
    let headers = committed(&session).await;
    let session = sessions.open(&headers);
    assert_eq!(session.get("a4095").await.unwrap(), Some(4_095));
    assert_eq!(session.insert("more", &1).unwrap_err().kind(), ErrorKind::TooLarge);
    session.insert("a0", &1).unwrap();
    session.remove("a1").unwrap();
    session.insert("more", &1).unwrap();
    assert_eq!(session.insert("one too many", &1).unwrap_err().kind(), ErrorKind::TooLarge);
}

/// That the sum is kept up to date and not added up anew each time: doubling the number doubles the work.
#[tokio::test]
async fn inserts_and_removals_of_many_attributes_keep_the_exact_size() {
    const COUNT: usize = 2_000;
    const LIMIT: u32 = 200_000;
    let sessions = Sessions::new(MemorySessionStore::new(), config(|config| config.max_session_size(LIMIT.into())));
    let session = sessions.open(&HeaderMap::new());
    let mut model: HashMap<String, usize> = HashMap::new();
    let mut state = 7_usize;
    for _ in 0..5 * COUNT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = format!("a{}", (state >> 33) % COUNT);
        if (state >> 20).is_multiple_of(4) {
            session.remove(&name).unwrap();
            model.remove(&name);
            continue;
        }
        let value = "x".repeat((state >> 40) % 300);
        let without: usize =
            model.iter().filter(|(other, _)| **other != name).map(|(name, size)| name.len() + size).sum();
        // One byte of type and length for a short text, then two, then three.
        let encoded = value.len() + [1, 2, 3][usize::from(value.len() > 31) + usize::from(value.len() > 255)];
        let before: usize = model.iter().map(|(name, size)| name.len() + size).sum();
        let next = without + name.len() + encoded;
        let fits = next <= (LIMIT as usize).max(before);
        assert_eq!(session.insert(&name, &value).is_ok(), fits, "{next}");
        if fits {
            model.insert(name, encoded);
        }
    }
    assert!(model.len() > 100);
}

#[tokio::test]
async fn a_change_that_is_too_large_at_the_commit_is_left_out_alone_and_said() {
    let limited = |config: SessionConfigBuilder| config.max_session_size(1_000);
    let large = async |session: Session| -> Answer<()> {
        // Without a read only the commit can know.
        session.insert("small", "kept")?;
        session.insert("large", &"x".repeat(800))?;
        Ok(session.remove("old")?)
    };
    let login = async |session: Session| -> Answer<()> {
        session.insert("large", &"x".repeat(800))?;
        session.insert("small", "kept")?;
        session.login("u42").await?;
        Ok(())
    };
    let app = App::with_routes(routes().route("/large", post(large)).route("/large-login", post(login)), limited);
    let cookie = app.post(&format!("/put/old/{}", "x".repeat(300)), "").await.unwrap();
    app.post(&format!("/put/kept/{}", "x".repeat(300)), &cookie).await;
    let response = app.send("POST", "/large", &[&cookie]).await;
    assert_eq!((response.status(), set_cookie(&response)), (StatusCode::PAYLOAD_TOO_LARGE, None));
    for (name, value) in [("small", "kept"), ("large", ""), ("old", "")] {
        assert_eq!(app.get(&format!("/read/{name}"), &cookie).await.0, value, "{name}");
    }
    assert_eq!(app.get("/read/kept", &cookie).await.0.len(), 300);
    // The largest goes, and not the login.
    let response = app.send("POST", "/large-login", &[&cookie]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let login = set_cookie(&response).expect("the cookie of the login");
    assert_eq!(app.get("/who", &login).await.0, "u42");
    assert_eq!(app.get("/read/small", &login).await.0, "kept");
    assert_eq!(app.get("/who", &cookie).await.0, "nobody");

    // A handler that commits itself is told what was left out, and one that has read its session at the insert.
    let sessions = Sessions::new(Arc::clone(&app.store), config(limited));
    let headers: HeaderMap = [(COOKIE, login.parse().unwrap())].into_iter().collect();
    let session = sessions.open(&headers);
    session.insert("large", &"x".repeat(800)).unwrap();
    session.insert("small", "changed").unwrap();
    let error = session.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("large")));
    session.commit().await.expect("it is left out once and not tried again");
    assert_eq!(session.insert("large", &"x".repeat(800)).unwrap_err().kind(), ErrorKind::TooLarge);
    let session = sessions.open(&headers);
    assert_eq!(session.get::<String>("small").await.unwrap().as_deref(), Some("changed"));
    assert_eq!(session.get::<String>("large").await.unwrap(), None);
}

#[tokio::test]
async fn an_equal_map_costs_no_write_whatever_its_order() {
    let store = Arc::new(MemorySessionStore::new());
    let sessions = Sessions::new(Arc::clone(&store), SessionConfig::default());
    let map = |changed: bool| {
        let entry = |n: u32| (format!("key {n}"), vec![Some(n), if changed && n == 7 { None } else { Some(1) }]);
        (0..30).map(entry).collect::<HashMap<_, _>>()
    };
    let session = sessions.open(&HeaderMap::new());
    session.insert("map", &map(false)).unwrap();
    let headers = committed(&session).await;
    let version = async || store.load(&key(&headers)).await.unwrap().found().unwrap().record().version();
    let first = version().await;
    for read_first in [false, true] {
        for _ in 0..5 {
            let session = sessions.open(&headers);
            if read_first {
                session.principal().await.unwrap();
            }
            session.insert("map", &map(false)).unwrap();
            session.update("map", |map: Option<HashMap<String, Vec<Option<u32>>>>| map.unwrap()).await.unwrap();
            session.commit().await.unwrap();
            assert_eq!(version().await, first);
        }
    }
    let session = sessions.open(&headers);
    session.insert("map", &map(true)).unwrap();
    session.commit().await.unwrap();
    assert!(version().await > first);
    let read: HashMap<String, Vec<Option<u32>>> = sessions.open(&headers).get("map").await.unwrap().unwrap();
    assert_eq!(read, map(true));
}

#[tokio::test]
async fn a_lowered_idle_timeout_reaches_the_sessions_that_are_stored_already() {
    let clock = ManualClock::default();
    let store = Arc::new(MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let open = |idle| Sessions::new(Arc::clone(&store), config(|config| config.idle_timeout(idle)));
    let (before, after) = (open(60 * MINUTE), open(10 * MINUTE));
    let mut headers = Vec::new();
    for _ in 0..2 {
        let session = before.open(&HeaderMap::new());
        session.login("u42").await.unwrap();
        headers.push(committed(&session).await);
    }
    // One is used, every nine minutes, and the other is not.
    for _ in 0..4 {
        clock.advance(9 * MINUTE);
        let session = after.open(&headers[0]);
        assert!(session.principal().await.unwrap().is_some());
        session.commit().await.unwrap();
        tokio::task::yield_now().await;
    }
    let session = after.open(&headers[1]);
    assert!(session.principal().await.unwrap().is_none(), "it has been idle for 36 minutes");
    assert!(before.open(&headers[1]).principal().await.unwrap().is_some(), "which was allowed before");
    // A rotation takes the new timeout over.
    let session = after.open(&headers[0]);
    session.rotate().await.unwrap();
    let rotated = committed(&session).await;
    let idle = store.load(&key(&rotated)).await.unwrap().found().unwrap().record().idle_timeout();
    assert_eq!(idle, 10 * MINUTE);
}

/// Two configurations of one store, the second of which allows less.
fn lowered(configure: impl Fn(SessionConfigBuilder, u32) -> SessionConfigBuilder) -> (ManualClock, [Sessions; 2]) {
    let clock = ManualClock::default();
    let store = Arc::new(MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let open = |minutes| Sessions::new(Arc::clone(&store), config(|config| configure(config, minutes)));
    (clock, [open(60), open(10)])
}

#[tokio::test]
async fn a_lowered_absolute_timeout_reaches_the_sessions_that_are_stored_already() {
    let (clock, [before, after]) =
        lowered(|config, minutes| config.anonymous_timeout(30 * MINUTE).absolute_timeout(minutes * MINUTE));
    let (anonymous, user) = (before.open(&HeaderMap::new()), before.open(&HeaderMap::new()));
    anonymous.insert("cart", &7).unwrap();
    let anonymous = committed(&anonymous).await;
    clock.advance(MINUTE);
    user.login("u42").await.unwrap();
    let user = committed(&user).await;
    let there = async |sessions: &Sessions| {
        let [anonymous, user] = [&anonymous, &user].map(|headers| sessions.open(headers));
        (anonymous.get::<u32>("cart").await.unwrap().is_some(), user.principal().await.unwrap().is_some())
    };
    for expected in [(true, true), (false, true), (false, false)] {
        clock.advance(if expected == (true, true) { 8 * MINUTE } else { MINUTE });
        assert_eq!(there(&after).await, expected);
    }
    assert!(there(&before).await.1, "which was allowed before");
    let again = after.open(&user);
    again.login("u42").await.unwrap();
    let again = committed(&again).await;
    clock.advance(9 * MINUTE);
    assert!(after.open(&again).principal().await.unwrap().is_some(), "a login begins anew");
}

#[tokio::test]
async fn who_is_over_by_lowered_timeouts_is_neither_listed_nor_counted() {
    let cases = [false, true]
        .into_iter()
        .flat_map(|idle| [Limit::reject(1), Limit::evict_oldest(1)].map(|limit| (idle, limit)));
    for (idle, limit) in cases {
        let (clock, [before, after]) = lowered(|config, minutes| match idle {
            true => config.limit(limit).idle_timeout(minutes * MINUTE),
            false => config.limit(limit).absolute_timeout(minutes * MINUTE),
        });
        let (who, old) = (Principal::new("u42").unwrap(), before.open(&HeaderMap::new()));
        old.login("u42").await.unwrap();
        let old = committed(&old).await;
        clock.advance(11 * MINUTE);
        assert_eq!(after.list(&who).await.unwrap(), []);
        assert_eq!(before.list(&who).await.unwrap().len(), 1, "by what it was stored with");
        let new = after.open(&HeaderMap::new());
        new.login("u42").await.unwrap();
        committed(&new).await;
        assert_eq!(new.list().await.unwrap().len(), 1, "{limit:?}");
        assert!(before.open(&old).principal().await.unwrap().is_none(), "it has ended: {limit:?}");
    }
}

#[tokio::test]
async fn what_lasts_longer_than_a_request_ends_once_its_session_is_over_by_a_lowered_timeout() {
    let every = Duration::from_millis(5);
    for idle in [false, true] {
        let (clock, [before, after]) = lowered(|config, minutes| match idle {
            true => config.idle_timeout(minutes * MINUTE),
            false => config.absolute_timeout(minutes * MINUTE),
        });
        let session = before.open(&HeaderMap::new());
        session.login("u42").await.unwrap();
        let session = after.open(&committed(&session).await);
        let socket = tokio::spawn(async move { session.ended(every).await });
        tokio::time::sleep(5 * every).await;
        assert!(!socket.is_finished(), "idle: {idle}");
        clock.advance(10 * MINUTE);
        tokio::time::timeout(Duration::from_secs(10), socket).await.expect("it goes on").unwrap().unwrap();
    }
}

/// A build with another configuration may run beside this one, or be back tomorrow.
#[tokio::test]
async fn whoever_logs_out_of_a_session_that_is_over_by_a_lowered_timeout_is_logged_out() {
    for reads in [false, true] {
        let (clock, [before, after]) = lowered(|config, minutes| config.idle_timeout(minutes * MINUTE));
        let session = before.open(&HeaderMap::new());
        session.login("u42").await.unwrap();
        let headers = committed(&session).await;
        clock.advance(10 * MINUTE);
        let session = after.open(&headers);
        if reads {
            assert_eq!(session.principal().await.unwrap(), None);
        }
        session.logout().await.unwrap();
        let mut response = HeaderMap::new();
        session.write_cookie(&mut response);
        assert!(response[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"), "reads: {reads}");
        assert_eq!(before.open(&headers).principal().await.unwrap(), None, "reads: {reads}");
    }
}

#[tokio::test]
async fn a_flood_of_requests_without_cookies_is_forgotten_in_ten_minutes_and_a_login_is_not() {
    let app = App::new(|config| config);
    let login = app.post("/login/u42", "").await.unwrap();
    let mut anonymous = String::new();
    for _ in 0..50 {
        anonymous = app.post("/put/token/x", "").await.unwrap();
    }
    app.clock.advance(10 * MINUTE - Duration::from_micros(1));
    assert_eq!(app.get("/read/token", &anonymous).await.0, "x");
    let upgraded = app.post("/login/u43", &anonymous).await.unwrap();
    app.clock.advance(19 * MINUTE);
    for _ in 0..10 {
        app.post("/put/token/x", "").await;
    }
    assert!(app.store.len() <= 12, "{}", app.store.len());
    assert_eq!(app.get("/who", &login).await.0, "u42");
    assert_eq!(app.get("/who", &upgraded).await.0, "u43", "a login gives it the time of one");
}

#[tokio::test]
async fn a_key_is_had_once_the_session_is_committed() {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let session = sessions.open(&HeaderMap::new());
    session.login("u42").await.unwrap();
    assert_eq!(session.key().await.unwrap(), None);
    let headers = committed(&session).await;
    assert_eq!(session.key().await.unwrap(), Some(key(&headers)));
}
