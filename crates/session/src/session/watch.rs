//! What is said in the log of what goes wrong again and again.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::{Occasional, Trouble};
use statehouse_core::{Clock, Error, SystemClock};

/// How long nothing may have failed for an outage to be over: while one shard of many is down, others answer.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is said that tokens open nothing.
const PERIOD: Duration = Duration::from_secs(60);

/// When one [`Sessions`](crate::Sessions) last said what.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Arc<dyn Clock>,
    away: Trouble,
    unknown: Occasional,
    refused: Occasional,
    without_csrf: Occasional,
}

impl Default for Watch {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

impl Watch {
    pub(super) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            away: Trouble::new(QUIET),
            unknown: Occasional::new(PERIOD),
            refused: Occasional::new(PERIOD),
            without_csrf: Occasional::new(PERIOD),
        }
    }

    /// The store could not be reached.
    pub(super) fn failed(&self, error: &Error) {
        if self.away.failed(&*self.clock) {
            let kind = error.kind();
            let message = "the session store cannot be reached; more of these are counted, not logged";
            tracing::warn!(name: "session.away", kind = %kind, %error, "{message}");
        }
    }

    /// The store was reached.
    pub(super) fn reached(&self) {
        if let Some(failed) = self.away.is_over(&*self.clock) {
            tracing::warn!(name: "session.back", failed, "the session store is reached again");
        }
    }

    /// A request brought a token of which the store knows nothing: of a session that is over, or guessed.
    pub(super) fn unknown_token(&self) {
        if let Some(times) = self.unknown.happened(&*self.clock) {
            tracing::info!(name: "session.unknown_token", times, "unknown session token; more of these are counted");
        }
    }

    /// A request that would change something did not show the token of its session.
    pub(super) fn csrf_refused(&self) {
        if let Some(times) = self.without_csrf.happened(&*self.clock) {
            let message = "a request without the token of its session's forms was refused; more of these are counted";
            tracing::warn!(name: "session.csrf_refused", times, "{message}");
        }
    }

    /// A request brought the token of a session that has another one by now, and not for a moment only.
    pub(super) fn refused_token(&self) {
        if let Some(times) = self.refused.happened(&*self.clock) {
            let message = "session token with an old or a wrong verifier refused; more of these are counted";
            tracing::warn!(name: "session.refused_token", times, "{message}");
        }
    }
}
