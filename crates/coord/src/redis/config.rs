use statehouse_core::{Capabilities, Namespace, Result, ServiceUrl};
use statehouse_redis::{EvictionPolicy, Persistence, RedisClient, RedisConfig};

use super::RedisCoordStore;
use super::client::OPERATION;
use crate::capability::{BEATS, DURABLE, FENCED, FENCED_AT_ONCE, NOTIFY, SERVER_TIME, SHARED};

impl RedisCoordStore {
    /// Connects to the Redis of a URL: `redis:`, `rediss:`, `redis+sentinel:` or `redis+cluster:` with the parameters of
    /// [`RedisConfig::from_url`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts;
    /// else as [`RedisClient::open`].
    pub async fn open(mut url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let config = RedisConfig::from_url(&mut url)?;
        url.finish()?;
        Self::connect(RedisClient::open(config).await?, namespace).await
    }

    /// The records of this namespace, with a client that others may use too.
    ///
    /// Asks whether the server keeps what it has acknowledged over a restart, and whether it evicts: only a server with an
    /// append-only file (`appendonly yes`) that evicts nothing is [`DURABLE`]. What it lacks is a warning in the log.
    ///
    /// ```no_run
    /// use statehouse_coord::RedisCoordStore;
    /// use statehouse_core::Namespace;
    /// use statehouse_redis::{RedisClient, RedisConfig};
    ///
    /// # async fn example() -> statehouse_core::Result<()> {
    /// let client = RedisClient::open(RedisConfig::single("10.0.0.5", 6379)).await?;
    /// let store = RedisCoordStore::connect(client, &Namespace::new("clinic")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub async fn connect(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        let probe = async { Ok((redis.persistence().await?, redis.eviction_policy().await?)) };
        let (persistence, eviction) = OPERATION.open.during(probe).await?;
        let store = Self::new(redis, namespace)?;
        let keeps = persistence == Persistence::AppendOnlyFile && eviction == EvictionPolicy::Never;
        if !keeps {
            let advice =
                "this Redis may lose records of coordination: set appendonly yes and maxmemory-policy noeviction";
            tracing::warn!(name: "coord.not_durable", ?persistence, ?eviction, "{advice}");
        }
        let notify = store.listener.can_listen().then_some(NOTIFY);
        let capabilities = [BEATS, FENCED, FENCED_AT_ONCE, SERVER_TIME, SHARED]
            .into_iter()
            .chain(keeps.then_some(DURABLE))
            .chain(notify);
        Ok(Self { capabilities: Capabilities::from_iter(capabilities), ..store })
    }
}
