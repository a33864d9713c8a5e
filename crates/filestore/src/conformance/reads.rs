use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use statehouse_core::conformance::Backend;
use statehouse_core::{ErrorKind, Result};

use super::kit::{clear, fresh, kind, names, noise};
use crate::api::FileStore;
use crate::capability::PRESIGNED;
use crate::files::Files;
use crate::meta::ETag;
use crate::options::{BeyondEnd, ByteRange, PresignOptions, Verb};

/// Also below a file's name, and where a longer name exists.
pub(super) async fn reading_a_missing_file_is_not_found(files: Files) -> Result<()> {
    files.put("a/b", "x").await?;
    for name in ["b", "a", "a/c", "a/b/c"] {
        assert_eq!(kind(files.get(name).await), Some(ErrorKind::NotFound), "{name}");
        assert_eq!(kind(files.head(name).await), Some(ErrorKind::NotFound), "{name}");
        assert_eq!(kind(files.copy(name, "z").await), Some(ErrorKind::NotFound), "{name}");
        assert!(!files.exists(name).await?, "{name}");
    }
    Ok(())
}

/// Small files and those longer than what is read at once.
pub(super) async fn ranges_are_cut_to_the_file(files: Files) -> Result<()> {
    for len in [10_u64, 100_000, 3_000_000] {
        let content = noise(usize::try_from(len).expect("small"), len);
        files.put("a", content.clone()).await?;
        let part = |start: u64, end: u64| {
            content.slice(usize::try_from(start).expect("small")..usize::try_from(end).expect("small"))
        };
        let cases: [(ByteRange, u64, u64); 9] = [
            ((..4).into(), 0, 4),
            ((3..=8).into(), 3, 9),
            ((5..).into(), 5, len),
            ((1..len * 2).into(), 1, len),
            (ByteRange::last(3), len - 3, len),
            (ByteRange::last(len + 1), 0, len),
            ((3..u64::MAX).into(), 3, len),
            ((3..=u64::MAX).into(), 3, len),
            (ByteRange::last(u64::MAX), 0, len),
        ];
        for (range, start, end) in cases {
            let object = files.get("a").range(range).await?;
            assert_eq!((object.range(), object.meta().len), (&(start..end), len), "{range:?} of {len}");
            assert_eq!(object.bytes().await?, part(start, end), "{range:?} of {len}");
        }
        assert_eq!(kind(files.get("a").range(len..).await), Some(ErrorKind::InvalidInput), "{len}");
        let mut stream = files.get("a").range(1..).stream().await?;
        let mut read = Vec::new();
        while let Some(piece) = stream.next().await {
            read.extend_from_slice(&piece?);
        }
        assert_eq!(read, content[1..], "{len}");
    }
    Ok(())
}

/// With the file's length, as an answer 416 has it; also of an empty file, of which every range is behind the end.
pub(super) async fn a_range_behind_the_end_is_told_from_a_bad_one(files: Files) -> Result<()> {
    for len in [0_u64, 10, 3_000_000] {
        files.put("a", noise(usize::try_from(len).expect("small"), 1)).await?;
        let ranges: [ByteRange; 4] =
            [(len..).into(), (len..len + 1).into(), (len + 5..).into(), (len..=u64::MAX).into()];
        for range in ranges {
            let error = files.get("a").range(range).await.expect_err("a range without a byte");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{range:?} of {len}: {error:?}");
            assert_eq!(BeyondEnd::of(&error).map(BeyondEnd::file_len), Some(len), "{range:?} of {len}: {error:?}");
        }
        for range in [ByteRange::from(3..3), ByteRange::last(0)] {
            let error = files.get("a").range(range).await.expect_err("an empty range");
            assert_eq!((error.kind(), BeyondEnd::of(&error)), (ErrorKind::InvalidInput, None), "{range:?} of {len}");
        }
    }
    Ok(())
}

/// So that a reader of several ranges never mixes two files.
pub(super) async fn a_read_needs_the_etag_it_asks_for(files: Files) -> Result<()> {
    let first = files.put("a", "first").await?;
    assert_eq!(files.get("a").if_match(&first.etag).range(..2).bytes().await?, "fi");
    files.put("a", "second").await?;
    assert_eq!(kind(files.get("a").if_match(&first.etag).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(files.get("a").if_match(&first.etag).range(..2).await), Some(ErrorKind::Conflict));
    let other = ETag::new("0123456789abcdef0123456789abcdef");
    assert_eq!(kind(files.get("a").if_match(&other).await), Some(ErrorKind::Conflict));
    Ok(())
}

/// While one writer goes back and forth between a short and a long file, every read is one of the two, whole.
pub(super) async fn readers_see_the_old_file_or_the_new_one(files: Files) -> Result<()> {
    let contents = [noise(100, 1), noise(800_000, 2)];
    files.put("a", contents[0].clone()).await?;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (files, contents, done) = (files.clone(), contents.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                loop {
                    let content = files.get("a").bytes().await?;
                    assert!(contents.contains(&content), "a mixture of {} bytes", content.len());
                    if done.load(Ordering::Relaxed) {
                        return Ok::<_, statehouse_core::Error>(());
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0..40 {
        files.put("a", contents[(round + 1) % 2].clone()).await?;
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("a reader that panicked")?;
    }
    Ok(())
}

/// Listing and metadata give the same etag.
pub(super) async fn an_etag_changes_with_the_content(files: Files) -> Result<()> {
    let first = files.put("a", "first").await?;
    let second = files.put("a", "secnd").await?;
    assert_ne!(first.etag, second.etag);
    assert_eq!(files.head("a").await?.etag, second.etag);
    let page = files.list("a").await?;
    assert_eq!((page.entries.len(), &page.entries[0].etag, page.entries[0].len), (1, &second.etag, 5));
    Ok(())
}

/// A backend whose probe succeeds says so.
pub(super) async fn a_store_that_works_is_up(files: Files) -> Result<()> {
    let health = files.store().health().await;
    assert!(health.is_up(), "{health:?}");
    Ok(())
}

pub(super) async fn what_was_put_survives_a_restart(backend: &mut impl Backend<Service = dyn FileStore>) {
    let files = fresh(&backend.service().await);
    let namespace = files.namespace().clone();
    let stored = files.put("a/b", "content").await.expect("the put");
    drop(files);
    backend.reopen().await;
    let files = Files::new(backend.service().await, namespace);
    let object = files.get("a/b").await.expect("the file");
    assert_eq!(object.meta().etag, stored.etag);
    assert_eq!(object.bytes().await.expect("its content"), "content");
    assert_eq!(names(&files, "").await.expect("a listing"), ["a/b"]);
    clear(&files).await.expect("the case leaves nothing");
}

/// What signed requests do is asked of real servers, which answer HTTP.
pub(super) async fn what_is_not_answered_by_a_server_is_not_signed_in_advance(files: Files) -> Result<()> {
    let key = files.key("a")?;
    for verb in [Verb::Get, Verb::Put] {
        let signed = files.store().presign_with(&key, PresignOptions::new(verb, Duration::from_secs(60))).await;
        if files.store().capabilities().has(PRESIGNED) {
            assert!(signed?.url.starts_with("http"));
            let forever = PresignOptions::new(verb, Duration::from_secs(8 * 86_400));
            assert_eq!(kind(files.store().presign_with(&key, forever).await), Some(ErrorKind::InvalidInput));
        } else {
            assert_eq!(kind(signed), Some(ErrorKind::Unsupported));
        }
    }
    Ok(())
}
