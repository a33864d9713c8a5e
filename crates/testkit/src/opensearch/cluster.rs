use super::config::NodeConfig;
use super::node::OpenSearchNode;
use crate::StartError;

/// Three nodes of one cluster, each able to lead it.
#[derive(Debug)]
pub struct OpenSearchCluster {
    nodes: Vec<OpenSearchNode>,
}

impl OpenSearchCluster {
    /// Starts a cluster of your own; returns when all three nodes have joined. It takes about twenty seconds and 2 GB.
    ///
    /// # Panics
    /// With a [`StartError`] if OpenSearch or a JVM for it is missing, or it does not start.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a cluster of your own; returns when all three nodes have joined.
    ///
    /// # Errors
    /// If OpenSearch or a JVM for it is missing, or it does not start.
    pub async fn try_start() -> Result<Self, StartError> {
        let names = ["one", "two", "three"];
        let mut configs = names.into_iter().map(NodeConfig::new).collect::<Result<Vec<_>, _>>()?;
        let seeds: Vec<_> = configs.iter().map(|config| config.transport.address().to_string()).collect();
        let mut nodes = Vec::new();
        for mut config in configs.drain(..) {
            config.set("discovery.seed_hosts", &format!("[{}]", quoted(&seeds)));
            config.set("cluster.initial_cluster_manager_nodes", &format!("[{}]", names.join(", ")));
            nodes.push(OpenSearchNode::spawn(config)?);
        }
        let cluster = Self { nodes };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// The URLs of the nodes, `http://127.0.0.1:1,http://127.0.0.1:2,…`; see also [`nodes`](Self::nodes).
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(OpenSearchNode::url).collect();
        urls.join(",")
    }

    /// The three nodes.
    #[must_use]
    pub fn nodes(&self) -> &[OpenSearchNode] {
        &self.nodes
    }

    /// Pauses all nodes that run.
    pub fn pause(&self) {
        self.nodes.iter().filter(|node| node.is_running()).for_each(OpenSearchNode::pause);
    }

    /// Lets all nodes go on.
    pub fn resume(&self) {
        self.nodes.iter().filter(|node| node.is_running()).for_each(OpenSearchNode::resume);
    }

    /// Kills all nodes at once.
    pub fn kill(&self) {
        self.nodes.iter().for_each(OpenSearchNode::kill);
    }

    /// Starts all nodes again, killing those that run; returns when all have joined.
    pub async fn restart(&self) {
        for node in &self.nodes {
            node.process().spawn_again().unwrap_or_else(|error| panic!("{error}"));
        }
        self.wait_ready().await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn wait_ready(&self) -> Result<(), StartError> {
        for node in &self.nodes {
            node.wait_for("wait_for_nodes=3&wait_for_status=green").await?;
        }
        Ok(())
    }
}

/// YAML would read `127.0.0.1:9300` as text too, but only just.
fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}
