//! Health of many indexes: told within a second, however many there are and whatever is being opened.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_search::Indexes;
use statehouse_testkit::{Direction, FaultProxy, timed_fairly};

use super::HEALTH;
use crate::opensearch::{Scratch, config, schema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_indexes_and_one_that_is_being_opened_keep_nobody_waiting_for_health() {
    let scratch = Scratch::new().await;
    let proxy = FaultProxy::start(scratch.node.address());
    let indexes = Indexes::opensearch(config(&proxy.address(), ""), &scratch.name).unwrap();
    let names = ["one", "two", "three", "four", "five", "six", "seven"];
    for name in names {
        indexes.index(name, schema()).await.unwrap();
    }
    let told = async || {
        let (health, took) = timed_fairly(indexes.health()).await;
        assert!(took < HEALTH, "{took:?}: {health:?}");
        health
    };
    // One after the other they would take more than four seconds.
    proxy.delay(Direction::ToClient, Duration::from_millis(600));
    told().await;
    proxy.black_hole();
    tokio::select! {
        biased;
        opened = indexes.index("late", schema()) => panic!("{opened:?}"),
        health = told() => assert_eq!(health.error.map(|error| error.kind()), Some(ErrorKind::Timeout)),
    }
    proxy.reset_connections();
    proxy.heal();
    indexes.close().await.unwrap();
    for name in names {
        scratch.request("DELETE", &format!("/{}.{name}-000001", scratch.name), "").await;
    }
}
