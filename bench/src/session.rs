use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_session::{RedisSessionStore, Session, SessionLayer};
use statehouse_testkit::RedisServer;
use tower::ServiceExt;
use tower_sessions::SessionManagerLayer;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

use crate::harness::{Bar, Case, Harness};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const TASKS: usize = 16;
const REQUESTS: u32 = 3_200;
const ATTRIBUTES: usize = 8;

/// The session that both sides keep: 8 attributes of 100 bytes.
fn attribute(i: usize) -> (String, String) {
    (format!("attribute{i}"), format!("{i}").repeat(100))
}

/// Makes every written value new, so that neither side can skip the write.
static COUNTER: AtomicU64 = AtomicU64::new(0);

fn next() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let server = RedisServer::start().await;
    let ours = ours(&server).await?;
    let theirs = theirs(&server).await?;
    let (my_cookies, their_cookies) = (cookies(&ours).await?, cookies(&theirs).await?);
    for (name, path) in [("read request, redis, 8 x 100 B", "/read"), ("write request, redis, 8 x 100 B", "/write")] {
        let peer = "tower-sessions 0.14, redis";
        let case = Case { service: "session", name, peer, bar: Bar::Ratio(0.9), ops: REQUESTS };
        harness
            .compare(
                case,
                async || requests(&ours, &my_cookies, path).await,
                async || {
                    requests(&theirs, &their_cookies, path).await;
                },
            )
            .await;
    }
    Ok(())
}

async fn ours(server: &RedisServer) -> Result<Router, Box<dyn std::error::Error>> {
    let store = RedisSessionStore::open(ServiceUrl::parse("bench", &server.url())?, &Namespace::new("bench")?).await?;
    let fill = async |session: Session| {
        for (name, value) in (0..ATTRIBUTES).map(attribute) {
            session.insert(&name, &value).expect("a value within the limits");
        }
    };
    let read = async |session: Session| {
        let value: Option<String> = session.get("attribute3").await.expect("loaded");
        value.map_or(StatusCode::UNAUTHORIZED, |_| StatusCode::OK)
    };
    let write = async |session: Session| session.insert("counter", &next()).expect("a value within the limits");
    let routes = Router::new().route("/fill", get(fill)).route("/read", get(read)).route("/write", get(write));
    Ok(routes.layer(SessionLayer::new(store)))
}

async fn theirs(server: &RedisServer) -> Result<Router, Box<dyn std::error::Error>> {
    use tower_sessions::Session;
    // Two connections serve this peer better than one, and ours better by one, its default.
    let pool = Pool::new(Config::from_url(&server.url())?, None, None, None, 2)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let fill = async |session: Session| {
        for (name, value) in (0..ATTRIBUTES).map(attribute) {
            session.insert(&name, value).await.expect("stored");
        }
    };
    let read = async |session: Session| {
        let value: Option<String> = session.get("attribute3").await.expect("loaded");
        value.map_or(StatusCode::UNAUTHORIZED, |_| StatusCode::OK)
    };
    let write = async |session: Session| session.insert("counter", next()).await.expect("stored");
    let routes = Router::new().route("/fill", get(fill)).route("/read", get(read)).route("/write", get(write));
    Ok(routes.layer(SessionManagerLayer::new(RedisStore::new(pool)).with_secure(false)))
}

/// One session for each task.
async fn cookies(app: &Router) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut cookies = Vec::new();
    for _ in 0..TASKS {
        let response = app.clone().oneshot(Request::get("/fill").body(Body::empty())?).await?;
        let cookie = response.headers().get(header::SET_COOKIE).ok_or("no cookie")?.to_str()?;
        cookies.push(cookie.split(';').next().unwrap_or_default().to_owned());
    }
    Ok(cookies)
}

async fn requests(app: &Router, cookies: &[String], path: &'static str) {
    let tasks: Vec<_> = cookies
        .iter()
        .map(|cookie| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move {
                for _ in 0..REQUESTS as usize / TASKS {
                    let request = Request::get(path).header(header::COOKIE, &cookie).body(Body::empty());
                    let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
                    assert_eq!(response.status(), StatusCode::OK);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}
