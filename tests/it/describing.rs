//! What an operator is told of the services, and what is refused where several replicas are meant.

use std::time::Duration;

use statehouse::core::conformance::Warnings;
use statehouse::session::MemorySessionStore;
use statehouse::{Config, ErrorKind, Service, ServiceConfig, ServiceState, Services};
use statehouse_testkit::RedisServer;

fn use_cache(services: &Services) {
    services.cache::<u32>("numbers").time_to_live(Duration::from_secs(60)).open().unwrap();
}

#[tokio::test]
async fn each_service_is_described_in_a_line_and_no_secret_is_told() {
    let sessions = ServiceConfig::new("redis://ada:hunter2@h:6380/2?timeout=1s");
    let config = Config::embedded("/srv/clinic").with_namespace("clinic").with_sessions(sessions);
    let services = Services::open(config).await.unwrap();
    use_cache(&services);
    let described = services.describe();
    assert_eq!(
        described.to_string(),
        "cache: memory, not shared, not durable; each replica has its own: set STATEHOUSE_CACHE_URL to a URL that begins \
         with redis:\n\
         sessions: redis redis://h:6380/2, shared, durable, not used\n\
         files: local disk /srv/clinic/files, not shared, durable, not used; each replica has its own: set \
         STATEHOUSE_FILES_URL to a URL that begins with s3:\n\
         search: tantivy /srv/clinic/search, not shared, durable, not used; each replica has its own: set \
         STATEHOUSE_SEARCH_URL to a URL that begins with opensearch+https:\n\
         coordination: local disk /srv/clinic/files, not shared, durable, not used; each replica has its own: set \
         STATEHOUSE_COORDINATION_URL to a URL that begins with redis:\n\
         signals: redis redis://h:6380/2, shared, not durable, not used"
    );
    let json = serde_json::to_value(&described).unwrap();
    assert_eq!((&json["namespace"], &json["services"][1]["service"]), (&"clinic".into(), &"sessions".into()));
    assert_eq!((&json["services"][0]["state"], &json["services"][0]["shared"]), (&"open".into(), &false.into()));
    assert!(!json.to_string().contains("hunter2") && !format!("{described:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_each_replica_would_have_for_itself_is_refused_by_its_settings() {
    let config = || Config::in_memory().with_cache("redis://h").with_search("opensearch+http://h");
    let services = Services::open(config()).await.unwrap();
    let refused = services.require_shared().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    let all = "STATEHOUSE_SESSIONS_URL and STATEHOUSE_FILES_URL and STATEHOUSE_COORDINATION_URL";
    assert_eq!(refused.setting(), Some(all), "nothing is used yet, so all are meant");
    assert!(refused.to_string().contains("sessions: memory, not shared"), "{refused}");

    // Nobody is asked, and nothing that is not used matters.
    use_cache(&services);
    services.require_shared().unwrap();
    let _scans = services.files("scans").unwrap();
    assert_eq!(services.require_shared().unwrap_err().setting(), Some("STATEHOUSE_FILES_URL"));

    let brought = Services::builder(config()).with_sessions(std::sync::Arc::new(MemorySessionStore::new()));
    let brought = brought.open().await.unwrap();
    let _sessions = brought.sessions();
    assert_eq!(brought.require_shared().unwrap_err().setting(), Some("ServicesBuilder::with_sessions"));
}

#[tokio::test]
async fn the_namespace_of_who_sets_none_is_told_where_stores_are_shared() {
    let told = async |config: Config| {
        let log = Warnings::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        Services::open(config).await.unwrap();
        log.lines()
    };
    assert_eq!(told(Config::in_memory()).await, [""; 0], "nobody else is there");
    let shared = || Config::in_memory().with_cache("redis://h").with_sessions("redis://h");
    assert_eq!(told(shared().with_namespace("clinic")).await, [""; 0]);
    let lines = told(shared()).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in ["services.default_namespace", "namespace=\"app\"", "cache, sessions", "set STATEHOUSE_NAMESPACE"] {
        assert!(lines[0].contains(part), "{part} is not in {lines:?}");
    }
}

/// A server that evicts is found when it is open; one for both kinds is known from the settings.
#[tokio::test]
async fn one_redis_for_cache_and_sessions_and_one_that_evicts_are_named() {
    let redis =
        RedisServer::builder().arg("--maxmemory", "100mb").arg("--maxmemory-policy", "allkeys-lru").start().await;
    let config = Config::in_memory().with_cache(redis.url()).with_sessions(redis.url());
    let services = Services::open(config).await.unwrap();
    let missing = |service: Service| {
        let all = services.describe().services;
        let described = all.into_iter().find(|described| described.service == service).unwrap();
        (described.state, described.missing.join("; "))
    };
    use_cache(&services);
    assert_eq!(missing(Service::Cache), (ServiceState::NotOpen, String::new()), "it is alone there");
    let _sessions = services.sessions();
    let (state, words) = missing(Service::Sessions);
    assert!(state == ServiceState::NotOpen && words.contains("on one Redis with cache"), "{words}");
    services.connect().await.unwrap();
    let (state, words) = missing(Service::Sessions);
    assert!(state == ServiceState::Open && words.contains("noeviction"), "{words}");
    assert!(missing(Service::Cache).1.contains("on one Redis with sessions"));
    services.shutdown().await.unwrap();
    assert_eq!(missing(Service::Cache).0, ServiceState::Closed);
}
