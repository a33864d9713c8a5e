//! An upload in parts. One put stores them all, in the order in which they were handed over, whoever waits for which first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::try_unfold;
use futures_util::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutPayloadIntoIter, PutResult, UploadPart};
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::error::{generic, told_later};
use super::write;
use crate::blocking::put_unanswered;
use crate::body::{Body, source_failed};
use crate::files::Files;
use crate::key::FileKey;
use crate::meta::Stored;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;

/// What the put is fed: a part, and who is told when it was taken, or that all have been.
enum Fed {
    Part(PutPayload, oneshot::Sender<()>),
    End,
}

/// Dropped before it is completed, it ends its put, and nothing is left.
#[derive(Debug)]
pub(super) struct Upload {
    location: Path,
    /// Until it has ended. What waits in it is what its caller does not wait for: nobody else can bound that.
    parts: Option<UnboundedSender<Fed>>,
    /// How many parts were handed over of which nobody has heard that they were taken.
    unheard: Arc<AtomicUsize>,
    /// Whether the put was told that this is the end: from then on the file may be visible.
    is_whole: Arc<AtomicBool>,
    put: AbortHandle,
    stored: Shared<BoxFuture<'static, Result<Stored>>>,
}

impl Upload {
    /// The put runs on a task of its own, so that parts are taken whichever of them are waited for.
    pub(super) fn begin(files: &Files, location: &Path, key: FileKey, options: PutOptions) -> Self {
        let (parts, fed) = unbounded_channel();
        let store = Arc::clone(files.store());
        let put = tokio::spawn(async move { store.put_with(&key, body(fed), options).await });
        let (abort, is_whole) = (put.abort_handle(), Arc::new(AtomicBool::new(false)));
        let told_all = Arc::clone(&is_whole);
        let stored = async move {
            let done = put.await.unwrap_or_else(|failed| match told_all.load(Ordering::Acquire) {
                false if failed.is_cancelled() => Err(given_up()),
                is_whole => Err(put_unanswered(failed, is_whole)),
            });
            done.and_then(PutOutcome::unconditional)
        };
        let (location, stored) = (location.clone(), stored.boxed().shared());
        Self { location, parts: Some(parts), unheard: Arc::default(), is_whole, put: abort, stored }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (taken, is_taken) = oneshot::channel();
        if let Some(parts) = &self.parts {
            // A put that takes nothing more says why, below.
            let _ = parts.send(Fed::Part(data, taken));
        }
        let (unheard, stored, location) = (Arc::clone(&self.unheard), self.stored.clone(), self.location.clone());
        unheard.fetch_add(1, Ordering::Relaxed);
        let part = async move {
            if is_taken.await.is_ok() {
                unheard.fetch_sub(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(stored.await.map_or_else(|error| told_later(error, &location), |_| generic(over())))
        };
        part.boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let Some(parts) = self.parts.take() else { return Err(generic(over())) };
        if self.unheard.load(Ordering::Relaxed) == 0 {
            self.is_whole.store(true, Ordering::Release);
            let _ = parts.send(Fed::End);
        } else if !self.put.is_finished() {
            // A part that was given up may be sent again by its caller, and would be there twice.
            self.put.abort();
            let _ = self.stored.clone().await;
            return Err(generic(Error::invalid_input("a part of the upload was not waited for: nothing is stored")));
        }
        let stored = self.stored.clone().await.map_err(|error| told_later(error, &self.location))?;
        Ok(write::result(&stored))
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        // In this order: a put that sees the end of what it is fed would take that for its source's failure.
        self.put.abort();
        self.parts = None;
        match self.stored.clone().await {
            Ok(_) => Err(generic(over())),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => Err(generic(error)),
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_whole.load(Ordering::Acquire) {
            self.put.abort();
        }
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::Unavailable, "the upload was dropped or aborted").with_retry(Retry::Never)
}

fn over() -> Error {
    Error::invalid_input("the upload has ended already")
}

/// Where the put is in what it is fed.
struct Feed {
    fed: UnboundedReceiver<Fed>,
    part: PutPayloadIntoIter,
    taken: Option<oneshot::Sender<()>>,
}

impl Feed {
    /// Who asks for more has taken what was there before.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            if let Some(piece) = self.part.next() {
                return Ok(Some((piece, self)));
            }
            if let Some(taken) = self.taken.take() {
                // Its caller may have given up; then it does not complete either.
                let _ = taken.send(());
            }
            match self.fed.recv().await {
                Some(Fed::Part(part, taken)) => (self.part, self.taken) = (part.into_iter(), Some(taken)),
                Some(Fed::End) => return Ok(None),
                None => return Err(source_failed("it was dropped")),
            }
        }
    }
}

/// What is fed. It ends well only if it is told so.
fn body(fed: UnboundedReceiver<Fed>) -> Body {
    let feed = Feed { fed, part: PutPayload::default().into_iter(), taken: None };
    try_unfold(feed, Feed::next).boxed().into()
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    /// Of a task that is dropped while it runs, the sender may go before the put does.
    #[tokio::test]
    async fn what_is_not_told_to_end_has_not_ended_well() {
        let ((parts, fed), (taken, _)) = (unbounded_channel(), oneshot::channel());
        parts.send(Fed::Part("half".into(), taken)).unwrap();
        drop(parts);
        let Err(mut pieces) = body(fed).into_bytes() else { panic!("a stream") };
        assert_eq!(pieces.try_next().await.unwrap().unwrap(), "half");
        assert_eq!(pieces.try_next().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_part_is_taken_when_the_put_asks_for_more() {
        let ((parts, fed), (taken, mut is_taken)) = (unbounded_channel(), oneshot::channel());
        parts.send(Fed::Part(PutPayload::from_iter(["one".into(), "two".into()] as [Bytes; 2]), taken)).unwrap();
        parts.send(Fed::End).unwrap();
        let Err(mut pieces) = body(fed).into_bytes() else { panic!("a stream") };
        for piece in ["one", "two"] {
            assert_eq!(pieces.try_next().await.unwrap().unwrap(), piece);
            assert!(is_taken.try_recv().is_err(), "{piece}");
        }
        assert_eq!(pieces.try_next().await.unwrap(), None);
        assert!(is_taken.try_recv().is_ok());
    }
}
