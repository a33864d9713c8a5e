//! The end of a connection whose client is still sending.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// How much of what nobody wants any more is read, in bytes, and for how long.
const MOST: usize = 64 << 20;
const WITHIN: Duration = Duration::from_secs(5);

/// What is read at once: on the stack of a connection that ends.
const PIECE: usize = 16 << 10;

/// A connection that goes on reading, and drops what it reads, where an answer came before the request was read whole. A system
/// that closes a connection with bytes in it that nobody has read resets it, and the client that was still sending them loses the
/// answer that is on its way.
#[derive(Debug)]
pub(super) struct Lingering<T> {
    io: T,
    unread: Arc<AtomicBool>,
    end: End,
    /// Among the connections that there may be. It is kept here, and not by who serves requests: a connection that is
    /// upgraded goes on without that.
    _place: Arc<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum End {
    /// Of the answers; not begun.
    Open,
    /// Nothing is sent any more. So much was dropped.
    Dropping(usize, Pin<Box<Sleep>>),
    Done,
}

impl<T> Lingering<T> {
    /// Lingers where `unread` says at the end that a request was not read whole.
    pub(super) const fn new(io: T, unread: Arc<AtomicBool>, place: Arc<OwnedSemaphorePermit>) -> Self {
        Self { io, unread, end: End::Open, _place: place }
    }
}

impl<T: AsyncRead + Unpin> Lingering<T> {
    /// Ready once the client has ended, too, or there is no more patience with it.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let End::Dropping(dropped, patience) = &mut self.end else { return Poll::Ready(()) };
        let mut space = [0; PIECE];
        while *dropped < MOST && patience.as_mut().poll(cx).is_pending() {
            let mut piece = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => *dropped += piece.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.end, End::Open) {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            let lingers = this.unread.load(Ordering::Relaxed);
            this.end = if lingers { End::Dropping(0, Box::pin(sleep(WITHIN))) } else { End::Done };
        }
        ready!(this.poll_drop(cx));
        this.end = End::Done;
        Poll::Ready(Ok(()))
    }
}
