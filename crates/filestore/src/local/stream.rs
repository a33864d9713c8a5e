//! Content that goes through in pieces. What is hashed and what is read or written run beside each other on other
//! threads, and beside whatever the other end of the stream does meanwhile.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::client::{PIECE, read_at};
use super::config::Durability;
use super::error::map_error;
use super::stage::Staged;
use super::write::write_pieces;
use crate::blocking::{blocking, ended};
use crate::digest::{Intake, corrupt};

/// How many bytes are gathered before they are written.
const BATCH: usize = 1 << 20;

/// For how long: what many slow sources have sent would otherwise fill the memory.
const GATHERING: Duration = Duration::from_millis(250);

/// A piece of at least so many bytes is written as it is; smaller ones are copied together.
const LARGE: usize = 64 << 10;

/// After how many bytes the disk begins with what is to be synced.
const FLUSHED: usize = 16 << 20;

/// How many pieces of a read are under way at a time.
const AHEAD: usize = 2;

/// Writes a body that is in memory, and hashes it meanwhile. It is also synced here if it will be, so that the disk does
/// not wait for the hash.
pub(super) async fn write_bytes(
    bytes: Bytes,
    mut staged: Staged,
    mut intake: Intake,
    durability: Durability,
) -> Result<(Staged, Intake)> {
    let hashed = bytes.clone();
    let write = async {
        let (staged, flush) = blocking(move || {
            let mut flush = Flush::new(durability);
            for at in (0..bytes.len()).step_by(FLUSHED) {
                let piece = bytes.slice(at..bytes.len().min(at + FLUSHED));
                write_pieces(&mut staged, &[piece])?;
                flush.begin(&staged.file)?;
            }
            Ok((staged, flush))
        })
        .await?;
        flush.end().await?;
        blocking(move || sync(&staged.file, durability).map(|()| staged)).await
    };
    let hash = blocking(move || intake.update(&hashed).map(|()| intake));
    try_join(write, hash).await
}

fn sync(file: &File, durability: Durability) -> Result<()> {
    match durability {
        Durability::Synced => file.sync_data().map_err(map_error),
        Durability::Relaxed => Ok(()),
    }
}

/// Lets the disk work on what is written already, while more is.
#[derive(Debug)]
struct Flush {
    durability: Durability,
    under_way: Option<JoinHandle<Result<()>>>,
}

impl Flush {
    const fn new(durability: Durability) -> Self {
        Self { durability, under_way: None }
    }

    /// Begins to sync what is written, unless the last time has not ended. Called on a blocking thread.
    fn begin(&mut self, file: &File) -> Result<()> {
        if self.durability == Durability::Relaxed {
            return Ok(());
        }
        if let Some(under_way) = self.under_way.take() {
            if !under_way.is_finished() {
                self.under_way = Some(under_way);
                return Ok(());
            }
            tokio::runtime::Handle::current().block_on(ended(under_way))?;
        }
        let (file, durability) = (file.try_clone().map_err(map_error)?, self.durability);
        self.under_way = Some(tokio::task::spawn_blocking(move || sync(&file, durability)));
        Ok(())
    }

    /// The system tells an error of the disk once, so nobody else would hear of one that is not asked for here.
    async fn end(self) -> Result<()> {
        match self.under_way {
            Some(under_way) => ended(under_way).await,
            None => Ok(()),
        }
    }
}

/// Writes all of a stream, and hashes it.
pub(super) async fn write_all(
    mut stream: BoxStream<'static, Result<Bytes>>,
    staged: Staged,
    intake: Intake,
    durability: Durability,
) -> Result<(Staged, Intake)> {
    let (mut batch, mut ended) = gather(&mut stream).await?;
    let last = LastClose::of(&staged.file)?;
    let mut written = Written { staged, last, intake, flush: Flush::new(durability), unflushed: 0 };
    while !ended {
        // While one batch is hashed and written, the next one is gathered.
        let next = gather(&mut stream);
        let ((pieces, is_last), done) = try_join(next, written.batch(batch)).await?;
        (batch, ended, written) = (pieces, is_last, done);
    }
    let Written { staged, intake, flush, .. } = written.batch(batch).await?;
    flush.end().await?;
    Ok((staged, intake))
}

/// A stream that is being written.
struct Written {
    staged: Staged,
    /// Behind the file itself, and so dropped after it.
    last: LastClose,
    intake: Intake,
    flush: Flush,
    unflushed: usize,
}

impl Written {
    async fn batch(self, batch: Vec<Bytes>) -> Result<Self> {
        let Self { mut staged, last, mut intake, mut flush, mut unflushed } = self;
        let hashed = batch.clone();
        unflushed += batch.iter().map(Bytes::len).sum::<usize>();
        let write = blocking(move || {
            if let Err(error) = write_pieces(&mut staged, &batch) {
                // Where the disk is full its room is free when this is told.
                last.now();
                return Err(error);
            }
            if unflushed >= FLUSHED {
                flush.begin(&staged.file)?;
                unflushed = 0;
            }
            Ok((staged, last, flush, unflushed))
        });
        let hash = blocking(move || hashed.iter().try_for_each(|piece| intake.update(piece)).map(|()| intake));
        let ((staged, last, flush, unflushed), intake) = try_join(write, hash).await?;
        Ok(Self { staged, last, intake, flush, unflushed })
    }
}

/// Keeps a file open beyond its removal, and closes it on a thread for that: whoever gives up an upload serves others, and what a
/// long file has is freed as it is closed.
struct LastClose(Option<File>);

impl LastClose {
    fn of(file: &File) -> Result<Self> {
        file.try_clone().map(|file| Self(Some(file))).map_err(map_error)
    }

    /// Closes it here.
    fn now(mut self) {
        self.0 = None;
    }
}

impl Drop for LastClose {
    fn drop(&mut self) {
        if let (Some(file), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}

/// Takes what a stream has, up to what is worth one write, or what comes within some time; and whether it has ended.
async fn gather(stream: &mut BoxStream<'static, Result<Bytes>>) -> Result<(Vec<Bytes>, bool)> {
    let (mut pieces, mut small, mut len, mut until) = (Vec::new(), BytesMut::new(), 0, None);
    while len < BATCH {
        let next = match until {
            None => stream.try_next().await,
            Some(until) => match timeout_at(until, stream.try_next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        let Some(piece) = next? else {
            pieces.push(small.freeze());
            return Ok((pieces, true));
        };
        len += piece.len();
        until = until.or_else(|| Some(Instant::now() + GATHERING));
        if piece.len() < LARGE {
            small.extend_from_slice(&piece);
        } else {
            pieces.extend([small.split().freeze(), piece]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece of a body has a cost of its own in memory, and each write one of the system.
    #[tokio::test]
    async fn small_pieces_are_gathered_and_large_ones_are_not_copied() {
        let bytes = Bytes::from_iter((0..=250_u8).cycle().take(BATCH + 7));
        let single = bytes.clone();
        let pieces = (0..bytes.len()).map(move |at| Ok(single.slice(at..=at)));
        let mut stream = futures_util::stream::iter(pieces).boxed();
        let (pieces, ended) = gather(&mut stream).await.unwrap();
        assert_eq!((&pieces.concat()[..], ended), (&bytes[..BATCH], false));
        assert!(pieces.len() <= 2, "{} pieces", pieces.len());
        let (pieces, ended) = gather(&mut stream).await.unwrap();
        assert_eq!((&pieces.concat()[..], ended), (&bytes[BATCH..], true));
        let large = bytes.slice(..LARGE);
        let given = [large.slice(..5), large.clone(), large.slice(9..20), large.slice(40..50)];
        let mut stream = futures_util::stream::iter(given.clone().map(Ok)).boxed();
        let (pieces, ended) = gather(&mut stream).await.unwrap();
        assert_eq!((pieces.concat(), ended), (given.concat(), true));
        assert!(pieces.iter().any(|piece| piece.as_ptr() == large.as_ptr() && piece.len() == LARGE));
    }

    /// A thousand slow uploads would hold a gigabyte.
    #[tokio::test(start_paused = true)]
    async fn what_has_come_is_written_when_its_source_pauses_or_is_slow() {
        let piece = || Ok(Bytes::from_static(b"piece"));
        let mut pausing = futures_util::stream::iter([piece()]).chain(futures_util::stream::pending()).boxed();
        let (pieces, ended) = gather(&mut pausing).await.unwrap();
        assert_eq!((&pieces.concat()[..], ended), (&b"piece"[..], false));
        let slow = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let (pieces, ended) = gather(&mut slow.take(1000).boxed()).await.unwrap();
        assert!((1..=4).contains(&pieces.concat().len()) && !ended);
    }

    /// Whoever drops it does not wait for a thread either.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_last_close_of_a_file_is_on_another_thread() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        let is_open = || {
            let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            let mut open = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
            open.any(|open| open.to_string_lossy() == format!("{} (deleted)", path.display()))
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let busy = tokio::task::spawn_blocking(move || released.recv());
            let file = File::create(&path).unwrap();
            let last = LastClose::of(&file).unwrap();
            drop(file);
            std::fs::remove_file(&path).unwrap();
            drop(last);
            assert!(is_open());
            release.send(()).unwrap();
            busy.await.unwrap().unwrap();
            blocking(|| Ok(())).await.unwrap();
        });
        assert!(!is_open());
    }
}
