//! What is counted of sessions, for metrics. The table is in the documentation of this crate.

use statehouse_core::{Counter, ErrorKind, Result};

use crate::outcome::Loaded;
use crate::record::Snapshot;
use crate::token::Token;

const LOOKUPS: &str = "statehouse.session.lookups";
const CREATED: &str = "statehouse.session.created";
const CONFLICTS: &str = "statehouse.session.conflicts";
const RETRIES: &str = "statehouse.session.retries";
const CSRF_REFUSED: &str = "statehouse.session.csrf_refused";
const IO: &str = "statehouse.session.io";

/// The counters of one [`Sessions`](crate::Sessions).
#[derive(Debug)]
pub(crate) struct Counters {
    lookups: Lookups,
    created: Counter,
    conflicts: Counter,
    retries: [Counter; 2],
    csrf_refused: Counter,
    read: Counter,
    written: Counter,
}

/// What tokens opened, by the result.
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
pub(crate) enum Again {
    /// Another request was faster.
    Conflict,
    /// It is not known what became of them the first time.
    Unknown,
}

impl Default for Counters {
    fn default() -> Self {
        let lookups = |result| Counter::new(LOOKUPS, &[("result", result)]);
        let retries = |reason| Counter::new(RETRIES, &[("reason", reason)]);
        let what = "Attributes of the sessions that were read and written.";
        let bytes = |direction| Counter::of_bytes(IO, what, &[("direction", direction)]);
        Self {
            lookups: Lookups {
                found: lookups("found"),
                unknown: lookups("unknown"),
                ended: lookups("ended"),
                replaced: lookups("replaced"),
                unreadable: lookups("unreadable"),
                failed: lookups("failed"),
            },
            created: Counter::new(CREATED, &[]),
            conflicts: Counter::new(CONFLICTS, &[]),
            retries: [retries("conflict"), retries("outcome_unknown")],
            csrf_refused: Counter::new(CSRF_REFUSED, &[]),
            read: bytes("read"),
            written: bytes("write"),
        }
    }
}

impl Counters {
    /// What the store said of a token that a request brought.
    pub(crate) fn looked_up(&self, token: &Token, loaded: &Result<Loaded>) {
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
    pub(crate) fn created(&self, session: &Snapshot) {
        self.created.add(1);
        self.wrote(session);
    }

    /// A session was stored.
    pub(crate) fn wrote(&self, session: &Snapshot) {
        self.written.add(session.record().attributes().size());
    }

    /// Another request had changed the session.
    pub(crate) fn conflict(&self) {
        self.conflicts.add(1);
    }

    /// Changes are sent once more.
    pub(crate) fn again(&self, why: Again) {
        self.retries[why as usize].add(1);
    }

    /// A request that would change something did not show the token of its session.
    pub(crate) fn csrf_refused(&self) {
        self.csrf_refused.add(1);
    }
}
