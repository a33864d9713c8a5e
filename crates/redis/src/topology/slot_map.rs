use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use redis::{ParsingError, RedisResult, Value, from_redis_value};

use crate::config::Address;
use crate::node::Node;
use crate::topology::slot::SLOTS;

/// What one server believes about its cluster.
#[derive(Debug)]
pub(crate) struct View {
    ranges: Vec<(u16, u16, Address)>,
    replicas: Vec<Address>,
    healthy: bool,
    epoch: u64,
}

impl View {
    /// Reads the answers to `CLUSTER INFO` and `CLUSTER SLOTS`. A server that leaves its host out means the one it was
    /// asked at.
    pub(crate) fn parse(info: &str, slots: Value, asked: Option<&Address>) -> Result<Self, ParsingError> {
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let (mut ranges, mut replicas, mut left) = (Vec::new(), Vec::new(), SLOTS);
        for range in from_redis_value::<Vec<Vec<Value>>>(slots)? {
            let mut parts = range.into_iter();
            let mut next = || parts.next().unwrap_or(Value::Nil);
            let (first, last): (u16, u16) = (from_redis_value(next())?, from_redis_value(next())?);
            // What is worked through is no more than there is.
            let len = last.saturating_sub(first).saturating_add(1);
            left = left.checked_sub(len).ok_or("a server names more slots than a cluster has")?;
            ranges.push((first, last, address_of(next(), asked)?));
            // One that cannot be read is only one less to ask.
            replicas.extend(parts.filter_map(|node| address_of(node, asked).ok()));
        }
        Ok(Self {
            ranges,
            replicas,
            healthy: field("cluster_state") == Some("ok"),
            epoch: field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
        })
    }

    pub(crate) const fn rank(&self) -> (bool, u64) {
        (self.healthy, self.epoch)
    }

    pub(crate) const fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Whether it names any server at all: one that was taken out of its cluster does not.
    pub(crate) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Every server that it names, and each once.
    pub(crate) fn members(&self) -> BTreeSet<Address> {
        self.ranges.iter().map(|(_, _, owner)| owner).chain(&self.replicas).cloned().collect()
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn has(&self, address: &Address) -> bool {
        self.ranges.iter().any(|(_, _, owner)| owner == address)
    }
}

fn address_of(node: Value, asked: Option<&Address>) -> Result<Address, ParsingError> {
    let mut parts = from_redis_value::<Vec<Value>>(node)?.into_iter();
    let host: Option<String> = from_redis_value(parts.next().unwrap_or(Value::Nil))?;
    let port: u16 = from_redis_value(parts.next().unwrap_or(Value::Nil))?;
    // "?" is a server that was told to announce its name and has none.
    let host = host.filter(|host| !host.is_empty() && host != "?").or_else(|| asked.map(|asked| asked.host.clone()));
    host.map(|host| Address::new(host, port)).ok_or_else(|| "a server of the cluster has no host".into())
}

/// The owner of each slot.
#[derive(Default)]
pub(crate) struct SlotMap {
    masters: Vec<Arc<Node>>,
    /// Indices into `masters`, one per slot; empty as long as nothing is known.
    owners: Vec<Option<u16>>,
    is_healthy: bool,
}

impl SlotMap {
    pub(crate) fn new(view: &View, mut node: impl FnMut(&Address) -> RedisResult<Arc<Node>>) -> RedisResult<Self> {
        let mut map = Self { masters: Vec::new(), owners: vec![None; SLOTS.into()], is_healthy: view.healthy };
        for (first, last, address) in &view.ranges {
            let owner = node(address)?;
            let known = map.masters.iter().position(|master| Arc::ptr_eq(master, &owner));
            let index = known.unwrap_or_else(|| {
                map.masters.push(owner);
                map.masters.len() - 1
            });
            for slot in *first..=(*last).min(SLOTS - 1) {
                map.owners[usize::from(slot)] = u16::try_from(index).ok();
            }
        }
        Ok(map)
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let index = (*self.owners.get(usize::from(slot))?)?;
        self.masters.get(usize::from(index))
    }

    /// Whether the cluster serves any key, as its servers say.
    pub(crate) const fn is_healthy(&self) -> bool {
        self.is_healthy
    }

    /// Whether each slot has an owner.
    pub(crate) fn is_whole(&self) -> bool {
        self.owners.iter().all(Option::is_some)
    }

    pub(crate) fn masters(&self) -> &[Arc<Node>] {
        &self.masters
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.owners.iter().flatten().count();
        f.debug_struct("SlotMap").field("masters", &self.masters).field("slots", &known).finish()
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node.clone(), node])
    }

    #[test]
    fn a_view_is_read_from_what_a_server_says() {
        let asked = Address::new("10.0.0.9", 7000);
        let slots = Value::Array(vec![
            range(0, 5460, text("10.0.0.1"), 7001),
            range(5461, 10_922, text(""), 7002),
            range(10_923, 16_383, Value::Nil, 7003),
        ]);
        let info = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:7\r\n";
        let view = View::parse(info, slots, Some(&asked)).unwrap();
        assert_eq!(view.rank(), (true, 7));
        assert!(view.has(&Address::new("10.0.0.1", 7001)));
        assert!(view.has(&Address::new("10.0.0.9", 7002)) && view.has(&Address::new("10.0.0.9", 7003)));
        assert!(view.is_healthy() && !view.is_empty() && view.members().len() == 3);
    }

    #[test]
    fn a_healthy_view_outranks_a_later_one() {
        let view = |info: &str| View::parse(info, Value::Array(vec![]), None).unwrap();
        let (well, ill) = ("cluster_state:ok\ncluster_current_epoch:1", "cluster_state:fail\ncluster_current_epoch:9");
        assert!(view(well).rank() > view(ill).rank());
    }

    #[test]
    fn replicas_are_members_and_own_nothing() {
        let node = |port| Value::Array(vec![text("10.0.0.1"), Value::Int(port), text("id")]);
        let range = vec![Value::Int(0), Value::Int(16_383), node(7001), node(7002), Value::Int(5), node(7003)];
        let view = View::parse("", Value::Array(vec![Value::Array(range)]), None).unwrap();
        let members: Vec<_> = view.members().iter().map(|address| address.port).collect();
        assert_eq!(members, [7001, 7002, 7003]);
        assert!(view.has(&Address::new("10.0.0.1", 7001)) && !view.has(&Address::new("10.0.0.1", 7002)));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(View::parse("", Value::Int(1), None).is_err());
        assert!(View::parse("", Value::Array(vec![Value::Array(vec![])]), None).is_err());
        assert!(View::parse("", Value::Array(vec![range(0, 1, Value::Nil, 1)]), None).is_err());
    }

    #[test]
    fn more_slots_than_there_are_is_nonsense() {
        let parse = |ranges: Vec<Value>| View::parse("", Value::Array(ranges), None).is_ok();
        let slot = |slot| range(slot, slot, text("10.0.0.1"), 7001);
        let mut all: Vec<_> = (0..i64::from(SLOTS)).map(slot).collect();
        assert!(parse(all.clone()));
        all.push(slot(0));
        assert!(!parse(all) && !parse(vec![range(0, 65_535, text("10.0.0.1"), 7001)]));
        assert!(!parse(vec![range(0, 16_383, text("10.0.0.1"), 7001), slot(0)]));
    }
}
