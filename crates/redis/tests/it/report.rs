//! What servers say of themselves.

use std::time::Duration;

use statehouse_redis::{EvictionPolicy, Persistence, ServerReport};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::open;

async fn report(url: &str) -> Vec<ServerReport> {
    open(url).await.unwrap().report().await.unwrap()
}

#[tokio::test]
async fn a_server_says_what_it_is_what_it_evicts_what_it_keeps_and_what_time_it_is() {
    let server = RedisServer::builder().max_memory(64 << 20, "allkeys-lru").arg("--appendonly", "yes").start().await;
    let [found] = &report(&server.url()).await[..] else { panic!("one server") };
    assert_eq!(found.address.as_deref(), Some(server.address()));
    let version = found.version.as_deref().unwrap();
    assert!(version.starts_with("Redis ") || version.starts_with("Valkey "), "{version}");
    assert_eq!((found.eviction, found.persistence), (EvictionPolicy::Any, Persistence::AppendOnlyFile));
    let clock = found.clock.unwrap();
    assert!(!clock.exceeds(Duration::from_millis(100)), "it is on this machine: {clock:?}");
}

#[tokio::test]
async fn what_a_user_may_not_ask_is_unknown_and_no_error() {
    let rules = "~* &* +@all -info -config -time";
    let server = RedisServer::builder().password("admin").acl_user("app", "secret", rules).start().await;
    let url = format!("redis://app:secret@{}", server.address());
    let [found] = &report(&url).await[..] else { panic!("one server") };
    assert_eq!((&found.version, found.clock), (&None, None));
    assert_eq!((found.eviction, found.persistence), (EvictionPolicy::Unknown, Persistence::Unknown));
}

#[tokio::test]
async fn each_master_of_a_cluster_says_so_for_itself() {
    let cluster = RedisCluster::shared().await;
    let found = report(&cluster.url()).await;
    let mut addresses: Vec<_> = found.iter().filter_map(|server| server.address.clone()).collect();
    addresses.sort();
    addresses.dedup();
    assert!(addresses.len() > 1 && addresses.len() == found.len(), "{found:?}");
}
