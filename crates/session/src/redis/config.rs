use statehouse_core::{Namespace, Operation, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};

use super::RedisSessionStore;

impl RedisSessionStore {
    /// Connects to the Redis of a URL: `redis:`, `rediss:`, `redis+sentinel:` or `redis+cluster:` with the parameters of
    /// [`RedisConfig::from_url`].
    ///
    /// Asks what the server does when its memory is full, and warns if it evicts: sessions have a time to live, so that
    /// the policies `volatile-*` evict them as `allkeys-*` do.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts;
    /// else as [`RedisClient::open`].
    pub async fn open(mut url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let config = RedisConfig::from_url(&mut url)?;
        url.finish()?;
        let redis = RedisClient::open(config).await?;
        let eviction = Operation::new("session.open", "redis").during(redis.eviction_policy()).await?;
        let store = Self { eviction, ..Self::new(redis, namespace)? };
        if store.evicts() {
            let advice = "this Redis evicts sessions when its memory is full: set maxmemory-policy to noeviction";
            tracing::warn!(policy = ?eviction, "{advice}");
        }
        Ok(store)
    }
}
