//! What operators are told: logs and metrics.

use std::time::Duration;

use statehouse_core::conformance::{Recorder, Warnings};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{FaultProxy, RedisServer};

use crate::{open, until};

async fn set(client: &RedisClient) -> bool {
    client.query::<()>(cmd("SET").arg("somebody's key").arg("somebody's value"), Idempotence::Idempotent).await.is_ok()
}

/// Lets the server be away until so many requests have failed.
async fn outage(proxy: &FaultProxy, client: &RedisClient, requests: usize) {
    proxy.cut();
    let mut failed = 0;
    until(Duration::from_secs(30), async || {
        for _ in 0..20 {
            failed += usize::from(!set(client).await);
        }
        failed >= requests
    })
    .await;
    proxy.heal();
    until(Duration::from_secs(30), async || set(client).await).await;
}

#[tokio::test]
async fn an_outage_is_a_line_when_it_begins_and_one_when_it_ends_with_what_was_refused() {
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    assert!(set(&client).await);
    outage(&proxy, &client, 400).await;
    // The request that is answered may be so before the line is written.
    let is_told = async || log.lines().iter().any(|line| line.contains("answers again"));
    until(Duration::from_secs(30), is_told).await;
    let lines = log.lines();
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    assert_eq!(of("Redis is away").len(), 1, "{lines:#?}");
    let back = of("Redis answers again");
    assert_eq!(back.len(), 1, "{lines:#?}");
    let refused: u64 = back[0].split("refused=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(refused > 0, "{back:?}");
    assert!(lines.len() <= 4, "{lines:#?}");
    assert!(!lines.concat().contains("somebody"), "{lines:#?}");
}

#[tokio::test]
async fn retries_changes_of_the_breaker_and_bytes_are_counted() {
    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    assert!(set(&client).await);
    let before = seen.counts();
    outage(&proxy, &client, 100).await;
    let counts = seen.counts();
    let place = proxy.address();
    let count = |name: String| counts.get(&name).copied().unwrap_or_default();
    for state in ["open", "closed"] {
        let name = format!("statehouse.redis.breaker.transitions server.address={place} state={state}");
        assert_eq!(count(name), 1, "{counts:#?}");
    }
    for direction in ["receive", "transmit"] {
        let name = format!("statehouse.redis.io server.address={place} network.io.direction={direction}");
        assert!(before[&name] > 0 && counts[&name] > before[&name], "{counts:#?}");
    }
    let retries = counts.iter().filter(|(name, _)| name.starts_with("statehouse.redis.retries reason="));
    assert!(retries.map(|(_, count)| count).sum::<u64>() > 0, "{counts:#?}");
    assert!(counts.keys().all(|name| !name.contains("somebody")), "{counts:#?}");
}
