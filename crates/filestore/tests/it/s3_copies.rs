//! Copies of what is too long for one request, with a limit of 5 MiB in place of S3's 5 GiB.

use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_filestore::{Body, Digest, Files, ObjectFileStore, PutOutcome, S3Config, disposition};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

use crate::s3::{config, files};
use crate::s3_leftovers::no_uploads;

const LIMIT: u64 = 5 << 20;
const LONG: usize = 12 << 20;
/// More parts than are copied at a time, several times over.
const MANY: usize = 61 << 20;

fn limited(server: &S3Server) -> S3Config {
    config(server).with_copy_limit(LIMIT)
}

async fn through(proxy: &FaultProxy, server: &S3Server) -> Files {
    files(ObjectFileStore::open_s3(limited(server).with_endpoint(proxy.url(&server.endpoint()))).await.unwrap())
}

/// Bytes of which no two MiB are alike.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + (at >> 20) * 7 + at / 251) % 256).unwrap()).collect()
}

fn streamed(content: &[u8]) -> Body {
    let pieces: Vec<_> = content.chunks(1 << 20).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_file_is_copied_by_the_server_with_all_that_belongs_to_it() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, &server).await;
    let content = content(LONG);
    for (name, body) in [("known ä+%", Body::from(content.clone())), ("unknown", streamed(&content))] {
        let put = files.put(name, body).content_type("image/tiff").metadata("patient", "Zoë");
        let put = put.content_disposition(disposition::inline("Röntgen.tif")).cache_control("no-store");
        put.time_to_live(Duration::from_secs(3600)).await.unwrap();
        let before = proxy.counts();
        let copied = files.copy(name, "copies/a ü+%").await.unwrap();
        let after = proxy.counts();
        assert!(after.bytes_to_server - before.bytes_to_server < 64 << 10, "{before:?} {after:?}");
        assert!(after.bytes_to_client - before.bytes_to_client < 64 << 10, "{before:?} {after:?}");
        let (original, meta) = (files.head(name).await.unwrap(), files.head("copies/a ü+%").await.unwrap());
        assert_eq!((copied.sha256, copied.len), (Some(Digest::of(&content)), LONG as u64));
        assert_eq!((&meta.etag, meta.sha256), (&copied.etag, copied.sha256));
        assert_eq!((&meta.content_type, &meta.user), (&original.content_type, &original.user));
        assert_eq!(meta.content_disposition, original.content_disposition);
        assert_eq!(meta.cache_control.as_deref(), Some("no-store"));
        assert_eq!(meta.expires, Some(meta.modified + Duration::from_secs(3600)));
        files.delete(name).await.unwrap();
        let read = files.get("copies/a ü+%").await.unwrap().verify_sha256().bytes().await.unwrap();
        assert!(read == content, "{name}");
    }
    no_uploads(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_copy_is_made_on_its_condition_and_a_rename_is_one() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, &server).await;
    files.put("a", content(LONG)).await.unwrap();
    let other = files.put("b", "other").await.unwrap().etag;
    let before = proxy.counts().bytes_to_server;
    assert_eq!(files.copy("a", "b").if_absent().await.unwrap(), PutOutcome::Conflict);
    assert_eq!(files.copy("a", "c").if_match(&other).await.unwrap(), PutOutcome::Conflict);
    assert!(!files.exists("c").await.unwrap());
    assert!(files.copy("a", "b").if_match(&other).await.unwrap().stored().is_some());
    assert!(files.copy("a", "c").if_absent().await.unwrap().stored().is_some());
    files.rename("a", "d").await.unwrap();
    assert!(proxy.counts().bytes_to_server - before < 256 << 10);
    assert!(!files.exists("a").await.unwrap());
    for name in ["b", "c", "d"] {
        assert!(files.get(name).bytes().await.unwrap() == content(LONG), "{name}");
    }
    no_uploads(&server).await;
}

/// What something else has written has no digest, and neither has its copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_foreign_file_is_copied_as_what_it_is() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(limited(&server)).await.unwrap());
    let target = format!("/{}/{}/foreign", server.bucket(), files.namespace());
    server.request("PUT", &target, &[("content-type", "a/b")], &content(LONG)).await.unwrap();
    let copied = files.copy("foreign", "copy").await.unwrap();
    assert_eq!((copied.sha256, copied.len), (None, LONG as u64));
    let meta = files.head("copy").await.unwrap();
    assert_eq!((meta.sha256, meta.content_type.as_deref()), (None, Some("a/b")));
    assert!(files.get("copy").bytes().await.unwrap() == content(LONG));
}

/// Also on a server that does not look at the etag of what it copies from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_file_that_is_replaced_while_it_is_copied_is_not_copied() {
    let server = S3Server::start().await;
    let direct = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    for looks in [true, false] {
        let proxy = FaultProxy::start(server.address());
        let opened = ObjectFileStore::open_s3(limited(&server).with_endpoint(proxy.url(&server.endpoint()))).await;
        let slow = Files::new(std::sync::Arc::new(opened.unwrap()), direct.namespace().clone());
        direct.put("a", content(MANY)).await.unwrap();
        direct.put("b", "old").await.unwrap();
        if !looks {
            proxy.strip_s3_headers(&["x-amz-copy-source-if-match"], server.secret_key());
        }
        proxy.delay(Direction::ToClient, Duration::from_secs(2));
        let copy = slow.copy("a", "b").into_future();
        let replace = async {
            a_part_is_there(&server).await;
            direct.put("a", vec![9; MANY]).await.unwrap();
        };
        let (copied, ()) = tokio::join!(copy, replace);
        let error = copied.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{looks}: {error}");
        assert_eq!(direct.get("b").bytes().await.unwrap(), "old");
        proxy.heal();
        no_uploads(&server).await;
    }
}

async fn a_part_is_there(server: &S3Server) {
    let start = Instant::now();
    let between = |text: &str, tag: &str| {
        let rest = text.split_once(&format!("<{tag}>"))?.1;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    };
    loop {
        let listed = server.request("GET", &format!("/{}?uploads=", server.bucket()), &[], b"").await.unwrap().text();
        // A store that is being opened tries out uploads of its own.
        let copy =
            listed.split("<Upload>").find(|upload| between(upload, "Key").is_some_and(|key| key.ends_with("/b")));
        if let Some((key, id)) = copy.and_then(|copy| between(copy, "Key").zip(between(copy, "UploadId"))) {
            let target = format!("/{}/{key}?uploadId={id}", server.bucket());
            let parts = server.request("GET", &target, &[], b"").await.unwrap().text();
            if parts.contains("<PartNumber>") {
                return;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no part is copied: {listed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The network goes while parts are copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_copy_that_is_cut_off_is_aborted_when_the_server_is_back() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let slow = files(ObjectFileStore::open_s3(impatient(&proxy, &server)).await.unwrap());
    slow.put("a", content(MANY)).await.unwrap();
    proxy.delay(Direction::ToClient, Duration::from_secs(2));
    let cut = async {
        a_part_is_there(&server).await;
        proxy.cut();
    };
    let (copied, ()) = tokio::join!(slow.copy("a", "b").into_future(), cut);
    let error = copied.unwrap_err();
    assert!([ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind()), "{error:?}");
    proxy.heal();
    assert!(!slow.exists("b").await.unwrap());
    no_uploads(&server).await;
}

fn impatient(proxy: &FaultProxy, server: &S3Server) -> S3Config {
    let config = limited(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1);
    config.with_timeouts(Duration::from_secs(10), Duration::from_secs(10))
}

/// As by a process that ends: nothing of it runs any more that could abort it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_copy_that_nobody_can_end_is_swept() {
    let server = S3Server::start().await;
    let proxy = FaultProxy::start(server.address());
    let config = impatient(&proxy, &server);
    let direct = ObjectFileStore::open_s3(limited(&server)).await.unwrap();
    let files = files(direct.clone());
    files.put("a", content(MANY)).await.unwrap();
    let namespace = files.namespace().clone();
    let (told, end) = tokio::sync::oneshot::channel::<()>();
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let files = Files::new(std::sync::Arc::new(ObjectFileStore::open_s3(config).await.unwrap()), namespace);
            let copy = files.copy("a", "b").into_future();
            tokio::select! {
                copied = copy => panic!("it is slow: {copied:?}"),
                _ = end => {}
            }
        });
        runtime.shutdown_background();
    });
    proxy.delay(Direction::ToClient, Duration::from_millis(300));
    a_part_is_there(&server).await;
    proxy.cut();
    drop(told);
    process.join().unwrap();
    assert_eq!(direct.sweep(Duration::from_secs(3600)).await.unwrap().uploads, 0, "it is young");
    // The server may be busy with a part still, and put it down behind this.
    let start = Instant::now();
    let mut swept = 0;
    while swept == 0 || has_uploads(&server).await {
        swept += direct.sweep(Duration::ZERO).await.map_or(0, |swept| swept.uploads);
        assert!(start.elapsed() < Duration::from_secs(30), "an upload is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(files.get("a").bytes().await.unwrap() == content(MANY));
    assert!(!files.exists("b").await.unwrap());
}

async fn has_uploads(server: &S3Server) -> bool {
    let listed = server.request("GET", &format!("/{}?uploads=", server.bucket()), &[], b"").await.unwrap().text();
    listed.contains("<UploadId>")
}
