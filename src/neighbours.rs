//! Replicas of the same program on the same Redis that have another namespace, and so do not see each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_coord::{Coordination, Member, Membership, RedisCoordStore};
use statehouse_core::{Namespace, Result};
use statehouse_redis::RedisClient;

use crate::fleet_report::program;
use crate::lazy::Lazy;

/// The namespace in which replicas say which one they have.
const DIRECTORY: &str = "statehouse-namespaces";

const NAMESPACE: &str = "namespace";

/// Once a replica has said so, it is known for three times as long. Whether it is still there, its own namespace says.
const SAID_EVERY: Duration = Duration::from_secs(600);

/// How they find each other.
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    client: Arc<Lazy<RedisClient>>,
    namespace: Namespace,
}

impl Neighbours {
    pub(crate) const fn new(client: Arc<Lazy<RedisClient>>, namespace: Namespace) -> Self {
        Self { client, namespace }
    }

    async fn members_of(&self, namespace: &str) -> Result<Membership> {
        let store = RedisCoordStore::new(self.client.get().await?.clone(), &Namespace::new(namespace)?)?;
        Ok(Coordination::new(Arc::new(store)).membership())
    }

    /// Where each says which namespace it has.
    pub(crate) async fn directory(&self) -> Result<Membership> {
        Ok(self.members_of(DIRECTORY).await?.heartbeat(SAID_EVERY))
    }

    /// What one says there.
    #[cfg(feature = "serve")]
    pub(crate) fn entry(&self, program: &str) -> statehouse_coord::MemberInfo {
        statehouse_coord::MemberInfo::new(program).with_fingerprint(NAMESPACE, self.namespace.as_str())
    }

    /// How many replicas of these programs each other namespace has, or of all programs if none is named: those that have said
    /// since then that they are there.
    pub(crate) async fn elsewhere(
        &self,
        programs: &BTreeSet<String>,
        since: Option<Instant>,
    ) -> Result<BTreeMap<String, usize>> {
        let is_one = |name: &str| programs.is_empty() || programs.contains(name);
        let said = self.directory().await?.members().await?;
        let said = said.iter().filter(|member| is_one(&member.info.build));
        let others: BTreeSet<_> = said.filter_map(|member| member.info.fingerprints.get(NAMESPACE)).collect();
        let mut found = BTreeMap::new();
        for other in others.into_iter().filter(|other| *other != self.namespace.as_str()) {
            let members = self.members_of(other).await?.members().await?;
            let is_there = |member: &&Member| {
                let build = &member.info.build;
                // Who names no build has been found by the name of its program.
                (build.is_empty() || is_one(program(build))) && since.is_none_or(|since| member.heard >= Some(since))
            };
            let count = members.iter().filter(is_there).count();
            if count > 0 {
                found.insert(other.clone(), count);
            }
        }
        Ok(found)
    }
}
