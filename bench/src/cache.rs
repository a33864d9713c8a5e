use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::{AsyncCommands, Client};
use statehouse_cache::{CacheExt, Caches, MemoryConfig};
use statehouse_core::{Key, Namespace, SchemaId};
use statehouse_testkit::RedisServer;

use crate::harness::{Bar, Case, Harness};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3600);
const KEYS: usize = 10_000;
const HITS: u32 = 200_000;
const TASKS: usize = 256;
const GETS: u32 = 25_600;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    memory(harness).await?;
    redis(harness).await
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|i| format!("rates/{i:06}")).collect()
}

/// 64-byte values; the keys are visited in an order that does not favour one shard or cache line.
async fn memory(harness: &mut Harness) -> Outcome {
    let keys = keys();
    let ours = Caches::memory(MemoryConfig::default()).cache::<Vec<u8>>("rates").time_to_live(HOUR).open()?;
    let quick = quick_cache::sync::Cache::<String, Arc<Vec<u8>>>::new(KEYS * 2);
    let moka =
        moka::sync::Cache::<String, Arc<Vec<u8>>>::builder().max_capacity(KEYS as u64 * 2).time_to_live(HOUR).build();
    for key in &keys {
        let value = vec![7_u8; 64];
        let _stored = ours.set(key, value.clone()).await?;
        quick.insert(key.clone(), Arc::new(value.clone()));
        moka.insert(key.clone(), Arc::new(value));
    }
    let visit = || (0..HITS as usize).map(|i| &keys[i.wrapping_mul(7919) % KEYS]);
    let mine = async || {
        for key in visit() {
            assert!(ours.get(key).await.is_ok_and(|hit| hit.is_some()));
        }
    };
    let case = |peer, bar| Case { service: "cache", name: "memory hit, typed, 64 B", peer, bar, ops: HITS };
    harness
        .compare(case("quick_cache, no expiry", Bar::Extra(60.0)), mine, async || {
            for key in visit() {
                assert!(quick.get(key.as_str()).is_some());
            }
        })
        .await;
    let theirs = async || {
        for key in visit() {
            assert!(moka.get(key.as_str()).is_some());
        }
    };
    harness.compare(case("moka::sync, time to live", Bar::Ratio(3.0)), mine, theirs).await;
    Ok(())
}

/// 256 tasks that each read 100 entries of 64 bytes, one after the other.
async fn redis(harness: &mut Harness) -> Outcome {
    let server = RedisServer::start().await;
    let client = statehouse_redis::RedisClient::open(statehouse_redis::RedisConfig::from_url(
        &mut statehouse_core::ServiceUrl::parse("bench", &server.url())?,
    )?)
    .await?;
    let ours = statehouse_cache::RedisCache::new(client, &Namespace::new("bench")?, "rates", SchemaId(0))?;
    let raw = Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let keys: Arc<Vec<Key>> = Arc::new(keys().into_iter().map(Key::new).collect::<Result<_, _>>()?);
    for key in keys.iter() {
        let _stored = ours.set(key, Bytes::from_static(&[7; 64]), HOUR).await?;
        let () = raw.clone().set(key.as_str(), [7_u8; 64].as_slice()).await?;
    }
    let ours = Arc::new(ours);
    let case = |peer, bar| Case { service: "cache", name: "redis get, 64 B, 256 tasks", peer, bar, ops: GETS };
    let mine = async || {
        let ours = Arc::clone(&ours);
        spread(&keys, move |key| {
            let ours = Arc::clone(&ours);
            async move { assert!(ours.get(&key).await.is_ok_and(|hit| hit.is_some())) }
        })
        .await;
    };
    harness
        .compare(case("one multiplexed connection", Bar::Ratio(0.85)), mine, async || {
            let raw = raw.clone();
            spread(&keys, move |key| {
                let mut raw = raw.clone();
                async move {
                    let value: Vec<u8> = raw.get(key.as_str()).await.expect("a value");
                    assert_eq!(value.len(), 64);
                }
            })
            .await;
        })
        .await;
    let default = deadpool_redis::PoolConfig::default().max_size;
    for (peer, size) in [("deadpool checkout, default size", default), ("deadpool checkout, 32 connections", 32)] {
        let config = deadpool_redis::Config::from_url(server.url());
        let pool = config.builder()?.max_size(size).runtime(deadpool_redis::Runtime::Tokio1).build()?;
        harness
            .compare(case(peer, Bar::Ratio(8.0)), mine, async || {
                let pool = pool.clone();
                spread(&keys, move |key| {
                    let pool = pool.clone();
                    async move {
                        let mut connection = pool.get().await.expect("a connection");
                        let value: Vec<u8> = connection.get(key.as_str()).await.expect("a value");
                        assert_eq!(value.len(), 64);
                    }
                })
                .await;
            })
            .await;
    }
    Ok(())
}

/// Each task makes a future when it is its turn, as callers do. Made beforehand, they would fill the caches of the
/// processor, the more the larger they are.
async fn spread<G, F>(keys: &Arc<Vec<Key>>, get: G)
where
    G: Fn(Key) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let each = GETS as usize / TASKS;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (keys, get) = (Arc::clone(keys), get.clone());
            tokio::spawn(async move {
                for i in 0..each {
                    get(keys[(task * each + i).wrapping_mul(7919) % KEYS].clone()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}
