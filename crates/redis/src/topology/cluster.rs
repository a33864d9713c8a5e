//! A cluster: which server owns which slot, learnt from the servers and kept up to date.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>. redis-rs' own cluster client is not
//! used: it repeats requests whose answer was lost whatever they are, keeps half-open connections, lets one silent
//! server hold up the requests to all others while it refreshes, and sends `ASKING` apart from the command it is for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{RedisError, RedisResult, Value, cmd, from_redis_value};
use statehouse_core::policy::{BreakerState, Trouble};
use statehouse_core::{HealthStatus, SystemClock};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Address;
use crate::connection::source::{Connector, Role};
use crate::failure::{Failure, Sent, no_owner, timed_out};
use crate::node::Node;
use crate::topology::following::Following;
use crate::topology::slot_map::{SlotMap, View};
use crate::topology::target::Target;

/// The least time between two refreshes of the slot map.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the slots are learnt though nothing failed. By and by all servers may be replaced by others: who asked
/// nothing meanwhile would know none that is left.
const PERIOD: Duration = Duration::from_secs(10);

/// The most that a refresh may take.
const REFRESH: Duration = Duration::from_secs(1);

/// How long other servers are waited for once one has answered.
const GRACE: Duration = Duration::from_millis(100);

/// How many servers are asked at once: enough to outvote one that was cut off.
const ASKED: usize = 5;

/// How many that are not configured are remembered.
const MOST: usize = 64;

pub(crate) struct Cluster {
    watch: Arc<Watch>,
    following: Following,
    turn: AtomicUsize,
}

struct Watch {
    connector: Connector,
    seeds: Vec<Address>,
    /// Those that the servers named when they were last asked, replicas too: one of them may be all that is left.
    members: Mutex<Vec<Address>>,
    /// Every server that requests are sent to, so that none is connected to twice.
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    map: RwLock<Arc<SlotMap>>,
    wake: Arc<Notify>,
}

impl Cluster {
    pub(crate) fn new(connector: Connector, seeds: &[Address]) -> Self {
        let watch = Watch {
            connector,
            seeds: seeds.to_vec(),
            members: Mutex::default(),
            nodes: Mutex::default(),
            map: RwLock::default(),
            wake: Arc::default(),
        };
        Self { watch: Arc::new(watch), following: Following::default(), turn: AtomicUsize::new(0) }
    }

    pub(crate) async fn start(&self, until: Instant) -> Result<(), Failure> {
        self.watch.refresh(until).await?;
        self.go_on();
        Ok(())
    }

    /// Sees to it that changes are followed.
    fn go_on(&self) {
        self.following.ensure(|| follow(Arc::downgrade(&self.watch), Arc::clone(&self.watch.wake)));
    }

    pub(crate) fn node(&self, slot: Option<u16>) -> Result<Arc<Node>, Failure> {
        self.go_on();
        let map = self.watch.map();
        let node = match slot {
            Some(slot) => map.owner(slot),
            None => self.any_of(map.masters()),
        };
        node.cloned().ok_or_else(|| {
            self.watch.wake.notify_one();
            Failure::not_sent(no_owner())
        })
    }

    /// By turns, of those that are connected; if none is, of those that are not known to be away, and then of all.
    fn any_of<'a>(&self, masters: &'a [Arc<Node>]) -> Option<&'a Arc<Node>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % masters.len().max(1);
        let (before, from) = masters.split_at(turn);
        let mut in_turn = from.iter().chain(before);
        let connected = in_turn.clone().find(|node| node.is_connected());
        let there = connected.or_else(|| in_turn.find(|node| node.breaker() == BreakerState::Closed));
        there.or_else(|| from.first())
    }

    pub(crate) fn masters(&self) -> Vec<Arc<Node>> {
        self.watch.map().masters().to_vec()
    }

    /// What the servers say that cannot be seen by asking each how it is: that the cluster is down, or that slots have no
    /// owner. They are asked again soon.
    pub(crate) fn gap(&self) -> Option<HealthStatus> {
        let map = self.watch.map();
        let status = match (map.is_healthy(), map.is_whole()) {
            (true, true) => return None,
            (true, false) => HealthStatus::Degraded,
            (false, _) => HealthStatus::Down,
        };
        self.watch.wake.notify_one();
        Some(status)
    }

    pub(crate) fn learn(&self, node: &Node, failure: &Failure) -> Option<Target<'static>> {
        let code = failure.code();
        if failure.sent != Sent::Answered || matches!(code, Some("MOVED" | "CLUSTERDOWN" | "READONLY" | "LOADING")) {
            self.watch.wake.notify_one();
        }
        let (place, _) = failure.error.redirect_node()?;
        let address = redirection(place, node.address())?;
        let node = Cow::Owned(self.watch.node(&address).ok()?);
        Some(Target { node, asking: code == Some("ASK") })
    }
}

/// `host:port`, or `:port` for another server on the same host. An IPv6 host has no brackets.
fn redirection(place: &str, from: Option<&Address>) -> Option<Address> {
    let (host, port) = place.rsplit_once(':')?;
    let host = if host.is_empty() { &from?.host } else { host };
    Some(Address::new(host, port.parse().ok()?))
}

/// Holds nothing while it waits, so that dropping the last client closes its connections.
async fn follow(watch: Weak<Watch>, wake: Arc<Notify>) {
    let trouble = Trouble::new(Duration::ZERO);
    loop {
        sleep(PAUSE).await;
        // Woken or not, it is time to look.
        let _ = timeout(PERIOD, wake.notified()).await;
        let Some(watch) = watch.upgrade() else { return };
        match watch.refresh(Instant::now() + REFRESH).await {
            Ok(()) => {
                if let Some(failures) = trouble.is_over(&SystemClock::default()) {
                    tracing::warn!(name: "redis.cluster_known", failures, "the Redis cluster says again who owns which slot");
                }
            }
            Err(failure) => {
                if trouble.failed(&SystemClock::default()) {
                    let kind = failure.error.kind();
                    tracing::warn!(name: "redis.cluster_unknown", ?kind, "no server of the Redis cluster says who owns which slot");
                }
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watch.wake.notify_one();
    }
}

impl Watch {
    fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn node(&self, address: &Address) -> RedisResult<Arc<Node>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Node::at(&self.connector, address, Role::Any)?;
        nodes.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    /// Learns the slots from servers that are connected, else from those that were configured or that others named.
    async fn refresh(&self, until: Instant) -> Result<(), Failure> {
        let map = self.map();
        let (connected, others): (Vec<_>, Vec<_>) = map.masters().iter().partition(|node| node.is_connected());
        let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        let view = match ask(connected.into_iter().take(ASKED), half).await {
            Ok(view) if view.is_healthy() => view,
            // Those that are connected may be the ones that were cut off from the others.
            Ok(view) if !view.is_empty() => match ask(others.into_iter().take(ASKED), until).await {
                Ok(other) if other.rank() > view.rank() => other,
                _ => view,
            },
            _ => ask(&self.known(), until).await?,
        };
        self.adopt(&view).map_err(Failure::not_sent)
    }

    /// Those that were configured, and those that were learnt.
    fn known(&self) -> Vec<Arc<Node>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let learnt = members.iter().filter(|address| !self.seeds.contains(address));
        self.seeds.iter().chain(learnt).filter_map(|address| self.node(address).ok()).collect()
    }

    fn adopt(&self, view: &View) -> RedisResult<()> {
        let map = SlotMap::new(view, |address| self.node(address))?;
        if !view.is_empty() {
            let members = view.members().into_iter().take(MOST).collect();
            *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
        }
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).retain(|address, _| view.has(address));
        tracing::debug!(name: "redis.slots_learnt", masters = map.masters().len(), epoch = view.epoch(), "learnt the slots of the Redis cluster");
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        Ok(())
    }
}

/// The best view of those that the servers have: of a healthy cluster before any other, then of the latest epoch.
async fn ask(nodes: impl IntoIterator<Item = &Arc<Node>>, until: Instant) -> Result<View, Failure> {
    let mut answers: FuturesUnordered<_> = nodes.into_iter().map(|node| view_of(node, until)).collect();
    let (mut best, mut failure): (Option<View>, _) = (None, Failure::not_sent(timed_out()));
    let mut until = until;
    while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
        match answer {
            Ok(view) => {
                until = until.min(Instant::now() + GRACE);
                if best.as_ref().is_none_or(|best| view.rank() > best.rank()) {
                    best = Some(view);
                }
            }
            Err(other) => failure = other,
        }
    }
    best.ok_or(failure)
}

async fn view_of(node: &Arc<Node>, until: Instant) -> Result<View, Failure> {
    let unreadable = |error: redis::ParsingError| Failure::answered(RedisError::from(error));
    let info: String = from_redis_value(node.send(cmd("CLUSTER").arg("INFO"), until).await?).map_err(unreadable)?;
    let slots: Value = node.send(cmd("CLUSTER").arg("SLOTS"), until).await?;
    View::parse(&info, slots, node.address()).map_err(unreadable)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.watch.seeds).field("map", &self.watch.map()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_may_leave_the_host_out() {
        let from = Address::new("10.0.0.1", 7000);
        assert_eq!(redirection("10.0.0.2:7001", Some(&from)), Some(Address::new("10.0.0.2", 7001)));
        assert_eq!(redirection(":7001", Some(&from)), Some(Address::new("10.0.0.1", 7001)));
        assert_eq!(redirection("2001:db8::1:7001", None), Some(Address::new("2001:db8::1", 7001)));
        assert_eq!(redirection("nonsense", Some(&from)), None);
    }
}
