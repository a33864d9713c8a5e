use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::bytes::Bytes;
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Capabilities, Codec, Error, ErrorKind, Fence, Result};
use tokio::runtime::Handle;

use crate::options::Guard;
use crate::typed::versioned::Versioned;
use crate::{CacheKey, ClearOptions, Lease, RemoveOptions, RemoveOutcome, ReserveOptions, SetOutcome, TouchOutcome};

/// What a [`TypedCache`](crate::TypedCache) can hold: every type that has what this asks for.
pub trait CacheValue: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for V {}

/// Where a typed cache keeps its values.
#[async_trait]
pub(crate) trait Tier<V>: Send + Sync {
    /// A hit that needs no waiting: without checking the key, for a key that is none has no entry.
    fn hit(&self, key: &str) -> Option<Arc<V>>;

    /// # Errors
    /// If the value cannot be encoded, or does not come back.
    fn prepare<'a>(&'a self, key: &'a CacheKey, value: V, format: Format) -> Result<Preparing<'a, V>>;

    async fn get(&self, key: &CacheKey, access: Access) -> Result<Option<Versioned<V>>>;

    async fn get_many(&self, keys: &[CacheKey], access: Access) -> Result<Vec<Option<Versioned<V>>>>;

    /// # Errors
    /// [`TooLarge`](ErrorKind::TooLarge) before anything is changed, and what the backend says.
    async fn set(
        &self,
        key: &CacheKey,
        prepared: Prepared<V>,
        time_to_live: Duration,
        guard: Guard,
        fence: Option<&Fence>,
        access: Access,
    ) -> Result<SetOutcome>;

    async fn raise(&self, fence: &Fence, limit: Option<Duration>) -> Result<()>;

    async fn remove(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome>;

    async fn touch(&self, key: &CacheKey, time_to_live: Duration, access: Access) -> Result<TouchOutcome>;

    async fn clear(&self, options: ClearOptions) -> Result<()>;

    async fn reserve(&self, key: &CacheKey, options: ReserveOptions, access: Access) -> Result<Claim<V>>;

    /// Ends a lease that will not be used, so that nobody waits for it. Nobody waits for this either: the future that held
    /// the lease may be gone.
    fn give_back(&self, key: &CacheKey, lease: Lease);

    fn place(&self) -> Place;

    /// Which of several servers has the key, by its name.
    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        let _ = key;
        None
    }

    fn capabilities(&self) -> Capabilities;

    /// The weight of all that is held in this process.
    #[cfg(test)]
    fn weight(&self) -> u64;
}

/// What a tier's callers may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is in this process: it is never away, and its leases end with their loads, whatever happens.
    Here,
    /// It takes requests, which may fail.
    Elsewhere,
}

/// A value that is ready to be stored: what is left to do cannot be refused because of the value.
pub(crate) struct Prepared<V> {
    pub(crate) value: Arc<V>,
    /// An error if it is too large.
    pub(super) form: Result<Form>,
}

/// From so many bytes on a value is encoded and decoded where that keeps nobody waiting: others of the same async thread would.
pub(super) const LONG: usize = 64 << 10;

/// A value that is ready to be stored, or that is large, and made ready on another thread.
pub(crate) enum Preparing<'a, V> {
    Done(Prepared<V>),
    Long(Pin<Box<dyn Future<Output = Result<Prepared<V>>> + Send + 'a>>),
}

impl<V> Preparing<'_, V> {
    pub(crate) async fn end(self) -> Result<Prepared<V>> {
        match self {
            Self::Done(prepared) => Ok(prepared),
            Self::Long(work) => work.await,
        }
    }
}

/// Work that takes long, on a thread for that; where there is none, here.
pub(super) async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return Ok(work()) };
    runtime
        .spawn_blocking(work)
        .await
        .map_err(|failed| if failed.is_panic() { Error::panicked() } else { Error::abandoned().with_source(failed) })
}

/// Whether a value was too large for a limit.
pub(super) fn is_too_large<T>(tried: &Result<T>) -> bool {
    tried.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge)
}

/// What a tier needs of a value besides.
pub(super) enum Form {
    Weighed(u64),
    Encoded(Bytes),
}

/// What [`Tier::reserve`] found or gave out.
pub(crate) enum Claim<V> {
    Hit(Arc<V>),
    Load(Lease),
    /// Somebody else holds this lease.
    Held(Lease),
    /// The lease that was to be prolonged has ended.
    Ended,
    /// There is an entry that this process cannot read, again and again.
    Unreadable,
}

/// How a call goes about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) codec: Codec,
    /// When the store is to have answered; its own limit holds if none.
    pub(crate) until: Option<Instant>,
}

impl Access {
    /// How long the store may take from now on: a call of several steps has one deadline.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// How values become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) verify: VerifyCodec,
}

/// Whether every stored value goes through the codec and back, also in memory, and what comes back is kept: a type that
/// does not survive its codec is then found before the cache moves to a server, and so is a value that would come back as
/// another, as of an `untagged` enum whose variants cannot be told apart. Elsewhere only those values are read back of
/// which it cannot be seen while they are encoded ([`Codec::encode_checked`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyCodec {
    /// Where the program is compiled with debug assertions, as tests usually are.
    #[default]
    InDebugBuilds,
    /// With every value.
    Always,
    /// Never.
    Never,
}

impl VerifyCodec {
    pub(super) const fn applies(self) -> bool {
        match self {
            Self::InDebugBuilds => cfg!(debug_assertions),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// A value that is too large is good for its caller all the same; one that cannot be encoded is not.
pub(super) fn settle<V>(value: V, form: Result<Form>) -> Result<Prepared<V>> {
    match form {
        Err(error) if error.kind() != ErrorKind::TooLarge => Err(error),
        form => Ok(Prepared { value: Arc::new(value), form }),
    }
}

/// A value that was prepared for another tier.
pub(super) fn prepared_elsewhere<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unexpected, "a value was prepared for a tier that does not store it"))
}
