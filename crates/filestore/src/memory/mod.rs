//! Files in this process's memory: the reference of the contract, for tests and for what may be lost.

mod config;
mod room;
mod stages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use statehouse_core::fence::Marks;
use statehouse_core::{
    Capabilities, Clock, Error, ErrorKind, Fence, Health, Operation, RaiseOptions, Result, Steady, Timestamp,
};

pub use self::config::MemoryConfig;
use self::room::{Room, Share};
use crate::api::FileStore;
use crate::blocking::unanswered;
use crate::body::{Body, next_piece};
use crate::content::Object;
use crate::counters::Counters;
use crate::digest::{Intake, nonce};
use crate::key::FileKey;
use crate::listing::Collector;
use crate::meta::{ETag, Entry, Meta, Stored};
use crate::operation::Operations;
use crate::options::{
    CommitOptions, Condition, CopyOptions, DeleteOptions, DiscardOptions, GetOptions, HeadOptions, ListOptions, Page,
    PutOptions, StagesOptions, SweepOptions,
};
use crate::outcome::{CommitOutcome, DeleteOutcome, Deleted, DiscardOutcome, PutOutcome, ReadOutcome, Swept};
use crate::stage::{Stage, StageId, Staged};
use crate::{capability, deadline};

const BACKEND: &str = "memory";

const OPERATION: Operations = Operations::of(BACKEND);

/// A [`FileStore`] in memory.
///
/// # Durability
/// None: the files end with the process. Each put has an etag of its own.
///
/// # Bounds
/// All that it holds has at most the [capacity](MemoryConfig::capacity): uploads under way are in memory as a whole. One whose length is not
/// known takes up to twice its bytes until it has ended.
pub struct MemoryFileStore {
    files: RwLock<BTreeMap<FileKey, File>>,
    stages: Mutex<BTreeMap<StageId, Pending>>,
    marks: Marks,
    clock: Steady,
    room: Arc<Room>,
    body_timeout: Duration,
    counters: Counters,
}

#[derive(Clone)]
struct File {
    meta: Meta,
    content: Bytes,
    time_to_live: Option<Duration>,
    /// What its metadata takes up; its content counts for itself.
    described: Arc<Share>,
}

/// A stage.
#[derive(Debug)]
struct Pending {
    file: File,
    condition: Condition,
    since: Timestamp,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl MemoryFileStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// An empty store that takes the files' times from this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with_config(MemoryConfig::default().with_clock(clock))
    }

    /// An empty store with these bounds.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        let MemoryConfig { capacity, body_timeout, clock } = config;
        Self {
            files: RwLock::default(),
            stages: Mutex::default(),
            marks: Marks::default(),
            clock: Steady::new(clock),
            room: Room::new(capacity),
            body_timeout,
            counters: Counters::new(BACKEND),
        }
    }

    // Nothing panics while the lock is held, save for a failed allocation, which leaves the map whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<FileKey, File>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<FileKey, File>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &FileKey) -> Result<File> {
        self.read().get(key).cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such file"))
    }

    fn publish(&self, mut file: File, condition: &Condition, fence: Option<&Fence>) -> Result<Stored> {
        let _held = self.marks.hold(fence)?;
        let mut files = self.write();
        check(condition, files.get(&file.meta.key))?;
        let now = self.clock.now();
        (file.meta.modified, file.meta.expires) = (now, file.time_to_live.map(|time| now + time));
        let stored = Stored::new(file.meta.etag.clone(), file.meta.len, file.meta.sha256);
        let replaced = files.insert(file.meta.key.clone(), file);
        // Freeing much takes long, and all others wait for the lock.
        drop(files);
        drop(replaced);
        Ok(stored)
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        let (condition, fence) = (options.condition.clone(), options.fence.clone());
        let file = self.receive(key, body, options).await?;
        self.publish(file, &condition, fence.as_ref())
    }

    /// Takes all of a body in.
    async fn receive(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<File> {
        let (len, mut intake) = (body.len(), options.intake(body.len())?);
        let content = match body.into_bytes() {
            Ok(bytes) => {
                let share = self.room.share(bytes.len())?;
                intake = taken(intake, &bytes).await?;
                share.keep(alone(bytes).await?)
            }
            Err(stream) => {
                // What can never fit takes nobody's room meanwhile.
                self.room.check(len)?;
                let content;
                (content, intake) = self.gather(stream, intake).await?;
                content
            }
        };
        let received = intake.finish()?;
        let meta = Meta::new(key.clone(), received.len, new_etag()?, self.clock.now())
            .with_sha256(Some(received.digest))
            .with_content_type(options.content_type)
            .with_content_disposition(options.content_disposition)
            .with_cache_control(options.cache_control)
            .with_user(options.user);
        let described = Arc::new(self.room.describe(&meta)?);
        Ok(File { meta, content, time_to_live: options.time_to_live, described })
    }

    /// Takes all of a stream in, as far as there is room, from a source that is not silent for too long.
    async fn gather(
        &self,
        mut stream: BoxStream<'static, Result<Bytes>>,
        mut intake: Intake,
    ) -> Result<(Bytes, Intake)> {
        let (mut all, mut share) = (Vec::new(), self.room.share(0)?);
        // Without a runtime nobody tells how long it has been silent.
        let timed = tokio::runtime::Handle::try_current().is_ok();
        while let Some(piece) = match timed {
            true => next_piece(&mut stream, self.body_timeout).await?,
            false => stream.try_next().await?,
        } {
            intake = taken(intake, &piece).await?;
            share.grow(piece.len())?;
            all.extend_from_slice(&piece);
        }
        all.shrink_to_fit();
        Ok((share.keep(all.into()), intake))
    }

    fn get(&self, key: &FileKey, options: &GetOptions) -> Result<ReadOutcome<Object>> {
        let range = options.range.map(|range| range.check().map(|()| range)).transpose()?;
        let File { meta, content, .. } = self.find(key)?;
        if options.check_conditions(&meta)? == ReadOutcome::NotModified {
            return Ok(ReadOutcome::NotModified);
        }
        let range = range.map_or(Ok(0..meta.len), |range| range.within(meta.len))?;
        // A file in memory has at most usize::MAX bytes.
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let bytes = content.slice(start.unwrap_or(usize::MAX)..end.unwrap_or(usize::MAX));
        Ok(ReadOutcome::Found(Object::from_checked_bytes(meta, range, bytes)))
    }

    fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        let mut page = Collector::new(options)?;
        let files = self.read();
        let mut from = Bound::Included(page.seek().to_owned());
        let within = |key: &FileKey| key.starts_with(&options.prefix) || key.as_str() <= options.prefix.as_str();
        while let Some((key, file)) =
            files.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded)).next()
        {
            if !within(key) {
                break;
            }
            let meta = &file.meta;
            page.offer(key, || Some(Entry::new(key.clone(), meta.len, meta.etag.clone(), meta.modified)));
            if page.is_full() {
                break;
            }
            from = page.behind(key);
        }
        Ok(page.finish())
    }

    fn delete(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        let _held = self.marks.hold(options.fence.as_ref())?;
        let mut files = self.write();
        if let Some(etag) = options.if_match {
            check(&Condition::Match(etag), files.get(key))?;
        }
        let removed = files.remove(key);
        drop(files);
        Ok(removed.map_or(Deleted::Absent, |_| Deleted::Removed))
    }

    fn copy(&self, from: &FileKey, to: &FileKey, options: &CopyOptions) -> Result<Stored> {
        let mut file = self.find(from)?;
        file.meta.key = to.clone();
        file.meta.etag = new_etag()?;
        // The content is shared.
        file.described = Arc::new(self.room.describe(&file.meta)?);
        self.publish(file, &options.condition, options.fence.as_ref())
    }
}

/// From this length on bytes are hashed and copied where no other tasks wait.
const LONG: usize = 256 << 10;

/// Hashes a piece.
async fn taken(mut intake: Intake, piece: &Bytes) -> Result<Intake> {
    let piece = piece.clone();
    away(piece.len(), move || intake.update(&piece).map(|()| intake)).await?
}

/// The same bytes in memory of their own: a slice of a large buffer keeps all of it.
async fn alone(bytes: Bytes) -> Result<Bytes> {
    away(bytes.len(), move || Bytes::from(Vec::from(bytes).into_boxed_slice())).await
}

async fn away<T: Send + 'static>(len: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current().ok().filter(|_| len >= LONG) {
        Some(runtime) => runtime.spawn_blocking(work).await.map_err(unanswered),
        None => Ok(work()),
    }
}

fn new_etag() -> Result<ETag> {
    Ok(ETag::of_put(&nonce()?))
}

fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

fn check(condition: &Condition, file: Option<&File>) -> Result<()> {
    match (condition, file) {
        (Condition::Always, _) | (Condition::Absent, None) => Ok(()),
        (Condition::Absent, Some(_)) => Err(Error::new(ErrorKind::AlreadyExists, "there is such a file already")),
        (Condition::Match(etag), Some(file)) if *etag == file.meta.etag => Ok(()),
        (Condition::Match(_), _) => Err(changed()),
    }
}

impl Default for MemoryFileStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFileStore").field("files", &self.read().len()).finish_non_exhaustive()
    }
}

/// Says where an error happened. What is in memory takes less time than it would to measure it.
fn located<'a>(operation: Operation, key: &'a str) -> impl FnOnce(Error) -> Error + 'a {
    move |error| operation.name_in(error).with_key(key)
}

#[async_trait]
impl FileStore for MemoryFileStore {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        let condition = options.condition.clone();
        let stored = deadline::put(options.deadline, body, |body| self.put(key, body, options)).await;
        let outcome = PutOutcome::of(stored, condition != Condition::Always);
        self.counters.put(&outcome);
        outcome.map_err(located(OPERATION.put, key))
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        let got = self.get(key, &options).map(|got| got.map(|object| self.counters.reading(object)));
        got.map_err(located(OPERATION.get, key))
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        let meta = self.find(key).map(|file| file.meta);
        let head = meta.and_then(|meta| Ok(options.check_conditions(&meta)?.map(|()| meta)));
        head.map_err(located(OPERATION.head, key))
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        self.list(&options).map_err(located(OPERATION.list, &options.prefix))
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        let conditional = options.if_match.is_some();
        let deleted = DeleteOutcome::of(self.delete(key, options), conditional);
        self.counters.delete(&deleted);
        deleted.map_err(located(OPERATION.delete, key))
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        let copied = PutOutcome::of(self.copy(from, to, &options), options.condition != Condition::Always);
        self.counters.copy(&copied);
        copied.map_err(located(OPERATION.copy, from))
    }

    async fn raise_with(&self, fence: &Fence, _options: RaiseOptions) -> Result<()> {
        self.marks.raise(fence).map_err(|error| OPERATION.raise.name_in(error))
    }

    async fn stage_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        let staged = deadline::put(options.deadline, body, |body| self.stage(key, body, options)).await;
        if let Ok(staged) = &staged {
            self.counters.staged(staged.len);
        }
        staged.map_err(located(OPERATION.stage, key))
    }

    async fn commit_with(&self, key: &FileKey, stage: StageId, _options: CommitOptions) -> Result<CommitOutcome> {
        self.commit(key, stage).map_err(located(OPERATION.commit, key))
    }

    async fn discard_with(&self, key: &FileKey, stage: StageId, _options: DiscardOptions) -> Result<DiscardOutcome> {
        Ok(self.discard(key, stage))
    }

    async fn stages_with(&self, options: StagesOptions) -> Result<Vec<Stage>> {
        Ok(self.stages(&options))
    }

    async fn sweep_with(&self, options: SweepOptions) -> Result<Swept> {
        Ok(self.sweep(&options).await)
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    fn capabilities(&self) -> Capabilities {
        let lacks = [capability::DURABLE, capability::SHARED, capability::PRESIGNED];
        capability::ALL.into_iter().filter(|capability| !lacks.contains(capability)).collect()
    }

    async fn health(&self) -> Health {
        Health::of(BACKEND, Duration::ZERO, Ok(()))
    }
}
