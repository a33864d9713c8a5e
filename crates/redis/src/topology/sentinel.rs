//! A master that Sentinel watches, and the task that follows it.
//!
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>. Beyond that page's rules, all sentinels are
//! asked and the answer of the highest configuration epoch wins: one sentinel that was cut off from the others cannot
//! lead back to an old master. They are asked when they publish a failover, when the master fails, and now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{RedisError, RedisResult, cmd, from_redis_value, pipe};
use statehouse_core::SystemClock;
use statehouse_core::policy::Trouble;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Address;
use crate::connection::source::{Connector, Role};
use crate::failure::{Failure, Sent, no_owner, no_sentinel, no_such_master, timed_out};
use crate::node::Node;
use crate::topology::following::Following;

/// How often the sentinels are asked though nothing failed. An old master that is cut off from them takes writes and
/// loses them; this bounds for how long it is sent any.
const PERIOD: Duration = Duration::from_secs(1);

/// The least time between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the others are waited for once one sentinel has answered.
const GRACE: Duration = Duration::from_millis(200);

/// In how many rounds the sentinels are asked once who the others are.
const ROUNDS: usize = 8;

/// How many that are not configured are remembered.
const MOST: usize = 16;

pub(crate) struct Sentinel {
    watch: Arc<Watch>,
    following: Following,
}

struct Watch {
    connector: Connector,
    to_sentinels: Connector,
    /// Those that were configured.
    sentinels: Vec<Arc<Node>>,
    /// Those that they know besides. They are asked, and connected to, when none of the configured ones answers: by and by
    /// all of those may have been replaced.
    others: RwLock<Vec<Arc<Node>>>,
    rounds: AtomicUsize,
    name: String,
    master: RwLock<Option<Arc<Node>>>,
    wake: Arc<Notify>,
}

/// What one sentinel says about the master.
struct Report {
    address: Address,
    epoch: u64,
    /// This sentinel leads a failover and has promoted a replica already, before the others know.
    promoted: bool,
}

impl Report {
    const fn rank(&self) -> (u64, bool) {
        (self.epoch, self.promoted)
    }
}

impl Sentinel {
    pub(crate) fn new(
        connector: Connector,
        to_sentinels: Connector,
        sentinels: &[Address],
        name: &str,
    ) -> RedisResult<Self> {
        let (master, wake) = (RwLock::new(None), Arc::new(Notify::new()));
        let role = Role::Sentinel(Arc::clone(&wake));
        let sentinels = sentinels.iter().map(|address| Node::at(&to_sentinels, address, role.clone()));
        let sentinels = sentinels.collect::<Result<_, _>>()?;
        let (others, rounds, name) = (RwLock::default(), AtomicUsize::new(0), name.to_owned());
        let watch = Watch { connector, to_sentinels, sentinels, others, rounds, name, master, wake };
        Ok(Self { watch: Arc::new(watch), following: Following::default() })
    }

    pub(crate) async fn start(&self, until: Instant) -> Result<(), Failure> {
        self.watch.look(until).await?;
        self.go_on();
        Ok(())
    }

    /// Sees to it that changes are followed.
    fn go_on(&self) {
        self.following.ensure(|| follow(Arc::downgrade(&self.watch), Arc::clone(&self.watch.wake)));
    }

    pub(crate) fn master(&self) -> Result<Arc<Node>, Failure> {
        self.go_on();
        self.watch.master().ok_or_else(|| Failure::not_sent(no_owner()))
    }

    /// Asks the sentinels soon, not only at the next turn.
    pub(crate) fn look_again(&self) {
        self.watch.wake.notify_one();
    }
}

/// Holds nothing while it waits, so that dropping the last client closes its connections.
async fn follow(watch: Weak<Watch>, wake: Arc<Notify>) {
    let trouble = Trouble::new(Duration::ZERO);
    loop {
        sleep(PAUSE).await;
        // Woken or not, it is time to look.
        let _ = timeout(PERIOD - PAUSE, wake.notified()).await;
        let Some(watch) = watch.upgrade() else { return };
        match watch.look(Instant::now() + PERIOD).await {
            Ok(()) => {
                if let Some(failures) = trouble.is_over(&SystemClock::default()) {
                    tracing::warn!(name: "redis.master_known", failures, "the sentinels say again where the Redis master is");
                }
            }
            Err(failure) => {
                if trouble.failed(&SystemClock::default()) {
                    tracing::warn!(name: "redis.master_unknown", kind = ?failure.error.kind(), "no sentinel says where the Redis master is");
                }
            }
        }
    }
}

impl Watch {
    fn master(&self) -> Option<Arc<Node>> {
        self.master.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self, until: Instant) -> Result<(), Failure> {
        let (address, sentinel) = self.ask_configured_or_others(until).await?;
        let due = self.rounds.fetch_add(1, Ordering::Relaxed).is_multiple_of(ROUNDS);
        let moved = self.master().is_none_or(|master| master.address() != Some(&address));
        if moved {
            let node = Node::at(&self.connector, &address, Role::Master).map_err(Failure::not_sent)?;
            tracing::info!(name: "redis.master_followed", master = %address, "following the Redis master");
            *self.master.write().unwrap_or_else(PoisonError::into_inner) = Some(node);
        }
        // Who replaces servers may be replacing sentinels.
        if due || moved {
            self.meet_others(&sentinel, until).await;
        }
        Ok(())
    }

    fn others(&self) -> Vec<Arc<Node>> {
        self.others.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask_configured_or_others(&self, until: Instant) -> Result<(Address, Arc<Node>), Failure> {
        let others = self.others();
        if others.is_empty() {
            return self.ask_all(&self.sentinels, until).await;
        }
        let now = Instant::now();
        let half = now + until.saturating_duration_since(now) / 2;
        match self.ask_all(&self.sentinels, half).await {
            // One that was set up anew knows no master until somebody tells it, and says so.
            Err(failure) => self.ask_all(&others, until).await.map_err(|_| failure),
            answer => answer,
        }
    }

    /// Remembers a sentinel that answers and those that it knows. One that may not say is no worse for it.
    async fn meet_others(&self, sentinel: &Arc<Node>, until: Instant) {
        let question = cmd("SENTINEL").arg("SENTINELS").arg(&self.name).clone();
        let Ok(Some(answer)) = sentinel.ask(&question, until).await else { return };
        let listed = addresses_of(from_redis_value(answer).unwrap_or_default());
        let configured = |address: &Address| self.sentinels.iter().any(|node| node.address() == Some(address));
        let met = sentinel.address().cloned().into_iter().chain(listed).filter(|address| !configured(address));
        let known = self.others();
        let node = |address: Address| {
            let node = known.iter().find(|node| node.address() == Some(&address)).cloned();
            let role = Role::Sentinel(Arc::clone(&self.wake));
            node.or_else(|| Node::at(&self.to_sentinels, &address, role).ok())
        };
        let others = met.take(MOST).filter_map(node).collect();
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// The master's address by the report of the highest epoch, and whose that is. Fails only if no sentinel reports any.
    async fn ask_all(&self, sentinels: &[Arc<Node>], until: Instant) -> Result<(Address, Arc<Node>), Failure> {
        let ask = async |sentinel: &Arc<Node>| Ok((self.ask(sentinel, until).await?, Arc::clone(sentinel)));
        let mut answers: FuturesUnordered<_> = sentinels.iter().map(ask).collect();
        let (mut best, mut failure): (Option<(Report, _)>, _) = (None, Failure::not_sent(timed_out()));
        let mut until = until;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(report) => {
                    let (report, sentinel): (Report, _) = report;
                    until = until.min(Instant::now() + GRACE);
                    if best.as_ref().is_none_or(|(best, _)| report.rank() > best.rank()) {
                        best = Some((report, sentinel));
                    }
                }
                // "No such master" says more than that another sentinel is unreachable.
                Err(other) if failure.sent != Sent::Answered => failure = other,
                Err(_) => {}
            }
        }
        best.map(|(report, sentinel)| (report.address, sentinel)).ok_or(failure)
    }

    async fn ask(&self, sentinel: &Node, until: Instant) -> Result<Report, Failure> {
        let questions = pipe()
            .add_command(cmd("SENTINEL").arg("MASTER").arg(&self.name).clone())
            .add_command(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).clone())
            .clone();
        let answer =
            sentinel.send_pipeline(&questions, until).await.map_err(|failure| match failure.error.detail() {
                Some(detail) if detail.contains("No such master") => Failure::answered(no_such_master()),
                Some(detail) if detail.contains("unknown command") => Failure::answered(no_sentinel()),
                _ => failure,
            })?;
        let (fields, address): (HashMap<String, String>, (String, u16)) =
            from_redis_value(answer).map_err(|error| Failure::answered(RedisError::from(error)))?;
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        Ok(Report {
            promoted: (field("ip"), field("port")) != (address.0.as_str(), address.1.to_string().as_str()),
            address: Address::new(address.0, address.1),
            epoch: field("config-epoch").parse().unwrap_or(0),
        })
    }
}

/// Of the sentinels that one of them lists, those first that it finds alive: it forgets none, and where each start brings
/// another address most of them are long gone.
fn addresses_of(mut listed: Vec<HashMap<String, String>>) -> impl Iterator<Item = Address> {
    let is_down = |fields: &HashMap<String, String>| {
        fields.get("flags").is_some_and(|flags| flags.split(',').any(|flag| ["s_down", "disconnected"].contains(&flag)))
    };
    listed.sort_by_key(is_down);
    let address = |fields: HashMap<String, String>| {
        Some(Address::new(fields.get("ip")?.as_str(), fields.get("port")?.parse().ok()?))
    };
    listed.into_iter().filter_map(address)
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel")
            .field("name", &self.watch.name)
            .field("master", &self.watch.master())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_that_are_alive_are_met_before_those_that_are_gone() {
        let sentinel = |port: u16, flags: &str| {
            let fields = [("ip", "10.0.0.1"), ("port", &*port.to_string()), ("flags", flags)];
            fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<HashMap<_, _>>()
        };
        let mut listed: Vec<_> = (0..40).map(|n| sentinel(100 + n, "s_down,sentinel,disconnected")).collect();
        listed.insert(20, sentinel(7, "sentinel"));
        listed.push(sentinel(8, "sentinel"));
        listed.push(HashMap::new());
        let ports: Vec<_> = addresses_of(listed).map(|address| address.port).collect();
        assert_eq!((&ports[..3], ports.len()), (&[7, 8, 100][..], 42));
    }
}
