//! What a login, a logout and a rotation do to the attributes, whatever the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Result};
use statehouse_session::{
    LayeredSessionStore, LoginPolicy, MemorySessionStore, ServerErrorPolicy, Session, SessionConfig, Sessions,
};

use crate::http::{Answer, App, routes, set_cookie, token};

/// Runs the steps of a path such as `login=bob,insert` and answers with the status.
async fn steps(session: Session, Path((steps, status)): Path<(String, u16)>) -> Answer<StatusCode> {
    for step in steps.split(',') {
        match step.split_once('=').unwrap_or((step, "")) {
            ("login", who) => session.login(who).await?,
            ("logout", _) => session.logout().await?,
            ("rotate", _) => session.rotate().await?,
            ("insert", name) => session.insert(name, "new")?,
            ("remove", name) => session.remove(name)?,
            ("clear", _) => session.clear()?,
            ("flash", text) => session.flash("info", text)?,
            ("commit", _) => session.commit().await?,
            ("update", name) => {
                session.update(name, |value: Option<String>| value.unwrap_or_default() + "+").await?;
            }
            (unknown, _) => panic!("{unknown}"),
        }
    }
    Ok(StatusCode::from_u16(status).unwrap())
}

fn app(errors: ServerErrorPolicy, login: LoginPolicy) -> App {
    let routes: Router = routes().route("/steps/{steps}/{status}", post(steps));
    App::with_routes(routes, |config| config.on_server_error(errors).on_login(login))
}

/// The cookie of alice, whose session has the attributes `secret` and `theme` and a message.
async fn alice(app: &App) -> String {
    let cookie = app.post("/login/alice", "").await.unwrap();
    app.post("/put/secret/of-alice", &cookie).await;
    app.post("/flash/for-alice", &cookie).await;
    cookie
}

const POLICIES: [ServerErrorPolicy; 2] = [ServerErrorPolicy::Keep, ServerErrorPolicy::Discard];

#[tokio::test]
async fn nobody_sees_what_the_one_before_left_whatever_the_handler_does_and_answers() {
    const OTHERS: [&str; 8] =
        ["rotate", "insert=own", "remove=own", "clear", "flash=x", "update=own", "update=secret", ""];
    for policy in POLICIES {
        for (other, status) in OTHERS.iter().flat_map(|other| [(other, 200), (other, 500)]) {
            for steps in
                [format!("login=bob,{other}"), format!("{other},login=bob"), format!("login=eve,{other},login=bob")]
            {
                let steps = steps.trim_matches(',').replace(",,", ",");
                let app = app(policy, LoginPolicy::Keep);
                let cookie = alice(&app).await;
                let bob = app.post(&format!("/steps/{steps}/{status}"), &cookie).await.expect("a new cookie");
                let case = format!("{steps} {status} {policy:?}");
                assert_eq!(app.get("/who", &bob).await.0, "bob", "{case}");
                assert!(!app.get("/read/secret", &bob).await.0.contains("alice"), "{case}");
                assert_eq!(app.get("/read/theme", &bob).await.0, "", "{case}");
                assert!(!app.get("/flashes", &bob).await.0.contains("alice"), "{case}");
                assert_eq!(app.get("/who", &cookie).await.0, "nobody", "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_request_of_a_login_sets_is_kept_or_dropped_by_policy_and_not_by_order() {
    for policy in POLICIES {
        for status in [200, 500] {
            let kept = status == 200 || policy == ServerErrorPolicy::Keep;
            for (steps, own) in [
                ("login=bob,insert=own", "new"),
                ("insert=own,login=bob", "new"),
                ("login=bob,update=own", "+"),
                ("update=own,login=bob", ""),
                ("insert=own,login=bob,update=own", "new+"),
                ("login=bob,commit,insert=own", "new"),
                // What was set for eve is not for bob.
                ("login=eve,insert=own,login=bob", ""),
                ("login=eve,commit,insert=own,login=bob", ""),
            ] {
                let app = app(policy, LoginPolicy::Keep);
                let bob = app.post(&format!("/steps/{steps}/{status}"), &alice(&app).await).await.unwrap();
                let expected = if kept { own } else { "" };
                assert_eq!(app.get("/read/own", &bob).await.0, expected, "{steps} {status} {policy:?}");
                assert_eq!(app.get("/who", &bob).await.0, "bob", "{steps} {status} {policy:?}");
            }
        }
    }
}

#[tokio::test]
async fn rotations_and_logouts_stand_whatever_the_response_and_attributes_go_by_policy() {
    for policy in POLICIES {
        for status in [200, 500] {
            let kept = status == 200 || policy == ServerErrorPolicy::Keep;
            for (steps, secret) in [
                ("rotate,insert=secret", "new"),
                ("insert=secret,rotate", "new"),
                ("rotate,remove=secret", ""),
                ("rotate,update=secret", "of-alice+"),
                ("rotate,clear", ""),
            ] {
                let app = app(policy, LoginPolicy::Keep);
                let before = alice(&app).await;
                let after = app.post(&format!("/steps/{steps}/{status}"), &before).await.unwrap();
                let expected = if kept { secret } else { "of-alice" };
                let case = format!("{steps} {status} {policy:?}");
                assert_eq!(app.get("/read/secret", &after).await.0, expected, "{case}");
                assert_eq!(app.get("/who", &after).await.0, "alice", "{case}");
                assert_eq!(app.get("/who", &before).await.0, "nobody", "{case}");
            }
            let app = app(policy, LoginPolicy::Keep);
            let before = alice(&app).await;
            let next = app.post(&format!("/steps/insert=own,logout,insert=next/{status}"), &before).await;
            assert_eq!(app.get("/who", &before).await.0, "nobody", "{status} {policy:?}");
            let next = next.expect("a cookie or its removal");
            assert_eq!(next != "__Host-id=", kept, "{status} {policy:?}");
            if kept {
                assert_eq!(app.get("/read/next", &next).await.0, "new");
                assert_eq!(app.get("/read/own", &next).await.0, "", "it was set before the logout");
            }
            let login = app.post(&format!("/steps/logout,login=bob,insert=own/{status}"), &alice(&app).await).await;
            let login = login.unwrap();
            assert_eq!(app.get("/who", &login).await.0, "bob");
            assert_eq!(app.get("/read/secret", &login).await.0, "");
        }
    }
}

#[tokio::test]
async fn anonymous_attributes_stay_at_a_login_or_go_as_configured() {
    for (policy, cart) in [(LoginPolicy::Keep, "planted"), (LoginPolicy::Clear, "")] {
        for status in [200, 500] {
            let app = app(ServerErrorPolicy::Discard, policy);
            let anonymous = app.post("/put/cart/planted", "").await.unwrap();
            let login = app.post(&format!("/steps/insert=own,login=bob/{status}"), &anonymous).await.unwrap();
            assert_eq!(app.get("/read/cart", &login).await.0, cart, "{policy:?} {status}");
            assert_eq!(app.get("/read/own", &login).await.0, if status == 200 { "new" } else { "" }, "{policy:?}");
            app.post("/put/cart/full", &login).await;
            let again = app.post("/steps/login=bob/200", &login).await.unwrap();
            assert_eq!(app.get("/read/cart", &again).await.0, "full", "{policy:?}: it was bob's own");
        }
    }
}

#[tokio::test]
async fn a_logout_ends_the_sessions_of_all_cookies_that_the_browser_sends() {
    for first in ["logout", "update=a,logout"] {
        let app = app(ServerErrorPolicy::Keep, LoginPolicy::Keep);
        let cookies = [app.post("/login/u1", "").await.unwrap(), app.post("/login/u2", "").await.unwrap()];
        let unknown = format!("__Host-id={}", "a5".repeat(32));
        let sent = [unknown.as_str(), &cookies[0], &cookies[1]];
        let response = app.send("POST", &format!("/steps/{first}/200"), &sent).await;
        assert_eq!(set_cookie(&response).as_deref(), Some("__Host-id="), "{first}");
        for cookie in &cookies {
            assert_eq!(app.get("/who", cookie).await.0, "nobody", "{first}");
        }
    }
}

#[tokio::test]
async fn a_logout_with_a_replaced_token_says_that_nobody_was_logged_out() {
    let app = app(ServerErrorPolicy::Keep, LoginPolicy::Keep);
    let old = alice(&app).await;
    let new = app.post("/steps/rotate/200", &old).await.unwrap();
    let sessions = Sessions::new(Arc::clone(&app.store), Default::default());
    for read_first in [false, true] {
        let session = sessions.open(&[(http::header::COOKIE, old.parse().unwrap())].into_iter().collect());
        if read_first {
            assert_eq!(session.principal().await.unwrap(), None);
        }
        assert_eq!(session.logout().await.unwrap_err().kind(), ErrorKind::Conflict, "{read_first}");
    }
    assert_eq!(app.get("/who", &new).await.0, "alice");
    // Long afterwards the old cookie is like one that never was.
    app.clock.advance(statehouse_session::REMEMBERED);
    assert_eq!(app.post("/steps/logout/200", &old).await.as_deref(), Some("__Host-id="));
    assert_eq!(app.get("/who", &new).await.0, "alice");
    assert_ne!(token(&old).verifier_hash(), token(&new).verifier_hash());
}

/// Loses the answer to one call.
#[derive(Clone, Debug, Default)]
struct Losing(Arc<AtomicBool>);

impl Layer for Losing {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let answer = work.await;
        match self.0.swap(false, Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::OutcomeUnknown, "no answer")),
            false => answer,
        }
    }
}

/// What the handler is told is what is stored then, also where it goes on after a commit of which it does not know what came of it.
#[tokio::test]
async fn nobody_reads_what_a_commit_has_begun_to_set_for_the_one_before() {
    for (policy, before) in [(LoginPolicy::Keep, Some("u1")), (LoginPolicy::Clear, None), (LoginPolicy::Keep, None)] {
        let losing = Losing::default();
        let store = LayeredSessionStore::new(Arc::new(MemorySessionStore::new()), losing.clone());
        let sessions = Sessions::new(store, SessionConfig::builder().on_login(policy).build().unwrap());
        let session = sessions.open(&HeaderMap::new());
        if let Some(before) = before {
            session.login(before).await.unwrap();
        }
        session.insert("n", &700).unwrap();
        losing.0.store(true, Ordering::Relaxed);
        assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        session.login("u2").await.unwrap();
        let stays = policy == LoginPolicy::Keep && before.is_none();
        assert_eq!(session.get::<u32>("n").await.unwrap(), stays.then_some(700), "{policy:?}, {before:?}");
        session.update("n", |n: Option<u32>| n.unwrap_or_default() + 1).await.unwrap();
        let seen = session.get::<u32>("n").await.unwrap();
        session.commit().await.unwrap();
        assert_eq!(session.get::<u32>("n").await.unwrap(), seen, "{policy:?}, {before:?}");
    }
}

#[tokio::test]
async fn a_token_that_a_commit_has_begun_to_set_goes_with_everything_else() {
    let losing = Losing::default();
    let store = LayeredSessionStore::new(Arc::new(MemorySessionStore::new()), losing.clone());
    let session = Sessions::new(store, SessionConfig::default()).open(&HeaderMap::new());
    session.login("u1").await.unwrap();
    let before = session.csrf_token().await.unwrap();
    losing.0.store(true, Ordering::Relaxed);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert!(session.is_csrf_token(before.expose()).await.unwrap());
    session.clear().unwrap();
    let after = session.csrf_token().await.unwrap();
    for committed in [false, true] {
        assert!(!session.is_csrf_token(before.expose()).await.unwrap(), "{committed}");
        assert!(session.is_csrf_token(after.expose()).await.unwrap(), "{committed}");
        session.commit().await.unwrap();
    }
}
