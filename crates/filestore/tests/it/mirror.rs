//! Files that are mirrored to another store while both are written, and files that are checked.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use statehouse_core::conformance::rounds;
use statehouse_core::layer::{Faults, Layer};
use statehouse_core::{Error, ErrorKind, Namespace, Result};
use statehouse_filestore::{
    Body, FileStore, Files, LayeredFileStore, LocalFileStore, MemoryFileStore, Meta, ObjectConfig, ObjectFileStore,
};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::{config, files};
use crate::steps::{Only, Step, every_backend, fails, nothing, with};

const DAY: Duration = Duration::from_secs(86_400);

fn memory() -> Files {
    Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap())
}

async fn disk(at: &std::path::Path) -> Files {
    Files::new(Arc::new(LocalFileStore::open(at).await.unwrap()), Namespace::new("n").unwrap())
}

pub(crate) async fn names(files: &Files) -> Vec<String> {
    let entries: Vec<_> = files.list("").stream().try_collect().await.unwrap();
    entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()).collect()
}

async fn read(files: &Files, name: &str) -> Option<String> {
    let read = files.get(name).bytes().await;
    read.ok().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// What goes along: all but what is the store's.
type Kept = (u64, Option<String>, [Option<String>; 3], Vec<(String, String)>, bool);

fn kept(meta: Meta) -> Kept {
    let headers = [meta.content_type, meta.content_disposition, meta.cache_control];
    let digest = meta.sha256.map(|digest| digest.to_string());
    (meta.len, digest, headers, meta.user.into_iter().collect(), meta.expires.is_some())
}

pub(crate) async fn assert_equal(from: &Files, to: &Files) {
    let all = names(from).await;
    assert_eq!(all, names(to).await, "{to:?}");
    for name in all {
        let (here, there) = (from.head(&name).await.unwrap(), to.head(&name).await.unwrap());
        assert_eq!(kept(here), kept(there), "{name} in {to:?}");
        let content = async |files: &Files| files.get(&name).await.unwrap().verify_sha256().bytes().await.unwrap();
        assert_eq!(content(from).await, content(to).await, "{name} in {to:?}");
    }
}

/// Long ones go in parts.
async fn fill(files: &Files) {
    files.put("empty", "").await.unwrap();
    files.put("p/plain", "content").await.unwrap();
    files.put("p/Ä é", "content").content_type("text/plain").metadata("who", "Ärztin").await.unwrap();
    let described = files.put("p/described", "DICM").content_disposition("attachment; filename=\"a.dcm\"");
    described.cache_control("private, max-age=60").content_type("application/dicom").await.unwrap();
    files.put("q/for a day", "content").time_to_live(DAY).await.unwrap();
    let pieces = (0_u8..18).map(|n| Ok::<_, std::io::Error>(vec![n; 1 << 20]));
    files.put("q/long", Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_the_same_in_content_and_metadata_and_made_again_reads_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let backends = every_backend(directory.path()).await;
    fill(&backends[0]).await;
    // From memory to the disk, from there to S3, and back.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let (from, to) = (&backends[from], &backends[to]);
        let _gone = to.delete_prefix("").await.unwrap();
        let done = from.mirror_to(to).await.unwrap();
        assert_eq!((done.files, done.copied, done.failed), (6, 6, 0), "{done:?}");
        assert_eq!((done.bytes, done.undigested), ((18 << 20) + 25, 0));
        assert_equal(from, to).await;
        let [here, there] = [from, to].map(|files| async move { files.head("q/for a day").await.unwrap().expires });
        let (here, there) = (here.await.unwrap(), there.await.unwrap());
        let apart = here.since(there).max(there.since(here));
        assert!(apart < Duration::from_secs(1800), "{apart:?}");
        // All that is needed to know that is in the metadata.
        let unread = with(from, "filestore.get", fails(), nothing());
        let again = unread.mirror_to(to).await.unwrap();
        assert_eq!((again.files, again.same, again.failed), (6, 6, 0), "{again:?}");
        assert_eq!(again.last.as_deref(), Some("q/long"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_replaces_what_differs_and_leaves_or_removes_what_is_only_there() {
    let directory = tempfile::tempdir().unwrap();
    for to in every_backend(directory.path()).await {
        let from = memory();
        for name in ["a", "b", "p/c"] {
            from.put(name, name).await.unwrap();
        }
        to.put("a", "another").await.unwrap();
        to.put("b", "b").content_type("text/plain").await.unwrap();
        for name in ["0", "p/z", "q"] {
            to.put(name, "only there").await.unwrap();
        }
        let done = from.mirror_to(&to).await.unwrap();
        assert_eq!((done.files, done.copied, done.others, done.removed), (6, 3, 3, 0), "{done:?}");
        let done = from.mirror_to(&to).prefix("p/").remove_others(true).await.unwrap();
        assert_eq!((done.files, done.same, done.removed), (2, 1, 1), "{done:?}");
        let done = from.mirror_to(&to).after("a").remove_others(true).await.unwrap();
        assert_eq!((done.files, done.removed, names(&to).await.len()), (3, 1, 4), "{done:?}");
        let done = from.mirror_to(&to).remove_others(true).await.unwrap();
        assert_eq!((done.same, done.removed), (3, 1), "{done:?}");
        assert_equal(&from, &to).await;
    }
}

#[tokio::test]
async fn what_has_no_time_left_is_not_copied() {
    let clock = statehouse_core::ManualClock::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let (from, to) = (Files::new(Arc::new(store), Namespace::new("n").unwrap()), memory());
    from.put("over", "content").time_to_live(Duration::from_secs(1)).await.unwrap();
    from.put("kept", "content").await.unwrap();
    clock.advance(Duration::from_secs(2));
    let done = from.mirror_to(&to).await.unwrap();
    assert_eq!((done.copied, done.expired, names(&to).await), (1, 1, vec!["kept".to_owned()]), "{done:?}");
    // What was there before it is none of it.
    to.put("over", "older").await.unwrap();
    let done = from.mirror_to(&to).await.unwrap();
    assert_eq!((done.same, done.others, names(&to).await.len()), (1, 1, 2), "{done:?}");
    let done = from.mirror_to(&to).remove_others(true).await.unwrap();
    assert_eq!((done.removed, names(&to).await), (1, vec!["kept".to_owned()]), "{done:?}");
}

/// That of the host, which says when another's put is over, may be ahead.
#[tokio::test]
async fn what_has_time_left_by_the_clock_of_its_store_is_copied_whatever_the_hosts_says() {
    // It stands at the first of January 2026.
    let store = MemoryFileStore::with_clock(Arc::new(statehouse_core::ManualClock::default()));
    let (from, to) = (Files::new(Arc::new(store), Namespace::new("n").unwrap()), memory());
    from.put("kept", "content").time_to_live(DAY).await.unwrap();
    let done = from.mirror_to(&to).await.unwrap();
    assert_eq!((done.copied, done.expired), (1, 0), "{done:?}");
    assert!(to.head("kept").await.unwrap().expires.is_some());
}

/// Of which the listing is the first step.
#[tokio::test]
async fn a_mirror_that_ends_says_how_far_it_came_and_goes_on_behind_that() {
    let (from, to) = (memory(), memory());
    for n in 0..1500 {
        from.put(format!("{n:04}"), "content").await.unwrap();
    }
    let listed = Arc::new(AtomicUsize::new(0));
    let page = Arc::clone(&listed);
    let before: Step = Box::new(move || match page.fetch_add(1, Ordering::Relaxed) {
        0 => nothing()(),
        _ => fails()(),
    });
    let seen = Mutex::new(Vec::new());
    let cut = with(&from, "filestore.list", before, nothing());
    let mirror = cut.mirror_to(&to).progress(|done| seen.lock().unwrap().push((done.files, done.bytes)));
    let ended = mirror.await.unwrap_err();
    assert_eq!(ended.error().kind(), ErrorKind::Unavailable, "{ended:?}");
    assert_eq!((ended.done().copied, ended.done().last.as_deref()), (1000, Some("0999")));
    assert_eq!(seen.into_inner().unwrap(), (1..=1000).map(|n| (n, n * 7)).collect::<Vec<_>>());
    let reads = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&reads);
    let count: Step = Box::new(move || {
        counts.fetch_add(1, Ordering::Relaxed);
        nothing()()
    });
    let rest = with(&from, "filestore.get", count, nothing());
    let done = rest.mirror_to(&to).after(ended.done().last.clone().unwrap()).await.unwrap();
    assert_eq!((done.copied, reads.load(Ordering::Relaxed)), (500, 500), "{done:?}");
    assert_equal(&from, &to).await;
}

/// The last is one that all before it have ended as well, whatever has ended behind it.
#[tokio::test]
async fn what_ends_behind_a_file_that_takes_long_is_not_the_last() {
    let (from, to) = (memory(), memory());
    for name in ["a", "b", "c", "d", "e", "f"] {
        from.put(name, "content").await.unwrap();
    }
    let (others, first) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let ended = Arc::clone(&others);
    let waits: Step = Box::new(move || {
        let (is_first, ended) = (first.fetch_add(1, Ordering::Relaxed) == 0, Arc::clone(&ended));
        Box::pin(async move {
            if is_first {
                ended.acquire_many(5).await.unwrap().forget();
            }
            Ok(())
        })
    });
    let (slow, lasts) = (with(&from, "filestore.get", waits, nothing()), Mutex::new(Vec::new()));
    let mirror = slow.mirror_to(&to).progress(|done| {
        lasts.lock().unwrap().push(done.last.clone());
        others.add_permits(1);
    });
    assert_eq!(mirror.await.unwrap().copied, 6);
    let (last, before) = (Some("f".to_owned()), vec![None; 5]);
    assert_eq!(lasts.into_inner().unwrap(), [before, vec![last]].concat());
}

/// The content is changed below the store: its digest is not.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_not_copied_and_told_by_a_mirror_and_by_a_check() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("from");
    let from = disk(&root).await;
    for name in ["a", "b", "c"] {
        from.put(name, vec![7; 300_000]).await.unwrap();
    }
    let path = root.join("n+/b");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let targets = every_backend(&directory.path().join("to")).await;
    for to in &targets {
        to.put("b", "whole").await.unwrap();
        let done = from.mirror_to(to).remove_others(true).await.unwrap();
        let told: Vec<_> = done.failures.iter().map(|(name, error)| (name.as_str(), error.kind())).collect();
        assert_eq!((done.copied, done.failed, told), (2, 1, vec![("b", ErrorKind::Corrupt)]), "{done:?}");
        assert_eq!((names(to).await.len(), read(to, "b").await.as_deref()), (3, Some("whole")), "{to:?}");
        assert_eq!(to.check().await.unwrap().damaged, 0);
    }
    let checked = from.check().await.unwrap();
    let told: Vec<_> = checked.failures.iter().map(|(name, error)| (name.as_str(), error.kind())).collect();
    assert_eq!((checked.files, checked.bytes, checked.damaged, checked.failed), (3, 600_000, 1, 0), "{checked:?}");
    assert_eq!((told, checked.last.as_deref()), (vec![("b", ErrorKind::Corrupt)], Some("c")));
    let rest = from.check().after("b").await.unwrap();
    assert_eq!((rest.files, rest.damaged), (1, 0), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_digest_is_counted_apart_and_a_store_that_decides_nothing_is_refused() {
    let inner = Arc::new(object_store::memory::InMemory::new());
    let store = ObjectFileStore::open(Arc::clone(&inner) as _, ObjectConfig::default()).await.unwrap();
    let plain = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    let path = object_store::path::Path::from("n/foreign");
    object_store::ObjectStoreExt::put(&*inner, &path, "content".into()).await.unwrap();
    plain.put("own", "content").await.unwrap();
    let checked = plain.check().await.unwrap();
    assert_eq!((checked.files, checked.bytes, checked.undigested), (2, 14, 1), "{checked:?}");
    let to = memory();
    let done = plain.mirror_to(&to).await.unwrap();
    assert_eq!((done.copied, done.undigested, names(&to).await.len()), (2, 1, 2), "{done:?}");
    let refused = to.mirror_to(&plain).await.unwrap_err();
    assert_eq!((refused.error().kind(), refused.done().files), (ErrorKind::Unsupported, 0), "{refused}");
    assert_eq!(refused.into_error().kind(), ErrorKind::Unsupported);
}

/// A store that is well and refuses a file is of that file; its names without end are not kept.
#[tokio::test(start_paused = true)]
async fn of_files_that_fail_all_are_counted_and_the_first_hundred_told() {
    let (from, to) = (memory(), memory());
    for n in 0..150 {
        from.put(format!("{n:03}"), "content").await.unwrap();
    }
    let refuses =
        LayeredFileStore::new(Arc::clone(to.store()), Only("filestore.put", Faults::seeded(1).with_refused_calls(1.0)));
    let refuses = Files::new(Arc::new(refuses), to.namespace().clone());
    let done = from.mirror_to(&refuses).await.unwrap();
    assert_eq!((done.files, done.failed, done.failures.len()), (150, 150, 100), "{done:?}");
    assert_eq!(done.last.as_deref(), Some("149"));
    let reads = with(&from, "filestore.get", fails(), nothing());
    let checked = reads.check().await.unwrap();
    assert_eq!((checked.failed, checked.damaged, checked.failures.len()), (150, 0, 100), "{checked:?}");
    // Where every other is refused, they are tried until they are not.
    let some =
        LayeredFileStore::new(Arc::clone(to.store()), Only("filestore.put", Faults::seeded(1).with_lost_answers(0.5)));
    let done = from.mirror_to(&Files::new(Arc::new(some), to.namespace().clone())).await.unwrap();
    assert_eq!((done.failed, done.copied + done.same), (0, 150), "{done:?}");
    assert_equal(&from, &to).await;
}

/// The server is cut off on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_ends_a_mirror_and_when_it_is_back_the_rest_is_copied() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let (from, to) = (memory(), files(ObjectFileStore::open_s3(config).await.unwrap()));
    for n in 0..100 {
        from.put(format!("{n:03}"), "content").await.unwrap();
    }
    let mirror = from.mirror_to(&to).progress(|done| {
        if done.files == 50 {
            proxy.cut();
        }
    });
    let ended = mirror.await.unwrap_err();
    assert_eq!(ended.error().kind(), ErrorKind::Unavailable, "{ended:?}");
    let (copied, last) = (ended.done().copied, ended.done().last.clone().unwrap());
    assert!((50..60).contains(&copied) && ended.done().failed == 0, "{:?}", ended.done());
    assert_eq!(to.check().await.unwrap_err().error().kind(), ErrorKind::Unavailable);
    proxy.heal();
    let done = from.mirror_to(&to).after(last).await.unwrap();
    assert!(done.copied >= 96 - copied && done.failed == 0, "{done:?}");
    assert_equal(&from, &to).await;
}

/// Does this once, and then nothing.
fn once(step: impl Fn() -> BoxFuture<'static, Result<()>> + Send + Sync + 'static) -> Step {
    let done = AtomicUsize::new(0);
    Box::new(move || match done.fetch_add(1, Ordering::Relaxed) {
        0 => step(),
        _ => nothing()(),
    })
}

/// What the application does, in each store in this order.
fn app<F>(from: &Files, to: &Files, does: fn(Files, Files) -> F) -> Step
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (from, to) = (from.clone(), to.clone());
    once(move || Box::pin(does(from.clone(), to.clone())))
}

fn expects(files: &Files, content: Option<&'static str>) -> Step {
    let files = files.clone();
    once(move || {
        let files = files.clone();
        Box::pin(async move {
            assert_eq!(read(&files, "a").await.as_deref(), content, "{files:?}");
            Ok(())
        })
    })
}

async fn put_both(from: Files, to: Files) -> Result<()> {
    from.put("a", "new").await?;
    to.put("a", "new").await.map(drop)
}

async fn delete_both(from: Files, to: Files) -> Result<()> {
    from.delete("a").await?;
    to.delete("a").await.map(drop)
}

/// Each backend as the source, and as the target.
async fn pairs(root: &std::path::Path) -> Vec<(Files, Files)> {
    let backends = every_backend(root).await;
    backends.into_iter().flat_map(|files| [(memory(), files.clone()), (files, memory())]).collect()
}

async fn clear(from: &Files, to: &Files) {
    for files in [from, to] {
        assert_eq!(files.delete_prefix("").await.unwrap().failed, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_in_both_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        from.put("a", "old").await.unwrap();
        // Read already, and not yet put.
        let slow = with(&from, "filestore.get", nothing(), app(&from, &to, delete_both));
        let done = slow.mirror_to(&to).await.unwrap();
        assert_eq!((done.files, done.gone, done.failed), (1, 1, 0), "{done:?}");
        assert_eq!(read(&to, "a").await, None, "{to:?}");
        // Here already, and there only once it was looked for.
        from.put("a", "old").await.unwrap();
        let slow = with(
            &from,
            "filestore.head",
            app(&from, &to, |from, _| async move { from.delete("a").await.map(drop) }),
            nothing(),
        );
        let done = slow.mirror_to(&to).await.unwrap();
        assert_eq!((done.files, done.gone, read(&to, "a").await), (1, 1, None), "{done:?}");
        clear(&from, &to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_newer_there_is_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        for before in [None, Some("older")] {
            from.put("a", "old").await.unwrap();
            if let Some(before) = before {
                to.put("a", before).await.unwrap();
            }
            let slow = with(&from, "filestore.get", nothing(), app(&from, &to, put_both));
            let looked = with(&to, "filestore.put", nothing(), expects(&to, Some("new")));
            let done = slow.mirror_to(&looked).await.unwrap();
            assert_eq!((done.files, done.same, done.failed), (1, 1, 0), "{done:?}");
            assert_eq!(read(&to, "a").await.as_deref(), Some("new"));
            clear(&from, &to).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_replaced_here_while_it_is_copied_is_copied_again() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        from.put("a", "old").await.unwrap();
        let replace = app(&from, &to, |from, _| async move { from.put("a", "new").await.map(drop) });
        let slow = with(&from, "filestore.get", nothing(), replace);
        let done = slow.mirror_to(&to).await.unwrap();
        assert_eq!((done.files, done.copied, read(&to, "a").await.as_deref()), (1, 1, Some("new")), "{done:?}");
        clear(&from, &to).await;
    }
}

/// What is deleted is what was put, and nothing that has taken its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_in_both_while_its_copy_is_taken_back_stays() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        from.put("a", "old").await.unwrap();
        // The first head is the second look.
        let gone = app(&from, &to, |from, _| async move { from.delete("a").await.map(drop) });
        let back = app(&from, &to, |from, to| async move {
            to.delete("a").await?;
            put_both(from, to).await
        });
        let slow = with(&from, "filestore.head", gone, back);
        let looked = with(&to, "filestore.delete", nothing(), expects(&to, Some("new")));
        let done = slow.mirror_to(&looked).await.unwrap();
        assert_eq!((done.files, done.failed, read(&to, "a").await.as_deref()), (1, 0, Some("new")), "{done:?}");
        // The same where it is one that is only there.
        clear(&from, &to).await;
        to.put("a", "only there").await.unwrap();
        let slow = with(&from, "filestore.head", nothing(), app(&from, &to, put_both));
        let looked = with(&to, "filestore.delete", nothing(), expects(&to, Some("new")));
        let done = slow.mirror_to(&looked).remove_others(true).await.unwrap();
        assert_eq!((done.removed, done.same, read(&to, "a").await.as_deref()), (0, 1, Some("new")), "{done:?}");
        clear(&from, &to).await;
    }
}

/// A put that failed unsent has put nothing, and one in doubt at most what it was to put.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_has_put_there_where_a_put_of_the_mirror_failed_stays() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        for kind in [ErrorKind::Unavailable, ErrorKind::OutcomeUnknown] {
            from.put("a", "old").await.unwrap();
            let theirs = if kind == ErrorKind::Unavailable { theirs_unsent } else { theirs_in_doubt };
            let theirs = app(&from, &to, theirs);
            let done = from.mirror_to(&with(&to, "filestore.put", theirs, nothing())).await.unwrap();
            assert_eq!((done.files, done.others, done.failed), (1, 1, 0), "{kind:?}: {done:?}");
            assert_eq!(read(&to, "a").await.as_deref(), Some("theirs"), "{kind:?} in {to:?}");
            clear(&from, &to).await;
        }
        // One in doubt that was made goes.
        from.put("a", "old").await.unwrap();
        let lost = app(&from, &to, |from, _| async move {
            from.delete("a").await?;
            Err(Error::new(ErrorKind::OutcomeUnknown, "the answer was lost"))
        });
        let done = from.mirror_to(&with(&to, "filestore.put", nothing(), lost)).await.unwrap();
        assert_eq!((done.files, done.gone, read(&to, "a").await), (1, 1, None), "{done:?}");
        clear(&from, &to).await;
    }
}

fn theirs_unsent(from: Files, to: Files) -> BoxFuture<'static, Result<()>> {
    Box::pin(theirs(from, to, Error::new(ErrorKind::Unavailable, "the server is away")))
}

fn theirs_in_doubt(from: Files, to: Files) -> BoxFuture<'static, Result<()>> {
    Box::pin(theirs(from, to, Error::new(ErrorKind::OutcomeUnknown, "the answer was lost")))
}

/// The application puts another there, and deletes this one here.
async fn theirs(from: Files, to: Files, fails: Error) -> Result<()> {
    to.put("a", "theirs").await?;
    from.delete("a").await?;
    Err(fails)
}

/// Where an etag is the content's, what is deleted may be what the application has just put again: then it is copied again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_put_again_while_its_copy_is_taken_back_is_there_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        from.put("a", "old").await.unwrap();
        let gone = app(&from, &to, |from, _| async move { from.delete("a").await.map(drop) });
        let back = app(&from, &to, |from, to| async move {
            from.put("a", "old").await?;
            to.put("a", "old").await.map(drop)
        });
        let slow = with(&from, "filestore.head", gone, back);
        let done = slow.mirror_to(&to).await.unwrap();
        assert_eq!((done.files, done.failed, read(&to, "a").await.as_deref()), (1, 0, Some("old")), "{done:?}");
        clear(&from, &to).await;
    }
}

/// An application that writes both stores between any two steps of the mirror.
struct App {
    from: Files,
    to: Files,
    state: tokio::sync::Mutex<State>,
}

struct State {
    random: u64,
    /// How often it still writes.
    left: u32,
    writes: u32,
    /// What is in the source already and not yet in the target.
    pending: Option<(&'static str, Option<String>)>,
    /// What it has last put in both.
    both: HashMap<&'static str, String>,
}

impl State {
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl App {
    async fn step(&self) {
        let mut state = self.state.lock().await;
        for (name, content) in &state.both {
            assert_eq!(read(&self.to, name).await.as_ref(), Some(content), "{name} was put in both");
        }
        if state.draw(3) > 0 {
            return;
        }
        if state.pending.is_some() {
            return self.finish(&mut state).await;
        }
        if state.left == 0 {
            return;
        }
        state.left -= 1;
        state.writes += 1;
        let name = NAMES[usize::try_from(state.draw(4)).unwrap()];
        let content = (state.draw(2) == 0).then(|| format!("write {}", state.writes));
        state.both.remove(name);
        write(&self.from, name, content.as_deref()).await;
        state.pending = Some((name, content));
        if state.draw(2) == 0 {
            self.finish(&mut state).await;
        }
    }

    async fn finish(&self, state: &mut State) {
        let Some((name, content)) = state.pending.take() else { return };
        write(&self.to, name, content.as_deref()).await;
        if let Some(content) = content {
            state.both.insert(name, content);
        }
    }
}

async fn write(files: &Files, name: &str, content: Option<&str>) {
    match content {
        Some(content) => drop(files.put(name, content.to_owned()).await.unwrap()),
        None => drop(files.delete(name).await.unwrap()),
    }
}

struct Between(Arc<App>);

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl Layer for Between {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        self.0.step().await;
        let done = work.await;
        self.0.step().await;
        done
    }
}

async fn mirror_beside_an_application(from: &Files, to: &Files, seed: u64) {
    clear(from, to).await;
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let state = State { random, left: 5, writes: 0, pending: None, both: HashMap::new() };
    let app = Arc::new(App { from: from.clone(), to: to.clone(), state: tokio::sync::Mutex::new(state) });
    for name in NAMES {
        from.put(name, format!("{name} of before")).await.unwrap();
    }
    to.put("b", "b of long before").await.unwrap();
    let layered = |files: &Files| {
        let store = LayeredFileStore::new(Arc::clone(files.store()), Between(Arc::clone(&app)));
        Files::new(Arc::new(store) as Arc<dyn FileStore>, files.namespace().clone())
    };
    let done = layered(from).mirror_to(&layered(to)).remove_others(seed.is_multiple_of(2)).await.unwrap();
    assert_eq!(done.failed, 0, "seed {seed}: {done:?}");
    let mut state = app.state.lock().await;
    app.finish(&mut state).await;
    for name in NAMES {
        assert_eq!(read(from, name).await, read(to, name).await, "{name}, seed {seed}: {done:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn beside_an_application_that_writes_both_nothing_newer_is_lost_and_both_are_the_same_in_the_end() {
    let (from, to) = (memory(), memory());
    for seed in 0..rounds(300, 20_000) {
        mirror_beside_an_application(&from, &to, seed as u64).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_on_a_disk_and_on_s3() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in pairs(directory.path()).await {
        for seed in 0..rounds(4, 100) {
            mirror_beside_an_application(&from, &to, seed as u64).await;
        }
    }
}
