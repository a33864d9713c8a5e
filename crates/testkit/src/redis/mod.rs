//! Redis: a single server, Sentinel and Cluster.

mod cluster;
mod group;
mod sentinel;
mod server;
mod succession;
mod tls;

pub use self::cluster::RedisCluster;
pub use self::sentinel::RedisSentinel;
pub use self::server::{RedisServer, RedisServerBuilder};
pub use self::succession::RedisSuccession;
