//! Files in a directory of this host, or of a mounted volume.

mod beneath;
mod client;
mod config;
mod durable;
mod error;
mod folder;
mod format;
#[cfg(test)]
mod fuzz;
mod gate;
mod lock;
mod marks;
mod name;
mod names;
mod permissions;
mod remembered;
mod slots;
mod stage;
mod staged;
mod stream;
#[cfg(test)]
mod tests;
mod thing;
mod time;
mod walk;
mod walks;
mod watch;
mod write;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
#[cfg(doc)]
use statehouse_core::ErrorKind;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Timestamp};

use self::client::{Content, Disk, Found, PIECE};
pub use self::config::{Access, Durability, LocalConfig, Permissions};
use self::lock::{PATIENCE, no_turn};
use self::name::DiskName;
use crate::api::FileStore;
use crate::blocking::blocking;
use crate::body::{Body, impatient};
use crate::content::Object;
use crate::counters::Counters;
use crate::key::FileKey;
use crate::meta::{Meta, Stored};
use crate::operation::Operations;
use crate::options::{
    CommitOptions, Condition, CopyOptions, DeleteOptions, DiscardOptions, GetOptions, HeadOptions, ListOptions, Page,
    PutOptions, StagesOptions, SweepOptions,
};
use crate::outcome::{CommitOutcome, DeleteOutcome, DiscardOutcome, PutOutcome, ReadOutcome, Swept};
use crate::stage::{Stage, StageId, Staged};
use crate::{capability, deadline};

const BACKEND: &str = "local";

const OPERATION: Operations = Operations::of(BACKEND);

/// A [`FileStore`] in a directory. Cheap to clone.
///
/// Several stores may be open on one directory, in one process or in several: conditions hold among all of them,
/// through `flock`. Each file holds its content first and its metadata behind it, so that both become visible in one
/// rename; the names are the keys, with everything but `a-z`, `0-9`, `-`, `_` and `.` escaped. No symbolic link below
/// the directory is followed. What the store makes is private to the user that the process runs as, whatever its mask
/// for new files, unless [`Permissions::Group`] is asked for.
///
/// # Layout
/// | path below the root | what it is |
/// | --- | --- |
/// | `.statehouse/format` | the text `statehouse files 1` and a newline |
/// | `.statehouse/locks/1f`, `.statehouse/locks/1f-turn` | empty: what is locked by `flock` for a 32nd of all keys, by their FNV-1a, and the turnstile before it |
/// | `.statehouse/marks/<64 hex digits>` | the mark of a lock that guards the store, by the SHA-256 of its name: `local/marks/format.rs` of this crate |
/// | `.statehouse/marks/spare` | a mark that is nobody's yet, for a lock that is first held when the disk is full |
/// | `.statehouse/stage/lock` | empty: locked by who opens a store |
/// | `.statehouse/stage/<32 hex digits>/lock` | empty: locked as long as this open store lives |
/// | `.statehouse/stage/<32 hex digits>/slots` | for each file that it has under way, 2,048 bytes: the length of its directory's path in two bytes, little-endian, and the path |
/// | `.statehouse/staged/<32 hex digits>` | a file that was staged and not committed yet, as the others are |
/// | `<name>` | a file: its content and then its trailer |
/// | `<name>+/` | a directory: what lies below a segment of a key |
/// | `<name>=/` | a directory: how names go on that are too long for one |
/// | `.statehouse-<32 hex digits>-<slot>`, in any directory | a file that the open store of these digits is writing |
///
/// A segment of a key is spelled with `a-z`, `0-9`, `-`, `_` and inner dots; every other byte is `%` and two lowercase
/// hex digits, and so is the first byte of a name that Windows keeps for a device. A name has at most 140 bytes. The
/// trailer is `local/format.rs` of this crate, byte by byte, and begins with the file's last 80 bytes: `SHfile\r\n` at their
/// end, the format before that, and the content's length and SHA-256 at their beginning.
///
/// # Durability
/// With [`Durability::Synced`], the default, an acknowledged write or delete has been synced to the disk together with
/// the directory it is in. A process that ends at any point leaves no partial file visible: files are written under
/// hidden names beside their place, and what was left half-written is removed when the store is next opened.
///
/// # Time
/// Waiting for the lock of a file ends after ten seconds with [`ErrorKind::Timeout`], and for a source that gives nothing
/// more after [`LocalConfig::body_timeout`]. The disk itself has no deadline: no
/// system lets go of a call that it has begun. Where the directory is a mount that may hang, give calls a deadline, as
/// [`PutOptions::deadline`]: they are answered then, and the work goes on on a thread of its own, so a write may still
/// happen. A file of at most 64 KiB that the system has in memory is read at once, on the thread that asks; everything else
/// is done on threads where it may wait.
///
/// # Memory
/// A stream that is put is written a megabyte at a time, or what comes within a quarter of a second. While that is written the next
/// megabyte is gathered, and then no more is taken: an upload holds two megabytes and four pieces of its source at most, and a
/// slow one what comes in that time. Nothing is kept back for uploads beyond that, so that as many as are accepted at a time hold as many times
/// that, and pieces are as large as whoever made the stream makes them: how many uploads there are is for whoever accepts them.
#[derive(Clone, Debug)]
pub struct LocalFileStore {
    root: PathBuf,
    disk: Arc<Disk>,
    counters: Counters,
}

impl LocalFileStore {
    /// Opens the store in a directory, which is created if it is not there.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(LocalConfig::new(root)).await
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the directory has something else in it, belongs to another user, or can be written
    /// by every user (see [`Permissions`]); [`ErrorKind::PermissionDenied`] if it cannot be written, unless it is opened
    /// only to read (see [`Access`]); [`ErrorKind::Unsupported`] if its file system has no locks.
    pub async fn open_with(config: LocalConfig) -> Result<Self> {
        let root = config.root.clone();
        let disk = blocking(move || Disk::open(&config)).await;
        let disk = disk.map_err(|error| OPERATION.open.name_in(error))?;
        Ok(Self::of(root, Arc::new(disk)))
    }

    fn of(root: PathBuf, disk: Arc<Disk>) -> Self {
        Self { root, disk, counters: Counters::new(BACKEND) }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    async fn run<T, F>(&self, key: &FileKey, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Disk, &FileKey, &DiskName) -> Result<T> + Send + 'static,
    {
        let (disk, key) = (Arc::clone(&self.disk), key.clone());
        blocking(move || disk.in_place(work(&disk, &key, &DiskName::of(&key)))).await
    }

    /// Work that takes a file's lock; it is told how long it may still wait for that.
    async fn run_writing<T, F>(&self, key: &FileKey, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Disk, &FileKey, &DiskName, Duration) -> Result<T> + Send + 'static,
    {
        let (asked, writers) = (Instant::now(), Arc::clone(&self.disk.writers));
        let admitted = tokio::time::timeout(PATIENCE, writers.acquire_owned()).await;
        let Ok(Ok(admitted)) = admitted else { return Err(no_turn()) };
        let patience = PATIENCE.saturating_sub(asked.elapsed());
        // Not let go of before the work has ended, though nobody may wait for it any more.
        let work = move |disk: &Disk, key: &FileKey, name: &DiskName| {
            let _admitted = admitted;
            work(disk, key, name, patience)
        };
        self.run(key, work).await
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        let intake = options.intake(body.len())?;
        let body = body.into_bytes();
        if let Ok(bytes) = &body
            && bytes.len() as u64 <= PIECE
        {
            let bytes = bytes.clone();
            let put = move |disk: &Disk, key: &_, name: &_, patience| disk.put(key, name, &bytes, &options, patience);
            return self.run_writing(key, put).await;
        }
        let condition = options.condition.clone();
        let staged = self.run(key, move |disk, _, name| disk.create(name, &condition)).await?;
        let (staged, intake) = match body {
            Ok(bytes) => stream::write_bytes(bytes, staged, intake, self.disk.durability).await?,
            Err(stream) => {
                let stream = impatient(stream, self.disk.body_timeout);
                stream::write_all(stream, staged, intake, self.disk.durability).await?
            }
        };
        let finish =
            move |disk: &Disk, key: &_, name: &_, patience| disk.finish(staged, key, name, intake, &options, patience);
        self.run_writing(key, finish).await
    }

    /// Others have their turn while the content is copied.
    async fn copy(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        let (target, begun) = (DiskName::of(to), options.clone());
        let copied = self.run(from, move |disk, _, from| disk.begin_copy(from, &target, &begun)).await?;
        let end = move |disk: &Disk, to: &_, name: &_, patience| disk.end_copy(copied, to, name, &options, patience);
        self.run_writing(to, end).await
    }

    async fn get(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        if let Some(range) = options.range {
            range.check()?;
        }
        // A file that is in memory anyway is read at once: handing it to another thread costs more than reading it.
        let found = match self.disk.get_cached(key, &DiskName::of(key), &options) {
            Some(found) => found?,
            None => Box::pin(self.run(key, move |disk, key, name| disk.get(key, name, &options))).await?,
        };
        let ReadOutcome::Found(Found { meta, range, content }) = found else { return Ok(ReadOutcome::NotModified) };
        Ok(ReadOutcome::Found(match content {
            Content::Read(bytes) => Object::from_checked_bytes(meta, range, bytes),
            Content::Open(file, crc) => {
                Object::from_checked_stream(meta, range.clone(), stream::read(file, range, crc))
            }
        }))
    }
}

#[async_trait]
impl FileStore for LocalFileStore {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        // Pinned here, so that what is around them moves no work.
        let put = pin!(async {
            let condition = options.condition.clone();
            let stored = deadline::put(options.deadline, body, |body| self.put(key, body, options)).await;
            PutOutcome::of(stored, condition != Condition::Always)
        });
        let stored = OPERATION.put.during_on(key, put).await;
        self.counters.put(&stored);
        stored
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        let (deadline, get) = (options.deadline, pin!(self.get(key, options)));
        let got = OPERATION.get.during_on(key, deadline::read(deadline, get)).await;
        got.map(|got| got.map(|object| self.counters.reading(object)))
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        let deadline = options.deadline;
        let head = self.run(key, move |disk, key, name| {
            let meta = disk.head(key, name)?;
            Ok(options.check_conditions(&meta)?.map(|()| meta))
        });
        OPERATION.head.during_on(key, deadline::read(deadline, head)).await
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        let (disk, prefix, deadline) = (Arc::clone(&self.disk), options.prefix.clone(), options.deadline);
        let list = blocking(move || disk.list(&options));
        OPERATION.list.during_on(&prefix, deadline::read(deadline, list)).await
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        let (conditional, deadline) = (options.if_match.is_some(), options.deadline);
        let delete = move |disk: &Disk, key: &_, name: &_, patience| disk.delete(key, name, &options, patience);
        let delete = self.run_writing(key, delete);
        let delete = async { DeleteOutcome::of(deadline::write(deadline, delete).await, conditional) };
        let deleted = OPERATION.delete.during_on(key, delete).await;
        self.counters.delete(&deleted);
        deleted
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        let (condition, deadline) = (options.condition.clone(), options.deadline);
        let copy = self.copy(from, to, options);
        let copy = async { PutOutcome::of(deadline::write(deadline, copy).await, condition != Condition::Always) };
        let copied = OPERATION.copy.during_on(from, copy).await;
        self.counters.copy(&copied);
        copied
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let (disk, fence) = (Arc::clone(&self.disk), fence.clone());
        let raise = blocking(move || disk.in_place(disk.hold(Some(&fence), PATIENCE).map(drop)));
        OPERATION.raise.during(deadline::write(options.deadline, raise)).await
    }

    async fn stage_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        let stage = deadline::put(options.deadline, body, |body| self.stage(key, body, options));
        let staged = OPERATION.stage.during_on(key, stage).await?;
        self.counters.staged(staged.len);
        Ok(staged)
    }

    async fn commit_with(&self, key: &FileKey, stage: StageId, options: CommitOptions) -> Result<CommitOutcome> {
        let commit = self.run_writing(key, move |disk, key, name, patience| disk.commit(key, name, stage, patience));
        OPERATION.commit.during_on(key, deadline::write(options.deadline, commit)).await
    }

    async fn discard_with(&self, key: &FileKey, stage: StageId, options: DiscardOptions) -> Result<DiscardOutcome> {
        let discard = self.run(key, move |disk, key, name| disk.discard(key, name, stage));
        OPERATION.discard.during_on(key, deadline::write(options.deadline, discard)).await
    }

    async fn stages_with(&self, options: StagesOptions) -> Result<Vec<Stage>> {
        let (disk, deadline) = (Arc::clone(&self.disk), options.deadline);
        let stages = blocking(move || disk.in_place(disk.stages(&options)));
        OPERATION.stages.during(deadline::read(deadline, stages)).await
    }

    async fn sweep_with(&self, options: SweepOptions) -> Result<Swept> {
        let (disk, deadline) = (Arc::clone(&self.disk), options.deadline);
        let sweep = blocking(move || disk.in_place(disk.sweep(&options)));
        OPERATION.sweep.during(deadline::write(deadline, sweep)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let disk = Arc::clone(&self.disk);
        // A disk that is full or only read has a time, too: that is what makes no difference there.
        let host = |_| Timestamp::from(std::time::SystemTime::now());
        blocking(move || Ok(disk.now().unwrap_or_else(host))).await
    }

    fn capabilities(&self) -> Capabilities {
        let all: Capabilities = capability::ALL.into_iter().collect();
        all.without(capability::SHARED).without(capability::PRESIGNED)
    }

    async fn health(&self) -> Health {
        let (start, disk) = (Instant::now(), Arc::clone(&self.disk));
        let probe = blocking(move || Ok((disk.probe_reading(), disk.probe())));
        let probe = deadline::read(Some(Health::LIMIT), probe).await;
        let (reads, writes) = probe.unwrap_or_else(|error| (Err(error), Ok(())));
        Health::of_reads_and_writes(format!("{BACKEND} {}", self.root.display()), start.elapsed(), reads, writes)
    }
}
