//! Scans over HTTP: read in parts, kept by a browser, and sent and fetched by signed URLs:
//! `cargo run -p statehouse-filestore --features http --example downloads`.
//!
//! The requests are made without a socket, so that what is answered can be printed.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use statehouse_core::{KeyRing, Namespace, Secret};
use statehouse_filestore::{FileServer, Files, MemoryFileStore, SignedUrls};
use tower::ServiceExt;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SHOWN: [&str; 6] = ["content-type", "content-range", "content-disposition", "etag", "allow", "retry-after"];

async fn send(app: &Router, request: Request<Body>) -> Result<String> {
    println!("\n{} {}", request.method(), request.uri());
    let response = app.clone().oneshot(request).await?;
    println!("  {}", response.status());
    for name in SHOWN {
        if let Some(value) = response.headers().get(name) {
            println!("  {name}: {}", value.to_str()?);
        }
    }
    let etag = response.headers().get("etag").map(|etag| etag.to_str().map(ToOwned::to_owned)).transpose()?;
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    println!("  {}", String::from_utf8_lossy(&body).replace("\r\n", "\n  "));
    Ok(etag.unwrap_or_default())
}

#[tokio::main]
async fn main() -> Result<()> {
    // `open` takes a directory or a bucket in its place; nothing below changes.
    let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    scans.put("p42/letter.txt", "Dear colleague, all is well.").content_type("text/plain").await?;
    scans.put("p42/page.html", "<script>alert(1)</script>").content_type("text/html").await?;

    // Of a program: the same secret on every replica, from where its secrets are.
    let keys = KeyRing::new("2026-11", Secret::new("of a program: openssl rand -hex 32"))?;
    let urls = SignedUrls::new(scans.clone(), keys, "/signed").with_purpose("letters");
    let app = Router::new()
        // What checks who may see them goes around it.
        .nest_service("/scans", FileServer::new(scans))
        .nest_service("/signed", FileServer::signed(urls.clone()));

    let get = |url: &str| Request::get(url);
    let etag = send(&app, get("/scans/p42/letter.txt").body(Body::empty())?).await?;
    send(&app, get("/scans/p42/letter.txt").header("if-none-match", &etag).body(Body::empty())?).await?;
    send(&app, get("/scans/p42/letter.txt").header("range", "bytes=0-3").body(Body::empty())?).await?;
    send(&app, get("/scans/p42/letter.txt").header("range", "bytes=0-3,-5").body(Body::empty())?).await?;
    // Nobody's browser runs what somebody has uploaded.
    send(&app, get("/scans/p42/page.html").body(Body::empty())?).await?;

    let upload = urls.put("p42/knee.png").content_type("image/png").max_len(1 << 20).create().url()?;
    for _ in 0..2 {
        let request = Request::put(&upload).header("content-type", "image/png").body(Body::from("pixels"))?;
        send(&app, request).await?;
    }
    let download = urls.get("p42/knee.png").valid_for(Duration::from_secs(60)).file_name("Knie.png").url()?;
    send(&app, get(&download).body(Body::empty())?).await?;
    send(&app, get(&download.replace("knee", "chest")).body(Body::empty())?).await?;
    Ok(())
}
