use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_redis::redis::{cmd, pipe};
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{RedisCluster, RedisSentinel, RedisServer};

use crate::load::Load;
use crate::{generously, open, until};

const YES: Idempotence = Idempotence::Idempotent;

async fn set(client: &RedisClient, value: &str) -> bool {
    client.query::<()>(cmd("SET").arg("k").arg(value), YES).await.is_ok()
}

/// Waits until most sentinels name another primary than `old`, and says how long that took.
async fn replaced(group: &RedisSentinel, old: &RedisServer) -> Duration {
    let other = async || matches!(group.primary().await, Ok(Some(now)) if now.address() != old.address());
    until(Duration::from_secs(30), other).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_of_the_sentinels_is_used() {
    let group = RedisSentinel::start_with(RedisServer::builder().password("pw")).await;
    let client = open(&format!("{}/2", group.url())).await.unwrap();
    assert!(set(&client, "v").await);
    let health = client.health().await;
    let primary = group.primary().await.unwrap().unwrap();
    assert!(health.is_up() && health.backend.ends_with(&format!("now at {}", primary.address())), "{health:?}");

    let error = open(&group.url().replace("/mymaster", "/other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.to_string().contains("not known by that name"), "{error}");
    let error = open(&group.url().replace(":pw@", ":wrong@")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");

    for sentinel in group.sentinels() {
        sentinel.kill();
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(set(&client, "w").await, "the sentinels are needed for a failover only");
    let error = open(&group.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_opened_while_some_sentinels_are_away() {
    let group = RedisSentinel::start().await;
    group.sentinels()[0].kill();
    let client = open(&group.url()).await.unwrap();
    assert!(set(&client, "one is gone").await);
    group.sentinels()[1].pause();
    let client = open(&group.url()).await.unwrap();
    assert!(set(&client, "one is gone and one hangs").await);
    group.sentinels()[1].resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced_without_a_restart() {
    let group = RedisSentinel::start().await;
    let client = open(&group.url()).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let old = group.primary().await.unwrap().unwrap();
    let begun = Instant::now();
    old.kill();
    let election = replaced(&group, old).await;
    let after = until(Duration::from_secs(30), async || set(&client, "v").await).await;
    let tally = load.end("sentinel, master killed").await;
    println!(
        "sentinel, master killed: elected after {election:?}, written again {after:?} after that, {:?} in all",
        begun.elapsed()
    );
    assert!(after < generously(Duration::from_secs(3)));
    assert!(tally.slowest < generously(Duration::from_millis(3500)), "the deadline is 3 s: {:?}", tally.slowest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_replaced_and_not_returned_to() {
    let group = RedisSentinel::start().await;
    let client = open(&group.url()).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let old = group.primary().await.unwrap().unwrap();
    old.pause();
    let election = replaced(&group, old).await;
    let after = until(Duration::from_secs(30), async || set(&client, "new").await).await;
    println!("sentinel, master paused: elected after {election:?}, written again {after:?} after that");
    assert!(after < generously(Duration::from_secs(3)));
    // It comes back and believes for a moment that it is the master still.
    old.resume();
    for round in 0..50 {
        let value = format!("after {round}");
        assert!(set(&client, &value).await);
        let new = group.primary().await.unwrap().unwrap();
        assert_eq!(new.command(&["GET", "k"]).await.unwrap().text(), Some(value.as_str()));
    }
    load.end("sentinel, master paused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed() {
    let group = RedisSentinel::start().await;
    let client = open(&format!("{}?deadline=20s", group.url())).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let old = group.primary().await.unwrap().unwrap();
    // One to which no replica is good enough at the moment refuses.
    let order = async || {
        let answer = group.sentinels()[0].command(&["SENTINEL", "FAILOVER", group.service()]).await.unwrap();
        answer.text() == Some("OK")
    };
    until(Duration::from_secs(30), order).await;
    let election = replaced(&group, old).await;
    // The old master goes on taking writes, and will lose them, until a sentinel tells it that it is a replica.
    let new = group.primary().await.unwrap().unwrap();
    let arrives = async || {
        assert!(set(&client, "v").await);
        new.command(&["GET", "k"]).await.unwrap().text() == Some("v")
    };
    let after = until(Duration::from_secs(30), arrives).await;
    let tally = load.end("sentinel, planned failover").await;
    println!("sentinel, planned failover: done after {election:?}, the new master written {after:?} after that");
    assert!(after < generously(Duration::from_millis(900)), "{after:?}");
    assert_eq!(tally.failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sentinel_that_is_silent_or_gone_does_not_matter() {
    let group = RedisSentinel::start().await;
    group.sentinels()[0].pause();
    let begun = Instant::now();
    let client = open(&group.url()).await.unwrap();
    println!("sentinel, one silent: opened after {:?}", begun.elapsed());
    assert!(begun.elapsed() < generously(Duration::from_secs(1)));
    assert!(set(&client, "v").await);
    group.sentinels()[0].resume();
}

/// By and by every sentinel that was configured may be replaced by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed_when_all_sentinels_that_were_configured_are_gone() {
    let group = RedisSentinel::start().await;
    let only = group.sentinels()[0].address();
    let client = open(&format!("redis+sentinel://{only}/{}", group.service())).await.unwrap();
    assert!(set(&client, "v").await);
    group.sentinels()[0].kill();
    group.primary().await.unwrap().unwrap().kill();
    let election = until(Duration::from_secs(60), async || set(&client, "w").await).await;
    println!("sentinel, the configured one and the master gone: written after {election:?}");
}

/// Whoever starts all anew, one after the other, has other addresses afterwards; the client is told of none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_servers_and_sentinels_have_all_been_replaced_is_followed() {
    let mut group = RedisSentinel::start().await;
    let client = open(&group.url()).await.unwrap();
    assert!(set(&client, "v").await);
    let retired = group.renew().await;
    let new = group.primary().await.unwrap().unwrap().address().to_owned();
    let follows = async || set(&client, "w").await && client.health().await.backend.ends_with(&new);
    until(Duration::from_secs(30), follows).await;
    drop(retired);
    group.forget_others().await;
    group.primary().await.unwrap().unwrap().kill();
    let election = until(Duration::from_secs(60), async || set(&client, "x").await).await;
    println!("sentinel, all replaced and the new master gone: written after {election:?}");
}

/// A sentinel that was started anew, and not told yet, knows no master; the others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed_when_the_configured_sentinel_knows_no_master_any_more() {
    let group = RedisSentinel::start().await;
    let only = &group.sentinels()[0];
    let client = open(&format!("redis+sentinel://{}/{}", only.address(), group.service())).await.unwrap();
    assert!(set(&client, "v").await);
    only.command(&["SENTINEL", "REMOVE", group.service()]).await.unwrap();
    let old = group.primary().await.unwrap().unwrap().address().to_owned();
    group.servers().iter().find(|server| server.address() == old).unwrap().kill();
    let election = until(Duration::from_secs(60), async || set(&client, "w").await).await;
    println!("sentinel, the configured one knows no master: written after {election:?}");
    let error = open(&format!("redis+sentinel://{}/{}", only.address(), group.service())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_server_in_the_place_of_a_sentinel_is_told() {
    let server = RedisServer::start().await;
    let error = open(&format!("redis+sentinel://{}/main", server.address())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.message().contains("is no sentinel"), "{error:?}");
}

/// Each would be taken for what it is not: a node answers for its own keys, a sentinel for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_kind_is_refused_with_the_scheme_that_it_needs() {
    let (group, cluster, single) =
        (RedisSentinel::start().await, RedisCluster::start().await, RedisServer::start().await);
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = other.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = other.accept().await {
            let _ = tokio::io::AsyncReadExt::read(&mut client, &mut [0; 1024]).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (url, told) in [
        (format!("redis://{}", group.sentinels()[0].address()), "redis+sentinel"),
        (format!("redis://{}", cluster.nodes()[0].address()), "redis+cluster"),
        (format!("redis+cluster://{}", single.address()), "its scheme is redis"),
        (format!("redis://{elsewhere}"), "something else listens there"),
    ] {
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error:?}");
        assert!(error.message().contains(told), "{url}: {error:?}");
    }
}

/// A write and `WAIT` in one round trip: how many replicas have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_replicas_in_the_same_round_trip() {
    let sentinel = RedisSentinel::start().await;
    let client = open(&sentinel.url()).await.unwrap();
    let mut exclusive = client.exclusive(Some(b"k")).await.unwrap();
    let mut write = async |replicas: u32, limit: u32| {
        let both = pipe().cmd("SET").arg("k").arg("v").ignore().cmd("WAIT").arg(replicas).arg(limit).clone();
        let (have,): (u32,) = exclusive.pipeline(&both, Duration::from_secs(10)).await.unwrap();
        have
    };
    assert!(write(1, 5_000).await >= 1);
    let primary = sentinel.primary().await.unwrap().unwrap().address().to_owned();
    let replicas = || sentinel.servers().iter().filter(|server| server.address() != primary);
    replicas().for_each(|server| server.pause());
    assert_eq!(write(1, 300).await, 0, "nobody has it");
    replicas().for_each(|server| server.resume());
    assert!(write(1, 5_000).await >= 1);
}

/// A client may be used from several runtimes, and what it has begun in one ends with that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed_though_the_runtime_that_opened_the_client_has_ended() {
    let group = RedisSentinel::start().await;
    let url = group.url();
    let opened = std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        other.block_on(open(&url)).unwrap()
    });
    let client = opened.join().unwrap();
    until(Duration::from_secs(30), async || set(&client, "before").await).await;
    let old = group.primary().await.unwrap().unwrap();
    old.kill();
    replaced(&group, old).await;
    until(Duration::from_secs(30), async || set(&client, "after").await).await;
}
