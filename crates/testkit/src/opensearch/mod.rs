//! OpenSearch: one node, and the cluster of three.

mod cluster;
mod config;
mod node;

pub use self::cluster::OpenSearchCluster;
pub use self::config::{find_java, find_opensearch};
pub use self::node::OpenSearchNode;
