//! The requests that the store makes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult, UpdateVersion};
use statehouse_core::{Error, ErrorKind, Result};

use super::error::map_error;
use super::metadata::{self, Marks};
use super::wire::{Answer, Log, observe};
use crate::digest::{Received, corrupt, hex, nonce};
use crate::listing::Collector;
use crate::{
    ByteRange, Condition, Depth, Digest, ETag, Entry, FileKey, GetOptions, ListOptions, Meta, Object, Page, PageToken,
    PutOptions, Start, Stored,
};

/// A bucket, and what its objects' keys begin with.
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store where it is one of our own making: it lists in pages, and its requests go through our wire.
    pub(super) native: Option<Arc<dyn PaginatedListStore>>,
    /// Empty, or ending with a slash.
    pub(super) prefix: String,
    pub(super) part_size: u64,
}

/// Why an operation failed, and what happened on the wire.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: object_store::Error,
    pub(super) log: Log,
}

/// What it means that a digest that is apart is not there.
#[derive(Clone, Copy)]
enum Gone {
    /// The file may have been deleted or replaced a moment ago.
    LookAgain,
    /// The file has been there all along.
    Corrupt,
}

impl Failure {
    /// The error of a write with this condition.
    pub(super) fn into_error(self, condition: &Condition) -> Error {
        let missing = matches!(self.error, object_store::Error::NotFound { .. });
        let error = map_error(self.error, &self.log);
        match (condition, error.kind()) {
            (Condition::IfAbsent, ErrorKind::Conflict) if !error.is_retryable() => exists().with_source(error),
            // Amazon says that what should be replaced is not there; the others say that it does not match.
            (Condition::IfMatch(_), ErrorKind::NotFound) if missing => changed().with_source(error),
            _ => error,
        }
    }

    fn is_refusal(&self) -> bool {
        use object_store::Error as E;
        matches!(
            self.error,
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } | E::NotFound { .. }
        )
    }
}

pub(super) fn exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is such a file already")
}

pub(super) fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

impl Remote {
    pub(super) async fn call<T>(
        &self,
        condition: &Condition,
        answer: Answer,
        operation: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        let (result, log) = observe(condition, answer, operation).await;
        result.map_err(|error| Failure { error, log })
    }

    /// A call that changes nothing, or nothing that matters.
    pub(super) async fn plain<T>(&self, operation: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let result = self.call(&Condition::None, Answer::Status, operation).await;
        result.map_err(|failure| map_error(failure.error, &failure.log))
    }

    pub(super) fn path(&self, key: &str) -> Result<Path> {
        Path::parse(format!("{}{key}", self.prefix))
            .map_err(|error| Error::invalid_input("the store does not take this key").with_source(error))
    }

    fn key(&self, location: &Path) -> Option<FileKey> {
        FileKey::new(location.as_ref().strip_prefix(&self.prefix)?).ok()
    }

    /// Where a digest that is apart is kept.
    pub(super) fn digest_path(&self, key: &FileKey, put: &str) -> Result<Path> {
        self.path(&format!("{}/sha256/{key}/{put}", crate::RESERVED))
    }

    pub(super) fn mode(&self, condition: &Condition) -> PutMode {
        match condition {
            // Our own wire adds the precondition, to puts as to what object_store has no mode for.
            _ if self.native.is_some() => PutMode::Overwrite,
            Condition::None => PutMode::Overwrite,
            Condition::IfAbsent => PutMode::Create,
            Condition::IfMatch(etag) => {
                PutMode::Update(UpdateVersion { e_tag: Some(etag.as_str().to_owned()), version: None })
            }
        }
    }

    /// Stores a file in one request.
    pub(super) async fn put_once(
        &self,
        key: &FileKey,
        content: PutPayload,
        received: Received,
        options: &PutOptions,
    ) -> Result<Stored> {
        let (path, put) = (self.path(key)?, hex(&nonce()?));
        let attributes = metadata::describe(options, &put, Some(received.digest));
        let mode = self.mode(&options.condition);
        let request = object_store::PutOptions { mode, attributes, ..Default::default() };
        let operation = self.store.put_opts(&path, content, request);
        let result = self.call(&options.condition, Answer::Status, operation).await;
        self.settle(key, &put, &options.condition, result, received).await
    }

    /// The outcome of a write. Where its answer was lost, what is there now says which put wrote it.
    pub(super) async fn settle(
        &self,
        key: &FileKey,
        put: &str,
        condition: &Condition,
        result: Result<PutResult, Failure>,
        Received { len, digest, .. }: Received,
    ) -> Result<Stored> {
        let failure = match result {
            Ok(done) => return Ok(Stored::new(ETag::new(done.e_tag.unwrap_or_default()), len, Some(digest))),
            Err(failure) => failure,
        };
        let refused = failure.is_refusal();
        // Of a store that is brought along it is not known how often it sent the request.
        let unknown =
            self.native.is_none() && (refused || matches!(failure.error, object_store::Error::Generic { .. }));
        let doubtful = failure.log.doubtful || unknown;
        let error = failure.into_error(condition);
        if !doubtful {
            return Err(error);
        }
        match Box::pin(self.peek(key)).await {
            Ok((meta, marks)) if marks.put.as_deref() == Some(put) => {
                Ok(Stored::new(meta.etag, meta.len, Some(digest)))
            }
            Ok(_) if refused => Err(error),
            Err(absent) if refused && absent.kind() == ErrorKind::NotFound => Err(error),
            _ => {
                let message = "the answer to the write was lost, and what is there now does not tell its outcome";
                Err(Error::new(ErrorKind::OutcomeUnknown, message).with_source(error))
            }
        }
    }

    /// A file's metadata and marks, without a digest that is apart.
    pub(super) async fn peek(&self, key: &FileKey) -> Result<(Meta, Marks)> {
        let path = self.path(key)?;
        let request = object_store::GetOptions { head: true, ..Default::default() };
        let found = self.plain(self.store.get_opts(&path, request)).await?;
        Ok(metadata::read(key, &found.meta, &found.attributes))
    }

    /// A file's metadata, with its digest wherever it is kept.
    pub(super) async fn look(&self, key: &FileKey) -> Result<(Meta, Marks)> {
        let (meta, marks) = self.peek(key).await?;
        if let Some(read) = self.with_digest(meta, marks, Gone::LookAgain).await? {
            return Ok(read);
        }
        let (meta, marks) = Box::pin(self.peek(key)).await?;
        let read = self.with_digest(meta, marks, Gone::Corrupt).await?;
        read.ok_or_else(|| corrupt("the record of the file's SHA-256 is missing"))
    }

    /// Adds a digest that is apart. None if it has gone, as when the file was deleted or replaced meanwhile.
    async fn with_digest(&self, meta: Meta, marks: Marks, gone: Gone) -> Result<Option<(Meta, Marks)>> {
        let Some(put) = marks.put.as_deref().filter(|_| marks.apart) else { return Ok(Some((meta, marks))) };
        // Boxed, as all that is seldom done, so that the usual get and put don't carry the room for it.
        let digest = Box::pin(self.digest_apart(&meta.key, put, gone)).await?;
        Ok(digest.map(|digest| (meta.with_sha256(Some(digest)), marks)))
    }

    async fn digest_apart(&self, key: &FileKey, put: &str, gone: Gone) -> Result<Option<Digest>> {
        let path = self.digest_path(key, put)?;
        match (self.plain(async { self.store.get(&path).await?.bytes().await }).await, gone) {
            (Ok(text), _) => {
                let digest = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                digest.map(Some).ok_or_else(|| corrupt("the record of the file's SHA-256 is damaged"))
            }
            (Err(error), Gone::LookAgain) if error.kind() == ErrorKind::NotFound => Ok(None),
            (Err(error), Gone::Corrupt) if error.kind() == ErrorKind::NotFound => {
                Err(corrupt("the record of the file's SHA-256 is missing"))
            }
            (Err(error), _) => Err(error),
        }
    }

    pub(super) async fn get(&self, key: &FileKey, options: &GetOptions) -> Result<Object> {
        if let Some(object) = self.get_once(key, options, Gone::LookAgain).await? {
            return Ok(object);
        }
        let object = Box::pin(self.get_once(key, options, Gone::Corrupt)).await?;
        object.ok_or_else(|| corrupt("the record of the file's SHA-256 is missing"))
    }

    async fn get_once(&self, key: &FileKey, options: &GetOptions, gone: Gone) -> Result<Option<Object>> {
        let path = self.path(key)?;
        let range = options.range.map(|range| range.check().map(|()| range)).transpose()?;
        let request = object_store::GetOptions {
            range: range.map(wire_range),
            if_match: options.if_match.as_ref().map(|etag| etag.as_str().to_owned()),
            ..Default::default()
        };
        let found = match (self.plain(self.store.get_opts(&path, request)).await, range) {
            // A store that is brought along has no kind of its own for a range behind the end.
            (Err(error), Some(range)) if error.kind() == ErrorKind::Unexpected => {
                range.within(Box::pin(self.peek(key)).await?.0.len)?;
                return Err(error);
            }
            (result, _) => result?,
        };
        let (meta, marks) = metadata::read(key, &found.meta, &found.attributes);
        // Not every server looks at the precondition of a read.
        if options.if_match.as_ref().is_some_and(|etag| *etag != meta.etag) {
            return Err(changed());
        }
        let read = self.with_digest(meta, marks, gone).await?;
        Ok(read.map(|(meta, _)| {
            let (range, content) = (found.range.clone(), found.into_stream());
            let content = content.map_err(|error| map_error(error, &Log::default())).boxed();
            Object::new(meta, range, content)
        }))
    }

    pub(super) async fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        match &self.native {
            Some(pager) => self.list_page(pager.as_ref(), options).await,
            None => self.list_all(options).await,
        }
    }

    async fn list_page(&self, pager: &dyn PaginatedListStore, options: &ListOptions) -> Result<Page> {
        let prefix = format!("{}{}", self.prefix, options.prefix);
        let mut request = PaginatedListOptions { max_keys: Some(options.limit.into()), ..Default::default() };
        request.delimiter = (options.depth == Depth::OneLevel).then_some("/".into());
        match &options.start {
            Start::First => {}
            Start::After(text) => request.offset = Some(format!("{}{text}", self.prefix)),
            Start::Token(token) => request.page_token = Some(token.as_str().to_owned()),
        }
        let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let found = self.plain(pager.list_paginated(prefix, request)).await?;
        let entries = found.result.objects.iter().filter_map(|object| self.entry(object)).collect();
        let own = format!("{}/", crate::RESERVED);
        let prefixes = found.result.common_prefixes.iter().filter_map(|path| {
            let text = format!("{path}/");
            text.strip_prefix(&self.prefix).filter(|text| *text != own).map(ToOwned::to_owned)
        });
        Ok(Page::new(entries, prefixes.collect(), found.page_token.map(PageToken::new)))
    }

    /// A store that is brought along may list in any order: all of it is looked at, and the page's part is kept.
    async fn list_all(&self, options: &ListOptions) -> Result<Page> {
        let mut page = Collector::new(options)?;
        let whole = format!("{}{}", self.prefix, options.prefix);
        let directory = whole.rsplit_once('/').map(|(directory, _)| Path::parse(directory)).transpose();
        let directory = directory.map_err(|error| Error::invalid_input("the prefix is no path").with_source(error))?;
        let mut found: BTreeMap<FileKey, Entry> = BTreeMap::new();
        let mut all = self.store.list(directory.as_ref());
        while let Some(object) = all.try_next().await.map_err(|error| map_error(error, &Log::default()))? {
            let Some(entry) = self.entry(&object) else { continue };
            if !page.wants(&entry.key) {
                continue;
            }
            found.insert(entry.key.clone(), entry);
            // One more than the page has says that there is another page.
            if options.depth == Depth::All && found.len() > usize::from(options.limit) + 1 {
                found.pop_last();
            }
        }
        for (key, entry) in found {
            page.offer(&key, || Some(entry));
            if page.is_full() {
                break;
            }
        }
        Ok(page.finish())
    }

    fn entry(&self, object: &ObjectMeta) -> Option<Entry> {
        let key = self.key(&object.location)?;
        Some(Entry::new(key, object.size, metadata::etag(object), metadata::modified(object)))
    }

    /// Removes an object, whether it is there or not.
    pub(super) async fn remove(&self, path: &Path) -> Result<()> {
        match self.plain(self.store.delete(path)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

fn wire_range(range: ByteRange) -> GetRange {
    match range {
        ByteRange::Bounded { start, end } => GetRange::Bounded(start..end),
        ByteRange::From(start) => GetRange::Offset(start),
        ByteRange::Last(bytes) => GetRange::Suffix(bytes),
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("store", &self.store.to_string())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
