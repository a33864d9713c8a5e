use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::{Error, ErrorKind, Result};

use crate::digest::{Check, Verifier, corrupt};
use crate::meta::Meta;

/// A file that is being read: its metadata first, then its content.
pub struct Object {
    meta: Meta,
    range: Range<u64>,
    content: Content,
}

enum Content {
    Bytes(Bytes),
    Stream(BoxStream<'static, Result<Bytes>>),
}

/// The most memory that is set aside before any content has come.
const MAX_RESERVE: u64 = 64 << 20;

impl Object {
    /// A file from a stream of its content, for authors of backends.
    ///
    /// What the stream yields is checked here: its length against the range and, if that is the whole file, its
    /// digest against the metadata. After an error or at the end it yields nothing more.
    pub fn new(meta: Meta, range: Range<u64>, content: BoxStream<'static, Result<Bytes>>) -> Self {
        let whole = range.start == 0 && range.end == meta.len;
        let digest = meta.sha256.filter(|_| whole);
        let verifier = Verifier::new(range.end - range.start, Check::sha256(digest));
        let content = Verified::new(content, verifier).boxed();
        Self { meta, range, content: Content::Stream(content) }
    }

    /// A file from a stream whose whole content is checked by its CRC-32.
    #[cfg(feature = "s3")]
    pub(crate) fn with_crc32(
        meta: Meta,
        range: Range<u64>,
        content: BoxStream<'static, Result<Bytes>>,
        crc: u32,
    ) -> Self {
        let whole = range.start == 0 && range.end == meta.len;
        let check = if whole { Check::crc32(crc) } else { Check::sha256(None) };
        let verifier = Verifier::new(range.end - range.start, check);
        let content = Verified::new(content, verifier).boxed();
        Self { meta, range, content: Content::Stream(content) }
    }

    /// Also checks the content against its SHA-256, where the backend checks reads by something quicker.
    ///
    /// A CRC-32 finds what breaks by accident; the SHA-256 is what says that these are the bytes that were stored under
    /// this digest. A range, and a file that has no digest, cannot be checked: its first piece is an error of kind
    /// [`Unsupported`](statehouse_core::ErrorKind::Unsupported).
    #[must_use]
    pub fn verify_sha256(self) -> Self {
        let whole = self.range.start == 0 && self.range.end == self.meta.len;
        let (meta, range) = (self.meta.clone(), self.range.clone());
        let Some(digest) = meta.sha256.filter(|_| whole) else {
            let message = "a range, or a file without a digest, cannot be checked against a SHA-256";
            let refused = Error::new(ErrorKind::Unsupported, message);
            let content = futures_util::stream::iter([Err(refused)]).boxed();
            return Self { meta, range, content: Content::Stream(content) };
        };
        let verifier = Verifier::new(meta.len, Check::sha256(Some(digest)));
        let content = Verified::new(self.into_stream(), verifier).boxed();
        Self { meta, range, content: Content::Stream(content) }
    }

    /// A file from bytes that the backend has checked already.
    #[must_use]
    pub const fn from_checked_bytes(meta: Meta, range: Range<u64>, bytes: Bytes) -> Self {
        Self { meta, range, content: Content::Bytes(bytes) }
    }

    /// A file from a stream that the backend checks itself.
    #[cfg(unix)]
    pub(crate) const fn from_checked_stream(
        meta: Meta,
        range: Range<u64>,
        content: BoxStream<'static, Result<Bytes>>,
    ) -> Self {
        Self { meta, range, content: Content::Stream(content) }
    }

    /// Shows the content to an observer: all that is in memory at once by its length, the pieces of a stream as they are
    /// read.
    pub(crate) fn seen(self, whole: impl FnOnce(u64), piece: impl FnMut(&Bytes) + Send + 'static) -> Self {
        let Self { meta, range, content } = self;
        let content = match content {
            Content::Bytes(bytes) => {
                whole(bytes.len() as u64);
                Content::Bytes(bytes)
            }
            Content::Stream(stream) => Content::Stream(stream.inspect_ok(piece).boxed()),
        };
        Self { meta, range, content }
    }

    /// The file's metadata.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Which bytes of the file the content is.
    #[must_use]
    pub const fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// The content in one piece.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](statehouse_core::ErrorKind::Corrupt) if it is not what was stored; and whatever reading
    /// may fail with.
    pub async fn bytes(self) -> Result<Bytes> {
        let mut stream = match self.content {
            Content::Bytes(bytes) => return Ok(bytes),
            Content::Stream(stream) => stream,
        };
        let reserve = (self.range.end - self.range.start).min(MAX_RESERVE);
        let mut all = BytesMut::with_capacity(usize::try_from(reserve).unwrap_or(0));
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.freeze())
    }

    /// The content in pieces. A file that is short or changed ends with an error, never early or never.
    #[must_use]
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        match self.content {
            Content::Bytes(bytes) => {
                let piece = Some(bytes).filter(|bytes| !bytes.is_empty());
                futures_util::stream::iter(piece.map(Ok)).boxed()
            }
            Content::Stream(stream) => stream,
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// Passes content on and checks it on the way: its last piece only when all of it is right, for whoever reads as much as there is
/// asks for no more.
struct Verified {
    content: Option<BoxStream<'static, Result<Bytes>>>,
    verifier: Verifier,
    last: Option<Bytes>,
}

impl Verified {
    fn new(content: BoxStream<'static, Result<Bytes>>, verifier: Verifier) -> Self {
        Self { content: Some(content), verifier, last: None }
    }
}

impl Stream for Verified {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(content) = &mut this.content else { return Poll::Ready(None) };
        let error = loop {
            match std::task::ready!(content.poll_next_unpin(cx)) {
                // object_store's local files yield empty pieces for ever when a file was cut short behind their back.
                Some(Ok(piece)) if piece.is_empty() && this.verifier.missing() > 0 => {
                    break Some(corrupt("the file is shorter than its metadata says"));
                }
                Some(Ok(piece)) => match this.verifier.update(&piece) {
                    Ok(()) if this.verifier.missing() > 0 => return Poll::Ready(Some(Ok(piece))),
                    Ok(()) if piece.is_empty() => {}
                    Ok(()) => this.last = Some(piece),
                    Err(error) => break Some(error),
                },
                Some(Err(error)) => break Some(error),
                None => break this.verifier.finish().err(),
            }
        };
        this.content = None;
        let last = this.last.take();
        Poll::Ready(error.map(Err).or(last.map(Ok)))
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::Timestamp;

    use super::*;
    use crate::digest::Digest;
    use crate::key::FileKey;
    use crate::meta::ETag;

    fn object(pieces: &[&'static str]) -> Object {
        let meta = Meta::new(FileKey::new("k").unwrap(), 6, ETag::new("e"), Timestamp::default())
            .with_sha256(Some(Digest::of(b"abcdef")));
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        Object::new(meta, 0..6, futures_util::stream::iter(pieces).boxed())
    }

    #[tokio::test]
    async fn content_that_is_not_what_was_stored_ends_with_an_error() {
        assert_eq!(object(&["abc", "def"]).bytes().await.unwrap(), "abcdef");
        for pieces in [&["abc"][..], &["abc", "deg"], &["abc", "defg"], &["abc", "", "def"], &[]] {
            assert_eq!(object(pieces).bytes().await.unwrap_err().kind(), ErrorKind::Corrupt, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn nothing_follows_an_error() {
        let mut stream = object(&["abc", "defg", "more"]).into_stream();
        assert!(stream.next().await.unwrap().is_ok());
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }
}
