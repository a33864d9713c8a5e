use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use statehouse_core::{Error, Result};

use super::failures::to_be_told;
use crate::content::Object;

/// The body of an answer: a file's content, read as fast as the client takes it, or nothing.
///
/// A file's last piece comes when all of its content has been checked, so that one that is not what was stored is a broken
/// connection for the client, and never a whole answer.
#[derive(Default)]
pub struct FileBody {
    content: Option<BoxStream<'static, Result<Bytes>>>,
    /// How many bytes have not come yet.
    left: u64,
}

impl FileBody {
    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    pub(super) const fn new(content: BoxStream<'static, Result<Bytes>>, len: u64) -> Self {
        Self { content: Some(content), left: len }
    }
}

impl From<Object> for FileBody {
    fn from(object: Object) -> Self {
        let len = object.range().end - object.range().start;
        Self::new(object.into_stream(), len)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        loop {
            let Some(content) = &mut self.content else { return Poll::Ready(None) };
            let next = ready!(content.as_mut().poll_next(cx));
            match &next {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => self.left = self.left.saturating_sub(piece.len() as u64),
                Some(Err(error)) => {
                    if let Some(count) = to_be_told(error) {
                        let kind = error.kind();
                        tracing::warn!(name: "filestore.answer_broken", %kind, %error, count, "a file broke off while it was sent");
                    }
                }
                None => {}
            }
            if self.left == 0 || !matches!(next, Some(Ok(_))) {
                self.content = None;
            }
            return Poll::Ready(next.map(|piece| piece.map(Frame::data)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;
    use statehouse_core::{ErrorKind, Timestamp};

    use super::*;
    use crate::digest::Digest;
    use crate::key::FileKey;
    use crate::meta::{ETag, Meta};

    /// Nine bytes in three pieces, and how many of them have been taken.
    fn body(digest: Digest) -> (FileBody, Arc<AtomicUsize>) {
        let meta = Meta::new(FileKey::new("k").unwrap(), 9, ETag::new("e"), Timestamp::default());
        let taken = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&taken);
        let pieces = futures_util::stream::iter(["abc", "def", "ghi"]).map(move |piece| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from(piece))
        });
        (Object::new(meta.with_sha256(Some(digest)), 0..9, pieces.boxed()).into(), taken)
    }

    #[tokio::test]
    async fn a_piece_is_read_when_it_is_wanted() {
        let (mut body, taken) = body(Digest::of(b"abcdefghi"));
        for (at, piece) in ["abc", "def", "ghi"].into_iter().enumerate() {
            assert_eq!((taken.load(Ordering::Relaxed), body.size_hint().exact()), (at, Some(9 - 3 * at as u64)));
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_was_stored_is_never_sent_whole() {
        let (mut body, _) = body(Digest::of(b"another"));
        let mut sent = 0;
        let error = loop {
            match body.frame().await.expect("an error before the end") {
                Ok(frame) => sent += frame.into_data().unwrap().len(),
                Err(error) => break error,
            }
        };
        assert_eq!((sent, error.kind()), (6, ErrorKind::Corrupt));
        assert!(body.frame().await.is_none());
    }
}
