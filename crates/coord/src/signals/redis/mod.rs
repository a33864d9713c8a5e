//! Signals in Redis or Valkey: a single server, Sentinel or Cluster.

mod client;
mod listen;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Health, Namespace, Result};
use statehouse_redis::{Contents, RedisClient};

use self::client::{OPERATION, Wire};
use self::listen::Listener;
use super::api::Signals;
use super::hub::Subscriber;
use super::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
use super::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use super::rate::Rate;
use crate::capability::{SERVER_TIME, SHARED, SUBSCRIBE};
use crate::key::CoordKey;

/// Signals of all replicas, in Redis or Valkey.
///
/// # Layout
/// `namespace:coord:signals:count:KEY` is a number, as `INCRBY` has it; `…:limit:KEY` the bytes `G`, 2 and three
/// little-endian doubles, how much is in the bucket, as of when, and until when the key stays; `…:permits:KEY` a sorted set of
/// ids by when they are over. Times are in microseconds since 1970 by the server's clock, and everything expires there by itself,
/// but for counters without a time to live: a limit at the latest a second after twice as long as its bucket takes to be empty.
/// Each is one key, so that names spread over the slots of a cluster; every operation is one script in
/// one round trip.
///
/// Messages of a namespace go over one channel, `…:news`, and are numbered by `…:published`, so that one that the servers of
/// a cluster have lost on the way between them is missed when the next one comes, or, if none does, after two rounds of a second in which that is counted, and their answers: in two
/// seconds mostly, four at most, and not before the server that counts answers. Then all who
/// listen are told to [resync](crate::News::Resync).
///
/// # Price
/// While somebody listens there is one connection for all who do, which is pinged once a second, and over which everything
/// comes that is published in the namespace, whatever the channel. It is kept for two seconds after the last one. A link that
/// is half-open is noticed within two seconds. A cluster is asked once a second, too, how many messages were published.
///
/// # Retries
/// What comes to the server after its caller was told that it had failed is refused there, by the server's clock. An add, a
/// take and a publish are not sent again once they may have been done; acquiring, renewing and releasing are, and know
/// themselves by the id.
///
/// # A server that is full
/// What is there goes on, since it takes no more room: permits are renewed, acquired and released, counters and limits counted on, and
/// messages told. A counter or a limit that would be new is refused.
///
/// # Durability
/// Replication is asynchronous: see [`Signals`](crate::Signals#durability). A server that evicts may forget a counter or a
/// permit, and is degraded in the [`health`](Signals::health).
#[derive(Clone, Debug)]
pub struct RedisSignals {
    wire: Wire,
    listener: Listener,
    capabilities: Capabilities,
}

impl RedisSignals {
    /// The signals of this namespace, with a client that others may use too.
    ///
    /// ```no_run
    /// use statehouse_coord::RedisSignals;
    /// use statehouse_core::Namespace;
    /// use statehouse_redis::{RedisClient, RedisConfig};
    ///
    /// # async fn example() -> statehouse_core::Result<()> {
    /// let client = RedisClient::open(RedisConfig::single("10.0.0.5", 6379)).await?;
    /// let signals = RedisSignals::new(client, &Namespace::new("clinic")?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the namespace is too long.
    pub fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        let subscribe = redis.can_subscribe().then_some(SUBSCRIBE);
        let wire = Wire::new(redis, namespace)?;
        let listener = Listener::new(wire.clone());
        let capabilities = Capabilities::from_iter([SERVER_TIME, SHARED].into_iter().chain(subscribe));
        Ok(Self { wire, listener, capabilities })
    }
}

#[async_trait]
impl Signals for RedisSignals {
    async fn add_with(&self, key: &CoordKey, more: i64, options: AddOptions) -> Result<Count> {
        let add = async {
            options.check(more)?;
            self.wire.add(key, more, &options).await
        };
        OPERATION.add.during_on(key, add).await
    }

    async fn count_with(&self, key: &CoordKey, options: CountOptions) -> Result<Option<Count>> {
        OPERATION.count.during_on(key, self.wire.count(key, options.deadline)).await
    }

    async fn reset_with(&self, key: &CoordKey, options: ResetOptions) -> Result<()> {
        OPERATION.reset.during_on(key, self.wire.reset(key, options.deadline)).await
    }

    async fn take_with(&self, key: &CoordKey, rate: Rate, options: TakeOptions) -> Result<Taken> {
        let take = async {
            options.check(&rate)?;
            self.wire.take(key, rate, &options).await
        };
        OPERATION.take.during_on(key, take).await
    }

    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: AcquireOptions) -> Result<Acquired> {
        let acquire = async {
            options.check()?;
            self.wire.acquire(key, id, &options).await
        };
        OPERATION.acquire.during_on(key, acquire).await
    }

    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: RenewOptions) -> Result<Renewed> {
        let renew = async {
            options.check()?;
            self.wire.renew(key, id, &options).await
        };
        OPERATION.renew.during_on(key, renew).await
    }

    async fn release_with(&self, key: &CoordKey, id: PermitId, options: ReleaseOptions) -> Result<()> {
        OPERATION.release.during_on(key, self.wire.release(key, id, options.deadline)).await
    }

    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: PublishOptions) -> Result<()> {
        let publish = async {
            options.check(&message)?;
            self.wire.publish(channel, &message, options.deadline).await
        };
        OPERATION.publish.during_on(channel, publish).await
    }

    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        OPERATION.subscribe.run(|| self.listener.subscribe(channels))
    }

    async fn health(&self) -> Health {
        self.wire.redis().health_of(Contents::MustStay).await
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}
