//! A client of somebody else's, over a socket.

use std::process::Command;

use axum::Router;
use statehouse_core::{KeyRing, Secret};
use statehouse_filestore::{FileServer, SignedUrls};

use super::kit::{Backends, words};

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "30"]).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_ranges_states_and_signed_urls() {
    let backends = Backends::open().await;
    backends.put("a.txt", b"0123456789", Some("text/plain")).await;
    for (backend, files) in &backends.all {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let keys = KeyRing::new("k", Secret::new("k".repeat(32))).unwrap();
        let urls = SignedUrls::new(files.clone(), keys, format!("{base}/signed"));
        let app = Router::new()
            .nest_service("/open", FileServer::new(files.clone()))
            .nest_service("/signed", FileServer::signed(urls.clone()));
        let serving = tokio::spawn(async { axum::serve(listener, app).await });
        let (open, words) = (format!("{base}/open/a.txt"), words(files, "a.txt").await);
        let etag = &words.iter().find(|(word, _)| *word == "$etag").unwrap().1;
        let known = format!("If-None-Match: {etag}");
        let partly = format!("If-Range: {etag}");
        let (upload, download) = (urls.put("b.txt").max_len(99).url().unwrap(), urls.get("b.txt").url().unwrap());
        let done = tokio::task::spawn_blocking(move || {
            let status = |arguments: &[&str]| {
                curl(&[&["--output", "/dev/null", "--write-out", "%{http_code} %{size_download}"], arguments].concat())
            };
            assert_eq!(curl(&[&open]), "0123456789");
            assert_eq!(curl(&["--range", "2-4", &open]), "234");
            assert_eq!(curl(&["--range", "-2", &open]), "89");
            assert_eq!(curl(&["--range", "2-4", "--header", &partly, &open]), "234");
            assert_eq!(curl(&["--range", "2-4", "--header", "If-Range: \"x\"", &open]), "0123456789");
            assert_eq!(status(&["--range", "2-4", &open]), "206 3");
            assert_eq!(status(&["--range", "99-", &open]), "416 0");
            assert_eq!(status(&["--header", &known, &open]), "304 0");
            assert_eq!(status(&["--header", "If-Match: \"x\"", &open]), "412 0");
            assert_eq!(status(&["--path-as-is", &open.replace("a.txt", "x/../a.txt")]), "400 0");
            assert_eq!(status(&["--request", "DELETE", &open]), "405 0");
            let head = curl(&["--head", &open]).to_ascii_lowercase();
            assert!(head.contains("content-length: 10\r\n") && head.contains("accept-ranges: bytes\r\n"), "{head}");
            let several = curl(&["--range", "0-1,8-9", "--include", &open]);
            assert!(
                several.contains("multipart/byteranges") && several.contains("Content-Range: bytes 8-9/10"),
                "{several}"
            );
            assert_eq!(
                status(&["--upload-file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), &upload]),
                "413 0"
            );
            assert_eq!(status(&["--request", "PUT", "--data-binary", "what was sent", &upload]), "200 0");
            assert_eq!(curl(&[&download]), "what was sent");
            assert_eq!(status(&[&download.replace("signature=", "signature=0")]), "403 0");
        });
        done.await.unwrap_or_else(|error| panic!("{backend}: {error}"));
        serving.abort();
    }
    backends.clear().await;
}
