//! Answers that no honest server gives, and things that other clients put into the bucket.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{Files, ObjectFileStore, Probe, S3Config};
use statehouse_testkit::S3Server;

use crate::s3::{config, files};
use crate::stub::{Request, Stub, reply};

const NO_KEY: &[u8] = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>";
const XML: (&str, &str) = ("content-type", "application/xml");

async fn on(stub: &Stub) -> Files {
    Files::new(Arc::new(opened(stub).await), Namespace::new("n").unwrap())
}

async fn opened(stub: &Stub) -> ObjectFileStore {
    opened_with(stub, Probe::Never).await
}

async fn opened_with(stub: &Stub, probe: Probe) -> ObjectFileStore {
    ObjectFileStore::open_s3(config_of(stub).with_probe(probe)).await.unwrap()
}

fn config_of(stub: &Stub) -> S3Config {
    S3Config::new("b")
        .with_endpoint(stub.endpoint())
        .with_credentials("key", "secret".into())
        .with_transport(Transport::PlainAllowed)
        .with_timeouts(Duration::from_secs(2), Duration::from_millis(700))
        .with_retries(1)
}

fn listing(keys: &[&str], prefixes: &[&str], token: Option<&str>) -> String {
    let contents = keys.iter().map(|key| {
        format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>")
    });
    let prefixes = prefixes.iter().map(|prefix| format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"));
    let token =
        token.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>")).unwrap_or_default();
    let body: String = contents.chain(prefixes).collect();
    format!("<ListBucketResult><EncodingType>url</EncodingType>{body}{token}</ListBucketResult>")
}

/// Keys that are no files of ours, keys of others, and keys of nobody.
#[tokio::test]
async fn foreign_keys_are_left_out_of_listings_and_counted() {
    let long = format!("n/{}", "x".repeat(420));
    let foreign = ["n/x//y", "n/a%0Ab", "n/a%01b", "n/photos/", "n/", "n/..", "n/%FF%FE/../b", "other/a", "n", &long];
    let (ours, within) = (["n/a", "n/b+c", "n/d%2Be", "n/%C3%A9"], ["n/p/", "n/x//", "n//", "other/p/", "n/z"]);
    let body = listing(&[&ours[..], &foreign, &[".statehouse/x"]].concat(), &within, None);
    let stub = Stub::start(move |_, to| reply(to, "200 OK", &[XML], body.as_bytes()));
    let files = on(&stub).await;
    let page = files.list("").await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(names, ["n/a", "n/b c", "n/d+e", "n/é"]);
    assert_eq!(page.prefixes, ["p/"]);
    assert_eq!(page.skipped, 10 + 4);
}

#[tokio::test]
async fn a_listing_that_does_not_get_on_ends_with_an_error() {
    let token = Arc::new(AtomicU64::new(0));
    let same = listing(&["n/a", "n/b"], &[], Some("again"));
    type Make = Box<dyn Fn() -> String + Send + Sync>;
    let table: [(&str, Make); 3] = [
        ("the same page for ever", Box::new(move || same.clone())),
        ("new tokens and the same keys", {
            let token = Arc::clone(&token);
            Box::new(move || listing(&["n/a"], &[], Some(&token.fetch_add(1, Ordering::Relaxed).to_string())))
        }),
        ("nothing but tokens", {
            Box::new(move || listing(&[], &[], Some(&token.fetch_add(1, Ordering::Relaxed).to_string())))
        }),
    ];
    for (what, page) in table {
        // The listing with which a store is opened is well.
        let stub = Stub::start(move |request, to| match request.line.contains("prefix=n") {
            true => reply(to, "200 OK", &[XML], page().as_bytes()),
            false => reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes()),
        });
        let all: Result<Vec<_>, _> = on(&stub).await.list("").stream().try_collect().await;
        assert_eq!(all.unwrap_err().kind(), ErrorKind::Unexpected, "{what}");
    }
}

#[tokio::test]
async fn a_listing_of_something_else_is_refused() {
    let empty = listing(&[], &[], None);
    let other = empty.replace("<EncodingType>", "<Prefix>m%2F</Prefix><EncodingType>");
    for wrong in [other.as_str(), "<html>hello</html>", "", "\0"] {
        let (empty, given) = (empty.clone(), wrong.to_owned());
        let stub = Stub::start(move |request, to| {
            let text = if request.line.contains("prefix=n") { &given } else { &empty };
            reply(to, "200 OK", &[XML], text.as_bytes())
        });
        let files = on(&stub).await;
        // Text without a single file is what a gateway shows, and no listing of nothing.
        let kind = if wrong == other { ErrorKind::Unexpected } else { ErrorKind::Unavailable };
        assert_eq!(files.list("").await.unwrap_err().kind(), kind, "{wrong:?}");
    }
}

/// Servers that give fewer than what is asked for are asked again, until the page is full.
#[tokio::test]
async fn a_page_is_full_if_there_is_enough() {
    let keys: Vec<_> = (0..100).map(|n| format!("n/{n:03}")).collect();
    let stub = Stub::start(move |request, to| {
        let at = request.line.split_once("continuation-token=").map_or(0, |(_, rest)| rest[..3].parse().unwrap());
        let page: Vec<_> = keys[at..at + 10].iter().map(String::as_str).collect();
        let token = format!("{:03}", at + 10);
        reply(
            to,
            "200 OK",
            &[XML],
            listing(&page, &[], Some(&token).filter(|_| at < 90).map(String::as_str)).as_bytes(),
        )
    });
    let files = on(&stub).await;
    assert_eq!(files.list("").limit(40).await.unwrap().entries.len(), 40);
    let all: Vec<_> = files.list("").limit(40).stream().try_collect().await.unwrap();
    let all: BTreeSet<_> = all.into_iter().map(|entry| entry.key).collect();
    assert_eq!(all.len(), 100);
}

#[tokio::test]
async fn what_other_clients_store_breaks_no_listing_and_no_deletion() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let base = format!("/{}/{}", server.bucket(), files.namespace());
    for key in ["photos/", "empty/folder/", "tab%09here", "line%0Abreak", "nul%01x", "x//y", "%FFraw", "ok"] {
        // Some servers refuse some of them.
        let _ = server.request("PUT", &format!("{base}/{key}"), &[], b"x").await.unwrap();
    }
    let store = ObjectFileStore::open_s3(config(&server)).await.unwrap();
    let files = Files::new(Arc::new(store), files.namespace().clone());
    files.put("mine", "x").await.unwrap();
    let page = files.list("").await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| files.name(&entry.key).unwrap()).collect();
    assert!(names.contains(&"mine") && names.contains(&"ok") && !names.contains(&"photos"), "{names:?}");
    assert!(page.skipped > 0);
    for entry in page.entries {
        let _ = files.store().delete_with(&entry.key, Default::default()).await.unwrap();
    }
    assert_eq!(files.list("").await.unwrap().entries, []);
}

/// A body without an end where there should be none, or a short one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_an_end_are_cut_off() {
    let sent = Arc::new(AtomicU64::new(0));
    for status in ["200 OK", "404 Not Found", "500 Internal Server Error", "403 Forbidden"] {
        for slowly in [false, true] {
            let counter = Arc::clone(&sent);
            let stub = Stub::start(move |request, to| {
                if request.line.contains("max-keys=1 ") {
                    return reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes());
                }
                to.write_all(
                    format!("HTTP/1.1 {status}\r\netag: \"e\"\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(),
                )?;
                loop {
                    let piece = vec![b' '; if slowly { 1 } else { 1 << 16 }];
                    to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                    to.write_all(&piece)?;
                    to.write_all(b"\r\n")?;
                    counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(if slowly { 50 } else { 0 }));
                }
            });
            let (files, start) = (on(&stub).await, Instant::now());
            sent.store(0, Ordering::Relaxed);
            let (put, list, delete) = tokio::join!(
                files.put("a", "x").into_future(),
                files.list("").into_future(),
                files.delete("a").into_future(),
            );
            assert!(list.is_err(), "{status}: {list:?}");
            assert!(put.is_err() || status == "200 OK", "{status}: {put:?}");
            drop(delete);
            assert!(start.elapsed() < Duration::from_secs(20), "{status}: {:?}", start.elapsed());
            // What fits into the sockets' buffers has left the server, too.
            assert!(sent.load(Ordering::Relaxed) < 150 << 20, "{status}: {}", sent.load(Ordering::Relaxed));
        }
    }
}

#[tokio::test]
async fn metadata_that_is_no_text_does_not_make_a_file_unreadable() {
    let stub = Stub::start(|request, to| {
        if request.line.contains("list-type") {
            return reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes());
        }
        let mut head = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\netag: \"e\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: a/\xff\xfe\r\nx-amz-meta-owner: \xff\r\n\r\n".to_vec();
        if request.line.starts_with("GET") {
            head.extend_from_slice(b"abc");
        }
        to.write_all(&head)
    });
    let object = on(&stub).await.get("a").await.unwrap();
    assert_eq!(object.meta().content_type, None);
    assert_eq!(object.bytes().await.unwrap(), "abc");
}

/// A server that takes an upload apart from its end; what it says of the beginning and the end, and how often it was told
/// to drop the parts.
fn uploading(begun: &'static str, ended: &'static str) -> (Stub, Arc<AtomicU64>) {
    let aborted = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&aborted);
    let stub = Stub::start(move |request, to| {
        let (method, target) = request.line.split_once(' ').unwrap();
        match method {
            "GET" => reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes()),
            "PUT" => reply(to, "200 OK", &[("etag", "\"part\"")], b""),
            "POST" if target.contains("uploads") => reply(to, "200 OK", &[XML], begun.as_bytes()),
            "POST" => reply(to, ended, &[XML], b"<Error><Code>InternalError</Code></Error>"),
            "DELETE" if target.contains("uploadId") => {
                counter.fetch_add(1, Ordering::Relaxed);
                reply(to, "204 No Content", &[], b"")
            }
            _ => reply(to, "404 Not Found", &[], b""),
        }
    });
    (stub, aborted)
}

const BEGUN: &str = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>n/a&amp;b</Key><UploadId>u</UploadId>\
                     </InitiateMultipartUploadResult>";

#[tokio::test]
async fn an_upload_whose_end_fails_is_aborted_and_of_unknown_outcome() {
    for ended in ["500 Internal Server Error", "200 OK"] {
        let (stub, aborted) = uploading(BEGUN, ended);
        let error = on(&stub).await.put("a&b", vec![7; 9 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{ended}: {error:?}");
        for _ in 0..200 {
            if aborted.load(Ordering::Relaxed) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(aborted.load(Ordering::Relaxed) > 0, "{ended}");
    }
}

#[tokio::test]
async fn an_answer_about_another_object_is_refused() {
    let other =
        "<InitiateMultipartUploadResult><Key>n/other</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    let (stub, _) = uploading(other, "200 OK");
    let error = on(&stub).await.put("a&b", vec![7; 9 << 20]).await.unwrap_err();
    assert!(format!("{error:?}").contains("another object"), "{error:?}");
}

/// Markers that go round in a circle, the same page of digests for ever, and keys of digests that no file has.
#[tokio::test]
async fn a_sweep_ends_whatever_the_server_says_and_whatever_lies_there() {
    let upload = |key: &str| format!("<Upload><Key>{key}</Key><UploadId>i</UploadId></Upload>");
    let uploads = move |key: &str, id: &str, more: bool| {
        let markers = format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>");
        let body = format!("{}<IsTruncated>{more}</IsTruncated>{markers}", upload("line%0Abreak"));
        format!("<ListMultipartUploadsResult><EncodingType>url</EncodingType>{body}</ListMultipartUploadsResult>")
    };
    let keys =
        [".statehouse/sha256/x//y", ".statehouse/sha256/a%01/0", ".statehouse/sha256/n/a/0", ".statehouse/sha256/"];
    let (whole, round) = (listing(&keys, &[], None), listing(&keys, &[], Some("again")));
    type Say = Box<dyn Fn(&str) -> String + Send + Sync>;
    let well = uploads("", "", false);
    let table: [(Say, String, Option<u64>); 4] = [
        (
            Box::new({
                let well = well.clone();
                move |_| well.clone()
            }),
            whole.clone(),
            Some(1),
        ),
        (
            Box::new({
                let well = well.clone();
                move |_| well.clone()
            }),
            round,
            None,
        ),
        (
            Box::new(move |line| uploads("k", if line.contains("marker=one") { "two" } else { "one" }, true)),
            whole.clone(),
            None,
        ),
        (Box::new(move |line| uploads(if line.contains("key-marker=a") { "b" } else { "a" }, "i", true)), whole, None),
    ];
    for (number, (say, digests, swept)) in table.into_iter().enumerate() {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let stub = Stub::start(move |request, to| {
            counter.fetch_add(1, Ordering::Relaxed);
            let date = ("date", "Thu, 26 Nov 2026 11:08:02 GMT");
            match request.line.as_str() {
                line if line.contains("uploads=") => reply(to, "200 OK", &[XML, date], say(line).as_bytes()),
                line if line.contains("sha256%2F") => reply(to, "200 OK", &[XML, date], digests.as_bytes()),
                line if line.starts_with("GET") => {
                    reply(to, "200 OK", &[XML, date], listing(&[], &[], None).as_bytes())
                }
                line if line.starts_with("HEAD") => to.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n"),
                _ => reply(to, "204 No Content", &[], b""),
            }
        });
        let store = opened(&stub).await;
        let done = tokio::time::timeout(Duration::from_secs(30), store.sweep(Duration::ZERO)).await;
        let done = done.unwrap_or_else(|_| panic!("{number}: no end after {} requests", asked.load(Ordering::Relaxed)));
        match swept {
            Some(digests) => assert_eq!(done.unwrap().digests, digests),
            None => assert_eq!(done.unwrap_err().kind(), ErrorKind::Unexpected, "{number}"),
        }
    }
}

const NO_UPLOADS: &str = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
const DATE: (&str, &str) = ("date", "Thu, 26 Nov 2026 11:08:02 GMT");

/// One that policy forbids keeps none of the others, be they of the same page or of a later one.
#[tokio::test]
async fn a_digest_that_may_not_be_deleted_keeps_no_other() {
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&deleted);
    let key = |name: &str| format!(".statehouse/sha256/n/{name}/{}", "0".repeat(32));
    let (first, second) = ([key("a"), key("b")], [key("c")]);
    let stub = Stub::start(move |request, to| match request.line.as_str() {
        line if line.contains("uploads=") => reply(to, "200 OK", &[XML, DATE], NO_UPLOADS.as_bytes()),
        line if line.contains("sha256%2F") => {
            let (keys, token) = if line.contains("token=2") { (&second[..], None) } else { (&first[..], Some("2")) };
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            reply(to, "200 OK", &[XML, DATE], listing(&keys, &[], token).as_bytes())
        }
        line if line.starts_with("GET") && line.contains("/staged/") => reply(to, "404 Not Found", &[XML], NO_KEY),
        line if line.starts_with("GET") => reply(to, "200 OK", &[XML, DATE], listing(&[], &[], None).as_bytes()),
        line if line.starts_with("HEAD") => to.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n"),
        line if line.contains("/n/a/") => {
            reply(to, "403 Forbidden", &[XML], b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        }
        line => {
            seen.lock().unwrap().extend(line.split('/').rev().nth(2).map(str::to_owned));
            reply(to, "204 No Content", &[], b"")
        }
    });
    let error = opened(&stub).await.sweep(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert_eq!(*deleted.lock().unwrap(), ["b", "c"]);
}

/// What a server says when a store is opened that may keep files for some time: it keeps metadata, and deletes on a condition.
fn probed(request: &Request, to: &mut TcpStream) -> Option<std::io::Result<()>> {
    let line = request.line.as_str();
    line.contains("/.statehouse/probe/").then(|| match line.split(' ').next() {
        Some("HEAD") => {
            let kept = "x-amz-meta-statehouse-probe: yes\r\ncontent-disposition: inline\r\ncache-control: no-store\r\n";
            let of = "etag: \"e\"\r\nlast-modified: Thu, 26 Nov 2026 11:08:02 GMT\r\ncontent-length: 1\r\n";
            to.write_all(format!("HTTP/1.1 200 OK\r\n{of}{kept}\r\n").as_bytes())
        }
        Some("DELETE") if request.header("if-match").is_some() => reply(to, "412 Precondition Failed", &[], b""),
        Some("DELETE") => reply(to, "204 No Content", &[], b""),
        _ if line.contains("/below") => reply(to, "409 Conflict", &[], b""),
        _ => reply(to, "200 OK", &[("etag", "\"e\"")], b""),
    })
}

/// Or each try to open it would leave one more object behind.
#[tokio::test]
async fn who_may_not_delete_is_told_before_anything_is_tried_out() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let stub = Stub::start(move |request, to| match request.line.as_str() {
        line if line.starts_with("DELETE") => {
            reply(to, "403 Forbidden", &[XML], b"<Error><Code>AccessDenied</Code></Error>")
        }
        line => {
            log.lock().unwrap().push(line.to_owned());
            probed(request, to).unwrap_or_else(|| reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes()))
        }
    });
    for _ in 0..3 {
        let error = ObjectFileStore::open_s3(config_of(&stub)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
    let written = asked.lock().unwrap().iter().filter(|line| !line.starts_with("GET")).cloned().collect::<Vec<_>>();
    assert!(written.is_empty(), "{written:?}");
}

/// That of the host may be off by years.
#[tokio::test]
async fn when_a_sweep_has_to_look_is_by_the_servers_clock() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let date = ("date", "Sat, 01 Jan 2000 00:00:00 GMT");
    let stub = Stub::start(move |request, to| {
        if let Some(said) = probed(request, to) {
            return said;
        }
        if request.line.starts_with("PUT") {
            log.lock().unwrap().push(request.line.clone());
            return reply(to, "200 OK", &[date, ("etag", "\"e\"")], b"");
        }
        reply(to, "200 OK", &[XML, date], listing(&[], &[], None).as_bytes())
    });
    let files = Files::new(Arc::new(opened_with(&stub, Probe::Open).await), Namespace::new("n").unwrap());
    files.put("a", "x").time_to_live(Duration::from_secs(3600)).await.unwrap();
    let marker = asked.lock().unwrap()[0].clone();
    let due: u64 = marker.split('/').nth(4).unwrap().parse().unwrap();
    let end = 946_684_800 + 3600;
    assert!((end..end + 600).contains(&due), "{marker}");
    let now = files.store().now().await.unwrap().as_micros() / 1_000_000;
    assert!((946_684_800..946_684_800 + 600).contains(&now), "{now}");
}

/// The page of a proxy whose server is away, or of another program: never an absent file, at no verb.
#[tokio::test]
async fn a_page_that_no_s3_server_gives_is_no_absent_file() {
    for kind in ["text/html", "text/plain; charset=utf-8"] {
        let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let gone = Arc::clone(&away);
        let stub = Stub::start(move |request, to| {
            if !gone.load(Ordering::Relaxed) {
                return reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes());
            }
            let body: &[u8] = if request.line.starts_with("HEAD") { b"" } else { b"404 page not found" };
            reply(to, "404 Not Found", &[("content-type", kind)], body)
        });
        let files = on(&stub).await;
        away.store(true, Ordering::Relaxed);
        let etag = statehouse_filestore::ETag::new("\"e\"");
        let errors = [
            files.head("a").await.map(drop),
            files.exists("a").await.map(drop),
            files.get("a").await.map(drop),
            files.get("a").range(1..).await.map(drop),
            files.get("a").if_match(&etag).await.map(drop),
            files.put("a", "x").await.map(drop),
            files.copy("a", "b").await.map(drop),
            files.delete("a").await.map(drop),
            files.list("").await.map(drop),
        ];
        for (number, error) in errors.into_iter().enumerate() {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable, "{kind}, {number}");
        }
    }
}

/// What is left is litter: the answer is about the file.
#[tokio::test]
async fn a_delete_is_done_when_the_file_is_gone_whatever_becomes_of_its_digest() {
    let stub = Stub::start(|request, to| match request.line.as_str() {
        line if line.starts_with("HEAD") => {
            let put = ("x-amz-meta-statehouse-put", "0123456789abcdef0123456789abcdef.apart");
            reply(to, "200 OK", &[("etag", "\"e\""), put, ("last-modified", "Thu, 26 Nov 2026 11:08:02 GMT")], b"")
        }
        line if line.contains("sha256") => {
            reply(to, "403 Forbidden", &[XML], b"<Error><Code>AccessDenied</Code></Error>")
        }
        line if line.starts_with("DELETE") => to.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
        _ => reply(to, "200 OK", &[XML], listing(&[], &[], None).as_bytes()),
    });
    assert_eq!(on(&stub).await.delete("a").await.unwrap(), statehouse_filestore::Deleted::Removed);
}

/// What may not be listed of what is left keeps nothing else.
#[tokio::test]
async fn a_sweep_that_may_not_list_uploads_sweeps_whatever_else_there_is() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let headers = [XML, ("date", "Thu, 01 Jan 2026 00:00:00 GMT")];
    let stub = Stub::start(move |request, to| {
        let key = ".statehouse/probe/0123";
        match &*request.line {
            line if line.starts_with("DELETE") => {
                log.lock().unwrap().push(line.to_owned());
                reply(to, "204 No Content", &headers, b"")
            }
            line if line.contains("uploads") => {
                reply(to, "403 Forbidden", &headers, b"<Error><Code>AccessDenied</Code></Error>")
            }
            line if line.contains("probe") => reply(to, "200 OK", &headers, listing(&[key], &[], None).as_bytes()),
            _ => reply(to, "200 OK", &headers, listing(&[], &[], None).as_bytes()),
        }
    });
    let error = opened(&stub).await.sweep(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    let asked = asked.lock().unwrap();
    assert!(asked.len() == 1 && asked[0].contains(".statehouse/probe/0123"), "{asked:?}");
}

/// Some servers fail at longer names as if they were busy, and what is kept beside a file has a longer one than the file.
#[tokio::test]
async fn a_key_that_is_too_long_with_its_prefix_is_refused_before_anything_is_sent() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let stub = Stub::start(move |request, to| {
        count.fetch_add(1, Ordering::Relaxed);
        let body = listing(&[], &[], None);
        reply(
            to,
            "200 OK",
            &[XML, ("etag", "\"e\"")],
            if request.line.starts_with("GET") { body.as_bytes() } else { b"" },
        )
    });
    let config = config_of(&stub).with_probe(Probe::Never).with_prefix("p".repeat(100));
    let files = Files::new(Arc::new(ObjectFileStore::open_s3(config).await.unwrap()), Namespace::new("n").unwrap());
    let name = |len: usize| format!("{}/{}", "x".repeat(150), "y".repeat(len - 151));
    let (long, longest) = (name(427 - 101 - 2 + 1), name(427 - 101 - 2));
    let before = asked.load(Ordering::Relaxed);
    for done in [
        files.put(&long, "x").await.map(drop),
        files.put(&long, "x").time_to_live(Duration::from_secs(9)).await.map(drop),
        files.put(&long, "x").stage().await.map(drop),
        files.copy("a", &long).await.map(drop),
    ] {
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains("427 bytes"), "{error}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), before, "nothing is sent");
    files.put(&longest, "x").await.unwrap();
}
