//! The one Redis/Valkey connector of statehouse: a single server, Sentinel or Cluster behind one handle.
//!
//! ```no_run
//! use statehouse_core::{Namespace, ServiceUrl};
//! use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisConfig, RedisScript, redis};
//!
//! # async fn example() -> statehouse_core::Result<()> {
//! let mut url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "redis://app:secret@10.0.0.5:6379/2?timeout=500ms")?;
//! let config = RedisConfig::from_url(&mut url)?;
//! url.finish()?;
//! let client = RedisClient::open(config).await?;
//!
//! let keys = KeySpace::new(&Namespace::new("clinic.prod")?, "cache", "rates")?;
//! let key = keys.key("EUR/USD");
//! client.query::<()>(redis::cmd("SET").arg(&key).arg("1.08").arg("PX").arg(60_000), Idempotence::Idempotent).await?;
//!
//! // A script that adds is not safe to repeat: if its answer is lost, the error says `OutcomeUnknown`.
//! let add = RedisScript::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
//! let sum: i64 = add.key(&keys.key("visits")).arg(3).run(&client, Idempotence::NotIdempotent).await?;
//! # Ok(()) }
//! ```
//!
//! # Concepts
//! - **[`RedisClient`]** is a cheap clone. Two multiplexed connections per server are shared by all tasks, and
//!   commands of many concurrent callers go out together: eight times faster than a pool checkout per operation, and
//!   more. [`RedisClient::exclusive`] checks a connection out of a `deadpool-redis` pool for what would stall the
//!   others: `WATCH`, blocking reads, bulk.
//! - **Deadlines.** Connecting, one try of an operation, and the operation with all its tries are each bounded
//!   ([`RedisConfig`]); a dropped future leaves nothing behind on a shared connection.
//!   [`RedisClient::with_deadline`] sets another for all that one call of a service does.
//! - **What comes too late is not done.** A script whose call has a [`deadline`](ScriptCall::deadline) is told, by the
//!   server's clock, until when it may run; so nothing of it is executed once its caller knows what became of it, however
//!   long the network held it back.
//! - **Retries have one owner**, this crate. What was certainly not executed is sent again; what may have been
//!   executed only if the caller declared it [`Idempotence::Idempotent`], else the error is
//!   [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown). Bounded by a number of tries, by the total
//!   deadline, and by a budget across operations, so that an outage is not answered with a storm.
//! - **Healing.** A closed connection is replaced as soon as it closes. One that is open and silent (half-open) is
//!   found by a `PING` after half a second without an answer and replaced half a second later, whatever the timeouts
//!   are. What takes the server longer than a second to say belongs on an exclusive connection. A failover is followed without a restart: Sentinel by its announcements and by
//!   asking all sentinels, Cluster by its redirections and slot map, which is read every ten seconds at least. All servers and
//!   sentinels may be replaced by and by: those that were learnt, replicas among them, are asked when the configured ones are gone.
//! - **A server that is away is waited for by nobody.** Once nothing has come from a server for a second, not even the
//!   answer to that `PING`, or it could not be connected to for a second, requests to it fail at once with
//!   [`Unavailable`](statehouse_core::ErrorKind::Unavailable) and the advice to come again in half a second, until this
//!   crate's own attempts to connect succeed. Being slow opens no breaker: any answer within that second is enough, and
//!   time in which this process itself stood still is not counted. Each server of a cluster counts for itself.
//!   [`RedisClient::breaker`] says how it stands.
//! - **Large values do not stand in the way.** What has 64 KiB or more is sent over two connections per server that small
//!   requests do not share, made when first needed; so is a read by [`RedisClient::get`] or [`RedisClient::get_many`] of a
//!   key whose value was that large the last time, and while one comes over a shared connection unforeseen, what follows
//!   takes the other. Each has a second more for every 4 MiB, and so have many values in one answer; unless the handle has a
//!   deadline of its own. What does not move is given up. (With TLS, and in a brought pool, what moves is not seen; there it is given up after five seconds
//!   without an answer.)
//! - **Writes may wait for replicas** ([`RedisConfig::with_wait_replicas`]): `WAIT` goes out with the write, over a connection of their
//!   own, and once for all who write at the same time.
//! - **[`RedisClient::subscribe`]** hears what is published on channels, and says when something may have been missed.
//! - **Answers are bounded** (`max_answer`): what a server sends without end is cut off before it fills the memory. That
//!   holds on the shared connections without TLS; with TLS the server has proved who it is, and exclusive connections and
//!   those of a brought pool are as redis-rs makes them.
//! - **[`KeySpace`]** builds keys that no other service, cache or tenant shares, and that hash to one slot only where
//!   a script needs it.
//!
//! # What it is not
//! No client-side caching, no reads from replicas, no general-purpose command API. Applications meet it only through
//! `RedisClient::from_pool`; it exists for the Redis backends of the statehouse services.
//!
//! # Backends and capabilities
//! A single server, a group behind Sentinel, or a Cluster, of Redis 6.2 or newer or Valkey, by the scheme of the URL; or a pool that is
//! brought along ([`RedisClient::from_pool`]). What a server keeps when it ends or is full is asked of it:
//! [`RedisClient::persistence`] and [`RedisClient::eviction_policy`]; [`RedisClient::report`] says all that is known of each server.
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | (none) | the connector | `redis`, `deadpool-redis`, `tokio` |
//! | `tls` | `rediss:`, `rediss+sentinel:` and `rediss+cluster:` | `rustls` with `ring` |
//!
//! None is on by default. Without `tls` such a URL is refused, naming this feature. If no process-wide rustls provider is installed,
//! ring becomes it.
//!
//! # Errors
//! [`statehouse_core::Error`] throughout. A request that is not idempotent and whose answer was lost is
//! [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown). A server that is away, full, or only a replica is
//! [`Unavailable`](statehouse_core::ErrorKind::Unavailable), with the advice when to come again.
//!
//! # Consistency and durability
//! Redis replicates after it has answered. Writes that an old master acknowledged and its successor never saw are gone after a
//! failover; `min-replicas-to-write` on the servers narrows that, and then the error here is
//! [`Unavailable`](statehouse_core::ErrorKind::Unavailable). With [`wait_replicas`](RedisConfig::with_wait_replicas) what a service
//! writes is acknowledged once replicas have it, and else of
//! [unknown outcome](statehouse_core::ErrorKind::OutcomeUnknown): a server that is killed takes nothing with it.
//!
//! # Logs and metrics
//! That a server is away is one line of level `WARN`, and that it is back another, with how many requests were refused
//! meanwhile; so is that nobody says where the servers of a group are. With the feature `metrics` of statehouse-core:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.redis.retries` | `reason`: `not_sent`, `unanswered` or the code of the answer | requests that were sent again |
//! | `statehouse.redis.breaker.transitions` | `server.address`, `state`: `open` or `closed` | a server was away, or is back |
//! | `statehouse.redis.io` | `server.address`, `network.io.direction`: `receive` or `transmit` | bytes, where they are seen: not with TLS, nor in a brought pool |

mod client;
mod clock;
mod config;
mod connection;
mod counters;
mod error;
mod failure;
mod fence;
mod idempotence;
mod key_space;
mod node;
mod request;
mod sync;
mod topology;

/// What of the crate of this name makes a pool to bring: see [`RedisClient::from_pool`]. Whoever needs more of it depends on it.
pub mod deadpool_redis {
    pub use ::deadpool_redis::{Config, Manager, Pool, PoolConfig, Runtime, Timeouts};
}

/// What of the crate of this name commands are made of and answers are read with.
pub mod redis {
    pub use ::redis::{Cmd, FromRedisValue, ParsingError, Pipeline, Value, cmd, from_redis_value, pipe};
}

pub use client::RedisClient;
pub use client::exclusive::Exclusive;
pub use client::health::Contents;
pub use client::report::{ClockDifference, ServerReport};
pub use client::subscribe::{News, Subscription};
pub use config::RedisConfig;
pub use error::unexpected_answer;
pub use fence::{REFUSE_STALE, REFUSE_STALE_TO_DELETE, raise};
pub use idempotence::Idempotence;
pub use key_space::KeySpace;
pub use node::{EvictionPolicy, Persistence};
pub use request::{ENVELOPE_STAMP, REFUSE_LATE, RedisScript, ScriptCall};
