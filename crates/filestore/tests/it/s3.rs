//! S3, through a real server and a broken network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Namespace, Secret, ServiceUrl};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{Body, FileStore, Files, ObjectFileStore, Probe, S3Config, capability};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

fn config(server: &S3Server) -> S3Config {
    S3Config::new(server.bucket())
        .with_endpoint(server.endpoint())
        .with_region(server.region())
        .with_credentials(server.access_key(), Secret::from(server.secret_key()))
        .with_transport(Transport::PlainAllowed)
        .with_timeouts(Duration::from_secs(2), Duration::from_secs(10))
}

fn files(store: ObjectFileStore) -> Files {
    let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    Files::new(Arc::new(store), Namespace::new(format!("it.{nonce}")).unwrap())
}

mod versitygw {
    use super::*;
    statehouse_filestore::conformance_suite!(|| async {
        let config = config(S3Server::shared().await).with_prefix("some/prefix");
        Arc::new(ObjectFileStore::open_s3(config).await.unwrap()) as Arc<dyn FileStore>
    });
}

#[tokio::test]
async fn the_probe_finds_what_the_server_honours() {
    let store = ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap();
    let has = store.capabilities();
    for capability in [capability::CREATE_IF_ABSENT, capability::REPLACE_IF_MATCH, capability::CONDITIONAL_PARTS] {
        assert!(has.has(capability), "{capability:?}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_preconditions_is_noticed_and_refused() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    proxy.strip_s3_headers(&["if-none-match", "if-match"], server.secret_key());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = files(ObjectFileStore::open_s3(config.clone()).await.unwrap());
    let has = files.store().capabilities();
    let conditional = [
        capability::CREATE_IF_ABSENT,
        capability::REPLACE_IF_MATCH,
        capability::CONDITIONAL_PARTS,
        capability::DELETE_IF_MATCH,
    ];
    assert!(conditional.iter().all(|capability| !has.has(*capability)), "{has:?}");
    let stored = files.put("a", "first").await.unwrap();
    let unsupported = |error: statehouse_core::Error| assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    unsupported(files.put("a", "second").if_absent().await.unwrap_err());
    unsupported(files.put("a", "second").if_match(&stored.etag).await.unwrap_err());
    unsupported(files.delete("a").if_match(&stored.etag).await.unwrap_err());
    unsupported(files.copy("a", "b").if_absent().await.unwrap_err());
    assert_eq!(files.get("a").bytes().await.unwrap(), "first");
    let error = ObjectFileStore::open_s3(config.require(capability::CREATE_IF_ABSENT)).await.unwrap_err();
    unsupported(error);
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn each_wrong_setting_is_an_error_of_its_own_when_opened() {
    let server = S3Server::shared().await;
    let open = async |config| ObjectFileStore::open_s3(config).await.unwrap_err();
    let mut missing = config(server);
    missing.bucket = "no-such-bucket".to_owned();
    let error = open(missing).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidConfig, "the bucket does not exist"));
    let error = open(config(server).with_credentials(server.access_key(), "wrong-secret".into())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong-secret"));
    let error = open(config(server).with_credentials("nobody", server.secret_key().into())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    let proxy = FaultProxy::start(server.address());
    proxy.cut();
    let start = Instant::now();
    let error = open(config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.setting().is_some(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_url_opens_the_store() {
    let server = S3Server::shared().await;
    let text = format!(
        "s3://{}:{}@{}/urls?endpoint={}&region={}&allow_http=true&require=create_if_absent",
        server.access_key(),
        server.secret_key(),
        server.bucket(),
        server.endpoint(),
        server.region()
    );
    let store = statehouse_filestore::open(ServiceUrl::parse("STATEHOUSE_FILES_URL", &text).unwrap()).await.unwrap();
    assert!(store.health().await.is_up());
}

#[tokio::test]
async fn an_outage_is_an_error_and_never_an_absent_file() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1).with_probe(Probe::Never);
    let quick = config.with_timeouts(Duration::from_millis(500), Duration::from_millis(700));
    let files = files(ObjectFileStore::open_s3(quick).await.unwrap());
    files.put("a", "x").await.unwrap();
    proxy.cut();
    for name in ["a", "absent"] {
        assert_eq!(files.get(name).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(files.exists(name).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(files.delete(name).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(files.list("").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!files.store().health().await.is_up());
    proxy.heal();
    proxy.black_hole();
    let start = Instant::now();
    assert_eq!(files.get("a").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "x");
    files.delete("a").await.unwrap();
}

/// The server does the write and its answer never comes: the retry is refused by what the first attempt wrote, which is
/// no reason to say that somebody else was first.
#[tokio::test]
async fn a_create_whose_answer_was_lost_knows_its_own_file() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(2), Duration::from_millis(1500)).with_retries(6);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    proxy.black_hole_way(Direction::ToClient);
    let put = files.put("a", "mine").if_absent().into_future();
    let heal = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        // The answer that waits in the proxy is thrown away with its connection.
        proxy.reset_connections();
        proxy.heal();
    };
    let (stored, ()) = tokio::join!(put, heal);
    let stored = stored.unwrap();
    assert_eq!(files.head("a").await.unwrap().etag, stored.etag);
    let error = files.put("a", "other").if_absent().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_write_that_cannot_be_read_back_is_of_unknown_outcome() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(2), Duration::from_millis(300)).with_retries(0);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    proxy.black_hole_way(Direction::ToClient);
    let error = files.put("a", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    let target = format!("/{}/{}/a", server.bucket(), files.namespace());
    server.request("DELETE", &target, &[], b"").await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error_and_never_short() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_probe(Probe::Never).with_retries(1);
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    files.put("a", vec![7; 5_000_000]).await.unwrap();
    proxy.truncate(Direction::ToClient, 1_000_000);
    let result = match files.get("a").await {
        Ok(object) => object.bytes().await.map(|bytes| bytes.len()),
        Err(error) => Err(error),
    };
    match result {
        Ok(len) => assert_eq!(len, 5_000_000, "resumed on other connections"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
    }
    proxy.heal();
    proxy.reset_connections();
    assert_eq!(files.get("a").bytes().await.unwrap().len(), 5_000_000);
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn uploads_that_fail_or_are_dropped_leave_no_parts() {
    let server = S3Server::start().await;
    let files = files(ObjectFileStore::open_s3(config(&server)).await.unwrap());
    let pieces = || (0..20).map(|_| Ok(vec![7_u8; 1 << 20]));
    let failing = futures_util::stream::iter(pieces().chain([Err("the client went away")]));
    assert_eq!(files.put("a", Body::from_stream(failing)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let pending = futures_util::StreamExt::chain(
        futures_util::stream::iter(pieces()),
        futures_util::stream::pending::<Result<Vec<u8>, &'static str>>(),
    );
    let put = files.put("a", Body::from_stream(pending)).into_future();
    assert!(tokio::time::timeout(Duration::from_secs(1), put).await.is_err());
    files.put("b", "x").await.unwrap();
    let stream = futures_util::stream::iter(pieces());
    let put = files.put("b", Body::from_stream(stream)).if_absent();
    assert_eq!(put.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let mut left = String::new();
    for _ in 0..50 {
        let target = format!("/{}?uploads=", server.bucket());
        left = server.request("GET", &target, &[], b"").await.unwrap().text();
        if !left.contains("<UploadId>") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left.contains("ListMultipartUploadsResult") && !left.contains("<UploadId>"), "{left}");
    assert!(!files.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_file_that_something_else_wrote_is_read_without_a_digest() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let target = format!("/{}/{}/foreign", server.bucket(), files.namespace());
    let headers = [("content-type", "text/plain"), ("x-amz-meta-owner", "somebody")];
    assert_eq!(server.request("PUT", &target, &headers, b"content").await.unwrap().status, 200);
    let object = files.get("foreign").await.unwrap();
    assert_eq!((object.meta().sha256, object.meta().content_type.as_deref()), (None, Some("text/plain")));
    assert_eq!(object.meta().user["owner"], "somebody");
    assert_eq!(object.bytes().await.unwrap(), "content");
    files.delete("foreign").await.unwrap();
}
