use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Version};

use crate::outcome::unconditional;
use crate::{
    CacheKey, ClearOptions, Entry, GetOptions, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions,
    SetOutcome, TouchOptions, TouchOutcome,
};

/// One named cache of bytes: what backends implement. Applications use [`TypedCache`](crate::TypedCache).
///
/// # Behavior
/// - **A cache may forget.** An entry is gone when it expires, and may be gone sooner: evicted for space, or lost with
///   the server. It is never *wrong*: what is read is what was last set, and what was removed does not come back.
/// - **Absent.** Reading a key without a live entry gives `None`. So does an entry that cannot be read: damaged, or of
///   a format, codec or schema that this process does not know. An outage gives an error, never `None`.
/// - **Overwrite.** A set replaces value, codec, version and time to live together. Readers see the old entry or the
///   new one, whole.
/// - **Atomicity.** Each write checks its condition and takes effect in one step of the store. Of any number of
///   concurrent sets with [`Condition::Absent`](crate::Condition::Absent), or with `Match` of the same version, one is
///   stored. `get_many_with` is not a snapshot: each key is read on its own.
/// - **Ordering.** A write that has returned is seen by every later read of the same cache, from any process if the
///   backend has [`SHARED`](crate::capability::SHARED). Only until somebody's `clear` that is under way has returned (22 ms on
///   Redis) readers may disagree whether what was written before it is still there.
/// - **Late writes.** A write that has returned, with whatever outcome, is not executed later. One that is repeated is
///   applied once: it has one version. One of which nobody knows what became of it is
///   [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown); with any other error nothing was changed.
/// - **Versions** are issued by the store and rise with every set of a key, also across removal and expiry:
///   `max(previous + 1, the store's clock in microseconds)`. A touch leaves the version.
/// - **Expiry** is decided by the store's clock. Every entry has a time to live above zero, in steps of a millisecond,
///   rounded up.
/// - **Load or invalidate.** [`reserve_with`](Self::reserve_with) gives out a lease before a load. Any set, removal or
///   clear ends it; a set under a lease that has ended is a conflict. Several callers may share a lease: the first to
///   store wins. A caller may leave a lease to its holder, and a holder may renew it and no other; see
///   [`Holding`](crate::Holding). Leases weigh nothing in memory and are not evicted
///   there, up to 1,024 in each of 64 parts of the keys: of more the one goes that ends first, and its load is not stored.
/// - **Late removals** with [`RemoveOptions::min_age`] leave what is younger. A value that was loaded is as old as its
///   lease, not as its set: what it was read from may have changed in between.
/// - **Fenced sets.** With [`FENCED`](crate::capability::FENCED) a set with a [`Fence`] is made only as long as no higher token
///   of its lock is known here, by a set of that key or by [`raise_with`](Self::raise_with); else it is
///   [`Fenced`](statehouse_core::ErrorKind::Fenced), and nothing is changed. With
///   [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE) that is one step: after a mark was raised no set below it is made.
///   Without it both are [`Unsupported`](statehouse_core::ErrorKind::Unsupported). A clear leaves the marks. Removals need
///   no fence: what a cache lacks it may lack. A mark that the store itself has lost refuses nobody.
/// - **What would not be kept** is refused as `TooLarge`, and nothing is changed.
/// - **Clear** makes every entry and lease of this cache unreadable by the time it returns, whatever their number. Other
///   caches are untouched. One that fails may have cleared a part.
/// - **Deadline.** A call with a deadline in its options returns by then, as far as its backend waits for anything.
/// - **Cancellation.** A dropped future leaves the entry as it was or as the operation would have left it, nothing in
///   between. Other callers are not affected.
///
/// # Errors
/// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a time to live of zero or above
/// [`MAX_TIME_TO_LIVE`](crate::MAX_TIME_TO_LIVE), [`TooLarge`](statehouse_core::ErrorKind::TooLarge) for a value above
/// [`MAX_VALUE_LEN`](crate::MAX_VALUE_LEN) or above what the backend would keep, both before anything is sent. Else what the backend's error table says:
/// `Unavailable`, `Timeout`, `OutcomeUnknown`, `Unauthenticated` and so on.
///
/// # Durability
/// None is promised. What must not vanish does not belong into a cache.
#[async_trait]
pub trait Cache: Debug + Send + Sync + 'static {
    /// Reads one entry.
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Entry>>;

    /// Reads many entries. The answer has the order and the length of `keys`; a key may be given twice.
    async fn get_many_with(&self, keys: &[CacheKey], options: GetOptions) -> Result<Vec<Option<Entry>>>;

    /// Sets an entry, if the condition holds.
    async fn set_with(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome>;

    /// Removes an entry and ends the key's lease, if the condition holds. Removing what is absent is no error.
    async fn remove_with(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome>;

    /// Gives a live entry a new time to live, counted from now. Never brings an expired entry back.
    async fn touch_with(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome>;

    /// Reads the entry, or gives out a lease to load it: the key's present one, prolonged if need be, or a new one; what it
    /// does about a present one is [`ReserveOptions::holding`].
    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation>;

    /// Ends every entry and every lease of this cache. Takes the same time whatever their number on a shared backend.
    async fn clear_with(&self, options: ClearOptions) -> Result<()>;

    /// Raises the mark of a lock to the token of its new holder, so that sets of all before are refused.
    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let _ = (fence, options);
        Err(Fence::unsupported())
    }

    /// Which of several servers has the key's entry, by its name: what is known of one, as that it is slow, says nothing about
    /// another. None where there is only one.
    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        let _ = key;
        None
    }

    /// What this backend can do beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// Asks the backend how it is, by one round trip.
    async fn health(&self) -> Health;
}

/// Short forms of the [`Cache`] methods.
// Without `async_trait`, which would box the boxed future once more.
pub trait CacheExt: Cache {
    /// [`Cache::get_with`] without options.
    fn get(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Entry>>> + Send {
        async move { self.get_with(key, GetOptions::default()).await }
    }

    /// [`Cache::get_many_with`] without options.
    fn get_many(&self, keys: &[CacheKey]) -> impl Future<Output = Result<Vec<Option<Entry>>>> + Send {
        async move { self.get_many_with(keys, GetOptions::default()).await }
    }

    /// [`Cache::set_with`] on no condition; gives the version.
    fn set(
        &self,
        key: &CacheKey,
        value: Bytes,
        time_to_live: Duration,
    ) -> impl Future<Output = Result<Version>> + Send {
        async move { unconditional(self.set_with(key, value, SetOptions::new(time_to_live)).await?) }
    }

    /// [`Cache::remove_with`] on no condition.
    fn remove(&self, key: &CacheKey) -> impl Future<Output = Result<RemoveOutcome>> + Send {
        async move { self.remove_with(key, RemoveOptions::default()).await }
    }

    /// [`Cache::touch_with`].
    fn touch(&self, key: &CacheKey, time_to_live: Duration) -> impl Future<Output = Result<TouchOutcome>> + Send {
        async move { self.touch_with(key, TouchOptions::new(time_to_live)).await }
    }

    /// [`Cache::clear_with`] without options.
    fn clear(&self) -> impl Future<Output = Result<()>> + Send {
        async move { self.clear_with(ClearOptions::default()).await }
    }
}

impl<C: Cache + ?Sized> CacheExt for C {}

/// Writes the forwarding of every method by hand, so that the inner future is passed through and not boxed again.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<C: Cache + ?Sized> Cache for $pointer<C> {
            fn get_with<'a, 'b, 'f>(&'a self, key: &'b CacheKey, options: GetOptions) -> Answer<'f, Option<Entry>>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).get_with(key, options)
            }

            fn get_many_with<'a, 'b, 'f>(
                &'a self,
                keys: &'b [CacheKey],
                options: GetOptions,
            ) -> Answer<'f, Vec<Option<Entry>>>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).get_many_with(keys, options)
            }

            fn set_with<'a, 'b, 'f>(
                &'a self,
                key: &'b CacheKey,
                value: Bytes,
                options: SetOptions,
            ) -> Answer<'f, SetOutcome>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).set_with(key, value, options)
            }

            fn remove_with<'a, 'b, 'f>(&'a self, key: &'b CacheKey, options: RemoveOptions) -> Answer<'f, RemoveOutcome>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).remove_with(key, options)
            }

            fn touch_with<'a, 'b, 'f>(&'a self, key: &'b CacheKey, options: TouchOptions) -> Answer<'f, TouchOutcome>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).touch_with(key, options)
            }

            fn reserve_with<'a, 'b, 'f>(&'a self, key: &'b CacheKey, options: ReserveOptions) -> Answer<'f, Reservation>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).reserve_with(key, options)
            }

            fn clear_with<'a, 'f>(&'a self, options: ClearOptions) -> Answer<'f, ()>
            where
                'a: 'f,
                Self: 'f,
            {
                (**self).clear_with(options)
            }

            fn raise_with<'a, 'b, 'f>(&'a self, fence: &'b Fence, options: RaiseOptions) -> Answer<'f, ()>
            where
                'a: 'f,
                'b: 'f,
                Self: 'f,
            {
                (**self).raise_with(fence, options)
            }

            fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
                (**self).server_of(key)
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn health<'a, 'f>(&'a self) -> Pin<Box<dyn Future<Output = Health> + Send + 'f>>
            where
                'a: 'f,
                Self: 'f,
            {
                (**self).health()
            }
        }
    };
}

type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

forward!(Arc);
forward!(Box);
