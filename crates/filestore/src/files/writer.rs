use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::source::Piece;
use crate::blocking::put_unanswered;
use crate::io::io_error;
use crate::meta::Stored;
use crate::outcome::PutOutcome;

/// How much writes are gathered into.
const BLOCK: usize = 64 << 10;

/// For how long less than that is gathered. Who writes little but goes on writing is not silent, and a store ends what is.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// A file that is being written: [`AsyncWrite`], for what writes to one. Made by [`Put::writer`](crate::Put::writer).
///
/// What is written is stored as it comes, and no faster than the store takes it. The file becomes visible, whole, when the writer is
/// [finished](Self::finish) or shut down without an error. One that is dropped before leaves nothing behind, and the old file stays; one that is dropped while it
/// is being finished may still become the file. A flush hands over what was written; it makes nothing durable or visible.
///
/// Small writes are gathered, up to 64 KiB or for a tenth of a second, and leave with the write that comes then. Who writes nothing for as long as the source of
/// a put may be silent (`body_timeout` on a disk and on S3, 300 s if nothing else is said) has ended the put: the next write fails with
/// [`Timeout`](ErrorKind::Timeout). The put's deadline runs from [`Put::writer`](crate::Put::writer), and the caller's own pauses count.
///
/// Errors are [`io::Error`]s with an [`Error`](statehouse_core::Error) in them, those of the put. After one, `finish` says again what has become of it.
pub struct FileWriter<O = Stored> {
    gathered: BytesMut,
    /// When something left last.
    left: Instant,
    /// Whether the put was told that this is the end: from then on the file may be visible.
    is_whole: bool,
    way: Way,
    storing: Storing,
    outcome: PhantomData<fn() -> O>,
}

type Reserving = BoxFuture<'static, Result<OwnedPermit<Piece>, SendError<()>>>;

/// How pieces get to the put.
enum Way {
    Open(Sender<Piece>),
    Reserving(Reserving),
    /// The last one was sent, or the put takes no more.
    Ended,
}

/// The put. On a task of its own, so that its limits of time hold while nobody writes.
enum Storing {
    UnderWay(JoinHandle<Result<PutOutcome>>),
    Done(Result<PutOutcome>),
}

impl<O> FileWriter<O> {
    pub(super) fn new(pieces: Sender<Piece>, put: JoinHandle<Result<PutOutcome>>) -> Self {
        Self {
            gathered: BytesMut::new(),
            left: Instant::now(),
            is_whole: false,
            way: Way::Open(pieces),
            storing: Storing::UnderWay(put),
            outcome: PhantomData,
        }
    }

    /// One whose put cannot begin.
    pub(super) fn refused(error: Error) -> Self {
        let storing = Storing::Done(Err(error));
        let (gathered, left) = (BytesMut::new(), Instant::now());
        Self { gathered, left, is_whole: false, way: Way::Ended, storing, outcome: PhantomData }
    }

    /// Waits until the put takes another piece, which has to be sent then.
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<Result<OwnedPermit<Piece>>> {
        loop {
            self.way = match &mut self.way {
                Way::Open(pieces) => Way::Reserving(pieces.clone().reserve_owned().boxed()),
                Way::Reserving(reserving) => match ready!(reserving.poll_unpin(cx)) {
                    Ok(permit) => {
                        self.way = Way::Ended;
                        return Poll::Ready(Ok(permit));
                    }
                    Err(_) => Way::Ended,
                },
                Way::Ended => return self.poll_why(cx).map(Err),
            };
        }
    }

    /// Hands over what was gathered.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.gathered.is_empty() {
            let permit = ready!(self.poll_permit(cx))?;
            self.way = Way::Open(permit.send(Some(Ok(self.gathered.split().freeze()))));
            self.left = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Why nothing more is taken.
    fn poll_why(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        ready!(self.poll_done(cx));
        Poll::Ready(match &self.storing {
            Storing::Done(Err(error)) => error.clone(),
            // Known early, and no error of `finish`.
            Storing::Done(Ok(PutOutcome::Conflict)) => {
                Error::new(ErrorKind::Conflict, "the put's condition does not hold")
            }
            _ => Error::invalid_input("the file has been written to its end already"),
        })
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Storing::UnderWay(put) = &mut self.storing {
            let is_whole = self.is_whole;
            let done = ready!(put.poll_unpin(cx)).unwrap_or_else(|failed| Err(put_unanswered(failed, is_whole)));
            self.storing = Storing::Done(done);
        }
        Poll::Ready(())
    }

    /// Ends the file, unless the put has ended before, and waits for what becomes of it.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.way, Way::Ended)
            && ready!(self.poll_gathered(cx)).is_ok()
            && let Ok(permit) = ready!(self.poll_permit(cx))
        {
            drop(permit.send(None));
            self.is_whole = true;
        }
        self.poll_done(cx)
    }

    async fn end(mut self) -> Result<PutOutcome> {
        poll_fn(|cx| self.poll_finish(cx)).await;
        let ended = Storing::Done(Err(Error::abandoned()));
        match std::mem::replace(&mut self.storing, ended) {
            Storing::Done(done) => done,
            Storing::UnderWay(put) => crate::blocking::ended(put).await,
        }
    }
}

impl FileWriter {
    /// Ends the file, and says what was stored.
    ///
    /// # Errors
    /// As [`FileStore`](crate::FileStore) says of a put.
    pub async fn finish(self) -> Result<Stored> {
        self.end().await?.unconditional()
    }
}

impl FileWriter<PutOutcome> {
    /// Ends the file, and says what has become of it.
    ///
    /// # Errors
    /// As [`FileStore`](crate::FileStore) says of a put.
    pub async fn finish(self) -> Result<PutOutcome> {
        self.end().await
    }
}

impl<O> AsyncWrite for FileWriter<O> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(self.way, Way::Ended) {
            return self.poll_why(cx).map(|error| Err(io_error(error)));
        }
        if self.gathered.len() >= BLOCK {
            ready!(self.poll_gathered(cx)).map_err(io_error)?;
        }
        let len = bytes.len().min(BLOCK - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..len]);
        if self.left.elapsed() >= GATHERED_FOR {
            // If it can at once. These bytes are taken: what is wrong is told by the next write, or the end.
            let _ = self.poll_gathered(cx);
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_gathered(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_finish(cx));
        match &self.storing {
            Storing::Done(Ok(PutOutcome::Stored(_))) => Poll::Ready(Ok(())),
            _ => self.poll_why(cx).map(|error| Err(io_error(error))),
        }
    }
}

/// What is not ended by then is not stored, and holds nothing of the store any more.
impl<O> Drop for FileWriter<O> {
    fn drop(&mut self) {
        if let (Way::Open(_) | Way::Reserving(_), Storing::UnderWay(put)) = (&self.way, &self.storing) {
            put.abort();
        }
    }
}

impl<O> fmt::Debug for FileWriter<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("gathered", &self.gathered.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc::channel;

    use super::*;

    /// Takes all that is written, and gives no answer.
    fn unanswered_put() -> (FileWriter, tokio::task::AbortHandle) {
        let (sender, mut pieces) = channel::<Piece>(1);
        let put = tokio::spawn(async move {
            while let Some(Some(_)) = pieces.recv().await {}
            std::future::pending().await
        });
        let abort = put.abort_handle();
        (FileWriter::new(sender, put), abort)
    }

    async fn write(writer: &mut FileWriter, bytes: &[u8]) -> usize {
        poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await.unwrap()
    }

    #[tokio::test]
    async fn a_put_that_ends_without_an_answer_is_in_doubt_once_it_has_all_of_the_file() {
        let (mut writer, abort) = unanswered_put();
        write(&mut writer, b"half").await;
        abort.abort();
        assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let (mut writer, abort) = unanswered_put();
        write(&mut writer, b"all").await;
        let mut finish = Box::pin(writer.finish());
        for _ in 0..5 {
            assert!(futures_util::poll!(&mut finish).is_pending());
            tokio::task::yield_now().await;
        }
        abort.abort();
        assert_eq!(finish.await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    }

    /// Also if it is busy with something else than its source.
    #[tokio::test]
    async fn a_writer_that_is_dropped_ends_its_put() {
        let (sender, pieces) = channel::<Piece>(1);
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let put = tokio::spawn(async move {
            let _held = (pieces, holds);
            std::future::pending().await
        });
        let mut writer: FileWriter = FileWriter::new(sender, put);
        write(&mut writer, b"something").await;
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 2);
        drop(writer);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
