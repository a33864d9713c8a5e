use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::time::whole_millis;
use statehouse_core::{Host, span};
use tracing::Span;

use super::error::BACKEND;
use crate::counters::Traffic;

/// The nodes of one cluster, in turn; one that failed is asked last for a while.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    turn: AtomicUsize,
    start: Instant,
}

/// One node, and when it may be asked again.
#[derive(Debug)]
pub(super) struct Node {
    base: String,
    address: String,
    port: u16,
    traffic: Traffic,
    place: Arc<str>,
    failures: AtomicU32,
    /// Milliseconds since `Nodes::start`.
    rests_until: AtomicU64,
}

/// How long a node rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

impl Nodes {
    /// The nodes, which are reached through a proxy if `proxy` says where it is.
    pub(super) fn new(scheme: &str, hosts: &[Host], proxy: Option<&str>) -> Self {
        let through = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        let node = |host: &Host| Node {
            traffic: Traffic::new(&host.to_string()),
            base: format!("{scheme}://{host}"),
            address: host.name.clone(),
            port: host.port.unwrap_or(if scheme == "https" { 443 } else { 80 }),
            place: format!("{host}{through}").into(),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
        };
        Self { nodes: hosts.iter().map(node).collect(), turn: AtomicUsize::new(0), start: Instant::now() }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes in the order in which one call should try them: the next one in turn first, resting ones last.
    pub(super) fn route(&self) -> Vec<&Node> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let now = self.now();
        let mut route: Vec<_> = self.nodes[first..].iter().chain(&self.nodes[..first]).collect();
        // Stable: nodes that do not rest stay in turn, and those that rest are asked by who is ready first.
        route.sort_by_key(|node| Some(node.rests_until.load(Ordering::Relaxed)).filter(|until| *until > now));
        route
    }

    /// The node answered.
    pub(super) fn succeeded(node: &Node) {
        node.failures.store(0, Ordering::Relaxed);
        node.rests_until.store(0, Ordering::Relaxed);
    }

    /// The node did not answer.
    pub(super) fn failed(&self, node: &Node) {
        let failures = node.failures.fetch_add(1, Ordering::Relaxed);
        let rest = FIRST_REST.saturating_mul(1 << failures.min(5)).min(LONGEST_REST);
        node.rests_until.store(self.now() + whole_millis(rest), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        whole_millis(self.start.elapsed())
    }
}

impl Node {
    /// `http://host:port`.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The span of a request to it, which asks for this, after so many tries.
    pub(super) fn span(&self, method: &str, endpoint: Option<&str>, tries: usize) -> Span {
        let resent = u32::try_from(tries).unwrap_or(u32::MAX);
        let span = span::of_http_request("opensearch.request", method, (&self.address, self.port), resent);
        span::to_database(span, BACKEND, endpoint)
    }

    pub(super) const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// `host:port`, and the proxy on the way to it.
    pub(super) fn place(&self) -> Arc<str> {
        Arc::clone(&self.place)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// Bounds retries to a share of all calls, so that a server in trouble does not get several times its usual load.
#[derive(Debug)]
pub(super) struct RetryBudget {
    tenths: AtomicU32,
}

impl RetryBudget {
    /// What a retry costs, and a call earns a tenth of.
    const RETRY: u32 = 10;
    const FULL: u32 = 20 * Self::RETRY;

    pub(super) const fn new() -> Self {
        Self { tenths: AtomicU32::new(Self::FULL) }
    }

    /// A call earns a tenth of a retry.
    pub(super) fn earn(&self) {
        self.update(|tenths| (tenths < Self::FULL).then_some(tenths + 1));
    }

    /// Whether a retry can be afforded; it is paid for.
    pub(super) fn spend(&self) -> bool {
        self.update(|tenths| tenths.checked_sub(Self::RETRY))
    }

    fn update(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Nodes {
        let hosts: Vec<_> = names.iter().map(|name| Host { name: (*name).into(), port: Some(9200) }).collect();
        Nodes::new("http", &hosts, None)
    }

    fn names(route: &[&Node]) -> Vec<String> {
        route.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn calls_take_turns_and_ask_a_node_that_failed_last() {
        let nodes = nodes(&["a", "b", "c"]);
        assert_eq!(names(&nodes.route()), ["a:9200", "b:9200", "c:9200"]);
        assert_eq!(names(&nodes.route()), ["b:9200", "c:9200", "a:9200"]);
        let c = nodes.route()[0];
        assert_eq!(c.base(), "http://c:9200");
        nodes.failed(c);
        assert_eq!(names(&nodes.route()), ["a:9200", "b:9200", "c:9200"]);
        assert_eq!(names(&nodes.route()), ["b:9200", "a:9200", "c:9200"]);
        nodes.failed(nodes.route()[0]);
        Nodes::succeeded(c);
        assert_eq!(names(&nodes.route()).last().unwrap(), "a:9200");
    }

    #[test]
    fn a_single_node_is_asked_even_while_it_rests() {
        let nodes = nodes(&["::1"]);
        (0..40).for_each(|_| nodes.failed(nodes.route()[0]));
        assert_eq!(names(&nodes.route()), ["[::1]:9200"]);
        let rest = nodes.nodes[0].rests_until.load(Ordering::Relaxed) - nodes.now();
        assert!(Duration::from_millis(rest) <= LONGEST_REST);
    }

    #[test]
    fn retries_are_a_tenth_of_the_calls_once_the_reserve_is_spent() {
        let budget = RetryBudget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 20);
        assert_eq!(
            (0..100)
                .filter(|_| {
                    budget.earn();
                    budget.spend()
                })
                .count(),
            10
        );
    }
}
