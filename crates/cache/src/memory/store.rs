mod clear;
mod evicted;
mod leases;
mod ring;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache as QuickCache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use statehouse_core::fence::Marks;
use statehouse_core::time::whole_micros;
use statehouse_core::{Clock, Error, ErrorKind, Result, Timestamp, Version};

use super::Bound;
use crate::options::Guard;
use crate::options::Holding;
use crate::{CacheKey, RemoveOutcome, ReserveOptions, SetOutcome, TouchOutcome};
use evicted::{Evicted, KeepEvicted, Kept};
use leases::Leases;
use ring::{Cleared, LIVE_PER_READ, LIVE_PER_WRITE, Ring, State};

/// Writes of keys in different stripes do not wait for each other.
const STRIPES: usize = 64;

/// How often a read sweeps, in microseconds: all others only look at the time, which they know anyway.
const SWEEP_EVERY: u64 = 1_000;

/// What an entry costs besides its key and value: the slot, its share of the hash table, and the allocations' headers.
pub(crate) const ENTRY_OVERHEAD: u64 = 128;

/// The map behind every memory cache, of bytes and of typed values: versions, conditions, expiry and leases on top of
/// `quick_cache`, which brings sharding, eviction and the weight bound.
///
/// Reads take one shard's read lock. Every write holds its key's stripe, so that a condition is checked and the write
/// done in one step; `clear` holds one for a few entries at a time. No lock is ever held over an await.
pub(crate) struct Store<T> {
    entries: QuickCache<CacheKey, Slot<T>, SlotWeight, DefaultHashBuilder, KeepEvicted<Slot<T>>>,
    stripes: Box<[Mutex<Stripe>]>,
    hasher: DefaultHashBuilder,
    /// Those of locks that guard this cache; a clear leaves them.
    pub(crate) marks: Marks,
    clock: Arc<dyn Clock>,
    /// What one entry may weigh.
    most: u64,
    /// When the next read sweeps, in microseconds of [`Clock::elapsed`].
    next_sweep: AtomicU64,
    /// Which stripe it sweeps.
    turn: AtomicUsize,
}

/// What writes of the same stripe share.
#[derive(Default)]
struct Stripe {
    /// The last version issued here.
    last: Version,
    leases: Leases,
    ring: Ring,
    cleared: Cleared,
}

/// What a sweep has looked at.
type Seen<T> = Kept<Slot<T>, LIVE_PER_WRITE>;

/// What the engine holds for a key.
#[derive(Clone)]
struct Slot<T> {
    value: T,
    version: Version,
    /// Microseconds of [`Clock::elapsed`].
    expires: u64,
    weight: u64,
    /// Of its record in the ring.
    ticket: u32,
    /// How many milliseconds before its version the value's load began.
    age: u32,
}

#[derive(Clone)]
struct SlotWeight;

impl<T> Weighter<CacheKey, Slot<T>> for SlotWeight {
    fn weight(&self, _: &CacheKey, slot: &Slot<T>) -> u64 {
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
    Held(Version),
    Ended,
}

impl<T: Clone> Store<T> {
    pub(crate) fn new(bound: Bound, clock: Arc<dyn Clock>) -> Self {
        let (capacity, items, shards) = bound.layout();
        let options = OptionsBuilder::new()
            .weight_capacity(capacity)
            .estimated_items_capacity(items)
            .shards(shards)
            .build()
            .expect("capacity and number of items are set");
        let hasher = DefaultHashBuilder::default();
        let entries = QuickCache::with_options(options, SlotWeight, hasher.clone(), KeepEvicted::default());
        // The engine does not admit what is above 97 % of a shard; this is a little less.
        let shard = entries.shard_capacity();
        let most = (shard - shard.div_ceil(32)).max(shard.min(1));
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        let (next_sweep, turn) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { entries, stripes, hasher, marks: Marks::default(), clock, most, next_sweep, turn }
    }

    /// Refuses what would not be kept.
    pub(crate) fn check_weight(&self, weight: u64) -> Result<()> {
        if weight <= self.most {
            return Ok(());
        }
        let most = self.most;
        let message =
            format!("the value weighs {weight}, and an entry of this cache may weigh {most}: raise its capacity");
        Err(Error::new(ErrorKind::TooLarge, message).with_backend("memory"))
    }

    /// The value of a live entry: the hot path.
    #[inline]
    pub(crate) fn value(&self, key: &str) -> Option<T> {
        let (slot, now) = (self.entries.get(key)?, self.now());
        self.sweep_if_due(now);
        (slot.expires > now).then_some(slot.value)
    }

    /// A live entry.
    pub(crate) fn get(&self, key: &str) -> Option<Found<T>> {
        let now = self.now();
        self.sweep_if_due(now);
        let slot = self.entries.get(key)?;
        if slot.expires <= now {
            self.entries.remove_if(key, |slot| slot.expires <= now);
            return None;
        }
        Some(slot.found(now))
    }

    pub(crate) fn set(
        &self,
        key: &CacheKey,
        value: T,
        weight: u64,
        time_to_live: Duration,
        guard: Guard,
    ) -> SetOutcome {
        let now = self.now();
        // Declared before the lock, so that they are dropped after it: a value may take long to drop, or use this cache itself.
        let (mut seen, mut evicted, present);
        (seen, evicted) = (Seen::default(), Evicted::default());
        let mut stripe = self.stripe(key);
        present = self.entries.peek(key);
        let version = present.as_ref().filter(|slot| slot.expires > now).map(|slot| slot.version);
        let lease = stripe.leases.token(key, now);
        if !holds(guard, version, lease) {
            return SetOutcome::Conflict(version);
        }
        let today = self.clock.now();
        let issued = stripe.issue(today);
        // Versions may run ahead of the clock, and nothing is created later than now.
        let begun = Version::new(today.as_micros()).min(issued);
        let age = match guard {
            Guard::Lease(_) => millis_between(stripe.leases.created(key).map_or(begun, Version::new), issued),
            _ => millis_between(begun, issued),
        };
        let ticket = present.as_ref().map_or_else(|| stripe.ring.add(key), |slot| slot.ticket);
        // The engine never evicts an entry without weight.
        let (weight, expires) = (weight.max(1), now.saturating_add(whole_micros(time_to_live)));
        stripe.leases.remove(key);
        let slot = Slot { value, version: issued, expires, weight, ticket, age };
        self.entries.insert_with_lifecycle(key.clone(), slot, &mut evicted);
        self.sweep(&mut stripe, now, LIVE_PER_WRITE, &mut seen);
        SetOutcome::Stored(issued)
    }

    pub(crate) fn remove(&self, key: &CacheKey, guard: Guard, min_age: Option<Duration>) -> RemoveOutcome {
        // Dropped behind the lock.
        let (_gone, peeked);
        let mut stripe = self.stripe(key);
        let now = self.now();
        peeked = self.entries.peek(key);
        let live = peeked.as_ref().filter(|slot| slot.expires > now);
        let lease = stripe.leases.token(key, now);
        // What is as old as the option says goes, the rest is left alone; save what came about later than now, while the clock
        // was ahead: nobody can tell how old it is.
        let today = self.clock.now().as_micros();
        let limit = min_age.map_or(u64::MAX, |age| today.saturating_sub(whole_micros(age)));
        let is_younger = |created: u64| created > limit && created <= today;
        let version = live.map(|slot| slot.version);
        if !holds(guard, version, lease) {
            return version.map_or(RemoveOutcome::Absent, RemoveOutcome::Conflict);
        }
        match lease {
            Some(token) if is_younger(stripe.leases.created(key).unwrap_or(token.get())) => {
                return RemoveOutcome::Absent;
            }
            Some(_) => stripe.leases.remove(key),
            None => {}
        }
        match live {
            Some(slot) if is_younger(slot.created().as_micros()) => return RemoveOutcome::Conflict(slot.version),
            _ => _gone = self.entries.remove(key),
        }
        if version.is_some() || matches!(guard, Guard::Lease(_)) {
            RemoveOutcome::Removed
        } else {
            RemoveOutcome::Absent
        }
    }

    pub(crate) fn touch(&self, key: &CacheKey, time_to_live: Duration) -> TouchOutcome {
        // Dropped behind the lock.
        let (peeked, _gone);
        let _stripe = self.stripe(key);
        let now = self.now();
        peeked = self.entries.peek(key);
        let Some(slot) = peeked.as_ref().filter(|slot| slot.expires > now) else { return TouchOutcome::Absent };
        let version = slot.version;
        let slot = Slot { expires: now.saturating_add(whole_micros(time_to_live)), ..slot.clone() };
        // Fails only if the entry was evicted in between, and then there is nothing to touch.
        match self.entries.replace(key.clone(), slot, true) {
            Ok(()) => TouchOutcome::Touched(version),
            Err(unused) => {
                _gone = unused;
                TouchOutcome::Absent
            }
        }
    }

    pub(crate) fn reserve(&self, key: &CacheKey, time_to_live: Duration, options: &ReserveOptions) -> Reserved<T> {
        let now = self.now();
        let mut seen = Seen::default();
        // Dropped behind the lock.
        let (peeked, _replaced);
        let mut stripe = self.stripe(key);
        peeked = self.entries.peek(key);
        let live = peeked.as_ref().filter(|slot| slot.expires > now);
        let replaced = match live {
            Some(slot) if options.replacing != Some(slot.version) => return Reserved::Hit(slot.clone().found(now)),
            live => live.is_some(),
        };
        let expires = now.saturating_add(whole_micros(time_to_live));
        let present = stripe.leases.token(key, now);
        let reserved = match (present, options.holding) {
            (Some(token), Holding::Alone) => Reserved::Held(token),
            (present, Holding::Renew(lease)) if present != Some(lease.token()) => Reserved::Ended,
            (Some(_), _) => stripe.leases.prolong(key, now, expires).map_or(Reserved::Ended, Reserved::Leased),
            (None, _) => {
                let today = self.clock.now();
                let token = stripe.issue(today);
                stripe.leases.insert(key, token, today.as_micros(), now, expires);
                Reserved::Leased(token)
            }
        };
        if replaced && matches!(reserved, Reserved::Leased(_)) {
            _replaced = self.entries.remove(key);
        }
        self.sweep(&mut stripe, now, LIVE_PER_WRITE, &mut seen);
        drop(stripe);
        reserved
    }

    /// For a cache that is only read: one read in a while does what else the writes do.
    #[inline]
    fn sweep_if_due(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        if now >= due {
            self.sweep_for_reads(now, due);
        }
    }

    #[cold]
    fn sweep_for_reads(&self, now: u64, due: u64) {
        let next = now.saturating_add(SWEEP_EVERY);
        // Of several at the same time one does it.
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let stripe = &self.stripes[self.turn.fetch_add(1, Ordering::Relaxed) % STRIPES];
        let mut seen = Seen::default();
        // Where somebody writes, the sweep is done.
        if let Ok(mut stripe) = stripe.try_lock() {
            self.sweep(&mut stripe, now, LIVE_PER_READ, &mut seen);
        }
    }

    /// Looks at a few entries of the stripe and takes out what has expired. What it has seen is to be dropped behind the lock,
    /// what lives as well: it may be evicted meanwhile, and is then dropped here.
    fn sweep(&self, stripe: &mut Stripe, now: u64, most_live: usize, seen: &mut Seen<T>) {
        stripe.ring.advance(most_live, |key, ticket| {
            let Some(slot) = self.entries.peek(key) else { return State::Gone };
            let (own, live) = (slot.ticket == ticket, slot.expires > now);
            seen.keep(slot);
            if own
                && !live
                && let Some((_, slot)) = self.entries.remove_if(key, |slot| slot.expires <= now)
            {
                seen.keep(slot);
            }
            if own && live { State::Live } else { State::Gone }
        });
    }

    /// The weight of all entries, the expired ones that have not left yet included.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    fn stripe(&self, key: &CacheKey) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(key) % STRIPES as u64;
        lock(&self.stripes[usize::try_from(hash).unwrap_or_default()])
    }

    fn now(&self) -> u64 {
        whole_micros(self.clock.elapsed())
    }
}

impl Stripe {
    fn issue(&mut self, now: Timestamp) -> Version {
        self.last = self.last.next(now.as_micros());
        self.last
    }
}

impl<T> Slot<T> {
    /// When the value was set, or when its load began.
    fn created(&self) -> Timestamp {
        Timestamp::from_micros(self.version.get().saturating_sub(u64::from(self.age) * 1000))
    }

    fn found(self, now: u64) -> Found<T> {
        let (version, created) = (self.version, self.created());
        Found { value: self.value, version, created, left: Duration::from_micros(self.expires - now) }
    }
}

/// Whether a condition holds for the version of a live entry and the token of a live lease.
fn holds(guard: Guard, version: Option<Version>, lease: Option<Version>) -> bool {
    match guard {
        Guard::Always => true,
        Guard::Absent => version.is_none(),
        Guard::Match(expected) => version == Some(expected),
        Guard::Lease(expected) => lease == Some(expected.token()),
    }
}

/// Rounded up: a value counts rather as older than it is.
fn millis_between(earlier: Version, later: Version) -> u32 {
    let micros = later.get().saturating_sub(earlier.get());
    u32::try_from(micros.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    // What a panic of another holder may leave behind is a lease or a record too few, which does no harm.
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
