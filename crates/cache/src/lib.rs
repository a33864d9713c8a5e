//! A cache with one contract in memory and in Redis.

mod api;
mod caches;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod entry;
mod memory;
mod options;
#[cfg(feature = "redis")]
mod redis;
mod typed;

pub use api::{Cache, CacheExt, capability};
pub use caches::Caches;
pub use entry::{Entry, Lease};
pub use memory::{MemoryCache, MemoryConfig};
pub use options::{
    Condition, GetOptions, MAX_TIME_TO_LIVE, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    SetOptions, SetOutcome, TouchOptions, TouchOutcome, check_value_len, time_to_live_millis,
};
#[cfg(feature = "redis")]
pub use redis::RedisCache;
pub use typed::{CacheBuilder, GetOrLoad, LoadFuture, Set, TypedCache, Versioned};
