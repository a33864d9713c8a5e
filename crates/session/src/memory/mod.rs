//! Sessions in this process's memory.

mod config;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Clock, Error, ErrorKind, Health, Result, Retry, Timestamp};

pub use self::config::MemoryConfig;
use crate::api::{Deleted, Loaded, REMEMBERED, Saved, SessionStore, Touched, UNEVICTED};
use crate::record::{Authority, Delta, NewSession, Record, Rotation, Snapshot};
use crate::token::SessionKey;

/// Keeps sessions in memory: for one process, and for tests.
///
/// Expired sessions are freed as others are created, saved and touched, never more than a few at a time. When as many live
/// sessions are stored as the capacity allows, another one is refused with
/// [`ErrorKind::Unavailable`]: a flood of anonymous sessions must not log out those who are logged in.
#[derive(Debug)]
pub struct MemorySessionStore {
    config: MemoryConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionKey, Entry>,
    /// By expiry, the next to expire first.
    queue: BTreeSet<(Timestamp, SessionKey)>,
}

#[derive(Debug)]
struct Entry {
    /// `None` while the session's deletion is remembered.
    record: Option<Arc<Record>>,
    expires: Timestamp,
}

impl MemorySessionStore {
    /// A store for up to 100,000 sessions, on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// A store with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// How many sessions take up memory: those that live, and expired and deleted ones that are not freed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Whether no session takes up memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing that runs under the lock leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    fn write(&self, base: &Snapshot, authority: Authority, next: impl FnOnce(&Record, Timestamp) -> Record) -> Saved {
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        let Some(current) = state.live(base.record().key(), now) else { return Saved::Gone };
        if !current.admits(base, authority) {
            return current.contest(authority);
        }
        let next = next(current.record(), now).stamped_over(current.record(), now);
        Saved::Ok(state.put(next, now))
    }
}

impl Default for MemorySessionStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// How many expired sessions one write frees. More than one, so that freeing catches up with creating.
    const FREED_AT_ONCE: usize = 8;

    fn free_expired(&mut self, now: Timestamp) {
        for _ in 0..Self::FREED_AT_ONCE {
            match self.queue.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = *key;
                    self.remove(&key);
                }
                _ => return,
            }
        }
    }

    fn find(&self, key: &SessionKey, now: Timestamp) -> Loaded {
        match self.sessions.get(key).filter(|entry| entry.expires > now) {
            Some(Entry { record: Some(record), expires }) => {
                Loaded::Ok(Snapshot::new(Arc::clone(record), now, *expires))
            }
            Some(Entry { record: None, .. }) => Loaded::Deleted,
            None => Loaded::Absent,
        }
    }

    fn live(&self, key: &SessionKey, now: Timestamp) -> Option<Snapshot> {
        self.find(key, now).found()
    }

    fn put(&mut self, record: Record, now: Timestamp) -> Snapshot {
        let (key, expires) = (*record.key(), record.expiry_if_used(now));
        let record = Arc::new(record);
        self.replace(key, Some(Arc::clone(&record)), expires);
        Snapshot::new(record, now, expires)
    }

    fn replace(&mut self, key: SessionKey, record: Option<Arc<Record>>, expires: Timestamp) {
        self.remove(&key);
        self.queue.insert((expires, key));
        self.sessions.insert(key, Entry { record, expires });
    }

    fn remove(&mut self, key: &SessionKey) {
        if let Some(entry) = self.sessions.remove(key) {
            self.queue.remove(&(entry.expires, *key));
        }
    }

    fn full(&self, now: Timestamp) -> Error {
        let soonest = self.queue.first().map_or(Duration::ZERO, |(expires, _)| expires.since(now));
        Error::new(ErrorKind::Unavailable, "the memory session store is full of live sessions (setting capacity)")
            .with_backend("memory")
            .with_operation("session.create")
            .with_retry(Retry::After(soonest.max(Duration::from_millis(1))))
    }
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create(&self, key: &SessionKey, new: &NewSession) -> Result<Snapshot> {
        new.check()?;
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        if !matches!(state.find(key, now), Loaded::Absent) {
            return Err(taken("memory"));
        }
        if state.sessions.len() >= self.config.capacity {
            return Err(state.full(now));
        }
        Ok(state.put(Record::new(key, new).stamped_new(now, new.absolute_timeout), now))
    }

    async fn load(&self, key: &SessionKey) -> Result<Loaded> {
        Ok(self.lock().find(key, self.now()))
    }

    async fn save(&self, base: &Snapshot, authority: Authority, delta: &Delta) -> Result<Saved> {
        let Some(next) = base.record().with_delta(delta) else { return Ok(Saved::Ok(base.clone())) };
        Ok(self.write(base, authority, |_, _| next))
    }

    async fn rotate(&self, base: &Snapshot, authority: Authority, rotation: &Rotation, delta: &Delta) -> Result<Saved> {
        Ok(self.write(base, authority, |current, now| current.with_rotation(rotation, delta, now)))
    }

    async fn touch(&self, key: &SessionKey) -> Result<Touched> {
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        let State { sessions, queue } = &mut *state;
        let Some(entry) = sessions.get_mut(key).filter(|entry| entry.expires > now) else { return Ok(Touched::Gone) };
        let Some(record) = &entry.record else { return Ok(Touched::Gone) };
        queue.remove(&(entry.expires, *key));
        entry.expires = record.expiry_if_used(now);
        queue.insert((entry.expires, *key));
        Ok(Touched::Ok)
    }

    async fn delete(&self, key: &SessionKey, authority: Authority) -> Result<Deleted> {
        let mut state = self.lock();
        let now = self.now();
        let Some(current) = state.live(key, now) else { return Ok(Deleted::Gone) };
        if !current.record().accepts(authority, now) {
            return Ok(Deleted::Refused);
        }
        state.replace(*key, None, now + REMEMBERED);
        Ok(Deleted::Ok)
    }

    async fn health(&self) -> Health {
        Health::of("memory", Duration::ZERO, Ok(()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([UNEVICTED])
    }
}

pub(crate) fn taken(backend: &'static str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is a session under this key")
        .with_backend(backend)
        .with_operation("session.create")
}

#[cfg(test)]
mod tests {
    use statehouse_core::ManualClock;

    use super::*;
    use crate::token::Token;

    fn store(capacity: usize) -> (MemorySessionStore, ManualClock) {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_capacity(capacity).unwrap().with_clock(clock.clone());
        (MemorySessionStore::with_config(config), clock)
    }

    async fn create(store: &MemorySessionStore) -> Result<SessionKey> {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), Duration::from_secs(60), Duration::from_secs(600));
        store.create(&token.key(), &new).await.map(|_| token.key())
    }

    #[tokio::test]
    async fn a_full_store_refuses_new_sessions_until_one_expires() {
        let (store, clock) = store(2);
        let first = create(&store).await.unwrap();
        clock.advance(Duration::from_secs(10));
        create(&store).await.unwrap();
        let error = create(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(50)));
        assert!(store.load(&first).await.unwrap().found().is_some(), "nobody was logged out for it");
        clock.advance(Duration::from_secs(50));
        create(&store).await.unwrap();
    }

    #[tokio::test]
    async fn a_deletion_is_forgotten_and_freed_in_time() {
        let (store, clock) = store(10);
        let key = create(&store).await.unwrap();
        store.delete(&key, Authority::Application).await.unwrap();
        clock.advance(REMEMBERED - Duration::from_micros(1));
        assert!(matches!(store.load(&key).await.unwrap(), Loaded::Deleted));
        clock.advance(Duration::from_micros(1));
        assert!(matches!(store.load(&key).await.unwrap(), Loaded::Absent));
        create(&store).await.unwrap();
        assert_eq!(store.len(), 1);
    }

    #[tokio::test]
    async fn expired_sessions_are_freed_a_few_at_a_time() {
        let (store, clock) = store(1_000);
        for _ in 0..100 {
            create(&store).await.unwrap();
        }
        clock.advance(Duration::from_secs(60));
        create(&store).await.unwrap();
        assert_eq!(store.len(), 101 - State::FREED_AT_ONCE);
        for _ in 0..20 {
            create(&store).await.unwrap();
        }
        assert_eq!(store.len(), 21);
        assert_eq!(store.lock().queue.len(), 21);
    }
}
