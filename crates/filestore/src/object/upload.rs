//! Storing a file in one request or in parts.

use std::mem::take;

use bytes::Bytes;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, PutResult, UploadPart};
use statehouse_core::{Error, ErrorKind, Result};

use super::client::{Failure, Remote, changed, exists};
use super::error::map_error;
use super::metadata;
use super::wire::{Answer, Log, observe};
use crate::digest::{Intake, Received, hex, nonce};
use crate::{Body, Condition, Digest, FileKey, PutOptions, Stored};

/// How many parts are under way at a time; a put holds one more in memory.
const UNDER_WAY: usize = 4;

/// How many parts S3 takes.
const MAX_PARTS: u64 = 10_000;

/// From what length on a piece is hashed on a thread where it may take its time.
const LONG: usize = 256 << 10;

impl Remote {
    /// Stores a file. `allowed` says whether it may be stored in parts.
    pub(super) async fn put(
        &self,
        key: &FileKey,
        body: Body,
        options: PutOptions,
        allowed: impl FnOnce() -> Result<()> + Send,
    ) -> Result<Stored> {
        let part_size = self.part_size.max(body.len().unwrap_or(0).div_ceil(MAX_PARTS));
        let intake = Intake::new(&options, body.len())?;
        let (mut parts, digest) = match body.into_bytes() {
            Ok(bytes) => {
                let received = hash(intake, bytes.clone()).await?.finish()?;
                if received.len <= part_size {
                    return self.put_once(key, bytes.into(), received, &options).await;
                }
                let whole = futures_util::stream::iter([Ok(bytes)]).boxed();
                (Parts::new(whole, part_size, Intake::default()), Some(received.digest))
            }
            Err(stream) => (Parts::new(stream, part_size, intake), options.expected_digest),
        };
        let first = parts.next().await?;
        if parts.stream.is_none() && parts.held.is_empty() {
            let known = take(&mut parts.intake).finish()?;
            return self.put_once(key, first.unwrap_or_default(), known, &options).await;
        }
        allowed()?;
        self.check_early(key, &options.condition).await?;
        Box::pin(self.put_parts(key, first, parts, digest, &options)).await
    }

    /// Fails where the end could only be the same, before much is sent.
    async fn check_early(&self, key: &FileKey, condition: &Condition) -> Result<()> {
        if *condition == Condition::None {
            return Ok(());
        }
        match (condition, self.peek(key).await) {
            (Condition::IfAbsent, Ok(_)) => Err(exists()),
            (Condition::IfMatch(etag), Ok((meta, _))) if meta.etag != *etag => Err(changed()),
            (Condition::IfMatch(_), Err(error)) if error.kind() == ErrorKind::NotFound => Err(changed()),
            _ => Ok(()),
        }
    }

    async fn put_parts(
        &self,
        key: &FileKey,
        first: Option<PutPayload>,
        parts: Parts,
        digest: Option<Digest>,
        options: &PutOptions,
    ) -> Result<Stored> {
        let (path, put) = (self.path(key)?, hex(&nonce()?));
        let attributes = metadata::describe(options, &put, digest);
        let request = PutMultipartOptions { attributes, ..Default::default() };
        let upload = self.plain(self.store.put_multipart_opts(&path, request)).await?;
        let mut upload = Upload { inner: Some(upload), under_way: FuturesUnordered::new() };
        let apart = digest.is_none().then(|| self.digest_path(key, &put)).transpose()?;
        let known = async {
            let known = upload.send(first, parts).await?;
            if let Some(apart) = &apart {
                let record = known.digest.to_string();
                self.plain(self.store.put_opts(apart, record.into(), Default::default())).await?;
            }
            Ok(known)
        };
        let known = match known.await {
            Ok(known) => known,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        let result = upload.complete(&options.condition).await;
        let stored = self.settle(key, &put, &options.condition, result, known).await;
        if let Err(error) = &stored
            && error.kind() != ErrorKind::OutcomeUnknown
        {
            upload.abort().await;
            if let Some(apart) = &apart {
                // A record without a file is litter and does no harm.
                let _ = self.remove(apart).await;
            }
        }
        upload.inner = None;
        stored
    }
}

async fn hash(mut intake: Intake, piece: Bytes) -> Result<Intake> {
    if piece.len() < LONG {
        return intake.update(&piece).map(|()| intake);
    }
    let work = move || intake.update(&piece).map(|()| intake);
    let ended = |source| Error::new(ErrorKind::Unavailable, "the runtime is shutting down").with_source(source);
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// Cuts a stream into parts of one length; some servers want all but the last alike.
struct Parts {
    stream: Option<BoxStream<'static, Result<Bytes>>>,
    held: Bytes,
    part_size: u64,
    intake: Intake,
}

impl Parts {
    fn new(stream: BoxStream<'static, Result<Bytes>>, part_size: u64, intake: Intake) -> Self {
        Self { stream: Some(stream), held: Bytes::new(), part_size, intake }
    }

    /// The next part; none at the end. At the end the stream is dropped.
    async fn next(&mut self) -> Result<Option<PutPayload>> {
        let mut pieces = Vec::new();
        let mut room = usize::try_from(self.part_size).unwrap_or(usize::MAX);
        loop {
            let piece = self.held.split_to(self.held.len().min(room));
            room -= piece.len();
            pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
            if room == 0 {
                break;
            }
            let Some(stream) = &mut self.stream else { break };
            match stream.try_next().await? {
                Some(piece) => {
                    self.intake = hash(take(&mut self.intake), piece.clone()).await?;
                    self.held = piece;
                }
                None => self.stream = None,
            }
        }
        Ok(Some(pieces).filter(|pieces| !pieces.is_empty()).map(PutPayload::from_iter))
    }
}

/// An upload in parts. Dropped before it is completed, it is aborted.
struct Upload {
    inner: Option<Box<dyn MultipartUpload>>,
    under_way: FuturesUnordered<UploadPart>,
}

impl Upload {
    /// Sends all parts; what they were.
    async fn send(&mut self, first: Option<PutPayload>, mut parts: Parts) -> Result<Received> {
        let mut next = first;
        let mut count = 0;
        while let Some(part) = next {
            count += 1;
            if count > MAX_PARTS {
                let message = "the stream is longer than 10,000 parts; a larger part_size takes it";
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            if self.under_way.len() >= UNDER_WAY {
                self.one_done().await?;
            }
            let Some(upload) = &mut self.inner else { break };
            self.under_way.push(upload.put_part(part));
            next = parts.next().await?;
        }
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        parts.intake.finish()
    }

    async fn one_done(&mut self) -> Result<()> {
        let (done, log) = observe(&Condition::None, Answer::Status, self.under_way.try_next()).await;
        done.map(drop).map_err(|error| map_error(error, &log))
    }

    async fn complete(&mut self, condition: &Condition) -> Result<PutResult, Failure> {
        let Some(upload) = &mut self.inner else {
            let error = object_store::Error::NotSupported { source: "an upload is completed once".into() };
            return Err(Failure { error, log: Log::default() });
        };
        let (result, log) = observe(condition, Answer::Body, upload.complete()).await;
        result.map_err(|error| Failure { error, log })
    }

    /// Tells the server to drop the parts. One that cannot be told keeps them until its own rules drop them.
    async fn abort(&mut self) {
        self.under_way.clear();
        if let Some(mut upload) = self.inner.take() {
            let _ = upload.abort().await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.inner.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}
