mod client;
mod envelope;
mod generation;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Health, Key, Namespace, Result, SchemaId};
use statehouse_redis::RedisClient;
use tracing::Instrument as _;

use crate::memory::check_removal;
use crate::{
    Cache, Condition, Entry, GetOptions, Lease, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions, SetOptions,
    SetOutcome, TouchOptions, TouchOutcome, capability, check_value_len, time_to_live_millis,
};
use client::{Answer, Reserved, Wire};

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
/// not stored, and an evicted generation that every entry is a miss.
///
/// # Schemas
/// Each schema has entries of its own, so replicas with the old and the new layout of a type run side by side. A write
/// or removal under one schema ends the key's entry under the schemas one below and one above, so that neither reads
/// what the other has replaced. Raise the number by one each time.
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

    async fn read(&self, key: &Key) -> Result<Option<Entry>> {
        let (generation, stored) = self.0.read(key).await?;
        Ok(stored.zip(generation).and_then(|(stored, current)| envelope::open(stored, self.0.schema, current)))
    }

    async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let (generation, stored) = self.0.read_many(keys).await?;
        let open = |stored| envelope::open(stored, self.0.schema, generation?);
        Ok(stored.into_iter().map(|stored| stored.and_then(open)).collect())
    }

    async fn store(&self, key: &Key, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
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

    async fn drop_entry(&self, key: &Key, condition: Condition) -> Result<RemoveOutcome> {
        check_removal(condition)?;
        let wire = &self.0;
        let attempt = async |era| wire.remove(key, era, condition).await;
        let answer = match condition {
            Condition::Lease(lease) => match wire.generations.under(lease.generation(), attempt).await? {
                Some(answer) => answer,
                None => Answer::Conflict(self.read(key).await?.map(|entry| entry.version)),
            },
            _ => wire.generations.under_current(attempt).await?,
        };
        Ok(match answer {
            Answer::Done(version) if version.get() > 0 => RemoveOutcome::Removed,
            Answer::Conflict(Some(version)) => RemoveOutcome::Conflict(version),
            _ => RemoveOutcome::Absent,
        })
    }

    async fn prolong(&self, key: &Key, options: TouchOptions) -> Result<TouchOutcome> {
        let millis = time_to_live_millis(options.time_to_live)?;
        let wire = &self.0;
        Ok(match wire.generations.under_current(async |era| wire.touch(key, era, millis).await).await? {
            Answer::Done(version) => TouchOutcome::Touched(version),
            Answer::Conflict(_) => TouchOutcome::Absent,
        })
    }

    async fn claim(&self, key: &Key, options: ReserveOptions) -> Result<Reservation> {
        let millis = time_to_live_millis(options.time_to_live)?;
        let wire = &self.0;
        let mut replacing = options.replacing;
        loop {
            let attempt = async |era: generation::Era| {
                let reserved = wire.reserve(key, era, millis, replacing).await?;
                Ok(reserved.map(|reserved| (reserved, era.generation)))
            };
            let (envelope, version, generation) = match wire.generations.under_current(attempt).await? {
                (Reserved::Leased(token), generation) => {
                    return Ok(Reservation::Leased(Lease::new(token, generation)));
                }
                (Reserved::Hit { version, envelope }, generation) => (envelope, version, generation),
            };
            match envelope::open(envelope, wire.schema, generation) {
                Some(entry) => return Ok(Reservation::Hit(entry)),
                // Damaged where a script cannot see it. Each turn has another version, so this ends.
                None => replacing = Some(version),
            }
        }
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get_with(&self, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        // The connector's span says it all, and this is the hot path.
        self.read(key).await
    }

    async fn get_many_with(&self, keys: &[Key], _: GetOptions) -> Result<Vec<Option<Entry>>> {
        self.read_many(keys).instrument(tracing::debug_span!("cache.get_many", keys = keys.len())).await
    }

    async fn set_with(&self, key: &Key, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.store(key, value, options).instrument(tracing::debug_span!("cache.set")).await
    }

    async fn remove_with(&self, key: &Key, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.drop_entry(key, options.condition).instrument(tracing::debug_span!("cache.remove")).await
    }

    async fn touch_with(&self, key: &Key, options: TouchOptions) -> Result<TouchOutcome> {
        self.prolong(key, options).instrument(tracing::debug_span!("cache.touch")).await
    }

    async fn reserve_with(&self, key: &Key, options: ReserveOptions) -> Result<Reservation> {
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
