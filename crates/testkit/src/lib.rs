//! Starts the real servers that statehouse is tested against, and breaks the network before them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use statehouse_testkit::{FaultProxy, RedisServer};
//!
//! let redis = RedisServer::start().await;
//! let proxy = FaultProxy::start(redis.address());
//! let url = proxy.url(&redis.url()); // give this to what is tested
//! # assert!(url.starts_with("redis://127.0.0.1:"));
//!
//! proxy.black_hole();
//! // … what is tested must now time out, and say so …
//! proxy.heal();
//! assert_eq!(redis.command(&["PING"]).await?.text(), Some("PONG"));
//! # Ok(())
//! # }
//! ```
//!
//! # Shared and private servers
//! `start()` gives a server of your own, to pause, kill and restart. `shared()` gives one for the whole process, which
//! tests use side by side, each under names of its own. Where the environment has a URL (`STATEHOUSE_TEST_REDIS_URL`
//! and so on, as `cargo xtask test` sets them), `shared()` is that server; otherwise it starts one when it is first
//! asked for. `STATEHOUSE_TEST_REDIS_PROGRAM=valkey-server` starts Valkey in place of Redis, save for sentinels and servers
//! with TLS.
//!
//! A program is looked for on the PATH and then in the [tool cache](tool_cache). A missing one is a failure that names
//! the command that installs it, never a skipped test: the convenience functions panic, and `try_start` on a builder
//! returns the [`StartError`].
//!
//! # Nothing stays behind
//! Servers listen on 127.0.0.1, on ports that nobody else gets, in a temporary folder each. Dropping a handle kills all
//! processes of its server and removes the folder. The same happens when the process that holds the handle exits or is
//! killed, because a small watchdog waits for the end of a pipe that only that process holds. When a start fails, the
//! end of the server's log is part of the error.
//!
//! # Nothing waits for ever
//! Every start, command and request has an end, which comes long after that of what is well: an error then says what was waited
//! for. [`output_within`] and [`Speaker`] are for programs of a test's own.

mod azure;
mod ends;
mod error;
mod http;
mod https;
mod network;
mod opensearch;
mod own_network;
mod polls;
mod port;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod resp;
mod s3;
mod sigv4;
mod skew;
mod small_disk;
mod speaker;
mod tls;
mod tools;
mod url;

pub use azure::{AzureServer, find_azurite};
pub use ends::output_within;
pub use error::StartError;
pub use http::Response;
pub use https::HttpsProxy;
pub use network::{Effect, NetworkFault, NetworkSubject, RedisTopology, network_table, timed_fairly};
pub use opensearch::{OpenSearchCluster, OpenSearchNode, find_java, find_opensearch};
pub use own_network::OwnNetwork;
pub use polls::{longest_poll, thread_time};
pub use postgres::{PostgresServer, find_postgres};
pub use program::{Program, ProgramBuilder};
pub use proxy::{Counts, Direction, FaultProxy};
pub use redis::{RedisCluster, RedisSentinel, RedisServer, RedisServerBuilder, RedisSuccession};
pub use resp::Reply;
pub use s3::{S3Server, S3ServerBuilder};
pub use skew::clock_off;
pub use small_disk::SmallDisk;
pub use speaker::Speaker;
pub use tools::{find_program, tool_cache};
