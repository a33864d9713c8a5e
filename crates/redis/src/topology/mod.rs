//! Which server a request goes to, and what its failures say about that.

mod cluster;
mod sentinel;
mod slot_map;

use std::sync::Arc;

use redis::RedisError;
use statehouse_core::{Error, Result};
use tokio::time::Instant;

use self::cluster::Cluster;
use self::sentinel::Sentinel;
use crate::config::{RedisConfig, Servers};
use crate::connect::{Connector, Role, Source};
use crate::node::Node;
use crate::pending::{Failure, Sent};

#[derive(Debug)]
pub(crate) enum Topology {
    Single(Arc<Node>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

/// The server to send to, and whether to prefix `ASKING`: it has the slot, but does not own it yet.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) node: Arc<Node>,
    pub(crate) asking: bool,
}

impl Target {
    pub(crate) const fn of(node: Arc<Node>) -> Self {
        Self { node, asking: false }
    }
}

impl Topology {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self> {
        let connector = Connector::new(config)?;
        let refuse =
            |error: RedisError| Error::invalid_config(config.setting(), error.to_string()).with_backend("redis");
        Ok(match &config.servers {
            Servers::Single(address) => Self::Single(connector.node(address, Role::Any).map_err(refuse)?),
            Servers::Brought(pool) => {
                let source = Source::from_pool(pool.0.clone(), config.timing);
                Self::Single(Node::over(source, config.connections, None))
            }
            Servers::Sentinel { sentinels, master, credentials } => {
                let to_sentinels = Connector::to_sentinels(config, credentials)?;
                Self::Sentinel(Sentinel::new(connector, &to_sentinels, sentinels, master).map_err(refuse)?)
            }
            Servers::Cluster(seeds) => Self::Cluster(Cluster::new(connector, seeds)),
        })
    }

    /// Finds out where the servers are, and keeps watching where that can change.
    pub(crate) async fn start(&self, until: Instant) -> Result<(), Failure> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Sentinel(sentinel) => sentinel.start(until).await,
            Self::Cluster(cluster) => cluster.start(until).await,
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The server that has this slot; without a slot, any that takes writes.
    pub(crate) fn node(&self, slot: Option<u16>) -> Result<Arc<Node>, Failure> {
        match self {
            Self::Single(node) => Ok(Arc::clone(node)),
            Self::Sentinel(sentinel) => sentinel.master(),
            Self::Cluster(cluster) => cluster.node(slot),
        }
    }

    /// All servers that take writes.
    pub(crate) fn masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(node) => vec![Arc::clone(node)],
            Self::Sentinel(sentinel) => sentinel.master().into_iter().collect(),
            Self::Cluster(cluster) => cluster.masters(),
        }
    }

    /// Takes note of a failure, and says where else the request belongs, if the failure says so.
    pub(crate) fn learn(&self, node: &Node, failure: &Failure) -> Option<Target> {
        match self {
            Self::Single(_) => None,
            Self::Sentinel(sentinel) => {
                if failure.sent != Sent::Answered || failure.error.code() == Some("READONLY") {
                    sentinel.look_again();
                }
                None
            }
            Self::Cluster(cluster) => cluster.learn(node, failure),
        }
    }
}
