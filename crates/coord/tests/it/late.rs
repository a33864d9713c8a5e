//! What comes too late is not done: nothing that a client was told had failed is executed over what others did after.

use std::time::Duration;

use statehouse_coord::{Condition, CoordKey, CoordStore as _, CoordStoreExt as _, PutOptions};
use statehouse_core::ErrorKind;
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{open_redis, random_namespace};

/// Each is told that it failed, then another client writes or removes, and then the network heals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_neither_overwrites_nor_resurrects_nor_removes_when_the_network_heals() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open_redis(&server.url(), &namespace).await;
    let url = format!("{}?connections=1&timeout=500ms&deadline=600ms", proxy.url(&server.url()));
    let store = open_redis(&url, &namespace).await;
    let keys = ["put", "removed", "absent", "remove", "left"].map(|name| CoordKey::new(name).unwrap());
    let mut versions = Vec::new();
    for key in &keys {
        versions.push(other.put(key, "before").await.unwrap().stored().unwrap());
    }
    let _ = other.remove(&keys[2], versions[2]).await.unwrap();
    proxy.black_hole_way(Direction::ToServer);
    let late = |condition| PutOptions::default().with_condition(condition);
    let tried = tokio::join!(
        store.put_with(&keys[0], "late".into(), late(Condition::Match(versions[0]))),
        store.put_with(&keys[1], "late".into(), late(Condition::Always)),
        store.put_with(&keys[2], "late".into(), late(Condition::Absent)),
        store.remove(&keys[3], versions[3]),
        store.put_with(&keys[4], "late".into(), late(Condition::Match(versions[4]))),
    );
    let kinds = [tried.0.err(), tried.1.err(), tried.2.err(), tried.3.err(), tried.4.err()];
    for error in kinds {
        let kind = error.unwrap().kind();
        let known = [ErrorKind::OutcomeUnknown, ErrorKind::Timeout, ErrorKind::Unavailable];
        assert!(known.contains(&kind), "{kind:?}");
    }
    let written = other.put(&keys[0], "other").await.unwrap().stored();
    let _ = other.remove(&keys[1], versions[1]).await.unwrap();
    proxy.heal();
    // The same connection, or the next: what was held back is delivered before this is answered.
    let _ = store.get(&keys[0]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let expected = [written, None, None, Some(versions[3]), Some(versions[4])];
    for (key, expected) in keys.iter().zip(expected) {
        assert_eq!(other.get(key).await.unwrap().map(|record| record.version), expected, "{key}");
    }
}
