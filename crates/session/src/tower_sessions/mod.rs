//! Sessions of tower-sessions in any store of this crate.

mod data;
mod recent;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use statehouse_core::{Error, ErrorKind, Result};
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record as TowerRecord};
use tower_sessions_core::session_store::{Error as TowerError, Result as TowerResult};

use self::data::{Digests, Origin, Written};
use self::recent::Recent;
use crate::api::{SessionStore, SessionStoreExt as _};
use crate::capability::PRINCIPALS;
use crate::operation::NAME;
use crate::outcome::{Loaded, Saved, Touched, revoked};
use crate::record::{Authority, NewSession, Principal, Rotate, Rotation, Snapshot};
use crate::session::{Contention, Race};
use crate::token::{SessionKey, Token, VerifierHash, random};

/// A store for [tower-sessions](https://docs.rs/tower-sessions/0.14) and what is built on it, such as
/// [axum-login](https://docs.rs/axum-login/0.18): it keeps their sessions in any [`SessionStore`], in memory, on disk or in Redis.
///
/// What an application of theirs gains by the change of this one line:
///
/// - **No change is lost.** A record that is saved is compared with what it was when it was loaded, and only what the request has
///   changed is written, to the session as it is then: of requests that change different keys at the same time all are
///   kept. Of two changes of one key the later save stays.
/// - **What was deleted stays deleted.** A slow request that saves a session which was flushed meanwhile changes nothing, and is
///   no error.
/// - **A dump opens nothing**: the store has no id, only hashes of it.
/// - **Expiry** is counted by the store's clock, and what has expired is freed by the store: there is no task to run.
/// - With [`with_principals`](Self::with_principals), somebody's sessions can be [listed and ended](crate::Sessions::list) together.
///
/// What it cannot give, for their API has no place for it: reads do not slide the expiry, and a request in flight while the id is
/// cycled finds no session. [`SessionLayer`](crate::SessionLayer) has both.
///
/// # In their API
/// Each key of a session is an [`Attribute`](crate::Attribute) of that name, so it is 1 to 128 bytes long, without control
/// characters, and does not begin with `statehouse.`. One such is in every record that this store has loaded, and says what
/// the others were. Errors are [`Backend`](TowerError::Backend), with the words of ours.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_session::{MemorySessionStore, TowerSessionStore};
/// use tower_sessions_core::Session; // tower-sessions has it as its own
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(TowerSessionStore::new(MemorySessionStore::new())); // of an application: services.sessions()
///
/// let begun = Session::new(None, Arc::<TowerSessionStore>::clone(&store), None);
/// begun.insert("cart", [7]).await?;
/// begun.save().await?;
///
/// // Two requests at the same time, on different keys.
/// let [one, other] = [0, 1].map(|_| Session::new(begun.id(), Arc::<TowerSessionStore>::clone(&store), None));
/// one.insert("theme", "dark").await?;
/// other.insert("ward", 7).await?;
/// one.save().await?;
/// other.save().await?;
///
/// let next = Session::new(begun.id(), store, None);
/// assert_eq!(next.get::<String>("theme").await?.as_deref(), Some("dark"));
/// assert_eq!(next.get::<u32>("ward").await?, Some(7));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TowerSessionStore {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn SessionStore>,
    contention: Contention,
    principal: Option<PrincipalOf>,
    /// What requests have saved last that may save again, by the load of their data. A save cannot leave it in the data.
    saved: Recent<u64, Digests>,
    /// Whose the sessions were that have been deleted of late, and in which of their epochs that was: what is created in the place
    /// of one outlives no revocation that one did not outlive. None if it had ended already.
    left: Recent<SessionKey, Option<(Principal, u64)>>,
}

type PrincipalOf = Arc<dyn Fn(&HashMap<String, Value>) -> Option<String> + Send + Sync>;

/// However often a session is used, it ends after ten years; before that their records say when.
const ABSOLUTE: Duration = Duration::from_secs(3_650 * 86_400);

/// How many values are remembered of what requests have saved, and how many sessions that were deleted: of more than are under way.
const SAVED: usize = 1 << 17;
const LEFT: usize = 1 << 13;

/// How many ids are drawn for a new session: two equal ones do not happen.
const DRAWS: usize = 3;

impl fmt::Debug for TowerSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionStore").field("store", &self.shared.store).finish_non_exhaustive()
    }
}

impl TowerSessionStore {
    /// Their sessions in this store. It may have sessions of ours besides.
    #[must_use]
    pub fn new(store: impl SessionStore) -> Self {
        Self { shared: Arc::new(Shared::new(Arc::new(store), None)) }
    }

    /// Says of a session's data whose it is, so that it is one of [theirs](crate::SessionStore::list_with), ends with all of
    /// [theirs](crate::SessionStore::revoke_with), and is not among those of nobody, of which a store keeps so many at most.
    ///
    /// It is asked with every save. A session that was somebody's stays theirs until it is deleted or somebody else's, even if it
    /// says `None`. A store without [`PRINCIPALS`] does not ask.
    ///
    /// ```
    /// use statehouse_session::{MemorySessionStore, TowerSessionStore};
    ///
    /// // What axum-login keeps.
    /// let store = TowerSessionStore::new(MemorySessionStore::new())
    ///     .with_principals(|data| Some(data.get("axum-login.data")?.get("user_id")?.as_i64()?.to_string()));
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn with_principals(
        self,
        of: impl Fn(&HashMap<String, Value>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(Arc::clone(&self.shared.store), Some(Arc::new(of)))) }
    }
}

#[async_trait::async_trait]
impl tower_sessions_core::SessionStore for TowerSessionStore {
    async fn create(&self, record: &mut TowerRecord) -> TowerResult<()> {
        self.shared.create(record).await.map_err(|error| told(&error))
    }

    async fn save(&self, record: &TowerRecord) -> TowerResult<()> {
        self.shared.save(record).await.map_err(|error| told(&error))
    }

    async fn load(&self, id: &Id) -> TowerResult<Option<TowerRecord>> {
        self.shared.load(id).await.map_err(|error| told(&error))
    }

    async fn delete(&self, id: &Id) -> TowerResult<()> {
        self.shared.delete(id).await.map_err(|error| told(&error))
    }
}

impl Shared {
    fn new(store: Arc<dyn SessionStore>, principal: Option<PrincipalOf>) -> Self {
        let (saved, left) = (Recent::new(SAVED), Recent::new(LEFT));
        Self { store, contention: Contention::default(), principal, saved, left }
    }

    async fn create(&self, record: &mut TowerRecord) -> Result<()> {
        let written = Written::read(&record.data)?;
        let principal = self.principal(&record.data)?;
        let epoch = self.epoch(&written, principal.as_ref()).await?;
        let idle = left(record.expiry_date).unwrap_or(Duration::from_millis(1)).min(ABSOLUTE);
        for _ in 0..DRAWS {
            let token = token(&record.id);
            let new =
                NewSession::new(token.verifier_hash(), idle, ABSOLUTE).with_attributes(written.attributes.clone());
            let new = NewSession { principal: principal.clone(), ..new }.with_epoch(epoch);
            match self.store.create(&token.key(), &new).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => record.id = Id::default(),
                created => {
                    return data::remember(&mut record.data, created?.record());
                }
            }
        }
        Err(Error::new(ErrorKind::Unexpected, "every new session id was taken"))
    }

    /// The epoch that a new session begins in: in the place of one of the same principal, that of the one.
    async fn epoch(&self, written: &Written, principal: Option<&Principal>) -> Result<u64> {
        let Some(principal) = principal else { return Ok(0) };
        let before = written.origin.as_ref().filter(|origin| origin.is_of(principal)).and_then(Origin::key);
        match before.and_then(|before| self.left.get(before)) {
            Some(Some((left, epoch))) if left == *principal => Ok(epoch),
            Some(_) => Err(revoked()),
            None => self.store.epoch(principal).await,
        }
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let key = key(id);
        if self.asks()
            && let Ok(left) = self.leaving(&key).await
        {
            self.left.note_first(key, left, 1);
        }
        self.store.delete(&key, Authority::Application).await.map(drop)
    }

    /// Whose a session is, and an epoch of theirs that it is not revoked in: it is looked at again after that was asked for.
    async fn leaving(&self, key: &SessionKey) -> Result<Option<(Principal, u64)>> {
        let Some(principal) = self.owner(key).await? else { return Ok(None) };
        let epoch = self.store.epoch(&principal).await?;
        let stays = self.owner(key).await?.is_some_and(|owner| owner == principal);
        Ok(stays.then_some((principal, epoch)))
    }

    async fn owner(&self, key: &SessionKey) -> Result<Option<Principal>> {
        let found = self.store.load(key).await?.found();
        Ok(found.and_then(|found| found.record().principal().cloned()))
    }

    async fn load(&self, id: &Id) -> Result<Option<TowerRecord>> {
        let found = match self.store.load(&key(id)).await {
            Ok(Loaded::Found(found)) => found,
            Ok(Loaded::Deleted { .. } | Loaded::Absent) => return Ok(None),
            Err(error) => return Self::discarded(error),
        };
        let data = match data::read(found.record()) {
            Ok(data) => data,
            Err(error) => return Self::discarded(error),
        };
        let left = found.expires().since(found.now()).min(ABSOLUTE);
        Ok(Some(TowerRecord { id: *id, data, expiry_date: OffsetDateTime::now_utc().saturating_add(signed(left)) }))
    }

    /// What cannot be read is no session: else each request with its cookie would fail for as long as the browser has it.
    fn discarded(error: Error) -> Result<Option<TowerRecord>> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        tracing::warn!(name: "session.unreadable", error = %error, "unreadable session discarded");
        Ok(None)
    }

    async fn save(&self, record: &TowerRecord) -> Result<()> {
        let written = Written::read(&record.data)?;
        let saved = written.origin.as_ref().and_then(|origin| self.saved.get(origin.load));
        let written = written.since(saved);
        self.save_changes(record, &written).await.map_err(|error| error.with_operation(NAME.save))?;
        if let Some((load, digests)) = written.saved() {
            let weight = 1 + digests.len();
            self.saved.note(load, digests, weight);
        }
        Ok(())
    }

    async fn save_changes(&self, record: &TowerRecord, written: &Written) -> Result<()> {
        let key = key(&record.id);
        let Some(idle) = left(record.expiry_date) else {
            return self.store.delete(&key, Authority::Application).await.map(drop);
        };
        let (idle, principal) = (idle.min(ABSOLUTE), self.principal(&record.data)?);
        let mut race = Race::new(&self.contention, &*self.store, key);
        let mut base = match race.join_if_busy().await? {
            Some(left) => left,
            None => match self.store.load(&key).await? {
                Loaded::Found(found) => found,
                // It was deleted while the request was under way, and that is how it stays.
                Loaded::Deleted { .. } | Loaded::Absent => return Ok(()),
            },
        };
        loop {
            match self.write(&base, written, principal.as_ref(), idle).await? {
                Saved::Applied(now) => {
                    race.won(&now);
                    return Ok(());
                }
                Saved::Conflict(current) => {
                    let newer = race.lost().await?;
                    let newer = newer.filter(|newer| newer.record().version() > current.record().version());
                    base = newer.unwrap_or(current);
                }
                Saved::Gone | Saved::Superseded => return Ok(()),
            }
        }
    }

    async fn write(
        &self,
        base: &Snapshot,
        written: &Written,
        principal: Option<&Principal>,
        idle: Duration,
    ) -> Result<Saved> {
        let (store, record) = (&*self.store, base.record());
        let delta = written.on(record.attributes());
        if let Some(principal) = principal.filter(|principal| record.principal() != Some(principal)) {
            let login = Rotation::login(verifier()?, principal.clone()).with_epoch(store.epoch(principal).await?);
            return store.rotate(base, Authority::Application, &login.with_idle_timeout(idle), &delta).await;
        }
        if is_another(idle, record.idle_timeout()) {
            let rotation = Rotation::new(verifier()?, Rotate::PrivilegeChange).with_idle_timeout(idle);
            return store.rotate(base, Authority::Application, &rotation, &delta).await;
        }
        if delta.changes(record.attributes()) {
            return store.save(base, Authority::Application, &delta).await;
        }
        self.slide(base).await
    }

    /// A save that changes nothing is made for the sake of the expiry.
    async fn slide(&self, base: &Snapshot) -> Result<Saved> {
        Ok(match self.store.touch(base.record().key()).await? {
            Touched::Slid => Saved::Applied(base.clone()),
            Touched::Gone => Saved::Gone,
        })
    }

    /// Whether it is known whose the sessions are.
    fn asks(&self) -> bool {
        self.principal.is_some() && self.store.capabilities().has(PRINCIPALS)
    }

    fn principal(&self, data: &HashMap<String, Value>) -> Result<Option<Principal>> {
        let of = self.principal.as_ref().filter(|_| self.asks());
        of.and_then(|of| of(data)).map(Principal::new).transpose()
    }
}

/// Their ids are one secret, ours are two; and of neither does a store see more than a hash.
fn token(id: &Id) -> Token {
    Token::derived(&id.0.to_le_bytes())
}

fn key(id: &Id) -> SessionKey {
    token(id).key()
}

/// Nobody shows a verifier: it is enough to know the id.
fn verifier() -> Result<VerifierHash> {
    random().map(VerifierHash::from_bytes)
}

/// How long until then. None if that is over.
fn left(then: OffsetDateTime) -> Option<Duration> {
    Duration::try_from(then - OffsetDateTime::now_utc()).ok().filter(|left| *left >= Duration::from_millis(1))
}

fn signed(left: Duration) -> time::Duration {
    time::Duration::try_from(left).unwrap_or(time::Duration::MAX)
}

/// Whether this is another timeout, and not the same one a moment later.
fn is_another(idle: Duration, before: Duration) -> bool {
    idle.abs_diff(before) > (before / 100).min(Duration::from_secs(1))
}

fn told(error: &Error) -> TowerError {
    TowerError::Backend(error.to_string())
}
