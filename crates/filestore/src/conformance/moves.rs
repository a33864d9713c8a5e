//! Renames, and deletes of many files.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::try_join_all;
use statehouse_core::{ErrorKind, Result};

use super::kit::{done, kind, names};
use crate::capability::DELETE_IF_MATCH;
use crate::files::Files;
use crate::outcome::PutOutcome;

/// Whatever has the new name is replaced. To its own name it stays as it is.
pub(super) async fn a_renamed_file_keeps_all_but_its_name(files: Files) -> Result<()> {
    let stored = files.put("a", "content").content_type("text/plain").metadata("n", "é").await?;
    files.put("b/c", "replaced").await?;
    let renamed = files.rename("a", "b/c").await?;
    assert_eq!((renamed.len, renamed.sha256), (7, stored.sha256));
    assert_eq!(names(&files, "").await?, ["b/c"]);
    let meta = files.head("b/c").await?;
    assert_eq!((&meta.etag, meta.sha256), (&renamed.etag, stored.sha256));
    assert_eq!((meta.content_type.as_deref(), meta.user["n"].as_str()), (Some("text/plain"), "é"));
    assert_eq!(files.get("b/c").bytes().await?, "content");
    let error = files.rename("absent", "b/c").await.expect_err("there is nothing");
    assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("absent")));
    assert_eq!(kind(files.rename("b/c", "../c").await), Some(ErrorKind::InvalidInput));
    let same = files.rename("b/c", "b/c").await?;
    assert_eq!((same.etag, files.get("b/c").bytes().await?), (renamed.etag, Bytes::from("content")));
    Ok(())
}

/// One that does not hold changes nothing.
pub(super) async fn a_conditional_rename_needs_its_target_as_expected(files: Files) -> Result<()> {
    files.put("a", "content").await?;
    let other = files.put("b", "other").await?.etag;
    assert_eq!(files.rename("a", "b").if_absent().await?, PutOutcome::Conflict);
    assert_eq!(files.rename("a", "b").if_match(&files.head("a").await?.etag).await?, PutOutcome::Conflict);
    assert_eq!(files.rename("a", "c").if_match(&other).await?, PutOutcome::Conflict);
    assert_eq!(files.rename("a", "a").if_absent().await?, PutOutcome::Conflict);
    assert_eq!(files.rename("a", "a").if_match(&other).await?, PutOutcome::Conflict);
    assert_eq!(names(&files, "").await?, ["a", "b"]);
    assert_eq!((files.get("a").bytes().await?, files.get("b").bytes().await?), ("content".into(), "other".into()));
    assert_eq!(done(files.rename("a", "b").if_match(&other).await?).len, 7);
    assert_eq!(done(files.rename("b", "c").if_absent().await?).len, 7);
    assert_eq!(names(&files, "").await?, ["c"]);
    Ok(())
}

/// Before anything is copied.
pub(super) async fn a_rename_that_could_delete_another_state_is_refused(files: Files) -> Result<()> {
    files.put("a", "content").await?;
    let renamed = files.rename("a", "b").await;
    if files.store().capabilities().has(DELETE_IF_MATCH) {
        assert_eq!((renamed?.len, names(&files, "").await?), (7, vec!["b".to_owned()]));
    } else {
        assert_eq!(kind(renamed), Some(ErrorKind::Unsupported));
        assert_eq!(names(&files, "").await?, ["a"]);
    }
    Ok(())
}

/// Beyond a page of a listing, and beside what does not begin so.
pub(super) async fn many_files_are_deleted_and_no_others(files: Files) -> Result<()> {
    let many: Vec<_> = (0..1100).map(|n| format!("p/{n:04}")).collect();
    for some in many.chunks(50) {
        try_join_all(some.iter().map(|name| files.put(name, "x").into_future())).await?;
    }
    for name in ["o/1", "p", "p0", "q/1"] {
        files.put(name, "stays").await?;
    }
    let seen = AtomicU64::new(0);
    let progress = |done| assert_eq!(seen.fetch_add(1, Ordering::Relaxed) + 1, done);
    let gone = files.delete_prefix("p/").progress(progress).await?;
    assert_eq!((gone.removed, gone.absent, gone.failed, seen.load(Ordering::Relaxed)), (1100, 0, 0, 1100));
    assert_eq!(names(&files, "").await?, ["o/1", "p", "p0", "q/1"]);
    let gone = files.delete_many(["q/1", "../etc", "q/2", "o/1"]).await?;
    assert_eq!((gone.removed, gone.absent, gone.failed), (2, 1, 1));
    let failures: Vec<_> = gone.failures.iter().map(|(name, error)| (name.as_str(), error.kind())).collect();
    assert_eq!(failures, [("../etc", ErrorKind::InvalidInput)]);
    assert_eq!(names(&files, "").await?, ["p", "p0"]);
    let gone = files.delete_prefix("").await?;
    assert_eq!((gone.removed, names(&files, "").await?), (2, Vec::<String>::new()));
    Ok(())
}
