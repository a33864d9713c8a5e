//! The steps of the guide from one machine to several replicas: what holds at each.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clinic_fleet::Balancer;
use statehouse::cache::TypedCache;
use statehouse::coord::{Ran, Revision, Run};
use statehouse::{Config, ErrorKind, Services, Session, SessionLayer};
use statehouse_testkit::{RedisServer, S3Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// One replica of the application, served as a program serves it.
struct Replica {
    address: SocketAddr,
    services: Services,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<std::io::Result<()>>,
}

type Answer<T> = Result<T, StatusCode>;

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
fn unavailable(error: statehouse::Error) -> StatusCode {
    if error.kind() == ErrorKind::Unavailable {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

async fn log_in(session: Session) -> Answer<&'static str> {
    session.login("ada").await.map_err(unavailable)?;
    Ok("welcome")
}

async fn who(session: Session) -> Answer<String> {
    Ok(session.principal().await.map_err(unavailable)?.map_or("nobody".to_owned(), |who| who.to_string()))
}

async fn add(session: Session) -> Answer<String> {
    session.update("items", |items: Option<u32>| items.unwrap_or(0) + 1).await.map_err(unavailable)?;
    Ok(session.get::<u32>("items").await.map_err(unavailable)?.unwrap_or_default().to_string())
}

async fn rate(rates: TypedCache<u32>) -> Answer<String> {
    let rate = rates.get_or_load("EUR/USD", async || Ok::<_, std::io::Error>(108)).await.map_err(unavailable)?;
    Ok(rate.to_string())
}

impl Replica {
    async fn start(config: Config) -> Self {
        let services = Services::open(config).await.unwrap();
        let rates = services.cache::<u32>("rates").time_to_live(Duration::from_secs(600)).open().unwrap();
        let app = Router::new()
            .route("/login", post(log_in))
            .route("/who", get(who))
            .route("/items", post(add))
            .route("/rate", get(move || rate(rates.clone())))
            .layer(SessionLayer::new(services.sessions()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let operations = services.operations().delay(Duration::ZERO);
        let until = async { stopped.await.unwrap_or_default() };
        let ended = tokio::spawn(operations.serve_until(listener, app, until));
        Self { address, services, stop, ended }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        self.ended.await.unwrap().unwrap();
    }

    /// As if killed: nothing is finished, and nobody answers any more.
    async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

/// Somebody with a browser.
#[derive(Default)]
struct Client {
    cookie: String,
}

impl Client {
    /// What is answered with 200, there.
    async fn ask(&mut self, at: SocketAddr, method: &str, path: &str) -> String {
        let cookie = &self.cookie;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\ncookie: {cookie}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let answer = crate::exchange(&at.to_string(), &request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let set =
            head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).and_then(|cookie| cookie.split(';').next());
        self.cookie = set.map_or_else(|| self.cookie.clone(), ToOwned::to_owned);
        body.to_owned()
    }

    async fn logged_in(at: SocketAddr) -> Self {
        let mut client = Self::default();
        assert_eq!(client.ask(at, "POST", "/login").await, "welcome");
        client
    }

    async fn who(&mut self, at: SocketAddr) -> String {
        self.ask(at, "GET", "/who").await
    }
}

fn embedded(folder: &Path) -> Config {
    Config::embedded(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_keeps_who_is_logged_in_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::start(embedded(folder.path())).await;
    let mut ada = Client::logged_in(replica.address).await;
    assert_eq!(ada.ask(replica.address, "POST", "/items").await, "1");
    replica.end().await;
    let replica = Replica::start(embedded(folder.path())).await;
    assert_eq!(ada.who(replica.address).await, "ada");
    assert_eq!(ada.ask(replica.address, "POST", "/items").await, "2");
    // A second one on the same folder would share it by mistake.
    let second = Services::open(embedded(folder.path())).await.unwrap();
    let _sessions = second.sessions();
    let refused = second.connect().await.unwrap_err();
    assert_eq!(refused.setting(), Some("STATEHOUSE_SESSIONS_URL"), "{refused}");
    assert!(refused.to_string().contains("in use by another store"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stays_at_its_replica_is_known_there_and_a_stranger_at_the_next() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] =
        [Replica::start(embedded(folders[0].path())).await, Replica::start(embedded(folders[1].path())).await];
    let [mut ada, mut grace] = [Client::logged_in(one.address).await, Client::logged_in(two.address).await];
    for items in 1..=10 {
        assert_eq!(ada.ask(one.address, "POST", "/items").await, items.to_string());
        assert_eq!(grace.ask(two.address, "POST", "/items").await, items.to_string());
    }
    // What stickiness is for, and what says so.
    let mut strays = Client { cookie: ada.cookie.clone() };
    assert_eq!(strays.who(two.address).await, "nobody");
    let refused = one.services.require_shared().unwrap_err();
    assert_eq!(refused.setting(), Some("STATEHOUSE_CACHE_URL and STATEHOUSE_SESSIONS_URL"), "{refused}");
    one.kill().await;
    let mut ada = Client::logged_in(two.address).await;
    assert_eq!((ada.who(two.address).await, grace.who(two.address).await), ("ada".to_owned(), "ada".to_owned()));
}

/// What is run once, and the database that all share: how often it was migrated.
async fn migrate(services: &Services, migrated: &AtomicUsize) -> Ran {
    let migrate = async |_: Run| {
        migrated.fetch_add(1, Ordering::SeqCst);
        Ok::<(), statehouse::Error>(())
    };
    services.coordination().run_once("schema", Revision::new(7, "")).run(migrate).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_once_over_a_shared_database_needs_coordination_that_is_shared() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let config = |at: usize| embedded(folders[at].path()).with_namespace("growing").with_coordination(redis.url());
    let [one, two] = [Replica::start(config(0)).await, Replica::start(config(1)).await];
    let migrated = AtomicUsize::new(0);
    assert_eq!(migrate(&one.services, &migrated).await, Ran::Now { attempt: 1 });
    assert_eq!(migrate(&two.services, &migrated).await, Ran::AlreadyDone);
    assert_eq!(migrated.load(Ordering::SeqCst), 1);
    // Everything else is each replica's own, as it was.
    let mut ada = Client::logged_in(one.address).await;
    assert_eq!((ada.who(one.address).await, ada.who(two.address).await), ("ada".to_owned(), "nobody".to_owned()));
    one.end().await;
    two.end().await;

    // Without it each records for itself what it has run, and is told so if it asks.
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let migrated = AtomicUsize::new(0);
    for folder in &folders {
        let services = Services::open(embedded(folder.path())).await.unwrap();
        assert_eq!(migrate(&services, &migrated).await, Ran::Now { attempt: 1 });
        let refused = services.require_shared().unwrap_err();
        assert_eq!(refused.setting(), Some("STATEHOUSE_COORDINATION_URL"), "{refused}");
    }
    assert_eq!(migrated.load(Ordering::SeqCst), 2, "this is what the setting is for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_from_replica_to_replica_and_outlives_the_one_that_made_it() {
    let (redis, folders) = (RedisServer::start().await, [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let config = |at: usize| embedded(folders[at].path()).with_namespace("growing").with_sessions(redis.url());
    let [one, two] = [Replica::start(config(0)).await, Replica::start(config(1)).await];
    let mut ada = Client::logged_in(one.address).await;
    assert_eq!(ada.who(two.address).await, "ada");
    for items in [1, 3, 5] {
        assert_eq!(ada.ask(one.address, "POST", "/items").await, items.to_string());
        assert_eq!(ada.ask(two.address, "POST", "/items").await, (items + 1).to_string());
    }
    // Coordination has to be shared as well by now.
    let refused = one.services.coordination().lock("export").await.unwrap_err();
    assert_eq!(statehouse::Error::from(refused).setting(), Some("STATEHOUSE_COORDINATION_URL"));
    one.kill().await;
    assert_eq!(ada.who(two.address).await, "ada");
    assert_eq!(ada.ask(two.address, "POST", "/items").await, "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_round_robin_balancer_every_replica_gives_the_same_answers() {
    let (sessions, cache, files) = (RedisServer::start().await, RedisServer::start().await, S3Server::start().await);
    let files = crate::s3_url(&files, files.secret_key(), files.bucket());
    let config = || {
        let config = Config::in_memory().with_namespace("growing").with_files(files.as_str());
        config.with_sessions(sessions.url()).with_cache(cache.url())
    };
    let replicas = [Replica::start(config()).await, Replica::start(config()).await, Replica::start(config()).await];
    let balancer = Balancer::start("127.0.0.1:0", &replicas.each_ref().map(|replica| replica.address)).await.unwrap();
    let start = Instant::now();
    while !balancer.states().iter().all(|state| state.ready) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", balancer.states());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut ada = Client::logged_in(balancer.address()).await;
    for items in 1..=12 {
        assert_eq!(ada.ask(balancer.address(), "POST", "/items").await, items.to_string());
        assert_eq!(ada.who(balancer.address()).await, "ada");
        assert_eq!(ada.ask(balancer.address(), "GET", "/rate").await, "108");
    }
    let states = balancer.states();
    assert!(states.iter().all(|state| state.answered >= 1 && state.failed == 0), "each had its share: {states:?}");
    let stored = replicas[0].services.files("scans").unwrap();
    stored.put("p42", "DICM").await.unwrap();
    for replica in &replicas {
        assert_eq!(replica.services.files("scans").unwrap().get("p42").bytes().await.unwrap(), "DICM");
        replica.services.require_shared().unwrap();
    }
    let guard = replicas[1].services.coordination().lock("export").await.unwrap();
    let busy = replicas[2].services.coordination().lock("export").await;
    assert!(matches!(busy, Err(statehouse::coord::LockError::Busy(_))), "{busy:?}");
    guard.release().await.unwrap();
}
