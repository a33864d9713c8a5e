//! Which server a request goes to, and what its failures say about that.

mod cluster;
mod following;
mod sentinel;
pub(crate) mod slot;
mod slot_map;
mod target;

use std::borrow::Cow;
use std::sync::Arc;

use redis::RedisError;
use statehouse_core::policy::BreakerState;
use statehouse_core::{Error, HealthStatus, Result};
use tokio::time::Instant;

use crate::config::{RedisConfig, Servers};
use crate::connection::source::{Connector, Role, Source};
use crate::failure::{Failure, Sent};
use crate::node::Node;
use crate::topology::cluster::Cluster;
use crate::topology::sentinel::Sentinel;
use crate::topology::slot::slot_of;

pub(crate) use self::target::Target;

#[derive(Debug)]
pub(crate) enum Topology {
    Single(Arc<Node>),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Topology {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self> {
        let connector = Connector::new(config)?;
        let refuse =
            |error: RedisError| Error::invalid_config(config.setting(), error.to_string()).with_backend("redis");
        Ok(match &config.servers {
            Servers::Single(address) => Self::Single(Node::at(&connector, address, Role::Any).map_err(refuse)?),
            Servers::Brought(pool) => {
                let source = Source::from_pool(pool.0.clone(), config.timing);
                Self::Single(Node::over(source, (config.connections, config.replicas), None))
            }
            Servers::Sentinel { sentinels, master, credentials } => {
                let to_sentinels = Connector::to_sentinels(config, credentials)?;
                Self::Sentinel(Sentinel::new(connector, to_sentinels, sentinels, master).map_err(refuse)?)
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

    /// The server that has this key; without a key, any that takes writes.
    pub(crate) fn node_of_key(&self, key: Option<&[u8]>) -> Result<Cow<'_, Arc<Node>>, Failure> {
        self.node_of(|| key.map(slot_of))
    }

    /// The server that has the slot; without one, any that takes writes. Only a cluster pays for finding the slot.
    pub(crate) fn node_of(&self, slot: impl FnOnce() -> Option<u16>) -> Result<Cow<'_, Arc<Node>>, Failure> {
        match self {
            Self::Single(node) => Ok(Cow::Borrowed(node)),
            Self::Sentinel(sentinel) => sentinel.master().map(Cow::Owned),
            Self::Cluster(cluster) => cluster.node(slot()).map(Cow::Owned),
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

    /// Whether there is a server for what names no key that is not known to be away.
    pub(crate) fn has_another(&self) -> bool {
        matches!(self, Self::Cluster(_)) && self.masters().iter().any(|node| node.breaker() == BreakerState::Closed)
    }

    /// How ill it is though all masters are well: slots without an owner.
    pub(crate) fn gap(&self) -> Option<HealthStatus> {
        match self {
            Self::Cluster(cluster) => cluster.gap(),
            Self::Single(_) | Self::Sentinel(_) => None,
        }
    }

    /// Takes note of a failure, and says where else the request belongs, if the failure says so.
    pub(crate) fn learn(&self, node: &Node, failure: &Failure) -> Option<Target<'static>> {
        match self {
            Self::Single(_) => None,
            Self::Sentinel(sentinel) => {
                if failure.sent != Sent::Answered || failure.code() == Some("READONLY") {
                    sentinel.look_again();
                }
                None
            }
            Self::Cluster(cluster) => cluster.learn(node, failure),
        }
    }
}
