//! Copying on the server what is too long for one request: in parts, all of them of one state of the original.
//!
//! Each part is asked for only as long as the original has the etag that was looked at. Not every server looks at that, so the original
//! is looked at once more before the copy becomes visible.

use std::ops::Range;
use std::time::Instant;

use futures_util::TryStreamExt as _;
use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::ObjectFileStore;
use super::client::{Nesting, Remote};
use super::connection::Native;
use super::known::Known;
use super::metadata::{self, Marks, Sums};
use super::upload::MAX_PARTS;
use crate::capability;
use crate::digest::{hex, nonce};
use crate::key::FileKey;
use crate::meta::{ETag, Meta, Stored};
use crate::options::{Condition, CopyOptions, PutOptions};

/// How long a part is. S3 copies 5 GiB in one request, but others say nothing while they copy, and are not waited for so long.
const PART: u64 = 128 << 20;

/// How many parts the server copies at a time.
const UNDER_WAY: usize = 4;

impl ObjectFileStore {
    /// The server of a copy that is made in parts.
    pub(super) fn copies_in_parts(&self, len: u64, options: &CopyOptions) -> Option<&Native> {
        let decided = options.condition == Condition::Always || self.capabilities.has(capability::CONDITIONAL_PARTS);
        let fits = len > self.remote.limits.copy_limit && decided && options.fence.is_none();
        self.remote.native.as_ref().filter(|native| fits && native.s3().is_some())
    }

    pub(super) async fn copy_in_parts(
        &self,
        native: &Native,
        to: &FileKey,
        (meta, marks): (&Meta, &Marks),
        condition: &Condition,
    ) -> Result<Stored> {
        let remote = &self.remote;
        let (path, put, start) = (remote.path(to)?, hex(&nonce()?), Instant::now());
        let mut options = PutOptions::default().described_as(meta.clone());
        options.time_to_live = marks.time_to_live;
        self.require_headers(&options)?;
        let replaced = remote.check_early(to, condition).await?;
        if remote.nesting == Nesting::Told {
            remote.check_nesting(to).await?;
        }
        if let Some(time_to_live) = marks.time_to_live {
            remote.expect_end(to, time_to_live).await?;
        }
        let sums = meta.sha256.map(|digest| Sums { digest, crc: marks.crc });
        let attributes = metadata::describe_copy(&options, &put, sums);
        let (mut upload, begun) = remote.begin_known(native, &path, attributes).await?;
        upload.expect_copies();
        // What fails from here on is dropped, and then aborted.
        remote.copy_all(native, &begun, meta, marks).await?;
        let result = upload.complete(condition).await;
        let completed = result.is_ok();
        let stored = remote.settle(to, &put, condition, result, (meta.len, meta.sha256), start).await;
        if completed || stored.is_ok() {
            upload.leave();
            remote.forget_digest(to, replaced);
        }
        stored
    }
}

impl Remote {
    /// Copies all of the original, which is then still what it was.
    async fn copy_all(&self, native: &Native, begun: &Known, meta: &Meta, marks: &Marks) -> Result<()> {
        let size = PART.min(self.limits.copy_limit).max(meta.len.div_ceil(MAX_PARTS));
        let parts = (0..meta.len.div_ceil(size)).map(|at| (at, at * size..meta.len.min((at + 1) * size)));
        let from = self.path(&meta.key)?;
        let copied = futures_util::stream::iter(parts.map(Ok)).try_for_each_concurrent(UNDER_WAY, |(at, range)| {
            let (begun, source, etag) = (begun.clone(), from.clone(), meta.etag.clone());
            async move { copy_part(native, &begun, source.as_ref(), &etag, (at, range)).await }
        });
        match copied.await {
            Ok(()) => self.check_same(meta, marks).await,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                self.check_same(meta, marks).await?;
                Err(ended(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Fails if the original is not what was looked at.
    async fn check_same(&self, meta: &Meta, marks: &Marks) -> Result<()> {
        let (now, its) = self.peek(&meta.key).await?;
        let same = now.etag == meta.etag && now.modified == meta.modified && its.put == marks.put;
        if same { Ok(()) } else { Err(replaced()) }
    }
}

/// Has the server copy one part, and takes down what it calls that.
async fn copy_part(
    native: &Native,
    begun: &Known,
    source: &str,
    etag: &ETag,
    (at, range): (u64, Range<u64>),
) -> Result<()> {
    let number = (at + 1).to_string();
    let headers = [
        ("x-amz-copy-source", native.source(source)),
        ("x-amz-copy-source-range", format!("bytes={}-{}", range.start, range.end - 1)),
        ("x-amz-copy-source-if-match", etag.as_str().to_owned()),
    ];
    let query = [("partNumber", number.as_str()), ("uploadId", begun.id())];
    let part = native.copy_part(begun.path(), &query, &headers).await?;
    begun.took(usize::try_from(at).unwrap_or(usize::MAX), part);
    Ok(())
}

/// One that says to try again, because it is no word on the condition of the copy.
fn replaced() -> Error {
    let message = "the file was replaced while it was copied, and nothing was stored";
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Now)
}

/// The original is what it was.
fn ended(error: Error) -> Error {
    let message = "the server refused a part of the copy, whose original is there, and nothing was stored";
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Now).with_source(error)
}
