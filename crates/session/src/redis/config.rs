use statehouse_core::{Error, Namespace, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};

use super::RedisSessionStore;
use super::anonymous::MAX_ANONYMOUS;
use super::client::OPERATION;

const ACCEPTED: &str = "a number of sessions above zero";

impl RedisSessionStore {
    /// Connects to the Redis of a URL: `redis:`, `rediss:`, `redis+sentinel:` or `redis+cluster:` with the parameters of
    /// [`RedisConfig::from_url`], and `max_anonymous` as [`with_max_anonymous`](Self::with_max_anonymous) says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts;
    /// else as [`RedisClient::open`].
    pub async fn open(mut url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let config = RedisConfig::from_url(&mut url)?;
        let max_anonymous = Self::take_max_anonymous(&mut url)?;
        url.finish()?;
        Self::connect(RedisClient::open(config).await?, namespace).await?.with_max_anonymous(max_anonymous)
    }

    /// Takes what a URL says of the sessions and not of the connection: the value for
    /// [`with_max_anonymous`](Self::with_max_anonymous).
    ///
    /// ```
    /// # use statehouse_core::ServiceUrl;
    /// # use statehouse_session::RedisSessionStore;
    /// let mut url = ServiceUrl::parse("APP_SESSIONS_URL", "redis://10.0.0.5?max_anonymous=20000")?;
    /// assert_eq!(RedisSessionStore::take_max_anonymous(&mut url)?, 20_000);
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn take_max_anonymous(url: &mut ServiceUrl) -> Result<u64> {
        match url.take_parsed("max_anonymous", ACCEPTED)?.unwrap_or(MAX_ANONYMOUS) {
            0 => Err(url.refuse("max_anonymous", ACCEPTED)),
            most => Ok(most),
        }
    }

    /// The sessions of this namespace, with a client that others may use too.
    ///
    /// Asks what the server does when its memory is full, and warns if it evicts: sessions have a time to live, so that
    /// the policies `volatile-*` evict them as `allkeys-*` do.
    ///
    /// ```no_run
    /// use statehouse_core::Namespace;
    /// use statehouse_redis::{RedisClient, RedisConfig};
    /// use statehouse_session::RedisSessionStore;
    ///
    /// # async fn example() -> statehouse_core::Result<()> {
    /// let client = RedisClient::open(RedisConfig::single("10.0.0.5", 6379)).await?;
    /// let store = RedisSessionStore::connect(client, &Namespace::new("clinic")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub async fn connect(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        let eviction = OPERATION.open.during(redis.eviction_policy()).await?;
        let store = Self { eviction, ..Self::new(redis, namespace)? };
        if store.evicts() {
            let advice = "this Redis evicts sessions when its memory is full: set maxmemory-policy to noeviction";
            tracing::warn!(name: "session.evicting", policy = ?eviction, "{advice}");
        }
        Ok(store)
    }

    /// How many sessions that nobody is logged in to there may be, in all replicas together; 500,000 at first, which is
    /// about 300 MB. [`create_with`](crate::SessionStore::create_with) refuses more with
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable); logins are never refused. See
    /// [above](Self#anonymous-sessions) how exact the count is. To be called before the store is used.
    ///
    /// ```no_run
    /// # use statehouse_core::Namespace;
    /// # use statehouse_redis::RedisClient;
    /// # use statehouse_session::RedisSessionStore;
    /// # async fn example(client: RedisClient) -> statehouse_core::Result<()> {
    /// let store = RedisSessionStore::connect(client, &Namespace::new("clinic")?).await?.with_max_anonymous(20_000)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for zero.
    pub fn with_max_anonymous(self, sessions: u64) -> Result<Self> {
        if sessions == 0 {
            return Err(Error::invalid_config("max_anonymous", format!("must be {ACCEPTED}")));
        }
        Ok(self.rebounded(sessions))
    }
}
