//! Writers that are written to, and who is told how far a put is.

use std::io::Result as IoResult;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::poll_fn;
use statehouse_core::{ErrorKind, Result};
use tokio::io::AsyncWrite;

use super::kit::{kind, names, noise, streamed, told};
use super::puts::PARTS;
use crate::capability::CREATE_IF_ABSENT;
use crate::digest::Digest;
use crate::files::{FileWriter, Files};
use crate::outcome::PutOutcome;

async fn write<O: Send>(writer: &mut FileWriter<O>, mut bytes: &[u8]) -> IoResult<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn flush<O>(writer: &mut FileWriter<O>) -> IoResult<()> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await
}

async fn shut_down<O>(writer: &mut FileWriter<O>) -> IoResult<()> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_shutdown(cx)).await
}

/// Of any length, in pieces of any size.
pub(super) async fn what_is_written_to_a_writer_is_stored_when_it_is_finished(files: Files) -> Result<()> {
    for (len, piece) in [(0, 1), (1, 1), (70_000, 1000), (PARTS, 300_000)] {
        let content = noise(len, 12);
        let mut writer = files.put("a", "").content_type("text/plain").writer();
        for piece in content.chunks(piece) {
            write(&mut writer, piece).await.expect("it is taken");
        }
        flush(&mut writer).await.expect("it is taken");
        assert!(!files.exists("a").await?, "{len}");
        let stored = writer.finish().await?;
        assert_eq!((stored.len, stored.sha256), (len as u64, Some(Digest::of(&content))));
        assert!(files.get("a").bytes().await? == content, "{len}");
        assert_eq!(files.head("a").await?.content_type.as_deref(), Some("text/plain"));
        files.delete("a").await?;
    }
    Ok(())
}

/// And takes no more.
pub(super) async fn a_writer_that_is_shut_down_has_stored_the_file(files: Files) -> Result<()> {
    let mut writer = files.put("a", "").writer();
    write(&mut writer, b"shut down").await.expect("it is taken");
    for _ in 0..2 {
        shut_down(&mut writer).await.expect("it is stored");
        assert_eq!(files.get("a").bytes().await?, "shut down");
    }
    assert_eq!(told(write(&mut writer, b"late").await), Some(ErrorKind::InvalidInput));
    assert_eq!(writer.finish().await?.len, 9);
    let mut writer = files.put("a", "a body of its own").writer();
    assert_eq!(told(write(&mut writer, b"and more").await), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(writer.finish().await), Some(ErrorKind::InvalidInput));
    assert_eq!(files.get("a").bytes().await?, "shut down");
    Ok(())
}

/// By its outcome, and by the error of a write or of a shutdown.
pub(super) async fn a_writer_is_told_that_its_condition_does_not_hold(files: Files) -> Result<()> {
    files.put("a", "there").await?;
    let mut writer = files.put("a", "").if_absent().writer();
    write(&mut writer, b"another").await.expect("it is not known yet");
    assert_eq!(writer.finish().await?, PutOutcome::Conflict);
    let mut writer = files.put("a", "").if_absent().writer();
    write(&mut writer, b"another").await.expect("it is not known yet");
    assert_eq!(told(shut_down(&mut writer).await), Some(ErrorKind::Conflict));
    assert_eq!(writer.finish().await?, PutOutcome::Conflict);
    let mut writer = files.put("b", "").if_absent().writer();
    write(&mut writer, b"the first").await.expect("it is taken");
    assert!(matches!(writer.finish().await?, PutOutcome::Stored(_)));
    assert_eq!(files.get("a").bytes().await?, "there");
    Ok(())
}

/// Wherever it is: with nothing written, with little that has not left yet, and with much that has.
pub(super) async fn a_writer_that_is_dropped_leaves_nothing(files: Files) -> Result<()> {
    for len in [0, 10, 100_000, PARTS] {
        let mut writer = files.put("a", "").writer();
        write(&mut writer, &noise(len, 13)).await.expect("it is taken");
        if len % 100 == 0 {
            flush(&mut writer).await.expect("it is taken");
        }
        drop(writer);
        assert_eq!(names(&files, "").await?, [""; 0], "{len}");
    }
    // Whoever comes next finds nothing of it in its way.
    files.put("a", "stored").await?;
    assert_eq!(files.get("a").bytes().await?, "stored");
    Ok(())
}

pub(super) async fn a_writer_that_fails_leaves_the_old_file(files: Files) -> Result<()> {
    files.put("a", "old").await?;
    let mut writer = files.put("a", "").max_len(100_000).writer();
    let refused = told(write(&mut writer, &noise(PARTS, 14)).await);
    assert_eq!(refused, Some(ErrorKind::TooLarge), "known before all of it is written");
    assert_eq!(kind(writer.finish().await), Some(ErrorKind::TooLarge));
    let mut writer = files.put("a", "").expect_sha256(Digest::of(b"promised")).writer();
    write(&mut writer, b"something else").await.expect("it is not known yet");
    assert_eq!(told(shut_down(&mut writer).await), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(writer.finish().await), Some(ErrorKind::InvalidInput));
    assert_eq!(files.get("a").bytes().await?, "old");
    Ok(())
}

/// Of a stream as it is taken, and of bytes when they are stored.
pub(super) async fn progress_is_told(files: Files) -> Result<()> {
    let content = noise(PARTS, 15);
    let told = Arc::new(AtomicU64::new(0));
    let tell = |told: &Arc<AtomicU64>| {
        let (told, before) = (Arc::clone(told), AtomicU64::new(0));
        move |bytes| {
            assert!(before.swap(bytes, Ordering::Relaxed) < bytes, "it only grows");
            told.store(bytes, Ordering::Relaxed);
        }
    };
    let all = content.len() as u64;
    for body in [content.clone().into(), streamed(&content, 1 << 20), streamed(&content, 1 << 20).with_len(all)] {
        files.put("a", body).progress(tell(&told)).await?;
        assert_eq!(told.swap(0, Ordering::Relaxed), all);
    }
    let pieces = futures_util::stream::iter(content.chunks(1 << 20));
    let pieces = futures_util::StreamExt::map(pieces, |piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
    files.put_stream("a", pieces).progress(tell(&told)).await?;
    assert_eq!(told.swap(0, Ordering::Relaxed), all);
    let mut writer = files.put("a", "").progress(tell(&told)).writer();
    write(&mut writer, &content[..1 << 20]).await.expect("it is taken");
    writer.finish().await?;
    assert_eq!(told.swap(0, Ordering::Relaxed), 1 << 20);
    let failed = files.put("a", content).max_len(10).progress(tell(&told)).await;
    assert_eq!((kind(failed), told.load(Ordering::Relaxed)), (Some(ErrorKind::TooLarge), 0));
    if files.store().capabilities().has(CREATE_IF_ABSENT) {
        let refused = files.put("a", "bytes").if_absent().progress(tell(&told)).await?;
        assert_eq!((refused, told.load(Ordering::Relaxed)), (PutOutcome::Conflict, 0));
    }
    Ok(())
}
