//! A download that lasts as long as its reader.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange};
use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::client::Remote;
use super::error::map_error;
use super::wire::{Answer, Log};

/// The first pause before a broken download goes on; it doubles up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What is still to come of a file's content, and where it comes from.
pub(super) struct Download {
    remote: Arc<Remote>,
    path: Path,
    etag: Option<String>,
    range: Range<u64>,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    end: Option<Instant>,
}

impl Download {
    pub(super) fn new(
        remote: Arc<Remote>,
        path: Path,
        etag: Option<String>,
        range: Range<u64>,
        body: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Self {
        let end = remote.limits.read_limit.map(|limit| Instant::now() + limit);
        Self { remote, path, etag, range, body, end }
    }

    pub(super) fn stream(self) -> BoxStream<'static, Result<Bytes>> {
        futures_util::stream::try_unfold(self, |mut download| async move {
            let piece = match download.end {
                None => download.next().await?,
                Some(end) => {
                    let next = tokio::time::timeout_at(end.into(), download.next());
                    next.await.map_err(|_| out_of_time())??
                }
            };
            Ok(piece.map(|piece| (piece, download)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let broken = match self.body.next().await {
                Some(Ok(piece)) => {
                    self.range.start += piece.len() as u64;
                    return Ok(Some(piece));
                }
                None if self.range.start >= self.range.end => return Ok(None),
                // Too short, or never longer: what reads this tells it from the end.
                None if self.etag.is_none() => return Ok(None),
                None => Error::new(ErrorKind::Unavailable, "the server ended the content early"),
                Some(Err(error)) => map_error(error, &Log::default()),
            };
            // Seldom, and large.
            self.body = Box::pin(self.resume(broken)).await?;
        }
    }

    /// Goes on where the content broke off, with the same state of the file: as long as the server gives something within
    /// twice the time that it may be silent.
    async fn resume(&mut self, broken: Error) -> Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let Some(etag) = self.etag.clone() else { return Err(broken) };
        tracing::debug!(at = self.range.start, "a download broke off and goes on");
        let (mut pause, end) = (PAUSES.0, Instant::now() + self.remote.limits.timeout * 2);
        let mut broken = broken;
        loop {
            let range = Some(GetRange::Bounded(self.range.clone()));
            let request = GetOptions { range, if_match: Some(etag.clone()), ..Default::default() };
            let found = self.remote.plain(Answer::Content, self.remote.store.get_opts(&self.path, request)).await;
            match found {
                Ok(found) if found.meta.e_tag.as_ref() == Some(&etag) && found.range == self.range => {
                    let mut body = found.into_stream();
                    // An answer without content is no progress.
                    match body.next().await {
                        Some(Ok(piece)) => return Ok(futures_util::stream::iter([Ok(piece)]).chain(body).boxed()),
                        Some(Err(error)) => broken = map_error(error, &Log::default()),
                        None => {}
                    }
                }
                Ok(_) => return Err(replaced()),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    return Err(replaced().with_source(error));
                }
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => broken = error,
            }
            if Instant::now() + pause >= end {
                return Err(broken);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

fn replaced() -> Error {
    Error::new(ErrorKind::Conflict, "the file was replaced or deleted while it was being read").with_retry(Retry::Now)
}

fn out_of_time() -> Error {
    let message = "the download took longer than read_limit allows";
    Error::new(ErrorKind::Timeout, message).with_retry(Retry::Never)
}
