use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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

const REQUESTS: u32 = 3_200;
/// As many sessions as the most tasks, so that none is written by two.
const SESSIONS: usize = 256;
/// How many requests the round trips are counted of.
const COUNTED: usize = 400;
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
    let (my_cookies, their_cookies) = (cookies(&ours, SESSIONS).await?, cookies(&theirs, SESSIONS).await?);
    for (tasks, requests, bar, name) in ROWS {
        let case =
            Case { service: "session", name, peer: "tower-sessions 0.14, redis", bar: Bar::Ratio(bar), ops: REQUESTS };
        harness
            .compare(
                case,
                async || send(&ours, &my_cookies[..tasks], requests).await,
                async || send(&theirs, &their_cookies[..tasks], requests).await,
            )
            .await;
    }
    let added = nanoseconds_added(&ours).await?;
    harness.limited("session", "untouched anonymous request, added", "ns", added, 500.0);
    for (name, path, cookie, most) in [
        ("round trips of an untouched session", "/untouched", true, 0.0),
        ("round trips of a read request", "/read", true, 1.0),
        ("round trips of a write request", "/write", true, 2.0),
        ("round trips of a first request that writes", "/write", false, 1.0),
        ("round trips of a login of a known browser", "/login", true, 2.0),
        ("round trips of a logout", "/logout", true, 1.0),
    ] {
        let trips = round_trips(&server, &ours, path, cookie).await?;
        harness.limited("session", name, "round trips", trips, most);
    }
    Ok(())
}

/// Which requests a task sends.
#[derive(Clone, Copy)]
enum Requests {
    Reads,
    Writes,
    /// Each tenth of them is a write.
    MostlyReads,
}

impl Requests {
    const fn path(self, number: usize) -> &'static str {
        match self {
            Self::Reads => "/read",
            Self::MostlyReads if number % 10 != 9 => "/read",
            Self::MostlyReads | Self::Writes => "/write",
        }
    }
}

/// How many tasks, which requests, how many times as fast as the peer they are to be, and what the row is called.
const ROWS: [(usize, Requests, f64, &str); 11] = [
    (1, Requests::Reads, 1.0, "read request, redis, 8 x 100 B, 1 task"),
    (8, Requests::Reads, 1.0, "read request, redis, 8 x 100 B, 8 tasks"),
    (32, Requests::Reads, 1.0, "read request, redis, 8 x 100 B, 32 tasks"),
    (64, Requests::Reads, 1.0, "read request, redis, 8 x 100 B, 64 tasks"),
    (256, Requests::Reads, 1.0, "read request, redis, 8 x 100 B, 256 tasks"),
    (1, Requests::Writes, 0.95, "write request, redis, 8 x 100 B, 1 task"),
    (8, Requests::Writes, 0.95, "write request, redis, 8 x 100 B, 8 tasks"),
    (32, Requests::Writes, 0.95, "write request, redis, 8 x 100 B, 32 tasks"),
    (64, Requests::Writes, 0.95, "write request, redis, 8 x 100 B, 64 tasks"),
    (256, Requests::Writes, 0.95, "write request, redis, 8 x 100 B, 256 tasks"),
    (64, Requests::MostlyReads, 1.2, "90 % read requests, redis, 8 x 100 B, 64 tasks"),
];

/// What a request without a cookie takes longer for that the layer is there, which it does not use: the median of rounds by turns.
async fn nanoseconds_added(ours: &Router) -> Result<f64, Box<dyn std::error::Error>> {
    const ROUNDS: usize = 41;
    const REQUESTS: u32 = 2_000;
    let bare = Router::new().route("/untouched", get(async || ()));
    let each = async |app: &Router| {
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            let request = Request::get("/untouched").body(Body::empty()).expect("a request");
            app.clone().oneshot(request).await.expect("infallible");
        }
        begun.elapsed().as_secs_f64() / f64::from(REQUESTS) * 1e9
    };
    let mut added = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (with, without) = (each(ours).await, each(&bare).await);
        added.push((with - without).max(0.0));
    }
    added.sort_by(f64::total_cmp);
    Ok(added[ROUNDS / 2].round())
}

/// How often the server has to read for a request, one after the other, each with a new session's cookie or with none. What
/// is read once a second besides, such as the clock, is not a tenth of it.
async fn round_trips(
    server: &RedisServer,
    app: &Router,
    path: &'static str,
    with_cookie: bool,
) -> Result<f64, Box<dyn std::error::Error>> {
    let cookies = if with_cookie { cookies(app, COUNTED).await? } else { vec![String::new(); COUNTED] };
    let before = reads(server).await?;
    for cookie in &cookies {
        let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty())?;
        app.clone().oneshot(request).await?;
    }
    // The last question is itself one that is read.
    let read = (reads(server).await? - before).saturating_sub(1);
    let tenths = u32::try_from(read * 10 / COUNTED as u64)?;
    Ok(f64::from(tenths) / 10.0)
}

/// How often the server has read from a connection.
async fn reads(server: &RedisServer) -> Result<u64, Box<dyn std::error::Error>> {
    let info = server.command(&["INFO", "stats"]).await?;
    let lines = info.text().ok_or("no text")?.lines();
    let mut counts = lines.filter_map(|line| line.strip_prefix("total_reads_processed:"));
    Ok(counts.next().ok_or("Redis 7 counts what it reads")?.trim().parse()?)
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
    let login = async |session: Session| session.login("u42").await.expect("loaded");
    let logout = async |session: Session| session.logout().await.expect("logged out");
    let routes = Router::new().route("/fill", get(fill)).route("/read", get(read)).route("/write", get(write));
    let routes = routes.route("/login", get(login)).route("/logout", get(logout)).route("/untouched", get(async || ()));
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

/// The cookies of so many sessions.
async fn cookies(app: &Router, sessions: usize) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut cookies = Vec::new();
    for _ in 0..sessions {
        let response = app.clone().oneshot(Request::get("/fill").body(Body::empty())?).await?;
        let cookie = response.headers().get(header::SET_COOKIE).ok_or("no cookie")?.to_str()?;
        cookies.push(cookie.split(';').next().unwrap_or_default().to_owned());
    }
    Ok(cookies)
}

/// One task for each session.
async fn send(app: &Router, cookies: &[String], requests: Requests) {
    let each = REQUESTS as usize / cookies.len();
    let tasks: Vec<_> = cookies
        .iter()
        .map(|cookie| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move {
                for number in 0..each {
                    let request =
                        Request::get(requests.path(number)).header(header::COOKIE, &cookie).body(Body::empty());
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
