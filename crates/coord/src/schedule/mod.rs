//! What is done at planned times, once in the fleet.

mod format;
mod tick;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{Condition, Error, Result, Timestamp, Version};
use tokio::time::sleep;

use self::format::{decode, encode};
pub use self::tick::Tick;
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::away::is_away;
use crate::key::CoordKey;
use crate::lock::{Guard, Lock, LockError};
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::WriteId;
use crate::settled::put_settled;

/// Where the last planned time of a job lies.
pub(crate) const KIND: &str = "schedule";

/// The pauses after a failure, of the body or of the store.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The shortest and the longest interval.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), PutOptions::MAX_TIME_TO_LIVE];

/// What becomes of a planned time whose replica is killed, or loses its lock, before the body is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Delivery {
    /// It is claimed before the body begins: nobody does it again, and it may not have been done. A body that fails is not
    /// tried again either.
    AtMostOnce,
    /// It is recorded as done after the body: another replica does it again, so the body must bear that. A body that fails is
    /// tried again, after a pause of one second that doubles up to a minute.
    AtLeastOnce,
}

/// A job that is due at planned times, once in the fleet: made by [`Coordination::schedule`](crate::Coordination::schedule).
///
/// # Behavior
/// - It is due at every multiple of its interval since the Unix epoch, by the **store's time**, and never begun before that,
///   whatever the clock of a host says. In files the store has no time but that of each host: one that is ahead begins as much
///   earlier, and the others do nothing until their clocks have come to where it was.
/// - One replica at a time does it, under a [lock](crate::Lock) of its own; the body is dropped if that is lost. Each planned
///   time is done once, or as its [`Delivery`] says after a crash.
/// - **Missed times** are not made up for: of those that came due while the body ran, or nobody was there, only the last is
///   done, as soon as somebody can, and it is told [how late](Tick::late) it is. So is the last one before a job was first
///   scheduled.
/// - A store that is **away** is waited for, however long that takes. If it is when the body is over, that is recorded as soon as
///   it is back, as long as the lock is held. One record is kept for each job.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_coord::{Coordination, Delivery, MemoryCoordStore, Tick};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let (done, mut times) = tokio::sync::mpsc::unbounded_channel();
/// let cleanup = coord.schedule("cleanup", Duration::from_millis(100), Delivery::AtMostOnce);
/// let running = tokio::spawn(cleanup.run(move |tick: Tick| {
///     let sent = done.send(tick.planned.as_micros());
///     async move { sent }
/// }));
/// let (one, next) = (times.recv().await.expect("a time"), times.recv().await.expect("another"));
/// assert!(one < next && next % 100_000 == 0);
/// running.abort();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is done until `run` is awaited"]
pub struct Schedule {
    store: Arc<dyn CoordStore>,
    key: Result<CoordKey>,
    lock: Lock,
    every: Duration,
    delivery: Delivery,
}

impl Schedule {
    pub(crate) fn new(
        store: Arc<dyn CoordStore>,
        key: Result<CoordKey>,
        lock: Lock,
        every: Duration,
        delivery: Delivery,
    ) -> Self {
        Self { store, key, lock, every, delivery }
    }

    /// After how long another replica takes over from one that was killed: see [`Lock::lease`]. 15 seconds at first.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lock = self.lock.lease(lease);
        self
    }

    /// Takes part until it is dropped. Returns only with what prevents it for good:
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for an interval of less than 100 ms or more than 366 days, or a
    /// name that is none; [`Unsupported`](statehouse_core::ErrorKind::Unsupported) on a store that is shared and not durable;
    /// [`Unavailable`](statehouse_core::ErrorKind::Unavailable) once the locks were [given back](crate::Leases::close); what the
    /// store refuses, such as [`PermissionDenied`](statehouse_core::ErrorKind::PermissionDenied). An outage is none of these,
    /// however long it is.
    pub async fn run<E, F>(self, body: impl Fn(Tick) -> F) -> Error
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let pauses = || Backoff::new(PAUSES[0], PAUSES[1]);
        let (mut failing, mut away) = (pauses(), pauses());
        loop {
            match self.turn(&body, &mut failing).await {
                Ok(pause) => {
                    away = pauses();
                    sleep(pause).await;
                }
                Err(error) if is_away(&error) => {
                    tracing::debug!(name: "coord.schedule_waits", %error, "a schedule waits for its store");
                    sleep(away.pause()).await;
                }
                Err(error) => return error,
            }
        }
    }

    /// Does what is due, if nobody has; how long nothing is due then.
    async fn turn<E, F>(&self, body: &impl Fn(Tick) -> F, backoff: &mut Backoff) -> Result<Duration>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let tick = self.due().await?;
        let next = self.every.saturating_sub(tick.late);
        if self.last().await?.is_some_and(|(_, last)| last >= tick.planned) {
            return Ok(next);
        }
        let guard = match self.lock.clone().wait(next).await {
            Ok(guard) => guard,
            Err(LockError::Busy(_)) => return Ok(Duration::ZERO),
            Err(LockError::Failed(error)) => return Err(error),
        };
        let done = self.attempt(&guard, body).await;
        if matches!(done, Ok(false)) && self.delivery == Delivery::AtLeastOnce {
            // Nobody tries it in the meantime.
            tokio::select! {
                () = guard.lost() => {}
                () = sleep(backoff.pause()) => {}
            }
        }
        if let Err(error) = guard.release().await {
            tracing::debug!(name: "coord.schedule_not_released", %error, "the lock of a schedule ends with its lease");
        }
        if done? {
            *backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        }
        Ok(Duration::ZERO)
    }

    /// Whether the body has not failed. What is due may be another time than before the lock was waited for.
    async fn attempt<E, F>(&self, guard: &Guard, body: &impl Fn(Tick) -> F) -> Result<bool>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
        F: Future<Output = Result<(), E>>,
    {
        let (tick, last) = (self.due().await?, self.last().await?);
        if last.is_some_and(|(_, last)| last >= tick.planned) {
            return Ok(true);
        }
        let before = last.map(|(version, _)| version);
        if self.delivery == Delivery::AtMostOnce && !self.record(before, tick.planned).await? {
            return Ok(true);
        }
        match guard.run(async { body(tick).await.map_err(|error| Cut(Some(error.into()))) }).await {
            Ok(()) if self.delivery == Delivery::AtLeastOnce => {
                guard.persist(|| self.record(before, tick.planned)).await.map(|_| true)
            }
            Ok(()) | Err(Cut(None)) => Ok(true),
            Err(Cut(Some(error))) => {
                let job = self.key()?.as_str();
                tracing::warn!(name: "coord.schedule_failed", job, error = &*error, "what was due has failed");
                Ok(false)
            }
        }
    }

    async fn due(&self) -> Result<Tick> {
        if self.every < INTERVALS[0] || self.every > INTERVALS[1] {
            return Err(Error::invalid_input("an interval is at least 100 ms and at most 366 days"));
        }
        Ok(Tick::last(self.store.now().await?, self.every))
    }

    fn key(&self) -> Result<&CoordKey> {
        self.key.as_ref().map_err(Clone::clone)
    }

    async fn last(&self) -> Result<Option<(Version, Timestamp)>> {
        let found = self.store.get(self.key()?).await?;
        found.map(|record| Ok((record.version, decode(&record.value)?))).transpose()
    }

    /// False if somebody else was faster.
    async fn record(&self, before: Option<Version>, planned: Timestamp) -> Result<bool> {
        let options = PutOptions::default().with_condition(before.map_or(Condition::Absent, Condition::Match));
        let put = put_settled(&*self.store, self.key()?, &encode(planned), WriteId::generate()?, options).await?;
        Ok(matches!(put, PutOutcome::Stored(_)))
    }
}

/// How a body ended that did not succeed: it failed, or its lock was lost.
struct Cut(Option<Box<dyn StdError + Send + Sync>>);

impl From<Error> for Cut {
    fn from(_: Error) -> Self {
        Self(None)
    }
}
