//! Where replicas coordinate, and that they do.

use statehouse::coord::{LockError, Ran, Revision, Run};
use statehouse::core::Namespace;
use statehouse::{Config, Error, ErrorKind, Services};
use statehouse_testkit::{RedisServer, S3Server};

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
    for (services, revision) in replicas.iter().zip(1..) {
        let updated = services.coordination().state::<u32>("flags").update("limit", |_| 7).await.unwrap();
        assert_eq!(updated.revision, revision);
        let health = services.coordination().store().health().await;
        assert!(health.is_up(), "{health:?}");
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
}

#[tokio::test]
async fn what_is_embedded_coordinates_in_its_files_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    for config in [Config::in_memory(), Config::embedded(folder.path())] {
        let services = Services::open(config).await.unwrap();
        services.coordination().lock("export").await.unwrap().release().await.unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    for url in ["memory:".to_owned(), format!("file:{}", folder.path().display())] {
        let error = Services::open(shared().with_coordination(url)).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, SETTING), "{error}");
    }
    for url in ["memory:?x=1", "gopher://h"] {
        let error = Services::open(Config::in_memory().with_coordination(url)).await.unwrap_err();
        assert_eq!(error.setting(), SETTING, "{error}");
    }
}
