//! Signals in this process's memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::time::whole_micros;
use statehouse_core::{Capabilities, Clock, Error, Health, Result};

use super::api::Signals;
use super::hub::{Hub, Subscriber};
use super::level::Level;
use super::operation::Operations;
use super::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
use super::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use super::rate::Rate;
use crate::capability::{SERVER_TIME, SUBSCRIBE};
use crate::key::CoordKey;
use crate::memory::MemoryConfig;

const OPERATION: Operations = Operations::of("memory");

/// Signals of one process, and for tests.
///
/// What has expired is freed as other names come. If there are more live ones than there is room for, another name is
/// refused as [`Unavailable`](statehouse_core::ErrorKind::Unavailable).
#[derive(Debug)]
pub struct MemorySignals {
    capacity: usize,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    hub: Hub,
}

#[derive(Debug, Default)]
struct State {
    counters: HashMap<CoordKey, Cell<i64>>,
    limits: HashMap<CoordKey, Cell<Level>>,
    /// When each permit's lease ends.
    permits: HashMap<CoordKey, HashMap<PermitId, u64>>,
    /// How many permits are held, or were.
    held: usize,
    /// All that expires, the first first.
    queue: BTreeSet<(u64, Name)>,
}

#[derive(Debug)]
struct Cell<T> {
    value: T,
    expires: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Counter(CoordKey),
    Limit(CoordKey),
    Permit(CoordKey, PermitId),
}

/// What a name takes up at most, or a permit.
const CELL: u64 = 512;

/// How many that have expired another name frees: everybody waits meanwhile.
const FREED: usize = 4;

impl<T> Cell<T> {
    fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

impl State {
    fn size(&self) -> usize {
        self.counters.len() + self.limits.len() + self.permits.len() + self.held
    }

    fn counter(&self, key: &CoordKey, now: u64) -> Option<(i64, Option<u64>)> {
        self.counters.get(key).filter(|cell| cell.is_live(now)).map(|cell| (cell.value, cell.expires))
    }

    /// Makes room for one more name or permit.
    fn make_room(&mut self, capacity: usize, now: u64) -> Result<()> {
        for _ in 0..FREED {
            if self.queue.first().is_none_or(|(expires, _)| *expires > now) {
                break;
            }
            if let Some((_, name)) = self.queue.pop_first() {
                self.free(name);
            }
        }
        if self.size() < capacity {
            return Ok(());
        }
        Err(Error::full("the memory of the signals is full of live ones (setting capacity)"))
    }

    /// What waits for its end in the queue waits no more.
    fn free(&mut self, name: Name) {
        match name {
            Name::Counter(key) => drop(self.counters.remove(&key)),
            Name::Limit(key) => drop(self.limits.remove(&key)),
            Name::Permit(key, id) => drop(self.free_permit(&key, id)),
        }
    }

    fn free_permit(&mut self, key: &CoordKey, id: PermitId) -> Option<u64> {
        let holders = self.permits.get_mut(key)?;
        let expires = holders.remove(&id);
        self.held -= usize::from(expires.is_some());
        if holders.is_empty() {
            self.permits.remove(key);
        }
        expires
    }

    fn free_ended_permits(&mut self, key: &CoordKey, now: u64) {
        let holders = self.permits.get(key).into_iter().flatten();
        let ended: Vec<_> = holders.filter(|(_, expires)| **expires <= now).map(|(id, _)| *id).collect();
        for id in ended {
            self.release(key, id);
        }
    }

    fn release(&mut self, key: &CoordKey, id: PermitId) {
        let expired = self.free_permit(key, id);
        self.enqueue(expired, None, || Name::Permit(key.clone(), id));
    }

    fn hold(&mut self, key: &CoordKey, id: PermitId, held: Option<u64>, expires: u64) {
        self.permits.entry(key.clone()).or_default().insert(id, expires);
        self.held += usize::from(held.is_none());
        self.enqueue(held, Some(expires), || Name::Permit(key.clone(), id));
    }

    /// Something expired, if it did, at the first of these times, and does at the second.
    fn enqueue(&mut self, before: Option<u64>, expires: Option<u64>, name: impl Fn() -> Name) {
        if before == expires {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, name()));
        }
        if let Some(expires) = expires {
            self.queue.insert((expires, name()));
        }
    }
}

impl MemorySignals {
    /// Signals of up to 64 MiB, on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// Signals with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        let (capacity, clock) = config.into_parts();
        let hub = Hub::new();
        hub.begin();
        let capacity = usize::try_from(capacity / CELL).unwrap_or(usize::MAX);
        Self { capacity, clock, state: Mutex::default(), hub }
    }

    /// The state, and the time. Nothing that runs under the lock leaves the state half changed.
    fn lock(&self) -> (MutexGuard<'_, State>, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state, whole_micros(self.clock.elapsed()))
    }

    fn count_now(&self, key: &CoordKey) -> Option<Count> {
        let (state, now) = self.lock();
        let (value, expires) = state.counter(key, now)?;
        Some(Count::new(value, expires.map(|expires| Duration::from_micros(expires - now))))
    }

    fn add_now(&self, key: &CoordKey, more: i64, options: &AddOptions) -> Result<Count> {
        options.check(more)?;
        let (mut state, now) = self.lock();
        let found = state.counter(key, now);
        if found.is_none() {
            state.make_room(self.capacity, now)?;
        }
        let (before, expires) = found.unwrap_or((0, options.time_to_live.map(|time| now + whole_micros(time))));
        let value = before + more;
        if value.abs() > Count::MAX {
            return Err(AddOptions::out_of_range());
        }
        let before = state.counters.insert(key.clone(), Cell { value, expires });
        state.enqueue(before.and_then(|cell| cell.expires), expires, || Name::Counter(key.clone()));
        Ok(Count::new(value, expires.map(|expires| Duration::from_micros(expires - now))))
    }

    fn take_now(&self, key: &CoordKey, rate: Rate, options: &TakeOptions) -> Result<Taken> {
        options.check(&rate)?;
        let (mut state, now) = self.lock();
        let before = state.limits.get(key).filter(|cell| cell.is_live(now)).map(|cell| cell.value);
        if before.is_none() {
            state.make_room(self.capacity, now)?;
        }
        let (level, taken) = before.unwrap_or_default().take(rate, options.count, now);
        let expires = Some(level.empty_at(rate));
        let before = state.limits.insert(key.clone(), Cell { value: level, expires });
        state.enqueue(before.and_then(|cell| cell.expires), expires, || Name::Limit(key.clone()));
        Ok(taken)
    }

    fn acquire_now(&self, key: &CoordKey, id: PermitId, options: &AcquireOptions) -> Result<Acquired> {
        options.check()?;
        let (mut state, now) = self.lock();
        // One that holds a permit takes no more room by having it anew.
        if state.permits.get(key).is_none_or(|holders| !holders.contains_key(&id)) {
            state.make_room(self.capacity, now)?;
        }
        state.free_ended_permits(key, now);
        let holders = state.permits.get(key);
        let in_use = holders.map_or(0, |holders| u32::try_from(holders.len()).unwrap_or(u32::MAX));
        let held = holders.and_then(|holders| holders.get(&id)).copied();
        if held.is_none() && in_use >= options.most {
            let first = holders.and_then(|holders| holders.values().min());
            let retry_after = Duration::from_micros(first.map_or(0, |expires| expires - now));
            return Ok(Acquired::Full { in_use, retry_after });
        }
        state.hold(key, id, held, now + whole_micros(options.lease));
        Ok(Acquired::Held(in_use + u32::from(held.is_none())))
    }

    fn renew_now(&self, key: &CoordKey, id: PermitId, options: &RenewOptions) -> Result<Renewed> {
        options.check()?;
        let (mut state, now) = self.lock();
        let held = state.permits.get(key).and_then(|holders| holders.get(&id)).copied();
        let Some(held) = held.filter(|expires| *expires > now) else { return Ok(Renewed::Lost) };
        state.hold(key, id, Some(held), now + whole_micros(options.lease));
        Ok(Renewed::Held)
    }
}

impl Default for MemorySignals {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Signals for MemorySignals {
    async fn add_with(&self, key: &CoordKey, more: i64, options: AddOptions) -> Result<Count> {
        OPERATION.add.run(|| self.add_now(key, more, &options))
    }

    async fn count_with(&self, key: &CoordKey, _: CountOptions) -> Result<Option<Count>> {
        OPERATION.count.run(|| Ok(self.count_now(key)))
    }

    async fn reset_with(&self, key: &CoordKey, _: ResetOptions) -> Result<()> {
        OPERATION.reset.run(|| {
            let (mut state, _) = self.lock();
            if let Some(Cell { expires, .. }) = state.counters.remove(key) {
                state.enqueue(expires, None, || Name::Counter(key.clone()));
            }
            Ok(())
        })
    }

    async fn take_with(&self, key: &CoordKey, rate: Rate, options: TakeOptions) -> Result<Taken> {
        OPERATION.take.run(|| self.take_now(key, rate, &options))
    }

    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: AcquireOptions) -> Result<Acquired> {
        OPERATION.acquire.run(|| self.acquire_now(key, id, &options))
    }

    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: RenewOptions) -> Result<Renewed> {
        OPERATION.renew.run(|| self.renew_now(key, id, &options))
    }

    async fn release_with(&self, key: &CoordKey, id: PermitId, _: ReleaseOptions) -> Result<()> {
        OPERATION.release.run(|| {
            self.lock().0.release(key, id);
            Ok(())
        })
    }

    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: PublishOptions) -> Result<()> {
        OPERATION.publish.run(|| {
            options.check(&message)?;
            self.hub.pass_on(channel.clone(), message);
            Ok(())
        })
    }

    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        OPERATION.subscribe.run(|| Ok(self.hub.subscribe(channels)))
    }

    async fn health(&self) -> Health {
        Health::of("memory", Duration::ZERO, Ok(()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([SERVER_TIME, SUBSCRIBE])
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::{ErrorKind, ManualClock};

    use super::*;
    use crate::signals::SignalsExt as _;

    #[tokio::test]
    async fn a_full_memory_frees_what_has_expired_and_refuses_more_names() {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone()).with_capacity(64 << 10).unwrap();
        let signals = MemorySignals::with_config(config);
        let key = |number: usize| CoordKey::new(format!("k/{number}")).unwrap();
        let lives = AddOptions::default().with_time_to_live(Duration::from_secs(1));
        let capacity = (64 << 10) / 512;
        for number in 0..capacity {
            let _ = signals.add_with(&key(number), 1, lives.clone()).await.unwrap();
        }
        let error = signals.add(&key(capacity), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, Some("signals.add")));
        assert_eq!(signals.add(&key(0), 1).await.unwrap().value, 2);
        clock.advance(Duration::from_secs(1));
        let rate = Rate::new(1, Duration::from_secs(1)).unwrap();
        assert!(signals.take(&key(0), rate).await.unwrap().is_allowed());
        assert!(signals.lock().0.size() < capacity);
    }

    /// However many have been renewed that would have ended before it.
    #[tokio::test]
    async fn one_that_has_expired_makes_room_whatever_was_renewed_before_it() {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone()).with_capacity(256 << 10).unwrap();
        let signals = MemorySignals::with_config(config);
        let key = |number: usize| CoordKey::new(format!("k/{number:04}")).unwrap();
        let (id, lease) = (PermitId::generate().unwrap(), Duration::from_secs(1));
        // A permit and its name, each.
        let most = (256 << 10) / 512 / 2;
        for number in 0..most {
            let held = signals.acquire_with(&key(number), id, AcquireOptions::new(1, lease)).await.unwrap();
            assert_eq!(held, Acquired::Held(1));
        }
        for number in 0..most - 1 {
            let renewed = signals.renew_with(&key(number), id, RenewOptions::new(10 * lease)).await.unwrap();
            assert_eq!(renewed, Renewed::Held);
        }
        let error = signals.add(&key(most), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        clock.advance(lease);
        assert_eq!(signals.add(&key(most), 1).await.unwrap().value, 1);
        let (state, _) = signals.lock();
        assert_eq!((state.held, state.queue.len()), (most - 1, most - 1));
    }

    /// Whoever comes next is not kept waiting for all that others have left, and what is renewed stays.
    #[tokio::test]
    async fn another_name_looks_at_a_few_and_frees_in_the_end_all_that_has_expired() {
        let clock = ManualClock::default();
        let signals = MemorySignals::with_config(MemoryConfig::default().with_clock(clock.clone()));
        let key = |number: usize| CoordKey::new(format!("k/{number}")).unwrap();
        let lives = AddOptions::default().with_time_to_live(Duration::from_secs(1));
        for number in 0..2_000 {
            let _ = signals.add_with(&key(number), 1, lives.clone()).await.unwrap();
        }
        let (id, lease) = (PermitId::generate().unwrap(), Duration::from_secs(1));
        let acquired = signals.acquire_with(&key(0), id, AcquireOptions::new(1, lease)).await.unwrap();
        assert_eq!(acquired, Acquired::Held(1));
        assert_eq!(signals.renew_with(&key(0), id, RenewOptions::new(10 * lease)).await.unwrap(), Renewed::Held);
        clock.advance(lease);
        for number in 0..1_000 {
            let before = signals.lock().0.size();
            let _ = signals.add(&key(5_000 + number), 1).await.unwrap();
            assert!(signals.lock().0.size() + FREED > before, "a few at most");
        }
        assert_eq!(signals.renew_with(&key(0), id, RenewOptions::new(lease)).await.unwrap(), Renewed::Held);
        let (state, _) = signals.lock();
        assert_eq!((state.counters.len(), state.held, state.queue.len()), (1_000, 1, 1));
    }

    /// What is given back leaves nothing behind, however often.
    #[tokio::test]
    async fn what_is_released_or_reset_waits_for_no_turn() {
        let signals = MemorySignals::new();
        let (key, lease) = (CoordKey::new("k").unwrap(), Duration::from_secs(3_600));
        for _ in 0..100 {
            let id = PermitId::generate().unwrap();
            let _ = signals.acquire_with(&key, id, AcquireOptions::new(1, lease)).await.unwrap();
            signals.release(&key, id).await.unwrap();
            let _ = signals.add_with(&key, 1, AddOptions::default().with_time_to_live(lease)).await.unwrap();
            signals.reset(&key).await.unwrap();
        }
        let (state, _) = signals.lock();
        assert_eq!((state.size(), state.queue.len()), (0, 0));
    }
}
