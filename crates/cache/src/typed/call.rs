//! One call of `get_or_load`: looks, waits for others' loads, loads, stores.

use std::error::Error as StdError;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use statehouse_core::policy::{Asked, Backoff, Pace};
use statehouse_core::{Error, ErrorKind, Result, span};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument;

use super::cache::{Outage, Settings};
use super::core::Core;
use super::flights::{Enter, Freshness, Leader, Outcome, Shared};
use super::held::{Held, LEASE, RENEWAL, Unused, lease_time};
use super::tier::{CacheValue, Claim, Place};
use super::versioned::Versioned;
use crate::away::is_away;
use crate::operation::NAME;
use crate::{CacheKey, Holding, ReserveOptions, time_to_live_millis};

/// How often somebody looks who waits for another process's load.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(25);

/// One call of `get_or_load`.
pub(super) struct Call<'a, V> {
    pub(super) core: &'a Core<V>,
    pub(super) settings: Settings,
    pub(super) key: &'a CacheKey,
    pub(super) time_to_live: Duration,
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
    /// Nothing: there is something that this process cannot read.
    Unreadable,
    /// Nothing: the store is away.
    Away,
}

impl<V: CacheValue> Call<'_, V> {
    pub(super) async fn run<F, Fut, E>(&self, loader: F) -> Result<Arc<V>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        time_to_live_millis(self.time_to_live)?;
        let arrival = self.core.flights.arrive();
        let mut known = None;
        loop {
            let looked = match known.take() {
                Some(found) => Looked::Not(found),
                None => self.look().await?,
            };
            let found = match looked {
                Looked::Hit(value) => {
                    self.core.lookups.hit.add(1);
                    return Ok(value);
                }
                Looked::Not(found) => found,
            };
            match self.core.flights.enter(self.key) {
                Enter::Lead(leader) => {
                    let span = span::named(span::of_service(NAME.load), &self.core.name);
                    return self.lead(leader, found, loader).instrument(span).await;
                }
                Enter::Wait(waiter) => {
                    let shared = match waiter.outcome(arrival).await {
                        Shared::Value(value) => Ok(value),
                        Shared::Failed(error) => Err(error),
                        Shared::Unanswered(error, deadline) => match self.unless_patient(error, deadline) {
                            Ok(found) => {
                                known = found;
                                continue;
                            }
                            Err(error) => Err(error),
                        },
                        Shared::Again => continue,
                    };
                    self.core.lookups.miss.add(1);
                    return shared;
                }
            }
        }
    }

    /// Reads the key, unless a reservation will likely do it in one, or the store is slow and a loader may answer.
    async fn look(&self) -> Result<Looked<V>> {
        let paces = self.core.paces_of(self.key);
        let read = match self.ask(&paces.reads) {
            None => return Ok(Looked::Not(Found::Away)),
            // Boxed, so that the usual future stays small.
            Some(asked) if asked.is_probe() && self.settings.outage == Outage::Load => {
                Box::pin(self.probe(asked)).await
            }
            Some(asked) if self.core.familiar.knows(self.key) => {
                self.core.look_as(self.key, self.settings.access(), asked).await
            }
            Some(_) => self.core.replay(self.key, self.settings.access()).await.map(|()| None),
        };
        Ok(match read {
            Ok(Some(hit)) => Looked::Hit(hit.value),
            Ok(None) => Looked::Not(Found::Nothing),
            Err(error) => Looked::Not(self.unless_away(error)?),
        })
    }

    /// To be told of a question to the store; none if it is slow and a loader may answer.
    fn ask<'p>(&self, pace: &'p Pace) -> Option<Asked<'p>> {
        match self.settings.outage {
            Outage::Fail => Some(pace.asks()),
            Outage::Load => pace.may_ask().inspect_err(|_| self.core.is_slow()).ok(),
        }
    }

    /// Waits for a write to the store, but not longer than until it is known that writes are slow.
    async fn unless_slow<T>(
        &self,
        writes: &Pace,
        mut asked: Asked<'_>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if self.core.tier.place() == Place::Here {
            return work.await;
        }
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout(writes.limit(), work.as_mut()).await {
                return done.inspect(|_| asked.answered());
            }
            asked.is_late();
            if self.settings.outage == Outage::Load && writes.is_slow() {
                return Err(not_answered(writes.limit()));
            }
        }
    }

    /// Finds out by a read whether the store is still slow, and waits no longer than it takes to know that.
    async fn probe(&self, asked: Asked<'_>) -> Result<Option<Versioned<V>>> {
        let read = self.core.look_as(self.key, self.settings.access(), asked);
        let limit = self.core.slow_after;
        timeout(limit, read).await.unwrap_or_else(|_| Err(not_answered(limit)))
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
                self.core.lookups.hit.add(1);
                leader.finish(Outcome::Again);
                return Ok(value);
            }
            Err(error) => {
                leader.finish(Outcome::Unanswered(error.clone(), self.settings.deadline));
                return Err(error);
            }
        };
        match permit {
            Permit::Away => self.core.lookups.bypass.add(1),
            Permit::Store(_) | Permit::Unreadable => self.core.lookups.miss.add(1),
        }
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
        if found != Found::Nothing {
            return Ok(Start::Load(found.permit()));
        }
        let paces = self.core.paces_of(self.key);
        let Some(asked) = self.ask(&paces.writes) else { return Ok(Start::Load(Permit::Away)) };
        let claimed = self.claim(&paces.writes, asked).await.inspect(|_| self.core.is_there());
        match claimed {
            Ok((Claim::Hit(value), _)) => {
                self.core.familiar.saw(self.key, true);
                Ok(Start::Hit(value))
            }
            Ok((Claim::Load(lease), unused)) => {
                Ok(Start::Load(Permit::Store(Held { core: self.core, key: self.key, lease: Some(lease), unused })))
            }
            Ok(_) => Ok(Start::Load(Permit::Unreadable)),
            Err(error) => Ok(Start::Load(self.unless_away(error)?.permit())),
        }
    }

    /// Waits while another process holds the key's lease: until there is a value, or the lease has ended, or is another:
    /// that load began after this call, so there is nothing to wait for, and this one takes part in it.
    async fn claim<'p>(&self, writes: &'p Pace, mut asked: Asked<'p>) -> Result<(Claim<V>, Unused)> {
        let options = ReserveOptions::new(lease_time(self.core.tier.place(), self.settings.load_timeout));
        let until = Instant::now() + self.settings.load_timeout;
        let (mut first, mut pauses) = (None, Backoff::new(FIRST_LOOK, LONGEST_LOOK));
        loop {
            let alone = options.clone().with_holding(Holding::Alone);
            // Each has the whole deadline: a load that others wait for may well take longer.
            let claim = self.core.tier.reserve(self.key, alone, self.settings.access());
            let claim = self.unless_slow(writes, asked, claim).await?;
            let Claim::Held(lease) = claim else { return Ok((claim, Unused::GiveBack)) };
            if *first.get_or_insert(lease) != lease || Instant::now() >= until {
                let claim = self.core.tier.reserve(self.key, options, self.settings.access());
                return Ok((claim.await?, Unused::Leave));
            }
            sleep(pauses.pause()).await;
            asked = writes.asks();
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
                match self.core.tier.reserve(self.key, options.clone(), self.settings.access()).await {
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
        let prepared = self.core.tier.prepare(self.key, value, format)?.end().await?;
        let value = Arc::clone(&prepared.value);
        let outcome = match (permit, freshness) {
            (Permit::Store(held), Freshness::Unspoiled) => {
                let (guard, access) = (held.guard(), self.settings.access());
                let set = self.core.tier.set(self.key, prepared, self.time_to_live, guard, None, access);
                let paces = self.core.paces_of(self.key);
                held.end(self.unless_slow(&paces.writes, paces.writes.asks(), set).await).await?
            }
            // Without a lease nobody says whether it was invalidated meanwhile: a store that is away from this process need not be
            // away from others.
            _ => Outcome::Loaded,
        };
        Ok((Arc::clone(&value), outcome(value)))
    }

    /// What to do where the store has not answered somebody else, who waited no longer than this: one who waits for longer asks
    /// it, and so does one who loads without it, but for the question.
    fn unless_patient(&self, error: Error, deadline: Option<Duration>) -> Result<Option<Found>> {
        let own = self.settings.deadline;
        let is_longer = deadline.is_some_and(|theirs| own.is_none_or(|own| own > theirs));
        if is_longer && [ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&error.kind()) {
            return Ok(None);
        }
        self.unless_away(error).map(Some)
    }

    /// Whether the loader answers although the store does not.
    fn unless_away(&self, error: Error) -> Result<Found> {
        // Somebody with a higher limit has stored it.
        if error.kind() == ErrorKind::TooLarge {
            self.core.too_large(&error);
            // It is read first from now on, where small answers do not wait.
            self.core.familiar.saw(self.key, true);
            return Ok(Found::Unreadable);
        }
        // Of a key whose invalidation the store does not take, nothing that it has may be given, whatever its reason.
        let may_not_be_asked = is_away(&error) || self.core.kept.owed(self.key).is_some();
        if !may_not_be_asked || self.settings.outage == Outage::Fail {
            return Err(error);
        }
        self.core.is_away(&error);
        Ok(Found::Away)
    }
}

/// What a first look has found.
enum Looked<V> {
    Hit(Arc<V>),
    Not(Found),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// It is not known: the store is away.
    Away,
    /// Something that this process cannot read.
    Unreadable,
}

impl Found {
    const fn permit<'a, V: Send + Sync + 'static>(self) -> Permit<'a, V> {
        match self {
            Self::Away => Permit::Away,
            Self::Nothing | Self::Unreadable => Permit::Unreadable,
        }
    }
}

fn not_answered(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the store has not answered within {limit:?}"))
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
