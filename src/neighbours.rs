//! Replicas of the same program on the same Redis that have another namespace, and so do not see each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_coord::{Coordination, Member, Membership, RedisCoordStore};
use statehouse_core::{Namespace, Result};
use statehouse_redis::RedisClient;

use crate::fleet_report::{Elsewhere, program};
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
    /// since then that they are there. One that cannot be looked into keeps nobody from the others.
    pub(crate) async fn elsewhere(&self, programs: &BTreeSet<String>, since: Option<Instant>) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        let others = match self.others(programs).await {
            Ok(others) => others,
            Err(error) => {
                elsewhere.unknown.insert(String::new(), error.to_string());
                return elsewhere;
            }
        };
        for other in others {
            match self.count(&other, programs, since).await {
                Ok(0) => {}
                Ok(count) => drop(elsewhere.found.insert(other, count)),
                Err(error) => drop(elsewhere.unknown.insert(other, error.to_string())),
            }
        }
        elsewhere
    }

    /// The other namespaces that replicas of these programs have named.
    async fn others(&self, programs: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let said = self.directory().await?.members().await?.into_iter().map(|member| member.info);
        let said = said.filter(|info| is_one(programs, &info.build));
        let others = said.filter_map(|info| info.fingerprints.get(NAMESPACE).cloned());
        Ok(others.filter(|other| other != self.namespace.as_str()).collect())
    }

    async fn count(&self, other: &str, programs: &BTreeSet<String>, since: Option<Instant>) -> Result<usize> {
        let members = self.members_of(other).await?.members().await?;
        let is_there = |member: &&Member| {
            let build = &member.info.build;
            // Who names no build has been found by the name of its program.
            (build.is_empty() || is_one(programs, program(build)))
                && since.is_none_or(|since| member.heard >= Some(since))
        };
        Ok(members.iter().filter(is_there).count())
    }
}

fn is_one(programs: &BTreeSet<String>, name: &str) -> bool {
    programs.is_empty() || programs.contains(name)
}
