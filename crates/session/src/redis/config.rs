use statehouse_core::{Namespace, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};

use super::RedisSessionStore;

impl RedisSessionStore {
    /// Connects to the Redis of a URL: `redis:`, `rediss:`, `redis+sentinel:` or `redis+cluster:` with the parameters of
    /// [`RedisConfig::from_url`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts;
    /// else as [`RedisClient::open`].
    pub async fn open(mut url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let config = RedisConfig::from_url(&mut url)?;
        url.finish()?;
        Self::new(RedisClient::open(config).await?, namespace)
    }
}
