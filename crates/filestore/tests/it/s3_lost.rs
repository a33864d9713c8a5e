//! The server does what it is asked and its answer never comes: the request is sent again and then refused, by what the
//! first attempt did or by what somebody else has done since. What is there tells which.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use statehouse_core::conformance::fenced::holder;
use statehouse_core::{ErrorKind, Guarded as _, Result};
use statehouse_filestore::{DeleteOptions, DeleteOutcome, ETag, Files, ObjectFileStore, PutOutcome};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

use crate::s3::{config, files, is_answered};

/// A write of the file `name`, if it has this etag; whether it was done.
type Write = fn(Files, String, ETag) -> BoxFuture<'static, Result<bool>>;

/// The verbs that have a condition, and the request whose answer is lost.
const WRITES: [(&str, &str, Write); 3] = [
    ("put", "PUT", |files, name, etag| {
        Box::pin(async move { Ok(files.put(name, "ours").if_match(&etag).await? != PutOutcome::Conflict) })
    }),
    ("copy", "PUT", |files, name, etag| {
        Box::pin(async move { Ok(files.copy("original", name).if_match(&etag).await? != PutOutcome::Conflict) })
    }),
    ("delete", "DELETE", |files, name, etag| {
        Box::pin(async move { Ok(files.delete(name).if_match(&etag).await? == DeleteOutcome::Removed) })
    }),
];

/// Does the write, and something else when the server has done it and before it is asked again.
async fn losing<T>(
    proxy: &FaultProxy,
    method: &str,
    write: impl Future<Output = T>,
    meanwhile: impl Future<Output = ()>,
) -> T {
    let before = proxy.counts().command(method);
    // Time enough to hold back the answer of the request that has just been seen.
    proxy.delay(Direction::ToClient, Duration::from_secs(3));
    let lose = async {
        let seen = loop {
            let counts = proxy.counts();
            if counts.command(method) != before {
                break counts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        proxy.black_hole_way(Direction::ToClient);
        is_answered(proxy, &seen).await;
        meanwhile.await;
        proxy.reset_connections();
        proxy.heal();
    };
    tokio::join!(write, lose).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_write_whose_answer_was_lost_is_found_out() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(10), Duration::from_secs(20)).with_retries(6);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let theirs = async |name: &str| {
        let target = format!("/{}/{}/{name}", server.bucket(), files.namespace());
        assert_eq!(server.request("PUT", &target, &[], b"theirs").await.unwrap().status, 200);
    };
    every_lost_answer(&proxy, &files, theirs).await;
}

/// Loses the answer of each conditional write, and of those where somebody else, who writes around the proxy, has written since.
pub(crate) async fn every_lost_answer(proxy: &FaultProxy, files: &Files, theirs: impl AsyncFn(&str)) {
    files.put("original", "ours").await.unwrap();
    for (verb, method, write) in WRITES {
        let etag = files.put(verb, "before").await.unwrap().etag;
        let done = losing(proxy, method, write(files.clone(), verb.to_owned(), etag), async {}).await;
        assert!(done.unwrap(), "{verb}: it is known for its own");
        match verb {
            "delete" => assert!(!files.exists(verb).await.unwrap()),
            _ => assert_eq!(files.get(verb).bytes().await.unwrap(), "ours", "{verb}"),
        }
        // Somebody else has written since: nothing there tells of ours.
        let etag = files.put(verb, "before").await.unwrap().etag;
        let done = losing(proxy, method, write(files.clone(), verb.to_owned(), etag), theirs(verb)).await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{verb}");
        assert_eq!(files.get(verb).bytes().await.unwrap(), "theirs", "{verb}");
    }
    // A copy without a condition is done by S3 itself, and by its number known for its own.
    let copied = losing(proxy, "PUT", async { files.copy("original", "copied").await }, async {}).await.unwrap();
    let head = files.head("copied").await.unwrap();
    assert_eq!((copied.etag, copied.sha256), (head.etag, head.sha256));
    for name in ["original", "put", "copy", "delete", "copied"] {
        files.delete(name).await.unwrap();
    }
}

/// What has been there for long was not written after the first attempt, which was refused as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replace_of_what_is_older_was_refused_from_the_start() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(10), Duration::from_secs(20)).with_retries(6);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let stale = files.put("a", "first").await.unwrap().etag;
    files.put("a", "second").await.unwrap();
    tokio::time::sleep(Duration::from_millis(4500)).await;
    let write = async { files.put("a", "ours").if_match(&stale).await };
    assert_eq!(losing(&proxy, "PUT", write, async {}).await.unwrap(), PutOutcome::Conflict);
    files.delete("a").await.unwrap();
}

/// Passes everything on at once, but a delete: that arrives when it is let go, however long its sender has been gone.
fn slow_deletes(server: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (endpoint, go) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicBool::new(true)));
    let pump = |mut from: TcpStream, mut to: TcpStream, go: Arc<AtomicBool>| {
        let mut piece = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            while piece.starts_with(b"DELETE") && !go.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    let gate = Arc::clone(&go);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).unwrap();
            let (up, down) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
            let (gate, open) = (Arc::clone(&gate), Arc::new(AtomicBool::new(true)));
            std::thread::spawn(move || pump(up.0, up.1, gate));
            std::thread::spawn(move || pump(down.0, down.1, open));
        }
    });
    (endpoint, go)
}

/// What was sent may be delivered after its sender has given up, and the file that is still there does not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_may_still_arrive_is_not_told_as_one_that_was_not_made() {
    let server = S3Server::shared().await;
    for conditional in [false, true] {
        let (endpoint, go) = slow_deletes(server.address().to_owned());
        let config = config(server).with_endpoint(endpoint).with_retries(0);
        let config = config.with_timeouts(Duration::from_secs(5), Duration::from_secs(5));
        let files = files(ObjectFileStore::open_s3(config).await.unwrap());
        go.store(false, Ordering::Relaxed);
        let etag = files.put("a", "x").await.unwrap().etag;
        // Older than the delete by the server's clock, which counts in seconds.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        let key = files.key("a").unwrap();
        let mut options = DeleteOptions::default();
        options.if_match = Some(etag).filter(|_| conditional);
        let error = files.store().delete_with(&key, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{conditional}: {error:?}");
        assert!(files.exists("a").await.unwrap(), "it has not arrived yet");
        go.store(true, Ordering::Relaxed);
        for _ in 0..2000 {
            if !files.exists("a").await.unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!files.exists("a").await.unwrap(), "{conditional}: it arrives");
    }
}

/// Whoever is told that nothing was done would go on under the lock of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_whose_answer_was_lost_may_have_risen() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(0);
    let silence = Duration::from_secs(5);
    let files = files(ObjectFileStore::open_s3(config.with_timeouts(silence, silence)).await.unwrap());
    let lock = format!("export of {}", files.namespace());
    let (first, second) = (holder(&lock, 5), holder(&lock, 9));
    let before = proxy.counts().command("PUT");
    // Time enough to hold back the answer of the request that has just been seen.
    proxy.delay(Direction::ToClient, Duration::from_secs(1));
    let lose = async {
        while proxy.counts().command("PUT") == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.black_hole_way(Direction::ToClient);
    };
    let (raised, ()) = tokio::join!(files.raise(&second, Duration::from_secs(60)), lose);
    let error = raised.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    // Past the proxy: connections that were cut off fail once more.
    let beside = ObjectFileStore::open_s3(self::config(server)).await.unwrap();
    let files = Files::new(Arc::new(beside), files.namespace().clone());
    assert_eq!(files.put("a", "x").fenced(&first).await.unwrap_err().kind(), ErrorKind::Fenced);
    files.put("a", "x").fenced(&second).await.unwrap();
    files.delete("a").await.unwrap();
}

/// What a server leaves that was killed as it completed an upload: it has claimed it, and says to whoever completes it again that it is done.
fn claim(folder: &Path, etag: &str) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let inside = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let inside: Vec<_> = inside.filter(|path| path.is_dir()).collect();
        if folder.parent().is_some_and(|parent| parent.ends_with(".sgwtmp/multipart")) {
            for upload in inside {
                let claimed = format!("{}.{etag}.inprogress", upload.file_name().unwrap().to_str().unwrap());
                std::fs::rename(&upload, upload.with_file_name(claimed)).unwrap();
            }
        } else {
            folders.extend(inside);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_a_killed_server_only_says_is_done_is_of_unknown_outcome() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("data");
    let server = S3Server::builder().data_in(&folder).start().await;
    let impatient = config(&server).with_timeouts(Duration::from_secs(5), Duration::from_secs(2));
    let files = files(ObjectFileStore::open_s3(impatient).await.unwrap());
    let twin = files.put("twin", "content").stage().await.unwrap().commit().await.unwrap().stored().unwrap();
    let staged = files.put("a", "content").stage().await.unwrap();
    claim(&folder, twin.etag.as_str().trim_matches('"'));
    for _ in 0..2 {
        let error = staged.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
        assert!(error.to_string().contains("its file is not there"), "{error}");
    }
    assert!(!files.exists("a").await.unwrap());
    assert_eq!(files.get("twin").bytes().await.unwrap(), "content");
}
