//! Readers that go anywhere in a file.

use std::io::{Result as IoResult, SeekFrom};
use std::pin::Pin;

use futures_util::future::poll_fn;
use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, Result};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};

use super::kit::{kind, noise, streamed, told};
use crate::digest::Digest;
use crate::files::{FileReader, Files};
use crate::meta::ETag;

/// What `AsyncReadExt` does, which needs more of tokio.
async fn read(reader: &mut FileReader, most: usize) -> IoResult<Vec<u8>> {
    let mut bytes = vec![0; most.min(1 << 20)];
    let mut buf = ReadBuf::new(&mut bytes);
    poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut buf)).await?;
    let len = buf.filled().len();
    bytes.truncate(len);
    Ok(bytes)
}

/// So many bytes, or all up to the end.
async fn read_all(reader: &mut FileReader, len: usize) -> IoResult<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < len {
        let piece = read(reader, len - all.len()).await?;
        if piece.is_empty() {
            break;
        }
        all.extend(piece);
    }
    Ok(all)
}

/// As many bytes as are there at once, or up to so many.
async fn read_buffered(reader: &mut FileReader, most: usize) -> IoResult<Vec<u8>> {
    let mut pinned = Pin::new(reader);
    let bytes =
        poll_fn(|cx| pinned.as_mut().poll_fill_buf(cx).map_ok(|buf| buf[..most.min(buf.len())].to_vec())).await?;
    pinned.consume(bytes.len());
    Ok(bytes)
}

async fn seek(reader: &mut FileReader, to: SeekFrom) -> IoResult<u64> {
    Pin::new(&mut *reader).start_seek(to)?;
    poll_fn(|cx| Pin::new(&mut *reader).poll_complete(cx)).await
}

fn signed(at: usize) -> i64 {
    i64::try_from(at).expect("small")
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end as u64).max(1)).expect("less than a usize")
    }

    /// A seek from there, within a file of this length or somewhat behind it; none by turns.
    fn seek(&mut self, at: usize, len: usize) -> Option<SeekFrom> {
        let to = self.below(len + len / 8 + 3);
        match self.below(8) {
            0 => Some(SeekFrom::Start(to as u64)),
            1 => Some(SeekFrom::End(-signed(to.min(len)))),
            2 => Some(SeekFrom::Current(signed(to) - signed(at))),
            3 => Some(SeekFrom::Current(signed(self.below(5000)))),
            _ => None,
        }
    }
}

/// As a file on a disk is read: sequences of reads and seeks, compared with the content.
pub(super) async fn a_reader_goes_anywhere_in_a_file(files: Files) -> Result<()> {
    let mut numbers = Numbers(42);
    for len in [0, 1, 5000, 3 << 20] {
        let content = noise(len, 11);
        files.put("a", streamed(&content, 70_000)).await?;
        let mut reader = files.get("a").reader().await?;
        assert_eq!((reader.meta().len, reader.meta().sha256), (len as u64, Some(Digest::of(&content))));
        assert!(read_all(&mut reader, usize::MAX).await.expect("all of it") == content);
        assert!(read(&mut reader, 1).await.expect("the end stays the end").is_empty());
        let mut at = len;
        for step in 0..rounds(60, 2500) {
            let cell = format!("{len} bytes, step {step}, at {at}");
            if let Some(to) = numbers.seek(at, len) {
                let sought = seek(&mut reader, to).await.unwrap_or_else(|error| panic!("{cell}, {to:?}: {error}"));
                at = usize::try_from(sought).expect("small");
            }
            let most = [1, 10, 5000, 400_000][numbers.below(4)];
            let most = numbers.below(most) + 1;
            let (rest, whole) = (content.slice(at.min(len)..), numbers.below(3) > 0);
            let got = match whole {
                true => read_all(&mut reader, most).await,
                false => read_buffered(&mut reader, most).await,
            };
            let got = got.unwrap_or_else(|error| panic!("{cell}: {error}"));
            let enough = if whole { got.len() == most.min(rest.len()) } else { got.is_empty() == rest.is_empty() };
            assert!(enough && rest.starts_with(&got), "{cell}: {} of {most} bytes", got.len());
            at += got.len();
            assert_eq!(reader.position(), at as u64, "{cell}");
        }
        let outside = SeekFrom::Current(-signed(at) - 1);
        assert_eq!(told(seek(&mut reader, outside).await), Some(ErrorKind::InvalidInput));
        assert_eq!(reader.position(), at as u64);
    }
    Ok(())
}

/// What it reads is the state that it was opened on, or it says that this is gone.
pub(super) async fn a_reader_never_mixes_two_states_of_a_file(files: Files) -> Result<()> {
    let (old, new) = (noise(2 << 20, 1), noise(2 << 20, 2));
    files.put("a", old.clone()).await?;
    let mut late = files.get("a").reader().await?;
    let mut reader = files.get("a").reader().await?;
    assert!(read_all(&mut reader, 1000).await.expect("it is there") == old[..1000]);
    files.put("a", new).await?;
    assert_eq!(told(read(&mut late, 10).await), Some(ErrorKind::Conflict));
    assert_eq!(told(read(&mut late, 10).await), Some(ErrorKind::Conflict), "it is not forgotten");
    let mut at = 1000;
    let changed = loop {
        match read(&mut reader, 100_000).await {
            Ok(piece) if piece.is_empty() => break None,
            Ok(piece) => assert!(old[at..].starts_with(&piece), "a mixture at {at}"),
            error => break told(error),
        }
        at = usize::try_from(reader.position()).expect("small");
    };
    assert!(changed == Some(ErrorKind::Conflict) || changed.is_none() && at == old.len(), "{changed:?} at {at}");
    for at in [10, 1 << 20, (2 << 20) - 5] {
        seek(&mut late, SeekFrom::Start(at)).await.expect("a place");
        assert_eq!(told(read(&mut late, 5).await), Some(ErrorKind::Conflict), "at {at}");
        // What it has of the old state, it may give.
        seek(&mut reader, SeekFrom::Start(at)).await.expect("a place");
        match read(&mut reader, 5).await {
            Ok(piece) => assert!(!piece.is_empty() && old[usize::try_from(at).expect("small")..].starts_with(&piece)),
            error => assert_eq!(told(error), Some(ErrorKind::Conflict), "at {at}"),
        }
    }
    // Behind the end of what is there now.
    files.put("a", "short").await?;
    seek(&mut late, SeekFrom::Start(1 << 20)).await.expect("a place");
    assert_eq!(told(read(&mut late, 5).await), Some(ErrorKind::Conflict), "behind the end of another state");
    files.delete("a").await?;
    seek(&mut late, SeekFrom::Start(1)).await.expect("a place");
    let gone = told(read(&mut late, 5).await);
    assert!(matches!(gone, Some(ErrorKind::NotFound | ErrorKind::Conflict)), "{gone:?}");
    files.put("a", old.clone()).await?;
    Ok(())
}

pub(super) async fn a_reader_says_what_it_cannot_open(files: Files) -> Result<()> {
    let etag = files.put("a", "content").await?.etag;
    assert_eq!(kind(files.get("b").reader().await), Some(ErrorKind::NotFound));
    assert_eq!(kind(files.get("../b").reader().await), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(files.get("a").range(..3).reader().await), Some(ErrorKind::InvalidInput));
    let other = files.get("a").if_match(&ETag::new("\"other\"")).reader().await;
    let error = other.expect_err("another etag");
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("a")));
    let mut reader = files.get("a").if_match(&etag).reader().await?;
    assert_eq!(read_all(&mut reader, 100).await.expect("the state that was asked for"), b"content");
    Ok(())
}
