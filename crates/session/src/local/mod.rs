//! Sessions on a local disk, for one process.

mod admit;
mod client;
mod config;
mod error;
mod logins;
mod place;
mod room;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::fence::Marks;
use statehouse_core::folder::is_full;
use statehouse_core::{
    Capabilities, Error, Fence, Health, Operation, RaiseOptions, Result, Steady, Timestamp, deadline,
};

use self::client::{Folder, Opening};
pub use self::config::LocalConfig;
use self::error::{Failure, in_use, is_visible, map_error, refused};
use self::logins::Logins;
use self::room::{Room, Used, blocks};
use crate::api::SessionStore;
use crate::bounds::Bounds;
use crate::capability::{DURABLE, FENCED, FENCED_AT_ONCE, PRINCIPALS, UNEVICTED};
use crate::operation::Operations;
use crate::options::{
    CreateOptions, DeleteOptions, EpochOptions, ListOptions, LoadOptions, RevokeOptions, SaveOptions, TouchOptions,
};
use crate::outcome::{Deleted, Loaded, REMEMBERED, Saved, Touched, taken};
use crate::principals::Login;
use crate::record::{
    Authority, Delta, NewSession, Principal, Record, Revoke, Rotation, SaveId, Snapshot, deleted_at, tombstone,
};
use crate::token::SessionKey;

const OPERATION: Operations = Operations::of("local");

/// Keeps each session in a file of a folder: they survive a restart and a crash of the one process that uses it.
///
/// # Layout
/// | path below the folder | what it is |
/// | --- | --- |
/// | `lock` | empty: locked by who has the folder open |
/// | `ab/cdef…` | one session: a [`Record`](crate::Record) in a [`statehouse_core::Envelope`], under its key in hexadecimal |
/// | `tmp/` | what is being written: it is synced there, and renamed into its place |
///
/// A record is `record/format.rs` of this crate, byte by byte, and what a sealed store seals of it `sealed/format.rs`. A file's
/// modification time is when the session was last used, so that a touch writes no data.
///
/// Which sessions are whose is in memory: it is read with all sessions when the folder is opened, and kept since. A login that began
/// before that is refused; and where a file cannot be read, so are lists, revocations and logins with a limit until it can. A revocation is
/// answered once the files of all that it ends are gone. Logins are one after another, and wait for no revocation to be done.
///
/// # Durability
/// A write is synced to the disk before it is answered. Marks of locks that guard the store are in memory, since nobody else
/// writes here: whoever opens the folder anew begins without them. The folder is locked: a second process, or a second store in
/// this one, is refused with [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable). Expired sessions are deleted as others are written, a few at
/// a time. When the folder holds as much as it may, by number or by bytes, anonymous sessions make room; while none are
/// found, what needs room is refused with [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable). Needs a tokio runtime: the disk is used on its blocking threads.
#[derive(Clone, Debug)]
pub struct LocalSessionStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: Folder,
    path: PathBuf,
    bounds: Bounds,
    clock: Steady,
    /// No other process writes here, so they need not be on the disk.
    marks: Marks,
    /// Nor need this, which is read anew with the folder.
    logins: Logins,
}

impl LocalSessionStore {
    /// Opens the folder, creating it if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable) if another store has it open; [`ErrorKind::PermissionDenied`](statehouse_core::ErrorKind::PermissionDenied) if it cannot be
    /// written; [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if it has other things in it, belongs to another user, or can be written by
    /// every user.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(LocalConfig::new(folder)).await
    }

    /// Opens the folder of `config`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(config: LocalConfig) -> Result<Self> {
        let LocalConfig { folder: path, bounds, clock, setting } = config;
        let clock = Steady::new(clock);
        let open = blocking(move || {
            let opened = Folder::open(&path).map_err(|source| map_error(source).with_setting(&setting));
            let folder = match opened? {
                Opening::Open(folder) => *folder,
                Opening::InUse => return Err(in_use()),
                Opening::Refused(why) => return Err(refused(&setting, &why)),
            };
            let inner = Inner { folder, path, bounds, clock, marks: Marks::default(), logins: Logins::default() };
            inner.learn().map_err(Failure::into_error)?;
            Ok(Self { inner: Arc::new(inner) })
        });
        open.await.map_err(|error| OPERATION.open.name_in(error))
    }

    /// Looks at the folder. What is late has changed nothing.
    async fn look<T: Send + 'static>(
        &self,
        operation: Operation,
        limit: Option<Duration>,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        operation.during(deadline::within(limit, tokio::time::sleep, deadline::not_done, self.run(work))).await
    }

    /// Changes the folder. The disk goes on with what it was asked to write, late or not.
    async fn change<T: Send + 'static>(
        &self,
        operation: Operation,
        limit: Option<Duration>,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        operation.during(deadline::within(limit, tokio::time::sleep, deadline::in_doubt, self.run(work))).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner).map_err(Failure::into_error)).await
    }

    async fn write(
        &self,
        operation: Operation,
        base: &Snapshot,
        change: Change,
        next: impl Fn(&Record, Timestamp) -> Record + Send + 'static,
    ) -> Result<Saved> {
        let base = base.clone();
        self.change(operation, change.options.deadline, move |inner| inner.write(&base, &change, next)).await
    }
}

/// How long a file that cannot be read is kept for somebody to look at.
const UNREADABLE_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// In whose name a session is changed, by which rotation if by one, and what else was said.
struct Change {
    authority: Authority,
    rotation: Option<Rotation>,
    options: SaveOptions,
}

impl Inner {
    /// What there is under the key. The caller holds the lock if it goes on to write.
    fn find(&self, key: &SessionKey) -> Result<Loaded, Failure> {
        let Some(found) = self.folder.read(key)? else { return Ok(Loaded::Absent) };
        let now = self.clock.now();
        if let Some(at) = deleted_at(&found.bytes) {
            let ago = now.since(at);
            return Ok(if ago < REMEMBERED { Loaded::Deleted { ago } } else { Loaded::Absent });
        }
        let record = Record::decode(key, &found.bytes)?;
        let expires = record.expiry_if_used(found.seen);
        let idle_expiry = found.seen + record.idle_timeout();
        Ok(if expires > now { Loaded::Found(Snapshot::new(record, now, idle_expiry)) } else { Loaded::Absent })
    }

    /// Stores the record, and ends the sessions that make room for it.
    fn put(&self, (record, ending): (Record, Vec<SessionKey>), now: Timestamp) -> Result<Snapshot, Failure> {
        let bytes = record.encode()?;
        self.check_room(record.key(), bytes.len() as u64, &ending)?;
        let written = self.folder.write(record.key(), &bytes, now);
        // What is there has its consequences, whether it survives a crash or not: a repetition finds it as it is.
        if written.as_ref().err().is_none_or(is_visible) {
            self.logins.index().put(&record);
            self.evict(&ending, record.key())?;
        }
        written?;
        let idle_expiry = now + record.idle_timeout();
        Ok(Snapshot::new(record, now, idle_expiry))
    }

    /// Whether a file of this length may take the session's place once these others have ended. What does not grow always may.
    fn check_room(&self, key: &SessionKey, len: u64, ending: &[SessionKey]) -> Result<(), Failure> {
        let before = self.folder.size(key)?;
        self.bounds.check(blocks(len))?;
        let growth = blocks(len).saturating_sub(before.unwrap_or(0));
        let mut room = Room { files: usize::from(before.is_none()), bytes: growth, left: Used::default() };
        for key in ending {
            room.left.files += 1;
            room.left.bytes += self.folder.size(key)?.unwrap_or(0);
        }
        if growth == 0 || self.has(room) { Ok(()) } else { Err(Failure::Full(room)) }
    }

    /// Whether there is this room.
    fn has(&self, room: Room) -> bool {
        let used = self.folder.used();
        let files = (used.files + room.files).saturating_sub(room.left.files);
        self.bounds.hold(files, (used.bytes + room.bytes).saturating_sub(room.left.bytes))
    }

    /// Does it again once anonymous sessions have made room, if that is what it lacks. Whoever makes room takes the locks
    /// of others, and must hold none.
    fn with_room<T>(&self, own: &SessionKey, work: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        match work() {
            Err(Failure::Full(room)) => {
                self.make_room(room, own)?;
                work()
            }
            done => done,
        }
    }

    /// Removes expired and anonymous sessions and what is remembered of deletions, the first that are found, until there is this room
    /// for `own`; from a part of the folder, so that this takes no longer for a larger one.
    fn make_room(&self, room: Room, own: &SessionKey) -> io::Result<()> {
        let most = usize::try_from(room.bytes / blocks(1)).unwrap_or(usize::MAX);
        self.folder.visit_many(most, |key| {
            if self.has(room) || key == own {
                return Ok(());
            }
            let _lock = self.folder.lock(key);
            match self.find(key) {
                Ok(Loaded::Found(found)) if found.record().principal().is_some() => Ok(()),
                Ok(_) => self.free(key),
                Err(Failure::Other(_) | Failure::Full(_)) => Ok(()),
                Err(Failure::Io(error)) => Err(error),
            }
        })
    }

    fn create(&self, key: &SessionKey, new: &NewSession, options: &CreateOptions) -> Result<Snapshot, Failure> {
        let id = options.id()?;
        self.with_room(key, || self.try_create(key, new, id))
    }

    fn try_create(&self, key: &SessionKey, new: &NewSession, id: SaveId) -> Result<Snapshot, Failure> {
        let created = {
            let login = Login::of(new);
            let _logins = login.as_ref().map(|_| self.logins.lock());
            let _lock = self.folder.lock(key);
            match self.find(key)? {
                Loaded::Absent => {}
                Loaded::Found(own) if own.record().is_as_created_by(id) => {
                    return self.made_before(own, login.as_ref());
                }
                Loaded::Found(_) | Loaded::Deleted { .. } => return Err(taken().into()),
            }
            let now = self.clock.now();
            let record = Record::new(key, new).created_by(id).stamped_new(now, new.absolute_timeout);
            self.put(self.log_in(record, login.as_ref(), now)?, now)?
        };
        self.free_expired();
        Ok(created)
    }

    fn write(
        &self,
        base: &Snapshot,
        change: &Change,
        next: impl Fn(&Record, Timestamp) -> Record,
    ) -> Result<Saved, Failure> {
        self.with_room(base.record().key(), || self.try_write(base, change, &next))
    }

    fn try_write(
        &self,
        base: &Snapshot,
        change: &Change,
        next: impl Fn(&Record, Timestamp) -> Record,
    ) -> Result<Saved, Failure> {
        let authority = change.authority;
        let (options, id) = change.options.clone().identified()?;
        let saved = {
            let _held = self.marks.hold(options.fence.as_ref())?;
            let login = change.rotation.as_ref().and_then(Login::by);
            let _logins = login.as_ref().map(|_| self.logins.lock());
            let _lock = self.folder.lock(base.record().key());
            let Some(current) = self.find(base.record().key())?.found() else { return Ok(Saved::Gone) };
            if !current.admits(base, authority) {
                let verifier = change.rotation.as_ref().map(|rotation| &rotation.next);
                return match current.contest(base, authority, verifier, &options)? {
                    Saved::Applied(made) => Ok(Saved::Applied(self.made_before(made, login.as_ref())?)),
                    other => Ok(other),
                };
            }
            let now = self.clock.now();
            let next = next(current.record(), now).stamped_over(current.record(), id, now);
            self.put(self.log_in(next, login.as_ref(), now)?, now)?
        };
        self.free_expired();
        Ok(Saved::Applied(saved))
    }

    fn touch(&self, key: &SessionKey) -> Result<Touched, Failure> {
        let _lock = self.folder.lock(key);
        if self.find(key)?.found().is_none() {
            return Ok(Touched::Gone);
        }
        self.folder.set_seen(key, self.clock.now())?;
        Ok(Touched::Slid)
    }

    fn delete(&self, key: &SessionKey, authority: Authority, fence: Option<&Fence>) -> Result<Deleted, Failure> {
        let _held = self.marks.hold(fence)?;
        let _lock = self.folder.lock(key);
        match (self.find(key), authority) {
            (Ok(Loaded::Absent | Loaded::Deleted { .. }), _) => return Ok(Deleted::Gone),
            (Ok(Loaded::Found(current)), _) if !current.record().accepts(authority, current.now()) => {
                return Ok(Deleted::Refused);
            }
            // Whoever has the token of what cannot be read may delete it: nothing else ends it.
            (Ok(_) | Err(Failure::Other(_) | Failure::Full(_)), _) => {}
            (Err(failure), _) => return Err(failure),
        }
        self.bury(key)?;
        Ok(Deleted::Removed)
    }

    /// Puts a tombstone in the session's place. The caller holds its lock.
    fn bury(&self, key: &SessionKey) -> Result<(), Failure> {
        let now = self.clock.now();
        match self.folder.write(key, &tombstone(now), now) {
            // A full disk stores nothing and still deletes.
            Err(error) if is_full(&error) => self.folder.remove(key)?,
            written => written?,
        }
        self.logins.index().forget(key);
        Ok(())
    }

    /// Housekeeping after a write that is done: its failure must not become the write's. A file that cannot be read
    /// stays where it is for a while, for somebody to look at.
    fn free_expired(&self) {
        let freed = self.folder.visit_some(|key| {
            let _lock = self.folder.lock(key);
            match self.find(key) {
                Ok(Loaded::Absent) => self.free(key),
                Err(Failure::Other(_)) if self.is_forgotten(key) => self.free(key),
                Ok(_) | Err(Failure::Other(_) | Failure::Full(_)) => Ok(()),
                Err(Failure::Io(error)) => Err(error),
            }
        });
        if let Err(error) = freed {
            tracing::warn!(name: "session.not_swept", %error, "expired sessions could not be freed");
        }
    }

    fn free(&self, key: &SessionKey) -> io::Result<()> {
        self.logins.index().forget(key);
        match self.folder.remove(key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether nobody has used the file for longer than anybody will look for what became of it.
    fn is_forgotten(&self, key: &SessionKey) -> bool {
        let found = self.folder.read(key).ok().flatten();
        found.is_some_and(|found| self.clock.now().since(found.seen) > UNREADABLE_KEPT)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failed| {
        Err(if failed.is_panic() { Error::panicked() } else { Error::abandoned().with_source(failed) })
    })
}

#[async_trait]
impl SessionStore for LocalSessionStore {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        new.check()?;
        let (key, new) = (*key, new.clone());
        self.change(OPERATION.create, options.deadline, move |inner| inner.create(&key, &new, &options)).await
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        let key = *key;
        self.look(OPERATION.load, options.deadline, move |inner| inner.find(&key)).await
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        if !base.unsealed()?.is_changed_by(authority, delta) {
            return Ok(Saved::Applied(base.clone()));
        }
        let (change, delta) = (Change { authority, rotation: None, options }, delta.clone());
        let next =
            move |current: &Record, now| current.with_save(authority, &delta, now).unwrap_or_else(|| current.clone());
        self.write(OPERATION.save, base, change, next).await
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        base.unsealed()?;
        rotation.check()?;
        let (by, delta) = (rotation.clone(), delta.clone());
        let next = move |current: &Record, now| current.with_rotation(authority, &by, &delta, now);
        let change = Change { authority, rotation: Some(rotation.clone()), options };
        self.write(OPERATION.rotate, base, change, next).await
    }

    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
        let key = *key;
        self.change(OPERATION.touch, options.deadline, move |inner| inner.touch(&key)).await
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        let key = *key;
        let DeleteOptions { fence, deadline } = options;
        self.change(OPERATION.delete, deadline, move |inner| inner.delete(&key, authority, fence.as_ref())).await
    }

    async fn epoch_with(&self, _: &Principal, options: EpochOptions) -> Result<u64> {
        self.look(OPERATION.epoch, options.deadline, |inner| Ok(inner.begin())).await
    }

    async fn list_with(&self, principal: &Principal, options: ListOptions) -> Result<Vec<Snapshot>> {
        let principal = principal.clone();
        self.look(OPERATION.list, options.deadline, move |inner| inner.of(Some(&principal))).await
    }

    async fn revoke_with(&self, which: Revoke<'_>, options: RevokeOptions) -> Result<()> {
        let (principal, one, kept) = which.parts();
        let (principal, one, kept) = (principal.cloned(), one.copied(), kept.copied());
        self.change(OPERATION.revoke, options.deadline, move |inner| inner.revoke(principal.as_ref(), one, kept)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let fence = fence.clone();
        self.change(OPERATION.raise, options.deadline, move |inner| Ok(inner.marks.raise(&fence)?)).await
    }

    async fn health(&self) -> Health {
        let before = self.inner.clock.elapsed();
        let probe = self.look(OPERATION.health, Some(Health::LIMIT), |inner| {
            inner.folder.check()?;
            Ok(inner.folder.probe_writing().map_err(map_error))
        });
        let (reads, writes) = probe.await.map_or_else(|error| (Err(error), Ok(())), |writes| (Ok(()), writes));
        let latency = self.inner.clock.elapsed().saturating_sub(before);
        Health::of_reads_and_writes(format!("local {}", self.inner.path.display()), latency, reads, writes)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::from_iter([DURABLE, FENCED, FENCED_AT_ONCE, PRINCIPALS, UNEVICTED])
    }
}

#[cfg(test)]
mod tests;
