use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Timestamp, Version};

use crate::beats::{BeatOptions, Beaten, Beats, BeatsOptions, unsupported};
use crate::key::CoordKey;
use crate::options::{GetOptions, NowOptions, PutOptions, RemoveOptions, ScanOptions, WaitOptions};
use crate::outcome::{Page, PutOutcome, RemoveOutcome};
use crate::record::Record;

/// A few small records that replicas agree on: what a backend implements.
///
/// # Behavior
/// - **Put** stores a record whole, with its time to live, or not at all. Its condition is decided by the store in one step
///   with the write, among all its clients; one that does not hold is an answer with the record that is there
///   ([`PutOutcome::Conflict`]), and changes nothing. Of racing puts on one version exactly one is made. A put without a
///   time to live makes the record stay.
/// - **Versions** of a key only rise: each is `max(previous + 1, the best known clock in microseconds)`, also after the record
///   was removed or has expired, so that whoever has the greater one came later. What the previous one was is remembered for
///   a day at least; after that, and on another store that the application is moved to, they rise as long as the stores'
///   clocks differ by less than the time in between.
/// - **In place of**: a record whose value the put [names](PutOptions::or_in_place_of) counts as none for it, if the store sees
///   to that; any other value stands as ever.
/// - **Get** gives the record with its version, the id of its put, and how long it still lives.
/// - **Expiry** is decided by the store, by a clock of its own that no client sets. A record never lives shorter than its
///   time to live, counted from the moment in which it was stored; an expired one is absent for every method at once. Without
///   [`SERVER_TIME`](crate::capability::SERVER_TIME) each client counts from when it first saw the record as it is: for one
///   who has just come it lives once more as long.
/// - **What strangers leave behind.** Records of [`SingleUse`](crate::SingleUse) and `IdempotencyLayer` are as many as somebody comes with. With
///   [`SERVER_TIME`](crate::capability::SERVER_TIME) or [`SWEEPS`](crate::capability::SWEEPS) they leave the store in the end, never before their
///   time, whatever the clock of whoever wrote them; what is written while one is removed stays. A scan of other names does not pay for them.
/// - **Remove** removes the record only at the version that is named; it is idempotent.
/// - **A put is made once**: one that is [repeated](PutOptions::repeating) with its id is answered as the first try was, as
///   long as nobody has written since. Where somebody has, nobody can tell whether the first try was made, and the answer is
///   [`OutcomeUnknown`]: a `Conflict` says that the put was not made. So also where a backend itself has tried twice.
///   Without a version to match, whatever else is there, or was, may have been written since.
/// - **Fenced puts.** With [`FENCED`](crate::capability::FENCED) a put with a [`Fence`] is made only as long as no higher token
///   of its lock is known here, by a put or by [`raise_with`](Self::raise_with); else it is
///   [`Fenced`](statehouse_core::ErrorKind::Fenced), and nothing is changed. With
///   [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE) that is one step: after a mark was raised no put below it is made.
///   Without it both are [`Unsupported`](statehouse_core::ErrorKind::Unsupported).
/// - **Scan** is complete: every record whose key begins with the prefix is on one of the pages once, if it is there all
///   the time; expired and removed ones are not.
/// - **What is no record**, because somebody else has put it there or it was damaged, is [`Corrupt`] for a get, a remove and a
///   put with a condition. A put without one takes its place: since nobody knows the version before, its own is that of the
///   clock. A scan [counts](Page::skipped) it and goes on.
/// - **Beats.** With [`BEATS`](crate::capability::BEATS) who has a record says with beats that it is there, and need not put it
///   again and again. A beat is of a record at its version, and counts until its time is over, by the store's clock; one that
///   goes on counts for nothing where the record is not at that version, or the beat before is over or was the last. It is
///   [answered](Beaten) with what has become of its group, which are those whose keys have the first segment in common. Beats do
///   not make the record live longer, and a record needs none.
/// - **Changes of a group** have numbers that rise: who comes, comes anew or goes makes one, who is over makes one with the
///   next beat of anybody in it, and a beat that goes on makes none. So who has seen all of a group need not look again before
///   the number is another one.
/// - Without `BEATS` both methods are [`Unsupported`](statehouse_core::ErrorKind::Unsupported).
/// - **A full store** refuses puts and beats and nothing else. What is removed then may leave no version behind.
/// - **Wait** returns when the record is at another version than the one seen, and at its limit at the latest, be the store
///   reachable or not. It is a hint: it may return early, and whoever waits looks again.
/// - **Now** is the best known time; what it is for is to be compared with versions. It may be off by as much as the
///   clocks of the store's hosts.
/// - **Names** live apart from those of the other services, and survive a `clear` of a cache.
/// - **Cancellation**: dropping a future leaves the operation done or not done, never half.
/// - **Deadlines**: what is not done by the deadline of its options fails, and is not done later, unless the error is
///   [`OutcomeUnknown`].
///
/// # Errors
/// [`InvalidInput`] and [`TooLarge`] for what no backend takes; [`Unavailable`], [`Timeout`] or [`OutcomeUnknown`] for an
/// outage, which never looks like an absent record; [`Corrupt`] as above. A store without room is [`Unavailable`],
/// to be tried again [later](statehouse_core::Retry::FULL). Nothing prints a value.
///
/// # Durability
/// `Ok` means done in this process (memory), synced or acknowledged as the file store says (files), or acknowledged by the
/// primary (Redis). Whether that survives is in the [`capabilities`](Self::capabilities).
///
/// [`Corrupt`]: statehouse_core::ErrorKind::Corrupt
/// [`InvalidInput`]: statehouse_core::ErrorKind::InvalidInput
/// [`OutcomeUnknown`]: statehouse_core::ErrorKind::OutcomeUnknown
/// [`Timeout`]: statehouse_core::ErrorKind::Timeout
/// [`TooLarge`]: statehouse_core::ErrorKind::TooLarge
/// [`Unavailable`]: statehouse_core::ErrorKind::Unavailable
#[async_trait]
pub trait CoordStore: Debug + Send + Sync + 'static {
    /// Reads a record.
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>>;

    /// Stores a record.
    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome>;

    /// Removes the record, if it is at this version.
    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome>;

    /// Reads one page of the records of a prefix.
    async fn scan_with(&self, options: ScanOptions) -> Result<Page>;

    /// The best known time.
    async fn now_with(&self, options: NowOptions) -> Result<Timestamp>;

    /// Waits until the record is at another version than `seen`, or there where none was seen, or gone where one was.
    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions);

    /// Raises the mark of a lock to the token of its new holder, so that puts of all before are refused.
    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let _ = (fence, options);
        Err(Fence::unsupported())
    }

    /// Says that whoever has this record is there, or goes.
    async fn beat_with(&self, key: &CoordKey, version: Version, options: BeatOptions) -> Result<Beaten> {
        let _ = (key, version, options);
        Err(unsupported())
    }

    /// Who beats in the group of this name.
    async fn beats_with(&self, group: &CoordKey, options: BeatsOptions) -> Result<Beats> {
        let _ = (group, options);
        Err(unsupported())
    }

    /// One round trip to the backend.
    async fn health(&self) -> Health;

    /// What this backend can do: of [`BEATS`](crate::capability::BEATS), [`DURABLE`](crate::capability::DURABLE), [`FENCED`](crate::capability::FENCED),
    /// [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE), [`NOTIFY`](crate::capability::NOTIFY),
    /// [`SERVER_TIME`](crate::capability::SERVER_TIME), [`SHARED`](crate::capability::SHARED) and [`SWEEPS`](crate::capability::SWEEPS).
    fn capabilities(&self) -> Capabilities;
}

/// The methods of a [`CoordStore`] with default options.
pub trait CoordStoreExt: CoordStore {
    /// As [`CoordStore::get_with`].
    fn get<'f>(&'f self, key: &'f CoordKey) -> Answer<'f, Option<Record>> {
        self.get_with(key, GetOptions::default())
    }

    /// As [`CoordStore::put_with`], whatever is there.
    fn put<'f>(&'f self, key: &'f CoordKey, value: impl Into<Bytes>) -> Answer<'f, PutOutcome> {
        self.put_with(key, value.into(), PutOptions::default())
    }

    /// As [`CoordStore::remove_with`].
    fn remove<'f>(&'f self, key: &'f CoordKey, version: Version) -> Answer<'f, RemoveOutcome> {
        self.remove_with(key, version, RemoveOptions::default())
    }

    /// As [`CoordStore::scan_with`]: the first page.
    fn scan<'f>(&'f self, prefix: &str) -> Answer<'f, Page> {
        self.scan_with(ScanOptions::new(prefix))
    }

    /// As [`CoordStore::now_with`].
    fn now<'f>(&'f self) -> Answer<'f, Timestamp> {
        self.now_with(NowOptions::default())
    }
}

impl<S: CoordStore + ?Sized> CoordStoreExt for S {}

/// What the methods of a store return.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Passes the boxed futures through, where `async_trait` would box them again.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: CoordStore + ?Sized> CoordStore for $pointer<S> {
            fn get_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                options: GetOptions,
            ) -> Answer<'f, Option<Record>> {
                (**self).get_with(key, options)
            }

            fn put_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                value: Bytes,
                options: PutOptions,
            ) -> Answer<'f, PutOutcome> {
                (**self).put_with(key, value, options)
            }

            fn remove_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                version: Version,
                options: RemoveOptions,
            ) -> Answer<'f, RemoveOutcome> {
                (**self).remove_with(key, version, options)
            }

            fn scan_with<'s: 'f, 'f>(&'s self, options: ScanOptions) -> Answer<'f, Page> {
                (**self).scan_with(options)
            }

            fn now_with<'s: 'f, 'f>(&'s self, options: NowOptions) -> Answer<'f, Timestamp> {
                (**self).now_with(options)
            }

            fn wait_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                seen: Option<Version>,
                options: WaitOptions,
            ) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>> {
                (**self).wait_with(key, seen, options)
            }

            fn raise_with<'s: 'f, 'a: 'f, 'f>(&'s self, fence: &'a Fence, options: RaiseOptions) -> Answer<'f, ()> {
                (**self).raise_with(fence, options)
            }

            fn beat_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                version: Version,
                options: BeatOptions,
            ) -> Answer<'f, Beaten> {
                (**self).beat_with(key, version, options)
            }

            fn beats_with<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                group: &'a CoordKey,
                options: BeatsOptions,
            ) -> Answer<'f, Beats> {
                (**self).beats_with(group, options)
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
