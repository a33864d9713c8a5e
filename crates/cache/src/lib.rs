//! A cache with one contract in memory and in Redis.
//!
//! ```
//! use std::time::Duration;
//! use statehouse_cache::{Caches, MemoryConfig};
//!
//! # async fn fetch(pair: &str) -> Result<f64, std::io::Error> { Ok(1.0842) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> statehouse_core::Result<()> {
//! let caches = Caches::memory(MemoryConfig::default()); // or Caches::open(url, &namespace).await?
//! let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
//!
//! let rate = rates.get_or_load("EUR/USD", || fetch("EUR/USD")).await?;
//! assert_eq!(*rate, 1.0842);
//! rates.invalidate("EUR/USD").await?; // no later read gives the old rate, from any process
//! # Ok(()) }
//! ```
//!
//! # Concepts
//! - **[`TypedCache`]** is what applications use: values of one type under a name. [`TypedCache::get_or_load`] runs one
//!   loader per key, however many callers miss, on a shared backend in all processes together.
//! - **[`Cache`]** is what backends implement: bytes with a version and a time to live, written on a [`Condition`]. Its
//!   documentation is the contract.
//! - **Leases.** A load reserves its key first. Any set, removal or clear ends the reservation, so a value that was
//!   loaded before an invalidation is never stored after it.
//! - **Outages.** While the store is away, or slow ([`CacheBuilder::slow_after`]), `get_or_load` answers from the loader
//!   ([`Outage`]), and an invalidation that the store does not take is kept and replayed ([`TypedCache::invalidate`]).
//! - **Schemas.** [`CacheBuilder::schema`] numbers the layout of a type, so that old and new replicas run side by side.
//!   What cannot be decoded is a miss, never an error and never misread.
//!
//! # What it is not
//! Not a store: an entry may vanish at any time, so counters, locks and anything that must not be lost belong elsewhere.
//! There is no cache in front of Redis in this process. Two processes may load the same key at the same time where a lease
//! was lost: evicted, or not renewed in time.
//!
//! # Backends and capabilities
//! | | [`Caches::memory`] | [`MemoryCache`] | `RedisCache` |
//! | --- | --- | --- | --- |
//! | holds | typed values | bytes | bytes, in one key per entry |
//! | [`SHARED`](capability::SHARED) | no | no | yes |
//! | [`FENCED`](capability::FENCED), [`FENCED_AT_ONCE`](capability::FENCED_AT_ONCE): sets under a lock | yes | yes | yes |
//! | bounded by | weight or number | bytes or number | the server's `maxmemory` |
//! | time comes from | an injected [`Clock`](statehouse_core::Clock) | likewise | the server |
//! | a value above its bound | `TooLarge` | `TooLarge` | `TooLarge` above 64 MiB |
//! | `clear` | takes longer the more there is | likewise | 22 ms, whatever there is |
//!
//! In memory a hit decodes nothing and allocates nothing. Types must be serializable all the same: the encoded length is
//! an entry's weight, and moving to Redis changes a URL and no code. [`CacheBuilder::verify_codec`] finds types that do
//! not survive their codec before that; it is on in debug builds.
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | `redis` | `RedisCache`, for Redis 6.2 or newer and Valkey, single, Sentinel and Cluster | `statehouse-redis`: `redis`, `deadpool-redis` |
//! | `redis-tls` | `rediss:` URLs | `rustls` with `ring` |
//! | `json`, `postcard`, `bincode` | codecs besides MessagePack | the crate of each |
//! | `conformance` | the suite for testing a backend of your own | no further crates |
//!
//! None is on by default. The crate needs a tokio runtime with timers.
//!
//! # Errors
//! Every error is a [`statehouse_core::Error`] that names the operation, the cache and the key. An outage is `Unavailable` or `Timeout` and never "no value". A loader's
//! own error is the source of a `LoadFailed`:
//!
//! ```
//! # use std::{error::Error as _, io, time::Duration};
//! # use statehouse_cache::{Caches, MemoryConfig};
//! # use statehouse_core::ErrorKind;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> statehouse_core::Result<()> {
//! # let cache = Caches::memory(MemoryConfig::default()).cache::<u32>("a").time_to_live(Duration::from_secs(9)).open()?;
//! let load = || async { Err(io::Error::other("the bank is closed")) };
//! let error = cache.get_or_load("EUR/USD", load).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::LoadFailed);
//! assert_eq!(error.source().unwrap().downcast_ref::<io::Error>().unwrap().to_string(), "the bank is closed");
//! # Ok(()) }
//! ```
//!
//! # Consistency and durability
//! See [`Cache`] for the contract and `RedisCache` for what a failover may lose. Nothing is durable.
//!
//! # Logs and metrics
//! What goes wrong a thousand times is one line of level `WARN`, and one when it is over, with how often it happened:
//! `cache.away` (or `cache.slow`, of a store that answers too slowly: [`CacheBuilder::slow_after`]) and `cache.back`,
//! `cache.load.not_stored` and `cache.load.stored`. Single entries that cannot be used are told
//! at most once a minute, with their number: `cache.undecodable`, `cache.too_large`.
//!
//! Spans are those that [`statehouse_core::span`] describes: an operation of a backend with the cache's name, and
//! `cache.load` around a load.
//!
//! With the feature `metrics` of statehouse-core there is, besides the duration of each operation of a backend:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.cache.lookups` | `cache`: its name; `result`: `hit`, `miss`, `stale` (an entry was there and could not be read, and the lookup is a miss besides) or `bypass` (the store was away, and the loader answered or the read failed) | lookups |
//!
//! Keys and values are in neither.
//!
//! # Testing your own backend
//! Implement [`Cache`]. With the feature `conformance` the macro `cache_conformance!` makes one test for each behavior of the
//! contract; a backend passes how to make an empty cache, and how its time passes.

mod api;
mod away;
mod caches;
pub mod capability;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod connect;
mod counters;
mod entry;
mod key;
mod layered;
mod limits;
mod memory;
mod operation;
mod options;
mod outcome;
#[cfg(feature = "redis")]
mod redis;
mod sync;
mod typed;

pub use api::{Cache, CacheExt};
pub use caches::Caches;
pub use entry::{Entry, Lease};
pub use key::CacheKey;
pub use layered::LayeredCache;
pub use limits::{MAX_TIME_TO_LIVE, MAX_VALUE_LEN, check_value_len, time_to_live_millis};
pub use memory::{MemoryCache, MemoryConfig};
pub use options::{
    ClearOptions, Condition, GetOptions, Holding, RemoveOptions, ReserveOptions, SetOptions, TouchOptions,
};
pub use outcome::{RemoveOutcome, Reservation, SetOutcome, TouchOutcome};
#[cfg(feature = "redis")]
pub use redis::RedisCache;
pub use typed::{
    CacheBuilder, CacheValue, GetOrLoad, LoadFuture, Outage, Set, SetIf, TypedCache, VerifyCodec, Versioned,
};
