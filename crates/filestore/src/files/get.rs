use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use statehouse_core::Result;

use super::place::Place;
use crate::content::Object;
use crate::key::FileKey;
use crate::meta::ETag;
use crate::options::{ByteRange, GetOptions};

/// A get that is being described; `.await` gives the [`Object`], `.bytes().await` its content.
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
/// let checked = scans.get("p42/chest.dcm").await?.verify_sha256().bytes().await?;
/// # let _ = checked;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read until awaited"]
pub struct Get<'a> {
    place: &'a Place,
    key: Result<FileKey>,
    options: GetOptions,
}

impl<'a> Get<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>) -> Self {
        Self { place, key, options: GetOptions::default() }
    }

    #[cfg(feature = "http")]
    pub(crate) fn into_parts(self) -> (&'a Place, Result<FileKey>, GetOptions) {
        (self.place, self.key, self.options)
    }

    /// Reads only these bytes.
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.options.range = Some(range.into());
        self
    }

    /// Reads the file only if it has this etag; else fails with `Conflict`.
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.options.if_match = Some(etag.clone());
        self
    }

    /// Sets how long the get may take; see [`GetOptions::deadline`](crate::GetOptions::deadline).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Reads the content in one piece.
    ///
    /// # Errors
    /// As [`Object::bytes`].
    pub async fn bytes(self) -> Result<Bytes> {
        self.await?.bytes().await
    }

    /// Reads the content in pieces; see [`Object::into_stream`].
    ///
    /// # Errors
    /// As [`FileStore::get_with`](crate::FileStore::get_with).
    pub async fn stream(self) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(self.await?.into_stream())
    }
}

impl<'a> IntoFuture for Get<'a> {
    type Output = Result<Object>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let key = self.key?;
            let got = self.place.store.get_with(&key, self.options).await;
            got.map_err(|error| self.place.naming(&key, error))
        }
        .boxed()
    }
}
