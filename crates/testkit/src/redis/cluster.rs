use std::cell::Cell;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::group::{READY_WITHIN, group_controls, settled};
use super::server::{RedisServer, RedisServerBuilder};
use crate::ends::output_within;
use crate::resp::Reply;
use crate::url::{Authority, credentials};
use crate::{StartError, tools};

/// How long a failover may take that was ordered: each order begins it anew.
const FAILOVER: Duration = Duration::from_secs(6);

/// Six nodes: three primaries with a replica each, which takes over when its primary is silent for a second.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    /// How further nodes are made. None if somebody else runs the cluster.
    template: Option<RedisServerBuilder>,
}

impl RedisCluster {
    /// Starts a cluster of your own; returns when every node finds it whole.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `redis-server` and `redis-cli`, or they do not start.
    pub async fn start() -> Self {
        Self::start_with(RedisServer::builder()).await
    }

    /// [`start`](Self::start), with these settings for each node: `RedisServer::builder().password("secret").tls()`.
    pub async fn start_with(node: RedisServerBuilder) -> Self {
        Self::try_start(node).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The cluster that all tests of this process share: `STATEHOUSE_TEST_REDIS_CLUSTER_URL`, else one started now.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_REDIS_CLUSTER_URL") {
            Some(url) => Self::at(&url),
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    fn at(url: &str) -> Self {
        let Authority { user, password, hosts } = Authority::of(url);
        let credentials = credentials(&user, &password);
        let nodes = hosts.split(',').map(|host| RedisServer::at(&format!("redis://{credentials}{host}"))).collect();
        Self { nodes, template: None }
    }

    /// Starts a cluster of your own, with these settings for each node.
    ///
    /// # Errors
    /// If there is no `redis-server` and `redis-cli`, or they do not start.
    pub async fn try_start(node: RedisServerBuilder) -> Result<Self, StartError> {
        let mut node = node.for_group().arg("--cluster-node-timeout", "1000").arg("--repl-diskless-sync-delay", "0");
        node.cluster = true;
        let mut nodes = vec![node.clone().try_start().await?];
        node = node.like(&nodes[0]);
        for _ in 1..6 {
            nodes.push(node.clone().try_start().await?);
        }
        let cluster = Self { nodes, template: Some(node) };
        cluster.join_nodes().await?;
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// A cluster of one node, which has all slots.
    pub(crate) async fn of_one_node() -> Result<Self, StartError> {
        let mut node = RedisServer::builder();
        node.cluster = true;
        let node = node.try_start().await?;
        node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await?;
        Ok(Self { nodes: vec![node], template: None })
    }

    /// Its only node says from now on that it is at `address`, a port of 127.0.0.1; returns when the cluster is whole.
    pub(crate) async fn announce(&self, address: &str) -> Result<(), StartError> {
        let node = &self.nodes[0];
        let (host, port) = address.split_once(':').unwrap_or_default();
        node.command(&["CONFIG", "SET", "cluster-announce-ip", host, "cluster-announce-port", port]).await?;
        let announced = || async {
            let info = node.command(&["CLUSTER", "INFO"]).await?;
            let is_whole = info.text().is_some_and(|info| info.contains("cluster_state:ok"));
            Ok(is_whole && owner(node, "any").await?.as_deref() == Some(address))
        };
        settled("the node does not say where it is", announced).await
    }

    async fn join_nodes(&self) -> Result<(), StartError> {
        let mut command = Command::new(tools::find_program("redis-cli", &[])?);
        command.args(["--cluster", "create"]).args(self.nodes.iter().map(RedisServer::peer_address));
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let first = &self.nodes[0];
        if !first.admin_password.is_empty() {
            command.env("REDISCLI_AUTH", &first.admin_password);
        }
        if let Some(tls) = &first.tls {
            command.arg("--tls").arg("--cacert").arg(&tls.files.authority);
        }
        // It waits for ever for nodes that do not join.
        let joined = tokio::task::spawn_blocking(move || output_within(&mut command, READY_WITHIN * 3));
        let output = joined.await.map_err(io::Error::other)??;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        Err(StartError::new(format!("redis-cli --cluster create: {}", String::from_utf8_lossy(&text))))
    }

    /// `redis+cluster://:password@a:1,b:2,…` with all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(RedisServer::address).collect();
        format!("redis+cluster://{}{}", self.credentials(), hosts.join(","))
    }

    /// `rediss+cluster://…` with all nodes, of a cluster whose nodes have [`tls`](RedisServerBuilder::tls).
    ///
    /// # Panics
    /// If they have not.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(RedisServer::tls_address).collect();
        format!("rediss+cluster://{}{}", self.credentials(), hosts.join(","))
    }

    fn credentials(&self) -> String {
        credentials(&self.nodes[0].user, &self.nodes[0].password)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// Starts a node at an address of its own that takes over from the primary of `key`; the old one stays as its replica.
    ///
    /// # Panics
    /// If it does not start or does not take over, and if somebody else runs the cluster.
    pub async fn replace_primary_of(&mut self, key: &str) {
        let node = self.template.clone().expect("a cluster of your own");
        let new = node.try_start().await.unwrap_or_else(|error| panic!("{error}"));
        let old = self.primary_of(key).await.expect("an answer").expect("a primary");
        let id = old.command(&["CLUSTER", "MYID"]).await.expect("an answer");
        let id = id.text().expect("an id").to_owned();
        let peer = old.peer_address();
        let (host, port) = peer.split_once(':').expect("host and port");
        let bus = old.command(&["CONFIG", "GET", "cluster-port"]).await.expect("an answer");
        let Reply::Array(bus) = bus else { panic!("{bus:?}") };
        let bus = bus.get(1).and_then(Reply::text).expect("a port").to_owned();
        new.command(&["CLUSTER", "MEET", host, port, &bus]).await.expect("an answer");
        let ordered = Cell::new(None);
        let took_over = || async {
            // Each step is refused until the one before is known to all who must know it.
            let role = new.command(&["INFO", "replication"]).await?;
            let role = role.text().unwrap_or_default().to_owned();
            if role.contains("role:master") {
                new.command(&["CLUSTER", "REPLICATE", &id]).await?;
            } else if role.contains("master_link_status:up")
                && ordered.get().is_none_or(|at: Instant| at.elapsed() > FAILOVER)
            {
                // What the others do not agree on in time is done without them.
                let order: &[&str] = match ordered.get() {
                    None => &["CLUSTER", "FAILOVER"],
                    Some(_) => &["CLUSTER", "FAILOVER", "TAKEOVER"],
                };
                new.command(order).await?;
                ordered.set(Some(Instant::now()));
            }
            Ok(owner(old, key).await?.as_ref() == Some(&new.address))
        };
        settled("the new node has not taken over", took_over).await.unwrap_or_else(|error| panic!("{error}"));
        self.nodes.push(new);
    }

    /// The node that answers for `key` now, as most nodes that run see it; none while there is no such majority.
    ///
    /// # Errors
    /// If no node answers.
    pub async fn primary_of(&self, key: &str) -> io::Result<Option<&RedisServer>> {
        let mut votes = vec![0; self.nodes.len()];
        let mut voters = 0;
        let mut failure = io::Error::other("the cluster has no nodes");
        for node in &self.nodes {
            match owner(node, key).await {
                Ok(address) => {
                    voters += 1;
                    let named = self.nodes.iter().position(|node| Some(&node.address) == address.as_ref());
                    named.into_iter().for_each(|at| votes[at] += 1);
                }
                Err(error) => failure = error,
            }
        }
        if voters == 0 {
            return Err(failure);
        }
        Ok(votes.iter().position(|votes| votes * 2 > voters).map(|at| &self.nodes[at]))
    }

    group_controls!();

    /// Starts all nodes again, killing those that run; returns when every node finds the cluster whole.
    pub async fn restart(&self) {
        self.kill();
        for node in &self.nodes {
            node.restart().await;
        }
        self.wait_ready().await.unwrap_or_else(|error| panic!("{error}"));
    }

    fn members(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter()
    }

    async fn wait_ready(&self) -> Result<(), StartError> {
        let whole = || async {
            for node in &self.nodes {
                let info = node.command(&["CLUSTER", "INFO"]).await?;
                let info = info.text().unwrap_or_default();
                if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:6") {
                    return Ok(false);
                }
                let role = node.command(&["INFO", "replication"]).await?;
                if role.text().is_some_and(|info| info.contains("master_link_status:down")) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        settled("the cluster is not whole", whole).await
    }
}

/// The address of the primary of `key`'s slot, as `node` sees it.
async fn owner(node: &RedisServer, key: &str) -> io::Result<Option<String>> {
    let slot = node.command(&["CLUSTER", "KEYSLOT", key]).await?.integer();
    let Reply::Array(ranges) = node.command(&["CLUSTER", "SLOTS"]).await? else { return Ok(None) };
    let owner = ranges.iter().find_map(|range| {
        let Reply::Array(range) = range else { return None };
        let [first, last, Reply::Array(primary), ..] = range.as_slice() else { return None };
        let within = first.integer() <= slot && slot <= last.integer();
        within.then(|| Some(format!("{}:{}", primary.first()?.text()?, primary.get(1)?.integer()?))).flatten()
    });
    Ok(owner)
}
