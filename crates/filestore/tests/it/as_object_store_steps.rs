//! Files handed out as an `object_store`, and what happens between the steps of a call there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, RenameOptions, RenameTargetMode,
};
use statehouse_core::{ErrorKind, Retry};

use crate::as_object_store::Backend;
use crate::steps::{Step, nothing, with};

/// Another write of the file is under way, as S3 says it, that many times.
fn in_the_way(times: usize) -> Step {
    let left = Arc::new(AtomicUsize::new(times));
    Box::new(move || {
        let is_left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let error = statehouse_core::Error::new(ErrorKind::Conflict, "another write is under way");
        Box::pin(async move { if is_left { Err(error.with_retry(Retry::Now)) } else { Ok(()) } })
    })
}

#[tokio::test(start_paused = true)]
async fn what_others_were_in_the_way_of_is_done_again() {
    let files = Backend::memory().await.files;
    let old = files.put("a", "old").await.unwrap();
    let [a, b, c] = ["a", "b", "c"].map(Path::from);
    let contended = |operation| with(&files, operation, in_the_way(2), nothing()).into_object_store();
    let version = || object_store::UpdateVersion { e_tag: Some(old.etag.to_string()), version: None };
    contended("filestore.put").put_opts(&a, "new".into(), PutMode::Update(version()).into()).await.unwrap();
    contended("filestore.put").put_opts(&b, "b".into(), PutMode::Create.into()).await.unwrap();
    let create = || CopyOptions::new().with_mode(CopyMode::Create);
    contended("filestore.copy").copy_opts(&a, &c, create()).await.unwrap();
    let create = || RenameOptions::new().with_target_mode(RenameTargetMode::Create);
    for (operation, to) in [("filestore.copy", "d"), ("filestore.delete", "e")] {
        files.put("from", operation).await.unwrap();
        contended(operation).rename_opts(&Path::from("from"), &Path::from(to), create()).await.unwrap();
        assert_eq!(
            (files.get(to).bytes().await.unwrap(), files.exists("from").await.unwrap()),
            (operation.into(), false)
        );
    }
    for (name, content) in [("a", "new"), ("b", "b"), ("c", "new")] {
        assert_eq!(files.get(name).bytes().await.unwrap(), content);
    }
}

/// What object stores say then, as far as it is known to be true.
#[tokio::test(start_paused = true)]
async fn what_others_are_in_the_way_of_for_ever_is_told_by_what_is_there() {
    let files = Backend::memory().await.files;
    let etag = files.put("a", "old").await.unwrap().etag.to_string();
    let [a, b] = ["a", "b"].map(Path::from);
    let contended = |operation| with(&files, operation, in_the_way(usize::MAX), nothing()).into_object_store();
    let version = |e_tag: &str| object_store::UpdateVersion { e_tag: Some(e_tag.to_owned()), version: None };
    let name = |error: Error| format!("{error:?}").split([' ', '(']).next().unwrap().to_owned();
    for (path, mode, expected) in [
        (&a, PutMode::Overwrite, "Generic"),
        (&a, PutMode::Create, "AlreadyExists"),
        (&a, PutMode::Update(version(&etag)), "Generic"),
        (&a, PutMode::Update(version("\"other\"")), "Precondition"),
        (&b, PutMode::Update(version(&etag)), "Precondition"),
    ] {
        let error = contended("filestore.put").put_opts(path, "x".into(), mode.clone().into()).await.unwrap_err();
        assert_eq!(name(error), expected, "{path}, {mode:?}");
    }
    let create = || CopyOptions::new().with_mode(CopyMode::Create);
    for (path, expected) in [(&b, "Generic"), (&a, "AlreadyExists")] {
        assert_eq!(name(contended("filestore.copy").copy_opts(&a, path, create()).await.unwrap_err()), expected);
    }
    let create = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
    let error = contended("filestore.delete").rename_opts(&a, &b, create).await.unwrap_err();
    assert_eq!(name(error), "Generic", "what has the new name is its own copy");
}

#[tokio::test]
async fn a_store_that_takes_no_such_etag_is_not_asked_for_ever() {
    let files = Backend::memory().await.files;
    let etag = files.put("a", "content").await.unwrap().etag;
    let gets = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&gets);
    let refuses: Step = Box::new(move || {
        assert!(asked.fetch_add(1, Ordering::Relaxed) < 100, "it is asked for ever");
        Box::pin(async { Err(statehouse_core::Error::new(ErrorKind::Conflict, "no such etag")) })
    });
    let store = with(&files, "filestore.get", refuses, nothing()).into_object_store();
    let wanted = GetOptions::new().with_if_match(Some(format!("{etag}, \"other\"")));
    let error = store.get_opts(&Path::from("a"), wanted).await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
    assert_eq!(gets.load(Ordering::Relaxed), 2);
}

/// By one of the others that are expected, each time; the etags of this store are numbers in quotes.
#[tokio::test]
async fn a_file_that_is_replaced_each_time_is_not_looked_at_for_ever() {
    let files = Backend::wrapped().await.files;
    files.put("a", "content").await.unwrap();
    let rounds = Arc::new(AtomicUsize::new(0));
    let (replaced, other) = (Arc::clone(&rounds), files.clone());
    let replaces: Step = Box::new(move || {
        let (round, files) = (replaced.fetch_add(1, Ordering::Relaxed), other.clone());
        assert!(round < 100, "it is looked at for ever");
        Box::pin(async move { files.put("a", format!("{round}")).await.map(drop) })
    });
    let store = with(&files, "filestore.get", replaces, nothing()).into_object_store();
    let all: Vec<_> = (0..1000).map(|etag| format!("\"{etag}\"")).collect();
    let wanted = GetOptions::new().with_if_match(Some(all.join(", ")));
    let error = store.get_opts(&Path::from("a"), wanted).await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error}");
    assert_eq!(rounds.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn an_upload_that_has_ended_is_nothing_that_the_store_lacks() {
    let (files, path) = (Backend::memory().await.files, Path::from("a"));
    let never: Step = Box::new(|| Box::pin(std::future::pending()));
    let mut upload =
        with(&files, "filestore.put", never, nothing()).into_object_store().put_multipart(&path).await.unwrap();
    let part = upload.put_part("part".into());
    upload.abort().await.unwrap();
    let error = part.await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error}");
    let refuses: Step = Box::new(|| Box::pin(async { Err(statehouse_core::Error::invalid_input("it was dropped")) }));
    let mut upload =
        with(&files, "filestore.put", refuses, nothing()).into_object_store().put_multipart(&path).await.unwrap();
    for error in [upload.put_part("part".into()).await.unwrap_err(), upload.complete().await.unwrap_err()] {
        assert!(matches!(error, Error::Generic { .. }), "{error}");
    }
}
