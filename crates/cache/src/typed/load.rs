use std::error::Error as StdError;
use std::fmt;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::core::{Core, is_away};
use super::flights::{Enter, Freshness, Leader, Outcome, Shared};
use super::tier::{CacheValue, Claim, Place};
use super::{Outage, Settings, TypedCache, Versioned};
use crate::{
    CacheKey, Condition, Holding, Lease, RemoveOptions, RemoveOutcome, ReserveOptions, SetOutcome, time_to_live_millis,
};

/// How long a lease in a cache of bytes lives without being renewed, and how often it is: a process that dies in the middle
/// of a load must not hold up the others for long.
const LEASE: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);

/// How often somebody looks who waits for another process's load.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(25);

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
    V: CacheValue,
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
    V: CacheValue,
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
    V: CacheValue,
    K: AsRef<str> + Send + 'a,
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<V, E>> + Send + 'a,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'a,
{
    const NAME: &str = "cache.get_or_load";
    let GetOrLoad { cache, key, loader, time_to_live } = call;
    Box::pin(async move {
        let key = cache.key(key, NAME)?;
        let call = Call { core: &cache.core, settings: cache.settings, key: &key, time_to_live };
        call.run(loader).await.map_err(|error| cache.named(error, NAME, &key))
    })
}

/// One call of `get_or_load`.
struct Call<'a, V> {
    core: &'a Core<V>,
    settings: Settings,
    key: &'a CacheKey,
    time_to_live: Duration,
}

/// A value that has come meanwhile, or else what may be done with one that is loaded.
enum Start<'a, V: Send + Sync + 'static> {
    Hit(Arc<V>),
    Load(Permit<'a, V>),
}

/// What a load may do with its value.
enum Permit<'a, V: Send + Sync + 'static> {
    /// Store it under this lease.
    Store(Held<'a, V>),
    /// Nothing: somebody keeps writing what this process cannot read.
    Unreadable,
    /// Nothing: the store is away.
    Away,
}

impl<V: CacheValue> Call<'_, V> {
    async fn run<F, Fut, E>(&self, loader: F) -> Result<Arc<V>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        time_to_live_millis(self.time_to_live)?;
        let arrival = self.core.flights.arrive();
        loop {
            let found = match self.look().await {
                Ok(Some(hit)) => return Ok(hit.value),
                Ok(None) => Found::Nothing,
                Err(error) => self.unless_away(error)?,
            };
            match self.core.flights.enter(self.key) {
                Enter::Lead(leader) => {
                    let span = tracing::debug_span!("cache.load", cache.name = &*self.core.name);
                    return self.lead(leader, found, loader).instrument(span).await;
                }
                Enter::Wait(waiter) => match waiter.outcome(arrival).await {
                    Shared::Value(value) => return Ok(value),
                    Shared::Failed(error) => return Err(error),
                    Shared::Again => {}
                },
            }
        }
    }

    /// Reads the key, unless a reservation will likely do it in one.
    async fn look(&self) -> Result<Option<Versioned<V>>> {
        if self.core.familiar.knows(self.key) {
            return self.core.look(self.key, self.settings.format.codec).await;
        }
        self.core.replay(self.key).await?;
        Ok(None)
    }

    /// Reserves, loads and stores. Everybody who waits learns how it ended.
    async fn lead<F, Fut, E>(&self, leader: Leader<'_, V>, found: Found, loader: F) -> Result<Arc<V>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        let permit = match self.permit(found).await {
            Ok(Start::Load(permit)) => permit,
            // The entry may have been invalidated again before those who wait arrived: they look for themselves.
            Ok(Start::Hit(value)) => {
                leader.finish(Outcome::Again);
                return Ok(value);
            }
            Err(error) => return fail(leader, error),
        };
        let value = match self.load(&permit, loader).await {
            Ok(value) => value,
            Err(error) => {
                drop(permit);
                return fail(leader, error);
            }
        };
        let freshness = leader.begin_storing();
        match self.store(value, permit, freshness).await {
            Ok((value, outcome)) => {
                leader.finish(outcome);
                Ok(value)
            }
            Err(error) => fail(leader, error),
        }
    }

    async fn permit(&self, found: Found) -> Result<Start<'_, V>> {
        if found == Found::Away {
            return Ok(Start::Load(Permit::Away));
        }
        match self.claim().await {
            Ok((Claim::Hit(value), _)) => {
                self.core.familiar.saw(self.key, true);
                Ok(Start::Hit(value))
            }
            Ok((Claim::Load(lease), unused)) => {
                Ok(Start::Load(Permit::Store(Held { core: self.core, key: self.key, lease: Some(lease), unused })))
            }
            Ok(_) => Ok(Start::Load(Permit::Unreadable)),
            Err(error) => self.unless_away(error).map(|_| Start::Load(Permit::Away)),
        }
    }

    /// Waits while another process holds the key's lease: until there is a value, or the lease has ended, or is another:
    /// that load began after this call, so there is nothing to wait for, and this one takes part in it.
    async fn claim(&self) -> Result<(Claim<V>, Unused)> {
        let options = ReserveOptions::new(lease_time(self.core.tier.place(), self.settings.load_timeout));
        let (until, codec) = (Instant::now() + self.settings.load_timeout, self.settings.format.codec);
        let (mut first, mut pause) = (None, FIRST_LOOK);
        loop {
            let claim = self.core.tier.reserve(self.key, options.clone().with_holding(Holding::Alone), codec).await?;
            let Claim::Held(lease) = claim else { return Ok((claim, Unused::GiveBack)) };
            if *first.get_or_insert(lease) != lease || Instant::now() >= until {
                return Ok((self.core.tier.reserve(self.key, options, codec).await?, Unused::Leave));
            }
            sleep(pause).await;
            pause = LONGEST_LOOK.min(pause * 2);
        }
    }

    /// Runs the loader, and renews the lease meanwhile.
    async fn load<F, Fut, E>(&self, permit: &Permit<'_, V>, loader: F) -> Result<V>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        let limit = self.settings.load_timeout;
        let until = Instant::now() + limit;
        let late = |_| Error::new(ErrorKind::Timeout, format!("the value was not loaded within {limit:?}"));
        let _turn = match permit {
            Permit::Away => timeout_at(until, self.core.loads_while_away.acquire()).await.map_err(late)?.ok(),
            _ => None,
        };
        let mut load = pin!(loader());
        let mut renewal = pin!(self.renew(permit));
        let both = poll_fn(|context| {
            if let Poll::Ready(loaded) = load.as_mut().poll(context) {
                return Poll::Ready(loaded);
            }
            let _never = renewal.as_mut().poll(context);
            Poll::Pending
        });
        match timeout_at(until, both).await.map_err(late)? {
            Ok(value) => Ok(value),
            Err(cause) => Err(load_failed(cause.into())),
        }
    }

    /// Keeps a lease in a cache of bytes alive; never returns.
    async fn renew(&self, permit: &Permit<'_, V>) {
        if let (Permit::Store(Held { lease: Some(lease), .. }), Place::Elsewhere) = (permit, self.core.tier.place()) {
            let options = ReserveOptions::new(LEASE).with_holding(Holding::Renew(*lease));
            loop {
                sleep(RENEWAL).await;
                match self.core.tier.reserve(self.key, options.clone(), self.settings.format.codec).await {
                    // The store may come back in time.
                    Ok(Claim::Load(_)) | Err(_) => {}
                    Ok(_) => break,
                }
            }
        }
        pending::<()>().await;
    }

    /// Stores what was loaded. If the cache cannot take it, the value is good all the same.
    async fn store(&self, value: V, permit: Permit<'_, V>, freshness: Freshness) -> Result<(Arc<V>, Outcome<V>)> {
        let format = self.settings.format;
        let prepared = self.core.tier.prepare(self.key, value, format)?;
        let value = Arc::clone(&prepared.value);
        let outcome = match (permit, freshness) {
            // Nobody can invalidate it in a store that is away but this process, and it has not.
            (Permit::Away, Freshness::Unspoiled) => Outcome::Valid,
            (Permit::Store(held), Freshness::Unspoiled) => {
                let condition = held.condition();
                let stored = self.core.tier.set(self.key, prepared, self.time_to_live, condition, format.codec).await;
                held.end(stored).await?
            }
            _ => Outcome::Loaded,
        };
        Ok((Arc::clone(&value), outcome(value)))
    }

    /// Whether the loader answers although the store does not.
    fn unless_away(&self, error: Error) -> Result<Found> {
        if !is_away(&error) || self.settings.outage == Outage::Fail {
            return Err(error);
        }
        let kind = error.kind().as_str();
        tracing::debug!(name: "cache.load.away", kind, "the store is away; the loader answers");
        Ok(Found::Away)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// It is not known: the store is away.
    Away,
}

/// A lease, which is given back if it is not used: its load failed or was cancelled.
struct Held<'a, V: Send + Sync + 'static> {
    core: &'a Core<V>,
    key: &'a CacheKey,
    lease: Option<Lease>,
    unused: Unused,
}

/// What happens to a lease that is not used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unused {
    GiveBack,
    /// Somebody else holds it, too.
    Leave,
}

impl<V: CacheValue> Held<'_, V> {
    fn condition(&self) -> Condition {
        self.lease.map_or(Condition::Absent, Condition::Lease)
    }

    /// How the load ended, by what became of its value in the store.
    async fn end(mut self, stored: Result<SetOutcome>) -> Result<fn(Arc<V>) -> Outcome<V>> {
        match stored {
            Ok(SetOutcome::Stored(_)) => {
                self.lease = None;
                self.core.familiar.saw(self.key, true);
                Ok(Outcome::Valid)
            }
            Ok(SetOutcome::Conflict(_)) => {
                self.lease = None;
                tracing::debug!(name: "cache.load.superseded", "invalidated or set during the load; not stored");
                Ok(Outcome::Loaded)
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
            // That the lease was still there says that nothing was invalidated.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                let options = RemoveOptions::default().with_condition(self.condition());
                self.lease = None;
                match self.core.tier.remove(self.key, options).await {
                    Ok(RemoveOutcome::Removed) => Ok(Outcome::Valid),
                    _ => Ok(Outcome::Loaded),
                }
            }
            Err(error) => {
                let kind = error.kind().as_str();
                tracing::warn!(name: "cache.load.not_stored", kind, "a loaded value was not stored");
                Ok(Outcome::Loaded)
            }
        }
    }
}

impl<V: Send + Sync + 'static> Drop for Held<'_, V> {
    fn drop(&mut self) {
        if let (Some(lease), Unused::GiveBack) = (self.lease, self.unused) {
            self.core.tier.give_back(self.key, lease);
        }
    }
}

/// In memory a lease ends with its load whatever happens; it outlives it by a second, so that a load that ends in time can
/// be stored.
fn lease_time(place: Place, load_timeout: Duration) -> Duration {
    let whole = load_timeout.saturating_add(Duration::from_secs(1)).min(crate::MAX_TIME_TO_LIVE);
    match place {
        Place::Here => whole,
        Place::Elsewhere => whole.min(LEASE),
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
