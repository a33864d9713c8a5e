use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::coop::consume_budget;

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

    /// Reads a body as far as it has so many bytes, whatever frames they come in. What is given back is whole in any case.
    pub(super) async fn read(body: B, most: usize) -> (Self, Fit) {
        let mut this = Self::unread(body);
        let mut data = Vec::new();
        let fit = this.gather(&mut data, most).await;
        let data = Bytes::from(data);
        if !data.is_empty() {
            this.read.push_front(Frame::data(data.clone()));
        }
        (this, fit.unwrap_or(Fit::Whole(data)))
    }

    /// Copies the data into one piece: a frame takes more than its bytes, and may be a small part of a buffer that it keeps. What
    /// does not belong to it goes behind; nothing is said if it is all.
    async fn gather(&mut self, data: &mut Vec<u8>, most: usize) -> Option<Fit> {
        while let Some(rest) = &mut self.rest {
            // A body that is always ready lets others run.
            consume_budget().await;
            let room = most - data.len();
            if rest.size_hint().lower() > room as u64 {
                return Some(Fit::TooLarge);
            }
            match poll_fn(|cx| rest.as_mut().poll_frame(cx)).await {
                None => self.rest = None,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(more) if more.len() > room => {
                        self.read.push_back(Frame::data(more));
                        return Some(Fit::TooLarge);
                    }
                    Ok(more) => append(data, &more, most),
                    // Trailers are the end.
                    Err(trailers) => {
                        self.read.push_back(trailers);
                        self.rest = None;
                    }
                },
                Some(Err(error)) => {
                    (self.failed, self.rest) = (Some(error), None);
                    return Some(Fit::Failed);
                }
            }
        }
        None
    }
}

/// Grows by doubling and yet never beyond what there may be.
fn append(data: &mut Vec<u8>, more: &[u8], most: usize) {
    let needed = data.len() + more.len();
    if needed > data.capacity() {
        let capacity = data.capacity().saturating_mul(2).min(most).max(needed);
        data.reserve_exact(capacity - data.len());
    }
    data.extend_from_slice(more);
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
