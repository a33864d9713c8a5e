//! Puts that wait for a replica.

use statehouse_coord::{CoordKey, CoordStoreExt as _};
use statehouse_core::ErrorKind;
use statehouse_testkit::RedisSentinel;

use crate::lock::until;
use crate::{open_redis, random_namespace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_outlives_the_primary_and_what_no_replica_has_is_of_unknown_outcome() {
    let group = RedisSentinel::start().await;
    let store = open_redis(&format!("{}?wait_replicas=1", group.url()), &random_namespace()).await;
    let key = CoordKey::new("k").unwrap();
    until("a replica", async || store.put(&key, "first").await.is_ok()).await;
    let primary = group.primary().await.unwrap().unwrap();
    let replica = group.servers().iter().find(|server| server.address() != primary.address()).unwrap();
    replica.pause();
    let error = store.put(&key, "second").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!(error.message().contains("only 0 of 1 replicas"), "{error:?}");
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "second", "it was made");
    replica.resume();
    until("a replica again", async || store.put(&key, "third").await.is_ok()).await;
    primary.kill();
    until("a successor", async || matches!(group.primary().await, Ok(Some(now)) if now.address() == replica.address()))
        .await;
    until("an answer of it", async || store.get(&key).await.is_ok()).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "third");
}
