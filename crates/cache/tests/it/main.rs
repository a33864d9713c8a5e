//! The contract on every backend, and Redis when it fails.

mod conformance;
mod cost;
mod crowd;
mod format;
mod full;
mod generations;
mod late;
mod limits;
mod moving;
mod network;
mod outage;
mod planted;
mod promoted;
mod record;
mod redis;
mod reserving;
mod slow;
mod ways;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_cache::{
    Cache, CacheExt, CacheKey, Caches, ClearOptions, Condition, GetOptions, Holding, Lease, Outage, RedisCache,
    RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions, SetOutcome, TouchOptions, TouchOutcome,
    TypedCache,
};
use statehouse_core::conformance::Backend;
use statehouse_core::{Capabilities, ErrorKind, Namespace, Result, SchemaId, ServiceUrl, Version};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_testkit::{FaultProxy, RedisCluster, RedisServer, Reply};

use record::Record;

const LONG: Duration = Duration::from_secs(600);

/// For a client of which no call ends because the machine is busy: its tries take up to [`PATIENCE`].
const PATIENT: &str = "?timeout=20s&deadline=40s";
const PATIENCE: Duration = Duration::from_secs(20);

struct InRedis {
    url: String,
    namespace: Namespace,
    name: &'static str,
}

impl InRedis {
    fn new(url: String) -> Self {
        Self { url, namespace: namespace(), name: "main" }
    }

    async fn client(&self) -> RedisClient {
        let mut url = ServiceUrl::parse("TEST_URL", &self.url).unwrap();
        RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap()
    }

    async fn cache(&self, name: &str) -> RedisCache {
        RedisCache::new(self.client().await, &self.namespace, name, SchemaId(1)).unwrap()
    }
}

impl Backend for InRedis {
    type Service = dyn Cache;

    async fn service(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache(self.name).await)
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn another(&self) -> Self {
        Self { url: self.url.clone(), namespace: self.namespace.clone(), name: "other" }
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A namespace that no other test has.
fn namespace() -> Namespace {
    use std::hash::{BuildHasher, RandomState};
    Namespace::new(format!("test-{:016x}", RandomState::new().hash_one(0))).unwrap()
}

async fn single() -> InRedis {
    InRedis::new(RedisServer::shared().await.url())
}

async fn cluster() -> InRedis {
    InRedis::new(RedisCluster::shared().await.url())
}

fn key(text: &str) -> CacheKey {
    CacheKey::new(text).unwrap()
}

async fn stored(cache: &RedisCache, name: &str, text: &'static str) -> Version {
    cache.set(&key(name), Bytes::from_static(text.as_bytes()), LONG).await.unwrap()
}

/// The group of a key, of 32.
fn group_of(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes()) % 32
}

/// The Redis key of an entry of the cache `main`.
fn place(subject: &InRedis, name: &str, schema: u32) -> String {
    format!("{}:cache:main:{{main/{}}}:{schema}:{name}", subject.namespace, group_of(name))
}

/// The Redis key of the generation of an entry's group.
fn generation_of(subject: &InRedis, name: &str) -> String {
    format!("{}:cache:main:{{main/{}}}:generation", subject.namespace, group_of(name))
}

async fn raw(server: &RedisServer, args: &[&[u8]]) -> Reply {
    server.command(args).await.unwrap()
}

/// Reads the stored bytes through the entry's own connection, for binary values.
async fn dump(subject: &InRedis, place: &str) -> Vec<u8> {
    let mut get = statehouse_redis::redis::cmd("GET");
    get.arg(place);
    subject.client().await.query(&get, statehouse_redis::Idempotence::Idempotent).await.unwrap()
}
