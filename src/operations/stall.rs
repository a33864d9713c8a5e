//! A limit on how long something may stand still, whatever it takes in all.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(super) fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client stood still for too long")
}

/// Runs while something is waited for. Its timer is made only when that is not there at once.
#[derive(Debug)]
pub(super) struct StallTimer {
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// What was waited for came.
    pub(super) fn moved(&mut self) {
        self.waiting = None;
    }

    /// Whether it has been waited for too long; else wakes the task when it has.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).is_ready()
    }
}

/// A connection whose writes end in an error once its client has taken nothing for too long. Reads wait for ever here:
/// a client that waits for its answer sends nothing.
#[derive(Debug)]
pub(super) struct Stall<T> {
    io: T,
    timer: StallTimer,
}

impl<T> Stall<T> {
    pub(super) const fn new(io: T, limit: Duration) -> Self {
        Self { io, timer: StallTimer::new(limit) }
    }

    fn check<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match written {
            Poll::Ready(result) => {
                self.timer.moved();
                Poll::Ready(result)
            }
            Poll::Pending if self.timer.poll_stalled(cx) => Poll::Ready(Err(stalled())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stall<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stall<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.check(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.check(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.io).poll_shutdown(cx);
        this.check(cx, closed)
    }
}
