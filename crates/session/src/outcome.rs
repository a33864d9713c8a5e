//! What became of what was asked. A change that came too late is an answer; an error is only what prevented one.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use crate::options::SaveOptions;
use crate::record::{Authority, Limit, Snapshot};
use crate::token::VerifierHash;

/// How long a store remembers that a session was deleted: longer than a request is under way.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// What became of a load.
#[derive(Clone, Debug)]
#[must_use = "there may be none"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Loaded {
    /// The session as it is now.
    Found(Snapshot),
    /// It was deleted not longer ago than is [`REMEMBERED`]. Whoever has its token has not heard of it yet.
    Deleted {
        /// How long ago at least. A request that has been under way for longer arrived before the deletion.
        ago: Duration,
    },
    /// There is none: it expired, was deleted long ago, or never was.
    Absent,
}

impl Loaded {
    /// The session, if there is one.
    #[must_use]
    pub fn found(self) -> Option<Snapshot> {
        match self {
            Self::Found(snapshot) => Some(snapshot),
            Self::Deleted { .. } | Self::Absent => None,
        }
    }
}

/// What became of a save or a rotation.
#[derive(Clone, Debug)]
#[must_use = "somebody else may have changed or deleted the session"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Saved {
    /// It was applied; this is the session now.
    Applied(Snapshot),
    /// Somebody else changed the session since the base was loaded; this is the session now. Nothing was written.
    Conflict(Snapshot),
    /// There is no such session any more. Nothing was written.
    Gone,
    /// The holder's verifier was replaced, for example by a login. Nothing was written.
    Superseded,
}

/// What became of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the session may be gone"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Touched {
    /// The idle timeout was slid.
    Slid,
    /// There is no such session.
    Gone,
}

/// What became of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the session may still be there"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Deleted {
    /// The session was deleted.
    Removed,
    /// There was none.
    Gone,
    /// The holder's verifier is not accepted. The session is still there.
    Refused,
}

impl Snapshot {
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
        if verifier.is_some_and(|verifier| self.record().is_newest(verifier)) {
            return Ok(Saved::Applied(self));
        }
        if !self.record().accepts(authority, self.now()) {
            return Ok(Saved::Superseded);
        }
        if options.id.is_some_and(|id| self.record().knows(id)) {
            return Ok(Saved::Applied(self));
        }
        if options.repeats && !self.record().knows_all_since(base.record()) {
            let message = "so many other requests have changed the session that nobody knows whether this one did";
            return Err(Error::new(ErrorKind::OutcomeUnknown, message));
        }
        Ok(Saved::Conflict(self))
    }
}

/// What a create is told whose key another one has.
pub(crate) fn taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is a session under this key")
}

/// What a login is told that began before all sessions of its principal were revoked.
pub(crate) fn revoked() -> Error {
    let message = "the sessions of this principal were revoked while the login was under way: log in again";
    Error::new(ErrorKind::Conflict, message)
}

/// What a login is told whose principal has as many sessions as there may be.
pub(crate) fn too_many(limit: Limit) -> Error {
    let message = format!("the principal has {} sessions already, or logins under way: one must end first", limit.max);
    Error::new(ErrorKind::Conflict, message)
}

/// What a login is told that is made, while the session that was to end for it may be there still.
pub(crate) fn not_evicted(why: Error) -> Error {
    let message =
        "somebody is logged in, and the oldest of their sessions, which makes room for it, may not have ended";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(why)
}

/// What a store says that does not know whose its sessions are.
pub(crate) fn no_principals() -> Error {
    Error::new(ErrorKind::Unsupported, "this store does not know which sessions are whose (capability principals)")
}
