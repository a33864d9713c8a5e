use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::{Error, ErrorKind, Result, Retry};

/// How long a source may be silent, if nothing else is said.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// What a put stores: bytes in memory, or a stream of known or unknown length.
///
/// A stream is read only as fast as the backend stores it, and is never held in memory as a whole.
pub struct Body(Inner);

enum Inner {
    Bytes(Bytes),
    Stream { stream: BoxStream<'static, Result<Bytes>>, len: Option<u64> },
}

impl Body {
    /// A body from a stream of pieces. An error of the stream fails the put, and nothing becomes visible.
    pub fn from_stream<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = stream.map(|piece| piece.map(Into::into).map_err(source_failed)).boxed();
        Self(Inner::Stream { stream, len: None })
    }

    /// Declares the length in bytes. A put whose stream turns out longer or shorter fails.
    ///
    /// ```
    /// use statehouse_filestore::Body;
    ///
    /// let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("half, "), Ok("and half")]);
    /// assert_eq!(Body::from_stream(pieces).with_len(14).len(), Some(14));
    /// ```
    #[must_use]
    pub fn with_len(self, len: u64) -> Self {
        match self.0 {
            Inner::Bytes(bytes) if bytes.len() as u64 == len => Self(Inner::Bytes(bytes)),
            Inner::Bytes(bytes) => {
                let stream = futures_util::stream::iter([Ok(bytes)]).boxed();
                Self(Inner::Stream { stream, len: Some(len) })
            }
            Inner::Stream { stream, .. } => Self(Inner::Stream { stream, len: Some(len) }),
        }
    }

    /// The length in bytes, if it is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Inner::Bytes(bytes) => Some(bytes.len() as u64),
            Inner::Stream { len, .. } => *len,
        }
    }

    /// Whether the length is known to be zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes, if they are in memory as one piece; else the stream.
    ///
    /// For backends: bytes take the short way, a stream the one with bounded memory. No piece of it is empty, and it
    /// lets other tasks run even if its source always has another piece.
    pub fn into_bytes(self) -> Result<Bytes, BoxStream<'static, Result<Bytes>>> {
        match self.0 {
            Inner::Bytes(bytes) => Ok(bytes),
            Inner::Stream { stream, .. } => Err(try_unfold(stream, next_full_piece).boxed()),
        }
    }
}

type Pieces = BoxStream<'static, Result<Bytes>>;

/// A piece without bytes is none. A source that always has one would otherwise keep the thread, and no deadline would ever
/// be looked at.
async fn next_full_piece(mut stream: Pieces) -> Result<Option<(Bytes, Pieces)>> {
    while let Some(piece) = stream.try_next().await? {
        tokio::task::coop::consume_budget().await;
        if !piece.is_empty() {
            return Ok(Some((piece, stream)));
        }
    }
    Ok(None)
}

/// The stream, which fails when its source is silent for so long.
#[cfg(unix)]
pub(crate) fn impatient(
    stream: BoxStream<'static, Result<Bytes>>,
    patience: Duration,
) -> BoxStream<'static, Result<Bytes>> {
    let next = move |mut stream| async move {
        let piece = next_piece(&mut stream, patience).await?;
        Ok(piece.map(|piece| (piece, stream)))
    };
    try_unfold(stream, next).boxed()
}

/// The next piece of a stream whose source may be silent for so long: what the put holds meanwhile, others wait for.
pub(crate) async fn next_piece(
    stream: &mut BoxStream<'static, Result<Bytes>>,
    patience: Duration,
) -> Result<Option<Bytes>> {
    let next = tokio::time::timeout(patience, stream.try_next()).await;
    next.unwrap_or_else(|_| Err(silent(patience)))
}

fn silent(patience: Duration) -> Error {
    let message = format!("the body's source sent nothing for {patience:?}; body_timeout allows no more");
    Error::new(ErrorKind::Timeout, message).with_retry(Retry::Never)
}

pub(crate) fn source_failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidInput, "the body's source failed").with_source(source)
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<BoxStream<'static, Result<Bytes>>> for Body {
    fn from(stream: BoxStream<'static, Result<Bytes>>) -> Self {
        Self(Inner::Stream { stream, len: None })
    }
}

impl From<crate::content::Object> for Body {
    /// The content of a file that was just read, whole or a range, as the body of another put.
    fn from(object: crate::content::Object) -> Self {
        let len = object.range().end - object.range().start;
        Self::from(object.into_stream()).with_len(len)
    }
}
