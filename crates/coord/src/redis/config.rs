use statehouse_core::{Namespace, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};

use super::RedisCoordStore;
use super::client::OPERATION;
use super::lasting::ADVICE;
use crate::capability::NOTIFY;

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
    /// append-only file (`appendonly yes`) that evicts nothing is [`DURABLE`](crate::capability::DURABLE). What it lacks is a warning in the log. Each
    /// [`health`](crate::CoordStore::health) asks again: no lock is given on a server that has become one that forgets, which is an
    /// error in the log and degraded, and locks are given again once it is mended.
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
        let store = Self::new(redis, namespace)?;
        let asked = OPERATION.open.during(store.lasting.ask(store.wire.redis())).await?;
        if !store.lasting.is() {
            let (persistence, eviction) = asked;
            tracing::warn!(name: "coord.not_durable", ?persistence, ?eviction, "{ADVICE}");
        }
        let notify = store.listener.can_listen().then_some(NOTIFY);
        let capabilities = store.capabilities.iter().chain(notify).collect();
        Ok(Self { capabilities, ..store })
    }
}
