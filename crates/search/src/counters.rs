//! What is counted of an index, for metrics. The table is in the documentation of this crate.

use statehouse_core::Counter;

use crate::Outcome;

const WRITES: &str = "statehouse.search.writes";
#[cfg(feature = "tantivy")]
const SYNCS: &str = "statehouse.search.syncs";
#[cfg(feature = "opensearch")]
const RETRIES: &str = "statehouse.search.retries";
#[cfg(feature = "opensearch")]
const IO: &str = "statehouse.search.io";

/// What became of the operations of bulks.
#[derive(Clone, Debug)]
pub(crate) struct Writes {
    created: Counter,
    updated: Counter,
    deleted: Counter,
    not_found: Counter,
    stale: Counter,
    failed: Counter,
}

impl Writes {
    pub(crate) fn new(backend: &'static str) -> Self {
        let of = |outcome| Counter::new(WRITES, &[("backend", backend), ("outcome", outcome)]);
        Self {
            created: of("created"),
            updated: of("updated"),
            deleted: of("deleted"),
            not_found: of("not_found"),
            stale: of("stale"),
            failed: of("failed"),
        }
    }

    pub(crate) fn count(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let counter = match outcome {
                Outcome::Created { .. } => &self.created,
                Outcome::Updated { .. } => &self.updated,
                Outcome::Deleted { .. } => &self.deleted,
                Outcome::NotFound => &self.not_found,
                Outcome::Stale => &self.stale,
                Outcome::Failed(_) => &self.failed,
            };
            counter.add(1);
        }
    }
}

/// How often the log of an index was synced.
#[cfg(feature = "tantivy")]
#[derive(Clone, Debug)]
pub(crate) struct Syncs(Counter);

#[cfg(feature = "tantivy")]
impl Syncs {
    pub(crate) fn new(backend: &'static str) -> Self {
        Self(Counter::new(SYNCS, &[("backend", backend)]))
    }

    pub(crate) fn count(&self) {
        self.0.add(1);
    }
}

/// The bodies that pass between this process and one node.
#[cfg(feature = "opensearch")]
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
}

#[cfg(feature = "opensearch")]
impl Traffic {
    pub(crate) fn new(server: &str) -> Self {
        let bytes = |direction| {
            let attributes = [("server.address", server), ("network.io.direction", direction)];
            Counter::of_bytes(IO, "Bodies of requests to OpenSearch and of its answers.", &attributes)
        };
        Self { received: bytes("receive"), sent: bytes("transmit") }
    }
}

/// Counts a request that is sent again, for this reason.
#[cfg(feature = "opensearch")]
pub(crate) fn retry(reason: &str) {
    Counter::new(RETRIES, &[("reason", reason)]).add(1);
}
