//! Reading files: downloads that last as long as their reader.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::client::{Remote, check_etag};
use super::conditional::conditional;
use super::error::map_error;
use super::metadata;
use super::wire::{Answer, Log, Terms};
use crate::content::Object;
use crate::key::FileKey;
use crate::options::ByteRange;
use crate::outcome::ReadOutcome;

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

impl Remote {
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &FileKey,
        options: &crate::options::GetOptions,
    ) -> Result<ReadOutcome<Object>> {
        let path = self.path(key)?;
        if let Some(Err(changed)) = options.if_match.as_ref().map(check_etag) {
            // What is absent has no etag at all.
            Box::pin(self.peek(key)).await?;
            return Err(changed);
        }
        let range = options.range.map(|range| range.check().map(|()| range)).transpose()?;
        let request = GetOptions { range: range.map(wire_range), ..Default::default() };
        let request = conditional(request, options.conditions());
        let found = match self.call(Terms::new(Answer::Content), self.store.get_opts(&path, request)).await {
            Ok(found) => found,
            Err(failure) if options.conditions().is_unmodified(&failure) => {
                return Box::pin(self.unmodified(key, options.conditions())).await.map(|()| ReadOutcome::NotModified);
            }
            Err(failure) => {
                let error = map_error(failure.error, &failure.log);
                let error = Box::pin(self.unmatched(key, options.conditions(), error)).await;
                return Box::pin(self.unread(key, options, error)).await.map(|()| ReadOutcome::NotModified);
            }
        };
        let (meta, marks) = metadata::read(key, &found.meta, &found.attributes);
        // Not every server looks at the conditions of a read.
        if options.check_conditions(&meta)? == ReadOutcome::NotModified {
            return Ok(ReadOutcome::NotModified);
        }
        let (meta, marks) = self.with_digest(meta, marks).await?;
        let range = found.range.clone();
        let etag = found.meta.e_tag.clone();
        let content = Download::new(Arc::clone(self), path, etag, range.clone(), found.into_stream()).stream();
        Ok(ReadOutcome::Found(match marks.crc {
            Some(crc) => Object::with_crc32(meta, range, content, crc),
            None => Object::new(meta, range, content),
        }))
    }

    /// Why a read was refused; fine if it is for a range of what the reader has.
    async fn unread(&self, key: &FileKey, options: &crate::options::GetOptions, error: Error) -> Result<()> {
        // A store that is brought along has no kind of its own for a range behind the end; S3 does not say the length.
        let is_range = matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::InvalidInput);
        let Some(range) = options.range.filter(|_| is_range) else { return Err(error) };
        let now = self.peek(key).await?.0;
        // Servers look at the range of what is there now before they look at the conditions.
        if options.check_conditions(&now)? == ReadOutcome::NotModified {
            return Ok(());
        }
        range.within(now.len)?;
        // It has grown since, or the error is another one.
        let grown = Error::new(ErrorKind::Conflict, "the file was replaced while it was read");
        let is_range = error.kind() == ErrorKind::InvalidInput && self.native.is_some();
        Err(if is_range { grown.with_retry(Retry::Now) } else { error })
    }
}

/// Servers read numbers up to 2⁶³, and no file is so long.
fn wire_range(range: ByteRange) -> GetRange {
    const MOST: u64 = u64::MAX / 2;
    match range {
        ByteRange::Bounded { start, end } if end > MOST => GetRange::Offset(start.min(MOST)),
        ByteRange::Bounded { start, end } => GetRange::Bounded(start..end),
        ByteRange::From(start) => GetRange::Offset(start.min(MOST)),
        ByteRange::Last(bytes) => GetRange::Suffix(bytes.min(MOST)),
    }
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
        tracing::debug!(name: "filestore.download_resumed", at = self.range.start, "a download broke off and goes on");
        let (mut pauses, end) = (Backoff::new(PAUSES.0, PAUSES.1), Instant::now() + self.remote.limits.timeout * 2);
        let mut broken = broken;
        loop {
            crate::counters::retry("unanswered");
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
            let pause = pauses.pause();
            if Instant::now() + pause >= end {
                return Err(broken);
            }
            tokio::time::sleep(pause).await;
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
