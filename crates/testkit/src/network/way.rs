use std::time::Duration;

use super::fault::NetworkFault;
use super::subject::RedisTopology;
use crate::{FaultProxy, RedisCluster, RedisSentinel, RedisServer, StartError};

/// A client that has found the server away tries again within this.
const PAUSE: Duration = Duration::from_secs(2);

/// The way of one client to its server.
pub(super) struct Way {
    own: Option<RedisServer>,
    cluster: Option<RedisCluster>,
    _sentinel: Option<RedisSentinel>,
    proxy: FaultProxy,
    /// For a client that has the fault before it.
    pub(super) url: String,
    /// For one that has not.
    pub(super) around: String,
}

impl Way {
    pub(super) async fn new(topology: RedisTopology, fault: NetworkFault) -> Result<Self, StartError> {
        if topology == RedisTopology::Cluster {
            let cluster = RedisCluster::of_one_node().await?;
            let proxy = FaultProxy::start(cluster.nodes()[0].address());
            cluster.announce(&proxy.address()).await?;
            let url = proxy.url(&cluster.url());
            let around = url.clone();
            return Ok(Self { own: None, cluster: Some(cluster), _sentinel: None, proxy, url, around });
        }
        let own = if fault.is_of_the_server() { Some(RedisServer::builder().try_start().await?) } else { None };
        let server = match &own {
            Some(own) => own,
            None => RedisServer::shared().await,
        };
        let (proxy, around) = (FaultProxy::start(server.address()), server.url());
        let sentinel = match topology {
            RedisTopology::Sentinel => Some(RedisSentinel::of(server, &proxy.address()).await?),
            _ => None,
        };
        let url = sentinel.as_ref().map_or_else(|| proxy.url(&around), RedisSentinel::url);
        Ok(Self { own, cluster: None, _sentinel: sentinel, proxy, url, around })
    }

    fn server(&self) -> Option<&RedisServer> {
        self.own.as_ref().or_else(|| self.cluster.as_ref()?.nodes().first())
    }

    pub(super) fn begin(&self, fault: NetworkFault) {
        fault.begin(&self.proxy, self.server());
    }

    pub(super) async fn heal(&self) {
        if let Some(server) = self.server() {
            server.resume();
        }
        self.proxy.heal();
        if self.cluster.is_some() {
            // Who has met the fault on the way around it, too, may not try again at once.
            tokio::time::sleep(PAUSE).await;
        }
    }
}
