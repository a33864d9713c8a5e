#[cfg(feature = "sealed")]
use std::collections::BTreeMap;
#[cfg(feature = "sealed")]
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "sealed")]
use statehouse_core::Error;
use statehouse_core::time::whole_micros;
use statehouse_core::{Result, Timestamp};

use super::attribute::Attribute;
#[cfg(feature = "sealed")]
use super::attribute::AttributeName;
use super::change::Authority;
use super::stored::Record;
use crate::token::Token;

/// A session as a store answered it: the record, what time it was there, and when it would expire.
#[derive(Clone, Debug)]
pub struct Snapshot {
    record: Arc<Record>,
    now: Timestamp,
    /// The end of the idle timeout, which may be after that of the session.
    idle_expiry: Timestamp,
    taken: Instant,
    #[cfg(feature = "sealed")]
    sealed: Option<Arc<Sealed>>,
}

/// What a store has of a session of which it can read nothing.
#[cfg(feature = "sealed")]
pub(crate) struct Sealed {
    /// Of whoever has sealed it.
    pub(crate) place: [u8; 32],
    pub(crate) record: Arc<Record>,
    /// What its attributes are called, by what stands for them.
    pub(crate) names: BTreeMap<AttributeName, AttributeName>,
}

/// Without what stands for what.
#[cfg(feature = "sealed")]
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The record as of `now` on the store's clock, whose idle timeout ends at `idle_expiry` unless it is used: as much later than its
    /// last use as [that timeout](Record::idle_timeout) is long, also where the absolute timeout ends it before.
    ///
    /// Attributes that have [ended](super::Attribute::with_time_to_live) by then are not in it.
    #[must_use]
    pub fn new(record: impl Into<Arc<Record>>, now: Timestamp, idle_expiry: Timestamp) -> Self {
        let record: Arc<Record> = record.into();
        Self {
            record: record.without_ended(now).map_or(record, Arc::new),
            now,
            idle_expiry,
            taken: Instant::now(),
            #[cfg(feature = "sealed")]
            sealed: None,
        }
    }

    /// The session under its seal, where this was opened.
    #[cfg(feature = "sealed")]
    pub(crate) fn sealed(&self) -> Option<&Sealed> {
        self.sealed.as_deref()
    }

    /// The same session with another record.
    #[cfg(feature = "sealed")]
    pub(crate) fn with_record(&self, record: Arc<Record>) -> Self {
        Self { record, sealed: None, ..*self }
    }

    /// The same session with what is under its seal.
    #[cfg(feature = "sealed")]
    pub(crate) fn opened(&self, record: Record, sealed: Sealed) -> Self {
        Self { sealed: Some(sealed.into()), ..self.with_record(record.into()) }
    }

    /// The record, where it is kept on.
    #[cfg(feature = "sealed")]
    pub(crate) fn shared(&self) -> Arc<Record> {
        Arc::clone(&self.record)
    }

    /// The record, to be written by a store that seals nothing.
    ///
    /// # Errors
    /// `InvalidInput` for what was opened: it would be stored as it is under its seal.
    pub(crate) fn unsealed(&self) -> Result<&Record> {
        #[cfg(feature = "sealed")]
        if self.sealed.is_some() {
            return Err(Error::invalid_input("the session was read from a store that is sealed"));
        }
        Ok(&self.record)
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

    /// For how long the session is there.
    pub(crate) fn age(&self) -> Duration {
        self.now().since(self.record.created())
    }

    /// Whether the value of one of its attributes has ended since.
    pub(crate) fn has_ended(&self, value: &Attribute) -> bool {
        self.record.has_ended(value.ends, self.now())
    }

    /// When the session expires unless it is used, as of the store's answer.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.idle_expiry.min(self.record.absolute_expiry())
    }

    /// When the session was last used, to the precision of the throttled touch: a tenth of the idle timeout.
    #[must_use]
    pub fn last_seen(&self) -> Timestamp {
        let idle = whole_micros(self.record.idle_timeout());
        let seen = Timestamp::from_micros(self.idle_expiry.as_micros().saturating_sub(idle));
        seen.max(self.record.created())
    }

    /// How much later the idle timeout would end if the session were used now: how long it has been unused.
    #[must_use]
    pub fn gain_of_touch(&self) -> Duration {
        (self.now() + self.record.idle_timeout()).since(self.idle_expiry)
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
