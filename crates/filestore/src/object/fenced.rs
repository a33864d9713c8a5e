//! Writes under a lock.
//!
//! A bucket has no step that looks at one object and writes another. So a fenced write looks at the lock's mark first, and is
//! then made only over the very file that was looked at after that (`If-Match`, `If-None-Match`), which says under which token
//! it was stored. A former holder is refused by the mark from when its successor has raised it. What it had on its way at
//! that moment, behind its own look at the mark, is refused for every file that the successor has stored, unless that has the
//! content of before, of which S3 makes the same etag; for other files it is not.
//!
//! | object | holds |
//! | --- | --- |
//! | `.statehouse/marks/<64 hex digits>` | the mark, by the SHA-256 of its name: the token in 20 decimal digits |
//! | the metadata `statehouse-fence` of a file | the first 32 of these digits, a dot, and the token in decimal digits |

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Fence, Result, Retry, Version};

use super::ObjectFileStore;
use super::client::{changed, exists, lost};
use super::metadata;
use super::stamp::{Stamp, digits};
use super::wire::{Answer, Terms};
use crate::body::Body;
use crate::digest::Digest;
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, DeleteOptions, PutOptions};
use crate::outcome::Deleted;

/// How often a write begins anew because somebody else was faster.
const TRIES: usize = 16;

const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(200)];

/// A mark as it is stored.
struct Mark {
    /// Zero if something else lies there: as good as lost.
    token: Version,
    etag: ETag,
}

impl ObjectFileStore {
    fn mark_path(&self, fence: &Fence) -> Result<Path> {
        self.remote.path(&format!("{}/marks/{}", crate::key::RESERVED, digits(fence)))
    }

    async fn mark(&self, path: &Path) -> Result<Option<Mark>> {
        let read = async {
            let found = self.remote.store.get(path).await?;
            Ok((metadata::etag(&found.meta), found.bytes().await?))
        };
        let (etag, text) = match self.remote.plain(Answer::Text, read).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let number = std::str::from_utf8(&text).ok().filter(|text| text.len() == 20).and_then(|text| text.parse().ok());
        Ok(Some(Mark { token: Version::new(number.unwrap_or(0)), etag }))
    }

    /// Checks a fence, and raises its mark where that is lower.
    pub(super) async fn hold(&self, fence: &Fence) -> Result<()> {
        let path = self.mark_path(fence)?;
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        for _ in 0..TRIES {
            let mark = self.mark(&path).await?;
            let condition = match mark {
                Some(mark) if mark.token >= fence.token() => return fence.check(mark.token),
                Some(mark) => Condition::Match(mark.etag),
                None => Condition::Absent,
            };
            let content = Bytes::from(format!("{:020}", fence.token().get()));
            let request = object_store::PutOptions { mode: self.remote.mode(&condition), ..Default::default() };
            let terms = Terms::new(Answer::Nothing).condition(&condition).payload(Digest::of(&content));
            let put = self.remote.store.put_opts(&path, PutPayload::from(content), request);
            let Err(failure) = self.remote.call(terms, put).await else { return Ok(()) };
            let (doubtful, error) = (failure.log.doubtful, failure.into_error(&condition));
            // Somebody else was faster, or this one itself, in a try whose answer was lost.
            if !is_refusal(&error) && !is_busy(&error) {
                return Err(if doubtful { lost(error) } else { error });
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        Err(busy())
    }

    /// What must hold for a fenced write of this file, if what was asked for holds now.
    async fn admit(&self, key: &FileKey, fence: &Fence, asked: &Condition) -> Result<Condition> {
        self.hold(fence).await?;
        let found = match self.remote.peek(key).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            found => Some(found?),
        };
        let own = Stamp::of(fence);
        let stamp = found.as_ref().and_then(|(_, marks)| marks.fence.as_ref());
        stamp.filter(|stamp| stamp.lock == own.lock).map_or(Ok(()), |stamp| fence.check(stamp.token))?;
        match (found, asked) {
            (None, Condition::Match(_)) => Err(changed()),
            (None, _) => Ok(Condition::Absent),
            (Some(_), Condition::Absent) => Err(exists()),
            (Some((meta, _)), Condition::Match(etag)) if meta.etag != *etag => Err(changed()),
            (Some((meta, _)), _) => Ok(Condition::Match(meta.etag)),
        }
    }

    /// Why a write was refused that was admitted: by somebody who has the lock now, or by another one.
    async fn refused(&self, key: &FileKey, fence: &Fence, asked: &Condition) -> Error {
        match self.admit(key, fence, asked).await {
            Ok(_) => busy(),
            Err(error) => error,
        }
    }

    pub(super) async fn put_fenced(
        &self,
        key: &FileKey,
        body: Body,
        options: PutOptions,
        fence: &Fence,
    ) -> Result<Stored> {
        let len = body.len();
        let bytes = match body.into_bytes() {
            Ok(bytes) => bytes,
            Err(stream) => {
                // The mark is looked at once more when all of it was sent.
                let (store, own) = (self.clone(), fence.clone());
                let last = async move { store.hold(&own).await.map(|()| Bytes::new()) };
                let body = Body::from(stream.chain(futures_util::stream::once(last)).boxed());
                let body = match len {
                    Some(len) => body.with_len(len),
                    None => body,
                };
                return self.try_put(key, body, options, fence).await;
            }
        };
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        for _ in 1..TRIES {
            match self.try_put(key, bytes.clone().into(), options.clone(), fence).await {
                Err(error) if is_busy(&error) => tokio::time::sleep(backoff.pause()).await,
                done => return done,
            }
        }
        self.try_put(key, bytes.into(), options, fence).await
    }

    async fn try_put(&self, key: &FileKey, body: Body, options: PutOptions, fence: &Fence) -> Result<Stored> {
        let asked = options.condition.clone();
        let admitted = self.admit(key, fence, &asked).await?;
        match self.put_as_told(key, body, options.with_condition(admitted)).await {
            Err(error) if is_refusal(&error) => Err(self.refused(key, fence, &asked).await),
            done => done,
        }
    }

    pub(super) async fn delete_fenced(&self, key: &FileKey, options: DeleteOptions, fence: &Fence) -> Result<Deleted> {
        let asked = options.if_match.map_or(Condition::Always, Condition::Match);
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        for _ in 0..TRIES {
            let Condition::Match(etag) = self.admit(key, fence, &asked).await? else { return Ok(Deleted::Absent) };
            match self.delete_as_told(key, Condition::Match(etag)).await {
                Err(error) if is_refusal(&error) => match self.refused(key, fence, &asked).await {
                    error if is_busy(&error) => tokio::time::sleep(backoff.pause()).await,
                    error => return Err(error),
                },
                done => return done,
            }
        }
        Err(busy())
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) && !error.is_retryable()
}

/// Whether nobody has looked at what was asked, because somebody else was writing.
fn is_busy(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && error.is_retryable()
}

fn busy() -> Error {
    let message = "somebody else was writing at the same time, and nothing was changed";
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Now)
}
