//! Files in this process's memory: the reference of the contract, for tests and for what may be lost.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use statehouse_core::fence::Marks;
use statehouse_core::{
    Capabilities, Clock, Error, ErrorKind, Fence, Health, Operation, RaiseOptions, Result, SystemClock,
};

use crate::api::FileStore;
use crate::blocking::unanswered;
use crate::body::Body;
use crate::content::Object;
use crate::counters::Counters;
use crate::digest::{Intake, nonce};
use crate::key::FileKey;
use crate::listing::Collector;
use crate::meta::{ETag, Entry, Meta, Stored};
use crate::operation::Operations;
use crate::options::{Condition, CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, Page, PutOptions};
use crate::outcome::{DeleteOutcome, Deleted, PutOutcome};
use crate::{capability, deadline};

const BACKEND: &str = "memory";

const OPERATION: Operations = Operations::of(BACKEND);

/// A [`FileStore`] in memory.
///
/// # Durability
/// None: the files end with the process. Each put has an etag of its own.
pub struct MemoryFileStore {
    files: RwLock<BTreeMap<FileKey, File>>,
    marks: Marks,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

#[derive(Clone)]
struct File {
    meta: Meta,
    content: Bytes,
}

impl MemoryFileStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// An empty store that takes the files' times from this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { files: RwLock::default(), marks: Marks::default(), clock, counters: Counters::new(BACKEND) }
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

    fn publish(&self, mut meta: Meta, content: Bytes, condition: &Condition, fence: Option<&Fence>) -> Result<Stored> {
        let _held = self.marks.hold(fence)?;
        let mut files = self.write();
        check(condition, files.get(&meta.key))?;
        meta.modified = self.clock.now();
        let stored = Stored::new(meta.etag.clone(), meta.len, meta.sha256);
        files.insert(meta.key.clone(), File { meta, content });
        Ok(stored)
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        let mut intake = options.intake(body.len())?;
        let content = match body.into_bytes() {
            Ok(bytes) => {
                intake = taken(intake, &bytes).await?;
                bytes
            }
            Err(mut stream) => {
                let mut all = BytesMut::new();
                while let Some(piece) = stream.try_next().await? {
                    intake = taken(intake, &piece).await?;
                    all.extend_from_slice(&piece);
                }
                all.freeze()
            }
        };
        let received = intake.finish()?;
        let meta = Meta::new(key.clone(), received.len, new_etag()?, self.clock.now())
            .with_sha256(Some(received.digest))
            .with_content_type(options.content_type)
            .with_user(options.user);
        self.publish(meta, content, &options.condition, options.fence.as_ref())
    }

    fn get(&self, key: &FileKey, options: &GetOptions) -> Result<Object> {
        let range = options.range.map(|range| range.check().map(|()| range)).transpose()?;
        let File { meta, content } = self.find(key)?;
        if options.if_match.as_ref().is_some_and(|etag| *etag != meta.etag) {
            return Err(changed());
        }
        let range = range.map_or(Ok(0..meta.len), |range| range.within(meta.len))?;
        // A file in memory has at most usize::MAX bytes.
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let bytes = content.slice(start.unwrap_or(usize::MAX)..end.unwrap_or(usize::MAX));
        Ok(Object::from_checked_bytes(meta, range, bytes))
    }

    fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        let mut page = Collector::new(options)?;
        let files = self.read();
        let first = page.seek().to_owned();
        let from: Bound<&str> = Bound::Included(&first);
        let within = |key: &FileKey| key.starts_with(&options.prefix) || key.as_str() <= options.prefix.as_str();
        let behind = files.range::<str, _>((from, Bound::Unbounded));
        for (key, file) in behind.take_while(|(key, _)| within(key)) {
            let meta = &file.meta;
            page.offer(key, || Some(Entry::new(key.clone(), meta.len, meta.etag.clone(), meta.modified)));
            if page.is_full() {
                break;
            }
        }
        Ok(page.finish())
    }

    fn delete(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        let _held = self.marks.hold(options.fence.as_ref())?;
        let mut files = self.write();
        if let Some(etag) = options.if_match {
            check(&Condition::Match(etag), files.get(key))?;
        }
        Ok(files.remove(key).map_or(Deleted::Absent, |_| Deleted::Removed))
    }

    fn copy(&self, from: &FileKey, to: &FileKey, options: &CopyOptions) -> Result<Stored> {
        let File { mut meta, content } = self.find(from)?;
        meta.key = to.clone();
        meta.etag = new_etag()?;
        self.publish(meta, content, &options.condition, options.fence.as_ref())
    }
}

/// Hashes a piece; a long one not on the thread that other tasks wait for.
async fn taken(mut intake: Intake, piece: &Bytes) -> Result<Intake> {
    const LONG: usize = 256 << 10;
    let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| piece.len() >= LONG);
    let Some(runtime) = runtime else {
        intake.update(piece)?;
        return Ok(intake);
    };
    let piece = piece.clone();
    let hashed = runtime.spawn_blocking(move || intake.update(&piece).map(|()| intake)).await;
    hashed.map_err(unanswered)?
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
        let outcome = PutOutcome::of(stored, &condition);
        self.counters.put(&outcome);
        outcome.map_err(located(OPERATION.put, key))
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<Object> {
        let got = self.get(key, &options).map(|object| self.counters.reading(object));
        got.map_err(located(OPERATION.get, key))
    }

    async fn head_with(&self, key: &FileKey, _options: HeadOptions) -> Result<Meta> {
        self.find(key).map(|file| file.meta).map_err(located(OPERATION.head, key))
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
        let copied = PutOutcome::of(self.copy(from, to, &options), &options.condition);
        self.counters.copy(&copied);
        copied.map_err(located(OPERATION.copy, from))
    }

    async fn raise_with(&self, fence: &Fence, _options: RaiseOptions) -> Result<()> {
        self.marks.raise(fence).map_err(|error| OPERATION.raise.name_in(error))
    }

    fn capabilities(&self) -> Capabilities {
        let lacks = [capability::DURABLE, capability::SHARED, capability::PRESIGNED];
        capability::ALL.into_iter().filter(|capability| !lacks.contains(capability)).collect()
    }

    async fn health(&self) -> Health {
        Health::of(BACKEND, Duration::ZERO, Ok(()))
    }
}
