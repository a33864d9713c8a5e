//! What uploads leave behind, and who removes it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::{Body, Deleted, FileStore, Files, ObjectFileStore};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

use crate::s3::{config, files};

const MIB: usize = 1 << 20;
const URL: &str = "STATEHOUSE_TEST_KILLED_UPLOAD";

fn body(len: usize) -> Body {
    let pieces = (0..len).map(|n| Ok::<_, std::io::Error>(vec![u8::try_from(n % 250).unwrap(); MIB]));
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn uploads(server: &S3Server) -> String {
    server.request("GET", &format!("/{}?uploads=", server.bucket()), &[], b"").await.unwrap().text()
}

/// Waits until the server has no unfinished upload. One that it is busy with it lets go of after a while: the abort comes
/// again after 1, 3, 7, 15 and 30 seconds.
pub(crate) async fn no_uploads(server: &S3Server) {
    let there = |left: &str| left.contains("ListMultipartUploadsResult") && !left.contains("<UploadId>");
    let left = uploads_until(server, Duration::from_secs(60), there).await;
    assert!(there(&left), "uploads are left: {left}");
}

/// The server's unfinished uploads, once they are as expected or the time is over.
async fn uploads_until(server: &S3Server, most: Duration, expected: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let found = uploads(server).await;
        if expected(&found) || start.elapsed() > most {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the server knows of an upload.
async fn an_upload_begins(server: &S3Server) {
    let begun = |found: &str| found.contains("<UploadId>");
    let found = uploads_until(server, Duration::from_secs(30), begun).await;
    assert!(begun(&found), "no upload has begun: {found}");
}

async fn records(server: &S3Server) -> usize {
    let target = format!("/{}?list-type=2&prefix=.statehouse%2Fsha256%2F", server.bucket());
    server.request("GET", &target, &[], b"").await.unwrap().text().matches("<Key>").count()
}

async fn settle(server: &S3Server, expected: usize) {
    let start = Instant::now();
    while records(server).await != expected && start.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(records(server).await, expected, "digests kept apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_is_kept_apart_goes_with_its_file() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    for n in 0..3 {
        files.put("a", body(9 + n)).await.unwrap();
    }
    settle(&server, 1).await;
    assert!(files.head("a").await.unwrap().sha256.is_some());
    files.put("a", "short").await.unwrap();
    settle(&server, 0).await;
    files.put("a", body(9)).await.unwrap();
    files.put("b", "short").await.unwrap();
    files.copy("b", "a").await.unwrap();
    settle(&server, 0).await;
    files.put("a", body(9)).await.unwrap();
    assert_eq!(files.delete("a").await.unwrap(), Deleted::Removed);
    settle(&server, 0).await;
}

/// As after a restore of some of the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_digest_is_lost_is_read_and_said_to_be_unverified() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    files.put("a", body(9)).await.unwrap();
    let target = format!("/{}?list-type=2&prefix=.statehouse%2Fsha256%2F", server.bucket());
    let listed = server.request("GET", &target, &[], b"").await.unwrap().text();
    let (_, rest) = listed.split_once("<Key>").unwrap();
    let record = format!("/{}/{}", server.bucket(), rest.split_once("</Key>").unwrap().0);
    for damage in ["damaged", "", "gone"] {
        match damage {
            "gone" => drop(server.request("DELETE", &record, &[], b"").await.unwrap()),
            text => drop(server.request("PUT", &record, &[], text.as_bytes()).await.unwrap()),
        }
        assert_eq!(files.head("a").await.unwrap().sha256, None, "{damage:?}");
        let object = files.get("a").await.unwrap();
        assert_eq!(object.meta().sha256, None);
        assert_eq!(object.bytes().await.unwrap().len(), 9 * MIB);
        let asked = files.get("a").await.unwrap().verify_sha256().bytes().await.unwrap_err();
        assert_eq!(asked.kind(), ErrorKind::Unsupported);
        assert_eq!(files.copy("a", "b").await.unwrap().len, 9 << 20);
        files.delete("b").await.unwrap();
    }
    assert_eq!(files.delete("a").await.unwrap(), Deleted::Removed);
}

/// Not a test of its own: the process that the other test starts and kills. Started by hand it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upload_that_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let server = S3Server::at(&url);
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let stalled = futures_util::stream::iter((0..14).map(|_| Ok::<_, std::io::Error>(vec![7; MIB])));
    let _ = files.put("a", Body::from_stream(stalled.chain(futures_util::stream::pending()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_removes_what_a_killed_process_has_begun_and_nothing_else() {
    let server = S3Server::start().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3_leftovers::the_upload_that_is_killed"])
        .env(URL, server.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    an_upload_begins(&server).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Arc::new(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("swept").unwrap());
    files.put("kept", body(9)).await.unwrap();
    // A digest that no file has any more.
    let stale = format!("/{}/.statehouse/sha256/swept/kept/0123", server.bucket());
    server.request("PUT", &stale, &[], b"x").await.unwrap();
    // And an object that the server was tried out on.
    let tried = format!("/{}/.statehouse/probe/0123/below", server.bucket());
    server.request("PUT", &tried, &[], b"x").await.unwrap();
    let nothing = store.sweep(Duration::from_secs(3600)).await.unwrap();
    assert!(server.request("GET", &tried, &[], b"").await.unwrap().text().contains('x'), "young as well");
    assert_eq!((nothing.uploads, nothing.digests), (0, 0), "what is young is left alone");
    // A server may be busy with a part of the dead for a while: it refuses then, or puts the part down afterwards.
    let (start, mut digests) = (Instant::now(), 0);
    loop {
        let swept = store.sweep(Duration::ZERO).await;
        digests += swept.as_ref().map_or(0, |swept| swept.digests);
        if swept.is_ok() && !uploads(&server).await.contains("<UploadId>") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{swept:?}, {}", uploads(&server).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(digests, 1);
    no_uploads(&server).await;
    // One that no part belongs to, so that the server is not busy with it.
    let begun = server.request("POST", &format!("/{}/swept/begun?uploads=", server.bucket()), &[], b"").await.unwrap();
    assert!(begun.text().contains("<UploadId>"), "{}", begun.text());
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap().uploads, 1);
    no_uploads(&server).await;
    assert!(server.request("GET", &tried, &[], b"").await.unwrap().text().contains("NoSuchKey"));
    assert!(files.get("kept").await.unwrap().verify_sha256().bytes().await.is_ok());
}

/// The network goes while parts are sent, or before the completion is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_off_is_aborted_when_the_server_is_back() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(&server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1);
    let config = config.with_timeouts(Duration::from_secs(1), Duration::from_secs(1));
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    for lost in [false, true] {
        let begin = futures_util::stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(vec![7; MIB])));
        // By then the answer to the upload's beginning has arrived: without it only a sweep can end the upload.
        let begun = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&begun);
        let cut = futures_util::stream::once(async move {
            told.notify_one();
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(vec![7; MIB])
        });
        let put = files.put("a", Body::from_stream(begin.chain(cut))).into_future();
        let cutting = async {
            begun.notified().await;
            match lost {
                false => proxy.cut(),
                true => proxy.black_hole_way(Direction::ToClient),
            }
        };
        let (stored, ()) = tokio::join!(put, cutting);
        assert!(stored.is_err(), "{stored:?}");
        proxy.reset_connections();
        proxy.heal();
        no_uploads(&server).await;
    }
}
