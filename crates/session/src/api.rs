use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Health, Result};

use crate::record::{Authority, Delta, NewSession, Rotation, Snapshot};
use crate::token::SessionKey;

/// How long a store remembers that a session was deleted: longer than a request is under way.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// Where sessions are kept. Applications use [`Session`](crate::Session); this is what a backend implements.
///
/// # Behavior
/// - **Create** is atomic: of several creators of one key one wins, the others get
///   [`ErrorKind::AlreadyExists`](statehouse_core::ErrorKind::AlreadyExists) and change nothing.
/// - **Load** never writes and never slides the idle timeout; an absent or expired session is [`Loaded::Absent`]. What
///   is stored and cannot be read is [`ErrorKind::Corrupt`](statehouse_core::ErrorKind::Corrupt), and so is a record
///   that lies under another key than it was written to.
/// - **Save** and **rotate** apply only to the version that they are based on; otherwise they answer what is there
///   ([`Saved::Conflict`]) and change nothing. They never create: an absent session is [`Saved::Gone`]. In the name
///   of a holder whose verifier is no longer accepted they answer [`Saved::Superseded`].
/// - **Equal writes write nothing**: a save whose delta changes nothing answers its base, unchanged and unchecked.
/// - **Rotate** replaces the verifier and applies the delta in one atomic step under the same key; it moves neither
///   the time of creation nor the absolute expiry. With an idle timeout, the session has that one from then on.
/// - **Touch** slides the idle timeout up to the absolute expiry. It neither creates nor changes the version, so it
///   never makes a save conflict.
/// - **Delete** is idempotent. What is deleted does not come back by a save, a rotation or a touch; nor is its key free
///   for another as long as the deletion is [`REMEMBERED`]: until then a load says [`Loaded::Deleted`], so that requests
///   under way with its token do not begin another session; and how long ago it was, never more than in truth.
/// - **Expiry** is decided by the store's clock. An expired session is gone for every method at once.
/// - **Cancellation**: dropping a future leaves the operation done or not done, never half.
///
/// # Errors
/// Outages are `Unavailable`, `Timeout` or `OutcomeUnknown`, never an answer. Nothing prints a token, a key or a value.
///
/// # Durability
/// `Ok` means done in this process (memory), synced to the disk (disk), or acknowledged by the primary (Redis).
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Stores a new session under `key`.
    async fn create(&self, key: &SessionKey, new: &NewSession) -> Result<Snapshot>;

    /// Reads a session.
    async fn load(&self, key: &SessionKey) -> Result<Loaded>;

    /// Applies `delta` to the session if it still is at the version of `base`.
    async fn save(&self, base: &Snapshot, authority: Authority, delta: &Delta) -> Result<Saved>;

    /// Replaces the verifier, and applies `delta`, if the session still is at the version of `base`.
    async fn rotate(&self, base: &Snapshot, authority: Authority, rotation: &Rotation, delta: &Delta) -> Result<Saved>;

    /// Slides the idle timeout.
    async fn touch(&self, key: &SessionKey) -> Result<Touched>;

    /// Deletes a session, if the authority may.
    async fn delete(&self, key: &SessionKey, authority: Authority) -> Result<Deleted>;

    /// One round trip to the backend.
    async fn health(&self) -> Health;

    /// What this backend can do: of [`DURABLE`](crate::capability::DURABLE), [`SHARED`](crate::capability::SHARED) and [`UNEVICTED`](crate::capability::UNEVICTED).
    fn capabilities(&self) -> Capabilities;
}

/// What a load found.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum Loaded {
    /// The session as it is now.
    Ok(Snapshot),
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
            Self::Ok(snapshot) => Some(snapshot),
            Self::Deleted { .. } | Self::Absent => None,
        }
    }
}

/// How a save or a rotation went.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum Saved {
    /// It was applied; this is the session now.
    Ok(Snapshot),
    /// Somebody else changed the session since the base was loaded; this is the session now. Nothing was written.
    Conflict(Snapshot),
    /// There is no such session any more. Nothing was written.
    Gone,
    /// The holder's verifier was replaced, for example by a login. Nothing was written.
    Superseded,
}

/// How a touch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Touched {
    /// The idle timeout was slid.
    Ok,
    /// There is no such session.
    Gone,
}

/// How a delete went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deleted {
    /// The session was deleted.
    Ok,
    /// There was none.
    Gone,
    /// The holder's verifier is not accepted. The session is still there.
    Refused,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Passes the boxed futures through, where `async_trait` would box them again.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: SessionStore + ?Sized> SessionStore for $pointer<S> {
            fn create<'s: 'f, 'a: 'f, 'b: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                new: &'b NewSession,
            ) -> Answer<'f, Snapshot> {
                (**self).create(key, new)
            }

            fn load<'s: 'f, 'a: 'f, 'f>(&'s self, key: &'a SessionKey) -> Answer<'f, Loaded> {
                (**self).load(key)
            }

            fn save<'s: 'f, 'a: 'f, 'b: 'f, 'f>(
                &'s self,
                base: &'a Snapshot,
                authority: Authority,
                delta: &'b Delta,
            ) -> Answer<'f, Saved> {
                (**self).save(base, authority, delta)
            }

            fn rotate<'s: 'f, 'a: 'f, 'b: 'f, 'c: 'f, 'f>(
                &'s self,
                base: &'a Snapshot,
                authority: Authority,
                rotation: &'b Rotation,
                delta: &'c Delta,
            ) -> Answer<'f, Saved> {
                (**self).rotate(base, authority, rotation, delta)
            }

            fn touch<'s: 'f, 'a: 'f, 'f>(&'s self, key: &'a SessionKey) -> Answer<'f, Touched> {
                (**self).touch(key)
            }

            fn delete<'s: 'f, 'a: 'f, 'f>(&'s self, key: &'a SessionKey, authority: Authority) -> Answer<'f, Deleted> {
                (**self).delete(key, authority)
            }

            fn health<'s: 'f, 'f>(&'s self) -> Pin<Box<dyn Future<Output = Health> + Send + 'f>> {
                (**self).health()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
