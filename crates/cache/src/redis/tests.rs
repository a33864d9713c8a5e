use std::time::Duration;

use statehouse_core::ServiceUrl;
use statehouse_redis::RedisConfig;
use statehouse_testkit::{RedisCluster, RedisServer};

use super::*;
use crate::conformance::Subject;

struct InRedis {
    url: String,
    namespace: Namespace,
}

impl InRedis {
    async fn client(&self) -> RedisClient {
        let mut url = ServiceUrl::parse("TEST_URL", &self.url).unwrap();
        RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap()
    }

    async fn cache(&self, name: &str) -> RedisCache {
        RedisCache::new(self.client().await, &self.namespace, name, SchemaId(1)).unwrap()
    }
}

#[async_trait]
impl Subject for InRedis {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache("main").await)
    }

    async fn open_other(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache("other").await)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A namespace that no other test has.
fn namespace() -> Namespace {
    use std::hash::{BuildHasher, RandomState};
    Namespace::new(format!("test-{:016x}", RandomState::new().hash_one(0))).unwrap()
}

async fn single() -> InRedis {
    InRedis { url: RedisServer::shared().await.url(), namespace: namespace() }
}

async fn cluster() -> InRedis {
    InRedis { url: RedisCluster::shared().await.url(), namespace: namespace() }
}

mod on_a_single_server {
    use super::*;
    crate::cache_conformance!(single());
}

mod on_a_cluster {
    use super::*;
    crate::cache_conformance!(cluster());
}
