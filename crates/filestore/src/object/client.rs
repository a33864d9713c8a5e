//! The requests that the store makes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult, UpdateVersion};
use statehouse_core::{Capabilities, Error, ErrorKind, Result, Timestamp};

#[cfg(feature = "azure")]
use super::azure::blob_name;
use super::connection::Native;
use super::error::{map_error, nested};
use super::metadata::{self, Marks};
use super::room::Room;
use super::wire::{Answer, Log, Terms, observe};
use crate::digest::Digest;
use crate::digest::{Received, hex, nonce};
use crate::key::FileKey;
use crate::meta::{ETag, Entry, Meta, Stored};
use crate::options::{Condition, ListOptions, PutOptions};

/// By how much two readings of the server's clock may differ in their order: it counts in whole seconds.
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// The longest name of an object that every server takes: some fail at longer ones as if they were busy.
const MAX_NAME: usize = 479;

/// How much longer than a file's the names are that the store gives to what it keeps beside it: `.statehouse/sha256/`, and behind the
/// key a slash and 32 digits.
const BESIDE: usize = 52;

/// The longest text that holds a file's checksums.
const MAX_RECORD: usize = 256;

/// A bucket, and what its objects' keys begin with.
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    /// What only a store of our own making can do: its requests go through our wire.
    pub(super) native: Option<Native>,
    /// Empty, or ending with a slash.
    pub(super) prefix: String,
    pub(super) limits: Limits,
    pub(super) nesting: Nesting,
    /// Whether the store keeps metadata with an object. Not all that are brought along do.
    pub(super) describes: AtomicBool,
    pub(super) records: Records,
}

/// Which files this process has stored with a digest apart, by their keys: the digest goes when a file of one part
/// replaces them. What it forgets, and what other processes have stored, is left for a sweep.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<HashMap<FileKey, String>>);

/// How many of them are remembered.
const MAX_RECORDS: usize = 4096;

impl Records {
    pub(super) fn add(&self, key: &FileKey, put: &str) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= MAX_RECORDS {
            records.clear();
        }
        records.insert(key.clone(), put.to_owned());
    }

    fn get(&self, key: &FileKey) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Forgets this one, and none that was stored meanwhile. Whether it was there.
    pub(super) fn forget(&self, key: &FileKey, put: &str) -> bool {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = records.get(key).is_some_and(|stored| stored == put);
        is_it && records.remove(key).is_some()
    }
}

/// What bounds transfers.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) part_size: u64,
    /// The longest file that is copied in one request.
    pub(super) copy_limit: u64,
    /// The server's silence.
    pub(super) timeout: Duration,
    /// The silence of an upload's source.
    pub(super) body_timeout: Duration,
    /// A whole download.
    pub(super) read_limit: Option<Duration>,
    pub(super) room: Room,
}

/// What becomes of a file below another file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// It is a file.
    Kept,
    /// The server says that it cannot be: of an upload in parts when all of it has been sent, and as a failure of its own.
    Told,
    /// The server takes it and hides it: to be looked for before each put.
    Hidden,
}

/// Why an operation failed, and what happened on the wire.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: object_store::Error,
    pub(super) log: Log,
}

impl Failure {
    /// The error of a write with this condition.
    pub(super) fn into_error(self, condition: &Condition) -> Error {
        let missing = matches!(self.error, object_store::Error::NotFound { .. });
        let error = map_error(self.error, &self.log);
        match (condition, error.kind()) {
            (Condition::Absent, ErrorKind::Conflict) if !error.is_retryable() => exists().with_source(error),
            // Amazon says that what should be replaced is not there; the others say that it does not match.
            (Condition::Match(_), ErrorKind::NotFound) if missing => changed().with_source(error),
            _ => error,
        }
    }

    /// Whether a store that is brought along says that it cannot.
    pub(super) fn is_unsupported(&self) -> bool {
        use object_store::Error as E;
        matches!(self.error, E::NotSupported { .. } | E::NotImplemented { .. })
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

/// Succeeds for an etag that a server can be asked for. Others are none of its, and would ask for something else: servers do
/// not look at an empty `If-Match`, take `*` for any, and what is behind a comma for another; some take the quotes off first.
pub(super) fn check_etag(etag: &ETag) -> Result<()> {
    const LONGEST: usize = 1024;
    let text = etag.as_str();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_one = |byte: u8| byte.is_ascii_graphic() && byte != b',' && byte != b'"';
    let is_one = !quoted.is_empty() && quoted != "*" && quoted.bytes().all(is_one);
    if is_one && text.len() <= LONGEST { Ok(()) } else { Err(changed()) }
}

pub(super) fn changed() -> Error {
    Error::new(ErrorKind::Conflict, "the file does not have the expected etag")
}

impl Remote {
    pub(super) fn new(store: Arc<dyn ObjectStore>, native: Option<Native>, prefix: String, limits: Limits) -> Self {
        let is_s3 = native.as_ref().is_some_and(|native| native.s3().is_some());
        let nesting = if is_s3 { Nesting::Told } else { Nesting::Kept };
        let describes = AtomicBool::new(true);
        Self { store, native, prefix, limits, nesting, describes, records: Records::default() }
    }

    /// What follows from what is known of the store: nobody signs for one that is brought along, and nobody knows its uploads. A
    /// file whose time is over is deleted only if it is still that one.
    pub(super) fn with_what_is_ours(&self, known: Capabilities) -> Capabilities {
        use crate::capability::{DELETE_IF_MATCH, METADATA, PRESIGNED, STAGED, TIME_TO_LIVE};
        let (ours, described) = (self.native.is_some(), known.has(METADATA));
        let known = if ours { known } else { known.without(PRESIGNED) };
        let keeps_uploads = self.native.as_ref().is_some_and(|native| native.s3().is_some());
        let staged = (keeps_uploads && described).then_some(STAGED);
        let expiring = (ours && described && known.has(DELETE_IF_MATCH)).then_some(TIME_TO_LIVE);
        let known = known.without(STAGED).without(TIME_TO_LIVE);
        known.iter().chain(staged).chain(expiring).collect()
    }

    pub(super) async fn call<T>(
        &self,
        terms: Terms<'_>,
        operation: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        let (result, log) = observe(terms, operation).await;
        result.map_err(|error| Failure { error, log })
    }

    /// A call that changes nothing, or nothing that matters.
    pub(super) async fn plain<T>(
        &self,
        answer: Answer,
        operation: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let result = self.call(Terms::new(answer), operation).await;
        result.map_err(|failure| map_error(failure.error, &failure.log))
    }

    pub(super) fn path(&self, key: &str) -> Result<Path> {
        let name = format!("{}{key}", self.prefix);
        #[cfg(feature = "azure")]
        let name = if self.is_azure() { blob_name::encode(&name) } else { name };
        Path::parse(name).map_err(|error| Error::invalid_input("the store does not take this key").with_source(error))
    }

    /// Whether a file of this key can be stored, with what is kept beside it. A key without a prefix always can.
    pub(super) fn check_name(&self, key: &FileKey) -> Result<()> {
        if self.native.is_some() && self.prefix.len() + key.len() + BESIDE > MAX_NAME {
            let most = MAX_NAME - BESIDE;
            return Err(Error::invalid_input(format!(
                "the key and the store's prefix are longer than {most} bytes together"
            )));
        }
        #[cfg(feature = "azure")]
        if self.is_azure() {
            return blob_name::check(&self.prefix, key, BESIDE);
        }
        Ok(())
    }

    /// Whether it is a container of Azure.
    pub(super) fn is_azure(&self) -> bool {
        self.native.as_ref().is_some_and(|native| native.s3().is_none())
    }

    /// Where the digests that are apart of a file are kept, and then that of one put.
    pub(super) fn digest_path(&self, key: &FileKey, put: &str) -> Result<Path> {
        self.path(&format!("{}/sha256/{key}/{put}", crate::key::RESERVED))
    }

    pub(super) fn mode(&self, condition: &Condition) -> PutMode {
        match condition {
            // Our own wire adds the precondition, to puts as to what object_store has no mode for.
            _ if self.native.is_some() => PutMode::Overwrite,
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Match(etag) => {
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
        let (path, put, start) = (self.path(key)?, hex(&nonce()?), Instant::now());
        // Known before it is sent: what is stored while its answer is on the way is not what it replaces.
        let (plain, replaced) = (options.is_plain(), self.records.get(key));
        let send = async |described: bool| {
            let attributes = match described {
                true => metadata::describe(options, &put, Some(received.into())),
                false => Default::default(),
            };
            let request =
                object_store::PutOptions { mode: self.mode(&options.condition), attributes, ..Default::default() };
            let terms = Terms::new(Answer::Nothing).condition(&options.condition).payload(received.digest);
            self.call(terms, self.store.put_opts(&path, content.clone(), request)).await
        };
        let mut described = self.describes.load(Ordering::Relaxed);
        if !described && !plain {
            return Err(undescribed());
        }
        let mut result = send(described).await;
        // A store that is brought along may not take metadata. What it says does not tell that from a condition.
        if self.native.is_none() && described && result.as_ref().is_err_and(Failure::is_unsupported) && plain {
            described = false;
            result = send(described).await;
            self.describes.fetch_and(result.is_err(), Ordering::Relaxed);
        }
        let stored = self.settle(key, &put, &options.condition, result, received.into(), start).await?;
        if let Some(put) = replaced.filter(|put| self.records.forget(key, put)) {
            self.forget_digest(key, Some(Marks { put: Some(put), apart: true, ..Marks::default() }));
        }
        Ok(stored)
    }

    /// The digest of a file that has been replaced goes with it. Should that fail, a sweep finds it.
    pub(super) fn forget_digest(&self, key: &FileKey, replaced: Option<Marks>) {
        let put = replaced.filter(|marks| marks.apart).and_then(|marks| marks.put);
        let Some(path) = put.and_then(|put| self.digest_path(key, &put).ok()) else { return };
        let store = Arc::clone(&self.store);
        tokio::spawn(async move { observe(Terms::new(Answer::Nothing), store.delete(&path)).await });
    }

    /// The outcome of a write. Where its answer was lost, what is there now says which put wrote it.
    pub(super) async fn settle(
        &self,
        key: &FileKey,
        put: &str,
        condition: &Condition,
        result: Result<PutResult, Failure>,
        (len, sha256): (u64, Option<Digest>),
        start: Instant,
    ) -> Result<Stored> {
        let failure = match result {
            Ok(done) => return Ok(Stored::new(ETag::new(done.e_tag.unwrap_or_default()), len, sha256)),
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
        match Box::pin(self.peek_dated(key)).await {
            Ok((meta, marks, _)) if marks.put.as_deref() == Some(put) => Ok(Stored::new(meta.etag, meta.len, sha256)),
            // Such a store does not send again what may have been applied.
            Ok(_) if refused && self.native.is_none() => Err(error),
            Err(absent) if refused && self.native.is_none() && absent.kind() == ErrorKind::NotFound => Err(error),
            // What was there all the time cannot have replaced ours: we were refused from the start.
            Ok((meta, _, now)) if refused && is_older(meta.modified, now, start) => Err(error),
            _ => Err(lost(error)),
        }
    }

    /// A file's metadata and marks, without a digest that is apart.
    pub(super) async fn peek(&self, key: &FileKey) -> Result<(Meta, Marks)> {
        let (meta, marks, _) = self.peek_dated(key).await?;
        Ok((meta, marks))
    }

    /// [`peek`](Self::peek), and what time it is at the server.
    pub(super) async fn peek_dated(&self, key: &FileKey) -> Result<(Meta, Marks, Option<SystemTime>)> {
        let path = self.path(key)?;
        let request = object_store::GetOptions { head: true, ..Default::default() };
        let (found, log) = observe(Terms::new(Answer::Nothing), self.store.get_opts(&path, request)).await;
        let found = found.map_err(|error| map_error(error, &log))?;
        let (meta, marks) = metadata::read(key, &found.meta, &found.attributes);
        Ok((meta, marks, log.date))
    }

    /// A file's metadata, with its digest wherever it is kept.
    pub(super) async fn look(&self, key: &FileKey) -> Result<(Meta, Marks)> {
        let (meta, marks) = self.peek(key).await?;
        self.with_digest(meta, marks).await
    }

    /// Adds a digest that is apart, if it is there.
    pub(super) async fn with_digest(&self, meta: Meta, mut marks: Marks) -> Result<(Meta, Marks)> {
        let Some(put) = marks.put.as_deref().filter(|_| marks.apart) else { return Ok((meta, marks)) };
        // Boxed, as all that is seldom done, so that the usual get and put don't carry the room for it.
        let (digest, crc) = Box::pin(self.digest_apart(&meta.key, put)).await?;
        marks.crc = crc;
        Ok((meta.with_sha256(digest), marks))
    }

    /// The checksums of a file that are apart. Without them, or with a record that says nothing, the file is whole as far
    /// as anybody knows, and unverified.
    async fn digest_apart(&self, key: &FileKey, put: &str) -> Result<(Option<Digest>, Option<u32>)> {
        let path = self.digest_path(key, put)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        let text = match self.plain(Answer::Text, read).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Default::default(),
            read => read?,
        };
        let text = std::str::from_utf8(&text).unwrap_or_default();
        let sums = if text.len() <= MAX_RECORD { metadata::read_sums(text) } else { (None, None) };
        if sums.0.is_none() {
            tracing::warn!(name: "filestore.unverified", "a file's SHA-256 is missing or damaged: it is read unverified");
        }
        Ok(sums)
    }

    /// Refuses a file below another's name, or above others', if the store would not refuse it itself and at once.
    pub(super) async fn check_nesting(&self, key: &FileKey) -> Result<()> {
        for (slash, _) in key.match_indices('/') {
            match self.peek(&FileKey::new(&key[..slash])?).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(nested()),
            }
        }
        let below = self.list(&ListOptions::new(format!("{key}/")).with_limit(1)).await?;
        if below.entries.is_empty() { Ok(()) } else { Err(nested()) }
    }

    pub(super) fn entry(&self, object: &ObjectMeta) -> Option<Entry> {
        let key = FileKey::new(object.location.as_ref().strip_prefix(&self.prefix)?).ok()?;
        Some(Entry::new(key, object.size, metadata::etag(object), metadata::modified(object)))
    }

    /// Removes an object, whether it is there or not.
    pub(super) async fn remove(&self, path: &Path) -> Result<()> {
        match self.plain(Answer::Nothing, self.store.delete(path)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Whether a file was last written before an operation began, by the server's clock and the time that has passed here.
pub(super) fn is_older(modified: Timestamp, now: Option<SystemTime>, start: Instant) -> bool {
    let age = now
        .and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_micros(modified.as_micros())).ok());
    age.is_some_and(|age| age > start.elapsed() + CLOCK_STEP)
}

pub(super) fn lost(error: Error) -> Error {
    let message = "the answer to the write was lost, and what is there now does not tell its outcome";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(error)
}

fn undescribed() -> Error {
    let message = "the store keeps no content type and no metadata of the application's own";
    Error::new(ErrorKind::Unsupported, message)
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("store", &self.store.to_string())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
