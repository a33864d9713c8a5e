//! Answers about files that were stored with a disposition and a cache control.

use http::HeaderValue;
use statehouse_core::{ErrorKind, KeyRing, Secret};
use statehouse_filestore::{Disposition, FileServer, SignedUrls, disposition};
use statehouse_testkit::S3Server;

use super::kit::{Backends, ask, words};

const CACHE: &str = "public, max-age=3600";

/// What says how a file is taken, in one line.
async fn shown(server: &FileServer, line: &str, expected: &[&str], cell: &str) {
    let answer = ask(server, &[], line, &[]).await;
    let header = |name: &str| answer.headers.get(name).map_or("", String::as_str);
    let found = [header("content-type"), header("content-disposition"), header("cache-control")];
    assert_eq!(found, *expected, "{line} of {cell}");
    assert_eq!(header("x-content-type-options"), "nosniff");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_sent_as_far_as_it_does_no_harm_and_what_is_said_goes_before_it() {
    let backends = Backends::open().await;
    for (backend, files) in &backends.all {
        let put =
            |name: &str, kind: &str, shown: String| files.put(name, "x").content_type(kind).content_disposition(shown);
        put("page", "text/html", disposition::inline("Röntgen.html")).cache_control(CACHE).await.unwrap();
        put("a.png", "image/png", disposition::attachment("b.png")).await.unwrap();
        put("c.png", "image/png", "inline".to_owned()).await.unwrap();
        let server = FileServer::new(files.clone());
        let (bytes, name) =
            ("application/octet-stream", "filename=\"R_ntgen.html\"; filename*=UTF-8''R%C3%B6ntgen.html");
        let saved = format!("attachment; {name}");
        shown(&server, "GET /page", &[bytes, &saved, CACHE], backend).await;
        shown(&server, "HEAD /page", &[bytes, &saved, CACHE], backend).await;
        let default = "private, no-cache";
        shown(&server, "GET /a.png", &["image/png", "attachment; filename=\"b.png\"", default], backend).await;
        shown(&server, "GET /c.png", &["image/png", "inline; filename=\"c.png\"", default], backend).await;
        let words = words(files, "page").await;
        let unchanged = ask(&server, &words, "GET /page", &[("if-none-match", "$etag")]).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.headers["cache-control"].as_str()), (304, CACHE), "{backend}");

        let trusting = server.clone().with_disposition(Disposition::Stored);
        shown(&trusting, "GET /page", &["text/html", &format!("inline; {name}"), CACHE], backend).await;
        shown(&trusting, "GET /a.png", &["image/png", "attachment; filename=\"b.png\"", default], backend).await;
        let strict = server.clone().with_disposition(Disposition::Attachment);
        let strict = strict.with_cache_control(HeaderValue::from_static("no-store"));
        shown(&strict, "GET /c.png", &["image/png", "attachment; filename=\"c.png\"", "no-store"], backend).await;
        shown(&strict, "GET /page", &[bytes, &saved, "no-store"], backend).await;

        let urls = SignedUrls::new(files.clone(), KeyRing::new("k", Secret::new("k".repeat(32))).unwrap(), "");
        let signed = FileServer::signed(urls.clone());
        let url = urls.get("a.png").file_name("c.png").disposition(Disposition::Inline).url().unwrap();
        shown(&signed, &format!("GET {url}"), &["image/png", "inline; filename=\"c.png\"", default], backend).await;
        let url = urls.get("page").disposition(Disposition::Stored).url().unwrap();
        shown(&signed, &format!("GET {url}"), &["text/html", &format!("inline; {name}"), CACHE], backend).await;
    }
    backends.clear().await;
}

/// Browsers split the header at commas and take the last type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_with_a_comma_is_not_stored_and_one_that_is_there_runs_nowhere() {
    let backends = Backends::open().await;
    let kinds = ["audio/mpeg;a, text/html", "audio/mpeg, text/html", "audio/mpeg;a=\"\\\", text/html"];
    for (backend, files) in &backends.all {
        for kind in kinds {
            let error = files.put("a", "<script>").content_type(kind).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{backend}: {kind}");
            assert!(!files.exists("a").await.unwrap(), "{backend}: {kind}");
        }
        let codecs = "video/mp4; codecs=\"avc1.42E01E, mp4a.40.2\"";
        files.put("a", "x").content_type(codecs).await.unwrap();
        let server = FileServer::new(files.clone());
        shown(&server, "GET /a", &[codecs, "inline; filename=\"a\"", "private, no-cache"], backend).await;
    }
    // What something else has put there, as by a URL that the server was asked to sign.
    let server = S3Server::shared().await;
    let (_, files) = backends.all.iter().find(|(backend, _)| *backend == "s3").unwrap();
    for kind in kinds {
        let path = format!("/{}/{}", server.bucket(), files.key("a").unwrap());
        let put = server.request("PUT", &path, &[("content-type", kind)], b"<script>").await.unwrap();
        assert_eq!(put.status, 200, "{kind}");
        let server = FileServer::new(files.clone());
        let bytes = ["application/octet-stream", "attachment; filename=\"a\"", "private, no-cache"];
        shown(&server, "GET /a", &bytes, kind).await;
        let answer = ask(&server, &[], "GET /a", &[]).await;
        assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; sandbox", "{kind}");
        assert_eq!(files.head("a").await.unwrap().content_type, None, "{kind}");
    }
    backends.clear().await;
}
