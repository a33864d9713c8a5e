use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use statehouse_core::{Error, Result};

use super::place::Place;
use super::source::Source;
use super::stage::StagedFile;
use super::writer::FileWriter;
use crate::body::Body;
use crate::digest::Digest;
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, PutOptions};
use crate::outcome::PutOutcome;

/// A put that is being described; `.await` stores the file.
///
/// It gives what was [`Stored`], and with a condition a [`PutOutcome`].
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let digest = Digest::of(b"DICM");
/// let stored = scans
///     .put("p42/chest.dcm", "DICM")
///     .content_type("application/dicom")
///     .metadata("modality", "ct")
///     .expect_sha256(digest) // else nothing is stored
///     .max_len(50 << 20)
///     .deadline(Duration::from_secs(30))
///     .await?;
///
/// // Only if nobody was faster: an answer, and no error
/// assert_eq!(scans.put("p42/chest.dcm", "another").if_absent().await?, PutOutcome::Conflict);
/// match scans.put("p42/chest.dcm", "DICM, corrected").if_match(&stored.etag).await? {
///     PutOutcome::Stored(corrected) => assert_ne!(corrected.etag, stored.etag),
///     other => panic!("somebody was faster: {other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is stored until awaited"]
pub struct Put<'a, O = Stored> {
    place: &'a Place,
    key: Result<FileKey>,
    source: Source<'a>,
    options: PutOptions,
    outcome: PhantomData<fn() -> O>,
}

/// Stores a file.
async fn store(place: &Place, key: Result<FileKey>, source: Source<'_>, mut options: PutOptions) -> Result<PutOutcome> {
    options.fence = place.fence(options.fence.take(), options.deadline).await?;
    let key = key?;
    let stored = source.store(|body| place.store.put_with(&key, body, options), is_stored).await;
    stored.map_err(|error| place.naming(&key, error))
}

const fn is_stored(outcome: &PutOutcome) -> bool {
    matches!(outcome, PutOutcome::Stored(_))
}

impl<'a> Put<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>, body: Body) -> Self {
        Self { place, key, source: Source::of(body), options: PutOptions::default(), outcome: PhantomData }
    }

    #[cfg(feature = "http")]
    pub(crate) fn refused(self, error: Error) -> Self {
        Self { key: Err(error), ..self }
    }

    pub(crate) fn with_source(self, source: BoxStream<'a, Result<Bytes>>) -> Self {
        Self { source: Source::borrowed(source), ..self }
    }

    /// Stores the file only if there is none with this name.
    pub fn if_absent(self) -> Put<'a, PutOutcome> {
        self.on(Condition::Absent)
    }

    /// Replaces the file only if it has this etag.
    pub fn if_match(self, etag: &ETag) -> Put<'a, PutOutcome> {
        self.on(Condition::Match(etag.clone()))
    }

    fn on(self, condition: Condition) -> Put<'a, PutOutcome> {
        let Self { place, key, source, options, .. } = self;
        Put { place, key, source, options: options.with_condition(condition), outcome: PhantomData }
    }
}

impl<'a, O> Put<'a, O> {
    /// Sets the media type, such as `image/png` or `text/plain; charset=utf-8`; what is none is `InvalidInput`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.options = self.options.with_content_type(content_type);
        self
    }

    /// Sets what the header `Content-Disposition` says of the file: whether a browser shows or saves it, and under which name.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// let named = disposition::attachment("Röntgen, Thorax.png");
    /// scans.put("p42/7", "PNG").content_disposition(named).cache_control("private, max-age=3600").await?;
    /// let meta = scans.head("p42/7").await?;
    /// assert!(meta.content_disposition.is_some_and(|text| text.ends_with("filename*=UTF-8''R%C3%B6ntgen%2C%20Thorax.png")));
    /// assert_eq!(meta.cache_control.as_deref(), Some("private, max-age=3600"));
    /// # Ok(()) }
    /// ```
    pub fn content_disposition(mut self, content_disposition: impl Into<String>) -> Self {
        self.options = self.options.with_content_disposition(content_disposition);
        self
    }

    /// Sets what the header `Cache-Control` says of the file: how long who may keep it.
    pub fn cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.options = self.options.with_cache_control(cache_control);
        self
    }

    /// Adds a pair of the application's own metadata; see [`PutOptions::user`].
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options = self.options.with_metadata(name, value);
        self
    }

    /// Fails, and makes nothing visible, unless the content has this digest.
    pub const fn expect_sha256(mut self, digest: Digest) -> Self {
        self.options.expected_digest = Some(digest);
        self
    }

    /// Fails, and makes nothing visible, if the content has more bytes.
    pub const fn max_len(mut self, bytes: u64) -> Self {
        self.options.max_len = Some(bytes);
        self
    }

    /// Sets how long the file is kept at least: see [`PutOptions::time_to_live`](crate::PutOptions::time_to_live).
    pub const fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.options.time_to_live = Some(time_to_live);
        self
    }

    /// Is told how many bytes have been taken: of a stream with each piece, before the file is visible and also if it never will be, and of
    /// bytes when they are stored.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("abc"), Ok("def")]);
    /// let taken = Arc::new(AtomicU64::new(0));
    /// let shown = Arc::clone(&taken);
    /// scans.put("p42/notes.txt", Body::from_stream(pieces)).progress(move |bytes| shown.store(bytes, Ordering::Relaxed)).await?;
    /// assert_eq!(taken.load(Ordering::Relaxed), 6);
    /// # Ok(()) }
    /// ```
    pub fn progress(mut self, progress: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.source.tell(progress);
        self
    }

    /// Writes the file piece by piece, with [`tokio::io::AsyncWrite`]: see [`FileWriter`]. The body has to be empty; one that is not is refused
    /// as `InvalidInput`. A [deadline](Self::deadline) runs from here, pauses between writes and all.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = scans.put("p42/notes.txt", "").content_type("text/plain").writer();
    /// writer.write_all(b"page 1, ").await?;
    /// writer.write_all(b"page 2").await?;
    /// assert_eq!(writer.finish().await?.len, 14);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// Outside a runtime of tokio: what is written is stored on a task of its own.
    pub fn writer(self) -> FileWriter<O> {
        let Self { place, key, source, options, .. } = self;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let Some(source) = source.into_fed(receiver) else {
            return FileWriter::refused(Error::invalid_input("a put that has a body is not written to"));
        };
        let place = place.clone();
        let put = tokio::spawn(async move { store(&place, key, source, options).await });
        FileWriter::new(sender, put)
    }

    /// Stores the file out of sight, for the transaction that it belongs to. Its condition, if it has one, is decided by the commit.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// let staged = scans.put("p42/chest.dcm", "DICM").if_absent().stage().await?;
    /// assert!(!scans.exists("p42/chest.dcm").await?);
    /// // INSERT INTO scans (name, stage) VALUES ('p42/chest.dcm', staged.id()); COMMIT
    /// match staged.commit().await? {
    ///     CommitOutcome::Committed(stored) => assert_eq!(stored.len, 4),
    ///     other => panic!("{other:?}: the row has to go"),
    /// }
    /// assert_eq!(scans.commit("p42/chest.dcm", staged.id()).await?, staged.commit().await?, "as often as anybody likes");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`FileStore`](crate::FileStore) says; a stage is under no lock, so not [`fenced`](Self::fenced).
    pub async fn stage(self) -> Result<StagedFile>
    where
        O: 'a,
    {
        let Self { place, key, source, options, .. } = self;
        let key = key?;
        let staged = source.store(|body| place.store.stage_with(&key, body, options), |_| true).await;
        let staged = staged.map_err(|error| place.naming(&key, error))?;
        Ok(StagedFile::new(place.clone(), key, staged))
    }

    fn run(self) -> impl Future<Output = Result<PutOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, key, source, options, .. } = self;
        store(place, key, source, options)
    }
}

bound!(
    Put,
    "Stores",
    "",
    "Sets how long the put may take; see [`PutOptions::deadline`](crate::options::PutOptions::deadline)."
);
awaited!(Put: Stored, PutOutcome);
