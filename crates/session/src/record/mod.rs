//! What is stored for a session, and the rules of changing it that every backend shares.

mod attribute;
mod format;
mod saves;
mod snapshot;

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Error, Result, Stamp, Timestamp, Version};

pub use self::attribute::{Attribute, AttributeName, Attributes, Delta};
pub(crate) use self::attribute::{entry_size, short_type_name, size};
#[cfg(feature = "redis")]
pub(crate) use self::format::TOMBSTONE;
#[cfg(any(unix, feature = "redis", test))]
pub(crate) use self::format::deleted_at;
#[cfg(any(unix, test))]
pub(crate) use self::format::tombstone;
pub use self::saves::SaveId;
use self::saves::Saves;
pub use self::snapshot::Snapshot;
use crate::token::{SessionKey, VerifierHash};

/// Who a session belongs to once somebody has logged in: the application's own name for them, for example a user id.
///
/// 1 to 256 bytes of UTF-8 without control characters. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The longest principal, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Checks the text of a user id and takes it as a principal.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if it breaks the rule.
    pub fn new(id: impl Display) -> Result<Self> {
        let text = id.to_string();
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        if fits && !text.chars().any(char::is_control) {
            return Ok(Self(text.into()));
        }
        Err(Error::invalid_input("a principal is 1 to 256 bytes without control characters"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Principal([redacted])")
    }
}

/// What a session begins with. The store adds the times, from its own clock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// The hash of the first verifier.
    pub verifier: VerifierHash,
    /// How long it lives without being used. At least 1 ms.
    pub idle_timeout: Duration,
    /// How long it lives at most, however much it is used. At least 1 ms.
    pub absolute_timeout: Duration,
    /// Who logged in, if somebody did.
    pub principal: Option<Principal>,
    /// The principal's epoch: see [`Record::epoch`].
    pub epoch: u64,
    /// The first attributes.
    pub attributes: Attributes,
}

impl NewSession {
    /// An anonymous session without attributes.
    #[must_use]
    pub const fn new(verifier: VerifierHash, idle_timeout: Duration, absolute_timeout: Duration) -> Self {
        Self { verifier, idle_timeout, absolute_timeout, principal: None, epoch: 0, attributes: Attributes::new() }
    }

    /// Checks the timeouts. Every backend calls it before it creates.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if one is under 1 ms or over 10 years.
    pub fn check(&self) -> Result<()> {
        const ACCEPTED: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3650 * 86_400);
        if ACCEPTED.contains(&self.idle_timeout) && ACCEPTED.contains(&self.absolute_timeout) {
            return Ok(());
        }
        Err(Error::invalid_input("a session timeout is at least 1 ms and at most 10 years"))
    }

    /// The same with a principal, logged in when the session is created.
    #[must_use]
    pub fn with_principal(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// The same in this epoch of the principal.
    #[must_use]
    pub const fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The same with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }
}

/// Why a session gets a new verifier, and with it the browser a new cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotate {
    /// Somebody logged in or gained rights: the old verifier is refused at once, also for writes in flight.
    PrivilegeChange,
    /// A periodic renewal: the old verifier is accepted for this long from the first use of the new one on, so that
    /// parallel requests are not logged out, and neither is a browser that the answer with the new one did not reach.
    Renewal {
        /// How long.
        grace: Duration,
    },
}

/// One rotation: the new verifier, why, and who logged in with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// The hash of the new verifier.
    pub next: VerifierHash,
    /// Why.
    pub why: Rotate,
    /// Who logged in. Without one the principal, the epoch and the time of the login stay.
    pub login: Option<Principal>,
    /// The principal's epoch: see [`Record::epoch`].
    pub epoch: u64,
    /// How long the session lives without being used from now on. Without one that stays.
    pub idle_timeout: Option<Duration>,
}

impl Rotation {
    /// A rotation that leaves the principal as it is.
    #[must_use]
    pub const fn new(next: VerifierHash, why: Rotate) -> Self {
        Self { next, why, login: None, epoch: 0, idle_timeout: None }
    }

    /// A rotation because somebody logged in.
    #[must_use]
    pub const fn login(next: VerifierHash, principal: Principal) -> Self {
        Self { next, why: Rotate::PrivilegeChange, login: Some(principal), epoch: 0, idle_timeout: None }
    }

    /// The same in this epoch of the principal.
    #[must_use]
    pub const fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The same with another idle timeout.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }
}

/// In whose name a session is changed or deleted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Authority {
    /// In the name of a request that presented this verifier. Refused once the session no longer accepts it.
    Holder(VerifierHash),
    /// In the name of the application itself, for example to end somebody's sessions. Never refused.
    Application,
}

/// A stored session.
///
/// All times but the stamp's are durations since the session was created, so that a client writes none of its own
/// clock. What this version does not know of is kept as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    key: SessionKey,
    stamp: Stamp,
    verifier: VerifierHash,
    previous: Option<Previous>,
    rotated: Duration,
    authenticated: Option<Duration>,
    idle_timeout: Duration,
    principal: Option<Principal>,
    epoch: u64,
    attributes: Attributes,
    saves: Saves,
    unknown: Vec<(u16, Bytes)>,
}

/// A verifier that a renewal replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Previous {
    verifier: VerifierHash,
    /// Accepted until this long after the session was created; without one, until the new one is used.
    until: Option<Duration>,
    /// How long it is accepted from then on.
    grace: Duration,
}

impl Record {
    /// The largest encoded record, in bytes. Longer ones are neither written nor read.
    pub const MAX_LEN: usize = 16 << 20;
    /// The same with the envelope's header.
    pub(crate) const MAX_STORED: usize = Self::MAX_LEN + 56;

    /// A new session. Its stamp is set by [`stamped_new`](Self::stamped_new), or by the server.
    #[must_use]
    pub fn new(key: &SessionKey, new: &NewSession) -> Self {
        Self {
            key: *key,
            stamp: Stamp::default(),
            verifier: new.verifier,
            previous: None,
            rotated: Duration::ZERO,
            authenticated: new.principal.is_some().then_some(Duration::ZERO),
            idle_timeout: new.idle_timeout,
            principal: new.principal.clone(),
            epoch: new.epoch,
            attributes: new.attributes.clone(),
            saves: Saves::default(),
            unknown: Vec::new(),
        }
    }

    /// The same with the id of its create.
    #[must_use]
    pub fn created_by(mut self, create: SaveId) -> Self {
        self.saves = Saves::of_create(create);
        self
    }

    /// Whether the create of this id made it, and nobody has changed it since.
    #[must_use]
    pub fn is_as_created_by(&self, create: SaveId) -> bool {
        self.saves.are_only(create)
    }

    /// The key that this record is bound to.
    #[must_use]
    pub const fn key(&self) -> &SessionKey {
        &self.key
    }

    /// The version of the last save or rotation. A touch does not change it.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.stamp.version
    }

    /// When the session was created, on the store's clock. Rotation does not change it.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.stamp.created
    }

    /// When the session ends however much it is used.
    #[must_use]
    pub fn absolute_expiry(&self) -> Timestamp {
        self.stamp.hard_expiry.unwrap_or_default()
    }

    /// How long it lives without being used.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// When the verifier was last replaced; at first, when the session was created.
    #[must_use]
    pub fn rotated(&self) -> Timestamp {
        self.created() + self.rotated
    }

    /// When somebody last logged in.
    #[must_use]
    pub fn authenticated(&self) -> Option<Timestamp> {
        self.authenticated.map(|after| self.created() + after)
    }

    /// Who is logged in.
    #[must_use]
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Which of the principal's epochs the login was in, 0 unless the login said: for whoever ends all sessions of
    /// somebody by counting one up.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The attributes.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// What it takes up in memory, in bytes: about as much as it does.
    pub(crate) fn weight(&self) -> u64 {
        const ITSELF: usize = 512;
        const ATTRIBUTE: usize = 128;
        let attributes =
            self.attributes.iter().map(|(name, value)| ATTRIBUTE + name.as_bytes().len() + value.bytes().len());
        let unknown = self.unknown.iter().map(|(_, bytes)| ATTRIBUTE + bytes.len());
        let principal = self.principal.as_ref().map_or(0, |principal| principal.as_str().len());
        (ITSELF + principal + attributes.chain(unknown).sum::<usize>()) as u64
    }

    /// When a session that is used at `now` expires unless it is used again.
    #[must_use]
    pub fn expiry_if_used(&self, now: Timestamp) -> Timestamp {
        self.absolute_expiry().min(now + self.idle_timeout)
    }

    /// When the session expires unless it is used, as of the last write or touch that the record knows of.
    #[must_use]
    pub fn expiry_if_unused(&self) -> Timestamp {
        let hard = self.absolute_expiry();
        self.stamp.soft_expiry.map_or(hard, |soft| soft.min(hard))
    }

    /// The record with the idle expiry of the one that it replaces.
    #[must_use]
    pub fn expiring_as(mut self, replaced: &Self) -> Self {
        self.stamp.soft_expiry = replaced.stamp.soft_expiry;
        self
    }

    /// Whether the authority may change the session at `now`.
    #[must_use]
    pub fn accepts(&self, authority: Authority, now: Timestamp) -> bool {
        let Authority::Holder(verifier) = authority else { return true };
        let in_grace = |previous: Previous| {
            let is_over = previous.until.is_some_and(|until| self.created() + until <= now);
            !is_over && previous.verifier == verifier
        };
        self.verifier == verifier || self.previous.is_some_and(in_grace)
    }

    /// Whether this is the verifier of the last rotation, and nobody has used it before: the first save in its name,
    /// also one that changes nothing else, begins the grace of the verifier before.
    #[must_use]
    pub fn is_confirmed_by(&self, authority: Authority) -> bool {
        let Authority::Holder(verifier) = authority else { return false };
        self.previous.is_some_and(|previous| previous.until.is_none()) && self.is_newest(&verifier)
    }

    /// Whether a renewal replaced this verifier, and nobody has used the new one yet.
    #[must_use]
    pub fn is_unconfirmed(&self, verifier: &VerifierHash) -> bool {
        self.previous.is_some_and(|previous| previous.until.is_none() && previous.verifier == *verifier)
    }

    /// Whether it was this change that led to the session as it is, or one of the last changes before.
    #[must_use]
    pub fn knows(&self, save: SaveId) -> bool {
        self.saves.contain(save)
    }

    /// Whether a change on the version of `base` that this session does not [know](Self::knows) was not made: false
    /// if so many others were that it may have been forgotten.
    #[must_use]
    pub fn knows_all_since(&self, base: &Self) -> bool {
        self.saves.are_complete_since(base.version())
    }

    /// Whether this is the verifier that the last rotation set.
    #[must_use]
    pub fn is_newest(&self, verifier: &VerifierHash) -> bool {
        self.verifier == *verifier
    }

    /// The record with the delta applied, or `None` if that changes nothing.
    #[must_use]
    pub fn with_delta(&self, delta: &Delta) -> Option<Self> {
        delta.apply(&self.attributes).map(|attributes| self.with_attributes(attributes))
    }

    /// The record as the authority saves it at `now`, or `None` if that changes nothing.
    #[must_use]
    pub fn with_save(&self, authority: Authority, delta: &Delta, now: Timestamp) -> Option<Self> {
        let changed = self.with_delta(delta);
        if !self.is_confirmed_by(authority) {
            return changed;
        }
        let mut next = changed.unwrap_or_else(|| self.clone());
        if let Some(previous) = &mut next.previous {
            previous.until = Some(now.since(self.created()) + previous.grace);
        }
        Some(next)
    }

    /// Every field by name: `..self.clone()` would clone the attributes that are replaced.
    fn with_attributes(&self, attributes: Attributes) -> Self {
        Self {
            key: self.key,
            stamp: self.stamp,
            verifier: self.verifier,
            previous: self.previous,
            rotated: self.rotated,
            authenticated: self.authenticated,
            idle_timeout: self.idle_timeout,
            principal: self.principal.clone(),
            epoch: self.epoch,
            attributes,
            saves: self.saves.clone(),
            unknown: self.unknown.clone(),
        }
    }

    /// The record with its verifier replaced by the authority at `now`, and the delta applied. After a renewal the
    /// verifier before is the one that the authority holds, whose browser may not get the answer.
    #[must_use]
    pub fn with_rotation(&self, authority: Authority, rotation: &Rotation, delta: &Delta, now: Timestamp) -> Self {
        let mut next = self.with_delta(delta).unwrap_or_else(|| self.clone());
        let age = now.since(self.created());
        let verifier = match authority {
            Authority::Holder(verifier) => verifier,
            Authority::Application => self.verifier,
        };
        next.previous = match rotation.why {
            Rotate::PrivilegeChange => None,
            Rotate::Renewal { grace } => Some(Previous { verifier, until: None, grace }),
        };
        next.verifier = rotation.next;
        next.rotated = age;
        if let Some(principal) = &rotation.login {
            next.principal = Some(principal.clone());
            next.epoch = rotation.epoch;
            next.authenticated = Some(age);
        }
        next.idle_timeout = rotation.idle_timeout.unwrap_or(next.idle_timeout);
        next
    }

    /// The record as created at `now`, for backends that have no server to stamp it.
    #[must_use]
    pub fn stamped_new(mut self, now: Timestamp, absolute_timeout: Duration) -> Self {
        let hard_expiry = now + absolute_timeout;
        self.stamp.version = Version::default().next(now.as_micros());
        self.stamp.created = now;
        self.stamp.hard_expiry = Some(hard_expiry);
        self.stamp.soft_expiry = Some(self.expiry_if_used(now));
        self
    }

    /// The record as saved at `now` over `current` by the change of this id: the next version, and neither the time of
    /// creation nor the absolute expiry moves.
    #[must_use]
    pub fn stamped_over(mut self, current: &Self, save: SaveId, now: Timestamp) -> Self {
        let version = current.version().next(now.as_micros());
        self.saves = current.saves.followed_by(save, current.version(), version, now);
        self.stamp = current.stamp;
        self.stamp.version = version;
        self.stamp.soft_expiry = Some(self.expiry_if_used(now));
        self
    }
}

#[cfg(test)]
pub(crate) mod tests;
