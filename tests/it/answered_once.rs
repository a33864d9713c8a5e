//! Sessions under an `Idempotency-Key`, whose handlers outlive their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::post;
use statehouse::session::{Session, SessionConfig, SessionLayer, Sessions, error_response};
use statehouse::{Config, Services};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Waits until nobody would save a change any more: the first request's client has gone.
async fn refused(session: &Session) -> statehouse::Error {
    loop {
        match session.insert("late", "x") {
            Ok(()) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => return error,
        }
    }
}

struct Served {
    address: String,
    sessions: Sessions,
    entered: Arc<Notify>,
    runs: Arc<AtomicU32>,
    _services: Services,
}

impl Served {
    async fn start() -> Self {
        let services = Services::open(Config::in_memory()).await.unwrap();
        let sessions = Sessions::new(services.sessions(), SessionConfig::default());
        let (entered, runs) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let commits = {
            let (entered, runs) = (Arc::clone(&entered), Arc::clone(&runs));
            async move |session: Session| {
                runs.fetch_add(1, Ordering::Relaxed);
                session.insert("order", "7").unwrap();
                entered.notify_one();
                refused(&session).await;
                session.commit().await.unwrap();
                "ordered"
            }
        };
        let late = {
            let (entered, runs) = (Arc::clone(&entered), Arc::clone(&runs));
            async move |session: Session| {
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    entered.notify_one();
                    let error = refused(&session).await;
                    return error_response(&error).map(|()| axum::body::Body::empty());
                }
                session.insert("late", "x").unwrap();
                "in time".into_response()
            }
        };
        let once = services.coordination().idempotency("orders", |_| Some("u42".into()));
        let routes = Router::new().route("/commits", post(commits)).route("/late", post(late));
        let app = routes.layer(once).layer(SessionLayer::from(sessions.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, sessions, entered, runs, _services: services }
    }

    async fn logged_in(&self) -> HeaderMap {
        let (session, mut response) = (self.sessions.open(&HeaderMap::new()), HeaderMap::new());
        session.login("u42").await.unwrap();
        session.commit().await.unwrap();
        session.write_cookie(&mut response);
        let cookie = response[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
    }

    /// What is answered, on a connection that ends with whoever waits for it.
    async fn send(&self, path: &str, headers: &HeaderMap) -> String {
        let cookie = headers[header::COOKIE].to_str().unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncookie: {cookie}\r\nidempotency-key: k\r\n");
        let request = format!("{head}content-length: 0\r\nconnection: close\r\n\r\n");
        crate::exchange(&self.address, &request).await.unwrap()
    }

    /// Sends it, goes in the middle, and sends it again until it is answered.
    async fn twice(&self, path: &str, headers: &HeaderMap) -> String {
        tokio::select! {
            _ = self.send(path, headers) => panic!("it waits"),
            () = self.entered.notified() => {}
        }
        loop {
            let answer = self.send(path, headers).await;
            if !answer.starts_with("HTTP/1.1 409 ") {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a layer says of an answer that is not the handler's own.
const REPLAYED: &str = "idempotency-replayed: true";

#[tokio::test]
async fn under_a_key_a_handler_that_commits_itself_is_saved_without_its_client_and_its_answer_repeated() {
    let app = Served::start().await;
    let headers = app.logged_in().await;
    let answer = app.twice("/commits", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nordered"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains(REPLAYED), "{answer}");
    assert_eq!(app.runs.load(Ordering::Relaxed), 1);
    let later = app.sessions.open(&headers);
    assert_eq!(later.get::<String>("order").await.unwrap().as_deref(), Some("7"));
}

#[tokio::test]
async fn under_a_key_a_change_that_is_refused_without_a_client_is_made_by_the_repetition() {
    let app = Served::start().await;
    let headers = app.logged_in().await;
    let answer = app.twice("/late", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nin time"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains(REPLAYED), "the key is free: {answer}");
    assert_eq!(app.runs.load(Ordering::Relaxed), 2);
    let later = app.sessions.open(&headers);
    assert_eq!(later.get::<String>("late").await.unwrap().as_deref(), Some("x"));
}
