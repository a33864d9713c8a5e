use std::fmt;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};

use super::place::Place;
use crate::digest::corrupt;
use crate::io::io_error;
use crate::meta::Meta;
use crate::options::{ByteRange, GetOptions};

/// What is read behind a seek at first, in bytes; four times as much each time that it was not enough, and then the rest. Who
/// seeks reads little at each place, and what is asked for and not read costs a connection.
const WINDOW: u64 = 256 << 10;

/// How many windows there are before the rest is read as one.
const WINDOWS: u32 = 4;

/// One state of a file, to be read from any place: [`AsyncRead`], [`AsyncBufRead`] and [`AsyncSeek`] for what wants these, such as parsers
/// of archives. Made by [`Get::reader`](crate::Get::reader).
///
/// All of it is the state that was there when it was opened. If the file is replaced or deleted, what is read later is that
/// state still, as far as it has been asked for, or an error of kind [`Conflict`](statehouse_core::ErrorKind::Conflict) or
/// [`NotFound`](statehouse_core::ErrorKind::NotFound): never a mixture. Without [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT) a state is its
/// content. A download that breaks off goes on under the same etag, as that of every get does. Read from the beginning to the end, with no seek that
/// leaves the piece that was read last, the content is checked as that of every other whole file is; what is read behind such a seek is not.
///
/// Errors are [`io::Error`]s with an [`Error`](statehouse_core::Error) in them. After one, every read gives it again, until a seek, to the same
/// place for example, begins anew. [`Corrupt`](statehouse_core::ErrorKind::Corrupt) stays whatever is sought: nobody who tries again takes a damaged
/// file for a whole one.
///
/// A seek costs nothing within the piece that was read last, and else a request when something is read: of 256 KiB, and of more if what
/// follows is read as well. On S3 the digest of a file that was stored in parts may be apart, and each such request takes a second one for it.
///
/// A download may wait while its reader does something else. It counts as one, with the pauses, where a store limits how long one may take
/// (`read_limit` of S3): a reader that pauses for longer fails, and a seek to where it is begins another.
pub struct FileReader {
    place: Place,
    meta: Meta,
    deadline: Option<Duration>,
    /// Where the next byte is.
    at: u64,
    /// Where what was asked for last ends.
    until: u64,
    /// How many there were since the last seek. None until then: all of the file is read as one.
    windows: Option<u32>,
    state: State,
    /// What was read last, and how much of it is passed: a seek goes back in it.
    piece: Bytes,
    passed: usize,
}

/// Where the next piece comes from.
enum State {
    Idle,
    Opening(BoxFuture<'static, Result<BoxStream<'static, Result<Bytes>>>>),
    Reading(BoxStream<'static, Result<Bytes>>),
    Ended,
    Failed(Error),
}

impl FileReader {
    pub(super) const fn new(place: Place, meta: Meta, deadline: Option<Duration>) -> Self {
        let state = State::Idle;
        Self { place, meta, deadline, at: 0, until: 0, windows: None, state, piece: Bytes::new(), passed: 0 }
    }

    /// The file's metadata.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Where the next read begins, in bytes from the file's beginning.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// What is asked for next; none for all of the file.
    fn range(&mut self) -> Option<ByteRange> {
        let windows = self.windows.as_mut()?;
        let len = WINDOW << (2 * *windows);
        let end = self.at.checked_add(len).filter(|end| *windows < WINDOWS && *end < self.meta.len);
        *windows = WINDOWS.min(*windows + 1);
        Some(end.map_or_else(|| (self.at..).into(), |end| (self.at..end).into()))
    }

    fn open(&mut self) -> State {
        let mut options = GetOptions::default().with_if_match(self.meta.etag.clone());
        (options.range, options.deadline) = (self.range(), self.deadline);
        let asked = match options.range.map(|range| range.within(self.meta.len)) {
            None => 0..self.meta.len,
            Some(Ok(range)) => range,
            Some(Err(error)) => return self.failed(error),
        };
        self.until = asked.end;
        let (store, key) = (Arc::clone(&self.place.store), self.meta.key.clone());
        let open = async move {
            let got = store.get_with(&key, options).await?.unconditional()?;
            match *got.range() == asked {
                true => Ok(got.into_stream()),
                false => Err(corrupt("the store gave another range of the file than it was asked for")),
            }
        };
        State::Opening(open.boxed())
    }

    fn failed(&self, error: Error) -> State {
        let key = &self.meta.key;
        State::Failed(self.place.naming(key, error.with_key(key)))
    }

    /// What comes next of what was asked for. Backends check what they yield, but anybody may write one.
    fn taken(&mut self, next: Option<Result<Bytes>>) -> State {
        let missing = self.until - self.at;
        match next {
            Some(Ok(piece)) if piece.len() as u64 > missing => self.failed(corrupt("the file is longer than it was")),
            Some(Ok(piece)) => {
                (self.piece, self.passed) = (piece, 0);
                std::mem::replace(&mut self.state, State::Ended)
            }
            Some(Err(error)) => self.failed(error),
            None if missing > 0 => self.failed(corrupt("the file is shorter than it was")),
            // Of a window.
            None if self.at < self.meta.len => State::Idle,
            None => State::Ended,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.piece[self.passed..]
    }

    /// Gets a piece; it stays empty at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.rest().is_empty() {
            self.state = match &mut self.state {
                // All of an empty file is looked at, too.
                State::Idle if self.at < self.meta.len || self.windows.is_none() => self.open(),
                State::Idle => State::Ended,
                State::Opening(open) => match ready!(open.poll_unpin(cx)) {
                    Ok(stream) => State::Reading(stream),
                    Err(error) => self.failed(error),
                },
                State::Reading(stream) => {
                    let next = ready!(stream.poll_next_unpin(cx));
                    self.taken(next)
                }
                State::Ended => return Poll::Ready(Ok(())),
                State::Failed(error) => return Poll::Ready(Err(error.clone())),
            };
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, by: usize) {
        self.passed += by;
        self.at += by as u64;
    }

    fn go_to(&mut self, to: u64) {
        let begin = self.at - self.passed as u64;
        let within = to.checked_sub(begin).and_then(|within| usize::try_from(within).ok());
        let within = within.filter(|within| *within <= self.piece.len());
        self.at = to;
        match (&self.state, within) {
            (State::Failed(error), _) if error.kind() == ErrorKind::Corrupt => self.forget_piece(),
            (State::Failed(_), _) | (_, None) => {
                (self.windows, self.state) = (Some(0), State::Idle);
                self.forget_piece();
            }
            (_, Some(within)) => self.passed = within,
        }
    }

    fn forget_piece(&mut self) {
        (self.piece, self.passed) = (Bytes::new(), 0);
    }
}

impl AsyncRead for FileReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            ready!(self.poll_piece(cx)).map_err(io_error)?;
            let len = self.rest().len().min(buf.remaining());
            buf.put_slice(&self.rest()[..len]);
            self.advance(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for FileReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let reader = self.get_mut();
        ready!(reader.poll_piece(cx)).map_err(io_error)?;
        Poll::Ready(Ok(reader.rest()))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        let amount = amount.min(self.rest().len());
        self.advance(amount);
    }
}

impl AsyncSeek for FileReader {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let to = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.meta.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let outside = || io_error(Error::invalid_input("a seek to before the file's beginning, or beyond any file"));
        self.go_to(to.ok_or_else(outside)?);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("meta", &self.meta).field("at", &self.at).finish_non_exhaustive()
    }
}
