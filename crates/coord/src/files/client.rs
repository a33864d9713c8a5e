//! What goes to the file store: one small file for each record.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Fence, Namespace, RaiseOptions, Result, Timestamp, deadline};
use statehouse_filestore::{
    Body, Condition, DeleteOptions, DeleteOutcome, ETag, FileKey, FileStore, GetOptions, ListOptions, Object,
    PageToken, PutOptions, PutOutcome, Start,
};
use tokio::time::Instant;

use crate::key::CoordKey;
use crate::outcome::Page;
use crate::record::format::Stored;

/// Before the namespace, and none: no handle of files has this folder, whatever its namespace is.
const FOLDER: &str = ".coordination";

/// Ends the name of every record, so that none lies below another.
const END: &str = "~";

#[derive(Clone, Debug)]
pub(super) struct Wire {
    files: Arc<dyn FileStore>,
    folder: String,
}

/// What lies under a record's name, and the store's name for it.
pub(super) struct Found {
    /// None if it is no record.
    pub(super) stored: Option<Stored>,
    /// None if the store could not read as much.
    etag: Option<ETag>,
    /// When it was written, by the file store's clock.
    pub(super) modified: Timestamp,
}

impl Found {
    const DAMAGED: Self = Self { stored: None, etag: None, modified: Timestamp::from_micros(0) };

    async fn read(object: Object) -> Result<Self> {
        let (etag, modified) = (Some(object.meta().etag.clone()), object.meta().modified);
        match object.bytes().await {
            Ok(bytes) => Ok(Self { stored: Stored::decode(bytes).ok(), etag, modified }),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Self { etag, ..Self::DAMAGED }),
            Err(error) => Err(error),
        }
    }
}

/// When a call is to be over.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    whole: Option<Duration>,
    until: Option<Instant>,
}

impl Limit {
    pub(super) fn new(whole: Option<Duration>) -> Self {
        Self { whole, until: whole.and_then(|whole| Instant::now().checked_add(whole)) }
    }

    /// What is left of it for the next request.
    pub(super) fn left(&self) -> Result<Option<Duration>> {
        let Some(until) = self.until else { return Ok(None) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(deadline::not_done(self.whole.unwrap_or_default())) } else { Ok(Some(left)) }
    }
}

impl Wire {
    pub(super) fn new(files: Arc<dyn FileStore>, namespace: &Namespace) -> Self {
        Self { files, folder: format!("{FOLDER}/{namespace}/") }
    }

    pub(super) fn files(&self) -> &dyn FileStore {
        &*self.files
    }

    fn name(&self, key: &CoordKey) -> Result<FileKey> {
        FileKey::new(format!("{}{key}{END}", self.folder))
    }

    /// The file in which it is kept when records were swept last, beside the records: no key ends in this, so that it is
    /// none of them and in no scan.
    pub(super) fn swept(&self) -> Result<FileKey> {
        FileKey::new(format!("{}swept{END}{END}", self.folder))
    }

    pub(super) async fn read(&self, key: &CoordKey, limit: Limit) -> Result<Option<Found>> {
        self.read_file(&self.name(key)?, limit).await
    }

    pub(super) async fn read_file(&self, name: &FileKey, limit: Limit) -> Result<Option<Found>> {
        let mut options = GetOptions::default();
        options.deadline = limit.left()?;
        let read = async { Found::read(self.files.get_with(name, options).await?.unconditional()?).await };
        match deadline::within(limit.left()?, tokio::time::sleep, deadline::not_done, read).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Some(Found::DAMAGED)),
            Err(error) => Err(error),
        }
    }

    /// Stores the record in place of what was found, or of whatever there is if that has no name. Whether it was.
    pub(super) async fn write(
        &self,
        key: &CoordKey,
        found: Option<&Found>,
        stored: &Stored,
        terms: (Option<&Fence>, Limit),
    ) -> Result<bool> {
        self.write_file(&self.name(key)?, found, stored, terms).await
    }

    pub(super) async fn write_file(
        &self,
        name: &FileKey,
        found: Option<&Found>,
        stored: &Stored,
        (fence, limit): (Option<&Fence>, Limit),
    ) -> Result<bool> {
        let condition =
            found.map_or(Condition::Absent, |found| found.etag.clone().map_or(Condition::Always, Condition::Match));
        let mut options = PutOptions::default().with_condition(condition);
        options.fence = fence.map(|fence| self.fence(fence)).transpose()?;
        options.deadline = limit.left()?;
        match self.files.put_with(name, Body::from(stored.encode()), options).await {
            Ok(PutOutcome::Stored(_)) => Ok(true),
            Ok(PutOutcome::Conflict) => Ok(false),
            // The store did not look at the condition, because somebody else was writing.
            Err(error) if error.kind() == ErrorKind::Conflict && error.is_retryable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The marks of these records are apart from those of the store's other files.
    fn fence(&self, fence: &Fence) -> Result<Fence> {
        fence.within(self.folder.trim_end_matches('/'))
    }

    pub(super) async fn raise(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.files.raise_with(&self.fence(fence)?, options).await
    }

    /// Removes what was found, and its version with it: that takes no room. Whether it was.
    pub(super) async fn delete(&self, key: &CoordKey, found: &Found, limit: Limit) -> Result<bool> {
        let mut options = DeleteOptions::default();
        (options.if_match, options.deadline) = (found.etag.clone(), limit.left()?);
        Ok(self.files.delete_with(&self.name(key)?, options).await? != DeleteOutcome::Conflict)
    }

    /// A page of names and of when each was written, and what is to be read of it: where it ends, and how much of it the store
    /// skipped.
    pub(super) async fn list(
        &self,
        prefix: &str,
        start: Option<&PageToken>,
        most: u16,
        limit: Limit,
    ) -> Result<(Vec<(CoordKey, Timestamp)>, Page)> {
        let mut options = ListOptions::new(format!("{}{prefix}", self.folder)).with_limit(most);
        options.deadline = limit.left()?;
        if let Some(token) = start {
            options = options.with_start(Start::Token(token.clone()));
        }
        let page = self.files.list_with(options).await?;
        let names = page.entries.iter().filter_map(|entry| {
            let name = entry.key.as_str().strip_prefix(&self.folder)?.strip_suffix(END)?;
            CoordKey::new(name).ok().map(|name| (name, entry.modified))
        });
        Ok((names.collect(), Page { next: page.next, skipped: page.skipped, records: Vec::new() }))
    }
}

/// The error of a call of which a try before may have been made.
pub(super) fn in_doubt(error: Error) -> Error {
    let message = "it is not known whether this was stored, and could not be found out";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error)
}
