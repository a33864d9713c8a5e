use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::{Authority, Record};
use crate::api::Saved;
use crate::options::SaveOptions;
use crate::token::VerifierHash;

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
        let idle = u64::try_from(self.record.idle_timeout.as_micros()).unwrap_or(u64::MAX);
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

    /// Whether a write that is based on `base` may be applied to this, the current session.
    #[must_use]
    pub fn admits(&self, base: &Self, authority: Authority) -> bool {
        self.record.version() == base.record.version() && self.record.accepts(authority, self.now())
    }

    /// What to answer to a write that this, the current session, does not admit: that it was made before, if it was. A
    /// rotation, which sets `verifier`, is known by it, for nobody else draws the same.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`] if it is a repetition and so many others were made since that the first try, which
    /// may have been one of them, would be forgotten.
    pub fn contest(
        self,
        base: &Self,
        authority: Authority,
        verifier: Option<&VerifierHash>,
        options: &SaveOptions,
    ) -> Result<Saved> {
        if verifier.is_some_and(|verifier| self.record.is_newest(verifier)) {
            return Ok(Saved::Applied(self));
        }
        if !self.record.accepts(authority, self.now()) {
            return Ok(Saved::Superseded);
        }
        if options.id.is_some_and(|id| self.record.knows(id)) {
            return Ok(Saved::Applied(self));
        }
        if options.repeats && !self.record.knows_all_since(&base.record) {
            let message = "so many other requests have changed the session that nobody knows whether this one did";
            return Err(Error::new(ErrorKind::OutcomeUnknown, message));
        }
        Ok(Saved::Conflict(self))
    }
}
