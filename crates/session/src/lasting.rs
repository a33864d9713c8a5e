//! Whether a session has lasted for as long as sessions do now.

use std::time::Duration;

use crate::record::{Limit, Persistence, Record, Snapshot, Timeouts};

/// How long a session lives that is not used.
pub(crate) fn idle_timeout(record: &Record, timeouts: &Timeouts) -> Duration {
    match record.persistence() {
        Persistence::Browser => timeouts.idle,
        Persistence::Remember(idle) => idle.min(timeouts.remembered),
    }
}

/// Whether a session that the store keeps for longer, because it was stored under another configuration, has been idle, or there, or
/// its user remembered, for as long as these allow.
pub(crate) fn is_over(session: &Snapshot, timeouts: &Timeouts) -> bool {
    let (record, now) = (session.record(), session.now());
    let allowed = idle_timeout(record, timeouts);
    let is_idle = allowed < record.idle_timeout() && now.since(session.last_seen()) >= allowed;
    let longest = match record.persistence() {
        Persistence::Browser => timeouts.absolute,
        Persistence::Remember(_) => timeouts.remembered,
    };
    // Whoever was remembered and logs in anew has all of the time from then on: from when else is not known.
    is_idle || now.since(record.authenticated().unwrap_or(record.created())) >= longest
}

/// Whether a session does not count any more.
pub(crate) fn is_beyond(session: &Snapshot, limit: Limit) -> bool {
    limit.timeouts.is_some_and(|timeouts| is_over(session, &timeouts))
}
