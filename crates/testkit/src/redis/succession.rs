//! A replica that becomes the primary.

use std::io;
use std::time::Duration;

use super::group::READY_WITHIN;
use super::server::RedisServer;
use crate::proxy::FaultProxy;
use crate::resp::Reply;

/// A primary, and a replica of it whose clock is behind and that will take its place at one address.
#[derive(Debug)]
pub struct RedisSuccession {
    old: RedisServer,
    new: RedisServer,
    proxy: FaultProxy,
}

impl RedisSuccession {
    /// Two servers; clients are to connect to the [`url`](Self::url).
    ///
    /// # Panics
    /// If they do not start in time.
    pub async fn behind(clock: Duration) -> Self {
        let old = RedisServer::start().await;
        let new = RedisServer::builder().clock_behind(clock).start().await;
        new.follow(&old).await;
        let proxy = FaultProxy::start(old.address());
        Self { old, new, proxy }
    }

    /// Where the primary is, whichever that is.
    pub fn url(&self) -> String {
        self.proxy.url(&self.old.url())
    }

    /// Kills the primary, and promotes the replica once it has all that the primary was told.
    ///
    /// # Panics
    /// If that has not come in time.
    pub async fn happens(&self) {
        self.new.succeed(&self.old).await;
        self.proxy.retarget(self.new.address());
        self.proxy.reset_connections();
    }
}

impl RedisServer {
    /// Makes it a replica of `primary`, and returns when it has all that is there.
    ///
    /// # Panics
    /// If it does not become one in time.
    async fn follow(&self, primary: &Self) {
        let (host, port) = primary.address().rsplit_once(':').expect("an address with a port");
        self.command(&["REPLICAOF", host, port]).await.expect("a command");
        let up = self.process().wait_until(READY_WITHIN, async || {
            let info = self.command(&["INFO", "replication"]).await?;
            let is_up = info.text().is_some_and(|text| text.contains("master_link_status:up"));
            if is_up { Ok(()) } else { Err(io::Error::other("the replica is not in step")) }
        });
        up.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Makes it a primary that follows nobody, once it has all that `old` was told; `old` is killed.
    ///
    /// # Panics
    /// If that has not come in time.
    async fn succeed(&self, old: &Self) {
        let all = old.offset("master_repl_offset:").await.expect("an offset");
        let known = self.process().wait_until(READY_WITHIN, async || match self.offset("slave_repl_offset:").await? {
            known if known >= all => Ok(()),
            known => Err(io::Error::other(format!("the replica has {known} of {all} bytes"))),
        });
        known.await.unwrap_or_else(|error| panic!("{error}"));
        old.kill();
        let promoted = self.command(&["REPLICAOF", "NO", "ONE"]).await.expect("a command");
        assert!(matches!(promoted, Reply::Text(_)), "{promoted:?}");
    }

    async fn offset(&self, field: &str) -> io::Result<u64> {
        let info = self.command(&["INFO", "replication"]).await?;
        let value = info.text().and_then(|text| text.split(field).nth(1)?.lines().next()?.trim().parse().ok());
        value.ok_or_else(|| io::Error::other(format!("no {field}")))
    }
}
