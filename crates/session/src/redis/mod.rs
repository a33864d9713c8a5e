//! Sessions in Redis or Valkey: a single server, Sentinel or Cluster.

mod client;
mod config;
mod error;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Health, Namespace, Result};
use statehouse_redis::{EvictionPolicy, RedisClient};

use self::client::{Swapped, Wire};
use crate::api::{Deleted, Loaded, Saved, SessionStore, Touched};
use crate::capability::{DURABLE, SHARED, UNEVICTED};
use crate::memory::taken;
use crate::record::{Authority, Delta, NewSession, Record, Rotation, Snapshot};
use crate::token::SessionKey;

/// Keeps sessions in Redis or Valkey, for all replicas.
///
/// # Layout
/// `namespace:session:records:KEY` holds one session: a [`Record`] in a [`statehouse_core::Envelope`] that is stamped
/// with the server's time, and that the server expires. Every operation is one round trip on this one key, so all of it
/// works in a cluster.
///
/// # Consistency
/// Replication is asynchronous: after a failover, what was acknowledged in the last moments may be missing. A missing
/// login or attribute is a nuisance; a logout that is missing means that the session is there again, up to its timeouts.
/// `min-replicas-to-write` on the server narrows that window.
///
/// What a client needs to know of the server's time is the server's own clock, read in the last second
/// ([`RedisClient::query_dated`]). The idle timeout slides when a tenth of it is to be gained, by reads and by writes.
///
/// The server must not evict keys (`maxmemory-policy noeviction`): a session that it evicts is a user who has to log in
/// again. [`open`](Self::open) asks for the policy. If the server evicts, that is a warning in the log, and
/// [`health`](SessionStore::health) says so; the capability [`UNEVICTED`] is there only if it is certain that it does not.
///
/// On a server whose memory is full a deletion still works: the key is removed, so that for requests under way the session
/// is absent and not deleted. Reads go on, and no session slides until there is room.
///
/// # Retries
/// Everything is repeated but a create whose answer was lost. Saves and rotations are bound to a version, so that a
/// repeated one finds its first try, knows it for its own and changes nothing. A save that is not the last one any more
/// when it is repeated, because another came in between, is taken for one that was not applied.
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    wire: Wire,
    eviction: EvictionPolicy,
}

impl RedisSessionStore {
    /// The sessions of this namespace. Nothing is sent yet, so that it stays unknown whether the server evicts.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the namespace is too long.
    pub fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Ok(Self { wire: Wire::new(redis, namespace)?, eviction: EvictionPolicy::Unknown })
    }

    /// Whether it is known that the server does, as of the opening.
    const fn evicts(&self) -> bool {
        matches!(self.eviction, EvictionPolicy::Any | EvictionPolicy::WithTimeToLive)
    }

    async fn swap(
        &self,
        operation: &'static str,
        base: &Snapshot,
        authority: Authority,
        next: Record,
    ) -> Result<Swapped> {
        // The script compares versions only. A holder that the base itself does not accept is refused here.
        match base.record().accepts(authority, base.now()) {
            true => self.wire.swap(operation, base, next).await,
            false => Ok(Swapped::Other(base.clone())),
        }
    }
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create(&self, key: &SessionKey, new: &NewSession) -> Result<Snapshot> {
        new.check()?;
        self.wire.create(key, new).await?.ok_or_else(|| taken("redis"))
    }

    async fn load(&self, key: &SessionKey) -> Result<Loaded> {
        self.wire.load(key).await
    }

    async fn save(&self, base: &Snapshot, authority: Authority, delta: &Delta) -> Result<Saved> {
        let Some(next) = base.record().with_delta(delta) else { return Ok(Saved::Ok(base.clone())) };
        Ok(match self.swap("session.save", base, authority, next).await? {
            Swapped::Ok(snapshot) => Saved::Ok(snapshot),
            Swapped::Other(current) => current.contest(authority),
            Swapped::Gone => Saved::Gone,
        })
    }

    async fn rotate(&self, base: &Snapshot, authority: Authority, rotation: &Rotation, delta: &Delta) -> Result<Saved> {
        let next = base.record().with_rotation(rotation, delta, base.now());
        Ok(match self.swap("session.rotate", base, authority, next).await? {
            Swapped::Ok(snapshot) => Saved::Ok(snapshot),
            // Nobody else draws this verifier: it is this rotation, repeated because its answer was lost.
            Swapped::Other(current) if current.record().is_newest(&rotation.next) => Saved::Ok(current),
            Swapped::Other(current) => current.contest(authority),
            Swapped::Gone => Saved::Gone,
        })
    }

    async fn touch(&self, key: &SessionKey) -> Result<Touched> {
        self.wire.touch(key).await
    }

    async fn delete(&self, key: &SessionKey, authority: Authority) -> Result<Deleted> {
        match authority {
            Authority::Holder(holder) => self.wire.delete(key, Some(&holder)).await,
            Authority::Application => self.wire.delete(key, None).await,
        }
    }

    async fn health(&self) -> Health {
        let mut health = self.wire.redis().health().await;
        if self.evicts() {
            health.backend.push_str(", which evicts sessions when its memory is full");
        }
        health
    }

    fn capabilities(&self) -> Capabilities {
        let unevicted = (self.eviction == EvictionPolicy::Never).then_some(UNEVICTED);
        [DURABLE, SHARED].into_iter().chain(unevicted).collect()
    }
}
