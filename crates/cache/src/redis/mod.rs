mod asking;
mod client;
mod format;
mod groups;
mod told;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{
    Capabilities, Fence, Health, Namespace, RaiseOptions, Result, SchemaId, Timestamp, Version, span,
};
use statehouse_redis::{RedisClient, unexpected_answer};

use crate::operation::Operations;
use crate::{
    Cache, CacheKey, ClearOptions, Entry, GetOptions, Lease, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    SetOptions, SetOutcome, TouchOptions, TouchOutcome, capability, check_value_len, time_to_live_millis,
};
use client::{Answer, Look, NewEntry, Read, Reserved, Wire};
use format::{Record, Unreadable};

const OPERATION: Operations = Operations::of("redis");

/// How many entries that cannot be read a reservation replaces, one after another. A server that is well has one.
const MOST_TURNS: usize = 3;

/// A cache of bytes in Redis or Valkey: a single server, Sentinel or Cluster.
///
/// # Layout
/// Keys are in 32 groups, *g*, by the CRC-32 of the key modulo 32; a group is in one slot.
///
/// | key | holds |
/// | --- | --- |
/// | `namespace:cache:name:{name/g}:schema:key` | one entry, lease or mark of a removal |
/// | `namespace:cache:name:{name/g}:mark:lock` | the mark of a lock that guards the cache, in each group; see [`REFUSE_STALE`](statehouse_redis::REFUSE_STALE) |
/// | `namespace:cache:name:{name/g}:generation` | the generation of the group, which `clear` raises, and the schemas in use |
///
/// The first 40 bytes of an entry are written by a script: `SHC` and the format 1, a check, then version, time of creation,
/// expiry and generation, all little-endian. Behind them come the writer's id, schema, codec, flags, soft expiry, length and
/// CRC-32, then hashes of tags, the value, and the tags' generations. The crate's `redis/format.rs` has the table, byte by
/// byte. Entries with tags, which this version does not write yet, are live while their tags' generations are.
///
/// # Consistency
/// Every script works in one slot, on the entry, the generation of its group and the key's entries of other schemas.
/// Replication is asynchronous: after a failover a write that was acknowledged within the last moments may be missing, and
/// so may an invalidation. A replica that takes over keeps times to live by its own clock: if that is behind, what was there
/// lives longer by as much.
///
/// A shard that is down takes its groups with it and nothing else. [`clear`](Cache::clear_with) then clears the groups that
/// can be reached and is an error that says how many were not; repeated with [`since`](crate::ClearOptions::since) it returns
/// only to those.
///
/// A server that evicts (`maxmemory-policy`) costs hits, and no read gives what is wrong: an evicted lease means that a load is
/// not stored, and an evicted generation that every entry of its group is a miss. **Fences need a server that does not evict their
/// marks**: under `allkeys-*` one goes that was not used for long, and a failover may lose one that was raised within the last
/// moments; a former holder of the lock then writes like any other until the next mark is raised. With `volatile-*` and
/// `noeviction` marks stay. They have no end: a lock that has guarded a cache leaves 32 keys, so guard one by a few locks and not
/// by one for each record. One that is full and does not evict
/// (`noeviction`) refuses sets and leases; removals and `clear` work all the same, the latter by taking generations away. A
/// generation that no script has written (of another type, or no number) is as good as lost, and replaced.
///
/// # Schemas
/// Each schema has entries of its own, so replicas with the old and the new layout of a type run side by side. A write
/// or removal under one schema ends the key's entry under all others, so that none reads what another has replaced. (While a slot
/// of a cluster moves, where those are may not be known: the write is then asked again until it is, and nothing is done if it is
/// not in time.) The
/// generation of a group names the schemas that have stored anything under it; one that has named some forty is over, and
/// what was stored under it is a miss.
///
/// # Late and repeated writes
/// Every write carries its deadline by the server's clock, and the server refuses it later: what its caller was told had
/// failed is never executed over something newer, however long the network held it back. The connector repeats reads,
/// reservations, touches and clears. A set or removal whose answer was lost is repeated once, with the id that the entry
/// carries of its writer: if the first was executed the answer is that of the first, with its version. If that can't be told
/// any more, because somebody else has written since, nothing is there (it may have been removed since, or have expired), or the
/// repeat is not answered either, the error is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown). A removed entry
/// leaves a mark for 10 s, by which a removal that is repeated knows that it was done. One on no condition that finds neither
/// entry nor mark says that there is none.
///
/// A reservation whose caller leaves, or whose answer is lost, is given back behind the scenes: at once, or for as long as its
/// lease lives as soon as the server answers.
///
/// Clones share everything.
#[derive(Clone)]
pub struct RedisCache(Arc<Wire>);

/// What stored bytes are under a generation of their group.
enum Stored {
    Entry(Entry),
    /// A lease, an entry that was cleared, or what cannot be read.
    Nothing,
    /// Written under a generation that begins later: the cache was cleared, and the reader has not seen it yet.
    Later,
    /// An entry that is valid if the generations of its tags are current.
    Tagged(Record),
}

impl RedisCache {
    /// The cache of this name, with entries of this schema. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the name is not one or more dotted lowercase
    /// words as [`Namespace`] describes.
    pub fn new(client: RedisClient, namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Self> {
        Ok(Self(Arc::new(Wire::new(client, namespace, name, schema)?)))
    }

    async fn read(&self, key: &CacheKey, deadline: Option<Duration>) -> Result<Option<Entry>> {
        let redis = self.0.redis().within(deadline);
        let read = self.0.read(&redis, key).await?;
        match self.open(read) {
            Stored::Entry(entry) => Ok(Some(entry)),
            Stored::Nothing => Ok(None),
            // Boxed, so that the usual future stays small.
            stored => Box::pin(self.read_on(&redis, key, stored)).await,
        }
    }

    async fn read_many(&self, keys: &[CacheKey], deadline: Option<Duration>) -> Result<Vec<Option<Entry>>> {
        let redis = self.0.redis().within(deadline);
        let reads = self.0.read_many(&redis, keys, Look::AsKnown).await?;
        let mut found: Vec<_> = reads.into_iter().map(|read| self.open(read)).collect();
        let is_later = |(index, stored): (usize, &Stored)| matches!(stored, Stored::Later).then_some(index);
        let later: Vec<_> = found.iter().enumerate().filter_map(is_later).collect();
        if !later.is_empty() {
            let keys: Vec<_> = later.iter().map(|index| keys[*index].clone()).collect();
            let again = Box::pin(self.0.read_many(&redis, &keys, Look::Anew)).await?;
            later.into_iter().zip(again).for_each(|(index, read)| found[index] = self.open(read));
        }
        let mut entries = Vec::with_capacity(keys.len());
        for (key, stored) in keys.iter().zip(found) {
            entries.push(match stored {
                Stored::Entry(entry) => Some(entry),
                Stored::Nothing | Stored::Later => None,
                Stored::Tagged(record) => Box::pin(self.valid(&redis, key, record)).await?,
            });
        }
        Ok(entries)
    }

    /// An entry with tags, if those have the generations that it was stored under.
    async fn valid(&self, redis: &RedisClient, key: &CacheKey, record: Record) -> Result<Option<Entry>> {
        let holds = self.0.tags_hold(redis, key, &record.tags).await?;
        Ok(holds.then(|| entry(record)))
    }

    /// What takes another look. Of a later generation than the one that this process knows: it asks again which is current,
    /// so that a write that has returned is seen although the cache was cleared a moment before.
    async fn read_on(&self, redis: &RedisClient, key: &CacheKey, stored: Stored) -> Result<Option<Entry>> {
        let stored = match stored {
            Stored::Later => self.open(self.0.read_both(redis, key).await?),
            stored => stored,
        };
        match stored {
            Stored::Entry(entry) => Ok(Some(entry)),
            Stored::Tagged(record) => self.valid(redis, key, record).await,
            Stored::Nothing | Stored::Later => Ok(None),
        }
    }

    /// Reads stored bytes. What cannot be read is a miss, and is reported as an event.
    fn open(&self, (generation, stored): Read) -> Stored {
        let Some((stored, generation)) = stored.zip(generation) else { return Stored::Nothing };
        match Record::decode(stored.into()) {
            Ok(record) => self.judge(record, generation),
            Err(Unreadable::Damaged) => self.unreadable("damaged"),
            Err(Unreadable::UnknownFormat) => self.unreadable("unknown format"),
        }
    }

    fn judge(&self, record: Record, generation: u64) -> Stored {
        if record.generation > generation {
            return Stored::Later;
        }
        if record.generation < generation || [format::LEASE, format::REMOVED].contains(&record.flags) {
            return Stored::Nothing;
        }
        if record.flags != format::PLAIN {
            return self.unreadable("unknown flags");
        }
        if record.schema != self.0.schema {
            return self.unreadable("another schema");
        }
        if record.tags.is_empty() { Stored::Entry(entry(record)) } else { Stored::Tagged(record) }
    }

    fn unreadable(&self, reason: &'static str) -> Stored {
        self.0.unreadable(reason);
        Stored::Nothing
    }

    async fn store(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let millis = time_to_live_millis(options.time_to_live)?;
        check_value_len(value.len())?;
        self.0.redis().check_len(value.len())?;
        let guard = options.guard()?;
        let SetOptions { codec, fence, deadline, .. } = options;
        match self.0.set(key, NewEntry { value, codec, millis, guard, fence, deadline }).await? {
            Answer::Done(version) => Ok(SetOutcome::Stored(version)),
            Answer::Conflict(version) => Ok(SetOutcome::Conflict(version)),
        }
    }

    async fn drop_entry(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        let guard = options.guard()?;
        Ok(match self.0.remove(key, guard, &options).await? {
            Answer::Done(version) if version.get() > 0 => RemoveOutcome::Removed,
            Answer::Conflict(Some(version)) => RemoveOutcome::Conflict(version),
            _ => RemoveOutcome::Absent,
        })
    }

    async fn prolong(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        let millis = time_to_live_millis(options.time_to_live)?;
        Ok(match self.0.touch(key, millis, options.deadline).await? {
            Answer::Done(version) => TouchOutcome::Touched(version),
            Answer::Conflict(_) => TouchOutcome::Absent,
        })
    }

    async fn claim(&self, key: &CacheKey, mut options: ReserveOptions) -> Result<Reservation> {
        let millis = time_to_live_millis(options.time_to_live)?;
        let redis = self.0.redis().within(options.deadline);
        for _ in 0..MOST_TURNS {
            let (version, generation, record) = match self.0.reserve(&redis, key, millis, &options).await? {
                Reserved::Leased(token) => return Ok(Reservation::Leased(Lease::new(token))),
                Reserved::Held(token) => return Ok(Reservation::Held(Lease::new(token))),
                Reserved::Ended => return Ok(Reservation::Ended),
                Reserved::Hit { version, generation, record } => (version, generation, record),
            };
            match self.open((Some(generation), Some(record))) {
                Stored::Entry(entry) => return Ok(Reservation::Hit(entry)),
                // The script has looked at the tags.
                Stored::Tagged(record) => return Ok(Reservation::Hit(entry(record))),
                // Damaged where a script cannot see it. It is replaced, unless somebody is faster.
                Stored::Nothing | Stored::Later => options.replacing = Some(version),
            }
        }
        Err(unexpected_answer())
    }
}

fn entry(record: Record) -> Entry {
    let created = Timestamp::from_micros(record.created);
    let expires = Timestamp::from_micros(record.expires.saturating_mul(1000));
    Entry::new(record.payload, Version::new(record.version)).with_codec(record.codec).with_times(created, expires)
}

#[async_trait]
impl Cache for RedisCache {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Entry>> {
        let read = self.read(key, options.deadline);
        if !span::is_listened_to() {
            return OPERATION.get.timed(read).await;
        }
        // Boxed, so that the usual future stays small.
        Box::pin(OPERATION.get.during_of(self.0.name(), read)).await
    }

    async fn get_many_with(&self, keys: &[CacheKey], options: GetOptions) -> Result<Vec<Option<Entry>>> {
        OPERATION.get_many.during_of(self.0.name(), self.read_many(keys, options.deadline)).await
    }

    async fn set_with(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        OPERATION.set.during_of(self.0.name(), self.store(key, value, options)).await
    }

    async fn remove_with(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        OPERATION.remove.during_of(self.0.name(), self.drop_entry(key, options)).await
    }

    async fn touch_with(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        OPERATION.touch.during_of(self.0.name(), self.prolong(key, options)).await
    }

    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        OPERATION.reserve.during_of(self.0.name(), self.claim(key, options)).await
    }

    async fn clear_with(&self, options: ClearOptions) -> Result<()> {
        OPERATION.clear.during_of(self.0.name(), self.0.clear(options.since, options.deadline)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        OPERATION.raise.during_of(self.0.name(), self.0.raise(fence, options.deadline)).await
    }

    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        self.0.server_of(key)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([capability::FENCED, capability::FENCED_AT_ONCE, capability::SHARED])
    }

    async fn health(&self) -> Health {
        self.0.redis().health().await
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisCache").field(&self.0).finish()
    }
}
