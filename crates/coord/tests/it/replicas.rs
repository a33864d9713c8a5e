//! Puts that wait for a replica.

use std::time::{Duration, Instant};

use statehouse_coord::{CoordKey, CoordStoreExt as _};
use statehouse_core::ErrorKind;
use statehouse_testkit::RedisSentinel;
use tokio::time::sleep;

use crate::{open_redis, random_namespace};

async fn until(mut check: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !check().await {
        assert!(begun.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_outlives_the_primary_and_what_no_replica_has_is_of_unknown_outcome() {
    let group = RedisSentinel::start().await;
    let store = open_redis(&format!("{}?wait_replicas=1", group.url()), &random_namespace()).await;
    let key = CoordKey::new("k").unwrap();
    until(async || store.put(&key, "first").await.is_ok()).await;
    let primary = group.primary().await.unwrap().unwrap();
    let replica = group.servers().iter().find(|server| server.address() != primary.address()).unwrap();
    replica.pause();
    let error = store.put(&key, "second").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!(error.message().contains("only 0 of 1 replicas"), "{error:?}");
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "second", "it was made");
    replica.resume();
    until(async || store.put(&key, "third").await.is_ok()).await;
    primary.kill();
    until(async || matches!(group.primary().await, Ok(Some(now)) if now.address() == replica.address())).await;
    until(async || store.get(&key).await.is_ok()).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "third");
}
