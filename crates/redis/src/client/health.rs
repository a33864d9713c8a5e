use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{cmd, from_redis_value};
use statehouse_core::{Error, ErrorKind, Health, HealthStatus, Result};
use tokio::time::{Instant, timeout_at};

use crate::client::RedisClient;
use crate::config::Address;
use crate::error::{NEEDED, OLDEST, may_pass};
use crate::failure::{Failure, no_owner, not_the_master, timed_out};
use crate::idempotence::Idempotence;
use crate::node::Node;
use crate::node::info::{EvictionPolicy, Persistence};
use crate::node::inspect::{Facts, Mode};
use crate::topology::Topology;

/// What is kept on the server: whether it is ill if it evicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contents {
    /// Entries of a cache.
    MayVanish,
    /// What is lost if the server evicts it, such as sessions.
    MustStay,
}

/// The most that a health check takes, whatever the timeouts are: it must be over before the prober gives up, which for
/// most is after a second.
const LIMIT: Duration = Duration::from_millis(900);

impl RedisClient {
    /// How the servers that take writes are, in one round trip to each; over within a second in every state.
    ///
    /// Down if any of them does not answer or is known to be [away](Self::breaker). Degraded if one is a replica, which
    /// refuses writes, has no memory left and evicts nothing, has fewer replicas than writes [wait
    /// for](crate::RedisConfig::with_wait_replicas), is told to refuse writes while too few replicas are well or it
    /// cannot save, does not let this user run scripts, or is sending to others all the while, so that the answer has not come
    /// yet. A cluster that says that it is down is, whatever its servers answer;
    /// one in which a slot has no owner is degraded. Both are told as they were learnt last, at most ten seconds ago. What a server does not tell is not held against it.
    pub async fn health(&self) -> Health {
        self.health_of(Contents::MayVanish).await
    }

    /// As [`health`](Self::health), for what is kept there: where that must stay, a server that evicts is degraded.
    pub async fn health_of(&self, contents: Contents) -> Health {
        let begun = Instant::now();
        let masters = self.inner.topology.masters();
        let answers = join_all(masters.iter().map(|node| inspected(node, begun + LIMIT))).await;
        let failures = masters.iter().zip(&answers).filter_map(|(node, (answer, sends))| {
            let failure = answer.as_ref().err()?;
            Some((node, failure, *sends))
        });
        // One that says nothing is worse than one that has not come to the answer yet.
        let failed = failures.min_by_key(|(_, _, sends)| *sends);
        let is_sending = failed.is_some_and(|(_, _, sends)| sends);
        let probe = match failed {
            None if masters.is_empty() => self.inner.topology.node_of_key(None).map(drop),
            None => Ok(()),
            Some((node, failure, _)) => {
                self.inner.topology.learn(node, failure);
                Err(failure.clone())
            }
        };
        let probe = probe.map_err(|failure| self.error(&failure, Idempotence::Idempotent, false));
        let mut health = Health::of(self.describe(&masters), begun.elapsed(), probe);
        if is_sending {
            health.status = HealthStatus::Degraded;
        }
        let facts = masters.iter().zip(answers.into_iter().filter_map(|(answer, _)| answer.ok()));
        let lacks = facts.filter_map(|(node, facts)| self.lack(node, &facts, contents)).next();
        let gap = self.inner.topology.gap().map(|status| (status, self.no_owner()));
        let lack = gap.or_else(|| lacks.map(|error| (HealthStatus::Degraded, error)));
        if let (HealthStatus::Up, Some((status, error))) = (health.status, lack) {
            (health.status, health.error) = (status, Some(error));
        }
        health
    }

    /// What is said of a key that no server has.
    fn no_owner(&self) -> Error {
        self.error(&Failure::not_sent(no_owner()), Idempotence::Idempotent, false)
    }

    /// What a server that answers lacks.
    fn lack(&self, node: &Node, facts: &Facts, contents: Contents) -> Option<Error> {
        let place = node.address().map_or_else(|| self.inner.place.clone(), |address| format!("Redis at {address}"));
        let error = |kind, message: String| Some(Error::new(kind, message).with_backend("redis"));
        if facts.is_replica {
            // Who writes now may write to its successor by itself.
            self.inner.topology.learn(node, &Failure::not_sent(not_the_master()));
            return error(ErrorKind::Unavailable, format!("{place} is a replica and refuses writes"));
        }
        if let Some((why, retry)) = facts.refusal {
            let message = format!("{place} refuses writes: {why}");
            return error(ErrorKind::Unavailable, message).map(|error| error.with_retry(retry));
        }
        if let Some(error) = self.no_scripts(&place, facts) {
            return Some(error);
        }
        let wanted = node.waits_for();
        if let Some(there) = facts.replicas.filter(|there| *there < wanted) {
            let message = format!("{place} has {there} replicas, and writes wait for {wanted} (wait_replicas)");
            return error(ErrorKind::Unavailable, message);
        }
        let memory = facts.memory?;
        if memory.is_full() {
            let message = format!(
                "{place} has {} of {} bytes in use and evicts nothing: writes are refused, or soon will be",
                memory.used, memory.limit
            );
            return Some(Error::full(message).with_backend("redis"));
        }
        let evicts = matches!(memory.policy, EvictionPolicy::Any | EvictionPolicy::WithTimeToLive);
        if evicts && contents == Contents::MustStay {
            let message =
                format!("{place} evicts what must stay when its memory is full: set maxmemory-policy noeviction");
            return error(ErrorKind::InvalidConfig, message);
        }
        None
    }

    /// That this user may run no scripts, or none that ask for the time, if so.
    fn no_scripts(&self, place: &str, facts: &Facts) -> Option<Error> {
        let error = self.error(facts.scripts.as_ref()?, Idempotence::Idempotent, false);
        let lasting = [ErrorKind::PermissionDenied, ErrorKind::Unsupported].contains(&error.kind());
        let message = format!(
            "{place} does not let this user run the scripts that write: EVAL, EVALSHA and TIME are needed, see ACL GETUSER"
        );
        lasting.then(|| Error::new(error.kind(), message).with_backend("redis").with_source(error))
    }

    /// A node of a cluster answers for its own keys only, and a sentinel for none.
    fn check_mode(&self, mode: Mode) -> Result<()> {
        let (what, scheme) = match (&self.inner.topology, mode) {
            (Topology::Single(_), Mode::OfACluster) => ("a node of a cluster", "redis+cluster"),
            (Topology::Single(_), Mode::Sentinel) => ("a sentinel", "redis+sentinel"),
            _ => return Ok(()),
        };
        let message = format!("{} is {what}: its scheme is {scheme}", self.inner.place);
        Err(Error::new(ErrorKind::InvalidConfig, message).with_backend("redis"))
    }

    /// That every server is new enough, as far as it tells; and what it does when its memory is full, for the log.
    pub(crate) async fn check_servers(&self, until: Instant) -> Result<()> {
        let answers = self.of_those_that_answer(|node| async move {
            let ((version, mode), facts) = (node.version(until).await?, node.inspect(until).await?);
            Ok((node.address().map(Address::to_string), version, mode, facts))
        });
        let answers = answers.await?;
        let (answered, all) = (answers.len(), self.inner.topology.masters().len());
        if answered < all {
            tracing::warn!(name: "redis.opened_in_part", answered, all, "opened Redis while some of its shards are down");
        }
        for (server, version, mode, facts) in answers {
            self.check_mode(mode)?;
            if let Some((major, minor)) = version.filter(|version| *version < OLDEST) {
                let place = server.map_or_else(|| self.inner.place.clone(), |at| format!("Redis at {at}"));
                let message = format!("{place} is version {major}.{minor}: {NEEDED}");
                return Err(Error::new(ErrorKind::InvalidConfig, message).with_backend("redis"));
            }
            // Who only reads needs none.
            if let Some(error) = self.no_scripts(&self.inner.place, &facts) {
                tracing::warn!(name: "redis.read_only", server, %error, "opened a Redis that can only be read");
            }
            match facts.memory {
                Some(memory) if memory.is_full() => {
                    let (used, limit) = (memory.used, memory.limit);
                    tracing::warn!(name: "redis.full", server, used, limit, "this Redis has no memory left and evicts nothing");
                }
                memory => {
                    tracing::info!(name: "redis.opened", server, ?version, policy = ?memory.map(|memory| memory.policy), "opened Redis")
                }
            }
        }
        Ok(())
    }

    /// What the servers that take writes answer, all asked at once. A shard that is down does not keep anybody from asking
    /// the others: it fails if none answers, or if one says what will not pass, such as that the password is wrong.
    pub(super) async fn of_those_that_answer<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        ask: impl Fn(Arc<Node>) -> F,
    ) -> Result<Vec<T>> {
        let masters = self.inner.topology.masters();
        let answers = join_all(masters.iter().cloned().map(ask)).await;
        let (mut found, mut first) = (Vec::with_capacity(masters.len()), None);
        for (node, answer) in masters.iter().zip(answers) {
            let failure = match answer {
                Ok(answer) => {
                    found.push(answer);
                    continue;
                }
                Err(failure) => failure,
            };
            self.inner.topology.learn(node, &failure);
            let error = self.error(&failure, Idempotence::Idempotent, false);
            if !may_pass(&error) {
                return Err(error);
            }
            let server = node.address().map(Address::to_string);
            tracing::debug!(name: "redis.not_inspected", server, error = %error, "a server of Redis does not answer what it is asked about itself");
            first.get_or_insert(error);
        }
        match first {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// What this is and where, without secrets, for example
    /// `Redis master "main" of the sentinels a:26379,b:26379, now at 10.0.0.7:6379`.
    fn describe(&self, masters: &[Arc<Node>]) -> String {
        let place = &self.inner.place;
        match masters {
            _ if self.inner.topology.is_cluster() => format!("{place}, {} masters", masters.len()),
            [master] => match master.address() {
                Some(address) if !place.contains(&address.to_string()) => format!("{place}, now at {address}"),
                _ => place.clone(),
            },
            _ => place.clone(),
        }
    }

    /// What is there again after a server was stopped; of a cluster, that of its server which keeps least, among those that
    /// answer.
    ///
    /// # Errors
    /// As [`query`](Self::query). That the server does not tell is [`Persistence::Unknown`], not an error.
    pub async fn persistence(&self) -> Result<Persistence> {
        let until = self.deadline(0);
        let answers = self.of_those_that_answer(|node| async move { node.persistence(until).await }).await?;
        Ok(answers.into_iter().max_by_key(|answer| answer.danger()).unwrap_or(Persistence::Unknown))
    }

    /// The eviction policy; of a cluster, that of its server which evicts most, among those that answer.
    ///
    /// # Errors
    /// As [`query`](Self::query). That the server does not tell is [`EvictionPolicy::Unknown`], not an error.
    pub async fn eviction_policy(&self) -> Result<EvictionPolicy> {
        let until = self.deadline(0);
        let policies = self.of_those_that_answer(|node| async move { policy_of(&node, until).await }).await?;
        Ok(policies.into_iter().max_by_key(|policy| policy.danger()).unwrap_or(EvictionPolicy::Unknown))
    }
}

/// What a server says of itself by then, however much it is sending; and if that has not come, whether anything has.
async fn inspected(node: &Node, until: Instant) -> (Result<Facts, Failure>, bool) {
    let before = node.received();
    let answer = timeout_at(until, node.inspect(until)).await;
    let answer = answer.unwrap_or_else(|_| Err(Failure::unanswered(timed_out())));
    let is_late = answer.as_ref().is_err_and(|failure| failure.error.is_timeout());
    (answer, is_late && node.received() > before)
}

/// From `INFO`, which more managed services allow, else from `CONFIG GET`.
pub(super) async fn policy_of(node: &Node, until: Instant) -> Result<EvictionPolicy, Failure> {
    if let Some(memory) = node.inspect(until).await?.memory {
        return Ok(memory.policy);
    }
    let Some(settings) = node.ask(cmd("CONFIG").arg("GET").arg("maxmemory*"), until).await? else {
        return Ok(EvictionPolicy::Unknown);
    };
    let settings: HashMap<String, String> = from_redis_value(settings).unwrap_or_default();
    let limit = settings.get("maxmemory").and_then(|limit| limit.parse().ok());
    let policy = settings.get("maxmemory-policy");
    Ok(policy.zip(limit).map_or(EvictionPolicy::Unknown, |(policy, limit)| EvictionPolicy::of(policy, limit)))
}
