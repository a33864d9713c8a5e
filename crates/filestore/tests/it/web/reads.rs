//! Requests to read, with the answers that RFC 9110 asks for.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use statehouse_core::layer::{Faults, Layer};
use statehouse_core::{ErrorKind, Namespace, Result};
use statehouse_filestore::{FileServer, FileStore, Files, LayeredFileStore, MemoryFileStore};

use super::kit::{Backends, ask, send, words};

type Headers = &'static [(&'static str, &'static str)];

/// A request, and of its answer the status, some headers and the body. A header without a value is not there.
type Case = (&'static str, Headers, u16, Headers, &'static str);

const FULL: Headers = &[
    ("content-length", "10"),
    ("content-type", "text/plain; charset=utf-8"),
    ("content-disposition", "inline; filename=\"a.txt\""),
    ("etag", "$etag"),
    ("last-modified", "$modified"),
    ("accept-ranges", "bytes"),
    ("cache-control", "private, no-cache"),
    ("x-content-type-options", "nosniff"),
    ("content-range", ""),
];
const UNCHANGED: Headers = &[
    ("etag", "$etag"),
    ("last-modified", "$modified"),
    ("cache-control", "private, no-cache"),
    ("content-length", ""),
    ("content-type", ""),
];
const NONE: Headers = &[("etag", ""), ("content-type", ""), ("cache-control", "no-store")];
const OF_TEN: Headers = &[("content-range", "bytes */10"), ("content-type", "")];
const DIGITS: &str = "0123456789";
const TWO: &str = "--$boundary\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--$boundary\r\n\
                   Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--$boundary--\r\n";

const WHOLE: &[Case] = &[
    ("GET /a.txt", &[], 200, FULL, DIGITS),
    ("HEAD /a.txt", &[], 200, FULL, ""),
    ("GET /a.txt?download=1", &[], 200, FULL, DIGITS),
    ("GET /empty", &[], 200, &[("content-length", "0"), ("content-type", "application/octet-stream")], ""),
    ("HEAD /empty", &[], 200, &[("content-length", "0")], ""),
    ("GET /page.html", &[], 200, &[("content-type", "application/octet-stream")], "<script>"),
    ("GET /page.html", &[], 200, &[("content-disposition", "attachment; filename=\"page.html\"")], "<script>"),
    ("GET /page.html", &[], 200, &[("content-security-policy", "default-src 'none'; sandbox")], "<script>"),
    ("GET /picture.svg", &[], 200, &[("content-type", "application/octet-stream")], "<svg/>"),
    ("GET /picture.svg", &[], 200, &[("content-disposition", "attachment; filename=\"picture.svg\"")], "<svg/>"),
    ("GET /data.xml", &[], 200, &[("content-disposition", "attachment; filename=\"data.xml\"")], "<x/>"),
    ("GET /code.js", &[], 200, &[("content-type", "application/octet-stream")], "run()"),
    ("GET /code.js", &[], 200, &[("x-content-type-options", "nosniff")], "run()"),
    ("GET /p42/chest.dcm", &[], 200, &[("content-type", "application/dicom")], "DICM"),
    ("GET /p42/chest.dcm", &[], 200, &[("content-disposition", "attachment; filename=\"chest.dcm\"")], "DICM"),
    ("GET /p42%2Fchest.dcm", &[], 200, &[("content-type", "application/dicom")], "DICM"),
    ("GET /R%C3%B6ntgen%202.pdf", &[], 200, &[("content-type", "application/pdf")], "%PDF-"),
    (
        "GET /R%C3%B6ntgen%202.pdf",
        &[],
        200,
        &[("content-disposition", "inline; filename=\"R_ntgen 2.pdf\"; filename*=UTF-8''R%C3%B6ntgen%202.pdf")],
        "%PDF-",
    ),
    ("GET /R%C3%B6ntgen%202.pdf", &[], 200, &[("content-security-policy", "")], "%PDF-"),
];

const REFUSED: &[Case] = &[
    ("GET /none", &[], 404, NONE, ""),
    ("HEAD /none", &[], 404, NONE, ""),
    ("GET /none", &[("range", "bytes=0-1")], 404, NONE, ""),
    ("GET /none", &[("if-none-match", "*")], 404, NONE, ""),
    ("GET /p42", &[], 404, NONE, ""),
    ("GET /A.TXT", &[], 404, NONE, ""),
    ("GET /%252e%252e/a.txt", &[], 404, NONE, ""),
    ("GET /", &[], 400, NONE, ""),
    ("GET /p42/", &[], 400, NONE, ""),
    ("GET //a.txt", &[], 400, NONE, ""),
    ("GET /../a.txt", &[], 400, NONE, ""),
    ("GET /p42/../a.txt", &[], 400, NONE, ""),
    ("GET /%2e%2e/a.txt", &[], 400, NONE, ""),
    ("GET /p42/%2e%2e%2fa.txt", &[], 400, NONE, ""),
    ("GET /./a.txt", &[], 400, NONE, ""),
    ("GET /a.txt%00", &[], 400, NONE, ""),
    ("GET /a%0d%0ax", &[], 400, NONE, ""),
    ("GET /%ff", &[], 400, NONE, ""),
    ("GET /%zz", &[], 400, NONE, ""),
    ("GET /.statehouse%2fx%2f..", &[], 400, NONE, ""),
    ("PUT /a.txt", &[], 405, &[("allow", "GET, HEAD")], ""),
    ("POST /a.txt", &[], 405, &[("allow", "GET, HEAD")], ""),
    ("DELETE /a.txt", &[], 405, &[("allow", "GET, HEAD")], ""),
    ("OPTIONS /a.txt", &[], 405, &[("allow", "GET, HEAD")], ""),
    ("POST /../a.txt", &[], 405, &[("allow", "GET, HEAD")], ""),
];

const RANGES: &[Case] = &[
    (
        "GET /a.txt",
        &[("range", "bytes=0-3")],
        206,
        &[("content-range", "bytes 0-3/10"), ("content-length", "4")],
        "0123",
    ),
    ("GET /a.txt", &[("range", "bytes=0-3")], 206, &[("etag", "$etag"), ("last-modified", "$modified")], "0123"),
    ("GET /a.txt", &[("range", "bytes=0-0")], 206, &[("content-range", "bytes 0-0/10")], "0"),
    ("GET /a.txt", &[("range", "bytes=7-")], 206, &[("content-range", "bytes 7-9/10")], "789"),
    ("GET /a.txt", &[("range", "bytes=0-")], 206, &[("content-range", "bytes 0-9/10")], DIGITS),
    ("GET /a.txt", &[("range", "bytes=-2")], 206, &[("content-range", "bytes 8-9/10")], "89"),
    ("GET /a.txt", &[("range", "bytes=-99")], 206, &[("content-range", "bytes 0-9/10")], DIGITS),
    ("GET /a.txt", &[("range", "bytes=8-99")], 206, &[("content-range", "bytes 8-9/10")], "89"),
    ("GET /a.txt", &[("range", "BYTES=8-99")], 206, &[("content-range", "bytes 8-9/10")], "89"),
    ("GET /a.txt", &[("range", "bytes=8-99999999999999999999")], 206, &[("content-range", "bytes 8-9/10")], "89"),
    ("GET /a.txt", &[("range", "bytes=-99999999999999999999")], 206, &[("content-range", "bytes 0-9/10")], DIGITS),
    ("GET /a.txt", &[("range", "bytes=99999999999999999999-")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("range", "bytes=10-")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("range", "bytes=99-100")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("range", "bytes=-0")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("range", "bytes=10-,11-")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("range", "bytes=5-2")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("range", "bytes=a-b")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("range", "bytes=")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("range", "lines=0-3")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("range", "bytes=0-1"), ("range", "bytes=2-3")], 200, FULL, DIGITS),
    ("HEAD /a.txt", &[("range", "bytes=0-3")], 200, FULL, ""),
    ("GET /empty", &[("range", "bytes=0-")], 200, &[("content-length", "0"), ("content-range", "")], ""),
    ("GET /empty", &[("range", "bytes=-5")], 200, &[("content-length", "0"), ("content-range", "")], ""),
    (
        "GET /a.txt",
        &[("range", "bytes=0-1,8-9")],
        206,
        &[("content-type", "multipart/byteranges; boundary=$boundary")],
        TWO,
    ),
    ("GET /a.txt", &[("range", "bytes=0-1, -2")], 206, &[("content-range", "")], TWO),
    ("GET /a.txt", &[("range", "bytes=0-1,99-")], 206, &[("content-range", "bytes 0-1/10")], "01"),
    ("GET /a.txt", &[("range", "bytes=0-,0-,0-")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("range", "bytes=0-0,1-1,2-2,3-3,4-4")], 200, FULL, DIGITS),
    ("GET /page.html", &[("range", "bytes=0-2")], 206, &[("content-type", "application/octet-stream")], "<sc"),
];

const CONDITIONS: &[Case] = &[
    ("GET /a.txt", &[("if-none-match", "$etag")], 304, UNCHANGED, ""),
    ("HEAD /a.txt", &[("if-none-match", "$etag")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-none-match", "W/$etag")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-none-match", "*")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-none-match", "\"x\", $etag")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-none-match", "\"x\""), ("if-none-match", "$etag")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-none-match", "\"x\"")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-none-match", "nonsense")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-none-match", "$etag"), ("range", "bytes=0-3")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-match", "$etag")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-match", "*")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-match", "\"x\"")], 412, NONE, ""),
    ("HEAD /a.txt", &[("if-match", "\"x\"")], 412, NONE, ""),
    ("GET /a.txt", &[("if-match", "W/$etag")], 412, NONE, ""),
    (
        "GET /a.txt",
        &[("if-match", "\"x\", $etag"), ("range", "bytes=0-3")],
        206,
        &[("content-range", "bytes 0-3/10")],
        "0123",
    ),
    ("GET /a.txt", &[("if-modified-since", "$modified")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-modified-since", "$after")], 304, UNCHANGED, ""),
    ("GET /a.txt", &[("if-modified-since", "$before")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-modified-since", "yesterday")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-none-match", "\"x\""), ("if-modified-since", "$modified")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-unmodified-since", "$modified")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-unmodified-since", "$before")], 412, NONE, ""),
    ("GET /a.txt", &[("if-match", "$etag"), ("if-unmodified-since", "$before")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-range", "$etag"), ("range", "bytes=0-3")], 206, &[("content-range", "bytes 0-3/10")], "0123"),
    ("GET /a.txt", &[("if-range", "\"x\""), ("range", "bytes=0-3")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-range", "W/$etag"), ("range", "bytes=0-3")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-range", "$modified"), ("range", "bytes=0-3")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-range", "\"x\""), ("range", "bytes=99-")], 200, FULL, DIGITS),
    ("GET /a.txt", &[("if-range", "$etag"), ("range", "bytes=99-")], 416, OF_TEN, ""),
    ("GET /a.txt", &[("if-range", "$etag"), ("range", "bytes=0-1,8-9")], 206, &[("content-range", "")], TWO),
];

async fn filled() -> Backends {
    let backends = Backends::open().await;
    backends.put("a.txt", DIGITS.as_bytes(), Some("text/plain; charset=utf-8")).await;
    backends.put("empty", b"", None).await;
    backends.put("page.html", b"<script>", Some("text/html")).await;
    backends.put("picture.svg", b"<svg/>", Some("image/svg+xml")).await;
    backends.put("data.xml", b"<x/>", Some("application/xml")).await;
    backends.put("code.js", b"run()", Some("text/javascript")).await;
    backends.put("p42/chest.dcm", b"DICM", Some("application/dicom")).await;
    backends.put("Röntgen 2.pdf", b"%PDF-", Some("application/pdf")).await;
    backends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_the_same_answer_on_every_backend() {
    let backends = filled().await;
    let cases: Vec<&Case> = [WHOLE, REFUSED, RANGES, CONDITIONS].into_iter().flatten().collect();
    assert!(cases.len() >= 80, "{}", cases.len());
    let mut servers = Vec::new();
    for (backend, files) in &backends.all {
        servers.push((*backend, FileServer::new(files.clone()).with_max_ranges(4), files));
    }
    for (line, headers, status, expected, body) in cases {
        let mut first = None;
        for (backend, server, files) in &servers {
            let path = line.split_once(" /").unwrap().1.split('?').next().unwrap();
            let name = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
            let answer = ask(server, &words(files, &name).await, line, headers).await;
            let cell = format!("{line} {headers:?} of {backend}: {answer:?}");
            assert_eq!(answer.status, StatusCode::from_u16(*status).unwrap(), "{cell}");
            assert_eq!(answer.body, **body, "{cell}");
            for (name, value) in *expected {
                assert_eq!(answer.headers.get(*name).map_or("", String::as_str), *value, "{name}, {cell}");
            }
            let first = first.get_or_insert_with(|| answer.clone());
            assert_eq!(*first, answer, "{line} {headers:?}: {backend} answers as memory does");
        }
    }
    backends.clear().await;
}

/// A file of many pieces, and ranges of it that are read one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_files_and_their_ranges_are_sent_whole() {
    let backends = Backends::open().await;
    let content: Vec<u8> = (0..9_u32 << 18).flat_map(u32::to_be_bytes).collect();
    for (backend, files) in &backends.all {
        files.put("long", content.clone()).await.unwrap();
        let server = FileServer::new(files.clone());
        let get = |range: Option<&str>| {
            let request =
                range.into_iter().fold(Request::get("/long"), |request, range| request.header("range", range));
            send(&server, request.body(Body::empty()).unwrap())
        };
        let whole = get(None).await.into_body().collect().await.unwrap().to_bytes();
        assert!(whole == content, "{backend}");
        let parts = get(Some("bytes=1-3000000,5000000-5000000,-10")).await;
        let length: usize = parts.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let parts = parts.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(parts.len(), length, "{backend}");
        let find = |range: &[u8]| parts.windows(range.len()).any(|window| window == range);
        assert!(find(&content[2_900_000..=3_000_000]) && find(&content[content.len() - 10..]), "{backend}");
    }
    backends.clear().await;
}

/// Replaces the file before each read of it, as often as it is told.
#[derive(Debug)]
struct Meddler {
    files: Files,
    left: std::sync::atomic::AtomicUsize,
}

impl Layer for Meddler {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        use std::sync::atomic::Ordering::Relaxed;
        if operation == "filestore.get" && self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            self.files.put("a", "another").await?;
        }
        work.await
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_between_two_steps_is_looked_at_again() {
    for (times, status) in [(1, 206), (3, 206), (99, 503)] {
        let store = Arc::new(MemoryFileStore::new());
        let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
        let etag = files.put("a", "the first").await.unwrap().etag;
        let meddler = Meddler { files, left: times.into() };
        let files = Files::new(Arc::new(LayeredFileStore::new(store, meddler)), Namespace::new("n").unwrap());
        let request = Request::get("/a").header("if-none-match", "\"x\"").header("range", "bytes=0-2");
        let response = send(&FileServer::new(files), request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{times}");
        if status == 206 {
            assert_ne!(response.headers()["etag"].to_str().unwrap(), etag.as_str());
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ano");
        }
    }
}

#[tokio::test]
async fn an_outage_is_503_and_never_404() {
    let store = Arc::new(LayeredFileStore::new(
        Arc::new(MemoryFileStore::new()) as Arc<dyn FileStore>,
        Faults::seeded(1).with_refused_calls(1.0),
    ));
    let server = FileServer::new(Files::new(store, Namespace::new("n").unwrap()));
    for (method, range) in [("GET", false), ("GET", true), ("HEAD", false)] {
        let request = Request::builder().method(method).uri("/a");
        let request = if range { request.header("range", "bytes=0-1,3-4") } else { request };
        let response = send(&server, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(
            (&response.headers()["retry-after"], &response.headers()["cache-control"]),
            (&"1".parse().unwrap(), &"no-store".parse().unwrap())
        );
    }
}

/// What is damaged on the disk is a broken answer, and never a whole one.
#[tokio::test]
async fn a_damaged_file_does_not_arrive_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = statehouse_filestore::LocalFileStore::open(directory.path()).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    files.put("a", vec![7; 3 << 20]).await.unwrap();
    let path = directory.path().join("n+/a");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2 << 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let response = send(&FileServer::new(files), Request::get("/a").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap_err().kind(), ErrorKind::Corrupt);
}
