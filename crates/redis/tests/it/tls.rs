use std::path::PathBuf;
use std::time::Duration;

use statehouse_core::{ErrorKind, Secret};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{RedisCluster, RedisSentinel, RedisServer, RedisServerBuilder};

use crate::{config, open, until};

const YES: Idempotence = Idempotence::Idempotent;

async fn set(client: &RedisClient, value: &str) -> bool {
    client.query::<()>(cmd("SET").arg("k").arg(value), YES).await.is_ok()
}

/// A login that may touch one key only, so that no other login can be mistaken for it.
fn with_user() -> RedisServerBuilder {
    RedisServer::builder().password("admin").acl_user("app", "p@ss word", "~k +@all").tls()
}

/// That `url` with the authority works, as the user of the URL and in database 1 if `database` says so, and that without
/// it, with another one, and with a wrong password the error says what is wrong.
async fn assert_trust_and_login(url: &str, authority: PathBuf, database: &str) -> RedisClient {
    let with = |ca: &PathBuf| format!("{url}{database}?ca={}", ca.display());
    let client = open(&with(&authority)).await.unwrap();
    assert!(set(&client, "v").await);
    let me: String = client.query(cmd("ACL").arg("WHOAMI"), YES).await.unwrap();
    assert_eq!(me, "app");
    let error = client.query::<()>(cmd("SET").arg("other").arg("v"), YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");

    let other = RedisServer::builder().tls().start().await;
    for url in [url.to_owned(), with(&other.tls_authority())] {
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
        assert!(error.to_string().contains("certificate that is not trusted"), "{error}");
        assert!(error.to_string().ends_with("(setting STATEHOUSE_CACHE_URL)"), "{error}");
    }
    let wrong = config(&with(&authority)).with_credentials(Some("app"), Secret::new("hunter2"));
    let error = RedisClient::open(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    client
}

#[tokio::test]
async fn a_single_server_is_trusted_by_its_authority_and_nothing_else() {
    let server = with_user().start().await;
    let client = assert_trust_and_login(&server.tls_url(), server.tls_authority(), "/1").await;
    let mut alone = client.exclusive(None).await.unwrap();
    let value: String = alone.query(cmd("GET").arg("k"), Duration::from_secs(1)).await.unwrap();
    assert_eq!(value, "v");
    assert_eq!(server.command(&["GET", "k"]).await.unwrap().text(), None, "database 1 is not database 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_master_are_trusted_and_followed() {
    let group = RedisSentinel::start_with(with_user()).await;
    let client = assert_trust_and_login(&group.tls_url(), group.sentinels()[0].tls_authority(), "/1").await;
    let old = group.primary().await.unwrap().unwrap();
    assert_eq!(old.command(&["GET", "k"]).await.unwrap().text(), None, "database 1 is not database 0");
    old.kill();
    let after = until(Duration::from_secs(30), async || set(&client, "w").await).await;
    println!("sentinel over TLS, master killed: written again after {after:?}");
    // The client may know before most of the sentinels do.
    let elsewhere = async || matches!(group.primary().await, Ok(Some(now)) if now.address() != old.address());
    until(Duration::from_secs(30), elsewhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_of_a_cluster_are_trusted_and_followed() {
    let cluster = RedisCluster::start_with(with_user()).await;
    let client = assert_trust_and_login(&cluster.tls_url(), cluster.nodes()[0].tls_authority(), "").await;
    let old = cluster.primary_of("k").await.unwrap().unwrap();
    old.kill();
    let after = until(Duration::from_secs(30), async || set(&client, "w").await).await;
    println!("cluster over TLS, primary killed: written again after {after:?}");
    let elsewhere = async || matches!(cluster.primary_of("k").await, Ok(Some(now)) if now.address() != old.address());
    until(Duration::from_secs(30), elsewhere).await;
}

#[tokio::test]
async fn a_wrong_authority_file_is_named() {
    let pipe = std::env::temp_dir().join(format!("statehouse-test-ca-{}", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in ["/nowhere/ca.pem", "/dev/null", "/dev/zero", pipe.to_str().unwrap()] {
        let error = open(&format!("rediss://localhost?ca={path}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(path), "{error}");
    }
    std::fs::remove_file(&pipe).unwrap();
}
