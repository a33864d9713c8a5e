//! Requests that are signed in advance and answered by S3 itself.

use std::time::Duration;

use statehouse_core::{ErrorKind, KeyRing, Secret};
use statehouse_filestore::{Digest, Disposition, ObjectFileStore, Presigned, SignedUrls, disposition};
use statehouse_testkit::S3Server;

use crate::s3::{config, files};

/// Sends it as whoever was given it: with nothing but what it says.
async fn send(method: reqwest::Method, signed: &Presigned, body: &'static str) -> (u16, http::HeaderMap, String) {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    // None is needed for plain HTTP, and reqwest wants one.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, &signed.url).body(body);
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.headers().clone(), response.text().await.unwrap())
}

fn with(signed: &Presigned, name: &str, value: &str) -> Presigned {
    let mut altered = signed.clone();
    altered.headers.retain(|(header, _)| header != name);
    altered.headers.push((name.to_owned(), value.to_owned()));
    altered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_answers_what_was_signed_and_refuses_everything_else() {
    use reqwest::Method;
    let files = files(ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap());
    let keys = KeyRing::new("k", Secret::new("k".repeat(32))).unwrap();
    let urls = SignedUrls::new(files.clone(), keys, "/");
    let digest = Digest::of(b"12345");
    let upload = urls.put("p42/a b.png").content_type("image/png").len(5).sha256(digest).presigned().await.unwrap();
    assert!(!format!("{upload:?}").contains("Signature"), "{upload:?}");
    assert_eq!(send(Method::PUT, &with(&upload, "content-type", "text/html"), "12345").await.0, 403);
    assert_eq!(send(Method::GET, &upload, "").await.0, 403);
    assert_eq!(send(Method::PUT, &upload, "54321").await.0, 400, "another digest");
    assert!(!files.exists("p42/a b.png").await.unwrap());
    assert_eq!(send(Method::PUT, &upload, "12345").await.0, 200);
    let meta = files.head("p42/a b.png").await.unwrap();
    assert_eq!((meta.content_type.as_deref(), meta.sha256, meta.len), (Some("image/png"), Some(digest), 5));
    assert_eq!(files.get("p42/a b.png").bytes().await.unwrap(), "12345", "and is read as any other file");

    let download = urls.get("p42/a b.png").file_name("Röntgen.png").presigned().await.unwrap();
    let (status, headers, body) = send(Method::GET, &download, "").await;
    assert_eq!((status, body.as_str()), (200, "12345"));
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename="), "{headers:?}");
    let mut altered = download.clone();
    altered.url = altered.url.replace("a%20b.png", "other.png");
    assert_ne!(altered.url, download.url);
    assert_eq!(send(Method::GET, &altered, "").await.0, 403);
    assert_eq!(send(Method::PUT, &download, "mine").await.0, 403);
    let short = urls.get("p42/a b.png").valid_for(Duration::from_secs(1)).presigned().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(send(Method::GET, &short, "").await.0, 403, "it has expired");

    // As it was stored, by the server's own word, whatever puts it there.
    let named = disposition::inline("Röntgen.png");
    let put =
        files.put("stored", "1").content_type("image/png").content_disposition(&named).cache_control("max-age=60");
    put.await.unwrap();
    files.copy("stored", "copied").await.unwrap();
    let put = files.put("staged", "1").content_disposition(&named).cache_control("max-age=60");
    assert!(put.stage().await.unwrap().commit().await.unwrap().stored().is_some());
    for name in ["stored", "copied", "staged"] {
        let download = urls.get(name).disposition(Disposition::Stored).presigned().await.unwrap();
        let (status, headers, _) = send(Method::GET, &download, "").await;
        assert_eq!(status, 200, "{name}");
        assert_eq!(headers["content-disposition"], *named, "{name}");
        assert_eq!(headers["cache-control"], "max-age=60", "{name}");
        let named = urls.get(name).file_name("b.png").presigned().await.unwrap();
        let (_, headers, _) = send(Method::GET, &named, "").await;
        assert_eq!(headers["content-disposition"], "attachment; filename=\"b.png\"", "{name}");
        files.delete(name).await.unwrap();
    }

    // Nothing is replaced; a file of which nothing was said beforehand is one, without a digest.
    let once = urls.put("once").create().presigned().await.unwrap();
    assert_eq!(send(Method::PUT, &once, "1").await.0, 200);
    assert_eq!(send(Method::PUT, &once, "2").await.0, 412);
    assert_eq!(files.head("once").await.unwrap().sha256, None);
    assert_eq!(files.get("once").bytes().await.unwrap(), "1");
    for lengths in [urls.put("a").max_len(5), urls.put("a").len(5)] {
        assert_eq!(lengths.presigned().await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    for name in ["p42/a b.png", "once"] {
        files.delete(name).await.unwrap();
    }
}
