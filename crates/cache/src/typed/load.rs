use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::{Error, ErrorKind, Key, Result};
use tracing::Instrument;

use super::TypedCache;
use super::flights::{Enter, Leader, Outcome};
use super::tier::Claim;
use crate::{Condition, Lease, SetOutcome};

/// A read that loads what is missing; made by [`TypedCache::get_or_load`], run by `.await`.
#[must_use = "nothing happens until it is awaited"]
pub struct GetOrLoad<'a, V, K, F> {
    cache: &'a TypedCache<V>,
    key: K,
    loader: F,
    time_to_live: Duration,
}

impl<'a, V, K, F> GetOrLoad<'a, V, K, F> {
    pub(crate) fn new(cache: &'a TypedCache<V>, key: K, loader: F) -> Self {
        Self { cache, key, loader, time_to_live: cache.settings.time_to_live }
    }

    /// Keeps a loaded value for this long, instead of the cache's time to live.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }
}

impl<'a, V, K, F, Fut, E> IntoFuture for GetOrLoad<'a, V, K, F>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    type Output = Result<Arc<V>>;
    type IntoFuture = LoadFuture<'a, V, K, F>;

    fn into_future(self) -> Self::IntoFuture {
        LoadFuture(State::New(self))
    }
}

/// The future of [`GetOrLoad`]. A hit in memory is answered by the first poll, without an allocation.
pub struct LoadFuture<'a, V, K, F>(State<'a, V, K, F>);

enum State<'a, V, K, F> {
    New(GetOrLoad<'a, V, K, F>),
    Running(Pin<Box<dyn Future<Output = Result<Arc<V>>> + Send + 'a>>),
    Done,
}

// Key and loader are moved out before they are used and never pinned in place.
impl<V, K, F> Unpin for LoadFuture<'_, V, K, F> {}

impl<'a, V, K, F, Fut, E> Future for LoadFuture<'a, V, K, F>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    type Output = Result<Arc<V>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New(call) = &self.0
            && let Some(hit) = call.cache.hit(call.key.as_ref())
        {
            self.0 = State::Done;
            return Poll::Ready(Ok(hit));
        }
        let mut running = match std::mem::replace(&mut self.0, State::Done) {
            State::New(call) => start(call),
            State::Running(future) => future,
            State::Done => panic!("polled after completion"),
        };
        let answer = running.as_mut().poll(context);
        if answer.is_pending() {
            self.0 = State::Running(running);
        }
        answer
    }
}

fn start<'a, V, K, F, Fut, E>(call: GetOrLoad<'a, V, K, F>) -> Pin<Box<dyn Future<Output = Result<Arc<V>>> + Send + 'a>>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    let GetOrLoad { cache, key, loader, time_to_live } = call;
    Box::pin(async move {
        let key = Key::new(key)?;
        get_or_load(cache, &key, loader, time_to_live).await.map_err(|error| error.with_operation("cache.get_or_load"))
    })
}

async fn get_or_load<V, F, Fut, E>(
    cache: &TypedCache<V>,
    key: &Key,
    loader: F,
    time_to_live: Duration,
) -> Result<Arc<V>>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<V, E>> + Send,
    E: Into<Box<dyn StdError + Send + Sync>> + Send,
{
    loop {
        if let Some(hit) = cache.core.tier.get(key, cache.settings.format.codec).await? {
            return Ok(hit.value);
        }
        match cache.core.flights.enter(key) {
            Enter::Lead(leader) => {
                let span = tracing::debug_span!("cache.load", cache.name = &*cache.core.name);
                return lead(cache, key, leader, loader, time_to_live).instrument(span).await;
            }
            Enter::Wait(waiter) => match waiter.outcome().await {
                Outcome::Shared(value) => return Ok(value),
                Outcome::Failed(error) => return Err(error),
                Outcome::Again => {}
            },
        }
    }
}

/// Reserves, loads and stores. Everybody who waits learns how it ended.
async fn lead<V, F, Fut, E>(
    cache: &TypedCache<V>,
    key: &Key,
    leader: Leader<'_, V>,
    loader: F,
    time_to_live: Duration,
) -> Result<Arc<V>>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<V, E>> + Send,
    E: Into<Box<dyn StdError + Send + Sync>> + Send,
{
    let lease = match reserve(cache, key).await {
        Ok(Claim::Load(lease)) => lease,
        // The entry may have been invalidated again before those who wait arrived: they look for themselves.
        Ok(Claim::Hit(value)) => {
            leader.finish(Outcome::Again);
            return Ok(value);
        }
        Err(error) => return fail(leader, error),
    };
    let value = match run(cache.settings.load_timeout, loader).await {
        Ok(value) => value,
        Err(error) => {
            cache.core.tier.give_back(key, lease);
            return fail(leader, error);
        }
    };
    leader.begin_storing();
    match store(cache, key, value, lease, time_to_live).await {
        Ok((value, outcome)) => {
            leader.finish(outcome);
            Ok(value)
        }
        Err(error) => fail(leader, error),
    }
}

/// The lease outlives the load by a second, so that a load that ends in time can be stored.
async fn reserve<V>(cache: &TypedCache<V>, key: &Key) -> Result<Claim<V>>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let settings = &cache.settings;
    cache.core.tier.reserve(key, settings.load_timeout + Duration::from_secs(1), settings.format.codec).await
}

async fn run<V, F, Fut, E>(limit: Duration, loader: F) -> Result<V>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<V, E>> + Send,
    E: Into<Box<dyn StdError + Send + Sync>> + Send,
{
    match tokio::time::timeout(limit, loader()).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(cause)) => Err(load_failed(cause.into())),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("the value was not loaded within {limit:?}"))),
    }
}

/// The loader's own retry advice is kept if it has one.
fn load_failed(cause: Box<dyn StdError + Send + Sync>) -> Error {
    let retry = cause.downcast_ref::<Error>().map(Error::retry);
    let error = Error::new(ErrorKind::LoadFailed, "the value could not be loaded").with_source(cause);
    match retry {
        Some(retry) => error.with_retry(retry),
        None => error,
    }
}

/// Stores what was loaded. If the cache cannot take it, the value is good all the same.
async fn store<V>(
    cache: &TypedCache<V>,
    key: &Key,
    value: V,
    lease: Option<Lease>,
    time_to_live: Duration,
) -> Result<(Arc<V>, Outcome<V>)>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let format = cache.settings.format;
    let prepared = cache.core.tier.prepare(key, value, format)?;
    let value = Arc::clone(&prepared.value);
    let Some(lease) = lease else { return Ok((value, Outcome::Again)) };
    let condition = Condition::Lease(lease);
    match cache.core.tier.set(key, prepared, time_to_live, condition, format.codec).await {
        Ok(SetOutcome::Stored(_)) => Ok((Arc::clone(&value), Outcome::Shared(value))),
        Ok(SetOutcome::Conflict(_)) => {
            tracing::debug!(name: "cache.load.superseded", "invalidated or set during the load; not stored");
            Ok((value, Outcome::Again))
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
        Err(error) => {
            tracing::warn!(name: "cache.load.not_stored", kind = error.kind().as_str(), "a loaded value was not stored");
            Ok((value, Outcome::Again))
        }
    }
}

fn fail<V>(leader: Leader<'_, V>, error: Error) -> Result<Arc<V>> {
    leader.finish(Outcome::Failed(error.clone()));
    Err(error)
}

impl<V, K, F> fmt::Debug for GetOrLoad<'_, V, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrLoad").field("time_to_live", &self.time_to_live).finish_non_exhaustive()
    }
}

impl<V, K, F> fmt::Debug for LoadFuture<'_, V, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadFuture").finish_non_exhaustive()
    }
}
