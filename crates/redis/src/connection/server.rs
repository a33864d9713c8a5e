//! What the connections to one server share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::SystemClock;
use statehouse_core::policy::{Breaker, BreakerSettings, BreakerState, Trouble};

use crate::counters::Transitions;

/// One server as its connections see it: whether it is there, and what is counted and said about that.
pub(crate) struct Server {
    name: Arc<str>,
    breaker: Breaker,
    /// The requests that were refused while it was away.
    refused: Trouble,
    transitions: Transitions,
}

impl Server {
    pub(crate) fn new(name: &str, settings: BreakerSettings) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            breaker: Breaker::new(settings),
            refused: Trouble::new(Duration::ZERO),
            transitions: Transitions::new(name),
        })
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn is_away(&self) -> bool {
        self.breaker.refusal().is_some()
    }

    /// A request to it was not sent because it is away.
    pub(crate) fn refused(&self) {
        let _told_when_it_is_back = self.refused.failed(&SystemClock::default());
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    pub(crate) fn openings(&self) -> u64 {
        self.breaker.openings()
    }

    /// It said nothing for so long, or could not be connected to.
    pub(crate) fn missed(&self, long: Duration) {
        if self.breaker.note_failure(long) {
            self.transitions.opened.add(1);
            tracing::warn!(name: "redis.away", server = %self.name, "Redis is away; requests fail at once until it answers again");
        }
    }

    /// It was connected to.
    pub(crate) fn answered(&self) {
        if let Some(after) = self.breaker.note_success() {
            self.transitions.closed.add(1);
            let refused = self.refused.is_over(&SystemClock::default()).unwrap_or(0);
            tracing::warn!(name: "redis.back", server = %self.name, ?after, refused, "Redis answers again");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}
