//! The ways of a replica to the servers, each of which can be cut.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use statehouse_testkit::FaultProxy;

use crate::{Servers, s3_url_at};

/// What the ways lead to, in order.
pub(super) const TO: [&str; 3] = ["Redis", "S3", "OpenSearch"];

/// Those of one replica.
#[derive(Debug)]
pub(super) struct Ways([(FaultProxy, AtomicBool); 3]);

impl Ways {
    pub(super) fn to(servers: &Servers) -> Self {
        let addresses = [servers.redis.address(), servers.s3.address(), servers.opensearch.address()];
        Self(addresses.map(|address| (FaultProxy::start(address), AtomicBool::new(false))))
    }

    /// What a replica is told so that it goes these ways.
    pub(super) fn env(&self, servers: &Servers) -> Vec<(&'static str, OsString)> {
        let [redis, s3, opensearch] = &self.0;
        let redis = redis.0.url(&servers.redis.url());
        let files = s3_url_at(&servers.s3, &s3.0.url(&servers.s3.endpoint()));
        let search = format!("opensearch+{}", opensearch.0.url(&servers.opensearch.url()));
        vec![
            ("STATEHOUSE_CACHE_URL", redis.clone().into()),
            ("STATEHOUSE_SESSIONS_URL", redis.clone().into()),
            ("STATEHOUSE_COORDINATION_URL", redis.into()),
            ("STATEHOUSE_FILES_URL", files.into()),
            ("STATEHOUSE_SEARCH_URL", search.into()),
        ]
    }

    /// Cuts the way to this server, or mends it if it is cut. None if there is no such way.
    pub(super) fn turn(&self, server: &str) -> Option<()> {
        let (_, (way, is_cut)) = TO.iter().zip(&self.0).find(|(name, _)| **name == server)?;
        // Two who press at once have pressed one after the other.
        if is_cut.fetch_xor(true, Ordering::AcqRel) {
            way.heal();
        } else {
            way.cut();
        }
        Some(())
    }

    /// To which servers the way is cut.
    pub(super) fn cut(&self) -> Vec<&'static str> {
        let cut = TO.iter().zip(&self.0).filter(|(_, (_, is_cut))| is_cut.load(Ordering::Acquire));
        cut.map(|(name, _)| *name).collect()
    }
}
