use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use statehouse_core::Namespace;
use statehouse_filestore::{FileBody, FileServer, Files, LocalFileStore, MemoryFileStore, ObjectFileStore};
use statehouse_testkit::S3Server;
use tower::ServiceExt as _;

use crate::s3::config;

/// The same namespace in each kind of store; the directory is removed with it.
pub(super) struct Backends {
    pub(super) all: Vec<(&'static str, Files)>,
    _directory: tempfile::TempDir,
}

impl Backends {
    pub(super) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let nonce = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let namespace = Namespace::new(format!("web.{nonce}")).unwrap();
        let local = LocalFileStore::open(directory.path().join("files")).await.unwrap();
        let s3 = ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap();
        let all = vec![
            ("memory", Files::new(Arc::new(MemoryFileStore::new()), namespace.clone())),
            ("local", Files::new(Arc::new(local), namespace.clone())),
            ("s3", Files::new(Arc::new(s3), namespace)),
        ];
        Self { all, _directory: directory }
    }

    pub(super) async fn put(&self, name: &str, content: &'static [u8], content_type: Option<&str>) {
        for (_, files) in &self.all {
            let put = files.put(name, content);
            match content_type {
                Some(content_type) => put.content_type(content_type).await.unwrap(),
                None => put.await.unwrap(),
            };
        }
    }

    pub(super) async fn clear(&self) {
        for (_, files) in &self.all {
            for entry in files.list("").await.unwrap().entries {
                files.delete(files.name(&entry.key).unwrap()).await.unwrap();
            }
        }
    }
}

/// What stands for something else in each store.
pub(super) async fn words(files: &Files, name: &str) -> Vec<(&'static str, String)> {
    let Ok(meta) = files.head(name).await else { return Vec::new() };
    let modified = SystemTime::from(meta.modified);
    let date = |time| httpdate::fmt_http_date(time);
    let far = Duration::from_secs(3600);
    vec![
        ("$etag", meta.etag.to_string()),
        ("$modified", date(modified)),
        ("$before", date(modified - far)),
        ("$after", date(modified + far)),
    ]
}

/// An answer as all stores give it alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

pub(super) async fn send(server: &FileServer, request: Request<Body>) -> Response<FileBody> {
    server.clone().oneshot(request).await.unwrap()
}

/// Sends a request whose headers have words, and puts the words into the answer again.
pub(super) async fn ask(server: &FileServer, words: &[(&str, String)], line: &str, headers: &[(&str, &str)]) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        let value = words.iter().fold((*value).to_owned(), |value, (word, text)| value.replace(word, text));
        request = request.header(*name, value);
    }
    let response = send(server, request.body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if method != "HEAD" {
        check_length(&parts.headers, &body);
    }
    assert_eq!(parts.headers.len(), parts.headers.keys_len(), "a header is there twice: {:?}", parts.headers);
    let boundary = parts.headers.get("content-type").and_then(|kind| kind.to_str().unwrap().split_once("boundary="));
    let boundary = boundary.map(|(_, boundary)| ("$boundary", boundary.to_owned()));
    let told = |text: &str| {
        let words = words.iter().map(|(word, text)| (*word, text.clone())).chain(boundary.clone());
        words.fold(text.to_owned(), |told, (word, text)| told.replace(&text, word))
    };
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), told(value.to_str().unwrap()))).collect();
    Answer { status: parts.status, headers, body: told(&body) }
}

fn check_length(headers: &HeaderMap, body: &str) {
    if let Some(length) = headers.get("content-length") {
        assert_eq!(length.to_str().unwrap(), body.len().to_string(), "{headers:?}");
    }
}
