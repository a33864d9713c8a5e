//! Wrong settings: what opening a bucket says of them.

use std::error::Error as _;
use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use statehouse_core::{Error, ErrorKind, ServiceUrl};
use statehouse_filestore::{FileStore as _, ObjectConfig, ObjectFileStore, Probe, S3Config};
use statehouse_testkit::{FaultProxy, HttpsProxy, S3Server};

use crate::s3::config;
use crate::stub::{Stub, reply};

const SETTING: &str = "STATEHOUSE_FILES_URL";

async fn refused(server: &S3Server, bucket: &str, endpoint: &str, more: &str) -> Error {
    let (key, region) = (server.access_key(), server.region());
    let url = format!(
        "s3://{key}:{}@{bucket}?region={region}&endpoint={endpoint}&connect_timeout=1s&timeout=2s&retries=1{more}",
        server.secret_key()
    );
    refused_url(&url).await
}

async fn refused_url(url: &str) -> Error {
    let config = S3Config::from_url(ServiceUrl::parse(SETTING, url).unwrap()).unwrap();
    ObjectFileStore::open_s3(config).await.unwrap_err()
}

/// Each sentence of the error and its causes is there once, and no secret.
fn said(error: &Error) -> String {
    let mut all = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        assert!(!all.contains(&source.to_string()), "{source} is said twice: {all}");
        all = format!("{all}\n{source}");
        cause = source.source();
    }
    assert_eq!(error.setting(), Some(SETTING), "{all}");
    assert_eq!(all.matches("S3 at ").count(), 1, "{all}");
    assert!(!format!("{all} {error:?} {error:#?}").contains("hunter2"), "{error:?}");
    all
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_with_the_cause_and_the_remedy() {
    let server = S3Server::shared().await;
    // Nobody answers there.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = deaf.local_addr().unwrap().to_string();
    for (endpoint, kind, parts) in [
        (
            "http://127.0.0.1:1",
            ErrorKind::Unavailable,
            ["S3 at http://127.0.0.1:1 cannot be reached", "nothing listens there; look at the port"],
        ),
        (
            "http://s3.invalid:9000",
            ErrorKind::Unavailable,
            ["S3 at http://s3.invalid:9000", "its name is not known; look at the name"],
        ),
        (
            "https://s3.invalid",
            ErrorKind::Unavailable,
            ["S3 at https://s3.invalid cannot", "its name is not known; look at the name"],
        ),
        (
            &*format!("http://{silent}"),
            ErrorKind::Timeout,
            [&*format!("S3 at http://{silent}"), "did not answer in time"],
        ),
    ] {
        let error = refused(server, "b", endpoint, "&allow_http=true").await;
        let said = said(&error);
        assert_eq!(error.kind(), kind, "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    let proxied = "&allow_http=true&proxy=http://user:hunter2@127.0.0.1:1";
    let said = said(&refused(server, "b", "http://s3.invalid", proxied).await);
    assert!(said.contains("S3 at http://s3.invalid through the proxy http://127.0.0.1:1 cannot be reached"), "{said}");
}

#[tokio::test]
async fn the_wrong_side_of_tls_is_named_both_ways() {
    let server = S3Server::shared().await;
    let tls = HttpsProxy::start(server.address(), "Basic YXBwOmh1bnRlcjI=");
    let polite = polite();
    for (endpoint, more, remedy) in [
        (
            format!("http://{}", tls.address()),
            "&allow_http=true",
            format!("speaks TLS: write endpoint=https://{}", tls.address()),
        ),
        (
            format!("https://{}", server.address()),
            "",
            format!("does not speak TLS: write endpoint=http://{} and allow_http=true", server.address()),
        ),
    ] {
        let error = refused(server, server.bucket(), &endpoint, more).await;
        let said = said(&error);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{said}");
        assert!(said.contains(&endpoint) && said.contains(&remedy), "{said}");
    }
    // What a server says whose port is for TLS is not taken for one that has none.
    let error = refused(server, "b", &polite, "").await;
    assert_ne!(error.kind(), ErrorKind::InvalidConfig, "{}", said(&error));
    assert!(said(&error).contains("cannot be reached: it does not speak TLS"), "{error}");
}

/// A server that answers whatever comes as one does whose port is for TLS: its URL.
fn polite() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = reply(&mut client, "400 Bad Request", &[], b"Client sent an HTTP request to an HTTPS server.");
        }
    });
    url
}

/// Who only asks what is spoken there tells nobody who asks.
#[tokio::test]
async fn what_is_asked_to_tell_the_wrong_side_of_tls_has_no_credentials() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let plain = Stub::start({
        let asked = Arc::clone(&asked);
        move |request, to| {
            asked.lock().unwrap().push(request.header("authorization").map(ToOwned::to_owned));
            reply(to, "403 Forbidden", &[], b"")
        }
    });
    let server = S3Server::shared().await;
    let error = refused(server, "b", &plain.endpoint().replace("http:", "https:"), "").await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", said(&error));
    assert_eq!(*asked.lock().unwrap(), [None]);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_the_remedy() {
    let server = S3Server::shared().await;
    let tls = HttpsProxy::start(server.address(), "Basic YXBwOmh1bnRlcjI=");
    let error = refused(server, "b", &format!("https://{}", tls.address()), "").await;
    let said = said(&error);
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{said}");
    assert!(said.contains("certificate that is not trusted") && said.contains("SSL_CERT_FILE"), "{said}");
}

#[tokio::test]
async fn wrong_credentials_a_wrong_region_and_a_missing_bucket_are_told_apart() {
    let server = S3Server::builder().region("eu-test-1").start().await;
    let (key, secret, bucket, at) = (server.access_key(), server.secret_key(), server.bucket(), server.endpoint());
    for (who, bucket, region, kind, says) in [
        (
            format!("{key}:hunter2"),
            bucket,
            "eu-test-1",
            ErrorKind::Unauthenticated,
            "the secret key is not that of the access key",
        ),
        (format!("nobody:{secret}"), bucket, "eu-test-1", ErrorKind::Unauthenticated, "does not know the access key"),
        (
            format!("{key}:{secret}"),
            "no-such-bucket",
            "eu-test-1",
            ErrorKind::InvalidConfig,
            "has no bucket \"no-such-bucket\"",
        ),
        (
            format!("{key}:{secret}"),
            bucket,
            "us-east-1",
            ErrorKind::InvalidConfig,
            "expects the region \"eu-test-1\" and not \"us-east-1\": change the region",
        ),
    ] {
        let error = refused_url(&format!("s3://{who}@{bucket}?region={region}&endpoint={at}&allow_http=true")).await;
        let said = said(&error);
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains(&format!("S3 at {at} ")) && said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_s3_server_is_told() {
    let server = S3Server::shared().await;
    let html = [("content-type", "text/html")];
    for status in ["200 OK", "301 Moved Permanently", "404 Not Found"] {
        let stub = Stub::start(move |_, to| reply(to, status, &html, b"<html>hello</html>"));
        let error = refused(server, "b", &stub.endpoint(), "&allow_http=true").await;
        let said = said(&error);
        assert!(
            said.contains(&stub.endpoint()) && said.contains("that no S3 server gives: look at the endpoint"),
            "{said}"
        );
    }
}

/// Also later than at the opening.
#[tokio::test]
async fn a_server_that_has_gone_is_named() {
    let server = S3Server::start().await;
    let files = crate::s3::files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let at = server.endpoint();
    drop(server);
    let error = files.get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(&format!("S3 at {at} cannot be reached: nothing listens there")), "{error}");
}

/// And not that it was silent because the second was over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_what_the_server_said_last() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let patient = |endpoint: String| config(server).with_endpoint(endpoint).with_probe(Probe::Never).with_retries(100);
    let far = ObjectFileStore::open_s3(patient(proxy.url(&server.endpoint()))).await.unwrap();
    assert!(far.health().await.is_up());
    proxy.cut();
    let error = far.health().await.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("cannot be reached"), "{error}");
    // A server that fails, after it was there to be opened.
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let stub = Stub::start(move |_, client| match failing.load(Ordering::Relaxed) {
        false => reply(client, "200 OK", &[], b"<ListBucketResult></ListBucketResult>"),
        true => reply(client, "503 Service Unavailable", &[], b"<Error><Code>ServiceUnavailable</Code></Error>"),
    });
    let store = ObjectFileStore::open_s3(patient(stub.endpoint())).await.unwrap();
    fails.store(true, Ordering::Relaxed);
    let health = store.health().await;
    let error = health.error.unwrap();
    assert_eq!((error.kind(), error.message().contains("failed")), (ErrorKind::Unavailable, true), "{error:?}");
    assert!(health.latency < Duration::from_secs(3), "{:?}", health.latency);
}

/// However long it takes to list everything.
#[tokio::test]
async fn health_of_a_store_that_is_brought_along_asks_for_one_name() {
    let inner = InMemory::new();
    for n in 0..20 {
        inner.put(&format!("n/{n}").into(), "x".into()).await.unwrap();
    }
    let wait = ThrottleConfig { wait_list_per_entry: Duration::from_millis(100), ..Default::default() };
    let store = Arc::new(ThrottledStore::new(inner, wait));
    let store = ObjectFileStore::open(store, ObjectConfig::new().with_probe(Probe::Never)).await.unwrap();
    let health = store.health().await;
    assert!(health.is_up(), "{health:?}");
}
