mod client;
mod envelope;
mod generation;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Envelope, Health, Namespace, Result, SchemaId};
use statehouse_redis::RedisClient;
use tracing::Instrument as _;

use crate::memory::check_removal;
use crate::{
    Cache, CacheKey, Condition, Entry, GetOptions, Lease, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    SetOptions, SetOutcome, TouchOptions, TouchOutcome, capability, check_value_len, time_to_live_millis,
};
use client::{Answer, Reserved, Wire};
use envelope::Stored;

/// A cache of bytes in Redis or Valkey: a single server, Sentinel or Cluster.
///
/// # Layout
/// `namespace:cache:name:{key}:schema` holds one entry or lease as a
/// [`statehouse_core::Envelope`], stamped by a script with the server's clock and expired by the server.
/// `namespace:cache:name:{%}:generation` holds the generation that `clear` raises.
///
/// # Consistency
/// A key is in one slot and every script touches one key (and the same key of the neighbouring schemas), so all of it
/// works in a cluster. Replication is asynchronous: after a failover a write that was acknowledged within the last
/// moments may be missing, and so may an invalidation.
///
/// A server that evicts (`maxmemory-policy`) costs hits and never correctness: an evicted lease means that a load is
/// not stored, and an evicted generation that every entry is a miss. One that is full and does not evict (`noeviction`)
/// refuses sets and leases; removals and `clear` work all the same, the latter by taking the generation away.
///
/// # Schemas
/// Each schema has entries of its own, so replicas with the old and the new layout of a type run side by side. A write
/// or removal under one schema ends the key's entry under the schemas one below and one above, so that neither reads
/// what the other has replaced. Raise the number by one each time: schemas that are further apart know nothing of each other,
/// and under the old one an entry stays readable until its time to live is over.
///
/// # Retries
/// The connector repeats reads, reservations, touches, clears, and unconditional sets and removals whose answer was
/// lost. A conditional write is never repeated: its error is
/// [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown).
///
/// Clones share everything.
#[derive(Clone)]
pub struct RedisCache(Arc<Wire>);

impl RedisCache {
    /// The cache of this name, with entries of this schema. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the name is not one or more dotted lowercase
    /// words as [`Namespace`] describes.
    pub fn new(client: RedisClient, namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Self> {
        Ok(Self(Arc::new(Wire::new(client, namespace, name, schema)?)))
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Entry>> {
        let (generation, stored) = self.0.read(key).await?;
        let Some((stored, generation)) = stored.zip(generation) else { return Ok(None) };
        match envelope::open(stored, self.0.schema, generation) {
            Stored::Entry(entry) => Ok(Some(entry)),
            Stored::Nothing => Ok(None),
            // Boxed, so that the usual future stays small.
            Stored::Later(envelope) => Box::pin(self.read_again(envelope, &mut None)).await,
        }
    }

    /// An entry of a later generation than the one that this process knows: it asks again which is current, so that a
    /// write that has returned is seen although the cache was cleared a moment before.
    async fn read_again(&self, envelope: Envelope, current: &mut Option<u64>) -> Result<Option<Entry>> {
        if current.is_none() {
            *current = self.0.generations.current().await?;
        }
        let Some(generation) = *current else { return Ok(None) };
        Ok(match envelope::judge(envelope, self.0.schema, generation) {
            Stored::Entry(entry) => Some(entry),
            Stored::Nothing | Stored::Later(_) => None,
        })
    }

    async fn read_many(&self, keys: &[CacheKey]) -> Result<Vec<Option<Entry>>> {
        let (generation, stored) = self.0.read_many(keys).await?;
        let Some(generation) = generation else { return Ok(vec![None; keys.len()]) };
        let (mut entries, mut current) = (Vec::with_capacity(stored.len()), None);
        for stored in stored {
            let stored = stored.map_or(Stored::Nothing, |stored| envelope::open(stored, self.0.schema, generation));
            entries.push(match stored {
                Stored::Entry(entry) => Some(entry),
                Stored::Nothing => None,
                Stored::Later(envelope) => Box::pin(self.read_again(envelope, &mut current)).await?,
            });
        }
        Ok(entries)
    }

    async fn store(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let millis = time_to_live_millis(options.time_to_live)?;
        check_value_len(value.len())?;
        let wire = &self.0;
        let sealed = |generation| envelope::value(options.codec, wire.schema, generation, value.clone());
        let answer = match options.condition {
            Condition::Lease(lease) => {
                let sealed = sealed(lease.generation());
                let attempt = async |era| wire.set(key, era, millis, &sealed, options.condition).await;
                match wire.generations.under(lease.generation(), attempt).await? {
                    Some(answer) => answer,
                    None => Answer::Conflict(self.read(key).await?.map(|entry| entry.version)),
                }
            }
            condition => {
                wire.generations
                    .under_current(async |era| wire.set(key, era, millis, &sealed(era.generation), condition).await)
                    .await?
            }
        };
        Ok(match answer {
            Answer::Done(version) => SetOutcome::Stored(version),
            Answer::Conflict(version) => SetOutcome::Conflict(version),
        })
    }

    async fn drop_entry(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        check_removal(options.condition)?;
        let wire = &self.0;
        let attempt = async |era| wire.remove(key, era, options).await;
        let answer = match options.condition {
            Condition::Lease(lease) => match wire.generations.under(lease.generation(), attempt).await? {
                Some(answer) => answer,
                None => Answer::Conflict(self.read(key).await?.map(|entry| entry.version)),
            },
            _ => wire.generations.under_any(attempt).await?,
        };
        Ok(match answer {
            Answer::Done(version) if version.get() > 0 => RemoveOutcome::Removed,
            Answer::Conflict(Some(version)) => RemoveOutcome::Conflict(version),
            _ => RemoveOutcome::Absent,
        })
    }

    async fn prolong(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        let millis = time_to_live_millis(options.time_to_live)?;
        let wire = &self.0;
        Ok(match wire.generations.under_current(async |era| wire.touch(key, era, millis).await).await? {
            Answer::Done(version) => TouchOutcome::Touched(version),
            Answer::Conflict(_) => TouchOutcome::Absent,
        })
    }

    async fn claim(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        let millis = time_to_live_millis(options.time_to_live)?;
        let wire = &self.0;
        let mut options = options;
        loop {
            let attempt = async |era: generation::Era| {
                let reserved = wire.reserve(key, era, millis, options).await?;
                Ok(reserved.map(|reserved| (reserved, era.generation)))
            };
            let (envelope, version, generation) = match wire.generations.under_current(attempt).await? {
                (Reserved::Leased(token), generation) => {
                    return Ok(Reservation::Leased(Lease::new(token, generation)));
                }
                (Reserved::Held(token), generation) => return Ok(Reservation::Held(Lease::new(token, generation))),
                (Reserved::Ended, _) => return Ok(Reservation::Ended),
                (Reserved::Hit { version, envelope }, generation) => (envelope, version, generation),
            };
            match envelope::open(envelope, wire.schema, generation) {
                Stored::Entry(entry) => return Ok(Reservation::Hit(entry)),
                // Damaged where a script cannot see it. Each turn has another version, so this ends.
                Stored::Nothing | Stored::Later(_) => options.replacing = Some(version),
            }
        }
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get_with(&self, key: &CacheKey, _: GetOptions) -> Result<Option<Entry>> {
        // The connector's span says it all, and this is the hot path.
        self.read(key).await
    }

    async fn get_many_with(&self, keys: &[CacheKey], _: GetOptions) -> Result<Vec<Option<Entry>>> {
        self.read_many(keys).instrument(tracing::debug_span!("cache.get_many", keys = keys.len())).await
    }

    async fn set_with(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.store(key, value, options).instrument(tracing::debug_span!("cache.set")).await
    }

    async fn remove_with(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.drop_entry(key, options).instrument(tracing::debug_span!("cache.remove")).await
    }

    async fn touch_with(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        self.prolong(key, options).instrument(tracing::debug_span!("cache.touch")).await
    }

    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        self.claim(key, options).instrument(tracing::debug_span!("cache.reserve")).await
    }

    async fn clear(&self) -> Result<()> {
        self.0.generations.begin_next().instrument(tracing::debug_span!("cache.clear")).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([capability::SHARED])
    }

    async fn health(&self) -> Health {
        self.0.client().health().await
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisCache").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests;
