use std::time::{Duration, Instant};

use statehouse_testkit::{RedisCluster, RedisSentinel, RedisServer};
use tokio::time::{sleep, timeout};

/// Waits for another primary than the one at `old`.
async fn fail_over<'a>(old: &str, primary: impl AsyncFn() -> Option<&'a RedisServer>) -> &'a RedisServer {
    let start = Instant::now();
    loop {
        match primary().await {
            Some(server) if server.address() != old => return server,
            _ => assert!(start.elapsed() < Duration::from_secs(20), "nobody took over from {old}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn set(server: &RedisServer, key: &str) {
    let start = Instant::now();
    while server.command(&["SET", key, "v"]).await.unwrap().text() != Some("OK") {
        assert!(start.elapsed() < Duration::from_secs(10), "{} takes no writes", server.address());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn sentinels_replace_a_primary_that_was_killed() {
    let group = RedisSentinel::start_with(RedisServer::builder().password("p@ss:word")).await;
    assert!(group.url().starts_with("redis+sentinel://:p%40ss%3Aword@127.0.0.1:"), "{}", group.url());
    assert!(group.url().ends_with(&format!("/{}", group.service())));
    let first = group.primary().await.unwrap().unwrap();
    assert_eq!(first.address(), group.servers()[0].address());
    set(first, "k").await;
    let acknowledged = first.command(&["WAIT", "1", "5000"]).await.unwrap().integer();
    assert_eq!(acknowledged, Some(1));

    first.kill();
    let second = fail_over(first.address(), async || group.primary().await.unwrap()).await;
    assert_eq!(second.command(&["GET", "k"]).await.unwrap().text(), Some("v"));
    set(second, "k2").await;

    group.restart().await;
    let sentinel = &group.sentinels()[0];
    assert_eq!(sentinel.command(&["PING"]).await.unwrap().text(), Some("PONG"));
    group.pause();
    assert!(timeout(Duration::from_millis(300), sentinel.command(&["PING"])).await.is_err());
    group.resume();
    assert_eq!(sentinel.command(&["PING"]).await.unwrap().text(), Some("PONG"));
    group.kill();
    assert!(sentinel.command(&["PING"]).await.is_err() && !second.is_running());
}

#[tokio::test]
async fn a_cluster_replaces_a_primary_that_was_killed() {
    let cluster = RedisCluster::start_with(RedisServer::builder().password("secret")).await;
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 6);
    let first = cluster.primary_of("k").await.unwrap().unwrap();
    set(first, "k").await;
    assert_eq!(first.command(&["WAIT", "1", "5000"]).await.unwrap().integer(), Some(1));

    first.kill();
    let second = fail_over(first.address(), async || cluster.primary_of("k").await.unwrap()).await;
    assert_eq!(second.command(&["GET", "k"]).await.unwrap().text(), Some("v"));
    cluster.pause();
    assert!(timeout(Duration::from_millis(300), second.command(&["GET", "k"])).await.is_err());
    cluster.resume();
    first.restart().await;
    assert!(first.is_running());
    set(second, "k").await;
}

#[tokio::test]
async fn the_shared_groups_are_whole() {
    let (group, cluster) = tokio::join!(RedisSentinel::shared(), RedisCluster::shared());
    let master = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", group.service()];
    assert!(group.sentinels()[0].command(&master).await.is_ok());
    let primary = cluster.primary_of("shared").await.unwrap().unwrap();
    assert_eq!(primary.command(&["PING"]).await.unwrap().text(), Some("PONG"));
}
