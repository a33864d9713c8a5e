//! What is counted of servers, for metrics. The table is in the documentation of this crate.

use statehouse_core::Counter;

const RETRIES: &str = "statehouse.redis.retries";
const TRANSITIONS: &str = "statehouse.redis.breaker.transitions";
const IO: &str = "statehouse.redis.io";

/// That one server is away, and that it is back.
pub(crate) struct Transitions {
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
}

impl Transitions {
    pub(crate) fn new(server: &str) -> Self {
        let of = |state| Counter::new(TRANSITIONS, &[("server.address", server), ("state", state)]);
        Self { opened: of("open"), closed: of("closed") }
    }
}

/// The bytes that pass between this process and one server, where they are seen: not those of TLS and of a brought pool.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
}

impl Traffic {
    pub(crate) fn new(server: &str) -> Self {
        let bytes = |direction| {
            let attributes = [("server.address", server), ("network.io.direction", direction)];
            Counter::of_bytes(IO, "Bytes that passed between this process and Redis.", &attributes)
        };
        Self { received: bytes("receive"), sent: bytes("transmit") }
    }
}

/// Counts a request that is sent again, for this reason.
pub(crate) fn retry(reason: &str) {
    Counter::new(RETRIES, &[("reason", reason)]).add(1);
}
