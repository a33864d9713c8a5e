//! Storing a file in one request or in parts.

use std::future::Future;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, PutResult};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use super::client::{Failure, Nesting, Remote, changed, exists};
use super::error::map_error;
use super::metadata::{self, Marks, Sums};
use super::parts::{Part, Parts, hash};
use super::wire::{Answer, Log, Terms, observe};
use crate::blocking::unanswered;
use crate::body::Body;
use crate::digest::Digest;
use crate::digest::{Received, hex, nonce};
use crate::key::FileKey;
use crate::meta::Stored;
use crate::options::{Condition, PutOptions};

/// How many parts are under way at a time; a put has one more in memory.
const UNDER_WAY: usize = 2;

/// How many parts S3 takes.
pub(super) const MAX_PARTS: u64 = 10_000;

/// The pauses between attempts to abort an upload: a server may be busy with a part still, and the network may have gone
/// with the upload.
const ABORTS: [u64; 10] = [0, 1, 2, 4, 8, 15, 30, 60, 120, 240];

/// How many of them an upload takes at least whose parts were under way.
const LATE_PARTS: usize = 4;

impl Remote {
    /// Stores a file. `allowed` says whether it may be stored in parts.
    pub(super) async fn put(
        &self,
        key: &FileKey,
        body: Body,
        options: PutOptions,
        allowed: impl FnOnce() -> Result<()> + Send,
    ) -> Result<Stored> {
        let part_size = self.limits.part_size.max(body.len().unwrap_or(0).div_ceil(MAX_PARTS));
        let intake = options.intake(body.len())?;
        if self.nesting == Nesting::Hidden {
            Box::pin(self.check_nesting(key)).await?;
        }
        let (mut parts, known) = match body.into_bytes() {
            Ok(bytes) => {
                let received = hash(intake, std::slice::from_ref(&bytes)).await?.finish()?;
                if received.len <= part_size {
                    return self.put_once(key, bytes.into(), received, &options).await;
                }
                (Parts::whole(bytes, part_size, received), Some(received.into()))
            }
            Err(stream) => {
                let expected = options.expected_digest.map(|digest| Sums { digest, crc: None });
                (Parts::new(stream, part_size, &self.limits, intake), expected)
            }
        };
        let first = parts.next().await?;
        if parts.is_at_end() {
            let (pieces, _share) = first.unwrap_or_default().into_pieces();
            let received = hash(take(&mut parts.intake), &pieces).await?.finish()?;
            return self.put_once(key, PutPayload::from_iter(pieces), received, &options).await;
        }
        allowed()?;
        let replaced = self.check_early(key, &options.condition).await?;
        if self.nesting == Nesting::Told {
            Box::pin(self.check_nesting(key)).await?;
        }
        let stored = Box::pin(self.put_parts(key, first, parts, known, &options)).await?;
        self.forget_digest(key, replaced);
        Ok(stored)
    }

    /// Fails where the end could only be the same, before much is sent. What is there now is what will be replaced.
    pub(super) async fn check_early(&self, key: &FileKey, condition: &Condition) -> Result<Option<Marks>> {
        match (condition, self.peek(key).await) {
            (Condition::Absent, Ok(_)) => Err(exists()),
            (Condition::Match(etag), Ok((meta, _))) if meta.etag != *etag => Err(changed()),
            (Condition::Match(_), Err(error)) if error.kind() == ErrorKind::NotFound => Err(changed()),
            (_, peeked) => Ok(peeked.ok().map(|(_, marks)| marks)),
        }
    }

    async fn put_parts(
        &self,
        key: &FileKey,
        first: Option<Part>,
        parts: Parts<'_>,
        known: Option<Sums>,
        options: &PutOptions,
    ) -> Result<Stored> {
        let (path, put, start) = (self.path(key)?, hex(&nonce()?), Instant::now());
        let mut upload = self.begin(&path, &put, known, options).await?;
        let described = self.describes.load(std::sync::atomic::Ordering::Relaxed);
        let apart = (known.is_none() && described).then(|| self.digest_path(key, &put)).transpose()?;
        let sent = async {
            let received = upload.send(first, parts).await?;
            if let Some(apart) = &apart {
                self.put_record(apart, received).await?;
            }
            Ok(received)
        };
        // What fails is dropped, and then aborted.
        let received = sent.await?;
        let result = upload.complete(&options.condition).await;
        let completed = result.is_ok();
        let stored = self.settle(key, &put, &options.condition, result, received.into(), start).await;
        if completed || stored.is_ok() {
            upload.inner = None;
            if apart.is_some() {
                self.records.add(key, &put);
            }
        } else if let Some(apart) = &apart
            && stored.as_ref().is_err_and(|error| error.kind() != ErrorKind::OutcomeUnknown)
        {
            // A record without a file is litter and does no harm.
            let _ = self.remove(apart).await;
        }
        stored
    }

    async fn begin(&self, path: &Path, put: &str, known: Option<Sums>, options: &PutOptions) -> Result<Upload> {
        use std::sync::atomic::Ordering::Relaxed;
        let plain = options.is_plain();
        let start = async |described: bool| {
            let attributes = if described { metadata::describe(options, put, known) } else { Default::default() };
            let request = PutMultipartOptions { attributes, ..Default::default() };
            let (store, path) = (Arc::clone(&self.store), path.clone());
            // A task of its own: what the server has begun has to be ended, also if nobody waits for it any more.
            let begun = tokio::spawn(async move {
                let (result, log) = observe(Terms::new(Answer::Text), store.put_multipart_opts(&path, request)).await;
                let upload = result.map(Upload::of);
                upload.map_err(|error| Failure { error, log })
            });
            begun.await.map_err(unanswered)
        };
        let mut begun = start(self.describes.load(Relaxed)).await?;
        if self.native.is_none() && plain && begun.as_ref().is_err_and(Failure::is_unsupported) {
            begun = start(false).await?;
            self.describes.fetch_and(begun.is_err(), Relaxed);
        }
        begun.map_err(|failure| map_error(failure.error, &failure.log))
    }

    pub(super) async fn put_record(&self, path: &Path, received: Received) -> Result<()> {
        self.put_own(path, metadata::sums(received.into())).await
    }
}

/// An upload in parts. Dropped before it is completed, it is aborted.
pub(super) struct Upload {
    inner: Option<Box<dyn MultipartUpload>>,
    under_way: JoinSet<Result<(), Failure>>,
    /// Whether parts may be under way that are none of these.
    copied: bool,
}

impl Upload {
    pub(super) fn of(inner: Box<dyn MultipartUpload>) -> Self {
        Self { inner: Some(inner), under_way: JoinSet::new(), copied: false }
    }

    /// The server copies its parts itself, and may do so behind an abort.
    pub(super) const fn expect_copies(&mut self) {
        self.copied = true;
    }

    /// It is ended by somebody else.
    pub(super) fn leave(mut self) {
        self.inner = None;
    }

    /// Sends all parts; what they were.
    pub(super) async fn send(&mut self, first: Option<Part>, mut parts: Parts<'_>) -> Result<Received> {
        let mut next = first;
        let mut count = 0;
        while let Some(part) = next {
            count += 1;
            if count > MAX_PARTS {
                let message = "the stream is longer than 10,000 parts; a larger part_size or upload_memory takes it";
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            let whole = !parts.is_known();
            let (part, digest) = part.hash(&mut parts.intake, whole).await?;
            while self.under_way.len() >= UNDER_WAY {
                self.one_done().await?;
            }
            self.start(part, digest);
            next = self.while_sending(parts.next()).await?;
        }
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        parts.finish()
    }

    /// Parts leave on tasks of their own, whatever the source does meanwhile.
    fn start(&mut self, part: Part, digest: Digest) {
        let Some(upload) = &mut self.inner else { return };
        let (pieces, share) = part.into_pieces();
        let sending = upload.put_part(PutPayload::from_iter(pieces));
        self.under_way.spawn(async move {
            let (result, log) = observe(Terms::new(Answer::Nothing).payload(digest), sending).await;
            drop(share);
            result.map_err(|error| Failure { error, log })
        });
    }

    /// Waits for the source, unless a part fails.
    async fn while_sending<T>(&mut self, source: impl Future<Output = Result<T>>) -> Result<T> {
        let mut source = pin!(source);
        loop {
            tokio::select! {
                next = &mut source => return next,
                Some(done) = self.under_way.join_next() => sent(done)?,
            }
        }
    }

    async fn one_done(&mut self) -> Result<()> {
        self.under_way.join_next().await.map_or(Ok(()), sent)
    }

    pub(super) async fn complete(&mut self, condition: &Condition) -> Result<PutResult, Failure> {
        let Some(upload) = &mut self.inner else {
            let error = object_store::Error::NotSupported { source: "an upload is completed once".into() };
            return Err(Failure { error, log: Log::default() });
        };
        let (result, log) = observe(Terms::new(Answer::Late).condition(condition), upload.complete()).await;
        match result {
            // What is there says whether it is done: a server that was killed in the first try says so of the second one for ever
            // (VersityGW).
            Ok(_) if log.doubtful => Err(Failure { error: repeated(), log }),
            done => done.map_err(|error| Failure { error, log }),
        }
    }
}

fn repeated() -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: "an upload was completed twice, and is not there".into() }
}

fn sent(done: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(unanswered)?.map_err(|failure| map_error(failure.error, &failure.log))
}

/// Tells the server to drop the parts, and again if it cannot be reached. What it is never told, a sweep finds.
impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.inner.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let mut under_way = take(&mut self.under_way);
        // A part that the server has half may be put down behind the abort, and would stay for ever.
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
        let least = if under_way.is_empty() && !self.copied { 1 } else { LATE_PARTS };
        runtime.spawn(async move {
            under_way.shutdown().await;
            for (done, pause) in ABORTS.into_iter().enumerate() {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                let (result, log) = observe(Terms::new(Answer::Nothing), upload.abort()).await;
                let gone = |error| map_error(error, &log).kind() == ErrorKind::NotFound;
                if (result.is_ok() || result.is_err_and(gone)) && done + 1 >= least {
                    return;
                }
            }
        });
    }
}
