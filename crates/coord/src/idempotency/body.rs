use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// The body of a request or a response that [`IdempotencyLayer`](super::IdempotencyLayer) has seen: what was read of it, and
/// the rest.
pub struct IdempotencyBody<B: Body> {
    read: VecDeque<Frame<Bytes>>,
    failed: Option<B::Error>,
    rest: Option<Pin<Box<B>>>,
}

/// What became of reading a body.
pub(super) enum Fit {
    Whole(Bytes),
    TooLarge,
    Failed,
}

impl<B: Body<Data = Bytes>> IdempotencyBody<B> {
    /// One that was not looked at.
    pub(super) fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), failed: None, rest: Some(Box::pin(body)) }
    }

    /// One of the layer's own.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { read: VecDeque::from([Frame::data(bytes)]), failed: None, rest: None }
    }

    /// Reads a body as far as it has so many bytes. What is given back is whole in any case.
    pub(super) async fn read(body: B, most: usize) -> (Self, Fit) {
        let mut this = Self::unread(body);
        let mut size = 0;
        while let Some(rest) = &mut this.rest {
            if rest.size_hint().lower() > (most - size) as u64 {
                return (this, Fit::TooLarge);
            }
            match poll_fn(|cx| rest.as_mut().poll_frame(cx)).await {
                None => this.rest = None,
                Some(Ok(frame)) => {
                    size += frame.data_ref().map_or(0, Bytes::len);
                    this.read.push_back(frame);
                    if size > most {
                        return (this, Fit::TooLarge);
                    }
                }
                Some(Err(error)) => {
                    (this.failed, this.rest) = (Some(error), None);
                    return (this, Fit::Failed);
                }
            }
        }
        let mut whole = BytesMut::with_capacity(size);
        this.read.iter().filter_map(Frame::data_ref).for_each(|data| whole.extend_from_slice(data));
        (this, Fit::Whole(whole.freeze()))
    }
}

impl<B: Body<Data = Bytes>> Body for IdempotencyBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        this.rest.as_mut().map_or(Poll::Ready(None), |rest| rest.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.failed.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.read.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None if self.failed.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        };
        let mut all = SizeHint::new();
        all.set_lower(read.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            all.set_upper(read.saturating_add(upper));
        }
        all
    }
}

// Errors need not be shown, and a body that is read never moves out of its box.
impl<B: Body> Unpin for IdempotencyBody<B> {}

impl<B: Body> fmt::Debug for IdempotencyBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyBody").field("frames", &self.read.len()).finish_non_exhaustive()
    }
}
