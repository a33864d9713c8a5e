use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};

use crate::record::{Attribute, AttributeName, Attributes, Delta, Principal, Snapshot};
use crate::token::Token;

/// What a request knows and wants of its session.
#[derive(Default)]
pub(super) struct State {
    pub(super) base: Base,
    pub(super) delta: Delta,
    pub(super) pending: Option<Pending>,
    pub(super) cookie: Option<CookieChange>,
    pub(super) outage: Option<Outage>,
    pub(super) closed: bool,
    pub(super) flashes: u16,
}

/// What the store said.
#[derive(Clone, Default)]
pub(super) enum Base {
    /// It was not asked yet.
    #[default]
    Unloaded,
    /// There is no session.
    Absent,
    /// The request's token was replaced a moment ago: the browser has, or is about to get, a newer cookie.
    Superseded,
    /// The session was deleted a moment ago. The browser still has its cookie.
    Deleted,
    /// The store could not be reached, and the configuration says to go on.
    Degraded,
    Held(Held),
}

#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) snapshot: Snapshot,
}

/// A change of the token that the next commit makes.
#[derive(Clone)]
pub(super) enum Pending {
    Login(Principal),
    Rotate,
    Renew { grace: Duration },
}

/// What the response tells the browser.
pub(super) enum CookieChange {
    Set(Token),
    Remove,
}

/// That the store could not be reached, and when to try again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) retry_after: Duration,
}

impl Outage {
    /// What a store's error says about the store, as opposed to the call or the session.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Corrupt
            | ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::TooLarge => None,
            _ => Some(Self {
                retry_after: match error.retry() {
                    Retry::After(wait) => wait,
                    _ => Duration::from_secs(1),
                },
            }),
        }
    }
}

impl State {
    pub(super) fn has_work(&self) -> bool {
        !self.delta.is_empty() || self.pending.is_some()
    }

    pub(super) fn is_unloaded(&self) -> bool {
        matches!(self.base, Base::Unloaded)
    }

    pub(super) fn is_superseded(&self) -> bool {
        matches!(self.base, Base::Superseded)
    }

    pub(super) fn refuse_degraded(&self, operation: &'static str) -> Result<()> {
        if matches!(self.base, Base::Degraded) {
            let message = "the session store cannot be reached";
            return Err(Error::new(ErrorKind::Unavailable, message).with_operation(operation));
        }
        Ok(())
    }

    pub(super) const fn held(&self) -> Option<&Held> {
        match &self.base {
            Base::Held(held) => Some(held),
            _ => None,
        }
    }

    /// The attributes as loaded, without this request's changes.
    pub(super) fn loaded_attributes(&self) -> &Attributes {
        static NONE: Attributes = Attributes::new();
        self.held().map_or(&NONE, |held| held.snapshot.record().attributes())
    }

    /// The attribute with this request's changes.
    pub(super) fn attribute(&self, name: &AttributeName) -> Option<&Attribute> {
        let removed = self.delta.clear || self.delta.remove.contains(name);
        let loaded = || self.loaded_attributes().get(name).filter(|_| !removed);
        self.delta.set.get(name).or_else(loaded)
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        match &self.pending {
            Some(Pending::Login(principal)) => Some(principal),
            _ => self.held()?.snapshot.record().principal(),
        }
    }

    pub(super) fn login_age(&self) -> Option<Duration> {
        if let Some(Pending::Login(_)) = self.pending {
            return Some(Duration::ZERO);
        }
        let snapshot = &self.held()?.snapshot;
        Some(snapshot.now().since(snapshot.record().authenticated()?))
    }
}
