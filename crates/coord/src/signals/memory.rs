//! Signals in this process's memory.

use std::collections::HashMap;
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
    /// Who holds a permit, until when.
    permits: HashMap<CoordKey, HashMap<PermitId, u64>>,
    /// How many permits are held, or were.
    held: usize,
    /// From when, and from how much on, it is worth looking what has expired.
    sweep: (u64, usize),
}

#[derive(Debug)]
struct Cell<T> {
    value: T,
    expires: Option<u64>,
}

/// What a name takes up at most, or a permit.
const CELL: u64 = 512;

/// How long there is to be, in microseconds, and how much, before what has expired is looked for again.
const SWEEP: (u64, usize) = (100_000, 1024);

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
        let (from, many) = self.sweep;
        if self.size() >= many.max(SWEEP.1) || (self.size() >= capacity && now >= from) {
            self.sweep(now);
        }
        if self.size() < capacity {
            return Ok(());
        }
        Err(Error::full("the memory of the signals is full of live ones (setting capacity)"))
    }

    fn sweep(&mut self, now: u64) {
        self.counters.retain(|_, cell| cell.is_live(now));
        self.limits.retain(|_, cell| cell.is_live(now));
        self.permits.retain(|_, holders| {
            holders.retain(|_, expires| *expires > now);
            !holders.is_empty()
        });
        self.held = self.permits.values().map(HashMap::len).sum();
        self.sweep = (now + SWEEP.0, 2 * self.size());
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
        state.counters.insert(key.clone(), Cell { value, expires });
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
        state.limits.insert(key.clone(), Cell { value: level, expires: Some(level.empty_at(rate)) });
        Ok(taken)
    }

    fn acquire_now(&self, key: &CoordKey, id: PermitId, options: &AcquireOptions) -> Result<Acquired> {
        options.check()?;
        let (mut state, now) = self.lock();
        // One that holds a permit takes no more room by having it anew.
        if state.permits.get(key).is_none_or(|holders| !holders.contains_key(&id)) {
            state.make_room(self.capacity, now)?;
        }
        let holders = state.permits.entry(key.clone()).or_default();
        let before = holders.len();
        holders.retain(|_, expires| *expires > now);
        let in_use = u32::try_from(holders.len()).unwrap_or(u32::MAX);
        let acquired = if holders.contains_key(&id) || in_use < options.most {
            holders.insert(id, now + whole_micros(options.lease));
            Acquired::Held(u32::try_from(holders.len()).unwrap_or(u32::MAX))
        } else {
            let first = holders.values().min().map_or(0, |expires| expires - now);
            Acquired::Full { in_use, retry_after: Duration::from_micros(first) }
        };
        let after = holders.len();
        state.held = (state.held + after).saturating_sub(before);
        Ok(acquired)
    }

    fn renew_now(&self, key: &CoordKey, id: PermitId, options: &RenewOptions) -> Result<Renewed> {
        options.check()?;
        let (mut state, now) = self.lock();
        let holders = state.permits.get_mut(key);
        match holders.and_then(|holders| holders.get_mut(&id)).filter(|expires| **expires > now) {
            Some(expires) => *expires = now + whole_micros(options.lease),
            None => return Ok(Renewed::Lost),
        }
        Ok(Renewed::Held)
    }

    fn release_now(&self, key: &CoordKey, id: PermitId) {
        let (mut state, _) = self.lock();
        let Some(holders) = state.permits.get_mut(key) else { return };
        let was_held = holders.remove(&id).is_some();
        if holders.is_empty() {
            state.permits.remove(key);
        }
        state.held = state.held.saturating_sub(usize::from(was_held));
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
            self.lock().0.counters.remove(key);
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
            self.release_now(key, id);
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
        assert_eq!(signals.lock().0.size(), 1);
    }
}
