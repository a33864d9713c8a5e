//! Redis: a single server, Sentinel and Cluster.

mod cluster;
mod group;
mod promote;
mod sentinel;
mod server;
mod skew;
mod tls;

pub use self::cluster::RedisCluster;
pub use self::sentinel::RedisSentinel;
pub use self::server::{RedisServer, RedisServerBuilder};
