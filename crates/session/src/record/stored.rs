use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Stamp, Timestamp, Version};

use super::attribute::AttributeName;
use super::attributes::Attributes;
use super::change::{Authority, NewSession, Persistence, Principal, Rotate, Rotation};
use super::delta::Delta;
use super::ends::Ends;
use super::saves::{SaveId, Saves};
use crate::token::{SessionKey, VerifierHash};

/// A stored session.
///
/// All times but the stamp's are durations since the session was created, so that a client writes none of its own
/// clock. What this version does not know of is kept as it was read.
///
/// For authors of backends that have no server to stamp a record:
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::Timestamp;
/// use statehouse_session::{Attribute, AttributeName, Delta, NewSession, Record, SaveId, Token};
///
/// # fn main() -> statehouse_core::Result<()> {
/// let (token, hour) = (Token::generate()?, Duration::from_secs(3_600));
/// let (new, now) = (NewSession::new(token.verifier_hash(), hour, 10 * hour), Timestamp::from_micros(1_800_000_000_000_000));
/// let create = SaveId::generate()?;
/// let created = Record::new(&token.key(), &new).created_by(create).stamped_new(now, new.absolute_timeout);
/// assert!(created.is_as_created_by(create) && created.expiry_if_unused() == now + hour);
///
/// let theme = AttributeName::new("theme")?;
/// let delta = Delta::new().with_set(theme.clone(), Attribute::encode("dark")?.with_time_to_live(hour));
/// let (later, save) = (now + Duration::from_secs(60), SaveId::generate()?);
/// let changed = created.with_delta(&delta, later).expect("it had no theme");
/// assert_eq!(changed.end_of(&theme), Some(later + hour));
/// let saved = changed.clone().stamped_over(&created, save, later);
/// assert!(saved.version() > created.version() && saved.knows(save) && saved.expiry_if_unused() == later + hour);
/// // What does not count as use
/// assert_eq!(saved.expiring_as(&created).expiry_if_unused(), now + hour);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) key: SessionKey,
    pub(super) stamp: Stamp,
    pub(super) verifier: VerifierHash,
    pub(super) previous: Option<Previous>,
    pub(super) rotated: Duration,
    pub(super) authenticated: Option<Duration>,
    pub(super) idle_timeout: Duration,
    pub(super) remembered: Option<Remembered>,
    pub(super) principal: Option<Principal>,
    pub(super) epoch: u64,
    pub(super) attributes: Attributes,
    pub(super) saves: Saves,
    pub(super) unknown: Vec<(u16, Bytes)>,
}

/// A verifier that a renewal replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    pub(super) verifier: VerifierHash,
    /// Accepted until this long after the session was created; without one, until the new one is used.
    pub(super) until: Option<Duration>,
    /// How long it is accepted from then on.
    pub(super) grace: Duration,
}

/// That whoever logged in is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// How long after the session was created they logged in. A build that knows nothing of this leaves it as it is when somebody
    /// else logs in, who did not ask for it: their login was at another time.
    pub(super) login: Duration,
    /// For how long without being used.
    pub(super) idle: Duration,
}

impl Remembered {
    fn of(persistence: Persistence, login: Duration) -> Option<Self> {
        match persistence {
            Persistence::Browser => None,
            Persistence::Remember(idle) => Some(Self { login, idle }),
        }
    }
}

impl Record {
    /// The largest encoded record, in bytes. Longer ones are neither written nor read.
    pub const MAX_LEN: usize = 16 << 20;
    /// The same with the envelope's header.
    pub(crate) const MAX_STORED: usize = Self::MAX_LEN + 56;

    /// A new session. Its stamp is set by [`stamped_new`](Self::stamped_new), or by the server.
    #[must_use]
    pub fn new(key: &SessionKey, new: &NewSession) -> Self {
        let authenticated = new.principal.is_some().then_some(Duration::ZERO);
        let mut attributes = new.attributes.clone();
        attributes.settle(Duration::ZERO);
        Self {
            key: *key,
            stamp: Stamp::default(),
            verifier: new.verifier,
            previous: None,
            rotated: Duration::ZERO,
            authenticated,
            idle_timeout: new.idle_timeout,
            remembered: authenticated.and_then(|login| Remembered::of(new.persistence, login)),
            principal: new.principal.clone(),
            epoch: new.epoch,
            attributes,
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

    /// For how long whoever is logged in stays so. It is that of the login, whatever has become of the idle timeout since.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        let remembered = self.remembered.filter(|remembered| self.authenticated == Some(remembered.login));
        remembered.map_or(Persistence::Browser, |remembered| Persistence::Remember(remembered.idle))
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

    /// In which of the principal's epochs the login began. A later one begins with each revocation of all their sessions.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether somebody is logged in to it whose login began before this epoch.
    #[must_use]
    pub fn is_revoked_in(&self, epoch: u64) -> bool {
        self.principal.is_some() && self.epoch < epoch
    }

    /// The record in another epoch of its principal.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The same with other attributes, and somebody else logged in.
    #[cfg(feature = "sealed")]
    pub(crate) fn with_contents(&self, principal: Option<Principal>, attributes: Attributes) -> Self {
        Self { principal, attributes, ..self.clone() }
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
        let unknown: usize = self.unknown.iter().map(|(_, bytes)| ATTRIBUTE + bytes.len()).sum();
        let principal = self.principal.as_ref().map_or(0, |principal| principal.as_str().len());
        (ITSELF + principal + ATTRIBUTE * self.attributes.len() + unknown) as u64 + self.attributes.size()
    }

    /// When a session that is used at `now` expires unless it is used again.
    #[must_use]
    pub fn expiry_if_used(&self, now: Timestamp) -> Timestamp {
        self.absolute_expiry().min(now + self.idle_timeout)
    }

    /// When the session expires unless it is used, as of the last write or touch that the record knows of.
    #[must_use]
    pub fn expiry_if_unused(&self) -> Timestamp {
        self.idle_expiry().min(self.absolute_expiry())
    }

    /// When the idle timeout ends, as of the last write or touch that the record knows of: also where the session ends before that by
    /// its absolute timeout, so that it says when that use was.
    #[must_use]
    pub fn idle_expiry(&self) -> Timestamp {
        self.stamp.soft_expiry.unwrap_or_else(|| self.absolute_expiry())
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
        self.verifier == verifier || self.previous_in_grace(now).is_some_and(|previous| previous.verifier == verifier)
    }

    fn previous_in_grace(&self, now: Timestamp) -> Option<Previous> {
        self.previous.filter(|previous| previous.until.is_none_or(|until| self.created() + until > now))
    }

    /// Whether the verifier of before the last renewal is still accepted: another renewal would forget it.
    pub(crate) fn has_grace(&self, now: Timestamp) -> bool {
        self.previous_in_grace(now).is_some()
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

    /// When the attribute ends, if it does before its session.
    #[must_use]
    pub fn end_of(&self, name: &AttributeName) -> Option<Timestamp> {
        match self.attributes.get(name)?.ends {
            Ends::At(end) => Some(self.created() + end),
            Ends::Never | Ends::After(_) => None,
        }
    }

    /// Whether the value of an attribute has ended at `now`.
    pub(super) fn has_ended(&self, ends: Ends, now: Timestamp) -> bool {
        ends.is_over(now.since(self.created()))
    }

    /// The record without the attributes that have ended at `now`, or `None` if there are none.
    pub(crate) fn without_ended(&self, now: Timestamp) -> Option<Self> {
        let age = now.since(self.created());
        self.attributes.any_ended(age).then(|| {
            let mut attributes = self.attributes.clone();
            attributes.remove_ended(age);
            self.with_attributes(attributes)
        })
    }

    /// The record with the delta applied at `now`, or `None` if that changes nothing. Attributes that have ended are left out.
    #[must_use]
    pub fn with_delta(&self, delta: &Delta, now: Timestamp) -> Option<Self> {
        let mut attributes = delta.apply(&self.attributes)?;
        attributes.settle(now.since(self.created()));
        Some(self.with_attributes(attributes))
    }

    /// Whether the authority changes anything by saving the delta.
    pub(crate) fn is_changed_by(&self, authority: Authority, delta: &Delta) -> bool {
        delta.changes(&self.attributes) || self.is_confirmed_by(authority)
    }

    /// The record as the authority saves it at `now`, or `None` if that changes nothing.
    #[must_use]
    pub fn with_save(&self, authority: Authority, delta: &Delta, now: Timestamp) -> Option<Self> {
        let changed = self.with_delta(delta, now);
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
            remembered: self.remembered,
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
        let mut next = self.with_delta(delta, now).unwrap_or_else(|| self.clone());
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
            next.remembered = Remembered::of(rotation.persistence, age);
        }
        next.idle_timeout = rotation.idle_timeout.unwrap_or(next.idle_timeout);
        if let Some(timeout) = rotation.absolute_timeout {
            next.stamp.hard_expiry = Some(now + timeout);
        }
        next
    }

    /// Whether it is opened by another verifier than the record that it was made of.
    #[cfg(feature = "redis")]
    pub(crate) fn is_rotated(&self, base: &Self) -> bool {
        self.verifier != base.verifier
    }

    /// The record with its last rotation so long after its creation.
    #[cfg(feature = "redis")]
    pub(crate) fn rotated_after(self, age: Duration) -> Self {
        Self { rotated: age, ..self }
    }

    /// The record as created at `now`, for backends that have no server to stamp it.
    #[must_use]
    pub fn stamped_new(mut self, now: Timestamp, absolute_timeout: Duration) -> Self {
        let hard_expiry = now + absolute_timeout;
        self.stamp.version = Version::default().next(now.as_micros());
        self.stamp.created = now;
        self.stamp.hard_expiry = Some(hard_expiry);
        self.stamp.soft_expiry = Some(now + self.idle_timeout);
        self
    }

    /// The record as saved at `now` over `current` by the change of this id: the next version. The time of creation does not move, nor
    /// does the absolute expiry, unless a [rotation](Self::with_rotation) has moved it.
    #[must_use]
    pub fn stamped_over(mut self, current: &Self, save: SaveId, now: Timestamp) -> Self {
        let version = current.version().next(now.as_micros());
        self.saves = current.saves.followed_by(save, current.version(), version, now);
        let hard_expiry = self.stamp.hard_expiry.or(current.stamp.hard_expiry);
        self.stamp = Stamp { version, hard_expiry, ..current.stamp };
        self.stamp.soft_expiry = Some(now + self.idle_timeout);
        self
    }
}
