//! Against real servers, with the network broken where it matters.

#![expect(clippy::print_stdout, reason = "fault tests print the times they measured")]

mod away;
mod bulk;
mod cluster;
mod crowd;
mod faults;
mod fenced;
mod health;
mod late;
mod load;
mod replicas;
mod report;
mod sentinel;
mod single;
mod slow;
mod stub;
mod subscribe;
mod tls;
mod told;

use std::time::Duration;

use statehouse_core::{Namespace, Result, ServiceUrl};
use statehouse_redis::{KeySpace, RedisClient, RedisConfig};

/// The configuration that a URL with parameters gives.
fn config(url: &str) -> RedisConfig {
    let mut url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", url).unwrap();
    let config = RedisConfig::from_url(&mut url).unwrap();
    url.finish().unwrap();
    config
}

async fn open(url: &str) -> Result<RedisClient> {
    RedisClient::open(config(url)).await
}

/// Opens a client whose calls are short, however long this machine needs for its handshake.
async fn opened(url: &str) -> RedisClient {
    let begun = std::time::Instant::now();
    loop {
        match open(url).await {
            Err(error) if error.is_retryable() && begun.elapsed() < Duration::from_secs(60) => {}
            client => return client.unwrap(),
        }
    }
}

/// Keys that no other test uses.
fn keys() -> KeySpace {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    let namespace = Namespace::new(format!("test-{}-{random:x}", std::process::id())).unwrap();
    KeySpace::new(&namespace, "cache", "it").unwrap()
}

/// A limit of the contract, on a machine that is busy with other tests.
fn generously(limit: Duration) -> Duration {
    limit * 4
}

/// Waits until `check` is true, and says how long that took.
async fn until(limit: Duration, mut check: impl AsyncFnMut() -> bool) -> Duration {
    let begun = std::time::Instant::now();
    while !check().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}
