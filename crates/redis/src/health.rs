use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, Value, cmd, from_redis_value};
use statehouse_core::{Health, Result};
use tokio::time::Instant;

use crate::client::{Idempotence, RedisClient};
use crate::node::Node;
use crate::pending::{Failure, Sent};

/// What a server does when `maxmemory` is reached: whether keys that must not vanish are safe on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// Writes fail and nothing is evicted (`noeviction`), or there is no `maxmemory`.
    Never,
    /// Keys with a time to live are evicted (`volatile-*`).
    WithTimeToLive,
    /// Any key is evicted (`allkeys-*`).
    Any,
    /// The server does not tell: this user may ask neither `CONFIG GET` nor `INFO`, as on some managed services.
    Unknown,
}

impl RedisClient {
    /// One round trip to each server that takes writes. Down if any of them does not answer.
    pub async fn health(&self) -> Health {
        let begun = Instant::now();
        let until = begun + self.inner.timing.operation;
        let masters = self.inner.topology.masters();
        let ping = cmd("PING");
        let answers = join_all(masters.iter().map(|node| node.send(&ping, until))).await;
        let failed = masters.iter().zip(answers).find_map(|(node, answer)| Some((node, answer.err()?)));
        let probe = match failed {
            None if masters.is_empty() => self.query(&ping, Idempotence::Idempotent).await,
            None => Ok(()),
            Some((node, failure)) => {
                self.inner.topology.learn(node, &failure);
                Err(self.error(&failure, Idempotence::Idempotent, false))
            }
        };
        Health::of(self.describe(&masters), begun.elapsed(), probe)
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

    /// The eviction policy; of a cluster, that of its server which evicts most.
    ///
    /// # Errors
    /// As [`query`](Self::query). That the server does not tell is [`EvictionPolicy::Unknown`], not an error.
    pub async fn eviction_policy(&self) -> Result<EvictionPolicy> {
        let until = Instant::now() + self.inner.timing.total;
        let masters = self.inner.topology.masters();
        let policies = join_all(masters.iter().map(|node| policy_of(node, until))).await;
        let policies = policies.into_iter().collect::<Result<Vec<_>, _>>();
        let policies = policies.map_err(|failure| self.error(&failure, Idempotence::Idempotent, false))?;
        Ok(policies.into_iter().max_by_key(|policy| policy.danger()).unwrap_or(EvictionPolicy::Unknown))
    }
}

impl EvictionPolicy {
    const fn danger(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::WithTimeToLive => 1,
            Self::Unknown => 2,
            Self::Any => 3,
        }
    }

    fn of(policy: &str, maxmemory: &str) -> Self {
        match policy {
            _ if maxmemory == "0" => Self::Never,
            "noeviction" => Self::Never,
            volatile if volatile.starts_with("volatile-") => Self::WithTimeToLive,
            any if any.starts_with("allkeys-") => Self::Any,
            _ => Self::Unknown,
        }
    }
}

/// From `INFO`, which more managed services allow, else from `CONFIG GET`.
async fn policy_of(node: &Node, until: Instant) -> Result<EvictionPolicy, Failure> {
    if let Some(info) = ask(node, cmd("INFO").arg("memory"), until).await? {
        let info: String = from_redis_value(info).unwrap_or_default();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        if let Some(policy) = field("maxmemory_policy") {
            return Ok(EvictionPolicy::of(policy, field("maxmemory").unwrap_or_default()));
        }
    }
    let Some(settings) = ask(node, cmd("CONFIG").arg("GET").arg("maxmemory*"), until).await? else {
        return Ok(EvictionPolicy::Unknown);
    };
    let settings: HashMap<String, String> = from_redis_value(settings).unwrap_or_default();
    let setting = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    Ok(EvictionPolicy::of(setting("maxmemory-policy"), setting("maxmemory")))
}

/// The answer, or `None` if the server refuses to answer.
async fn ask(node: &Node, question: &Cmd, until: Instant) -> Result<Option<Value>, Failure> {
    match node.send(question, until).await {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.sent == Sent::Answered => Ok(None),
        Err(failure) => Err(failure),
    }
}
