//! Where replicas coordinate, and that they do.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use statehouse::cache::Caches;
use statehouse::coord::{Accepted, LockError, MemoryCoordStore, News, Ran, Revision, Run};
use statehouse::core::{Namespace, ServiceUrl};
use statehouse::redis::{RedisClient, RedisConfig};
use statehouse::search::{Indexes, OpenSearchConfig};
use statehouse::session::RedisSessionStore;
use statehouse::{Config, Error, ErrorKind, Service, ServiceDescription, ServiceState, Services};
use statehouse_testkit::{RedisServer, S3Server};
use tokio::sync::oneshot;
use tokio::time::timeout;

const SETTING: Option<&str> = Some("STATEHOUSE_COORDINATION_URL");

fn namespace() -> String {
    let id = statehouse::coord::WriteId::generate().unwrap();
    let name: String = id.as_bytes().iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    Namespace::new(name).unwrap().to_string()
}

/// What the second replica is told while the first holds a lock, and after what it has run.
async fn coordinate(config: impl Fn() -> Config) {
    let replicas = [Services::open(config()).await.unwrap(), Services::open(config()).await.unwrap()];
    let [one, other] = replicas.each_ref().map(Services::coordination);
    let guard = one.lock("export").await.unwrap();
    assert!(matches!(other.lock("export").await.unwrap_err(), LockError::Busy(_)));
    guard.release().await.unwrap();
    other.lock("export").await.unwrap().release().await.unwrap();
    let load = async |_: Run| Ok::<_, Error>(());
    let april = || Revision::new(202_604, "d");
    assert_eq!(one.run_once("terminology", april()).run(load).await.unwrap(), Ran::Now { attempt: 1 });
    assert_eq!(other.run_once("terminology", april()).run(load).await.unwrap(), Ran::AlreadyDone);
    let [first, again] = [one, other].map(|coord| coord.single_use("links", Duration::from_secs(60)));
    assert_eq!(first.accept("x").await.unwrap(), Accepted::First);
    assert_eq!(again.accept("x").await.unwrap(), Accepted::Before);
    for (services, revision) in replicas.iter().zip(1..) {
        let updated = services.coordination().state::<u32>("flags").update("limit", |_| 7).await.unwrap();
        assert_eq!(updated.revision, revision);
        assert!(crate::is_up(services).await.get("coordination").is_some());
        services.require_shared().unwrap();
    }
}

#[tokio::test]
async fn replicas_coordinate_beside_their_files_if_these_are_shared_and_nothing_else_is_said() {
    let (server, namespace) = (S3Server::shared().await, namespace());
    let url = crate::s3_url(server, server.secret_key(), server.bucket());
    let redis = RedisServer::shared().await.url();
    coordinate(|| Config::in_memory().with_namespace(&namespace).with_files(url.as_str()).with_cache(redis.as_str()))
        .await;
}

#[tokio::test]
async fn replicas_coordinate_in_a_redis_that_keeps_what_it_is_told() {
    let server = RedisServer::builder().arg("--appendonly", "yes").start().await;
    coordinate(|| Config::in_memory().with_sessions(server.url()).with_coordination(server.url())).await;
    // And in no other.
    let server = RedisServer::start().await;
    let services = Services::open(Config::in_memory().with_coordination(server.url())).await.unwrap();
    let LockError::Failed(error) = services.coordination().lock("export").await.unwrap_err() else { panic!("free") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = services.coordination().state::<u32>("flags").update("limit", |_| 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let words = described(&services).missing.join("; ");
    assert!(words.contains("appendonly"), "{words}");
    // A program that wants locks does not start there.
    let error = services.connect().await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{error}");
    assert!(error.to_string().contains("set its appendonly to yes"), "{error}");
}

#[tokio::test]
async fn what_is_embedded_coordinates_in_its_files_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    for config in [Config::in_memory(), Config::embedded(folder.path())] {
        let services = Services::open(config).await.unwrap();
        services.coordination().lock("export").await.unwrap().release().await.unwrap();
        let links = services.coordination().single_use("links", Duration::from_secs(60));
        assert_eq!(links.accept("x").await.unwrap(), Accepted::First);
        assert_eq!(links.accept("x").await.unwrap(), Accepted::Before);
        let _ = services.coordination().idempotency("orders", |_| None).checked().await.unwrap();
        services.files("scans").unwrap().put("a", "b").await.unwrap();
        let listed = services.files("scans").unwrap().list("").await.unwrap();
        assert_eq!(listed.entries.len(), 1);
        services.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_would_coordinate_with_nobody_is_told_so() {
    let redis = RedisServer::shared().await.url();
    let shared = || Config::in_memory().with_sessions(redis.as_str());
    // Nobody has to say where, unless somebody wants it.
    let services = Services::open(shared()).await.unwrap();
    let LockError::Failed(error) = services.coordination().lock("export").await.unwrap_err() else { panic!("free") };
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{error}");
    assert_eq!(services.connect().await.unwrap_err().setting(), SETTING);
    assert!(!services.health().await.get("coordination").unwrap().is_up());
    let folder = tempfile::tempdir().unwrap();
    for url in ["memory:".to_owned(), format!("file:{}", folder.path().display())] {
        let error = Services::open(shared().with_coordination(url)).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{error}");
    }
    let brought = Services::builder(shared()).with_coordination(Arc::new(MemoryCoordStore::new())).open().await;
    let error = brought.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("ServicesBuilder::with_coordination")));
    for url in ["memory:?x=1", "gopher://h"] {
        let error = Services::open(Config::in_memory().with_coordination(url)).await.unwrap_err();
        assert_eq!(error.setting(), SETTING, "{error}");
    }
}

/// What replicas share is shared by them whoever has opened it.
#[tokio::test]
async fn a_replica_that_brings_what_is_shared_along_is_told_so_too() {
    let (redis, namespace) = (RedisServer::shared().await, Namespace::new(namespace()).unwrap());
    let mut url = ServiceUrl::parse("R", &redis.url()).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let sessions = RedisSessionStore::connect(client.clone(), &namespace).await.unwrap();
    let server = S3Server::shared().await;
    let url = ServiceUrl::parse("F", &crate::s3_url(server, server.secret_key(), server.bucket())).unwrap();
    let files = Arc::clone(statehouse::files::open(url, &namespace).await.unwrap().store());
    let search = OpenSearchConfig::from_url(ServiceUrl::parse("S", "opensearch+http://h").unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = Config::embedded(folder.path());
    let beside = || Services::builder(local.clone());
    let alone = || Services::builder(local.clone().with_coordination("memory:"));
    let caches = || Caches::redis(client.clone(), &namespace);
    let indexes = || Indexes::opensearch(search.clone(), &namespace).unwrap();
    for (what, builder) in [
        ("cache", beside().with_caches(caches())),
        ("sessions", beside().with_sessions(Arc::new(sessions.clone()))),
        ("search", beside().with_search(indexes())),
    ] {
        let services = builder.open().await.unwrap();
        let LockError::Failed(error) = services.coordination().lock("a").await.unwrap_err() else { panic!("free") };
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{what}: {error}");
        let words = if what == "sessions" { "sessions are shared".to_owned() } else { format!("{what} is shared") };
        assert!(error.to_string().contains(&words), "{error}");
        let error = services.coordination().counter("visits").add(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error}");
    }
    for (what, builder) in [
        ("cache", alone().with_caches(caches())),
        ("sessions", alone().with_sessions(Arc::new(sessions.clone()))),
        ("files", alone().with_files(Arc::clone(&files))),
        ("search", alone().with_search(indexes())),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{what}: {error}");
    }
    // Where the files are shared, coordination is, beside them.
    let services = beside().with_files(files).with_caches(caches()).open().await.unwrap();
    services.coordination().lock("a").await.unwrap().release().await.unwrap();
    // What is each replica's own asks for nothing.
    let services = beside().with_caches(Caches::memory(Default::default())).open().await.unwrap();
    services.coordination().lock("a").await.unwrap().release().await.unwrap();
    assert_eq!(services.coordination().counter("visits").add(1).await.unwrap(), 1);
}

fn described(services: &Services) -> ServiceDescription {
    let all = services.describe().services;
    all.into_iter().find(|described| described.service == Service::Coordination).unwrap()
}

#[tokio::test]
async fn coordination_is_left_alone_until_somebody_asks_for_it_and_told_of_then() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config::embedded(folder.path());
    let services = Services::open(config()).await.unwrap();
    services.connect().await.unwrap();
    assert!(services.health().await.get("coordination").is_none());
    assert_eq!(described(&services).state, ServiceState::NotUsed);
    assert!(!folder.path().join("files").exists(), "nothing was opened");

    let coord = services.coordination();
    assert_eq!(described(&services).state, ServiceState::NotOpen);
    assert_eq!(services.require_shared().unwrap_err().setting(), SETTING);
    services.connect().await.unwrap();
    assert!(folder.path().join("files").exists());
    let description = described(&services);
    assert!(description.state == ServiceState::Open && description.durable && !description.shared, "{description:?}");
    let health = crate::is_up(&services).await;
    assert!(health.get("coordination").is_some() && health.get("files").is_none(), "{health:?}");

    services.shutdown().await.unwrap();
    assert!(!services.health().await.get("coordination").unwrap().is_up());
    assert_eq!(described(&services).state, ServiceState::Closed);
    let LockError::Failed(error) = coord.lock("export").await.unwrap_err() else { panic!("it is shut down") };
    assert!(error.kind() == ErrorKind::Unavailable && !error.is_retryable(), "{error:?}");
    let never = Services::open(config()).await.unwrap();
    never.shutdown().await.unwrap();
    assert!(never.coordination().lock("export").await.is_err());
}

#[tokio::test]
async fn a_store_that_is_brought_is_described_and_needed_as_any_other() {
    let store = Arc::new(MemoryCoordStore::new());
    let services = Services::builder(Config::in_memory()).with_coordination(store).open().await.unwrap();
    let operations = services.operations().hard(Service::Coordination);
    let ready = operations.probes().answer("/ready").await.unwrap();
    assert_eq!(ready.status(), 200);
    let answer = &ready.body()[..];
    assert!(answer.contains(r#""coordination":{"need":"hard""#), "{answer}");
    let description = described(&services);
    assert_eq!(
        (description.state, &description.setting[..]),
        (ServiceState::Open, "ServicesBuilder::with_coordination")
    );
    services.shutdown().await.unwrap();
    assert_eq!(operations.probes().answer("/ready").await.unwrap().status(), 503);
}

#[tokio::test]
async fn one_redis_for_cache_and_coordination_is_named() {
    let redis = "redis://h:6379";
    let services = Services::open(Config::in_memory().with_cache(redis).with_coordination(redis)).await.unwrap();
    services.cache::<u32>("numbers").time_to_live(Duration::from_secs(60)).open().unwrap();
    let _coord = services.coordination();
    let words = described(&services).missing.join("; ");
    assert!(words.contains("on one Redis with cache: if that evicts, locks are refused"), "{words}");
    assert!(described(&services).shared);
}

/// Says so when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _heard = sender.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_drops_what_is_done_under_a_lock_and_then_gives_it_to_the_next() {
    let server = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let config = || Config::in_memory().with_sessions(server.url()).with_coordination(server.url());
    let [one, other] = [Services::open(config()).await.unwrap(), Services::open(config()).await.unwrap()];
    let long = Duration::from_secs(600);
    let guard = one.coordination().lock("export").lease(long).await.unwrap();
    let (dropped, mut was_dropped) = oneshot::channel();
    let working = tokio::spawn(async move {
        let inside = Dropped(Some(dropped));
        guard
            .run(async move {
                let _inside = inside;
                std::future::pending::<Result<(), Error>>().await
            })
            .await
    });
    let next = tokio::spawn(other.coordination().lock("export").wait(long).into_future());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!next.is_finished());
    one.shutdown().await.unwrap();
    let next = timeout(Duration::from_secs(60), next).await.expect("it is free").unwrap().unwrap();
    was_dropped.try_recv().expect("the work was dropped before");
    assert_eq!(working.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    next.release().await.unwrap();
}

const SESSIONS: Option<&str> = Some("STATEHOUSE_SESSIONS_URL");

#[tokio::test]
async fn what_replicas_count_together_is_in_the_redis_of_their_sessions() {
    let (redis, namespace) = (RedisServer::shared().await.url(), namespace());
    let config = || Config::in_memory().with_namespace(&namespace).with_sessions(format!("{redis}?max_anonymous=10"));
    let replicas = [Services::open(config()).await.unwrap(), Services::open(config()).await.unwrap()];
    let [one, other] = replicas.each_ref().map(Services::coordination);
    // Before anything is open.
    let mut subscriber = other.broadcast("prices").subscribe().unwrap();
    assert_eq!(subscriber.next().await, Some(News::Resync));
    assert_eq!(one.counter("visits").add(2).await.unwrap(), 2);
    assert_eq!(other.counter("visits").add(3).await.unwrap(), 5);
    one.broadcast("prices").send("EUR").await.unwrap();
    let heard = subscriber.next().await;
    assert!(matches!(&heard, Some(News::Message { message, .. }) if message == "EUR"), "{heard:?}");
    assert!(subscriber.is_ready());
    let permit = one.permits("exports", 1).acquire().await.unwrap().expect("a permit");
    assert!(other.permits("exports", 1).acquire().await.unwrap().is_none());
    permit.release().await.unwrap();
    assert!(one.signals().health().await.is_up());
}

#[tokio::test]
async fn counters_survive_the_clearing_of_a_cache_in_the_same_redis() {
    let (redis, namespace) = (RedisServer::shared().await.url(), namespace());
    let config =
        Config::in_memory().with_namespace(&namespace).with_sessions(redis.as_str()).with_cache(redis.as_str());
    let services = Services::open(config).await.unwrap();
    let cache = services.cache::<u32>("signals").time_to_live(Duration::from_secs(60)).open().unwrap();
    cache.set("a", 1).await.unwrap();
    let counter = services.coordination().counter("a");
    assert_eq!(counter.add(1).await.unwrap(), 1);
    cache.clear().await.unwrap();
    assert_eq!(counter.get().await.unwrap(), 1);
}

#[tokio::test]
async fn what_replicas_would_count_each_for_itself_is_refused() {
    let redis = RedisServer::shared().await.url();
    let services = Services::open(Config::in_memory().with_cache(redis.as_str())).await.unwrap();
    let error = services.coordination().counter("visits").add(1).await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unsupported, SESSIONS), "{error}");
    let error = services.coordination().broadcast("prices").subscribe().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let alone = Services::open(Config::in_memory()).await.unwrap();
    assert_eq!(alone.coordination().counter("visits").add(1).await.unwrap(), 1);
}

#[tokio::test]
async fn signals_are_a_service_of_their_own_from_the_first_call_on() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let coord = services.coordination();
    coord.lock("a").await.unwrap().release().await.unwrap();
    assert!(services.health().await.get("signals").is_none(), "whoever only locks has no need of them");
    coord.counter("visits").add(1).await.unwrap();
    assert!(services.health().await.get("signals").unwrap().is_up());
    let told = services.describe().to_string();
    assert!(
        told.contains(
            "signals: memory, not shared, not durable; each replica has its own: set STATEHOUSE_SESSIONS_URL"
        ),
        "{told}"
    );

    let redis = RedisServer::start().await;
    let config = || Config::in_memory().with_sessions(redis.url()).with_namespace(namespace());
    let services = Services::open(config()).await.unwrap();
    let ready = services.operations().hard(Service::Signals).probes();
    let answer = ready.answer("/ready").await.unwrap();
    assert!(answer.status() == 200 && answer.body().contains(r#""signals":{"need":"hard""#), "{}", answer.body());
    let told = services.describe().to_string();
    assert!(told.contains(&format!("signals: redis redis://{}, shared, not durable", redis.address())), "{told}");
    // What listens uses them, too.
    let services = Services::open(config()).await.unwrap();
    let _subscriber = services.coordination().broadcast("prices").subscribe().unwrap();
    assert!(services.health().await.get("signals").is_some());
}
