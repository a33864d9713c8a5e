//! Records in files: on S3, on a local disk, in memory, or wherever a [`FileStore`] keeps them.

mod client;
mod config;
mod seen;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use statehouse_core::policy::Backoff;
use statehouse_core::{
    Capabilities, Clock, Condition, EnvelopeError, Error, ErrorKind, Fence, Health, Namespace, RaiseOptions, Result,
    Retry, Timestamp, Version,
};
use statehouse_filestore::FileStore;
use statehouse_filestore::capability::{CREATE_IF_ABSENT, DELETE_IF_MATCH, REPLACE_IF_MATCH};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::client::{Found, Limit, Wire, in_doubt};
pub use self::config::FilesConfig;
pub(crate) use self::config::PAUSE;
use self::seen::Seen;
use self::sweep::Sweeper;
use crate::api::CoordStore;
use crate::capability::{DURABLE, FENCED, FENCED_AT_ONCE, SHARED, SWEEPS};
use crate::hashed::is_of_strangers;
use crate::key::CoordKey;
use crate::operation::Operations;
use crate::options::{GetOptions, NowOptions, PutOptions, RemoveOptions, ScanOptions, WaitOptions};
use crate::outcome::{Page, PutOutcome, RemoveOutcome};
use crate::record::format::{Stored, unreadable};
use crate::record::{Record, WriteId};

const OPERATION: Operations = Operations::of("files");

/// Keeps records in files of any [`FileStore`] that creates a file only if there is none, and replaces one only if it is the
/// expected one.
///
/// # Layout
/// `.coordination/namespace/KEY~` holds one record, as an envelope. A removed record leaves its version behind, a file of some
/// 80 bytes, for good: names are few and come again. Those of tokens and requests are many and come once: see below.
///
/// # Expiry
/// A file store tells no time that could be relied on, and the clocks of those who write differ. So a record with a time to
/// live has expired when it has been seen to be the same for so long, by the clock of this process that nobody sets. For a
/// process that has just begun to look, it lives once more as long: a lock whose holder was killed is free for a process
/// that waits for it after the lease, and for one that starts then after another lease.
///
/// At most 16,384 records are watched at once, and as many of tokens and requests; one that is forgotten for the sake of others lives anew.
///
/// # Sweeps
/// What [`SingleUse`](crate::SingleUse) and `IdempotencyLayer` keep for a time, of names that do not come again, is removed once that time and a
/// [day](FilesConfig::with_leeway) are over, by the clock of the file store, which says when a file was written and what time it is: no clock of a
/// replica counts. It is removed only if it is still what was looked at, so that nothing is that somebody has just written. Whoever writes such a
/// record begins a sweep, which runs beside the call, if none was begun for an [hour](FilesConfig::with_sweeps_every) by any replica; a file
/// `swept~~` says so. It lists these records, and reads one only when its age has reached the leeway, or has doubled since: so a record is read a few
/// times in its life, and gone after twice its time and leeway at the latest, as long as such records are written and nobody has come with it again.
/// A file store that does not delete conditionally has none, and such records are refused there.
///
/// # Versions
/// are `max(previous + 1, clock)`, where the previous one stands in the file, and the clock is that of the writer's host. So
/// they rise whatever that clock says; that they are those of the time is good for moving to another store.
///
/// # Price
/// A get is one request, a put two, a scan one for each record besides those of the listing. So a token is two when it is accepted and one when it
/// comes again, and a request with an `Idempotency-Key` four (on S3 two reads and two writes), and one when it is told again. A sweep is six
/// requests, another one for each thousand such records that there are, and three for each that it removes; to find that none is due is one, an hour
/// and replica. Who waits asks again and again, with pauses of up to [ten seconds](FilesConfig::with_longest_pause); when a record that somebody
/// waits for expires, it is looked at in time.
#[derive(Debug)]
pub struct FilesCoordStore {
    wire: Wire,
    clock: Arc<dyn Clock>,
    longest_pause: Duration,
    seen: Seen,
    /// Of records of strangers, so that however many of them there are, what is known of locks stays.
    of_strangers: Arc<Seen>,
    sweeper: Sweeper,
}

/// The first pause of who waits.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The first and the longest pause of who writes where others write.
const CONTENTION: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];

/// How often a put begins anew because somebody else was faster.
const TRIES: usize = 200;

/// How often what became of a request is found out.
const LOST: usize = 3;

/// How many records are read at once.
const TOGETHER: usize = 16;

/// How a try went.
enum Tried {
    Stored(Version),
    /// The condition does not hold.
    Refused(Option<Record>),
    /// Somebody else was faster.
    Again,
}

impl FilesCoordStore {
    /// The records of this namespace.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the file store lacks what is needed, naming it.
    pub fn new(files: Arc<dyn FileStore>, namespace: &Namespace, config: FilesConfig) -> Result<Self> {
        let has = files.capabilities();
        for needed in [CREATE_IF_ABSENT, REPLACE_IF_MATCH] {
            has.require(needed).map_err(|error| OPERATION.open.name_in(error))?;
        }
        let FilesConfig { clock, longest_pause, sweeps } = config;
        let (wire, of_strangers) = (Wire::new(files, namespace), Arc::<Seen>::default());
        let sweeper = Sweeper::new(wire.clone(), Arc::clone(&clock), Arc::clone(&of_strangers), sweeps);
        Ok(Self { wire, clock, longest_pause, seen: Seen::default(), of_strangers, sweeper })
    }

    fn seen(&self, key: &CoordKey) -> &Seen {
        if is_of_strangers(key) { &self.of_strangers } else { &self.seen }
    }

    /// Whether what strangers leave behind leaves the store.
    fn sweeps(&self) -> bool {
        self.wire.files().capabilities().has(DELETE_IF_MATCH)
    }

    /// The record that was found, if it has not expired.
    fn live(&self, key: &CoordKey, found: Option<&Found>) -> Result<Option<Record>> {
        let stored = found.map(|found| found.stored.as_ref().ok_or_else(|| unreadable(EnvelopeError::Corrupt)));
        let Some(stored) = stored.transpose()?.filter(|stored| !stored.is_removed) else {
            self.seen(key).forget(key);
            return Ok(None);
        };
        let Some(lives) = stored.time_to_live else {
            self.seen(key).forget(key);
            return Ok(Some(stored.clone().record(None)));
        };
        let left = self.seen(key).left(key, stored.id, lives, self.clock.elapsed());
        Ok(left.map(|left| stored.clone().record(Some(left))))
    }

    async fn get(&self, key: &CoordKey, limit: Limit) -> Result<Option<Record>> {
        let found = self.wire.read(key, limit).await?;
        self.live(key, found.as_ref())
    }

    /// The version and time of what replaces this.
    fn stamp(&self, stored: Stored, found: Option<&Found>) -> Stored {
        let now = self.clock.now();
        let previous = found.and_then(|found| found.stored.as_ref()).map(|stored| stored.stamp.version);
        let previous = previous.unwrap_or_default();
        stored.stamped(previous.next(now.as_micros()), now)
    }

    async fn try_put(&self, key: &CoordKey, new: &Stored, options: &PutOptions, limit: Limit) -> Result<Tried> {
        let found = self.wire.read(key, limit).await?;
        let current = match self.live(key, found.as_ref()) {
            // What takes the place of whatever is there.
            Err(_) if options.condition == Condition::Always => None,
            current => current?,
        };
        if let Some(own) = current.as_ref().filter(|current| current.id == new.id) {
            return Ok(Tried::Stored(own.version));
        }
        let stands = current.as_ref().filter(|current| !options.passes_over(&current.value));
        if !options.is_made(stands.map(|current| &current.version), found.is_some()) {
            return Ok(Tried::Refused(current));
        }
        let stored = self.stamp(new.clone(), found.as_ref());
        if !self.wire.write(key, found.as_ref(), &stored, (options.fence.as_ref(), limit)).await? {
            return Ok(Tried::Again);
        }
        if let Some(lives) = stored.time_to_live {
            self.seen(key).left(key, stored.id, lives, self.clock.elapsed());
        }
        if is_of_strangers(key) && self.sweeps() {
            self.sweeper.remind();
        }
        Ok(Tried::Stored(stored.stamp.version))
    }

    /// Tries until nobody else is faster. If it is not known whether a try was made, it is looked at what is there: the
    /// record with its id, or what it was to replace, which can be replaced once more by the same.
    async fn put(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        options.check()?;
        Record::check(&value)?;
        let new = Stored::new(options.id()?, options.time_to_live, value);
        let (limit, mut lost, mut options) = (Limit::new(options.deadline), 0, options);
        let mut backoff = Backoff::new(CONTENTION[0], CONTENTION[1]);
        for _ in 0..TRIES {
            match self.try_put(key, &new, &options, limit).await {
                Ok(Tried::Stored(version)) => return Ok(PutOutcome::Stored(version)),
                Ok(Tried::Refused(current)) => return PutOutcome::refused(current, options.repeats),
                Ok(Tried::Again) => {}
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown && lost < LOST => {
                    lost += 1;
                    options.repeats = true;
                }
                Err(error) if lost > 0 => return Err(in_doubt(error)),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        Err(contended())
    }

    async fn remove(&self, key: &CoordKey, version: Version, limit: Limit) -> Result<RemoveOutcome> {
        let rest = Stored::removed(WriteId::generate()?);
        let mut backoff = Backoff::new(CONTENTION[0], CONTENTION[1]);
        for _ in 0..TRIES {
            let found = self.wire.read(key, limit).await?;
            let current = self.live(key, found.as_ref())?;
            let Some((found, current)) = found.as_ref().zip(current) else {
                let own = found.and_then(|found| found.stored).is_some_and(|stored| stored.id == rest.id);
                return Ok(if own { RemoveOutcome::Removed } else { RemoveOutcome::Absent });
            };
            if current.version != version {
                return Ok(RemoveOutcome::Conflict(current));
            }
            let stored = self.stamp(rest.clone(), Some(found));
            let removed = match self.wire.write(key, Some(found), &stored, (None, limit)).await {
                Err(error) if error.retry() == Retry::FULL => self.wire.delete(key, found, limit).await?,
                written => written?,
            };
            if removed {
                self.seen(key).forget(key);
                return Ok(RemoveOutcome::Removed);
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        Err(contended())
    }

    async fn scan(&self, options: ScanOptions) -> Result<Page> {
        options.check()?;
        let limit = Limit::new(options.deadline);
        let (names, mut page) = self.wire.list(&options.prefix, options.start.as_ref(), options.limit, limit).await?;
        for names in names.chunks(TOGETHER) {
            let found = join_all(names.iter().map(|(name, _)| self.get(name, limit))).await;
            for ((name, _), found) in names.iter().zip(found) {
                page.add(name, found)?;
            }
        }
        Ok(page)
    }
}

fn contended() -> Error {
    Error::new(ErrorKind::Unavailable, "others have written this record all the time; nothing was stored")
}

#[async_trait]
impl CoordStore for FilesCoordStore {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        OPERATION.get.during_on(key, self.get(key, Limit::new(options.deadline))).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        OPERATION.put.during_on(key, self.put(key, value, options)).await
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        OPERATION.remove.during_on(key, self.remove(key, version, Limit::new(options.deadline))).await
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        OPERATION.scan.during(self.scan(options)).await
    }

    async fn now_with(&self, _: NowOptions) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        let until = Instant::now() + options.limit.min(PutOptions::MAX_TIME_TO_LIVE);
        let mut backoff = Backoff::new(FIRST_PAUSE.min(self.longest_pause), self.longest_pause);
        loop {
            let mut next = until.min(Instant::now() + backoff.pause());
            // Who waits for a store that is away goes on waiting.
            if let Ok(Ok(found)) = timeout_at(until, self.get(key, Limit::new(None))).await {
                if found.as_ref().map(|found| found.version) != seen {
                    return;
                }
                let expiry = found.and_then(|found| found.expires_in).and_then(|left| Instant::now().checked_add(left));
                next = expiry.map_or(next, |expiry| expiry.min(next));
            }
            if Instant::now() >= until {
                return;
            }
            sleep_until(next).await;
        }
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        OPERATION.raise.during(self.wire.raise(fence, options)).await
    }

    async fn health(&self) -> Health {
        self.wire.files().health().await
    }

    fn capabilities(&self) -> Capabilities {
        let has = self.wire.files().capabilities();
        let same = [DURABLE, FENCED, FENCED_AT_ONCE, SHARED].into_iter().filter(|capability| has.has(*capability));
        same.chain(self.sweeps().then_some(SWEEPS)).collect()
    }
}
