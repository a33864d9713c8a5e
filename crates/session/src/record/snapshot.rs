use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::Timestamp;
use statehouse_core::time::whole_micros;

use super::change::Authority;
use super::stored::Record;
use crate::token::Token;

/// A session as a store answered it: the record, what time it was there, and when it would expire.
#[derive(Clone, Debug)]
pub struct Snapshot {
    record: Arc<Record>,
    now: Timestamp,
    expires: Timestamp,
    taken: Instant,
}

impl Snapshot {
    /// The record as of `now` on the store's clock, expiring at `expires` unless it is used.
    #[must_use]
    pub fn new(record: impl Into<Arc<Record>>, now: Timestamp, expires: Timestamp) -> Self {
        Self { record: record.into(), now, expires, taken: Instant::now() }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The time on the store's clock: as it was when the store answered, plus what has passed here since.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now + self.taken.elapsed()
    }

    /// When the session expires unless it is used, as of the store's answer.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When the session was last used, to the precision of the throttled touch: a tenth of the idle timeout.
    #[must_use]
    pub fn last_seen(&self) -> Timestamp {
        let idle = whole_micros(self.record.idle_timeout());
        let seen = Timestamp::from_micros(self.expires.as_micros().saturating_sub(idle));
        seen.max(self.record.created())
    }

    /// How much later the session would expire if it were used now.
    #[must_use]
    pub fn gain_of_touch(&self) -> Duration {
        self.record.expiry_if_used(self.now()).since(self.expires)
    }

    /// Whether the idle timeout has a tenth of itself to gain. Touching for less would cost a write for every read.
    #[must_use]
    pub fn is_worth_a_touch(&self) -> bool {
        self.gain_of_touch() > self.record.idle_timeout() / 10
    }

    /// Whether the token opens it.
    pub(crate) fn is_opened_by(&self, token: &Token) -> bool {
        self.record.accepts(Authority::Holder(token.verifier_hash()), self.now())
    }

    /// Whether a write that is based on `base` may be applied to this, the current session.
    #[must_use]
    pub fn admits(&self, base: &Self, authority: Authority) -> bool {
        self.record.version() == base.record.version() && self.record.accepts(authority, self.now())
    }
}
