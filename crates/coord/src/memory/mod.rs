//! Records in this process's memory.

mod beating;
mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::fence::Marks;
use statehouse_core::{
    Capabilities, Error, ErrorKind, Fence, Health, RaiseOptions, Result, Steady, Timestamp, Version,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::beating::Group;
pub use self::config::MemoryConfig;
use crate::api::CoordStore;
use crate::beats::{BeatKind, BeatOptions, Beaten, Beats, BeatsOptions};
use crate::capability::{BEATS, FENCED, FENCED_AT_ONCE, NOTIFY, SERVER_TIME};
use crate::hashed::is_of_strangers;
use crate::key::CoordKey;
use crate::operation::Operations;
use crate::options::{GetOptions, NowOptions, PageToken, PutOptions, RemoveOptions, ScanOptions, WaitOptions};
use crate::outcome::{Page, PutOutcome, RemoveOutcome};
use crate::record::{Record, WriteId};

const OPERATION: Operations = Operations::of("memory");

/// Keeps records in memory: for one process, and for tests.
///
/// It has one counter for the versions of all keys, so that a version never falls, however long ago its record went.
/// What has expired or was removed is freed when others need the room, as much as they need. A store that is full of live ones refuses more as
/// [`ErrorKind::Unavailable`], and a record that no empty one has room for as [`ErrorKind::TooLarge`].
///
/// What is kept of [requests that are answered once](crate::Coordination::idempotency) and of [tokens](crate::SingleUse) has half of it at most: their
/// number is up to whoever sends them, and locks, runs and schedules go on.
#[derive(Debug)]
pub struct MemoryCoordStore {
    capacity: u64,
    clock: Steady,
    state: Mutex<State>,
    marks: Marks,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<CoordKey, Entry>,
    groups: BTreeMap<String, Group>,
    /// By expiry, those that expire, the next first: answers to requests and used tokens, and all others.
    by_expiry: [BTreeSet<(Timestamp, CoordKey)>; 2],
    last: Version,
    bytes: u64,
    /// How many of them are of answers to requests and of used tokens.
    of_strangers: u64,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    id: WriteId,
    value: Bytes,
    expires: Option<Timestamp>,
}

/// What a record takes up besides its key and value.
const OVERHEAD: u64 = 224;

/// Which part of the memory answers to requests and used tokens may take.
const OF_STRANGERS: u64 = 2;

/// In which set by expiry it is.
fn place(key: &CoordKey) -> usize {
    usize::from(!is_of_strangers(key))
}

fn weight(key: &CoordKey, value: &Bytes) -> u64 {
    OVERHEAD + (key.len() + value.len()) as u64
}

impl Entry {
    fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }

    fn record(&self, now: Timestamp) -> Record {
        let expires_in = self.expires.map(|expires| expires.since(now));
        Record::new(self.version, self.id, self.value.clone()).with_expires_in(expires_in)
    }
}

impl State {
    fn live(&self, key: &CoordKey, now: Timestamp) -> Option<Record> {
        self.records.get(key).filter(|entry| entry.is_live(now)).map(|entry| entry.record(now))
    }

    /// Leaves of a record that it was there, until the room is needed.
    fn bury(&mut self, key: &CoordKey, now: Timestamp) {
        if let Some(entry) = self.take(key) {
            self.keep(key, Entry { value: Bytes::new(), expires: Some(now), ..entry });
        }
    }

    fn take(&mut self, key: &CoordKey) -> Option<Entry> {
        let entry = self.records.remove(key)?;
        let weight = weight(key, &entry.value);
        self.bytes -= weight;
        if is_of_strangers(key) {
            self.of_strangers -= weight;
        }
        if let Some(expires) = entry.expires {
            self.by_expiry[place(key)].remove(&(expires, key.clone()));
        }
        Some(entry)
    }

    /// Keeps what is in nobody's place.
    fn keep(&mut self, key: &CoordKey, entry: Entry) {
        let weight = weight(key, &entry.value);
        self.bytes += weight;
        if is_of_strangers(key) {
            self.of_strangers += weight;
        }
        if let Some(expires) = entry.expires {
            self.by_expiry[place(key)].insert((expires, key.clone()));
        }
        self.records.insert(key.clone(), entry);
    }

    /// An answer that has expired, but for this, or if there is none, and others make room, too, the first of those.
    fn expired(&self, kept: &CoordKey, others: bool, now: Timestamp) -> Option<CoordKey> {
        self.by_expiry[..=usize::from(others)].iter().find_map(|by_expiry| {
            let over = by_expiry.iter().take_while(|(expires, _)| *expires <= now);
            over.map(|(_, key)| key).find(|key| *key != kept).cloned()
        })
    }

    /// Whether the record fits, in place of the one that is there. It looks at no others than it frees: everybody waits meanwhile.
    fn has_room(&mut self, key: &CoordKey, value: &Bytes, capacity: u64, now: Timestamp) -> bool {
        let replaced = self.records.get(key).map_or(0, |entry| weight(key, &entry.value));
        let more = weight(key, value);
        loop {
            let fits = self.bytes - replaced + more <= capacity;
            if fits && (!is_of_strangers(key) || self.of_strangers + more - replaced <= capacity / OF_STRANGERS) {
                return true;
            }
            let Some(other) = self.expired(key, !fits, now) else { return false };
            self.take(&other);
        }
    }

    fn put(&mut self, key: &CoordKey, value: Bytes, id: WriteId, expires: Option<Timestamp>, now: Timestamp) {
        self.take(key);
        self.last = self.last.next(now.as_micros());
        self.keep(key, Entry { version: self.last, id, value, expires });
    }

    fn beat(&mut self, key: &CoordKey, version: Version, options: &BeatOptions, now: Timestamp) -> Beaten {
        let has_record = self.live(key, now).is_some_and(|record| record.version == version);
        if !has_record && !self.groups.contains_key(key.group()) {
            return Beaten::new((false, false), Version::default(), None);
        }
        let group = self.groups.entry(key.group().to_owned()).or_default();
        let before = group.ends.len();
        group.ends.retain(|_, end| *end > now);
        let is_new = group.changes == Version::default();
        let (was_there, is_there) =
            if has_record { group.said(key, options.kind, now + options.lives) } else { (false, false) };
        let comes = is_there && options.kind == BeatKind::Anew;
        if comes || was_there != is_there || is_new || group.ends.len() < before {
            self.last = self.last.next(now.as_micros());
            group.changes = self.last;
        }
        let others = group.ends.iter().filter(|(other, _)| *other != key);
        let ends_in = others.map(|(_, end)| end.since(now)).min();
        Beaten::new((was_there, is_there), group.changes, ends_in)
    }
}

impl MemoryCoordStore {
    /// An empty store of up to 64 MiB, on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// An empty store with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        let MemoryConfig { capacity, clock } = config;
        Self {
            capacity,
            clock: Steady::new(clock),
            state: Mutex::default(),
            marks: Marks::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Nothing that runs under the lock leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &CoordKey, value: Bytes, options: &PutOptions) -> Result<PutOutcome> {
        options.check()?;
        Record::check(&value)?;
        let id = options.id()?;
        let mut state = self.lock();
        let now = self.clock.now();
        let current = state.live(key, now);
        if let Some(own) = current.as_ref().filter(|current| current.id == id) {
            return Ok(PutOutcome::Stored(own.version));
        }
        let _held = self.marks.hold(options.fence.as_ref())?;
        let trace = state.records.contains_key(key);
        let stands = current.as_ref().filter(|current| !options.passes_over(&current.value));
        if !options.is_made(stands.map(|current| &current.version), trace) {
            return PutOutcome::refused(current, options.repeats);
        }
        if !state.has_room(key, &value, self.capacity, now) {
            return Err(self.no_room(key, &value));
        }
        state.put(key, value, id, options.time_to_live.map(|time| now + time), now);
        let version = state.last;
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        Ok(PutOutcome::Stored(version))
    }

    fn no_room(&self, key: &CoordKey, value: &Bytes) -> Error {
        let (of_strangers, weight) = (is_of_strangers(key), weight(key, value));
        if weight > self.capacity || (of_strangers && weight > self.capacity / OF_STRANGERS) {
            let message = "the record alone is larger than the coordination store (setting capacity)";
            return Error::new(ErrorKind::TooLarge, message);
        }
        if of_strangers {
            return Error::full(
                "answers to requests and used tokens have their half of the memory of the coordination store (setting capacity)",
            );
        }
        Error::full("the memory of the coordination store is full of live records (setting capacity)")
    }

    fn erase(&self, key: &CoordKey, version: Version) -> RemoveOutcome {
        let (mut state, now) = (self.lock(), self.clock.now());
        match state.live(key, now) {
            None => return RemoveOutcome::Absent,
            Some(current) if current.version != version => return RemoveOutcome::Conflict(current),
            Some(_) => state.bury(key, now),
        }
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        RemoveOutcome::Removed
    }

    fn page(&self, options: &ScanOptions) -> Result<Page> {
        options.check()?;
        let (state, now) = (self.lock(), self.clock.now());
        let start = match &options.start {
            Some(token) => Bound::Excluded(token.as_str()),
            None => Bound::Included(options.prefix.as_str()),
        };
        let range = state.records.range::<str, _>((start, Bound::Unbounded));
        let mut records = range.take_while(|(key, _)| key.starts_with(&options.prefix));
        let limit = usize::from(options.limit);
        let live = records.by_ref().filter(|(_, entry)| entry.is_live(now));
        let page: Vec<_> = live.take(limit).map(|(key, entry)| (key.clone(), entry.record(now))).collect();
        let last = page.last().map(|(key, _)| PageToken::new(key.as_str()));
        let next = last.filter(|_| page.len() == limit && records.next().is_some());
        Ok(Page::new(page, next))
    }
}

impl Default for MemoryCoordStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl CoordStore for MemoryCoordStore {
    async fn get_with(&self, key: &CoordKey, _: GetOptions) -> Result<Option<Record>> {
        Ok(self.lock().live(key, self.clock.now()))
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        OPERATION.put.run(|| self.write(key, value, &options))
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, _: RemoveOptions) -> Result<RemoveOutcome> {
        Ok(self.erase(key, version))
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        OPERATION.scan.run(|| self.page(&options))
    }

    async fn now_with(&self, _: NowOptions) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        let until = Instant::now() + options.limit.min(PutOptions::MAX_TIME_TO_LIVE);
        let mut changes = self.changes.subscribe();
        loop {
            let current = self.lock().live(key, self.clock.now());
            if current.as_ref().map(|current| current.version) != seen || Instant::now() >= until {
                return;
            }
            let expires_in = current.and_then(|current| current.expires_in).unwrap_or(Duration::MAX);
            let next = Instant::now().checked_add(expires_in).map_or(until, |expiry| expiry.min(until));
            let _ = timeout_at(next, changes.changed()).await;
        }
    }

    async fn raise_with(&self, fence: &Fence, _: RaiseOptions) -> Result<()> {
        OPERATION.raise.run(|| self.marks.raise(fence))
    }

    async fn beat_with(&self, key: &CoordKey, version: Version, options: BeatOptions) -> Result<Beaten> {
        OPERATION.beat.run(|| {
            options.check()?;
            Ok(self.lock().beat(key, version, &options, self.clock.now()))
        })
    }

    async fn beats_with(&self, group: &CoordKey, _: BeatsOptions) -> Result<Beats> {
        let (state, now) = (self.lock(), self.clock.now());
        Ok(state.groups.get(group.as_str()).map(|group| group.beats(now)).unwrap_or_default())
    }

    async fn health(&self) -> Health {
        Health::of("memory", Duration::ZERO, Ok(()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([BEATS, FENCED, FENCED_AT_ONCE, NOTIFY, SERVER_TIME])
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::{ManualClock, Retry};

    use super::*;
    use crate::api::CoordStoreExt as _;

    #[tokio::test]
    async fn a_full_store_frees_what_has_expired_and_refuses_more() {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone()).with_capacity(64 << 10).unwrap();
        let store = MemoryCoordStore::with_config(config);
        let key = |number: u32| CoordKey::new(format!("k/{number}")).unwrap();
        let options = PutOptions::default().with_time_to_live(Duration::from_secs(1));
        let value = Bytes::from(vec![7; 10 << 10]);
        for number in 0..6 {
            let _ = store.put_with(&key(number), value.clone(), options.clone()).await.unwrap();
        }
        let error = store.put(&key(6), value.clone()).await.unwrap_err();
        let told = (error.kind(), error.retry(), error.operation());
        assert_eq!(told, (ErrorKind::Unavailable, Retry::FULL, Some("coord.put")));
        let error = store.put(&key(0), vec![7; 64 << 10]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TooLarge, Retry::Never), "it never fits");
        let _ = store.put(&key(5), value.clone()).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let _ = store.put(&key(6), value.clone()).await.unwrap();
        assert_eq!(store.lock().records.len(), 6, "one of those that have expired made room");
        assert_eq!(store.lock().bytes, 6 * (OVERHEAD + 3 + (10 << 10)));
    }

    /// Whoever puts next is not kept waiting for all that others have left.
    #[tokio::test]
    async fn a_put_into_a_full_store_frees_what_it_needs_and_no_more() {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone()).with_capacity(256 << 10).unwrap();
        let store = MemoryCoordStore::with_config(config);
        let key = |number: u32| CoordKey::new(format!("k/{number}")).unwrap();
        let options = PutOptions::default().with_time_to_live(Duration::from_secs(1));
        let mut many = 0;
        while store.put_with(&key(many), Bytes::new(), options.clone()).await.is_ok() {
            many += 1;
        }
        assert!(many > 1_000);
        clock.advance(Duration::from_secs(1));
        for more in 0..8 {
            let before = store.lock().records.len();
            let _ = store.put(&key(many + more), Bytes::new()).await.unwrap();
            assert!(store.lock().records.len() + 2 > before, "a few at most");
        }
        // What is removed leaves as little behind, and all of it counts once.
        let version = store.get(&key(many)).await.unwrap().unwrap().version;
        let _ = store.remove(&key(many), version).await.unwrap();
        let state = store.lock();
        let bytes: u64 = state.records.iter().map(|(key, entry)| weight(key, &entry.value)).sum();
        let expiring = state.records.values().filter(|entry| entry.expires.is_some()).count();
        let by_expiry = state.by_expiry.iter().map(BTreeSet::len).sum::<usize>();
        assert_eq!((state.bytes, by_expiry, state.of_strangers), (bytes, expiring, 0));
    }
}
