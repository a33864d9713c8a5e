//! What a handle does in several steps, and what happens between them.

use std::fmt;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use statehouse_core::layer::{Faults, Layer};
use statehouse_core::{Error, ErrorKind, Fence, Guarded, Key, Namespace, Result, Version};
use statehouse_filestore::{
    FileStore, Files, LayeredFileStore, LocalFileStore, MemoryFileStore, ObjectFileStore, PutOutcome,
};
use statehouse_testkit::S3Server;

use crate::s3::config;

pub(crate) type Step = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Does something before and after each call of one operation. If what comes before fails, so does the call, undone.
struct Around {
    operation: &'static str,
    before: Step,
    after: Step,
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Around").field(&self.operation).finish()
    }
}

impl Layer for Around {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation != self.operation {
            return work.await;
        }
        (self.before)().await?;
        let done = work.await;
        (self.after)().await?;
        done
    }
}

pub(crate) fn nothing() -> Step {
    Box::new(|| Box::pin(async { Ok(()) }))
}

pub(crate) fn puts(files: &Files, content: &'static str) -> Step {
    let files = files.clone();
    Box::new(move || {
        let files = files.clone();
        Box::pin(async move { files.put("a", content).await.map(drop) })
    })
}

pub(crate) fn fails() -> Step {
    Box::new(|| Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "the server is away")) }))
}

fn loses() -> Step {
    Box::new(|| Box::pin(async { Err(Error::new(ErrorKind::OutcomeUnknown, "the answer was lost")) }))
}

fn deletes(files: &Files) -> Step {
    let files = files.clone();
    Box::new(move || {
        let files = files.clone();
        Box::pin(async move { files.delete("a").await.map(drop) })
    })
}

/// The same files, with that around one of their operations.
pub(crate) fn with(files: &Files, operation: &'static str, before: Step, after: Step) -> Files {
    let layered = LayeredFileStore::new(Arc::clone(files.store()), Around { operation, before, after });
    Files::new(Arc::new(layered), files.namespace().clone())
}

pub(crate) async fn every_backend(root: &std::path::Path) -> Vec<Files> {
    let local = LocalFileStore::open(root.join("files")).await.unwrap();
    let s3 = ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap();
    let stores: [Arc<dyn FileStore>; 3] = [Arc::new(MemoryFileStore::new()), Arc::new(local), Arc::new(s3)];
    let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let namespace = Namespace::new(format!("it.{nonce}")).unwrap();
    stores.into_iter().map(|store| Files::new(store, namespace.clone())).collect()
}

async fn read(files: &Files, name: &str) -> Option<String> {
    let read = files.get(name).bytes().await;
    read.ok().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

async fn both(files: &Files) -> (Option<String>, Option<String>) {
    (read(files, "a").await, read(files, "b").await)
}

fn texts(a: &str, b: &str) -> (Option<String>, Option<String>) {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    (text(a), text(b))
}

/// Both names are there, and doing it again ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_that_ends_between_its_steps_loses_nothing_and_is_ended_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        files.put("a", "content").await.unwrap();
        let error = with(&files, "filestore.delete", fails(), nothing()).rename("a", "b").await.unwrap_err();
        assert_eq!((error.kind(), both(&files).await), (ErrorKind::Unavailable, texts("content", "content")));
        let error = with(&files, "filestore.copy", fails(), nothing()).rename("a", "b").await.unwrap_err();
        assert_eq!((error.kind(), both(&files).await), (ErrorKind::Unavailable, texts("content", "content")));
        // Its process is gone.
        let (reached, mut deletes) = tokio::sync::mpsc::unbounded_channel();
        let never: Step = Box::new(move || {
            reached.send(()).unwrap();
            Box::pin(std::future::pending())
        });
        files.delete("b").await.unwrap();
        let slow = with(&files, "filestore.delete", never, nothing());
        tokio::select! {
            renamed = slow.rename("a", "b").into_future() => panic!("{renamed:?}"),
            _ = deletes.recv() => {}
        }
        assert_eq!(both(&files).await, texts("content", "content"));
        files.rename("a", "b").await.unwrap();
        assert_eq!(both(&files).await, texts("", "content"));
        // With a condition, its own copy is in the way.
        files.put("a", "content").await.unwrap();
        assert_eq!(files.rename("a", "b").if_absent().await.unwrap(), PutOutcome::Conflict);
        // The answer of the delete is lost.
        files.put("a", "another").await.unwrap();
        let error = with(&files, "filestore.delete", nothing(), loses()).rename("a", "b").await.unwrap_err();
        assert_eq!((error.kind(), both(&files).await), (ErrorKind::OutcomeUnknown, texts("", "another")));
        assert_eq!(files.rename("a", "b").await.unwrap_err().kind(), ErrorKind::NotFound, "it was made");
        files.delete("b").await.unwrap();
    }
}

/// That nothing has been done, as long as nothing has.
#[tokio::test]
async fn a_rename_ends_by_its_deadline_and_says_what_it_may_have_done() {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap());
    files.put("a", "content").await.unwrap();
    let never = || -> Step { Box::new(|| Box::pin(std::future::pending())) };
    let cases = [
        ("filestore.head", ErrorKind::Timeout, ""),
        ("filestore.copy", ErrorKind::OutcomeUnknown, ""),
        ("filestore.delete", ErrorKind::OutcomeUnknown, "content"),
    ];
    for (operation, kind, copied) in cases {
        let slow = with(&files, operation, never(), nothing());
        let error = slow.rename("a", "b").deadline(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!((error.kind(), both(&files).await), (kind, texts("content", copied)), "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_deletes_nothing_but_what_it_has_copied() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        let cases = [
            ("between its steps", "filestore.delete", puts(&files, "new"), nothing(), texts("new", "old")),
            ("before the copy", "filestore.copy", puts(&files, "new"), nothing(), texts("new", "new")),
            // And it is as before by the time of the delete: on S3 that has the same etag again.
            ("around the copy", "filestore.copy", puts(&files, "new"), puts(&files, "old"), texts("old", "new")),
        ];
        for (case, operation, before, after, expected) in cases {
            files.put("a", "old").await.unwrap();
            let error = with(&files, operation, before, after).rename("a", "b").await.unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("a")), "{case}: {error:?}");
            assert_eq!(both(&files).await, expected, "{case}: {files:?}");
        }
        for (operation, copied) in [("filestore.delete", "old"), ("filestore.copy", "")] {
            files.put("a", "old").await.unwrap();
            let error = with(&files, operation, deletes(&files), nothing()).rename("a", "b").await.unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("a")), "{operation}: {error:?}");
            assert_eq!(both(&files).await, texts("", copied), "{operation}");
            files.delete("b").await.unwrap();
        }
    }
}

async fn names(files: &Files) -> Vec<String> {
    let entries: Vec<_> = files.list("").stream().try_collect().await.unwrap();
    entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()).collect()
}

/// Refused deletes leave their files, and so the names that are told are those that are left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_of_many_goes_on_after_what_cannot_be_deleted_and_tells_it() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        for n in 0..60 {
            files.put(format!("p/{n:02}"), "x").await.unwrap();
        }
        let faults = |share| {
            // A listing is one call here, and must not be the one that is refused.
            let deletes = Only("filestore.delete", Faults::seeded(5).with_refused_calls(share));
            let layered = LayeredFileStore::new(Arc::clone(files.store()), deletes);
            Files::new(Arc::new(layered), files.namespace().clone())
        };
        let gone = faults(0.4).delete_prefix("p/").await.unwrap();
        assert!(gone.failed > 5 && gone.removed > 5 && gone.failed + gone.removed == 60, "{gone:?}");
        assert!(gone.failures.iter().all(|(_, error)| error.kind() == ErrorKind::Unavailable));
        let mut failed: Vec<_> = gone.failures.iter().map(|(name, _)| name.clone()).collect();
        failed.sort();
        assert_eq!(failed, names(&files).await);
        let gone = faults(1.0).delete_many(&failed).await.unwrap();
        assert_eq!((gone.removed, gone.failed, names(&files).await.len()), (0, failed.len() as u64, failed.len()));
        let gone = files.delete_prefix("p/").await.unwrap();
        assert_eq!((gone.removed, gone.failed, names(&files).await.len()), (failed.len() as u64, 0, 0));
    }
}

/// Faults of one operation.
#[derive(Debug)]
pub(crate) struct Only(pub(crate) &'static str, pub(crate) Faults);

impl Layer for Only {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == self.0 { self.1.around(operation, work).await } else { work.await }
    }
}

/// The names of more than a thousand are not kept.
#[tokio::test]
async fn of_failures_without_end_the_first_are_told_and_all_are_counted() {
    let store = LayeredFileStore::new(Arc::new(MemoryFileStore::new()), Faults::seeded(1).with_refused_calls(1.0));
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    let gone = files.delete_many((0..1500).map(|n| n.to_string())).await.unwrap();
    assert_eq!((gone.failed, gone.failures.len()), (1500, 1000));
    let told = AtomicU64::new(0);
    let failed = files.delete_prefix("").progress(|done| told.store(done, Ordering::Relaxed)).await.unwrap_err();
    assert_eq!((failed.kind(), told.into_inner()), (ErrorKind::Unavailable, 0), "the listing fails, and is no file");
}

/// Neither step, and of many none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_holder_neither_renames_nor_deletes_many() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        let fence = |token| Fence::new(Key::new("lock/move").unwrap(), Version::new(token));
        for name in ["a", "p/1", "p/2"] {
            files.put(name, "content").await.unwrap();
        }
        files.raise(&fence(2), Duration::from_secs(10)).await.unwrap();
        assert_eq!(files.rename("a", "b").fenced(&fence(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(files.delete_prefix("p/").fenced(&fence(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(files.delete_many(["p/1"]).fenced(&fence(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(files.rename("a", "a").fenced(&fence(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(names(&files).await, ["a", "p/1", "p/2"]);
        files.rename("a", "a").fenced(&fence(2)).await.unwrap();
        files.rename("a", "b").fenced(&fence(2)).await.unwrap();
        assert_eq!(files.delete_prefix("p/").fenced(&fence(2)).await.unwrap().removed, 2);
        assert_eq!(names(&files).await, ["b"]);
        files.delete("b").await.unwrap();
    }
}

/// Both names are there then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_followed_between_the_steps_of_a_rename_does_not_make_the_second() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        let fence = |token| Fence::new(Key::new("lock/between").unwrap(), Version::new(token));
        files.put("a", "content").await.unwrap();
        let (next, raised) = (fence(2), files.clone());
        let acquires: Step = Box::new(move || {
            let (files, fence) = (raised.clone(), next.clone());
            Box::pin(async move { files.raise(&fence, Duration::from_secs(10)).await })
        });
        let slow = with(&files, "filestore.delete", acquires, nothing());
        let error = slow.rename("a", "b").fenced(&fence(1)).await.unwrap_err();
        assert_eq!((error.kind(), both(&files).await), (ErrorKind::Fenced, texts("content", "content")), "{error:?}");
        files.rename("a", "b").fenced(&fence(2)).await.unwrap();
        assert_eq!(both(&files).await, texts("", "content"));
        files.delete("b").await.unwrap();
    }
}

/// What has replaced a file since it was listed stays, and is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_of_a_prefix_deletes_nothing_but_what_it_has_listed() {
    let directory = tempfile::tempdir().unwrap();
    for files in every_backend(directory.path()).await {
        for name in ["a", "b"] {
            files.put(name, "old").await.unwrap();
        }
        let gone = with(&files, "filestore.list", nothing(), puts(&files, "new")).delete_prefix("").await.unwrap();
        assert_eq!((gone.removed, gone.absent, gone.kept, gone.failed), (1, 0, 1, 0), "{gone:?}");
        assert_eq!(both(&files).await, texts("new", ""));
        let gone = files.delete_prefix("").await.unwrap();
        assert_eq!((gone.removed, gone.kept, gone.skipped), (1, 0, 0));
    }
}

/// What lies among the files and is none of them is not deleted, and is not passed over in silence.
#[cfg(unix)]
#[tokio::test]
async fn a_delete_of_a_prefix_tells_what_it_has_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("files");
    let store: Arc<dyn FileStore> = Arc::new(LocalFileStore::open(&root).await.unwrap());
    let files = Files::new(store, Namespace::new("n").unwrap());
    files.put("a", "content").await.unwrap();
    std::os::unix::fs::symlink("a", root.join("n+/link")).unwrap();
    let gone = files.delete_prefix("").await.unwrap();
    assert_eq!((gone.removed, gone.skipped), (1, 1), "{gone:?}");
}

/// None is dropped on its way: it is not known of one of these whether it will be made.
#[tokio::test]
async fn a_delete_of_many_that_fails_ends_the_deletes_that_it_has_begun() {
    let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("n").unwrap());
    for n in 0..100 {
        files.put(format!("{n:02}"), "x").await.unwrap();
    }
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (begins, ends) = (Arc::clone(&begun), Arc::clone(&ended));
    // The first is refused, while the others take their time.
    let before: Step = Box::new(move || {
        let is_first = begins.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            if is_first {
                return Err(Error::new(ErrorKind::Fenced, "another has the lock"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        })
    });
    let after: Step = Box::new(move || {
        ends.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    });
    let error = with(&files, "filestore.delete", before, after).delete_prefix("").await.unwrap_err();
    let (begun, ended) = (begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
    assert_eq!((error.kind(), begun - 1), (ErrorKind::Fenced, ended), "{begun} were begun");
    assert!(begun > 1 && begun < 50, "{begun} were begun");
    assert_eq!(names(&files).await.len() as u64, 100 - ended);
}
