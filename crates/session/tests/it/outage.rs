//! How long requests wait for a Redis that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use statehouse_core::ServiceUrl;
use statehouse_core::policy::BreakerState;
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_session::{Limit, OutagePolicy, SessionConfigBuilder};
use statehouse_testkit::RedisServer;
use tokio::task::JoinSet;

use crate::random_namespace;
use crate::redis::{App, until_up};

mod cluster;

/// What a request waits for at most once the server is known to be away.
const LIMIT: Duration = Duration::from_secs(1);

/// How many in a hundred may be held up by this machine, which is busy with other tests. Who waits for the server does so
/// each time.
const HELD_UP: usize = 5;

/// By when it is known that a server is away: after a second and a half, and later on a machine that is busy.
const KNOWN_BY: Duration = Duration::from_secs(30);

/// How many requests of each caller are looked at, at least.
const ENOUGH: usize = 25;

/// What each caller asks for in turn, and whether it goes on without its session where it may. Logins and logouts fail
/// then, and these handlers hide it.
const REQUESTS: [(&str, &str, bool); 6] = [
    ("GET", "/who", true),
    ("POST", "/write", true),
    ("POST", "/login", false),
    ("POST", "/logout", false),
    ("POST", "/push", true),
    ("GET", "/pushed", true),
];

/// One browser, until it has asked for two seconds while the server is known to be away: how long those requests took.
async fn browser(app: Arc<App>, redis: RedisClient, cookie: String, policy: OutagePolicy) -> Vec<Duration> {
    let (begun, mut known, mut lasted) = (Instant::now(), None, Vec::new());
    for (method, path, goes_on) in REQUESTS.iter().cycle() {
        if known.is_some_and(|known: Instant| known.elapsed() >= Duration::from_secs(2)) {
            break;
        }
        assert!(known.is_some() || begun.elapsed() < KNOWN_BY, "not known to be away");
        let (asked, away) = (Instant::now(), redis.breaker() != BreakerState::Closed);
        let response = app.send(method, path, &cookie).await;
        if away {
            known.get_or_insert(asked);
            lasted.push(asked.elapsed());
            let (status, refused) = (response.status(), StatusCode::SERVICE_UNAVAILABLE);
            match policy {
                OutagePolicy::Anonymous if *goes_on => assert_eq!(status, StatusCode::OK, "{path}"),
                OutagePolicy::Anonymous => assert!([StatusCode::OK, refused].contains(&status), "{path}: {status}"),
                _ => assert_eq!(status, refused, "{path}"),
            }
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == refused, "{path}");
            assert!(!response.headers().contains_key(SET_COOKIE), "{path}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lasted
}

/// The longest that a request of eight browsers took, but for those that may have been held up.
async fn slowest(app: &Arc<App>, redis: &RedisClient, cookie: &str, policy: OutagePolicy) -> Duration {
    let browsers = (0..8).map(|_| browser(Arc::clone(app), redis.clone(), cookie.to_owned(), policy));
    let mut lasted = browsers.collect::<JoinSet<_>>().join_all().await.concat();
    lasted.sort_unstable();
    lasted[lasted.len() - 1 - lasted.len() * HELD_UP / 100]
}

async fn nobody_waits(policy: OutagePolicy) {
    let server = RedisServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "always").start().await;
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap();
    // With the time limits that applications have who set none.
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let configure = |config: SessionConfigBuilder| config.on_outage(policy);
    let app = Arc::new(App::over(redis.clone(), &random_namespace(), configure));
    let cookie = app.login().await;
    server.pause();
    let paused = slowest(&app, &redis, &cookie, policy).await;
    server.resume();
    until_up(&app).await;
    assert_eq!(app.who(&cookie).await, "u42");
    server.kill();
    let gone = slowest(&app, &redis, &cookie, policy).await;
    server.restart().await;
    until_up(&app).await;
    assert_eq!(app.who(&cookie).await, "u42");
    assert!(paused < LIMIT && gone < LIMIT, "{policy:?}: paused {paused:?}, gone {gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_for_a_store_that_is_known_to_be_away() {
    nobody_waits(OutagePolicy::FailClosed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_may_go_on_without_its_session_waits_for_a_store_that_is_away() {
    nobody_waits(OutagePolicy::Anonymous).await;
}

/// One browser, until two seconds after somebody was refused at once: how long each request took that was asked for since.
async fn writer(app: Arc<App>, cookie: String, known: Arc<AtomicBool>) -> Vec<(&'static str, Duration)> {
    let (begun, mut since, mut lasted) = (Instant::now(), None, Vec::new());
    for (method, path, _) in REQUESTS.iter().cycle() {
        let (asked, is_known) = (Instant::now(), known.load(Ordering::Relaxed));
        // On a busy machine that takes longer.
        let is_long = is_known && since.get_or_insert(asked).elapsed() >= Duration::from_secs(2);
        if is_long && lasted.len() > ENOUGH {
            break;
        }
        assert!(is_known || begun.elapsed() < KNOWN_BY, "nobody was refused at once");
        let response = app.send(method, path, &cookie).await;
        let (status, later) = (response.status(), response.headers().contains_key(RETRY_AFTER));
        if *method == "POST" && later {
            known.store(true, Ordering::Relaxed);
        }
        assert!(!response.headers().contains_key(SET_COOKIE), "{path}");
        if is_known {
            lasted.push((*path, asked.elapsed()));
            let expected = if *method == "GET" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!((status, later), (expected, *method == "POST"), "{path}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lasted
}

/// As it does itself while it hands over to a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_holds_writes_back_no_request_waits_and_reads_go_on() {
    let server = RedisServer::start().await;
    // A read is answered once its connection is another than that on which a write is held back.
    let url = format!("{}?timeout=10s&deadline=20s", server.url());
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &url).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    // With a limit a login asks for a place first, which is a write, too.
    let limited = |config: SessionConfigBuilder| config.limit(Limit::evict_oldest(5));
    let app = Arc::new(App::over(redis.clone(), &random_namespace(), limited));
    let (cookie, known) = (app.login().await, Arc::new(AtomicBool::new(false)));
    server.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
    let writers = (0..8).map(|_| writer(Arc::clone(&app), cookie.clone(), Arc::clone(&known)));
    let mut lasted = writers.collect::<JoinSet<_>>().join_all().await.concat();
    lasted.sort_unstable_by_key(|(_, time)| *time);
    let slowest = lasted[lasted.len() - 1 - lasted.len() * HELD_UP / 100];
    assert!(slowest.1 < LIMIT, "{slowest:?}");
    assert_eq!(redis.breaker(), BreakerState::Closed, "the server is there");

    server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
    let begun = Instant::now();
    while app.send("POST", "/push", &cookie).await.status() != StatusCode::OK {
        assert!(begun.elapsed() < KNOWN_BY, "writes are not sent again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.who(&cookie).await, "u42", "nobody was logged out");
    assert_eq!(app.send("POST", "/logout", &cookie).await.status(), StatusCode::OK);
    assert_eq!(app.who(&cookie).await, "nobody");
}

/// Its own deadline is much later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_ends_once_it_is_known_that_none_is_answered() {
    let (server, long) = (RedisServer::start().await, Duration::from_secs(60));
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap();
    let config = RedisConfig::from_url(&mut url).unwrap().with_timeout(long).with_deadline(long);
    let redis = RedisClient::open(config).await.unwrap();
    let app = Arc::new(App::over(redis, &random_namespace(), |config| config));
    server.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
    let begun = Instant::now();
    let mut logins = JoinSet::new();
    // One after another, for many that wait at the same time may be held up by this process.
    for _ in 0..3 {
        let app = Arc::clone(&app);
        logins.spawn(async move { app.send("POST", "/login", "").await.status() });
        tokio::time::sleep(LIMIT).await;
    }
    for status in logins.join_all().await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(begun.elapsed() < long / 2, "{:?}", begun.elapsed());
    server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
}

/// A renewal is a write that no handler has asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_due_for_renewal_keeps_no_request_from_reading_while_nothing_can_be_written() {
    let (server, second) = (RedisServer::start().await, Duration::from_secs(1));
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let app = App::over(redis, &random_namespace(), |config| config.renew_every(second, second));
    let cookie = app.login().await;
    // By the clock of the server, which cannot be moved.
    tokio::time::sleep(second + second / 10).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    let reads = async || {
        for _ in 0..3 {
            let response = app.send("GET", "/who", &cookie).await;
            assert_eq!((response.status(), response.headers().get(SET_COOKIE)), (StatusCode::OK, None));
        }
        assert_eq!(app.who(&cookie).await, "u42");
    };
    reads().await;
    assert_eq!(app.send("POST", "/write", &cookie).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    server.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
    reads().await;
    server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
    let begun = Instant::now();
    while !app.send("GET", "/who", &cookie).await.headers().contains_key(SET_COOKIE) {
        assert!(begun.elapsed() < KNOWN_BY, "it is not renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
