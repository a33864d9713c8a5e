//! What happens to sessions, for whoever keeps a record of it.

use std::fmt;
use std::sync::Arc;

use crate::record::Principal;
use crate::token::SessionKey;

/// That something happened to a session: see [`SessionConfigBuilder::on_event`](crate::SessionConfigBuilder::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionEvent {
    /// What.
    pub kind: SessionEventKind,
    /// To which one. None if it happened to several.
    pub key: Option<SessionKey>,
    /// Whose it is, if that is known. None for everybody's, too.
    pub principal: Option<Principal>,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEventKind {
    /// It was begun.
    Created,
    /// Somebody logged in to it, and it has a new token.
    LoggedIn,
    /// It has a new token without a login: [asked for](crate::Session::rotate), or a [renewal](crate::SessionConfigBuilder::renew_every).
    Rotated,
    /// It was logged out of, or ended because a login in the same browser left another one. Whose it was is told if the request
    /// had used it before.
    Ended,
    /// It was revoked: alone, where there was one of its principal to revoke, or with others of theirs, or with everybody's.
    Revoked,
    /// A request showed a token of it that was replaced more than a minute ago, or that was never right. Browsers do that only
    /// where the answer with the newer token was lost; else somebody has a copy of an old cookie. Who wants to be careful
    /// [revokes](crate::Sessions::revoke) the session.
    OldTokenUsed,
}

type Listen = dyn Fn(&SessionEvent) + Send + Sync;

/// Whoever is told of events.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Listen>);

impl Listener {
    pub(crate) fn new(listen: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    pub(crate) fn tell(&self, kind: SessionEventKind, key: Option<SessionKey>, principal: Option<Principal>) {
        (self.0)(&SessionEvent { kind, key, principal });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
