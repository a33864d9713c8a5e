//! Records in Redis or Valkey: a single server, Sentinel or Cluster.

mod beating;
mod client;
mod config;
mod lasting;
mod listen;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::policy::Backoff;
use statehouse_core::{Capabilities, Fence, Health, Namespace, RaiseOptions, Result, Timestamp, Version};
use statehouse_redis::RedisClient;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::client::{OPERATION, Wire};
use self::lasting::Lasting;
use self::listen::{Heard, Listener};
use crate::api::CoordStore;
use crate::beats::{BeatOptions, Beaten, Beats, BeatsOptions};
use crate::capability::{BEATS, DURABLE, FENCED, FENCED_AT_ONCE, SERVER_TIME, SHARED};
use crate::key::CoordKey;
use crate::options::{GetOptions, NowOptions, PutOptions, RemoveOptions, ScanOptions, WaitOptions};
use crate::outcome::{Page, PutOutcome, RemoveOutcome};
use crate::record::Record;

/// Keeps records in Redis or Valkey, for all replicas.
///
/// # Layout
/// `namespace:coord:records:{namespace}:record:KEY` holds one record, as an envelope that is stamped by the server, and
/// `…:index` the names of all of them, a sorted set, so that a scan reads its own names and nothing else. All keys of a
/// namespace have it as their hash tag: in a cluster the records of one application lie on one server. There are few of
/// them and they are small, and what is won by that is one clock for all their versions, and an index that is written in one step
/// with each record. Every operation is one round trip.
///
/// `…:beats:GROUP` has who [beats](CoordStore::beat_with) in a group: a sorted set of their keys by when each is over, in
/// microseconds of the server's clock, and under no name, before all of them, the last change's number, negative. A beat is one
/// step in it, of three commands besides the time, and goes on without writing anything else. Who is over leaves it with the beats of others, a hundred
/// with each, and it is gone a day after the last beat. What is put in its place is replaced by the next beat, and counts as
/// nothing until then.
///
/// On a server that is full a record is replaced by one that is no longer, as a lock is that is renewed, and removed.
///
/// What is removed, or has expired, leaves its version behind for a day. The names of what has expired leave the index
/// after that: each put that adds a name, and every eighth other, looks at two names, drawn by lot, and a scan at those that it
/// reads. So there are at most about twice as many names as records.
///
/// Who deletes the index, or puts something else in its place, takes names away from scans until each record is put again; nothing
/// else needs it. What is no index is replaced by the next put, or makes one scan fail as
/// [`Corrupt`](statehouse_core::ErrorKind::Corrupt), and the log says so.
///
/// # Consistency
/// Replication is asynchronous: after a failover, what was acknowledged in the last moments may be missing, so that two may
/// hold one lock, and a version that was given out before may be gone; the next one is greater all the same, as long as the
/// servers' clocks differ by less than the time in between. `min-replicas-to-write` on the server bounds what may be
/// missing, to the writes of `min-replicas-max-lag`. With
/// [`wait_replicas`](statehouse_redis::RedisConfig::with_wait_replicas) what was acknowledged is on a replica, too, and stays when the master is
/// killed; what too few have in time is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown), and may be there.
///
/// # Durability
/// [`connect`](Self::connect) asks the server, and [`health`](CoordStore::health) asks again; see there. A server that cannot keep what it was told is not
/// [`DURABLE`], which locks and what must not vanish need.
///
/// # Retries
/// What comes to the server after its caller was told that it had failed is refused there, by the server's clock. A put whose
/// answer was lost is sent once more, and knows its own record by the id in it.
///
/// # Price
/// Who waits listens to a channel, on a connection of its own for all who wait, and asks every few seconds besides. Nobody
/// waits, nothing is sent.
#[derive(Clone, Debug)]
pub struct RedisCoordStore {
    wire: Wire,
    listener: Listener,
    /// All that do not change, but [`DURABLE`].
    capabilities: Capabilities,
    lasting: Arc<Lasting>,
}

/// How often a record is looked at by who hears of changes, and by who does not.
const HEARING: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
const DEAF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

impl RedisCoordStore {
    /// The records of this namespace. Nothing is sent yet, so that it stays unknown whether the server keeps what it has
    /// acknowledged, until [`health`](CoordStore::health) is asked: see [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the namespace is too long.
    pub fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        let wire = Wire::new(redis.clone(), namespace)?;
        let listener = Listener::new(redis, wire.channel());
        Ok(Self {
            wire,
            listener,
            capabilities: Capabilities::from_iter([BEATS, FENCED, FENCED_AT_ONCE, SERVER_TIME, SHARED]),
            lasting: Arc::default(),
        })
    }

    /// Until when there is no reason to look at the record again, unless it is told that it has changed. None if it is not as
    /// it was seen.
    async fn look(&self, key: &CoordKey, seen: Option<Version>, until: Instant) -> Option<Instant> {
        let found = match timeout_at(until, self.wire.get(key, None)).await {
            Ok(Ok(found)) => found,
            // Who waits for a server that is away goes on waiting.
            Ok(Err(_)) | Err(_) => return Some(until),
        };
        if found.as_ref().map(|found| found.version) != seen {
            return None;
        }
        let expires_in = found.and_then(|found| found.expires_in);
        Some(expires_in.and_then(|left| Instant::now().checked_add(left)).map_or(until, |expiry| expiry.min(until)))
    }
}

/// Returns when it is told of a change of this record, or when it may have missed one.
async fn told(news: &mut Option<broadcast::Receiver<Heard>>, key: &CoordKey) {
    let Some(receiver) = news else { return std::future::pending().await };
    loop {
        match receiver.recv().await {
            Ok(Some(name)) if *name != **key => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => break,
        }
    }
    *news = None;
    std::future::pending().await
}

#[async_trait]
impl CoordStore for RedisCoordStore {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        OPERATION.get.during_on(key, self.wire.get(key, options.deadline)).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        let put = async {
            options.check()?;
            Record::check(&value)?;
            self.wire.put(key, value, &options).await
        };
        OPERATION.put.during_on(key, put).await
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        OPERATION.remove.during_on(key, self.wire.remove(key, version, options.deadline)).await
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        let scan = async {
            options.check()?;
            self.wire.scan(&options).await
        };
        OPERATION.scan.during(scan).await
    }

    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        OPERATION.now.during(self.wire.now(options.deadline)).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        let until = Instant::now() + options.limit.min(PutOptions::MAX_TIME_TO_LIVE);
        let mut news = self.listener.listen();
        let [first, most] = if news.is_some() { HEARING } else { DEAF };
        let mut backoff = Backoff::new(first, most);
        while let Some(next) = self.look(key, seen, until).await {
            if Instant::now() >= until {
                return;
            }
            let next = next.min(Instant::now() + backoff.pause());
            tokio::select! {
                () = told(&mut news, key) => {}
                () = sleep_until(next) => {}
            }
        }
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        OPERATION.raise.during(self.wire.raise(fence, options.deadline)).await
    }

    async fn beat_with(&self, key: &CoordKey, version: Version, options: BeatOptions) -> Result<Beaten> {
        let beat = async {
            options.check()?;
            self.wire.beat(key, version, &options).await
        };
        OPERATION.beat.during_on(key, beat).await
    }

    async fn beats_with(&self, group: &CoordKey, options: BeatsOptions) -> Result<Beats> {
        OPERATION.beats.during(self.wire.beats(group.as_str(), options.deadline)).await
    }

    async fn health(&self) -> Health {
        self.lasting.health(self.wire.redis()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.iter().chain(self.lasting.is().then_some(DURABLE)).collect()
    }
}
