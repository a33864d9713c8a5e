//! Requests that go on though their clients have gone, and those that end in the middle.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::routing::post;
use statehouse_core::layer::Layer;
use statehouse_core::{ErrorKind, Result};
use statehouse_session::{
    LayeredSessionStore, MemorySessionStore, Session, SessionConfig, SessionLayer, SessionStore, Sessions,
    error_response,
};
use statehouse_testkit::RedisServer;
use tokio::sync::{Notify, oneshot};
use tower::{ServiceBuilder, ServiceExt};

use crate::http::{App, routes};

/// All ways to change a session.
async fn changes(session: &Session) -> Vec<Result<()>> {
    vec![
        session.insert("after", "x"),
        session.update("after", |_: Option<String>| "x".to_owned()).await,
        session.remove("before"),
        session.clear(),
        session.flash("info", "after"),
        session.take_flash().await.map(drop),
        session.login("u2").await,
        session.rotate().await,
        session.logout().await,
        session.name_device("after"),
    ]
}

/// The headers of somebody who is logged in, whom a message waits for.
async fn logged_in(sessions: &Sessions) -> HeaderMap {
    let (session, mut response) = (sessions.open(&HeaderMap::new()), HeaderMap::new());
    session.login("u1").await.unwrap();
    session.insert("theme", "light").unwrap();
    session.flash("info", "welcome").unwrap();
    session.commit().await.unwrap();
    session.write_cookie(&mut response);
    let cookie = response[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
}

async fn read(session: &Session, name: &str) -> String {
    session.get::<String>(name).await.unwrap().unwrap_or_default()
}

fn request(headers: &HeaderMap) -> Request<Body> {
    let mut request = Request::post("/").body(Body::empty()).unwrap();
    *request.headers_mut() = headers.clone();
    request
}

/// Sends it, and goes once the handler is on its way.
async fn leaves(app: Router, headers: &HeaderMap, entered: &Notify) {
    tokio::select! {
        _ = app.oneshot(request(headers)) => panic!("it waits"),
        () = entered.notified() => {}
    }
}

/// Stops before each answer to such an operation.
#[derive(Clone, Debug)]
struct Held {
    operation: &'static str,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Layer for Held {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let answer = work.await;
        if operation == self.operation {
            self.entered.notify_one();
            self.go_on.notified().await;
        }
        answer
    }
}

impl Held {
    fn at(operation: &'static str) -> Self {
        Self { operation, entered: Arc::default(), go_on: Arc::default() }
    }

    fn sessions(&self) -> (Sessions, Sessions) {
        let store = Arc::new(MemorySessionStore::new());
        let beside = Sessions::new(Arc::clone(&store), SessionConfig::default());
        (Sessions::new(LayeredSessionStore::new(store, self.clone()), SessionConfig::default()), beside)
    }
}

async fn goes_on(store: impl SessionStore) {
    let sessions = Sessions::new(store, SessionConfig::default());
    let headers = logged_in(&sessions).await;
    let (entered, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (done, is_done) = oneshot::channel();
    let done = Arc::new(std::sync::Mutex::new(Some(done)));
    let handler = {
        let (entered, gone) = (Arc::clone(&entered), Arc::clone(&gone));
        async move |session: Session| {
            let work = tokio::spawn(async move {
                session.insert("before", "x").unwrap();
                entered.notify_one();
                gone.notified().await;
                for (number, refused) in changes(&session).await.into_iter().enumerate() {
                    let error = refused.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
                    assert_eq!(error_response(&error).status(), StatusCode::SERVICE_UNAVAILABLE, "{number}");
                }
                assert_eq!(
                    (read(&session, "theme").await, read(&session, "before").await),
                    ("light".into(), "x".into())
                );
                session.commit().await.unwrap();
                assert_eq!(session.insert("after", "x").unwrap_err().kind(), ErrorKind::InvalidInput);
                done.lock().unwrap().take().unwrap().send(()).unwrap();
            });
            work.await.unwrap();
        }
    };
    let app = Router::new().route("/", post(handler)).layer(SessionLayer::from(sessions.clone()));
    leaves(app, &headers, &entered).await;
    assert_eq!(read(&sessions.open(&headers), "before").await, "", "nobody has committed it");
    gone.notify_one();
    is_done.await.expect("what is asserted of the task");
    let later = sessions.open(&headers);
    assert_eq!(later.principal().await.unwrap().unwrap().to_string(), "u1");
    assert_eq!((read(&later, "before").await, read(&later, "after").await), ("x".into(), String::new()));
}

#[tokio::test]
async fn who_goes_on_without_a_client_is_told_so_and_commits_what_was_changed_before() {
    goes_on(MemorySessionStore::new()).await;
    let server = RedisServer::shared().await;
    goes_on(crate::open_redis(&server.url(), &crate::random_namespace()).await).await;
}

/// What a handler does that comes to no answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// With its client.
    Dropped,
    Fails,
    Panics,
    /// In a task of its own, without a client.
    PanicsLater,
}

async fn ends(how: Ends) {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let headers = logged_in(&sessions).await;
    let (entered, gone, over) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = {
        let (entered, gone, over) = (Arc::clone(&entered), Arc::clone(&gone), Arc::clone(&over));
        tower::service_fn(move |request: Request<Body>| {
            let (entered, gone, over) = (Arc::clone(&entered), Arc::clone(&gone), Arc::clone(&over));
            let session = request.extensions().get::<Session>().unwrap().clone();
            async move {
                session.insert("before", "x").unwrap();
                entered.notify_one();
                match how {
                    Ends::Dropped => std::future::pending().await,
                    Ends::Fails => Err("it fails"),
                    Ends::Panics => panic!("of a handler"),
                    Ends::PanicsLater => {
                        let work = tokio::spawn(async move {
                            gone.notified().await;
                            let _session = session;
                            over.notify_one();
                            panic!("of a handler");
                        });
                        work.await.map(|()| Response::new(Body::empty())).map_err(|_| "it panics")
                    }
                }
            }
        })
    };
    let service = ServiceBuilder::new().layer(SessionLayer::from(sessions.clone())).service(service);
    let sent = tokio::spawn(service.oneshot(request(&headers)));
    entered.notified().await;
    match how {
        Ends::Fails => assert!(sent.await.unwrap().is_err()),
        Ends::Panics => assert!(sent.await.unwrap_err().is_panic()),
        Ends::Dropped | Ends::PanicsLater => {
            sent.abort();
            assert!(sent.await.unwrap_err().is_cancelled());
            gone.notify_one();
        }
    }
    if how == Ends::PanicsLater {
        over.notified().await;
    }
    nothing_is_saved(&sessions, &headers, &format!("{how:?}")).await;
}

/// On one thread: whatever was left to run has run in these turns.
async fn nothing_is_saved(sessions: &Sessions, headers: &HeaderMap, case: &str) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&sessions.open(headers), "before").await, "", "{case}");
    assert_eq!(read(&sessions.open(headers), "theme").await, "light", "{case}");
}

#[tokio::test]
async fn what_ends_in_the_middle_leaves_nothing() {
    for how in [Ends::Dropped, Ends::Fails, Ends::Panics, Ends::PanicsLater] {
        ends(how).await;
    }
}

/// What the store has begun holds the session for longer than the request.
#[tokio::test]
async fn what_ends_in_the_middle_while_its_messages_are_taken_leaves_nothing() {
    let held = Held::at("session.save");
    let (sessions, beside) = held.sessions();
    let headers = logged_in(&beside).await;
    let (entered, limit) = (Arc::new(Notify::new()), Duration::from_millis(10));
    let handler = {
        let (entered, saves) = (Arc::clone(&entered), Arc::clone(&held.entered));
        async move |session: Session| {
            session.insert("before", "x").unwrap();
            assert!(tokio::time::timeout(limit, session.take_flash()).await.is_err());
            saves.notified().await;
            entered.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let app = Router::new().route("/", post(handler)).layer(SessionLayer::from(sessions));
    leaves(app, &headers, &entered).await;
    held.go_on.notify_one();
    nothing_is_saved(&beside, &headers, "messages").await;
    assert_eq!(beside.open(&headers).take_flash().await.unwrap(), [], "they were taken");
}

#[tokio::test]
async fn a_logout_under_way_comes_to_its_end_and_leaves_the_session_closed() {
    let held = Held::at("session.delete");
    let (sessions, beside) = held.sessions();
    let headers = logged_in(&beside).await;
    let (done, is_done) = oneshot::channel();
    let done = Arc::new(std::sync::Mutex::new(Some(done)));
    let handler = async move |session: Session| {
        let work = tokio::spawn(async move {
            let ended = session.logout().await;
            let refused = session.insert("after", "x").map_err(|error| error.kind());
            drop(done.lock().unwrap().take().unwrap().send((ended, refused)));
        });
        work.await.unwrap();
    };
    let app = Router::new().route("/", post(handler)).layer(SessionLayer::from(sessions));
    leaves(app, &headers, &held.entered).await;
    held.go_on.notify_one();
    let (ended, refused) = is_done.await.unwrap();
    assert_eq!((ended.unwrap(), refused), ((), Err(ErrorKind::InvalidInput)));
    assert_eq!(beside.open(&headers).principal().await.unwrap(), None);
}

/// A change after the response is an error, and no loss.
#[tokio::test]
async fn what_is_changed_after_the_response_is_refused() {
    let (go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let later = {
        let (go_on, done) = (Arc::clone(&go_on), Arc::clone(&done));
        async move |session: Session| {
            session.insert("before", "x").unwrap();
            tokio::spawn(async move {
                go_on.notified().await;
                for (number, refused) in changes(&session).await.into_iter().enumerate() {
                    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{number}");
                }
                done.notify_one();
            });
        }
    };
    let app = App::with_routes(routes().route("/later", post(later)), |config| config);
    let cookie = app.post("/login/u1", "").await.unwrap();
    app.send("POST", "/later", &[&cookie]).await;
    go_on.notify_one();
    done.notified().await;
    assert_eq!(app.get("/read/before", &cookie).await.0, "x");
    assert_eq!(app.get("/read/after", &cookie).await.0, "");
    assert_eq!(app.get("/who", &cookie).await.0, "u1");
}
