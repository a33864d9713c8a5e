use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Health, Result};

use super::hub::Subscriber;
use super::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
use super::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use super::rate::Rate;
use crate::api::Answer;
use crate::key::CoordKey;

/// What replicas tell each other in a moment, and may forget: what a backend implements.
///
/// # Behavior
/// - **Add** adds to a counter, which begins at zero, and answers what it then is: of all adds each has an effect of its own,
///   whoever makes them at the same time. One that would leave the range of ±[`Count::MAX`] is refused and changes nothing.
/// - **A counter lives** as long as the add said that began it; later ones do not prolong it. Then it is absent, and the
///   next add begins it anew. One that was begun without a time to live stays until it is [reset](Self::reset_with).
/// - **Count** reads a counter, **reset** removes it; a reset is idempotent.
/// - **Take** takes from a limit, or does not and says when to come again. Never more is taken at once than the
///   [burst](Rate::burst), nor in any time more than the burst and what comes in that time; what is refused takes nothing.
///   Whoever comes again after [`retry_after`](Taken::retry_after) is served if nobody else came. It is the generic cell rate
///   algorithm, in its form as a leaky bucket (ITU-T I.371).
/// - **The rate** is that of the call: another one holds from its first take on, and what was taken before stays taken.
/// - **Acquire** gives one of so many permits to an id, or says that all are in use and when the next one is free at the
///   latest. Never more are held than the call says. An id that holds one has it anew: a call whose answer was lost is
///   repeated with its id.
/// - **A permit** is held as long as its lease says, if it is not [renewed](Self::renew_with) or
///   [released](Self::release_with). Renewing one that is over does not bring it back. A release is idempotent.
/// - **Publish** tells everyone who listens to a channel, on all replicas, in the order in which messages of one publisher
///   were acknowledged. Nothing is kept for who does not listen.
/// - **A subscriber** first hears [`Resync`](super::News::Resync), and then every message, or `Resync` where some may have
///   been missed: because the connection was lost, the server changed, a cluster has lost it on its way, or it was too slow. It
///   [is ready](Subscriber::is_ready) when it has come back for more after the last `Resync`.
/// - **Time** is the store's: no clock of a client decides what has expired, how much may be taken, or who holds a permit.
/// - **Names** live apart from those of caches, sessions and records, and survive a `clear` of a cache. Counters, limits,
///   permits and channels of one name have nothing to do with each other.
/// - **Cancellation**: dropping a future leaves the operation done or not done, never half. A permit that nobody heard of is
///   free after its lease.
/// - **Deadlines**: what is not done by the deadline of its options fails, and is not done later, unless the error is
///   [`OutcomeUnknown`].
///
/// # Errors
/// [`InvalidInput`] and [`TooLarge`] for what no backend takes; [`Unavailable`], [`Timeout`] or [`OutcomeUnknown`] for an
/// outage, which is never taken for a refusal, nor a refusal for an outage; [`Corrupt`] for what is stored and is none of
/// these; [`Unsupported`] where the backend cannot [subscribe](crate::capability::SUBSCRIBE). An add, a take or a publish
/// whose answer was lost is `OutcomeUnknown` and not repeated: it is never done twice.
///
/// # Durability
/// None is promised. What a restart or a failover forgets is a counter or limit that begins anew, and permits of which, until
/// the leases of the first are over, twice as many may be held.
///
/// [`Corrupt`]: statehouse_core::ErrorKind::Corrupt
/// [`InvalidInput`]: statehouse_core::ErrorKind::InvalidInput
/// [`OutcomeUnknown`]: statehouse_core::ErrorKind::OutcomeUnknown
/// [`Timeout`]: statehouse_core::ErrorKind::Timeout
/// [`TooLarge`]: statehouse_core::ErrorKind::TooLarge
/// [`Unavailable`]: statehouse_core::ErrorKind::Unavailable
/// [`Unsupported`]: statehouse_core::ErrorKind::Unsupported
#[async_trait]
pub trait Signals: Debug + Send + Sync + 'static {
    /// Adds to a counter; less than nothing takes away.
    async fn add_with(&self, key: &CoordKey, more: i64, options: AddOptions) -> Result<Count>;

    /// Reads a counter.
    async fn count_with(&self, key: &CoordKey, options: CountOptions) -> Result<Option<Count>>;

    /// Removes a counter.
    async fn reset_with(&self, key: &CoordKey, options: ResetOptions) -> Result<()>;

    /// Takes from a limit.
    async fn take_with(&self, key: &CoordKey, rate: Rate, options: TakeOptions) -> Result<Taken>;

    /// Acquires a permit for this id.
    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: AcquireOptions) -> Result<Acquired>;

    /// Makes a permit that is held last anew.
    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: RenewOptions) -> Result<Renewed>;

    /// Gives a permit back.
    async fn release_with(&self, key: &CoordKey, id: PermitId, options: ReleaseOptions) -> Result<()>;

    /// Tells those who listen to a channel: up to [`PublishOptions::MAX_MESSAGE`] bytes.
    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: PublishOptions) -> Result<()>;

    /// Begins to listen to channels, in a tokio runtime. Returns at once; the connection is made in the background.
    ///
    /// # Errors
    /// [`Unsupported`](statehouse_core::ErrorKind::Unsupported) without [`SUBSCRIBE`](crate::capability::SUBSCRIBE).
    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber>;

    /// One round trip to the backend.
    async fn health(&self) -> Health;

    /// What this backend can do: of [`SERVER_TIME`](crate::capability::SERVER_TIME),
    /// [`SHARED`](crate::capability::SHARED) and [`SUBSCRIBE`](crate::capability::SUBSCRIBE).
    fn capabilities(&self) -> Capabilities;
}

/// The methods of [`Signals`] with default options.
pub trait SignalsExt: Signals {
    /// As [`Signals::add_with`], for a counter that stays.
    fn add<'f>(&'f self, key: &'f CoordKey, more: i64) -> Answer<'f, Count> {
        self.add_with(key, more, AddOptions::default())
    }

    /// As [`Signals::count_with`].
    fn count<'f>(&'f self, key: &'f CoordKey) -> Answer<'f, Option<Count>> {
        self.count_with(key, CountOptions::default())
    }

    /// As [`Signals::reset_with`].
    fn reset<'f>(&'f self, key: &'f CoordKey) -> Answer<'f, ()> {
        self.reset_with(key, ResetOptions::default())
    }

    /// As [`Signals::take_with`]: one.
    fn take<'f>(&'f self, key: &'f CoordKey, rate: Rate) -> Answer<'f, Taken> {
        self.take_with(key, rate, TakeOptions::default())
    }

    /// As [`Signals::release_with`].
    fn release<'f>(&'f self, key: &'f CoordKey, id: PermitId) -> Answer<'f, ()> {
        self.release_with(key, id, ReleaseOptions::default())
    }

    /// As [`Signals::publish_with`].
    fn publish<'f>(&'f self, channel: &'f CoordKey, message: impl Into<Bytes>) -> Answer<'f, ()> {
        self.publish_with(channel, message.into(), PublishOptions::default())
    }
}

impl<S: Signals + ?Sized> SignalsExt for S {}

/// Passes the boxed futures through, where `async_trait` would box them again.
macro_rules! forward {
    ($pointer:ident: $($verb:ident($($name:ident: $type:ty),*; $options:ty) -> $answer:ty;)*) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: Signals + ?Sized> Signals for $pointer<S> {
            $(fn $verb<'s: 'f, 'a: 'f, 'f>(
                &'s self,
                key: &'a CoordKey,
                $($name: $type,)*
                options: $options,
            ) -> Answer<'f, $answer> {
                (**self).$verb(key, $($name,)* options)
            })*

            fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
                (**self).subscribe(channels)
            }

            fn health<'s: 'f, 'f>(&'s self) -> Pin<Box<dyn Future<Output = Health> + Send + 'f>> {
                (**self).health()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
        }
    };
    ($($pointer:ident)*) => {$(
        forward! { $pointer:
            add_with(more: i64; AddOptions) -> Count;
            count_with(; CountOptions) -> Option<Count>;
            reset_with(; ResetOptions) -> ();
            take_with(rate: Rate; TakeOptions) -> Taken;
            acquire_with(id: PermitId; AcquireOptions) -> Acquired;
            renew_with(id: PermitId; RenewOptions) -> Renewed;
            release_with(id: PermitId; ReleaseOptions) -> ();
            publish_with(message: Bytes; PublishOptions) -> ();
        }
    )*};
}

forward!(Arc Box);
