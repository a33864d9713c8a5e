use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use statehouse_core::Result;

use super::disposition::essence;
use super::sniff::checked;
use super::unsupported::refused;
use crate::body::source_failed;
use crate::files::{Files, Put};

/// What may be uploaded: how much, and of which types.
///
/// ```
/// use statehouse_filestore::UploadLimits;
///
/// let photos = UploadLimits::new(10 << 20).with_types(["image/jpeg", "image/png"]);
/// assert!(photos.allow("image/png; x=y") && !photos.allow("image/svg+xml"));
/// let media = UploadLimits::new(1 << 30).with_types(["video/*", "audio/*"]);
/// assert!(media.allow("video/mp4") && !media.allow("text/html"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadLimits {
    /// The most bytes.
    pub max_len: u64,
    /// The types that are taken, as `image/png` or `image/*`; any if there are none.
    pub types: Vec<String>,
}

impl UploadLimits {
    /// So many bytes at most, of any type.
    #[must_use]
    pub const fn new(max_len: u64) -> Self {
        Self { max_len, types: Vec::new() }
    }

    /// With the types that are taken, as `image/png` or `image/*`.
    #[must_use]
    pub fn with_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = types.into_iter().map(|known| known.into().to_ascii_lowercase()).collect();
        self
    }

    /// Whether a type is taken.
    #[must_use]
    pub fn allow(&self, content_type: &str) -> bool {
        let Some(essence) = essence(content_type) else { return false };
        let fits = |known: &String| match known.strip_suffix('*') {
            Some(kind) => essence.starts_with(kind),
            None => essence == *known,
        };
        is_type(&essence) && (self.types.is_empty() || self.types.iter().any(fits))
    }
}

impl Files {
    /// Stores a file that somebody sends: no more of it than is allowed, and of a type that is. The content of pictures and PDF must
    /// begin as content of that type does, so that what is shown in place is what it is called. What axum reads of a body ends at 2 MB unless
    /// the route has `DefaultBodyLimit::disable()`: a source that ends so has failed (`InvalidInput`), and was not too large by these limits.
    ///
    /// The stream may borrow, and may be that of a form's field, as axum's `Multipart` hands it out; `content_type` is what its sender says:
    ///
    /// ```
    /// # use statehouse_filestore::{Files, Stored, UploadLimits};
    /// # /// As axum's: a stream of bytes.
    /// # struct Field(futures_util::stream::Empty<Result<bytes::Bytes, std::io::Error>>);
    /// # impl Field { fn content_type(&self) -> Option<&str> { None } fn into_stream(self) -> futures_util::stream::Empty<Result<bytes::Bytes, std::io::Error>> { self.0 } }
    /// async fn photo(files: &Files, field: Field) -> statehouse_core::Result<Stored> {
    ///     let photos = UploadLimits::new(10 << 20).with_types(["image/jpeg", "image/png"]);
    ///     let content_type = field.content_type().map(str::to_owned);
    ///     # let field = field.into_stream();
    ///     files.upload("p42/photo", content_type.as_deref(), field, &photos).await
    /// }
    /// ```
    ///
    /// # Errors
    /// When it is awaited: [`TooLarge`](statehouse_core::ErrorKind::TooLarge), and
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) with [`UnsupportedType`](crate::UnsupportedType) behind it; others as
    /// [`FileStore`](crate::FileStore) says. Nothing is stored then.
    pub fn upload<'a, S, B, E>(
        &'a self,
        name: impl AsRef<str>,
        content_type: Option<&str>,
        stream: S,
        limits: &UploadLimits,
    ) -> Put<'a>
    where
        S: Stream<Item = Result<B, E>> + Send + 'a,
        B: Into<Bytes>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let content = stream.map(|piece| piece.map(Into::into).map_err(source_failed)).boxed();
        let content = match content_type.and_then(essence) {
            Some(essence) => checked(content, &essence),
            None => content,
        };
        let allowed = content_type.map_or(limits.types.is_empty(), |content_type| limits.allow(content_type));
        let put = self.put(name, Bytes::new()).with_source(content).max_len(limits.max_len);
        let put = match content_type {
            Some(content_type) => put.content_type(content_type),
            None => put,
        };
        if allowed { put } else { put.refused(refused("files of this type are not taken here")) }
    }
}

/// Whether a type is one that may be registered ([RFC 6838, 4.2](https://www.rfc-editor.org/rfc/rfc6838#section-4.2)), so no `image/*`.
fn is_type(essence: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
}
