//! Sessions in Redis or Valkey: a single server, Sentinel or Cluster.

mod anonymous;
mod answers;
mod at_once;
mod client;
mod config;
mod dated;
mod ends;
#[cfg(test)]
mod fuzz;
mod judged;
mod logins;
mod principals;
mod replies;

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Health, Namespace, RaiseOptions, Result, Timestamp};
use statehouse_redis::{Contents, EvictionPolicy, RedisClient};

use self::anonymous::MAX_ANONYMOUS;
use self::answers::Answers;
use self::client::{OPERATION, Swapped, Wire};
use self::principals::{Attempt, Deadline, Met, Principals};
use crate::api::SessionStore;
use crate::capability::{DURABLE, FENCED, FENCED_AT_ONCE, PRINCIPALS, SHARED, UNEVICTED};
use crate::options::{
    CreateOptions, DeleteOptions, EpochOptions, ListOptions, LoadOptions, RevokeOptions, SaveOptions, TouchOptions,
};
use crate::outcome::{Deleted, Loaded, Saved, Touched};
use crate::principals::Login;
use crate::record::{Authority, Delta, NewSession, Principal, Record, Revoke, Rotation, Snapshot};
use crate::token::{SessionKey, VerifierHash};

/// Keeps sessions in Redis or Valkey, for all replicas.
///
/// # Layout
/// `namespace:session:records:KEY` holds one session: a [`Record`] in a [`statehouse_core::Envelope`] that is stamped
/// with the server's time, and that the server expires. Every operation on a session is one script or command on this one key, and on the
/// epochs of whoever is logged in to it where they lie on the same server, so all of it works in a cluster. `namespace:session:marks:LOCK` is the mark of a lock that guards the store, see
/// [`REFUSE_STALE`](statehouse_redis::REFUSE_STALE): a script looks at it together with the session, which in a cluster is in
/// another slot, so that a cluster is not [`FENCED`]. A record is `record/format.rs` of this crate, byte by byte, and what a sealed
/// store seals of it `sealed/format.rs`.
///
/// # Consistency
/// Replication is asynchronous: after a failover, what was acknowledged in the last moments may be missing. A missing
/// login or attribute is a nuisance; a logout that is missing means that the session is there again, up to its timeouts.
/// `min-replicas-to-write` on the server bounds it where a master lives on without its replicas: it takes writes for
/// `min-replicas-max-lag` (10 s by default) and not for ever. Where there is one replica, the price is that after a failover
/// there is none: until another one is there, reads go on, and logins and logouts are refused as `Unavailable`.
/// With [`wait_replicas`](statehouse_redis::RedisConfig::with_wait_replicas) what was acknowledged is on a replica, too, and stays when the
/// master is killed; what too few have in time is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown), and may be there.
///
/// What a client needs to know of the server's time is the server's own clock, read in the last second
/// ([`RedisClient::query_dated`]). The idle timeout slides when a tenth of it is to be gained, by reads and by writes. When a session's token
/// was replaced is for the script to say that does it, since requests are told by it whether they came before that.
///
/// The server must not evict keys (`maxmemory-policy noeviction`): a session that it evicts is a user who has to log in
/// again. A cache that fills the same server would evict all of them, or with `noeviction` keep everybody from logging in: it
/// belongs on a server of its own. [`open`](Self::open) asks for the policy. If the server evicts, that is a warning in the log, and
/// [`health`](SessionStore::health), which asks each time, is degraded; the capability [`UNEVICTED`] is there only if it is certain that it does not.
///
/// On a server whose memory is full a deletion still works: the key is removed, so that for requests under way the session
/// is absent and not deleted. Reads go on, and sessions slide. A revocation, of one or of everybody, is made as on any other: what it
/// writes, some hundred bytes for each principal, goes beyond the limit, since behind a first command that needs no room Redis refuses a script no other.
///
/// A session must fit into an answer: above `max_answer`, less 1 KiB, it is [`TooLarge`](statehouse_core::ErrorKind::TooLarge), and stays as it was.
///
/// # Principals
/// What belongs to a principal has it as its hash tag, so that it lies in one slot:
///
/// | key | type | what it is |
/// | --- | --- | --- |
/// | `namespace:session:principals:{PRINCIPAL}:sessions` | sorted set | the keys of the sessions, 32 bytes each, by when they end at the latest, in microseconds since 1970 |
/// | `namespace:session:principals:{PRINCIPAL}:entering` | sorted set | the same of logins under way where there is a limit, by when they no longer count |
/// | `namespace:session:principals:{PRINCIPAL}:epoch` | string | decimal digits: the epoch, the microsecond since 1970 at which all that is older was revoked |
/// | `namespace:session:principals:{PRINCIPAL}:keeping` | string | the same of a session that stays while all others end, until they have |
/// | `namespace:session:everybody:epoch` | string | the same of everybody; an hour ahead, for it may lie on another server, whose clock is behind |
///
/// A record has the [epoch](Record::epoch) that its login began in, and a load and each write look at it and at these: so a revocation is
/// one write, whatever the index has. On a single server a write does so in its one script. Epoch and session lie in two slots of a
/// cluster: there a write asks for both at the same time, and where the epochs cannot be read, what was made is answered as if nobody had
/// been revoked.
///
/// On a single server a login is two round trips: a load together with the epoch, and one script that looks at the epoch and at the limit, writes
/// the session and puts it into the index. In a cluster, and where the limit is reached, it is made in steps: it creates or
/// rotates its session and then puts that into the index, three round trips with the load and the epoch, which are asked for at the same time, and four with a limit, for
/// which a place is kept before; where the
/// oldest make room, they end once it is made, which is four more; and in a cluster one more for a login to a session that somebody is logged
/// in to. If that dies in between, the session is in no list until it is next touched, which puts it there, and every revocation ends it all the same; a
/// place that is kept is free after ten seconds.
/// What is deleted leaves the index in the same step, or at once afterwards where that lies on another
/// server, or where this process has not met the session before; what has expired leaves it when it is listed or revoked, when a limit is met, or when
/// it would have ended at the latest. A
/// load is one round trip where this process has met the session before, else two for who is logged in. A list is two, and one more for each
/// 256 sessions beyond the first, and `revoke` of all one, or two
/// in a cluster; what it ends is deleted afterwards. The epoch of a principal is kept for ten years, so that no session that is in no index outlives it.
///
/// # A server that holds writes back
/// While it hands over to a replica Redis answers reads and no writes. Once that is known, which takes three writes that nothing
/// comes of, none is sent: each fails at once with [`Unavailable`](statehouse_core::ErrorKind::Unavailable) and
/// [`Retry::After`](statehouse_core::Retry::After), those that are waiting end within a second, and loads go on. A task
/// finds out when writes are answered again: it deletes `namespace:session:answers:{…}:probe`, which is never there and lies where the key did that was asked for, over a
/// connection of its own. The same holds for reads, apart. What is answered late counts as answered. Each server of a cluster counts for
/// itself, and each command for the server that it goes to.
///
/// # Anonymous sessions
/// Everybody can make the store keep sessions that nobody is logged in to. There may be
/// [so many](Self::with_max_anonymous), and another one is refused, with a warning when that begins. In
/// `namespace:session:anonymous:count`, a hash, stands how many have expired by which second; each store adds to it once a
/// second what it has done, so that no operation costs another round trip. So the bound is exceeded by what other replicas
/// create within a second; a session is counted for up to a thirty-second part of its idle timeout after it has expired, and
/// one that was deleted as long as it would have lived. What a replica counted in its last second is lost with it, and
/// the whole count with the key: then it is right again after an idle timeout.
///
/// # Retries
/// Everything is repeated. A create whose answer was lost knows its session by the id; saves and rotations are bound
/// to a version, and the record has the ids of the last sixteen changes of the last minute, so that a repeated one knows its
/// first try, whatever others have changed in between. What comes to the server after its caller was told that it had failed
/// is refused there, by the server's clock.
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    wire: Wire,
    principals: Principals,
    met: Arc<Met>,
    eviction: EvictionPolicy,
}

impl RedisSessionStore {
    /// The sessions of this namespace. Nothing is sent yet, so that it stays unknown whether the server evicts.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if the namespace is too long.
    pub fn new(redis: RedisClient, namespace: &Namespace) -> Result<Self> {
        Self::bounded(redis, namespace, MAX_ANONYMOUS)
    }

    fn bounded(redis: RedisClient, namespace: &Namespace, max_anonymous: u64) -> Result<Self> {
        let answers = Answers::new(redis.clone(), namespace)?;
        let principals = Principals::new(redis.clone(), Arc::clone(&answers), namespace)?;
        let wire = Wire::new(redis, answers, namespace, max_anonymous)?;
        Ok(Self { wire, principals, met: Arc::default(), eviction: EvictionPolicy::Unknown })
    }

    fn rebounded(self, max_anonymous: u64) -> Self {
        Self { wire: self.wire.with_max_anonymous(max_anonymous), ..self }
    }

    /// Whether it is known that the server does, as of the opening.
    const fn evicts(&self) -> bool {
        matches!(self.eviction, EvictionPolicy::Any | EvictionPolicy::WithTimeToLive)
    }

    /// Writes `next` if nobody has changed the session of the base. Of one that was revoked, which no load finds any more, nothing is
    /// written.
    async fn swap_live(
        &self,
        base: &Snapshot,
        authority: Authority,
        next: Record,
        verifier: Option<&VerifierHash>,
        options: SaveOptions,
    ) -> Result<Saved> {
        let swapped = match base.record().principal() {
            None => self.wire.swap(base, next, None, None, options).await?,
            Some(principal) if self.wire.redis().is_cluster() => {
                Box::pin(self.swap_apart(base, principal, next, options)).await?
            }
            Some(principal) => {
                let known = self.principals.known(principal.clone());
                self.wire.swap(base, next, Some(known), None, options).await?
            }
        };
        swapped.settled(base, authority, verifier)
    }

    /// In a cluster the epochs lie elsewhere, and are asked for at the same time.
    async fn swap_apart(
        &self,
        base: &Snapshot,
        principal: &Principal,
        next: Record,
        options: SaveOptions,
    ) -> Result<Swapped> {
        let deadline = Deadline::of(options.deadline);
        let epochs = async { Ok(self.principals.epochs(principal, deadline.left()).await) };
        let (swapped, epochs) = tokio::try_join!(self.wire.swap(base, next, None, None, options), epochs)?;
        let theirs = swapped.record().filter(|record| record.principal() == Some(principal)).map(Record::epoch);
        let is_over = match theirs {
            Some(epoch) => self.is_over(base.record().key(), epoch, epochs, deadline).await,
            None => false,
        };
        Ok(if is_over { Swapped::Gone } else { swapped })
    }
}

/// What is answered without a server: its script compares versions only, and so a holder that the base itself does not accept is refused
/// here.
fn refusal(
    base: &Snapshot,
    authority: Authority,
    verifier: Option<&VerifierHash>,
    options: &SaveOptions,
) -> Option<Result<Saved>> {
    let refused = !base.record().accepts(authority, base.now());
    refused.then(|| base.clone().contest(base, authority, verifier, options))
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        let create = pin!(async {
            new.check()?;
            self.create(key, new, &options).await
        });
        OPERATION.create.during(create).await
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        let load = pin!(self.load_live(key, Deadline::of(options.deadline)));
        OPERATION.load.during(load).await
    }

    async fn load_entering_with(
        &self,
        key: &SessionKey,
        who: &Principal,
        options: LoadOptions,
    ) -> Result<(Loaded, u64)> {
        let load = pin!(self.load_entering(key, who, Deadline::of(options.deadline)));
        OPERATION.load.during(load).await
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        let Some(next) = base.unsealed()?.with_save(authority, delta, base.now()) else {
            return Ok(Saved::Applied(base.clone()));
        };
        if let Some(refused) = refusal(base, authority, None, &options) {
            return refused.map_err(|error| OPERATION.save.name_in(error));
        }
        let save = pin!(self.swap_live(base, authority, next, None, options));
        OPERATION.save.during(save).await
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        rotation.check()?;
        let next = base.unsealed()?.with_rotation(authority, rotation, delta, base.now());
        if let Some(refused) = refusal(base, authority, Some(&rotation.next), &options) {
            return refused.map_err(|error| OPERATION.rotate.name_in(error));
        }
        let rotate = pin!(async {
            let Some(login) = Login::by(rotation) else {
                return self.swap_live(base, authority, next, Some(&rotation.next), options).await;
            };
            let login = Attempt::new(login, base.record().key(), options.deadline);
            Box::pin(self.rotate_in(login, base, (authority, rotation), next, options)).await
        });
        OPERATION.rotate.during(rotate).await
    }

    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
        let touch = pin!(async {
            let deadline = Deadline::of(options.deadline);
            let touch = |known| self.wire.touch(key, known, deadline.left());
            let touch = self.of_live(key, deadline, touch, (Touched::Gone, Timestamp::default()));
            let ((touched, ends), owner) = touch.await?;
            if let Some(owner) = owner {
                Box::pin(self.mend(key, (&owner.principal, ends), deadline)).await;
            }
            Ok(touched)
        });
        OPERATION.touch.during(touch).await
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        let holder = match &authority {
            Authority::Holder(holder) => Some(holder),
            Authority::Application => None,
        };
        let delete = pin!(async {
            let (deadline, known) = (Deadline::of(options.deadline), self.met.principal_of(key));
            let delete = |known| self.wire.delete(key, holder, None, known, &options);
            let (deleted, owner) = self.of_live(key, deadline, delete, Deleted::Gone).await?;
            // What the script knew whose it is has left their index in the same step.
            let apart = self.wire.redis().is_cluster();
            let left = owner.filter(|owner| apart || known.as_ref() != Some(&owner.principal));
            if let Some(owner) = left.filter(|_| deleted == Deleted::Removed) {
                self.forget_later(&owner.principal, vec![*key]);
            }
            Ok(deleted)
        });
        OPERATION.delete.during(delete).await
    }

    async fn epoch_with(&self, principal: &Principal, options: EpochOptions) -> Result<u64> {
        let epoch = pin!(self.begin(principal, Deadline::of(options.deadline)));
        OPERATION.epoch.during(epoch).await
    }

    async fn list_with(&self, principal: &Principal, options: ListOptions) -> Result<Vec<Snapshot>> {
        let list = pin!(self.list_live(principal, Deadline::of(options.deadline)));
        OPERATION.list.during(list).await
    }

    async fn revoke_with(&self, which: Revoke<'_>, options: RevokeOptions) -> Result<()> {
        let revoke = pin!(self.end(which, Deadline::of(options.deadline)));
        OPERATION.revoke.during(revoke).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let raise = pin!(self.wire.raise(fence, options.deadline));
        OPERATION.raise.during(raise).await
    }

    async fn health(&self) -> Health {
        self.wire.redis().health_of(Contents::MustStay).await
    }

    fn capabilities(&self) -> Capabilities {
        let unevicted = (self.eviction == EvictionPolicy::Never).then_some(UNEVICTED);
        let fenced = (!self.wire.redis().is_cluster()).then_some([FENCED, FENCED_AT_ONCE]);
        [DURABLE, PRINCIPALS, SHARED].into_iter().chain(unevicted).chain(fenced.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests;
