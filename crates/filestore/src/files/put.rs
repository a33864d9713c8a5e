use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::BoxStream;
#[cfg(feature = "http")]
use statehouse_core::Error;
use statehouse_core::{AsFence, Result};

use super::place::Place;
use crate::body::{Body, source_failed};
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
    body: Body,
    source: Option<Source<'a>>,
    options: PutOptions,
    outcome: PhantomData<fn() -> O>,
}

/// A stream that borrows.
struct Source<'a>(BoxStream<'a, Result<Bytes>>);

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl Source<'_> {
    /// Hands pieces over to a body that owns what it needs, one at a time.
    async fn feed(mut self, body: tokio::sync::mpsc::Sender<Option<Result<Bytes>>>) {
        while let Some(piece) = self.0.next().await {
            if body.send(Some(piece)).await.is_err() {
                return;
            }
        }
        let _ = body.send(None).await;
    }
}

/// What is fed. It ends well only if its source says so, and not if that is dropped.
fn fed(source: tokio::sync::mpsc::Receiver<Option<Result<Bytes>>>) -> Body {
    let pieces = futures_util::stream::unfold(Some(source), |source| async {
        let mut source = source?;
        match source.recv().await {
            Some(Some(piece)) => Some((piece, Some(source))),
            Some(None) => None,
            None => Some((Err(source_failed("it was dropped")), None)),
        }
    });
    Body::from(pieces.boxed())
}

impl<'a> Put<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>, body: Body) -> Self {
        Self { place, key, body, source: None, options: PutOptions::default(), outcome: PhantomData }
    }

    #[cfg(feature = "http")]
    pub(crate) fn refused(self, error: Error) -> Self {
        Self { key: Err(error), ..self }
    }

    pub(crate) fn with_source(self, source: BoxStream<'a, Result<Bytes>>) -> Self {
        Self { source: Some(Source(source)), ..self }
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
        let Self { place, key, body, source, options, .. } = self;
        Put { place, key, body, source, options: options.with_condition(condition), outcome: PhantomData }
    }
}

impl<'a, O> Put<'a, O> {
    /// Sets the media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.options = self.options.with_content_type(content_type);
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

    /// Stores only as long as nobody else has acquired the lock since: else it is refused as
    /// [`Fenced`](statehouse_core::ErrorKind::Fenced). The lock should [guard](statehouse_core::Guarded) these files; if it does
    /// not, this is refused once its next holder has written one of them.
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.options = self.options.with_fence(guard);
        self
    }

    /// Sets how long the put may take; see [`PutOptions::deadline`](crate::options::PutOptions::deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    fn run(self) -> impl Future<Output = Result<PutOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, key, body, source, mut options, .. } = self;
        async move {
            options.fence = place.fence(options.fence.take(), options.deadline).await?;
            let key = key?;
            let stored = match source {
                None => place.store.put_with(&key, body, options).await,
                Some(source) => {
                    let (sender, receiver) = tokio::sync::mpsc::channel(1);
                    let put = place.store.put_with(&key, fed(receiver), options);
                    match futures_util::future::select(put, Box::pin(source.feed(sender))).await {
                        Either::Left((stored, _)) => stored,
                        Either::Right(((), put)) => put.await,
                    }
                }
            };
            stored.map_err(|error| place.naming(&key, error))
        }
    }
}

awaited!(Put: Stored, PutOutcome);
