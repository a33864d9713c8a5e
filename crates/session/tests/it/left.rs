//! Requests that go on though their clients have gone.

use std::sync::Arc;

use axum::routing::post;
use axum::{Router, extract::Path};
use statehouse_core::ErrorKind;
use statehouse_session::{ServerErrorPolicy, Session, SessionConfigBuilder};
use tokio::sync::Notify;

use crate::http::{App, MINUTE, routes};

/// What a request changes, and when.
async fn change(session: &Session, what: &str, when: &str) {
    match what {
        "insert" => session.insert(when, "x").unwrap(),
        "update" => session.update(when, |_: Option<String>| "x".to_owned()).await.unwrap(),
        "flash" => session.flash("info", when).unwrap(),
        "login" => session.login("u2").await.unwrap(),
        "rotate" => session.rotate().await.unwrap(),
        _ => {}
    }
}

/// A handler's way to go on without its client, and one that ends with it.
fn going_on(in_a_task: bool, entered: Arc<Notify>, go_on: Arc<Notify>) -> Router {
    let handler = async move |session: Session, Path((first, then)): Path<(String, String)>| {
        let work = async move {
            change(&session, &first, "before").await;
            entered.notify_one();
            go_on.notified().await;
            change(&session, &then, "after").await;
            if then == "panic" {
                panic!("of a handler");
            }
        };
        match in_a_task {
            true => drop(tokio::spawn(work).await),
            false => work.await,
        }
    };
    routes().route("/go/{first}/{then}", post(handler))
}

/// An application with somebody logged in whose client goes in the middle of this request.
async fn gone(
    in_a_task: bool,
    path: &str,
    configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
) -> (App, String) {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = App::with_routes(going_on(in_a_task, Arc::clone(&entered), Arc::clone(&go_on)), configure);
    let cookie = app.post("/login/u1", "").await.unwrap();
    let cookies = [cookie.as_str()];
    tokio::select! {
        _ = app.send("POST", path, &cookies) => panic!("it waits"),
        () = entered.notified() => {}
    }
    go_on.notify_one();
    // On one thread: whatever is to run does so in these turns.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    (app, cookie)
}

async fn left(app: &App, cookie: &str) -> [String; 3] {
    let read = async |path| app.get(path, cookie).await.0;
    [read("/read/before").await, read("/read/after").await, read("/flashes").await]
}

#[tokio::test]
async fn what_a_request_changes_that_goes_on_without_its_client_is_saved() {
    for (path, expected) in [
        ("/go/insert/insert", ["x", "x", ""]),
        ("/go/insert/none", ["x", "", ""]),
        ("/go/none/update", ["", "x", ""]),
        ("/go/flash/flash", ["", "", "before, after"]),
    ] {
        let (app, cookie) = gone(true, path, |config| config).await;
        assert_eq!(left(&app, &cookie).await, expected, "{path}");
        assert_eq!(app.get("/who", &cookie).await, ("u1".to_owned(), None), "{path}");
    }
}

/// It has failed, or it has not: nobody knows.
#[tokio::test]
async fn what_ends_with_its_client_or_in_a_panic_leaves_nothing() {
    for (in_a_task, path) in [(false, "/go/insert/insert"), (true, "/go/insert/panic")] {
        let (app, cookie) = gone(in_a_task, path, |config| config).await;
        assert_eq!(left(&app, &cookie).await, ["", "", ""], "{path}");
    }
    let discards = |config: SessionConfigBuilder| config.on_server_error(ServerErrorPolicy::Discard);
    let (app, cookie) = gone(true, "/go/insert/insert", discards).await;
    assert_eq!(left(&app, &cookie).await, ["", "", ""], "by policy");
}

/// Nobody gets the cookie.
#[tokio::test]
async fn who_logs_in_or_rotates_without_a_client_keeps_the_session_as_it_was() {
    for path in ["/go/insert/login", "/go/login/insert", "/go/rotate/insert"] {
        let (app, cookie) = gone(true, path, |config| config).await;
        assert_eq!(left(&app, &cookie).await, ["", "", ""], "{path}");
        assert_eq!(app.get("/who", &cookie).await, ("u1".to_owned(), None), "{path}");
    }
}

#[tokio::test]
async fn nothing_begins_without_a_client() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = App::with_routes(going_on(true, Arc::clone(&entered), Arc::clone(&go_on)), |config| config);
    tokio::select! {
        _ = app.send("POST", "/go/insert/insert", &[]) => panic!("it waits"),
        () = entered.notified() => {}
    }
    go_on.notify_one();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(app.store.is_empty());
}

/// A token is replaced by a request whose client is there.
#[tokio::test]
async fn a_renewal_that_is_due_keeps_nothing_from_being_saved_without_a_client() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let renews = |config: SessionConfigBuilder| config.renew_every(10 * MINUTE, MINUTE);
    let app = App::with_routes(going_on(true, Arc::clone(&entered), Arc::clone(&go_on)), renews);
    let cookie = app.post("/login/u1", "").await.unwrap();
    app.clock.advance(11 * MINUTE);
    let cookies = [cookie.as_str()];
    tokio::select! {
        _ = app.send("POST", "/go/insert/update", &cookies) => panic!("it waits"),
        () = entered.notified() => {}
    }
    go_on.notify_one();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let (before, renewed) = app.get("/read/before", &cookie).await;
    assert_eq!((before.as_str(), renewed.is_some()), ("x", true));
    assert_eq!(app.get("/read/after", &renewed.unwrap()).await.0, "x");
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
                let refused = [
                    session.insert("after", "x"),
                    session.update("after", |_: Option<String>| "x".to_owned()).await,
                    session.remove("before"),
                    session.clear(),
                    session.flash("info", "after"),
                    session.take_flash().await.map(drop),
                    session.login("u2").await,
                    session.rotate().await,
                    session.logout().await,
                ];
                for (number, refused) in refused.into_iter().enumerate() {
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
    assert_eq!(left(&app, &cookie).await, ["x", "", ""]);
    assert_eq!(app.get("/who", &cookie).await.0, "u1");
}
