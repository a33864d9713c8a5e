//! What all handles of one cache in this process share, and what happens while the store is away.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use statehouse_core::policy::{Asked, Backoff, Occasional, Pace, PerServer, Trouble};
use statehouse_core::{Error, ErrorKind, Result, SystemClock};
use tokio::sync::Semaphore;

use super::familiar::Familiar;
use super::flights::Flights;
use super::kept::{Debt, Kept};
use super::tier::{Access, CacheValue, Place, Tier};
use super::versioned::Versioned;
use crate::away::is_away;
use crate::counters::Lookups;
use crate::{CacheKey, ClearOptions, RemoveOptions};

/// How many loads run at once for a cache whose store is away: what else waits, so that the source is not flooded.
const LOADS_WHILE_AWAY: usize = 128;

/// The pauses between attempts to replay what is kept.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The pause after a round in which the store said only what does not pass by itself, such as that the login is refused.
const PAUSE_OF_THE_REFUSED: Duration = Duration::from_secs(5);

/// How often it is said that loaded values are too large.
const PERIOD: Duration = Duration::from_secs(60);

/// How long nothing may have failed until it is said that all is well: while one shard is down, others answer.
const QUIET: Duration = Duration::from_secs(5);

/// By how much the clock of the server that stored an entry may be ahead of the one that removes it late: a replica may have been
/// promoted in between. What was stored for so long after an invalidation may be a miss; what was there before is no hit.
const SKEW: Duration = Duration::from_secs(2);

/// After how many failures a round of replaying ends.
const MOST_FAILURES: usize = 8;

pub(crate) struct Core<V> {
    pub(crate) name: Box<str>,
    pub(crate) tier: Box<dyn Tier<V>>,
    pub(crate) familiar: Familiar,
    pub(crate) flights: Flights<V>,
    pub(crate) kept: Kept,
    pub(crate) loads_while_away: Semaphore,
    pub(crate) lookups: Lookups,
    /// From when on an answer is slow.
    pub(crate) slow_after: Duration,
    paces: PerServer<Paces>,
    /// The loads that went without the store because it was away.
    away: Trouble,
    /// The loads whose value the store did not take.
    not_stored: Trouble,
    too_large: Occasional,
    /// Whether a task replays what is kept.
    replaying: AtomicBool,
}

/// What is known of how fast a server answers.
pub(crate) struct Paces {
    pub(crate) reads: Pace,
    /// A server that holds writes back, as Redis does while it hands over to a replica, answers reads all the same.
    pub(crate) writes: Pace,
}

impl<V> Core<V> {
    pub(crate) fn new(name: &str, tier: Box<dyn Tier<V>>, slow_after: Duration) -> Self {
        // Memory is not slow: only this process may have stood still.
        let slow_after = if tier.place() == Place::Here { Duration::MAX } else { slow_after };
        Self {
            name: name.into(),
            familiar: Familiar::new(tier.place()),
            tier,
            flights: Flights::default(),
            kept: Kept::default(),
            loads_while_away: Semaphore::new(LOADS_WHILE_AWAY),
            lookups: Lookups::new(name),
            slow_after,
            paces: PerServer::new(move || Paces { reads: Pace::new(slow_after), writes: Pace::new(slow_after) }),
            away: Trouble::new(QUIET),
            not_stored: Trouble::new(QUIET),
            too_large: Occasional::new(PERIOD),
            replaying: AtomicBool::new(false),
        }
    }
}

impl<V: CacheValue> Core<V> {
    /// Reads the key, once what this process owes the store about it is paid.
    pub(crate) async fn look(&self, key: &CacheKey, access: Access) -> Result<Option<Versioned<V>>> {
        self.look_as(key, access, self.paces_of(key).reads.asks()).await
    }

    /// Those of the server that has the key.
    pub(crate) fn paces_of(&self, key: &CacheKey) -> Cow<'_, Arc<Paces>> {
        self.paces.of(self.tier.server_of(key))
    }

    /// As [`look`](Self::look), where it is known already that the store may be asked.
    pub(crate) async fn look_as(
        &self,
        key: &CacheKey,
        access: Access,
        asked: Asked<'_>,
    ) -> Result<Option<Versioned<V>>> {
        self.replay(key, access).await?;
        let found = self.tier.get(key, access).await?;
        asked.answered();
        self.familiar.saw(key, found.is_some());
        self.is_there();
        Ok(found)
    }

    /// The store has answered.
    pub(crate) fn is_there(&self) {
        if let Some(loads) = self.away.is_over(&SystemClock::default()) {
            tracing::warn!(name: "cache.back", cache = &*self.name, loads, "the store answers again");
        }
    }

    /// A loader answers because the store does not.
    pub(crate) fn is_away(&self, error: &Error) {
        if self.away.failed(&SystemClock::default()) {
            let (cache, kind) = (&*self.name, error.kind().as_str());
            tracing::warn!(name: "cache.away", cache, kind, "the store is away; loaders answer until it is back");
        }
    }

    /// A loader answers because it is likely faster than the store.
    pub(crate) fn is_slow(&self) {
        if self.away.failed(&SystemClock::default()) {
            let (cache, limit) = (&*self.name, self.slow_after);
            tracing::warn!(name: "cache.slow", cache, ?limit, "the store is slow; loaders answer until it is not");
        }
    }

    /// The store took what was loaded.
    pub(crate) fn stored(&self) {
        if let Some(values) = self.not_stored.is_over(&SystemClock::default()) {
            tracing::warn!(name: "cache.load.stored", cache = &*self.name, values, "loaded values are stored again");
        }
    }

    /// The store did not take what was loaded.
    pub(crate) fn not_stored(&self, error: &Error) {
        if self.not_stored.failed(&SystemClock::default()) {
            let (cache, kind) = (&*self.name, error.kind().as_str());
            tracing::warn!(name: "cache.load.not_stored", cache, kind, "loaded values are not stored");
        }
    }

    /// What was loaded is too large to be stored.
    pub(crate) fn too_large(&self, error: &Error) {
        if let Some(count) = self.too_large.happened(&SystemClock::default()) {
            let (cache, reason) = (&*self.name, error.message());
            tracing::warn!(name: "cache.too_large", cache, reason, count, "loaded values are too large to be cached");
        }
    }

    /// Does to `key` what is kept about it, if anything is. Until that has succeeded the key must not be read.
    ///
    /// Of a clear that means to remove this key alone: the rest of the cache may lie where nobody answers, which is nothing
    /// to those who ask for this.
    pub(crate) async fn replay(&self, key: &CacheKey, access: Access) -> Result<()> {
        match self.kept.owed(key) {
            None => Ok(()),
            // Boxed, so that the usual future stays small.
            Some(asked) => Box::pin(self.pay(Debt::Key(key.clone()), asked, access.deadline())).await,
        }
    }

    async fn pay(&self, debt: Debt, asked: Instant, deadline: Option<Duration>) -> Result<()> {
        match &debt {
            // What is younger than the invalidation stays, but for what its server's clock may not tell.
            Debt::Key(key) => {
                // A clear that one server missed takes nothing from the others that was stored since.
                let skew = if self.kept.is_of_clear(key) { Duration::ZERO } else { SKEW };
                let age = asked.elapsed().saturating_sub(skew);
                let mut options = RemoveOptions::default().with_min_age(age);
                options.deadline = deadline;
                let _ = self.tier.remove(key, options).await?;
            }
            Debt::Clear => {
                let mut options = ClearOptions::default().with_since(asked);
                options.deadline = deadline;
                self.tier.clear(options).await?;
            }
        }
        self.kept.paid(&debt, asked);
        Ok(())
    }

    /// Sees to it that what is kept is replayed once the store is back, whether or not anybody asks for it.
    fn replay_later(self: &Arc<Self>) {
        if self.kept.is_empty() || self.replaying.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = Replaying(Arc::downgrade(self));
        // Without a runtime the next call to the same key replays it all the same.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task.run());
        }
    }

    /// Replays what can be. Some keys may lie where nobody answers, and others not: so it does
    /// not stop at the first, begins elsewhere in each `round`, and does not ask a store that is away too often.
    async fn replay_all(&self, round: usize) -> Round {
        let debts = self.kept.all();
        let (mut failures, mut away) = (0, 0);
        for (debt, asked) in debts.iter().cycle().skip(round * MOST_FAILURES).take(debts.len()) {
            if let Err(error) = self.pay(debt.clone(), *asked, None).await {
                failures += 1;
                away += usize::from(is_away(&error));
            }
            if failures == MOST_FAILURES {
                break;
            }
        }
        match away {
            _ if self.kept.is_empty() => Round::Done,
            0 if failures > 0 => Round::Refused,
            _ => Round::Away,
        }
    }

    /// Does an invalidation; if the store does not take it, it is kept, for whatever reason: a login that is refused today is
    /// let in tomorrow, and what was invalidated is still there then.
    pub(crate) async fn invalidate<T>(
        self: &Arc<Self>,
        debt: Debt,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if self.tier.place() == Place::Here {
            return work.await;
        }
        match &debt {
            Debt::Key(key) => self.flights.spoil(key),
            Debt::Clear => self.flights.spoil_all(),
        }
        let mut intent = Intent { core: self, debt, asked: Instant::now(), ending: Ending::Keep };
        let done = work.await;
        intent.ending = match &done {
            Ok(_) => Ending::Pay,
            Err(error) if is_never(error) => Ending::Forget,
            Err(_) => Ending::Keep,
        };
        done
    }
}

/// Whether no store takes this, or this store takes none of the kind.
fn is_never(error: &Error) -> bool {
    [ErrorKind::InvalidInput, ErrorKind::Unsupported].contains(&error.kind())
}

/// What became of what is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Done,
    Away,
    /// All that failed was refused in a way that does not pass by itself.
    Refused,
}

/// The task that replays what is kept. There is one per cache while there is something.
struct Replaying<V>(Weak<Core<V>>);

impl<V: CacheValue> Replaying<V> {
    async fn run(self) {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut pause = pauses.pause();
        for round in 0.. {
            tokio::time::sleep(pause).await;
            let Some(core) = self.0.upgrade() else { return };
            pause = match core.replay_all(round).await {
                Round::Done => {
                    drop(self);
                    // For what was kept since.
                    core.replay_later();
                    return;
                }
                Round::Away => pauses.pause(),
                Round::Refused => PAUSE_OF_THE_REFUSED,
            };
        }
    }
}

impl<V> Drop for Replaying<V> {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            core.replaying.store(false, Ordering::Release);
        }
    }
}

/// An invalidation under way. One whose future is dropped may or may not have reached the store: it is kept as well.
struct Intent<'a, V: CacheValue> {
    core: &'a Arc<Core<V>>,
    debt: Debt,
    asked: Instant,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    Keep,
    Pay,
    Forget,
}

impl<V: CacheValue> Drop for Intent<'_, V> {
    fn drop(&mut self) {
        match self.ending {
            Ending::Pay => self.core.kept.paid(&self.debt, self.asked),
            Ending::Forget => {}
            Ending::Keep => {
                self.core.kept.keep(&self.debt, self.asked);
                self.core.replay_later();
            }
        }
    }
}
