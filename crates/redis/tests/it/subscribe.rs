//! What is published is heard, and where it may not have been, that is said.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, News, RedisClient, Subscription};
use statehouse_testkit::{FaultProxy, RedisCluster, RedisSentinel, RedisServer};
use tokio::time::{Instant, timeout};

use crate::{open, until};

const LIMIT: Duration = Duration::from_secs(60);

async fn publish(client: &RedisClient, text: &str) {
    let publish = cmd("PUBLISH").arg("news").arg(text).clone();
    until(LIMIT, async || client.query::<u64>(&publish, Idempotence::Idempotent).await.is_ok()).await;
}

async fn next(subscription: &mut Subscription) -> News {
    timeout(LIMIT, subscription.next()).await.expect("no news").unwrap()
}

fn message(text: &str) -> News {
    News::Message { channel: b"news".to_vec(), payload: text.into() }
}

/// After the next `Resync` everything that is published is heard.
async fn assert_resyncs(client: &RedisClient, subscription: &mut Subscription, text: &str) {
    while next(subscription).await != News::Resync {}
    publish(client, text).await;
    loop {
        match next(subscription).await {
            // Of what had been on its way too much had come.
            News::Resync => publish(client, text).await,
            heard if heard == message(text) => break,
            _of_before => {}
        }
    }
    assert!(subscription.is_live());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_heard_in_order_after_the_first_resync() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let mut subscription = client.subscribe(["news", "other"]).unwrap();
    assert_eq!(next(&mut subscription).await, News::Resync);
    for n in 0..100 {
        publish(&client, &n.to_string()).await;
    }
    for n in 0..100 {
        assert_eq!(next(&mut subscription).await, message(&n.to_string()));
    }
    drop(client);
    assert_eq!(timeout(LIMIT, subscription.next()).await.expect("the client is gone"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_subscription_asks_once_a_second() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    let mut subscription = client.subscribe(["news"]).unwrap();
    assert_eq!(next(&mut subscription).await, News::Resync);
    // Nothing else is asked, so that no answer that is late is asked for.
    let pings = || proxy.counts().command("PING");
    let (begun, before) = (Instant::now(), pings());
    until(LIMIT, async || pings() > before + 2).await;
    let (asked, seconds) = (pings() - before, begun.elapsed().as_secs());
    assert!(asked <= seconds + 1, "{asked} pings in {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_slow_is_told_that_something_was_missed() {
    let server = RedisServer::start().await;
    let client = open(&format!("{}?timeout=20s&deadline=40s", server.url())).await.unwrap();
    let mut subscription = client.subscribe(["news"]).unwrap();
    assert_eq!(next(&mut subscription).await, News::Resync);
    let many = vec![cmd("PUBLISH").arg("news").arg("x").clone(); 6000];
    for answer in client.query_many::<u64>(&many, Idempotence::Idempotent).await {
        answer.unwrap();
    }
    until(LIMIT, async || !subscription.is_live()).await;
    assert_resyncs(&client, &mut subscription, "after").await;
    let large = vec![cmd("PUBLISH").arg("news").arg(vec![b'x'; 1 << 20]).clone(); 20];
    for answer in client.query_many::<u64>(&large, Idempotence::Idempotent).await {
        answer.unwrap();
    }
    until(LIMIT, async || !subscription.is_live()).await;
    assert_resyncs(&client, &mut subscription, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_hangs_or_cannot_be_reached_is_a_resync() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    let mut subscription = client.subscribe(["news"]).unwrap();
    assert_resyncs(&client, &mut subscription, "first").await;

    server.kill();
    until(LIMIT, async || !subscription.is_live()).await;
    server.restart().await;
    assert_resyncs(&client, &mut subscription, "restarted").await;

    server.pause();
    until(LIMIT, async || !subscription.is_live()).await;
    server.resume();
    assert_resyncs(&client, &mut subscription, "resumed").await;

    proxy.black_hole();
    until(LIMIT, async || !subscription.is_live()).await;
    proxy.heal();
    assert_resyncs(&client, &mut subscription, "healed").await;

    proxy.reset_connections();
    assert_resyncs(&client, &mut subscription, "reset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_a_resync() {
    let sentinel = RedisSentinel::start().await;
    let client = open(&sentinel.url()).await.unwrap();
    let mut subscription = client.subscribe(["news"]).unwrap();
    assert_resyncs(&client, &mut subscription, "first").await;
    sentinel.primary().await.unwrap().unwrap().kill();
    assert_resyncs(&client, &mut subscription, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_every_node_passes_on_and_a_lost_one_is_a_resync() {
    let cluster = RedisCluster::start().await;
    let client = open(&cluster.url()).await.unwrap();
    // One at each of the three masters, since they are taken in turn.
    let mut all = [(); 3].map(|()| client.subscribe(["news"]).unwrap());
    for subscription in &mut all {
        assert_eq!(next(subscription).await, News::Resync);
    }
    publish(&client, "first").await;
    for subscription in &mut all {
        assert_eq!(next(subscription).await, message("first"));
    }
    cluster.primary_of("k").await.unwrap().unwrap().kill();
    let lost = async || all.iter().any(|subscription| !subscription.is_live());
    until(LIMIT, lost).await;
    for subscription in all.iter_mut().filter(|subscription| !subscription.is_live()) {
        while next(subscription).await != News::Resync {}
    }
    // Once the cluster has a master for each slot again, everybody hears again.
    until(LIMIT, async || client.query::<()>(cmd("SET").arg("k").arg("v"), Idempotence::Idempotent).await.is_ok())
        .await;
    publish(&client, "after").await;
    for subscription in &mut all {
        while next(subscription).await != message("after") {}
    }
}

#[test]
fn outside_of_a_runtime_nobody_can_listen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async { open(&RedisServer::shared().await.url()).await.unwrap() });
    assert_eq!(client.subscribe(["news"]).unwrap_err().kind(), ErrorKind::Unsupported);
    let _inside = runtime.enter();
    client.subscribe(["news"]).unwrap();
}
