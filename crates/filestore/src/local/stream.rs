//! Content that goes through in pieces. What is hashed and what is read or written run beside each other on other
//! threads, and beside whatever the other end of the stream does meanwhile.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;

use super::blocking;
use super::client::{PIECE, read_at};
use super::stage::Staged;
use super::write::write_pieces;
use crate::digest::{Intake, corrupt};

/// How many bytes are gathered before they are written.
const BATCH: usize = 1 << 20;

/// A piece of at least so many bytes is written as it is; smaller ones are copied together.
const LARGE: usize = 64 << 10;

/// How many pieces of a read are under way at a time.
const AHEAD: usize = 2;

/// A body in pieces that need no copy.
pub(super) fn pieces_of(bytes: Bytes) -> BoxStream<'static, Result<Bytes>> {
    let pieces = (0..bytes.len()).step_by(BATCH).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + BATCH))));
    futures_util::stream::iter(pieces).boxed()
}

/// Writes all of a stream, and hashes it.
pub(super) async fn write_all(
    mut stream: BoxStream<'static, Result<Bytes>>,
    staged: Staged,
    intake: Intake,
) -> Result<(Staged, Intake)> {
    let (mut batch, mut ended) = gather(&mut stream).await?;
    let mut written = (staged, intake);
    while !ended {
        // While one batch is hashed and written, the next one is gathered.
        let next = gather(&mut stream);
        let ((pieces, is_last), done) = try_join(next, write_batch(written, batch)).await?;
        (batch, ended, written) = (pieces, is_last, done);
    }
    write_batch(written, batch).await
}

async fn write_batch((mut staged, mut intake): (Staged, Intake), batch: Vec<Bytes>) -> Result<(Staged, Intake)> {
    let hashed = batch.clone();
    let write = blocking(move || write_pieces(&mut staged, &batch).map(|()| staged));
    let hash = blocking(move || hashed.iter().try_for_each(|piece| intake.update(piece)).map(|()| intake));
    try_join(write, hash).await
}

/// Takes what a stream has, up to what is worth one write, and whether it has ended.
async fn gather(stream: &mut BoxStream<'static, Result<Bytes>>) -> Result<(Vec<Bytes>, bool)> {
    let (mut pieces, mut small, mut len) = (Vec::new(), BytesMut::new(), 0);
    while len < BATCH {
        let Some(piece) = stream.try_next().await? else {
            pieces.push(small.freeze());
            return Ok((pieces, true));
        };
        len += piece.len();
        if piece.len() < LARGE {
            small.extend_from_slice(&piece);
        } else {
            pieces.extend([small.split().freeze(), piece]);
        }
        // A source that always has another small piece must not keep the thread.
        tokio::task::coop::consume_budget().await;
    }
    pieces.push(small.freeze());
    Ok((pieces, false))
}

/// A part of an open file, checked by the CRC-32 if it is the whole.
pub(super) fn read(file: File, range: Range<u64>, crc: Option<u32>) -> BoxStream<'static, Result<Bytes>> {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(&file, range.start, None, rustix::fs::Advice::Sequential);
    let (file, end) = (Arc::new(file), range.end);
    let offsets = std::iter::successors(Some(range.start), move |at| Some(at + PIECE).filter(|at| *at < end));
    let pieces = futures_util::stream::iter(offsets).map(move |at| {
        let file = Arc::clone(&file);
        blocking(move || {
            let bytes = read_at(&file, at, PIECE.min(end - at))?;
            let mut hasher = crc32fast::Hasher::new();
            if crc.is_some() {
                hasher.update(&bytes);
            }
            Ok((Bytes::from(bytes), hasher, at + PIECE >= end))
        })
    });
    let state = (pieces.buffered(AHEAD), crc32fast::Hasher::new());
    futures_util::stream::try_unfold(state, move |(mut pieces, mut whole)| async move {
        let Some((bytes, hasher, is_last)) = pieces.try_next().await? else { return Ok(None) };
        whole.combine(&hasher);
        if is_last && crc.is_some_and(|crc| crc != whole.clone().finalize()) {
            return Err(corrupt("the file's content is not what was stored"));
        }
        Ok(Some((bytes, (pieces, whole))))
    })
    .boxed()
}
