//! A service is opened when it is first needed, and what the application brings is used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse::cache::{Caches, MemoryConfig, TypedCache};
use statehouse::core::Namespace;
use statehouse::files::{Files, MemoryFileStore};
use statehouse::redis::{RedisClient, RedisConfig, deadpool_redis};
use statehouse::search::{Indexes, TantivyConfig};
use statehouse::session::{MemorySessionStore, RedisSessionStore, SessionConfig, Sessions};
use statehouse::{Config, ErrorKind, Services};
use statehouse_testkit::{RedisServer, S3Server};

/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(30);

fn numbers(services: &Services) -> TypedCache<u32> {
    services.cache("numbers").time_to_live(Duration::from_secs(60)).open().unwrap()
}

async fn use_cache(services: &Services) -> statehouse::Result<()> {
    let numbers = numbers(services);
    numbers.set("one", 1).await?;
    assert_eq!(numbers.get("one").await?.as_deref(), Some(&1));
    Ok(())
}

async fn log_in(services: &Services) -> statehouse::Result<()> {
    let sessions = Sessions::new(services.sessions(), SessionConfig::default());
    let session = sessions.open(&Default::default());
    session.login("u42").await?;
    session.commit().await
}

/// A container whose root cannot be written, and a program that wants a cache.
#[tokio::test]
async fn what_is_not_used_needs_no_folder() {
    // Nobody can make a folder there, not even root.
    let services = Services::open(Config::embedded("/sys/statehouse")).await.unwrap();
    use_cache(&services).await.unwrap();
    services.connect().await.unwrap();
    let health = services.health().await;
    assert_eq!(health.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["cache"]);
    assert!(health.is_up());

    let scans = services.files("scans").unwrap();
    for error in [scans.put("a", "b").await.unwrap_err(), services.connect().await.unwrap_err()] {
        assert_eq!((error.kind(), error.setting()), (ErrorKind::PermissionDenied, Some("STATEHOUSE_FILES_URL")));
        assert!(error.to_string().contains("/sys/statehouse/files"), "{error}");
    }
    let health = services.health().await;
    let down: Vec<_> = health.iter().filter(|(_, health)| !health.is_up()).map(|(name, _)| name).collect();
    assert_eq!(down, ["files"]);
    services.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_folder_is_made_when_its_service_is_used() {
    let above = tempfile::tempdir().unwrap();
    let data = above.path().join("data");
    let services = Services::open(Config::embedded(&data)).await.unwrap();
    services.health().await;
    assert!(!data.exists());
    log_in(&services).await.unwrap();
    assert!(data.join("sessions").exists() && !data.join("files").exists() && !data.join("search").exists());
    let scans = services.files("scans").unwrap();
    crate::is_up(&services).await;
    assert!(data.join("files").exists(), "whoever is asked for is asked how it is");
    assert!(!scans.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_a_wrong_setting_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let url = |scheme: &str| format!("{scheme}:{}", place.display());
        for (config, setting) in [
            (Config::in_memory().with_sessions(url("file")), "STATEHOUSE_SESSIONS_URL"),
            (Config::in_memory().with_files(url("file")), "STATEHOUSE_FILES_URL"),
            (Config::in_memory().with_search(url("tantivy")), "STATEHOUSE_SEARCH_URL"),
        ] {
            let error = Services::open(config).await.unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        }
    }
}

/// How many connections others have to the server. The one that asks is not counted.
async fn connections(redis: &RedisServer) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]).await.unwrap();
    list.text().unwrap().lines().filter(|line| !line.contains("cmd=client|list")).count()
}

/// Waits until there are as many: one that is just being replaced is there twice.
async fn settles(redis: &RedisServer, expected: usize, what: &str) {
    let start = Instant::now();
    loop {
        let count = connections(redis).await;
        if count == expected {
            return;
        }
        assert!(start.elapsed() < SOON, "{what}: {count} connections and not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn services_at_one_url_share_a_redis_client() {
    let redis = RedisServer::start().await;
    for (cache, sessions, clients) in [
        ("?connections=1&timeout=9s", "?timeout=9s&max_anonymous=1000&connections=1", 1),
        // Another time limit is another client.
        ("?connections=1&timeout=9s", "?connections=1&timeout=8s", 2),
    ] {
        let at = |parameters: &str| format!("{}{parameters}", redis.url());
        let services =
            Services::open(Config::in_memory().with_cache(at(cache)).with_sessions(at(sessions))).await.unwrap();
        settles(&redis, 0, "before anything is used").await;
        use_cache(&services).await.unwrap();
        settles(&redis, 1, "of the cache").await;
        log_in(&services).await.unwrap();
        settles(&redis, clients, "of cache and sessions").await;
    }
}

#[tokio::test]
async fn a_password_that_is_put_right_needs_no_restart() {
    let redis = RedisServer::builder().password("right-one").start().await;
    let url = redis.url().replace("right-one", "another-one");
    let services = Services::open(Config::in_memory().with_cache(url.as_str()).with_sessions(url)).await.unwrap();
    let refused = use_cache(&services).await.unwrap_err();
    assert_eq!((refused.kind(), refused.setting()), (ErrorKind::Unauthenticated, Some("STATEHOUSE_CACHE_URL")));
    let refused = log_in(&services).await.unwrap_err();
    assert_eq!((refused.kind(), refused.setting()), (ErrorKind::Unauthenticated, Some("STATEHOUSE_SESSIONS_URL")));
    assert!(!services.health().await.is_up());

    redis.command(&["CONFIG", "SET", "requirepass", "another-one"]).await.unwrap();
    use_cache(&services).await.unwrap();
    log_in(&services).await.unwrap();
    crate::is_up(&services).await;
}

/// What is said of a store before it is open still holds when it is.
#[tokio::test]
async fn capabilities_are_only_added_by_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (redis, s3) = tokio::join!(RedisServer::shared(), S3Server::shared());
    let remote = Config::in_memory().with_cache(redis.url()).with_sessions(redis.url()).with_files(crate::s3_url(
        s3,
        s3.secret_key(),
        s3.bucket(),
    ));
    for (config, shared) in [(Config::embedded(folder.path()), false), (remote, true)] {
        let services = Services::open(config).await.unwrap();
        let all = || {
            let cache = numbers(&services).capabilities();
            [cache, services.sessions().capabilities(), services.file_store().capabilities()]
        };
        let before = all();
        services.connect().await.unwrap();
        for (before, after) in before.into_iter().zip(all()) {
            assert_eq!(before.has(statehouse::core::capability::SHARED), shared);
            assert!(before.iter().all(|capability| after.has(capability)), "{before:?}, then {after:?}");
        }
    }
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_up_and_nothing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let services = Services::open(Config::embedded(folder.path())).await.unwrap();
    let scans = services.files("scans").unwrap();
    crate::is_up(&services).await;
    services.shutdown().await.unwrap();
    let health = services.health().await;
    let names: Vec<_> = health.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["cache", "sessions", "files", "search", "coordination", "signals"]);
    assert!(health.iter().all(|(_, health)| !health.is_up() && health.error.is_some()));
    let json = serde_json::to_value(&health).unwrap();
    assert_eq!((&json["files"]["status"], &json["search"]["status"]), (&"down".into(), &"down".into()));

    assert_eq!(log_in(&services).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let index = services.search("concepts");
    assert_eq!(crate::services::open(index).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!folder.path().join("sessions").exists() && !folder.path().join("search").exists());
    // What is under way may finish.
    scans.put("a", "b").await.unwrap();
}

#[tokio::test]
async fn what_is_brought_is_used_and_its_url_is_not_looked_at() {
    let nowhere = Config::in_memory().with_cache("no url").with_sessions("no url").with_files("no url");
    let store = Arc::new(MemoryFileStore::new());
    let namespace = Namespace::new("app").unwrap();
    let services = Services::builder(nowhere.with_search("no url"))
        .with_caches(Caches::memory(MemoryConfig::default()))
        .with_sessions(Arc::new(MemorySessionStore::new()))
        .with_files(Arc::clone(&store) as _)
        .with_search(Indexes::tantivy(TantivyConfig::memory(), &namespace))
        .open()
        .await
        .unwrap();
    use_cache(&services).await.unwrap();
    log_in(&services).await.unwrap();
    services.files("scans").unwrap().put("a", "b").await.unwrap();
    assert!(Files::new(store, namespace.child("scans").unwrap()).exists("a").await.unwrap());
    crate::services::open(services.search("concepts")).await.unwrap();
    crate::is_up(&services).await;
}

#[tokio::test]
async fn a_brought_pool_serves_cache_and_sessions() {
    let redis = RedisServer::start().await;
    let config = deadpool_redis::Config::from_url(redis.url());
    let pool = config.create_pool(Some(deadpool_redis::Runtime::Tokio1)).unwrap();
    let client = RedisClient::open(RedisConfig::pool(pool).with_connections(1)).await.unwrap();
    let namespace = Namespace::new("app").unwrap();
    let sessions = RedisSessionStore::connect(client.clone(), &namespace).await.unwrap();
    let services = Services::builder(Config::in_memory())
        .with_caches(Caches::redis(client, &namespace))
        .with_sessions(Arc::new(sessions))
        .open()
        .await
        .unwrap();
    use_cache(&services).await.unwrap();
    log_in(&services).await.unwrap();
    settles(&redis, 1, "of the pool").await;
    let keys = redis.command(&["DBSIZE"]).await.unwrap();
    assert!(keys.integer().is_some_and(|keys| keys >= 2), "{keys:?}");
}
