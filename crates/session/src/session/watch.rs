//! What is counted of sessions, and what is said in the log of what goes wrong again and again.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::{Occasional, Trouble};
use statehouse_core::{Clock, Counter, Error, ErrorKind, Result, SystemClock};

use crate::outcome::Loaded;
use crate::record::Snapshot;
use crate::token::Token;

/// How long nothing may have failed for an outage to be over: while one shard of many is down, others answer.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is said that tokens open nothing.
const PERIOD: Duration = Duration::from_secs(60);

/// The counters of one [`Sessions`](crate::Sessions), and when it last said what.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Arc<dyn Clock>,
    away: Trouble,
    unknown: Occasional,
    refused: Occasional,
    without_csrf: Occasional,
    csrf_refused: Counter,
    lookups: Lookups,
    created: Counter,
    conflicts: Counter,
    retries: [Counter; 2],
    read: Counter,
    written: Counter,
}

/// `statehouse.session.lookups`, by the result.
#[derive(Debug)]
struct Lookups {
    found: Counter,
    unknown: Counter,
    ended: Counter,
    replaced: Counter,
    unreadable: Counter,
    failed: Counter,
}

/// Why the changes of a request are sent once more.
#[derive(Clone, Copy)]
pub(super) enum Again {
    /// Another request was faster.
    Conflict,
    /// It is not known what became of them the first time.
    Unknown,
}

impl Default for Watch {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }
}

impl Watch {
    pub(super) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let lookups = |result| Counter::new("statehouse.session.lookups", &[("result", result)]);
        let retries = |reason| Counter::new("statehouse.session.retries", &[("reason", reason)]);
        let what = "Attributes of the sessions that were read and written.";
        let bytes = |direction| Counter::of_bytes("statehouse.session.io", what, &[("direction", direction)]);
        Self {
            clock,
            away: Trouble::new(QUIET),
            unknown: Occasional::new(PERIOD),
            refused: Occasional::new(PERIOD),
            without_csrf: Occasional::new(PERIOD),
            csrf_refused: Counter::new("statehouse.session.csrf_refused", &[]),
            lookups: Lookups {
                found: lookups("found"),
                unknown: lookups("unknown"),
                ended: lookups("ended"),
                replaced: lookups("replaced"),
                unreadable: lookups("unreadable"),
                failed: lookups("failed"),
            },
            created: Counter::new("statehouse.session.created", &[]),
            conflicts: Counter::new("statehouse.session.conflicts", &[]),
            retries: [retries("conflict"), retries("outcome_unknown")],
            read: bytes("read"),
            written: bytes("write"),
        }
    }

    /// What the store said of a token that a request brought.
    pub(super) fn looked_up(&self, token: &Token, loaded: &Result<Loaded>) {
        let Lookups { found, unknown, ended, replaced, unreadable, failed } = &self.lookups;
        let result = match loaded {
            Ok(Loaded::Absent) => unknown,
            Ok(Loaded::Deleted { .. }) => ended,
            Ok(Loaded::Found(snapshot)) if snapshot.is_opened_by(token) => {
                self.read.add(snapshot.record().attributes().size());
                found
            }
            Ok(Loaded::Found(_)) => replaced,
            Err(error) if error.kind() == ErrorKind::Corrupt => unreadable,
            Err(_) => failed,
        };
        result.add(1);
    }

    /// A session was begun.
    pub(super) fn created(&self, session: &Snapshot) {
        self.created.add(1);
        self.wrote(session);
    }

    /// A session was stored.
    pub(super) fn wrote(&self, session: &Snapshot) {
        self.written.add(session.record().attributes().size());
    }

    /// Another request had changed the session.
    pub(super) fn conflict(&self) {
        self.conflicts.add(1);
    }

    /// Changes are sent once more.
    pub(super) fn again(&self, why: Again) {
        self.retries[why as usize].add(1);
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
        self.csrf_refused.add(1);
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
