//! What sessions begin with, and who changes them how.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, Result};

use super::attributes::Attributes;
use super::limit::Limit;
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

/// Which sessions of a principal are ended.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store must not overlook one")]
pub enum Revoke<'a> {
    /// This one, if it is the principal's.
    One(&'a Principal, &'a SessionKey),
    /// All.
    All(&'a Principal),
    /// All but this one.
    Others(&'a Principal, &'a SessionKey),
    /// Those of everybody.
    Everything,
}

impl<'a> Revoke<'a> {
    /// Whose sessions it ends, or those of all; if it is only one, which; and which one stays.
    pub(crate) const fn parts(self) -> (Option<&'a Principal>, Option<&'a SessionKey>, Option<&'a SessionKey>) {
        match self {
            Self::One(principal, key) => (Some(principal), Some(key), None),
            Self::All(principal) => (Some(principal), None, None),
            Self::Others(principal, key) => (Some(principal), None, Some(key)),
            Self::Everything => (None, None, None),
        }
    }
}

/// For how long somebody stays logged in who does nothing: see [`LoginOptions`](crate::LoginOptions).
///
/// It is what the application says of a login, and kept with the session: nothing that a browser sends changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Persistence {
    /// For as long as the browser is open, with the timeouts of the [configuration](crate::SessionConfig). Where its cookie has a
    /// [`max_age`](crate::CookieBuilder::max_age), the browser keeps that also when it is closed.
    #[default]
    Browser,
    /// For this long without being used, also when the browser is closed: the idle timeout of the session and the `Max-Age` of its
    /// cookie, both of which begin anew as it is used.
    Remember(Duration),
}

/// What a session begins with. The store adds the times, from its own clock.
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
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
    /// The epoch in which the login began, as [`epoch_with`](crate::SessionStore::epoch_with) said; 0 if it begins now.
    pub epoch: u64,
    /// How many sessions the principal may have, this one among them.
    pub limit: Option<Limit>,
    /// For how long whoever logged in stays so. Without a principal it says nothing.
    pub persistence: Persistence,
    /// The first attributes.
    pub attributes: Attributes,
}

impl NewSession {
    /// An anonymous session without attributes.
    #[must_use]
    pub const fn new(verifier: VerifierHash, idle_timeout: Duration, absolute_timeout: Duration) -> Self {
        Self {
            verifier,
            idle_timeout,
            absolute_timeout,
            principal: None,
            epoch: 0,
            limit: None,
            persistence: Persistence::Browser,
            attributes: Attributes::new(),
        }
    }

    /// Checks the timeouts. Every backend calls it before it creates.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if one is under 1 ms or over 10 years.
    pub fn check(&self) -> Result<()> {
        [self.idle_timeout, self.absolute_timeout].into_iter().try_for_each(check_timeout)
    }

    /// The same with a principal, logged in when the session is created.
    #[must_use]
    pub fn with_principal(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// The same of a login that began in this epoch of the principal.
    #[must_use]
    pub const fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The same if the principal then has no more sessions than this.
    #[must_use]
    pub const fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same of somebody who is remembered, which is the idle timeout then, or not.
    #[must_use]
    pub const fn with_persistence(mut self, persistence: Persistence) -> Self {
        if let Persistence::Remember(idle) = persistence {
            self.idle_timeout = idle;
        }
        self.persistence = persistence;
        self
    }

    /// The same with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }
}

fn check_timeout(timeout: Duration) -> Result<()> {
    const ACCEPTED: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3650 * 86_400);
    if ACCEPTED.contains(&timeout) {
        return Ok(());
    }
    Err(Error::invalid_input("a session timeout is at least 1 ms and at most 10 years"))
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
///
/// How it is used stands in the example of [`SessionStore`](crate::SessionStore#example).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// The hash of the new verifier.
    pub next: VerifierHash,
    /// Why.
    pub why: Rotate,
    /// Who logged in. Without one the principal, the epoch and the time of the login stay.
    pub login: Option<Principal>,
    /// The epoch in which the login began, as [`epoch_with`](crate::SessionStore::epoch_with) said; 0 if it begins now.
    pub epoch: u64,
    /// How many sessions the principal may have, this one among them. Without a login it says nothing.
    pub limit: Option<Limit>,
    /// How long the session lives without being used from now on. Without one that stays.
    pub idle_timeout: Option<Duration>,
    /// How long it lives at most from now on. Without one its end stays.
    pub absolute_timeout: Option<Duration>,
    /// For how long whoever logged in stays so. Without a login that stays as it is.
    pub persistence: Persistence,
}

impl Rotation {
    /// A rotation that leaves the principal as it is.
    #[must_use]
    pub const fn new(next: VerifierHash, why: Rotate) -> Self {
        Self {
            next,
            why,
            login: None,
            epoch: 0,
            limit: None,
            idle_timeout: None,
            absolute_timeout: None,
            persistence: Persistence::Browser,
        }
    }

    /// A rotation because somebody logged in.
    #[must_use]
    pub const fn login(next: VerifierHash, principal: Principal) -> Self {
        Self {
            next,
            why: Rotate::PrivilegeChange,
            login: Some(principal),
            epoch: 0,
            limit: None,
            idle_timeout: None,
            absolute_timeout: None,
            persistence: Persistence::Browser,
        }
    }

    /// The same of a login that began in this epoch of the principal.
    #[must_use]
    pub const fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The same if the principal then has no more sessions than this.
    #[must_use]
    pub const fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same with another idle timeout.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// The same with another end, however much the session is used.
    #[must_use]
    pub const fn with_absolute_timeout(mut self, timeout: Duration) -> Self {
        self.absolute_timeout = Some(timeout);
        self
    }

    /// The same of somebody who is remembered, which is the idle timeout then, or not.
    #[must_use]
    pub const fn with_persistence(mut self, persistence: Persistence) -> Self {
        if let Persistence::Remember(idle) = persistence {
            self.idle_timeout = Some(idle);
        }
        self.persistence = persistence;
        self
    }

    /// Checks the timeouts. Every backend calls it before it rotates.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if one is under 1 ms or over 10 years.
    pub fn check(&self) -> Result<()> {
        self.idle_timeout.into_iter().chain(self.absolute_timeout).try_for_each(check_timeout)
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
