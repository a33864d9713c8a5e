//! What a put takes its content from, and who is told how far it is.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::body::{Body, source_failed};

/// What is fed to a put: a piece, or that all have been.
pub(super) type Piece = Option<Result<Bytes>>;

/// What a put stores: a body, or a stream that borrows in place of it.
pub(super) struct Source<'a> {
    body: Body,
    borrowed: Option<BoxStream<'a, Result<Bytes>>>,
    progress: Option<Progress>,
}

impl<'a> Source<'a> {
    pub(super) const fn of(body: Body) -> Self {
        Self { body, borrowed: None, progress: None }
    }

    pub(super) fn borrowed(stream: BoxStream<'a, Result<Bytes>>) -> Self {
        Self { body: Bytes::new().into(), borrowed: Some(stream), progress: None }
    }

    pub(super) fn tell(&mut self, progress: impl Fn(u64) + Send + Sync + 'static) {
        self.progress = Some(Progress(Arc::new(progress)));
    }

    /// In place of it, if there is nothing in it, what is fed piece by piece.
    pub(super) fn into_fed(self, pieces: Receiver<Piece>) -> Option<Source<'static>> {
        let is_empty = self.borrowed.is_none() && self.body.is_empty();
        is_empty.then(|| Source { body: fed(pieces), borrowed: None, progress: self.progress })
    }

    /// Stores it. `is_stored` says whether it was.
    pub(super) async fn store<'s, T>(
        self,
        store: impl FnOnce(Body) -> BoxFuture<'s, Result<T>>,
        is_stored: fn(&T) -> bool,
    ) -> Result<T> {
        let Self { body, borrowed, progress } = self;
        match (borrowed, progress) {
            (None, None) => store(body).await,
            (None, Some(progress)) => progress.store(body, store, is_stored).await,
            (Some(borrowed), None) => while_fed(borrowed, store).await,
            (Some(borrowed), Some(progress)) => while_fed(progress.counting(borrowed), store).await,
        }
    }
}

/// Hands pieces over, one at a time, to a body that owns what it needs.
async fn while_fed<'s, T>(
    mut pieces: BoxStream<'_, Result<Bytes>>,
    store: impl FnOnce(Body) -> BoxFuture<'s, Result<T>>,
) -> Result<T> {
    let (sender, receiver): (Sender<Piece>, _) = tokio::sync::mpsc::channel(1);
    let feed = async move {
        while let Some(piece) = pieces.next().await {
            if sender.send(Some(piece)).await.is_err() {
                return;
            }
        }
        let _ = sender.send(None).await;
    };
    match futures_util::future::select(store(fed(receiver)), Box::pin(feed)).await {
        Either::Left((stored, _)) => stored,
        Either::Right(((), storing)) => storing.await,
    }
}

/// What is fed. It ends well only if it is told so, and not if who feeds it is dropped.
fn fed(pieces: Receiver<Piece>) -> Body {
    let pieces = futures_util::stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Some(piece)) => Some((piece, Some(pieces))),
            Some(None) => None,
            None => Some((Err(source_failed("it was dropped")), None)),
        }
    });
    Body::from(pieces.boxed())
}

/// Who is told how far a put is.
#[derive(Clone)]
struct Progress(Arc<dyn Fn(u64) + Send + Sync>);

impl Progress {
    /// The stream, whose pieces are counted as they are taken.
    fn counting<'a>(self, stream: BoxStream<'a, Result<Bytes>>) -> BoxStream<'a, Result<Bytes>> {
        let mut taken = 0;
        let counted = stream.inspect_ok(move |piece| {
            taken += piece.len() as u64;
            (self.0)(taken);
        });
        counted.boxed()
    }

    async fn store<'s, T>(
        self,
        body: Body,
        store: impl FnOnce(Body) -> BoxFuture<'s, Result<T>>,
        is_stored: fn(&T) -> bool,
    ) -> Result<T> {
        let len = body.len();
        match (body.into_bytes(), len) {
            (Ok(bytes), _) => {
                let len = bytes.len() as u64;
                let stored = store(bytes.into()).await?;
                if is_stored(&stored) {
                    (self.0)(len);
                }
                Ok(stored)
            }
            (Err(stream), Some(len)) => store(Body::from(self.counting(stream)).with_len(len)).await,
            (Err(stream), None) => store(self.counting(stream).into()).await,
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("body", &self.body).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    /// Of a task that is dropped while it runs, the sender may go before the put does.
    #[tokio::test]
    async fn what_is_no_longer_fed_has_not_ended_well() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Piece>(2);
        sender.send(Some(Ok(Bytes::from_static(b"half")))).await.unwrap();
        drop(sender);
        let Err(mut pieces) = fed(receiver).into_bytes() else { panic!("a stream") };
        assert_eq!(pieces.try_next().await.unwrap().unwrap(), "half");
        assert_eq!(pieces.try_next().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
