//! Sessions in this process's memory.

mod config;
mod ended;
mod logins;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::fence::Marks;
use statehouse_core::{Capabilities, Error, Fence, Health, Operation, RaiseOptions, Result, Steady, Timestamp};

pub use self::config::MemoryConfig;
use self::ended::Ended;
use crate::api::SessionStore;
use crate::bounds::Bounds;
use crate::capability::{FENCED, FENCED_AT_ONCE, PRINCIPALS, UNEVICTED};
use crate::operation::Operations;
use crate::options::{
    CreateOptions, DeleteOptions, EpochOptions, ListOptions, LoadOptions, RevokeOptions, SaveOptions, TouchOptions,
};
use crate::outcome::{Deleted, Loaded, REMEMBERED, Saved, Touched, taken};
use crate::principals::{Login, Principals};
use crate::record::{Authority, Delta, NewSession, Principal, Record, Revoke, Rotation, Snapshot};
use crate::token::{SessionKey, VerifierHash};

const OPERATION: Operations = Operations::of("memory");

/// Keeps sessions in memory: for one process, and for tests.
///
/// Expired sessions are freed as others are created, saved and touched, never more than a few at a time. When the store
/// is full, by number or by bytes, the anonymous sessions that would expire next make room, and what is remembered of
/// deletions and revocations; while there are none, what needs room is refused with [`Unavailable`](statehouse_core::ErrorKind::Unavailable). So a flood of anonymous sessions logs nobody out, and keeps
/// nobody from logging in.
#[derive(Debug)]
pub struct MemorySessionStore {
    bounds: Bounds,
    clock: Steady,
    state: Mutex<State>,
    marks: Marks,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionKey, Entry>,
    /// By expiry, the next to expire first.
    queue: BTreeSet<(Timestamp, SessionKey)>,
    /// Those of them that make room for others: nobody is logged in to them.
    expendable: BTreeSet<(Timestamp, SessionKey)>,
    /// What all of them weigh.
    bytes: u64,
    principals: Principals,
    ended: Ended,
}

#[derive(Debug)]
struct Entry {
    /// `None` while the session's deletion is remembered.
    record: Option<Arc<Record>>,
    /// When it was last used, or deleted.
    used: Timestamp,
    expires: Timestamp,
    weight: u64,
}

impl Entry {
    /// Whether it has ended with everybody's.
    fn is_of(&self, ended: &Ended) -> bool {
        self.record.as_ref().is_some_and(|record| ended.has(record))
    }

    /// Of a session that is used now, or deleted.
    fn new(record: Option<Arc<Record>>, now: Timestamp) -> Self {
        let weight = record.as_ref().map_or(DELETED_WEIGHT, |record| record.weight());
        let expires = record.as_ref().map_or(now + REMEMBERED, |record| record.expiry_if_used(now));
        Self { record, used: now, expires, weight }
    }

    fn is_expendable(&self) -> bool {
        self.record.as_ref().is_none_or(|record| record.principal().is_none())
    }
}

/// What remembering a deletion takes up, in bytes.
const DELETED_WEIGHT: u64 = 256;

impl MemorySessionStore {
    /// A store for up to 100,000 sessions, on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// A store with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        let MemoryConfig { bounds, clock } = config;
        Self { bounds, clock: Steady::new(clock), state: Mutex::default(), marks: Marks::default() }
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
        self.clock.now()
    }

    fn write(
        &self,
        operation: Operation,
        base: &Snapshot,
        authority: Authority,
        verifier: Option<&VerifierHash>,
        options: SaveOptions,
        next: impl FnOnce(&mut State, &Record, Timestamp) -> Result<(Record, Vec<SessionKey>)>,
    ) -> Result<Saved> {
        let (options, id) = options.identified()?;
        let _held = self.marks.hold(options.fence.as_ref()).map_err(|error| operation.name_in(error))?;
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        let Some(current) = state.live(base.record().key(), now) else { return Ok(Saved::Gone) };
        if !current.admits(base, authority) {
            return current.contest(base, authority, verifier, &options);
        }
        let next = next(&mut state, current.record(), now).map_err(|error| operation.name_in(error));
        let (next, ending) = next?;
        let next = next.stamped_over(current.record(), id, now);
        if next.weight() > current.record().weight() {
            state.make_room(&next, &ending, self.bounds).map_err(|error| operation.name_in(error))?;
        }
        state.evict(&ending, &next, now, self.bounds);
        Ok(Saved::Applied(state.put(next, now)))
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
        self.free_ended(now);
        for _ in 0..Self::FREED_AT_ONCE {
            match self.queue.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = *key;
                    self.free(key, now);
                }
                _ => return,
            }
        }
    }

    fn find(&self, key: &SessionKey, now: Timestamp) -> Loaded {
        let entry = self.sessions.get(key);
        if let Some(entry) = entry.filter(|entry| entry.is_of(&self.ended)) {
            return self.ended.found(entry.expires, now);
        }
        match entry.filter(|entry| entry.expires > now) {
            Some(Entry { record: Some(record), used, .. }) => {
                Loaded::Found(Snapshot::new(Arc::clone(record), now, *used + record.idle_timeout()))
            }
            Some(Entry { record: None, used, .. }) => Loaded::Deleted { ago: now.since(*used) },
            None => Loaded::Absent,
        }
    }

    fn live(&self, key: &SessionKey, now: Timestamp) -> Option<Snapshot> {
        self.find(key, now).found()
    }

    fn put(&mut self, record: Record, now: Timestamp) -> Snapshot {
        let record = Arc::new(record);
        self.replace(*record.key(), Some(Arc::clone(&record)), now);
        let idle_expiry = now + record.idle_timeout();
        Snapshot::new(record, now, idle_expiry)
    }

    /// Puts a session there that is used now, or that one was deleted.
    fn replace(&mut self, key: SessionKey, record: Option<Arc<Record>>, now: Timestamp) {
        self.remove(&key);
        let entry = Entry::new(record, now);
        self.queue.insert((entry.expires, key));
        if entry.is_expendable() {
            self.expendable.insert((entry.expires, key));
        }
        self.bytes += entry.weight;
        if let Some(record) = &entry.record {
            self.principals.put(record);
        }
        self.sessions.insert(key, entry);
    }

    fn remove(&mut self, key: &SessionKey) {
        if let Some(entry) = self.sessions.remove(key) {
            self.queue.remove(&(entry.expires, *key));
            self.expendable.remove(&(entry.expires, *key));
            self.bytes -= entry.weight;
            self.principals.forget(key);
        }
    }

    /// Makes room for the record beside what those sessions leave that are to end for it, at the cost of anonymous sessions and of
    /// what is remembered of deletions and revocations; an error if that is not enough.
    fn make_room(&mut self, record: &Record, ending: &[SessionKey], bounds: Bounds) -> Result<()> {
        bounds.check(record.weight())?;
        while !self.has_room(record, ending, bounds) {
            if !self.remove_ended() && !self.remove_expendable(record.key()) && !self.principals.forget_oldest() {
                return Err(Error::full(FULL));
            }
        }
        Ok(())
    }

    /// Whether the record fits once these have ended, which are others.
    fn has_room(&self, record: &Record, ending: &[SessionKey], bounds: Bounds) -> bool {
        let weight = |key: &SessionKey| self.sessions.get(key).map(|entry| entry.weight);
        let replaced = weight(record.key());
        let freed: u64 = ending.iter().filter_map(weight).chain(replaced).sum();
        let sessions = self.sessions.len() + usize::from(replaced.is_none()) - ending.len();
        bounds.hold(sessions, self.bytes + self.principals.weight() + record.weight() - freed)
    }

    /// Removes what makes room next, other than this. False if there is nothing.
    fn remove_expendable(&mut self, kept: &SessionKey) -> bool {
        let next = self.expendable.iter().map(|(_, key)| *key).find(|key| key != kept);
        next.inspect(|key| self.remove(key)).is_some()
    }
}

const FULL: &str = "the memory session store is full of live sessions (settings max_sessions and capacity)";

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        new.check()?;
        let id = options.id()?;
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        match state.find(key, now) {
            Loaded::Absent => {}
            Loaded::Found(own) if own.record().is_as_created_by(id) => return Ok(own),
            Loaded::Found(_) | Loaded::Deleted { .. } => return Err(OPERATION.create.name_in(taken())),
        }
        let record = Record::new(key, new).created_by(id).stamped_new(now, new.absolute_timeout);
        let created = state.log_in(record, Login::of(new), now).and_then(|(record, ending)| {
            state.make_room(&record, &ending, self.bounds)?;
            state.evict(&ending, &record, now, self.bounds);
            Ok(state.put(record, now))
        });
        created.map_err(|error| OPERATION.create.name_in(error))
    }

    async fn load_with(&self, key: &SessionKey, _: LoadOptions) -> Result<Loaded> {
        Ok(self.lock().find(key, self.now()))
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        if !base.unsealed()?.is_changed_by(authority, delta) {
            return Ok(Saved::Applied(base.clone()));
        }
        let saved = |_: &mut State, current: &Record, now| {
            let next = current.with_save(authority, delta, now).unwrap_or_else(|| current.clone());
            Ok((next, Vec::new()))
        };
        self.write(OPERATION.save, base, authority, None, options, saved)
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        base.unsealed()?;
        rotation.check()?;
        let rotated = |state: &mut State, current: &Record, now| {
            let next = current.with_rotation(authority, rotation, delta, now);
            state.log_in(next, Login::by(rotation), now)
        };
        self.write(OPERATION.rotate, base, authority, Some(&rotation.next), options, rotated)
    }

    async fn touch_with(&self, key: &SessionKey, _: TouchOptions) -> Result<Touched> {
        let mut state = self.lock();
        let now = self.now();
        state.free_expired(now);
        let State { sessions, queue, expendable, ended, .. } = &mut *state;
        let Some(entry) = sessions.get_mut(key).filter(|entry| entry.expires > now) else { return Ok(Touched::Gone) };
        let is_ended = entry.is_of(ended);
        let Some(record) = entry.record.as_ref().filter(|_| !is_ended) else { return Ok(Touched::Gone) };
        let (before, after) = (entry.expires, record.expiry_if_used(now));
        (entry.used, entry.expires) = (now, after);
        for queue in [queue, expendable] {
            if queue.remove(&(before, *key)) {
                queue.insert((after, *key));
            }
        }
        Ok(Touched::Slid)
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        let held = self.marks.hold(options.fence.as_ref());
        let _held = held.map_err(|error| OPERATION.delete.name_in(error))?;
        let mut state = self.lock();
        let now = self.now();
        let Some(current) = state.live(key, now) else { return Ok(Deleted::Gone) };
        if !current.record().accepts(authority, now) {
            return Ok(Deleted::Refused);
        }
        state.replace(*key, None, now);
        Ok(Deleted::Removed)
    }

    async fn epoch_with(&self, _: &Principal, _: EpochOptions) -> Result<u64> {
        let mut state = self.lock();
        let now = self.now();
        Ok(state.principals.begin(now))
    }

    async fn list_with(&self, principal: &Principal, _: ListOptions) -> Result<Vec<Snapshot>> {
        let state = self.lock();
        Ok(state.of(Some(principal), self.now()))
    }

    async fn revoke_with(&self, which: Revoke<'_>, _: RevokeOptions) -> Result<()> {
        let mut state = self.lock();
        let now = self.now();
        state.revoke(which, now);
        state.bound_revocations(self.bounds);
        Ok(())
    }

    async fn raise_with(&self, fence: &Fence, _: RaiseOptions) -> Result<()> {
        OPERATION.raise.run(|| self.marks.raise(fence))
    }

    async fn health(&self) -> Health {
        Health::of("memory", Duration::ZERO, Ok(()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([FENCED, FENCED_AT_ONCE, PRINCIPALS, UNEVICTED])
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::{ErrorKind, ManualClock, Retry};

    use super::*;
    use crate::api::SessionStoreExt as _;
    use crate::record::{Attribute, AttributeName, Attributes, Principal};
    use crate::token::Token;

    fn store(sessions: usize) -> (MemorySessionStore, ManualClock) {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_max_sessions(sessions).unwrap().with_clock(clock.clone());
        (MemorySessionStore::with_config(config), clock)
    }

    async fn create_with(
        store: &MemorySessionStore,
        change: impl FnOnce(NewSession) -> NewSession,
    ) -> Result<SessionKey> {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), Duration::from_secs(60), Duration::from_secs(600));
        store.create(&token.key(), &change(new)).await.map(|_| token.key())
    }

    async fn create(store: &MemorySessionStore) -> Result<SessionKey> {
        create_with(store, |new| new).await
    }

    async fn log_in(store: &MemorySessionStore) -> Result<SessionKey> {
        create_with(store, |new| new.with_principal(Principal::new("u42").unwrap())).await
    }

    async fn is_there(store: &MemorySessionStore, key: &SessionKey) -> bool {
        store.load(key).await.unwrap().found().is_some()
    }

    #[tokio::test]
    async fn anonymous_sessions_make_room_the_next_to_expire_first() {
        let (store, clock) = store(3);
        let user = log_in(&store).await.unwrap();
        let mut anonymous = Vec::new();
        for _ in 0..2 {
            clock.advance(Duration::from_secs(1));
            anonymous.push(create(&store).await.unwrap());
        }
        clock.advance(Duration::from_secs(1));
        let _ = store.touch(&anonymous[0]).await.unwrap();
        let third = create(&store).await.unwrap();
        assert!(is_there(&store, &user).await && is_there(&store, &anonymous[0]).await);
        assert!(!is_there(&store, &anonymous[1]).await, "it was the next to expire");
        for _ in 0..2 {
            log_in(&store).await.unwrap();
        }
        assert!(!is_there(&store, &anonymous[0]).await && !is_there(&store, &third).await);
        assert_eq!(create(&store).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(store.lock().expendable.is_empty());
    }

    #[tokio::test]
    async fn bytes_are_bounded_in_creates_and_in_saves() {
        let config = MemoryConfig::default().with_capacity(1 << 20).unwrap();
        let store = MemorySessionStore::with_config(config);
        let large = |len: usize| {
            let name = AttributeName::new("large").unwrap();
            Attributes::from([(name, Attribute::encode(&"x".repeat(len)).unwrap())])
        };
        let mut users = Vec::new();
        for _ in 0..2 {
            let new =
                |new: NewSession| new.with_principal(Principal::new("u42").unwrap()).with_attributes(large(400 << 10));
            users.push(create_with(&store, new).await.unwrap());
        }
        for _ in 0..100 {
            create_with(&store, |new| new.with_attributes(large(50 << 10))).await.unwrap();
            assert!(store.lock().bytes <= 1 << 20);
        }
        let current = store.load(&users[0]).await.unwrap().found().unwrap();
        let error = store.save(&current, Authority::Application, &Delta::replace(large(700 << 10))).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, Some("session.save")));
        let saved = store.save(&current, Authority::Application, &Delta::replace(large(500 << 10))).await.unwrap();
        assert!(matches!(saved, Saved::Applied(_)));
        for key in &users {
            let _ = store.delete(key, Authority::Application).await.unwrap();
        }
        assert!(store.lock().bytes < 1 << 20);
    }

    #[tokio::test]
    async fn a_full_store_refuses_new_sessions_until_one_expires() {
        let (store, clock) = store(2);
        let first = log_in(&store).await.unwrap();
        clock.advance(Duration::from_secs(10));
        log_in(&store).await.unwrap();
        let error = create(&store).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL));
        assert!(store.load(&first).await.unwrap().found().is_some(), "nobody was logged out for it");
        clock.advance(Duration::from_secs(50));
        create(&store).await.unwrap();
    }

    #[tokio::test]
    async fn a_deletion_is_forgotten_and_freed_in_time() {
        let (store, clock) = store(10);
        let key = create(&store).await.unwrap();
        let _ = store.delete(&key, Authority::Application).await.unwrap();
        clock.advance(REMEMBERED - Duration::from_micros(1));
        assert!(matches!(store.load(&key).await.unwrap(), Loaded::Deleted { .. }));
        clock.advance(Duration::from_micros(1));
        assert!(matches!(store.load(&key).await.unwrap(), Loaded::Absent));
        create(&store).await.unwrap();
        assert_eq!(store.len(), 1);
    }

    #[tokio::test]
    async fn a_revocation_of_everybody_looks_at_no_session_and_they_are_freed_a_few_at_a_time() {
        let (store, clock) = store(100);
        let mut ended = Vec::new();
        for _ in 0..100 {
            ended.push(log_in(&store).await.unwrap());
        }
        store.revoke(Revoke::Everything).await.unwrap();
        let there = |store: &MemorySessionStore| {
            let state = store.lock();
            state.sessions.values().filter(|entry| entry.record.is_some()).count()
        };
        assert_eq!(there(&store), 100, "nothing was done with them yet");
        for key in &ended {
            assert!(matches!(store.load(key).await.unwrap(), Loaded::Deleted { .. }));
            assert_eq!(store.delete(key, Authority::Application).await.unwrap(), Deleted::Gone);
        }
        assert!(store.list(&Principal::new("u42").unwrap()).await.unwrap().is_empty());
        // They take nobody's place, and are remembered like others.
        let (mut live, before) = (vec![log_in(&store).await.unwrap()], there(&store));
        assert!((91..100).contains(&before), "{before}");
        assert_eq!(store.touch(&live[0]).await.unwrap(), Touched::Slid);
        assert!(there(&store) >= before - State::FREED_AT_ONCE);
        for _ in 0..99 {
            live.push(log_in(&store).await.unwrap());
        }
        assert_eq!((there(&store), store.len()), (100, 100));
        store.revoke(Revoke::Everything).await.unwrap();
        clock.advance(REMEMBERED - Duration::from_micros(1));
        let _ = store.touch(&live[0]).await.unwrap();
        for key in &live {
            assert!(matches!(store.load(key).await.unwrap(), Loaded::Deleted { .. }), "as long as of any other");
        }
        clock.advance(Duration::from_micros(1));
        for key in &live {
            assert!(matches!(store.load(key).await.unwrap(), Loaded::Absent));
        }
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
