//! Handlers that stop waiting: what they began is done once, and its cookie reaches the browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use statehouse_core::Result;
use statehouse_core::conformance::rounds;
use statehouse_core::layer::Layer;
use statehouse_session::{
    ConflictPolicy, LayeredSessionStore, MemorySessionStore, Session, SessionConfig, SessionLayer,
};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::http::{Answer, App, routes, set_cookie, text};

/// Lets answers to writes come late.
#[derive(Debug)]
struct Slow;

impl Layer for Slow {
    /// A turn of the runtime before the operation and one after it, so that a caller may be dropped at either.
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if matches!(operation, "session.load" | "session.touch") {
            return work.await;
        }
        let pause = || tokio::time::sleep(Duration::from_millis(2));
        pause().await;
        let answer = work.await;
        pause().await;
        answer
    }
}

/// Commits, and stops waiting before or after the operation, or hardly at all.
async fn give_up(session: &Session, wait: Duration) {
    drop(tokio::time::timeout(wait, session.commit()).await);
}

fn impatient(wait: Duration) -> Router {
    let login = async move |session: Session| -> Answer<()> {
        session.login("u42").await?;
        session.insert("theme", "dark")?;
        give_up(&session, wait).await;
        Ok(())
    };
    let push = async move |session: Session| -> Answer<String> {
        for _ in 0..3 {
            session.update("list", |list: Option<Vec<u32>>| [list.unwrap_or_default(), vec![7]].concat()).await?;
            give_up(&session, wait).await;
        }
        // What is on its way is seen by this request.
        Ok(session.get::<Vec<u32>>("list").await?.unwrap_or_default().len().to_string())
    };
    let logout = async move |session: Session| -> Answer<()> {
        drop(tokio::time::timeout(wait, session.logout()).await);
        Ok(())
    };
    let list = async |session: Session| -> Answer<String> {
        Ok(session.get::<Vec<u32>>("list").await?.unwrap_or_default().len().to_string())
    };
    routes()
        .route("/impatient-login", post(login))
        .route("/push", post(push))
        .route("/impatient-logout", post(logout))
        .route("/list", post(list))
}

async fn check(app: &App, case: &str) {
    let planted = app.post("/put/cart/full", "").await.unwrap();
    for before in ["", planted.as_str()] {
        let login = app.send("POST", "/impatient-login", &[before]).await;
        assert_eq!(login.status(), StatusCode::OK, "{case}");
        let cookie = set_cookie(&login).unwrap_or_else(|| panic!("{case}: the login has no cookie"));
        assert_eq!(app.get("/who", &cookie).await.0, "u42", "{case}");
        assert_eq!(app.get("/read/theme", &cookie).await.0, "dark", "{case}");
        for round in 1..3 {
            let seen = text(app.send("POST", "/push", &[&cookie]).await).await;
            assert_eq!(seen, (3 * round).to_string(), "{case}");
            let list = text(app.send("POST", "/list", &[&cookie]).await).await;
            assert_eq!(list, (3 * round).to_string(), "{case}: each push once");
        }
        let logout = app.send("POST", "/impatient-logout", &[&cookie]).await;
        assert_eq!(set_cookie(&logout).as_deref(), Some("__Host-id="), "{case}");
        assert_eq!(app.get("/who", &cookie).await.0, "nobody", "{case}");
    }
}

#[tokio::test]
async fn what_a_handler_stops_waiting_for_is_done_once_and_its_cookie_is_sent() {
    for round in 0..rounds(5, 200) {
        for millis in [0, 1, 3, 5] {
            let store = Arc::new(MemorySessionStore::new());
            let inner = Arc::<MemorySessionStore>::clone(&store);
            let layer = SessionLayer::new(LayeredSessionStore::new(inner, Slow));
            let app = App::around(impatient(Duration::from_millis(millis)).layer(layer), store);
            check(&app, &format!("round {round}, {millis} ms")).await;
        }
    }
}

#[tokio::test]
async fn a_timeout_around_a_commit_on_a_slow_redis_loses_no_login() {
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let store = crate::open_redis(&proxy.url(&server.url()), &crate::random_namespace()).await;
    let layer = SessionLayer::new(store);
    let app = App::around(impatient(Duration::from_millis(40)).layer(layer), Arc::default());
    for direction in [Direction::ToClient, Direction::ToServer] {
        proxy.delay(direction, Duration::from_millis(80));
        check(&app, &format!("{direction:?}")).await;
        proxy.heal();
    }
}

/// Messages that nobody was shown are there for the next page, and by no policy they are a conflict with themselves.
#[tokio::test]
async fn messages_for_which_a_handler_stops_waiting_wait_for_the_next_page() {
    const ALL: &str = "one 1, one 2, two 1, two 2";
    for (policy, millis) in [ConflictPolicy::Merge, ConflictPolicy::Fail]
        .into_iter()
        .flat_map(|policy| [0, 1, 3, 9].map(|millis| (policy, millis)))
    {
        let store = Arc::new(MemorySessionStore::new());
        let inner = Arc::<MemorySessionStore>::clone(&store);
        let config = SessionConfig::builder().on_conflict(policy).build().unwrap();
        let layer = SessionLayer::with_config(LayeredSessionStore::new(inner, Slow), config);
        let glance = async move |session: Session| -> Answer<String> {
            let taken = tokio::time::timeout(Duration::from_millis(millis), session.take_flash()).await;
            session.insert("seen", "yes")?;
            let shown: Vec<_> = taken.unwrap_or(Ok(Vec::new()))?.into_iter().map(|flash| flash.message).collect();
            Ok(shown.join(", "))
        };
        let app = App::around(routes().route("/glance", post(glance)).layer(layer), store);
        let cookie = app.post("/flash/one", "").await.unwrap();
        app.post("/flash/two", &cookie).await;
        let glance = app.send("POST", "/glance", &[&cookie]).await;
        assert_eq!(glance.status(), StatusCode::OK, "{policy:?}, {millis} ms");
        let shown = [text(glance).await, app.get("/flashes", &cookie).await.0];
        assert!(shown == [ALL, ""] || shown == ["", ALL], "{policy:?}, {millis} ms: {shown:?}");
        assert_eq!(app.get("/read/seen", &cookie).await.0, "yes");
    }
}

/// Nobody goes on with what was dropped, so the next commit repeats it.
#[test]
fn without_a_runtime_a_dropped_commit_is_repeated_by_the_next() {
    use std::task::{Context, Poll, Waker};

    /// Is not ready the first time.
    #[derive(Debug, Default)]
    struct Late(AtomicBool);

    impl Layer for Late {
        async fn around<'a, T: Send + 'a>(
            &'a self,
            operation: &'static str,
            work: impl Future<Output = Result<T>> + Send + 'a,
        ) -> Result<T> {
            if operation == "session.create" && !self.0.swap(true, Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            work.await
        }
    }

    let store = LayeredSessionStore::new(Arc::new(MemorySessionStore::new()), Late::default());
    let sessions = statehouse_session::Sessions::new(store, Default::default());
    let session = sessions.open(&Default::default());
    let mut context = Context::from_waker(Waker::noop());
    session.insert("theme", "dark").unwrap();
    let mut dropped = Box::pin(session.commit());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    session.insert("own", "1").unwrap();
    let mut commit = Box::pin(session.commit());
    assert!(matches!(commit.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
    for (name, value) in [("theme", "dark"), ("own", "1")] {
        let mut get = Box::pin(session.get::<String>(name));
        let Poll::Ready(Ok(Some(read))) = get.as_mut().poll(&mut context) else { panic!("{name} is lost") };
        assert_eq!(read, value);
    }
}

/// Nor for whoever logs in next in the same request.
#[tokio::test]
async fn messages_for_which_a_handler_stops_waiting_go_with_what_is_cleared() {
    for (millis, clears) in [0, 1, 3, 9].into_iter().flat_map(|millis| [(millis, true), (millis, false)]) {
        let store = Arc::new(MemorySessionStore::new());
        let layer = SessionLayer::new(LayeredSessionStore::new(Arc::<MemorySessionStore>::clone(&store), Slow));
        let glance = async move |session: Session| -> Answer<()> {
            drop(tokio::time::timeout(Duration::from_millis(millis), session.take_flash()).await);
            match clears {
                true => Ok(session.clear()?),
                false => Ok(session.login("u2").await?),
            }
        };
        let app = App::around(routes().route("/glance", post(glance)).layer(layer), store);
        let cookie = app.post("/login/u1", "").await.unwrap();
        app.post("/flash/one", &cookie).await;
        let next = app.post("/glance", &cookie).await.unwrap_or(cookie);
        assert_eq!(app.get("/flashes", &next).await.0, "", "{millis} ms, clears: {clears}");
    }
}
