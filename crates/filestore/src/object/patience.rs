//! Deadlines that count the server's silence and nothing else: not the time that a long body takes on its way, and not
//! the time that a reader takes for what has come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use tokio::time::{Instant, Sleep};

/// How much of a body is given to the connection at a time.
const PIECE: usize = 64 << 10;

/// What may wait in the buffers of both hosts when the whole body has been handed over.
const BUFFERED: u64 = 4 << 20;

/// How fast the slowest link is that empties those buffers, in bytes a second.
const SLOWEST: u64 = 128 << 10;

/// When the last piece of a request's body was taken.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Duration,
    taken: Mutex<(Instant, u64)>,
}

impl Watch {
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self { patience, taken: Mutex::new((Instant::now(), 0)) })
    }

    fn note(&self, bytes: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = (Instant::now(), taken.1 + bytes as u64);
    }

    /// Ends when nothing has been taken, or answered, for too long.
    pub(super) async fn silence(&self) {
        loop {
            let (last, bytes) = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let buffered = Duration::from_millis(bytes.min(BUFFERED) * 1000 / SLOWEST);
            let end = last + self.patience + buffered;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// The body of a request, in small pieces, under watch.
#[derive(Debug)]
pub(super) struct Sending {
    body: HttpRequestBody,
    held: Bytes,
    watch: Arc<Watch>,
}

impl Sending {
    pub(super) const fn new(body: HttpRequestBody, watch: Arc<Watch>) -> Self {
        Self { body, held: Bytes::new(), watch }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.held.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.held = frame.into_data().unwrap_or_default(),
                other => return Poll::Ready(other),
            }
        }
        let length = self.held.len().min(PIECE);
        let piece = self.held.split_to(length);
        self.watch.note(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint().exact().unwrap_or(0);
        SizeHint::with_exact(rest + self.held.len() as u64)
    }
}

/// The body of an answer: an error if nothing comes for too long while somebody waits for it.
#[derive(Debug)]
pub(super) struct Receiving {
    body: reqwest::Body,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Receiving {
    pub(super) const fn new(body: reqwest::Body, patience: Duration) -> Self {
        Self { body, patience, silence: None }
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        // What has come is looked at first: a reader that was away for long finds it, and not its own absence.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(transport)));
        }
        let patience = self.patience;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(silence.as_mut().poll(cx));
        self.silence = None;
        Poll::Ready(Some(Err(timed_out())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(super) fn timed_out() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// What broke: whether a request was sent is what matters most.
pub(super) fn transport(error: reqwest::Error) -> HttpError {
    use std::io::ErrorKind as Io;
    let io = |error: &(dyn std::error::Error + 'static)| error.downcast_ref::<std::io::Error>().map(|e| e.kind());
    let mut causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let kind = match causes.find_map(io) {
        _ if error.is_connect() => HttpErrorKind::Connect,
        _ if error.is_timeout() => HttpErrorKind::Timeout,
        _ if error.is_decode() => HttpErrorKind::Decode,
        Some(Io::TimedOut) => HttpErrorKind::Timeout,
        Some(Io::ConnectionAborted | Io::ConnectionReset | Io::BrokenPipe | Io::UnexpectedEof) => {
            HttpErrorKind::Interrupted
        }
        _ if error.is_request() => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error.without_url())
}
