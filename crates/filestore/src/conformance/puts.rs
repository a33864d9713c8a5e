use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use statehouse_core::{ErrorKind, Result};

use super::kit::{kind, names, noise, streamed};
use crate::body::Body;
use crate::digest::Digest;
use crate::files::Files;
use crate::options::PutOptions;
use crate::outcome::Deleted;

/// More than one part on every backend.
pub(super) const PARTS: usize = 20 << 20;

/// Content, length, digest, content type and user metadata come back as they were given.
pub(super) async fn a_file_reads_back_with_its_metadata(files: Files) -> Result<()> {
    let content = noise(4096, 1);
    let put = files.put("p42/chest.dcm", content.clone()).content_type("application/dicom");
    let stored = put.metadata("patient", "Zoë 100 %").metadata("ward", " 7 ").await?;
    assert_eq!((stored.len, stored.sha256), (4096, Some(Digest::of(&content))));
    let object = files.get("p42/chest.dcm").await?;
    let meta = object.meta().clone();
    assert_eq!(object.range(), &(0..4096));
    assert_eq!(object.bytes().await?, content);
    assert_eq!(files.head("p42/chest.dcm").await?, meta);
    assert_eq!((meta.len, &meta.etag, meta.sha256), (4096, &stored.etag, stored.sha256));
    assert_eq!(files.name(&meta.key), Some("p42/chest.dcm"));
    assert_eq!(meta.content_type.as_deref(), Some("application/dicom"));
    let user: Vec<_> = meta.user.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(user, [("patient", "Zoë 100 %"), ("ward", " 7 ")]);
    assert!(meta.modified.as_micros() > 1_600_000_000_000_000, "{:?}", meta.modified);
    Ok(())
}

/// A file may have no content.
pub(super) async fn an_empty_file_is_a_file(files: Files) -> Result<()> {
    files.put("empty", "").await?;
    files.put("empty-stream", streamed(&Bytes::new(), 1)).await?;
    for name in ["empty", "empty-stream"] {
        assert_eq!(files.get(name).bytes().await?, "");
        let meta = files.head(name).await?;
        assert_eq!((meta.len, meta.sha256), (0, Some(Digest::of(b""))));
        assert!(files.get(name).stream().await?.next().await.is_none_or(|piece| piece.is_ok_and(|p| p.is_empty())));
    }
    Ok(())
}

/// Nothing of the old file stays.
pub(super) async fn a_put_replaces_the_file_and_its_metadata(files: Files) -> Result<()> {
    files.put("a", noise(100_000, 1)).content_type("text/plain").metadata("old", "yes").await?;
    files.put("a", "new").metadata("new", "yes").await?;
    let object = files.get("a").await?;
    assert_eq!(object.meta().user.keys().collect::<Vec<_>>(), ["new"]);
    assert_ne!(object.meta().content_type.as_deref(), Some("text/plain"));
    assert_eq!(object.bytes().await?, "new");
    Ok(())
}

/// A stream needs no length.
pub(super) async fn a_stream_of_unknown_length_reads_back(files: Files) -> Result<()> {
    let content = noise(1_000_003, 2);
    let stored = files.put("stream", streamed(&content, 10_007)).content_type("a/b").await?;
    assert_eq!((stored.len, stored.sha256), (1_000_003, Some(Digest::of(&content))));
    assert_eq!(files.head("stream").await?.content_type.as_deref(), Some("a/b"));
    assert_eq!(files.get("stream").bytes().await?, content);
    Ok(())
}

/// Of a web framework's form, for example, whose fields borrow from the request.
pub(super) async fn a_stream_that_borrows_is_stored_as_it_comes(files: Files) -> Result<()> {
    let content = noise(300_000, 12);
    let borrowed = || futures_util::stream::iter(content.chunks(7_001)).map(|piece| Ok::<_, &str>(piece.to_vec()));
    let stored = files.put_stream("a", borrowed()).max_len(300_000).await?;
    assert_eq!((stored.len, stored.sha256), (300_000, Some(Digest::of(&content))));
    assert_eq!(files.get("a").bytes().await?, content);
    let failing = borrowed().take(9).chain(futures_util::stream::iter([Err("the client went away")]));
    assert_eq!(kind(files.put_stream("b", failing).await), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(files.put_stream("b", borrowed()).max_len(299_999).await), Some(ErrorKind::TooLarge));
    assert!(!files.exists("b").await?);
    Ok(())
}

/// A file too long for one request is one file.
pub(super) async fn a_file_in_parts_reads_back_with_its_digest(files: Files) -> Result<()> {
    let content = noise(PARTS + 1, 3);
    for (name, body) in [("known", Body::from(content.clone())), ("unknown", streamed(&content, 300_001))] {
        let stored = files.put(name, body).metadata("n", name).await?;
        assert_eq!((stored.len, stored.sha256), (content.len() as u64, Some(Digest::of(&content))), "{name}");
        let meta = files.head(name).await?;
        assert_eq!((&meta.etag, meta.sha256, meta.len), (&stored.etag, stored.sha256, stored.len), "{name}");
        assert_eq!(meta.user["n"], name);
        assert_eq!(files.get(name).bytes().await?, content, "{name}");
        assert_eq!(files.get(name).range(9_000_000..9_000_100).bytes().await?, content[9_000_000..9_000_100]);
        let copied = files.copy(name, "copy").await?;
        assert_eq!((copied.len, copied.sha256), (stored.len, stored.sha256), "{name}");
        assert_eq!(files.delete(name).await?, Deleted::Removed);
        assert_eq!(files.get("copy").bytes().await?, content, "the copy needs nothing of the original");
    }
    Ok(())
}

/// Digest, declared length, maximum length and the stream's own success are all required.
pub(super) async fn a_broken_promise_about_the_body_leaves_nothing(files: Files) -> Result<()> {
    let content = noise(5000, 4);
    let body = || streamed(&content, 1000);
    let wrong = Digest::of(b"other");
    let invalid = Some(ErrorKind::InvalidInput);
    assert_eq!(kind(files.put("a", content.clone()).expect_sha256(wrong).await), invalid);
    assert_eq!(kind(files.put("a", body()).expect_sha256(wrong).await), invalid);
    assert_eq!(kind(files.put("a", body().with_len(4999)).await), invalid);
    assert_eq!(kind(files.put("a", body().with_len(5001)).await), invalid);
    assert_eq!(kind(files.put("a", Body::from(content.clone()).with_len(4999)).await), invalid);
    assert_eq!(kind(files.put("a", content.clone()).max_len(4999).await), Some(ErrorKind::TooLarge));
    assert_eq!(kind(files.put("a", body()).max_len(4999).await), Some(ErrorKind::TooLarge));
    let failing = futures_util::stream::iter([Ok(content.clone()), Err("the client went away")]);
    assert_eq!(kind(files.put("a", Body::from_stream(failing)).await), invalid);
    assert!(!files.exists("a").await?);
    let digest = Digest::of(&content);
    files.put("a", body().with_len(5000)).expect_sha256(digest).max_len(5000).await?;
    assert_eq!(files.get("a").bytes().await?, content);
    Ok(())
}

/// The parts of a put that failed are not seen, and the old file stays.
pub(super) async fn a_stream_that_fails_in_a_late_part_leaves_the_old_file(files: Files) -> Result<()> {
    files.put("a", "old").await?;
    let content = noise(PARTS, 5);
    let failing = futures_util::stream::iter([Ok(content.clone()), Err("the client went away")]);
    assert_eq!(kind(files.put("a", Body::from_stream(failing)).await), Some(ErrorKind::InvalidInput));
    let wrong = Digest::of(b"other");
    let put = files.put("a", streamed(&content, 1 << 20)).expect_sha256(wrong);
    assert_eq!(kind(put.await), Some(ErrorKind::InvalidInput));
    assert_eq!(files.get("a").bytes().await?, "old");
    assert_eq!(names(&files, "").await?, ["a"]);
    Ok(())
}

/// A put whose future is dropped while its stream goes on never becomes visible.
pub(super) async fn a_dropped_put_leaves_nothing(files: Files) -> Result<()> {
    for len in [1000, PARTS] {
        let begin = futures_util::stream::iter([Ok::<_, std::io::Error>(noise(len, 6))]);
        let (reached, mut waiting) = tokio::sync::oneshot::channel();
        let stall = futures_util::stream::once(async move {
            let _ = reached.send(());
            std::future::pending().await
        });
        let mut put = Box::pin(files.put("a", Body::from_stream(begin.chain(stall))).into_future());
        tokio::select! {
            biased;
            _ = &mut put => panic!("a put whose stream goes on must not end"),
            _ = &mut waiting => {}
        }
        drop(put);
        assert!(!files.exists("a").await?);
    }
    assert_eq!(names(&files, "").await?, Vec::<String>::new());
    Ok(())
}

/// Names and options are checked before anything is sent or written.
pub(super) async fn options_that_no_backend_takes_are_refused(files: Files) -> Result<()> {
    let invalid = Some(ErrorKind::InvalidInput);
    for name in ["", "..", "a/../b", "../x", "a\0", "a\nb", "/a", "a/", "a//b", &"x".repeat(256), &"x/".repeat(2500)] {
        assert_eq!(kind(files.put(name, "x").await), invalid, "{name:?}");
        assert_eq!(kind(files.get(name).await), invalid, "{name:?}");
        assert_eq!(kind(files.head(name).await), invalid, "{name:?}");
        assert_eq!(kind(files.delete(name).await), invalid, "{name:?}");
        assert_eq!(kind(files.copy(name, "a").await), invalid, "{name:?}");
    }
    assert_eq!(kind(files.put("a", "x").content_type("text/plain\r\nx-amz-acl: public-read").await), invalid);
    assert_eq!(kind(files.put("a", "x").metadata("Bad Name", "x").await), invalid);
    assert_eq!(kind(files.put("a", "x").metadata("a", "x".repeat(1536)).await), invalid);
    let pairs = (0..65).fold(PutOptions::default(), |options, n| options.with_metadata(format!("n{n}"), "x"));
    assert_eq!(kind(files.store().put_with(&files.key("a")?, "x".into(), pairs).await), invalid);
    assert_eq!(kind(files.list("").after("a\nb").await), invalid);
    assert_eq!(kind(files.list("").after("x".repeat(401)).await), invalid);
    assert_eq!(kind(files.get("a").range(3..3).await), invalid);
    assert_eq!(kind(files.list("").limit(0).await), invalid);
    assert_eq!(kind(files.list("").limit(1001).await), invalid);
    let options = PutOptions::default().with_metadata("statehouse-put", "x");
    assert_eq!(kind(files.store().put_with(&files.key("a")?, "x".into(), options).await), invalid);
    assert!(!files.exists("a").await?);
    Ok(())
}

/// Whatever the content's length: in one request, and in parts.
pub(super) async fn the_most_metadata_there_may_be_reads_back(files: Files) -> Result<()> {
    let mut pairs =
        vec![("-", ""), ("-a-", " "), ("0", "  a  b "), ("content-type", "%41+é"), ("e", "\u{10ffff}\u{ad}")];
    let names: Vec<_> = (0..64 - pairs.len()).map(|n| format!("n{n}")).collect();
    pairs.extend(names.iter().map(|name| (name.as_str(), "v")));
    let expected: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let kind = "x/".to_owned() + &"y".repeat(253);
    for (name, len) in [("a", 1), ("b", 9 << 20)] {
        let body = Body::from(vec![7; len]);
        let put = pairs.iter().fold(files.put(name, body), |put, (name, value)| put.metadata(*name, *value));
        put.content_type(&kind).await?;
        files.copy(name, "copy").await?;
        for name in [name, "copy"] {
            let meta = files.head(name).await?;
            assert_eq!((&meta.user, meta.content_type.as_deref()), (&expected, Some(kind.as_str())), "{name}: {len}");
            assert_eq!(files.get(name).range(..1).await?.meta().user, expected);
        }
    }
    Ok(())
}

/// A copy is a file of its own.
pub(super) async fn a_copy_keeps_content_and_metadata(files: Files) -> Result<()> {
    let stored = files.put("a", "content").content_type("text/plain").metadata("n", "é").await?;
    let copied = files.copy("a", "b/c").await?;
    assert_eq!((copied.len, copied.sha256), (7, stored.sha256));
    files.put("a", "changed").await?;
    let object = files.get("b/c").await?;
    let meta = object.meta();
    assert_eq!((&meta.etag, meta.sha256), (&copied.etag, stored.sha256));
    assert_eq!((meta.content_type.as_deref(), meta.user["n"].as_str()), (Some("text/plain"), "é"));
    assert_eq!(object.bytes().await?, "content");
    files.copy("a", "b/c").await?;
    assert_eq!(files.get("b/c").bytes().await?, "changed", "a copy replaces its target");
    Ok(())
}

/// Delete is idempotent and says what it found.
pub(super) async fn deleting_a_missing_file_is_ok(files: Files) -> Result<()> {
    assert_eq!(files.delete("a/b/c").await?, Deleted::Absent);
    files.put("a/b/c", "x").await?;
    assert_eq!(files.delete("a/b").await?, Deleted::Absent);
    assert_eq!(files.delete("a/b/c").await?, Deleted::Removed);
    assert_eq!(files.delete("a/b/c").await?, Deleted::Absent);
    assert!(!files.exists("a/b/c").await?);
    files.put("a/b/c", "again").await?;
    assert_eq!(files.get("a/b/c").bytes().await?, "again");
    Ok(())
}

/// And nothing becomes visible: the error says so.
pub(super) async fn a_put_whose_source_is_silent_ends_by_its_deadline(files: Files) -> Result<()> {
    for begun in [5, PARTS] {
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(noise(begun, 3))]);
        let silent = begun.chain(futures_util::stream::pending());
        let put = files.put("a", Body::from_stream(silent)).deadline(Duration::from_millis(300));
        assert_eq!(kind(put.await), Some(ErrorKind::Timeout));
        assert!(!files.exists("a").await?);
    }
    // One that always has another piece, with nothing in it, until the test has waited for too long.
    let end = std::time::Instant::now() + Duration::from_secs(30);
    let more = move |()| (std::time::Instant::now() < end).then_some(Bytes::new()).ok_or_else(too_late);
    let empty = futures_util::stream::repeat(()).map(more);
    let put = files.put("a", Body::from_stream(empty)).deadline(Duration::from_millis(300));
    assert_eq!(kind(put.await), Some(ErrorKind::Timeout));
    assert!(!files.exists("a").await?);
    Ok(())
}

fn too_late() -> std::io::Error {
    std::io::Error::other("the put did not end by its deadline")
}

/// Each verb takes one.
pub(super) async fn a_call_that_is_in_time_is_not_ended_by_its_deadline(files: Files) -> Result<()> {
    // The last is later than any clock can say.
    for soon in [Duration::from_secs(60), Duration::MAX] {
        files.put("a", "x").deadline(soon).await?;
        files.put("b", streamed(&noise(5000, 1), 999)).deadline(soon).await?;
        assert_eq!(files.get("a").deadline(soon).bytes().await?, "x");
        assert_eq!(files.copy("a", "c").deadline(soon).await?.len, 1);
        assert_eq!(files.list("").deadline(soon).await?.entries.len(), 3);
        assert_eq!(files.head("a").deadline(soon).await?.len, 1);
        assert_eq!(files.delete("a").deadline(soon).await?, Deleted::Removed);
    }
    Ok(())
}
