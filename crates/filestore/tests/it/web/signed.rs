//! URLs that are signed open what they were signed for, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use statehouse_core::{KeyRing, ManualClock, Namespace, Secret};
use statehouse_filestore::{Digest, Disposition, FileBody, FileServer, Files, SignedUrls, UploadLimits};

use super::kit::{Backends, send};

fn secret(letter: &str) -> Secret {
    Secret::new(letter.repeat(32))
}

fn keys() -> KeyRing {
    KeyRing::new("new", secret("n")).unwrap().and_former("old", secret("o")).unwrap()
}

/// All URLs here begin with nothing, so that a request's target is the URL itself.
fn urls(files: &Files, clock: &ManualClock) -> SignedUrls {
    SignedUrls::new(files.clone(), keys(), "").with_purpose("letters").with_clock(clock.clone())
}

async fn get(server: &FileServer, url: &str) -> (u16, String) {
    let response = send(server, Request::get(url).body(Body::empty()).unwrap()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn put(server: &FileServer, url: &str, headers: &[(&str, &str)], body: &'static str) -> Response<FileBody> {
    let request = headers.iter().fold(Request::put(url), |request, (name, value)| request.header(*name, *value));
    send(server, request.body(Body::from(body)).unwrap()).await
}

async fn stored(server: &FileServer, url: &str, headers: &[(&str, &str)], body: &'static str) -> u16 {
    put(server, url, headers, body).await.status().as_u16()
}

const PNG: &[(&str, &str)] = &[("content-type", "image/png")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_stores_and_reads_on_every_backend_until_it_expires() {
    let backends = Backends::open().await;
    for (backend, files) in &backends.all {
        let clock = ManualClock::default();
        let urls = urls(files, &clock);
        let server = FileServer::signed(urls.clone());
        let sign = urls.put("p42/Knie links.png").content_type("image/png").len(5).sha256(Digest::of(b"12345"));
        let upload = sign.url().unwrap();
        let response = put(&server, &upload, PNG, "12345").await;
        assert_eq!(response.status(), 200, "{backend}");
        let meta = files.head("p42/Knie links.png").await.unwrap();
        assert_eq!(response.headers()["etag"], meta.etag.as_str(), "{backend}");
        assert_eq!(meta.content_type.as_deref(), Some("image/png"), "{backend}");
        let download = urls.get("p42/Knie links.png").valid_for(Duration::from_secs(60)).url().unwrap();
        assert_eq!(get(&server, &download).await, (200, "12345".to_owned()), "{backend}");
        let head = send(&server, Request::head(&download).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"5".parse().unwrap()));
        let range = Request::get(&download).header("range", "bytes=1-2").body(Body::empty()).unwrap();
        assert_eq!(send(&server, range).await.status(), 206, "{backend}");
        // To the second.
        clock.advance(Duration::from_secs(59));
        assert_eq!(get(&server, &download).await.0, 200, "{backend}");
        clock.advance(Duration::from_secs(1));
        assert_eq!(get(&server, &download).await, (403, String::new()), "{backend}");
        assert_eq!(stored(&server, &upload, PNG, "12345").await, 200, "five minutes are not over");
        clock.advance(Duration::from_secs(240));
        assert_eq!(stored(&server, &upload, PNG, "12345").await, 403, "{backend}");
    }
    backends.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_altered_is_refused() {
    let backends = Backends::open().await;
    backends.put("a", b"secret", None).await;
    backends.put("b", b"other", None).await;
    for (backend, files) in &backends.all {
        let clock = ManualClock::default();
        let urls = urls(files, &clock);
        let server = FileServer::signed(urls.clone());
        let download = urls.get("a").file_name("a.txt").url().unwrap();
        assert_eq!(get(&server, &download).await.0, 200, "{backend}");
        let signature = download.split_once("signature=").unwrap().1.to_owned();
        let flipped = format!("{}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
        let altered = [
            "/a".to_owned(),
            "/b".to_owned() + &download[2..],
            download.replace("expires=", "expires=1"),
            download.replace("filename=a.txt", "filename=a.html"),
            download.replace("&filename=a.txt", ""),
            format!("{download}&show=inline"),
            format!("{download}&type=text%2Fhtml"),
            format!("{download}&expires=9"),
            download.replace("key=new", "key=old"),
            download.replace("key=new", "key=none"),
            download.replace("key=new", "key="),
            download.replace(&signature, &flipped),
            download.replace(&signature, &signature[..63]),
            download.replace(&signature, ""),
            download.replace(&signature, &signature.to_uppercase()),
        ];
        for url in &altered {
            assert_eq!(get(&server, url).await, (403, String::new()), "{backend}: {url}");
        }
        // The method: a URL to read does not store, and one to store does not read.
        assert_eq!(stored(&server, &download, &[], "mine").await, 403, "{backend}");
        let upload = urls.put("a").content_type("image/png").max_len(9).url().unwrap();
        assert_eq!(get(&server, &upload).await.0, 403, "{backend}");
        for url in [
            upload.replace("image%2Fpng", "text%2Fhtml"),
            upload.replace("max-length=9", "max-length=99"),
            upload.replace("&max-length=9", ""),
            format!("{upload}&length=4"),
            format!("{upload}&create=1"),
            format!("{upload}&sha256={}", Digest::of(b"mine")),
        ] {
            assert_eq!(stored(&server, &url, PNG, "mine").await, 403, "{backend}: {url}");
        }
        assert_eq!(files.get("a").bytes().await.unwrap(), "secret", "{backend}");
        let delete = Request::delete(&upload).body(Body::empty()).unwrap();
        let refused = send(&server, delete).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"GET, HEAD, PUT".parse().unwrap()));
        // What is not signed changes nothing.
        assert_eq!(get(&server, &format!("{download}&utm_source=letter")).await.0, 200, "{backend}");
    }
    backends.clear().await;
}

/// A request must be what was signed: its type, and how much there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_what_was_signed_or_nothing() {
    let backends = Backends::open().await;
    for (backend, files) in &backends.all {
        let urls = urls(files, &ManualClock::default());
        let server = FileServer::signed(urls.clone()).with_max_upload(8);
        let exact = urls.put("x").content_type("image/png").len(5).url().unwrap();
        let most = urls.put("x").content_type("image/png").max_len(5).url().unwrap();
        let digest = urls.put("x").content_type("image/png").sha256(Digest::of(b"12345")).url().unwrap();
        let (long, gzip, part) =
            (("content-length", "6"), ("content-encoding", "gzip"), ("content-range", "bytes 0-4/9"));
        let of_png = |more: (&'static str, &'static str)| vec![PNG[0], more];
        for (url, headers, body, status) in [
            (&exact, vec![("content-type", "text/html")], "12345", 403),
            (&exact, vec![("content-type", "image/png; x=y")], "12345", 403),
            (&exact, vec![], "12345", 403),
            (&exact, of_png(long), "123456", 403),
            (&exact, PNG.to_vec(), "123456", 413),
            (&exact, PNG.to_vec(), "1234", 400),
            (&most, of_png(long), "123456", 413),
            (&most, PNG.to_vec(), "123456", 413),
            (&digest, PNG.to_vec(), "54321", 400),
            (&digest, PNG.to_vec(), "123456789", 413),
            (&most, of_png(gzip), "1234", 415),
            (&most, of_png(part), "1234", 400),
            (&most, of_png(("if-match", "*")), "1234", 501),
            (&most, of_png(("if-match", "\"a\", \"b\"")), "1234", 501),
            (&most, of_png(("if-none-match", "\"a\"")), "1234", 501),
            (&most, of_png(("if-unmodified-since", "yesterday")), "1234", 501),
            (&most, of_png(("if-match", "\"a\"")), "1234", 412),
        ] {
            assert_eq!(stored(&server, url, &headers, body).await, status, "{backend}: {headers:?} {body}");
            assert!(!files.exists("x").await.unwrap(), "{backend}: {headers:?} {body}");
        }
        // Browsers take the last of several types.
        let any = urls.put("x").url().unwrap();
        for types in [&["audio/mpeg;a, text/html"][..], &["image/png", "text/html"], &["nonsense"], &["im\u{e4}ge/png"]]
        {
            let types: Vec<_> = types.iter().map(|kind| ("content-type", *kind)).collect();
            assert_eq!(stored(&server, &any, &types, "1").await, 400, "{backend}: {types:?}");
            assert!(!files.exists("x").await.unwrap(), "{backend}: {types:?}");
        }
        assert_eq!(
            stored(&server, &most, &[PNG, &[("content-type", "text/html")]].concat(), "1").await,
            403,
            "{backend}"
        );
        assert_eq!(stored(&server, &most, PNG, "1234").await, 200, "{backend}");
        // Once only, by the URL or by the request.
        let once = urls.put("y").create().url().unwrap();
        assert_eq!(stored(&server, &once, PNG, "1").await, 200, "{backend}");
        assert_eq!(stored(&server, &once, PNG, "2").await, 412, "{backend}");
        assert_eq!(files.head("y").await.unwrap().content_type.as_deref(), Some("image/png"), "as it was sent");
        let any = urls.put("y").url().unwrap();
        assert_eq!(stored(&server, &any, &[("if-none-match", "*")], "3").await, 412, "{backend}");
        let etag = files.head("y").await.unwrap().etag.to_string();
        assert_eq!(stored(&server, &any, &[("if-match", &etag)], "4").await, 200, "{backend}");
        assert_eq!(stored(&server, &any, &[("if-match", &etag)], "5").await, 412, "{backend}");
        assert_eq!(files.get("y").bytes().await.unwrap(), "4", "{backend}");
    }
    backends.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_opens_nothing_of_another_purpose_or_tenant_and_outlives_the_change_of_its_key() {
    let backends = Backends::open().await;
    let (_, files) = &backends.all[0];
    files.put("a", "x").await.unwrap();
    let other = Files::new(Arc::clone(files.store()), Namespace::new("other").unwrap());
    other.put("a", "theirs").await.unwrap();
    let clock = ManualClock::default();
    let mine = urls(files, &clock);
    let url = mine.get("a").url().unwrap();
    let status = async |urls: SignedUrls| get(&FileServer::signed(urls), &url).await.0;
    assert_eq!(status(mine.clone()).await, 200);
    assert_eq!(status(mine.clone().with_purpose("invoices")).await, 403, "another purpose");
    assert_eq!(status(urls(&other, &clock)).await, 403, "another tenant");
    let with = |keys| SignedUrls::new(files.clone(), keys, "").with_purpose("letters").with_clock(clock.clone());
    let newer = KeyRing::new("newer", secret("m")).unwrap();
    let rotated = newer.clone().and_former("new", secret("n")).unwrap();
    assert_eq!(status(with(rotated.clone())).await, 200, "its key is still known");
    assert!(with(rotated).get("a").url().unwrap().contains("key=newer"), "and signs nothing any more");
    assert_eq!(status(with(newer)).await, 403, "its key is gone");
    let same_id = KeyRing::new("new", secret("x")).unwrap();
    assert_eq!(status(with(same_id)).await, 403, "another key of the same name");
    assert!(!format!("{mine:?}").contains(&"n".repeat(8)), "no secret is shown");
    backends.clear().await;
}

#[tokio::test]
async fn a_url_says_how_its_file_is_shown_and_what_cannot_be_signed_is_refused() {
    let backends = Backends::open().await;
    backends.put("a.html", b"<b>", Some("text/html")).await;
    let (_, files) = &backends.all[0];
    let urls = urls(files, &ManualClock::default());
    let server = FileServer::signed(urls.clone());
    let shown_by = async |server: &FileServer, url: String| {
        let response = send(server, Request::get(url).body(Body::empty()).unwrap()).await;
        let header = |name| response.headers()[name].to_str().unwrap().to_owned();
        (header("content-type"), header("content-disposition"))
    };
    let shown = async |url: String| shown_by(&server, url).await;
    let safe = urls.get("a.html").file_name("Brief.html").url().unwrap();
    let saved = ("application/octet-stream".to_owned(), "attachment; filename=\"Brief.html\"".to_owned());
    assert_eq!(shown(safe).await, saved);
    let inline = urls.get("a.html").disposition(Disposition::Inline).url().unwrap();
    assert_eq!(shown(inline).await, ("text/html".to_owned(), "inline; filename=\"a.html\"".to_owned()));
    // What the URL says counts, whatever the server would do.
    let trusting = server.clone().with_disposition(Disposition::Inline);
    let safe = urls.get("a.html").disposition(Disposition::Safe).file_name("Brief.html").url().unwrap();
    assert_eq!(shown_by(&trusting, safe).await, saved);
    let untold = urls.get("a.html").url().unwrap();
    assert_eq!(shown_by(&trusting, untold).await.0, "text/html");
    // What is signed is also taken.
    assert!(urls.get("a").file_name("й".repeat(700)).url().is_err());
    assert_eq!(
        shown(urls.get("a.html").file_name("x".repeat(3_900)).url().unwrap()).await.0,
        "application/octet-stream"
    );
    let week = Duration::from_secs(7 * 86_400);
    assert!(urls.get("a").valid_for(week).url().is_ok() && urls.get("a").valid_for(week * 2).url().is_err());
    assert!(urls.get("a").valid_for(Duration::ZERO).url().is_err() && urls.get("../a").url().is_err());
    for none in ["no\nheader", "nonsense", "audio/mpeg;a, text/html"] {
        assert!(urls.put("a").content_type(none).url().is_err(), "{none:?}");
    }
    assert!(UploadLimits::new(1).allow("a/b"));
    backends.clear().await;
}
