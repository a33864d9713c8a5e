use std::time::Duration;

use statehouse_testkit::{RedisServer, Reply};
use tokio::time::timeout;

use crate::leftovers::processes_with;

#[tokio::test]
async fn it_is_paused_killed_and_started_again_at_the_same_url() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "always").start().await;
    let url = redis.url();
    assert_eq!(redis.command(&["SET", "k", "v"]).await.unwrap().text(), Some("OK"));

    redis.pause();
    assert!(timeout(Duration::from_millis(300), redis.command(&["GET", "k"])).await.is_err());
    redis.resume();
    assert_eq!(redis.command(&["GET", "k"]).await.unwrap().text(), Some("v"));

    redis.kill();
    let refused = redis.command(&["GET", "k"]).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    redis.restart().await;
    assert_eq!((redis.url(), redis.command(&["GET", "k"]).await.unwrap().text()), (url, Some("v")));
}

#[tokio::test]
async fn dropping_it_leaves_no_process_and_no_folder() {
    let redis = RedisServer::start().await;
    let reply = redis.command(&["CONFIG", "GET", "dir"]).await.unwrap();
    let Reply::Array(setting) = reply else { panic!("{reply:?}") };
    let folder = setting[1].text().unwrap().to_owned();
    assert_eq!(processes_with(&folder).len(), 2, "the server and its watchdog");
    // A paused process must not survive either.
    redis.pause();
    drop(redis);
    assert!(!std::path::Path::new(&folder).exists());
    assert_eq!(processes_with(&folder), [""; 0]);
}

#[tokio::test]
async fn credentials_and_limits_are_those_of_the_builder() {
    let redis = RedisServer::builder()
        .password("adm:in")
        .acl_user("app", "p@ss word", "~app:* +@all")
        .max_memory(8 << 20, "allkeys-lru")
        .start()
        .await;
    assert!(redis.url().starts_with("redis://app:p%40ss%20word@127.0.0.1:"), "{}", redis.url());
    let policy = redis.command(&["CONFIG", "GET", "maxmemory-policy"]).await.unwrap();
    assert!(matches!(policy, Reply::Array(pair) if pair[1].text() == Some("allkeys-lru")));

    let app = RedisServer::at(&redis.url());
    assert_eq!(app.command(&["SET", "app:k", "v"]).await.unwrap().text(), Some("OK"));
    let refused = app.command(&["SET", "other", "v"]).await.unwrap();
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with("NOPERM")), "{refused:?}");
    let nobody = RedisServer::at(&format!("redis://{}", redis.address()));
    let refused = nobody.command(&["PING"]).await.unwrap();
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with("NOAUTH")), "{refused:?}");
}

#[tokio::test]
async fn tls_is_offered_with_a_certificate_of_its_own_authority() {
    let redis = RedisServer::builder().tls().start().await;
    let address = redis.tls_url().strip_prefix("rediss://").unwrap().to_owned();
    let authority = redis.tls_authority();
    let check = move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-brief", "-verify_return_error", "-verify_hostname", "localhost"])
            .args(["-connect", &address, "-CAfile"])
            .arg(authority)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(check).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("Verification: OK"), "{text}");
}

#[tokio::test]
async fn a_failed_start_shows_the_end_of_the_log() {
    let error = RedisServer::builder().arg("--no-such-setting", "1").try_start().await.unwrap_err().to_string();
    assert!(error.starts_with("redis-server ended") && error.contains("no-such-setting"), "{error}");
}
