use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::options::{
    CreateOptions, DeleteOptions, EpochOptions, ListOptions, LoadOptions, RevokeOptions, SaveOptions, TouchOptions,
};
use crate::outcome::{Deleted, Loaded, Saved, Touched, no_principals};
use crate::record::{Authority, Delta, NewSession, Principal, Revoke, Rotation, Snapshot};
use crate::token::SessionKey;

/// Where sessions are kept. Applications use [`Session`](crate::Session); this is what a backend implements.
///
/// # Behavior
/// - **Create** is atomic: of several creators of one key one wins, the others get
///   [`ErrorKind::AlreadyExists`](statehouse_core::ErrorKind::AlreadyExists) and change nothing. One that is repeated with its id,
///   as long as nobody has changed the session, is answered as the first try was.
/// - **Load** never writes and never slides the idle timeout; an absent or expired session is [`Loaded::Absent`]. What
///   is stored and cannot be read is [`ErrorKind::Corrupt`](statehouse_core::ErrorKind::Corrupt), and so is a record
///   that lies under another key than it was written to.
/// - **Save** and **rotate** apply only to the version that they are based on; otherwise they answer what is there
///   ([`Saved::Conflict`]) and change nothing. They never create: an absent session is [`Saved::Gone`]. In the name
///   of a holder whose verifier is no longer accepted they answer [`Saved::Superseded`].
/// - **Equal writes write nothing**: a save whose delta changes nothing answers its base, unchanged and unchecked. One is
///   written all the same: the first in the name of the verifier that a renewal set, since it shows that the browser has it.
/// - **A change is made once**: a save or rotation with the id of one of the last changes is [`Saved::Applied`] and changes
///   nothing, whatever others have changed in between. If it may have been forgotten among them, a repetition is
///   [`ErrorKind::OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown).
/// - **Rotate** replaces the verifier and applies the delta in one atomic step under the same key; it does not move the time of
///   creation. With an idle timeout, the session has that one from then on; with an absolute one, it ends so much later than that, and else
///   when it would have ended before. After a
///   renewal the verifier before is accepted until the new one has been used, and for its grace from then on.
/// - **Whoever is remembered stays so until the next login**: for how long is kept with the session by saves, touches and
///   rotations, and told by loads and lists; the next login there says it anew. Lists and limits have the session for as
///   long as it lives.
/// - **Touch** slides the idle timeout up to the absolute expiry. It neither creates nor changes the version, so it
///   never makes a save conflict.
/// - **When a session was last used** is known to a tenth of its idle timeout, also where the absolute one ends it before.
/// - **Delete** is idempotent. What is deleted does not come back by a save, a rotation or a touch; nor is its key free
///   for another as long as the deletion is [remembered](crate::REMEMBERED): until then a load says [`Loaded::Deleted`], so that requests
///   under way with its token do not begin another session; and how long ago it was, never more than in truth.
/// - **An attribute may end before its session**, so long after the change that set it, by the store's clock. From then on no answer
///   has it, and the next change of the session leaves it out. A change of other attributes keeps when it ends; one that sets it
///   again, also to the same value, says that anew.
/// - **Fenced writes.** With [`FENCED`](crate::capability::FENCED) a save, rotation or deletion with a [`Fence`] is made only as
///   long as no higher token of its lock is known here, by a write or by [`raise_with`](Self::raise_with); else it is
///   [`ErrorKind::Fenced`](statehouse_core::ErrorKind::Fenced), and nothing is changed. With
///   [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE) that is one step: after a mark was raised no write below it is made.
///   Without it all of these are [`ErrorKind::Unsupported`](statehouse_core::ErrorKind::Unsupported).
/// - **Principals.** With [`PRINCIPALS`](crate::capability::PRINCIPALS) a list answers every session that the principal is
///   logged in to. What is revoked is gone for every method at once, alone, with all others of its principal, or with
///   all there are. All but one end also where that one is none of theirs. So is a login that began before, as its
///   [epoch](Self::epoch_with) says, and lands after: it
///   fails with [`ErrorKind::Conflict`](statehouse_core::ErrorKind::Conflict), or what it leaves is not found. One that begins
///   after a revocation stands. Without the capability all of these are
///   [`ErrorKind::Unsupported`](statehouse_core::ErrorKind::Unsupported).
/// - **A login may load and begin at once**: [`load_entering_with`](Self::load_entering_with) answers what a load does, and the epoch that
///   a login begins in between the call and its answer.
/// - **What is revoked is remembered as a deletion**, for as long: until then a load says [`Loaded::Deleted`].
/// - **What ends sessions needs no room**: on a store that is [full](statehouse_core::ErrorKind), too, deletions and revocations
///   are made, also of a login that is under way.
/// - **A limit holds** however many log in at once: a login with a [`Limit`](crate::Limit) leaves its principal no more sessions
///   than that, and is refused with [`ErrorKind::Conflict`](statehouse_core::ErrorKind::Conflict), or the oldest ends. Sessions
///   that have ended do not count, nor do those that have lasted as long as its [timeouts](crate::Timeouts): where with them there are too
///   many, all of these end once the login is made, and before any other does.
/// - **A login that is not made ends no other session.** Whether its key is free, or its base the current version, is said
///   before that there are as many as there may be.
/// - **A flood is bounded**: however many sessions are created that nobody is logged in to, so many at most are kept. Where
///   another one does not fit, either those that expire next make room, or it is refused as by any store that is
///   [full](statehouse_core::ErrorKind). No login is refused for their sake, and nobody is
///   logged out.
/// - **Expiry** is decided by the store's clock. An expired session is gone for every method at once.
/// - **Cancellation**: dropping a future leaves the operation done or not done, never half.
/// - **Deadlines** are of the call, however many steps it has: what is not done by the deadline of its options fails, and is not done later, unless the error is
///   [`ErrorKind::OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown).
///
/// # Example
/// What the layer does for an application, without it:
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{ErrorKind, Fence, Key, RaiseOptions, Version};
/// use statehouse_session::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let store = MemorySessionStore::default();
/// let (hasty, minute) = (Duration::from_millis(200), Duration::from_secs(60));
/// let (cart, theme) = (AttributeName::new("cart")?, AttributeName::new("theme")?);
///
/// let token = Token::generate()?; // the cookie
/// let (key, holder) = (token.key(), Authority::Holder(token.verifier_hash()));
/// let new = NewSession::new(token.verifier_hash(), 30 * minute, 600 * minute)
///     .with_attributes(Attributes::from([(cart.clone(), Attribute::encode(&[7, 9])?.with_schema(2))]));
/// let options = CreateOptions::default().with_id(SaveId::generate()?).with_deadline(hasty);
/// store.create_with(&key, &new, options).await?;
///
/// let loaded = store.load_with(&key, LoadOptions::default().with_deadline(hasty)).await?;
/// let seen = loaded.found().expect("it is there");
/// let dark = Attribute::encode("dark")?.with_time_to_live(5 * minute);
/// let delta = Delta::new().with_set(theme, dark).then(Delta::new().with_removed(cart));
/// let save = SaveId::generate()?;
/// let options = SaveOptions::default().with_id(save).with_deadline(hasty);
/// let saved = store.save_with(&seen, holder, &delta, options).await?;
/// let Saved::Applied(saved) = saved else { panic!("{saved:?}") };
/// // Had its answer been lost: the change is made once, however often it is asked for.
/// let again = store.save_with(&seen, holder, &delta, SaveOptions::default().repeating(save)).await?;
/// assert!(matches!(again, Saved::Applied(_)));
///
/// let next = token.with_new_verifier()?; // the new cookie of whoever has logged in
/// let who = Principal::new("u42")?;
/// // Before the password is checked, so that a login that is revoked meanwhile does not stand.
/// let epoch = store.epoch_with(&who, EpochOptions::default().with_deadline(hasty)).await?;
/// let rotation = Rotation::login(next.verifier_hash(), who.clone())
///     .with_epoch(epoch)
///     .with_limit(Limit::reject(5))
///     .with_idle_timeout(5 * minute);
/// let month = 30 * 1_440 * minute; // for whoever has ticked a box
/// let rotation = rotation.with_persistence(Persistence::Remember(month)).with_absolute_timeout(3 * month);
/// let options = SaveOptions::default().with_deadline(hasty);
/// let login = store.rotate_with(&saved, holder, &rotation, &Delta::new(), options).await?;
/// let Saved::Applied(login) = login else { panic!("{login:?}") };
/// assert_eq!(login.record().persistence(), Persistence::Remember(month));
///
/// assert_eq!(store.touch_with(&key, TouchOptions::default().with_deadline(hasty)).await?, Touched::Slid);
/// let options = DeleteOptions::default().with_deadline(hasty);
/// assert_eq!(store.delete_with(&key, holder, options.clone()).await?, Deleted::Refused, "the old cookie");
/// let holder = Authority::Holder(next.verifier_hash());
/// assert_eq!(store.delete_with(&key, holder, options).await?, Deleted::Removed);
///
/// // What is written under a lock is refused once somebody else has acquired that.
/// let lock = Key::new("lock/cleaning")?;
/// let (one, next) = (Fence::new(lock.clone(), Version::new(1)), Fence::new(lock, Version::new(2)));
/// store.raise_with(&next, RaiseOptions::default()).await?;
/// let late = store.delete_with(&key, Authority::Application, DeleteOptions::default().with_fence(&one)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
/// let options = SaveOptions::default().with_fence(&next); // for a save
/// # let _ = options;
///
/// // Somebody who is logged in from the start, on several devices
/// for _ in 0..3 {
///     let new = NewSession::new(token.verifier_hash(), 30 * minute, 600 * minute)
///         .with_principal(who.clone())
///         .with_epoch(store.epoch(&who).await?)
///         .with_persistence(Persistence::Browser)
///         .with_limit(Limit::evict_oldest(2));
///     store.create(&Token::generate()?.key(), &new).await?;
/// }
/// let listed = store.list_with(&who, ListOptions::default().with_deadline(hasty)).await?;
/// assert_eq!(listed.len(), 2);
/// let options = RevokeOptions::default().with_deadline(hasty);
/// store.revoke_with(Revoke::Others(&who, listed[0].record().key()), options).await?;
/// assert_eq!(store.list(&who).await?.len(), 1);
/// store.revoke(Revoke::All(&who)).await?;
/// assert!(store.list(&who).await?.is_empty());
/// # Ok(()) }
/// ```
///
/// # Errors
/// Outages are `Unavailable`, `Timeout` or `OutcomeUnknown`, never an answer. Nothing prints a token, a key or a value.
///
/// # Durability
/// `Ok` means done in this process (memory), synced to the disk (disk), or acknowledged by the primary (Redis).
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Stores a new session under `key`.
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot>;

    /// Reads a session.
    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded>;

    /// Reads a session that `who` is about to log in to, and their [epoch](Self::epoch_with), or 0 where that could not be read.
    async fn load_entering_with(
        &self,
        key: &SessionKey,
        who: &Principal,
        options: LoadOptions,
    ) -> Result<(Loaded, u64)> {
        let epoch = EpochOptions { deadline: options.deadline };
        let loaded = self.load_with(key, options).await?;
        Ok((loaded, self.epoch_with(who, epoch).await.unwrap_or(0)))
    }

    /// Applies `delta` to the session if it still is at the version of `base`.
    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved>;

    /// Replaces the verifier, and applies `delta`, if the session still is at the version of `base`.
    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved>;

    /// Slides the idle timeout.
    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched>;

    /// Deletes a session, if the authority may.
    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted>;

    /// The epoch that a login of the principal begins in now: to be asked for before the password is checked, and told the
    /// create or rotation that follows. Never 0.
    async fn epoch_with(&self, principal: &Principal, options: EpochOptions) -> Result<u64> {
        let _ = (principal, options);
        Err(no_principals())
    }

    /// The sessions that the principal is logged in to, in no order.
    async fn list_with(&self, principal: &Principal, options: ListOptions) -> Result<Vec<Snapshot>> {
        let _ = (principal, options);
        Err(no_principals())
    }

    /// Ends sessions of a principal, or of everybody. That there are none is no error.
    async fn revoke_with(&self, which: Revoke<'_>, options: RevokeOptions) -> Result<()> {
        let _ = (which, options);
        Err(no_principals())
    }

    /// Raises the mark of a lock to the token of its new holder, so that writes of all before are refused.
    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let _ = (fence, options);
        Err(Fence::unsupported())
    }

    /// One round trip to the backend.
    async fn health(&self) -> Health;

    /// What this backend can do: of [`DURABLE`](crate::capability::DURABLE), [`FENCED`](crate::capability::FENCED),
    /// [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE), [`PRINCIPALS`](crate::capability::PRINCIPALS),
    /// [`SHARED`](crate::capability::SHARED) and [`UNEVICTED`](crate::capability::UNEVICTED).
    fn capabilities(&self) -> Capabilities;
}

/// The methods of a [`SessionStore`] with default options.
pub trait SessionStoreExt: SessionStore {
    /// As [`SessionStore::create_with`].
    fn create<'f>(&'f self, key: &'f SessionKey, new: &'f NewSession) -> Answer<'f, Snapshot> {
        self.create_with(key, new, CreateOptions::default())
    }

    /// As [`SessionStore::load_with`].
    fn load<'f>(&'f self, key: &'f SessionKey) -> Answer<'f, Loaded> {
        self.load_with(key, LoadOptions::default())
    }

    /// As [`SessionStore::load_entering_with`].
    fn load_entering<'f>(&'f self, key: &'f SessionKey, who: &'f Principal) -> Answer<'f, (Loaded, u64)> {
        self.load_entering_with(key, who, LoadOptions::default())
    }

    /// As [`SessionStore::save_with`].
    fn save<'f>(&'f self, base: &'f Snapshot, authority: Authority, delta: &'f Delta) -> Answer<'f, Saved> {
        self.save_with(base, authority, delta, SaveOptions::default())
    }

    /// As [`SessionStore::rotate_with`].
    fn rotate<'f>(
        &'f self,
        base: &'f Snapshot,
        authority: Authority,
        rotation: &'f Rotation,
        delta: &'f Delta,
    ) -> Answer<'f, Saved> {
        self.rotate_with(base, authority, rotation, delta, SaveOptions::default())
    }

    /// As [`SessionStore::touch_with`].
    fn touch<'f>(&'f self, key: &'f SessionKey) -> Answer<'f, Touched> {
        self.touch_with(key, TouchOptions::default())
    }

    /// As [`SessionStore::delete_with`].
    fn delete<'f>(&'f self, key: &'f SessionKey, authority: Authority) -> Answer<'f, Deleted> {
        self.delete_with(key, authority, DeleteOptions::default())
    }

    /// As [`SessionStore::epoch_with`].
    fn epoch<'f>(&'f self, principal: &'f Principal) -> Answer<'f, u64> {
        self.epoch_with(principal, EpochOptions::default())
    }

    /// As [`SessionStore::list_with`].
    fn list<'f>(&'f self, principal: &'f Principal) -> Answer<'f, Vec<Snapshot>> {
        self.list_with(principal, ListOptions::default())
    }

    /// As [`SessionStore::revoke_with`].
    fn revoke<'f>(&'f self, which: Revoke<'f>) -> Answer<'f, ()> {
        self.revoke_with(which, RevokeOptions::default())
    }
}

impl<S: SessionStore + ?Sized> SessionStoreExt for S {}

/// What the methods of a store return.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Passes the boxed futures through, where `async_trait` would box them again.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: SessionStore + ?Sized> SessionStore for $pointer<S> {
            fn create_with<'s: 'f, 'a: 'f, 'b: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                new: &'b NewSession,
                options: CreateOptions,
            ) -> Answer<'f, Snapshot> {
                (**self).create_with(key, new, options)
            }

            fn load_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                options: LoadOptions,
            ) -> Answer<'f, Loaded> {
                (**self).load_with(key, options)
            }

            fn load_entering_with<'s: 'f, 'a: 'f, 'b: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                who: &'b Principal,
                options: LoadOptions,
            ) -> Answer<'f, (Loaded, u64)> {
                (**self).load_entering_with(key, who, options)
            }

            fn save_with<'s: 'f, 'a: 'f, 'b: 'f, 'f>(
                &'s self,
                base: &'a Snapshot,
                authority: Authority,
                delta: &'b Delta,
                options: SaveOptions,
            ) -> Answer<'f, Saved> {
                (**self).save_with(base, authority, delta, options)
            }

            fn rotate_with<'s: 'f, 'a: 'f, 'b: 'f, 'c: 'f, 'f>(
                &'s self,
                base: &'a Snapshot,
                authority: Authority,
                rotation: &'b Rotation,
                delta: &'c Delta,
                options: SaveOptions,
            ) -> Answer<'f, Saved> {
                (**self).rotate_with(base, authority, rotation, delta, options)
            }

            fn touch_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                options: TouchOptions,
            ) -> Answer<'f, Touched> {
                (**self).touch_with(key, options)
            }

            fn delete_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a SessionKey,
                authority: Authority,
                options: DeleteOptions,
            ) -> Answer<'f, Deleted> {
                (**self).delete_with(key, authority, options)
            }

            fn epoch_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                principal: &'a Principal,
                options: EpochOptions,
            ) -> Answer<'f, u64> {
                (**self).epoch_with(principal, options)
            }

            fn list_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                principal: &'a Principal,
                options: ListOptions,
            ) -> Answer<'f, Vec<Snapshot>> {
                (**self).list_with(principal, options)
            }

            fn revoke_with<'s: 'f, 'a: 'f, 'f>(&'s self, which: Revoke<'a>, options: RevokeOptions) -> Answer<'f, ()> {
                (**self).revoke_with(which, options)
            }

            fn raise_with<'s: 'f, 'a: 'f, 'f>(&'s self, fence: &'a Fence, options: RaiseOptions) -> Answer<'f, ()> {
                (**self).raise_with(fence, options)
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
