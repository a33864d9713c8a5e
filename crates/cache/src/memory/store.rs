use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use statehouse_core::{Clock, Key, Timestamp, Version};

use crate::{Condition, RemoveOutcome, SetOutcome, TouchOutcome};

/// Writes of keys in different stripes do not wait for each other.
const STRIPES: usize = 64;

/// A shard of the engine does not admit an entry above its own share of the capacity, so shards are kept this large.
const LEAST_SHARD: u64 = 4 << 20;

/// What an entry costs besides its key and value: the slot, its share of the hash table, and the allocations' headers.
pub(crate) const ENTRY_OVERHEAD: u64 = 128;

/// The map behind every memory cache, of bytes and of typed values: versions, conditions, expiry and leases on top of
/// `quick_cache`, which brings sharding, eviction and the weight bound.
///
/// Reads take one shard's read lock. Every write holds its key's stripe, so that a condition is checked and the write
/// done in one step; `clear` holds all stripes. No lock is ever held over an await: nothing here is async.
pub(crate) struct Store<T> {
    entries: QuickCache<Key, Slot<T>, SlotWeight>,
    /// Each with the last version issued in it.
    stripes: Box<[Mutex<Version>]>,
    hasher: DefaultHashBuilder,
    clock: Arc<dyn Clock>,
    next_sweep: AtomicU64,
}

/// What the engine holds for a key.
#[derive(Clone)]
pub(crate) struct Slot<T> {
    content: Content<T>,
    pub(crate) version: Version,
    pub(crate) created: Timestamp,
    /// Microseconds of [`Clock::elapsed`].
    expires: u64,
    weight: u64,
}

#[derive(Clone)]
enum Content<T> {
    Value(T),
    /// The version is the lease's token.
    Lease,
}

#[derive(Clone)]
struct SlotWeight;

impl<T> Weighter<Key, Slot<T>> for SlotWeight {
    fn weight(&self, _: &Key, slot: &Slot<T>) -> u64 {
        slot.weight
    }
}

/// A value with its version, its age and the time that is left to it.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) version: Version,
    pub(crate) created: Timestamp,
    pub(crate) left: Duration,
}

/// What [`Store::reserve`] found or gave out.
pub(crate) enum Reserved<T> {
    Hit(Found<T>),
    Leased(Version),
}

impl<T: Clone> Store<T> {
    pub(crate) fn new(capacity: u64, clock: Arc<dyn Clock>) -> Self {
        let shards = usize::try_from(capacity / LEAST_SHARD).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Bounds the memory of evicted keys that the engine remembers, not the number of entries.
        let items = usize::try_from(capacity / 512).unwrap_or(usize::MAX).clamp(32, 1 << 24);
        let options = OptionsBuilder::new()
            .weight_capacity(capacity)
            .estimated_items_capacity(items)
            .shards(shards.clamp(1, cores * 4))
            .build()
            .expect("capacity and number of items are set");
        let hasher = DefaultHashBuilder::default();
        Self {
            entries: QuickCache::with_options(options, SlotWeight, hasher.clone(), DefaultLifecycle::default()),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher,
            next_sweep: AtomicU64::new(micros(clock.elapsed() + SWEEP_INTERVAL)),
            clock,
        }
    }

    /// The value of a live entry: the hot path.
    #[inline]
    pub(crate) fn value(&self, key: &str) -> Option<T> {
        let slot = self.entries.get(key)?;
        match slot.content {
            Content::Value(value) if slot.expires > self.now() => Some(value),
            _ => None,
        }
    }

    /// A live entry.
    pub(crate) fn get(&self, key: &str) -> Option<Found<T>> {
        let now = self.now();
        let slot = self.entries.get(key)?;
        if slot.expires <= now {
            self.entries.remove_if(key, |slot| slot.expires <= now);
            return None;
        }
        slot.found(now)
    }

    pub(crate) fn set(
        &self,
        key: &Key,
        value: T,
        weight: u64,
        time_to_live: Duration,
        condition: Condition,
    ) -> SetOutcome {
        let now = self.now();
        self.sweep_if_due(now);
        let mut last = self.stripe(key);
        let current = self.live(key, now);
        if !holds(condition, current.as_ref()) {
            return SetOutcome::Conflict(current.as_ref().and_then(Slot::value_version));
        }
        let slot = self.slot(&mut last, Content::Value(value), weight, now, time_to_live);
        let version = slot.version;
        self.entries.insert(key.clone(), slot);
        SetOutcome::Stored(version)
    }

    pub(crate) fn remove(&self, key: &Key, condition: Condition) -> RemoveOutcome {
        let _stripe = self.stripe(key);
        let current = self.live(key, self.now());
        let version = current.as_ref().and_then(Slot::value_version);
        if !holds(condition, current.as_ref()) {
            return version.map_or(RemoveOutcome::Absent, RemoveOutcome::Conflict);
        }
        self.entries.remove(key);
        if version.is_some() || matches!(condition, Condition::Lease(_)) {
            RemoveOutcome::Removed
        } else {
            RemoveOutcome::Absent
        }
    }

    pub(crate) fn touch(&self, key: &Key, time_to_live: Duration) -> TouchOutcome {
        let _stripe = self.stripe(key);
        let now = self.now();
        let Some((slot, version)) = self.live(key, now).and_then(|slot| slot.value_version().map(|v| (slot, v))) else {
            return TouchOutcome::Absent;
        };
        let slot = Slot { expires: now.saturating_add(micros(time_to_live)), ..slot };
        // Fails only if the entry was evicted in between, and then there is nothing to touch.
        match self.entries.replace(key.clone(), slot, true) {
            Ok(()) => TouchOutcome::Touched(version),
            Err(_) => TouchOutcome::Absent,
        }
    }

    pub(crate) fn reserve(&self, key: &Key, time_to_live: Duration, replacing: Option<Version>) -> Reserved<T> {
        let now = self.now();
        self.sweep_if_due(now);
        let mut last = self.stripe(key);
        let expires = now.saturating_add(micros(time_to_live));
        let present = match self.live(key, now) {
            Some(slot) if slot.value_version().is_some() && slot.value_version() != replacing => {
                if let Some(found) = slot.found(now) {
                    return Reserved::Hit(found);
                }
                None
            }
            Some(slot) if matches!(slot.content, Content::Lease) => Some(slot),
            _ => None,
        };
        let slot = match present {
            Some(slot) if slot.expires >= expires => return Reserved::Leased(slot.version),
            Some(slot) => Slot { expires, ..slot },
            None => self.slot(&mut last, Content::Lease, lease_weight(key), now, time_to_live),
        };
        let token = slot.version;
        self.entries.insert(key.clone(), slot);
        Reserved::Leased(token)
    }

    pub(crate) fn clear(&self) {
        let _all: Vec<_> = self.stripes.iter().map(lock).collect();
        self.entries.clear();
    }

    /// The weight of all entries, the expired ones that have not left yet included.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    fn slot(&self, last: &mut Version, content: Content<T>, weight: u64, now: u64, time_to_live: Duration) -> Slot<T> {
        let created = self.clock.now();
        *last = last.next(created.as_micros());
        // The engine never evicts an entry without weight.
        let weight = weight.max(1);
        Slot { content, version: *last, created, expires: now.saturating_add(micros(time_to_live)), weight }
    }

    fn live(&self, key: &Key, now: u64) -> Option<Slot<T>> {
        self.entries.peek(key).filter(|slot| slot.expires > now)
    }

    fn stripe(&self, key: &Key) -> MutexGuard<'_, Version> {
        let hash = self.hasher.hash_one(key) % STRIPES as u64;
        lock(&self.stripes[usize::try_from(hash).unwrap_or_default()])
    }

    fn now(&self) -> u64 {
        micros(self.clock.elapsed())
    }
}

/// How often expired entries are looked for at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A sweep is followed by a pause this many times its length, so sweeping takes at most 1 % of one core.
const SWEEP_PAUSE: u64 = 100;

impl<T: Clone> Store<T> {
    /// Removes what has expired, from time to time, on a path that writes anyway: an expired entry that nobody asks
    /// for leaves the memory soon after others are written. Without writes the memory does not grow either.
    fn sweep_if_due(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        let claim = now + micros(SWEEP_INTERVAL);
        if now < due || self.next_sweep.compare_exchange(due, claim, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.entries.retain(|_, slot| slot.expires > now);
        let end = self.now();
        let pause = micros(SWEEP_INTERVAL).max((end - now).saturating_mul(SWEEP_PAUSE));
        self.next_sweep.store(end + pause, Ordering::Relaxed);
    }
}

impl<T> Slot<T> {
    /// The version, if this is a value and not a lease.
    fn value_version(&self) -> Option<Version> {
        matches!(self.content, Content::Value(_)).then_some(self.version)
    }

    fn found(self, now: u64) -> Option<Found<T>> {
        let Content::Value(value) = self.content else { return None };
        let left = Duration::from_micros(self.expires - now);
        Some(Found { value, version: self.version, created: self.created, left })
    }
}

fn holds<T>(condition: Condition, current: Option<&Slot<T>>) -> bool {
    let version = current.and_then(Slot::value_version);
    match condition {
        Condition::Always => true,
        Condition::Absent => version.is_none(),
        Condition::Match(expected) => version == Some(expected),
        Condition::Lease(lease) => {
            current.is_some_and(|slot| matches!(slot.content, Content::Lease) && slot.version == lease.token())
        }
    }
}

fn lease_weight(key: &Key) -> u64 {
    ENTRY_OVERHEAD + key.len() as u64
}

fn lock(stripe: &Mutex<Version>) -> MutexGuard<'_, Version> {
    // A version is whole at every moment, so a panic of another holder does no harm.
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
