use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::place::Place;
use super::reader::FileReader;
use crate::content::Object;
use crate::key::FileKey;
use crate::meta::ETag;
use crate::options::{ByteRange, GetOptions, HeadOptions};
use crate::outcome::ReadOutcome;

/// A get that is being described; `.await` gives the [`Object`], `.bytes().await` its content.
///
/// Where it says what the reader has, it gives a [`ReadOutcome`].
///
/// ```
/// use futures_util::TryStreamExt;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let stored = scans.put("p42/chest.dcm", "DICM and more").content_type("application/dicom").await?;
/// let object = scans.get("p42/chest.dcm").deadline(Duration::from_secs(30)).await?;
/// assert_eq!(object.meta().content_type.as_deref(), Some("application/dicom"));
/// let mut pieces = object.into_stream(); // what `axum::body::Body::from_stream` takes
/// while let Some(piece) = pieces.try_next().await? {
///     # let _ = piece;
/// }
/// assert_eq!(scans.get("p42/chest.dcm").if_match(&stored.etag).range(..4).bytes().await?, "DICM");
/// assert!(scans.get("p42/chest.dcm").if_none_match(&stored.etag).await?.found().is_none());
/// let checked = scans.get("p42/chest.dcm").await?.verify_sha256().bytes().await?;
/// # let _ = checked;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read until awaited"]
pub struct Get<'a, O = Object> {
    place: &'a Place,
    key: Result<FileKey>,
    options: GetOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a> Get<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>) -> Self {
        Self { place, key, options: GetOptions::default(), outcome: PhantomData }
    }

    #[cfg(feature = "http")]
    pub(crate) fn into_parts(self) -> (&'a Place, Result<FileKey>, GetOptions) {
        (self.place, self.key, self.options)
    }

    /// Reads the content in one piece.
    ///
    /// # Errors
    /// As [`Object::bytes`].
    pub async fn bytes(self) -> Result<Bytes> {
        self.await?.bytes().await
    }

    /// Reads it from any place, with [`tokio::io::AsyncRead`] and [`tokio::io::AsyncSeek`]: see [`FileReader`]. A deadline is one of each
    /// request that this takes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// use std::io::SeekFrom;
    /// use tokio::io::{AsyncReadExt, AsyncSeekExt};
    ///
    /// scans.put("p42/chest.dcm", "DICM and much more").await?;
    /// let mut reader = scans.get("p42/chest.dcm").reader().await?;
    /// reader.seek(SeekFrom::End(-4)).await?;
    /// let mut end = String::new();
    /// reader.read_to_string(&mut end).await?;
    /// assert_eq!((end.as_str(), reader.meta().len), ("more", 18));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`FileStore::head_with`](crate::FileStore::head_with); `Conflict` if it has not the etag that is asked for; `InvalidInput` if a
    /// [range](Self::range) was set: a reader is of the whole file; `Unsupported` where a store that is brought along gives the file no
    /// etag, or a weak one.
    pub async fn reader(self) -> Result<FileReader> {
        let Self { place, key, options, .. } = self;
        let (key, deadline) = (key?, options.deadline);
        let naming = |error: Error| place.naming(&key, error.with_key(&key));
        if options.range.is_some() {
            return Err(naming(Error::invalid_input("a reader is of the whole file: seek to where it is to be read")));
        }
        let head = place.store.head_with(&key, HeadOptions::of(options)).await;
        let meta = head.and_then(ReadOutcome::unconditional).map_err(naming)?;
        if !meta.etag.names_a_state() {
            let message =
                "the store gives this file no etag that it can be asked for by, so its pieces may be of several states";
            return Err(naming(Error::new(ErrorKind::Unsupported, message)));
        }
        Ok(FileReader::new(place.clone(), meta, deadline))
    }

    /// Reads the content in pieces; see [`Object::into_stream`].
    ///
    /// # Errors
    /// As [`FileStore::get_with`](crate::FileStore::get_with).
    pub async fn stream(self) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(self.await?.into_stream())
    }
}

impl<'a, O> Get<'a, O> {
    /// Reads only these bytes.
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.options.range = Some(range.into());
        self
    }

    /// Sets how long the get may take until its content begins; see [`GetOptions::deadline`](crate::GetOptions::deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    fn run(self) -> impl Future<Output = Result<ReadOutcome<Object>>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, key, options, .. } = self;
        async move {
            let key = key?;
            let got = place.store.get_with(&key, options).await;
            got.map_err(|error| place.naming(&key, error))
        }
    }
}

read_if!(Get, Object);
awaited!(Get: Object, ReadOutcome<Object>);
