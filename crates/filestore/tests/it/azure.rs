//! Azure Blob Storage, through its emulator and a broken network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Namespace, Secret, ServiceUrl};
use statehouse_filestore::object::Transport;
use statehouse_filestore::{
    AzureConfig, AzureCredentials, Digest, FileStore, Files, ObjectFileStore, Probe, PutOutcome, capability,
};
use statehouse_testkit::{AzureServer, Direction, FaultProxy};

pub(crate) fn config(server: &AzureServer) -> AzureConfig {
    AzureConfig::new(server.account(), server.container())
        .with_endpoint(server.endpoint())
        .with_credentials(AzureCredentials::AccessKey(Secret::new(server.access_key())))
        .with_transport(Transport::PlainAllowed)
        .with_timeouts(Duration::from_secs(2), Duration::from_secs(10))
}

pub(crate) async fn open(config: AzureConfig) -> Files {
    crate::s3::files(ObjectFileStore::open_azure(config).await.unwrap())
}

/// Behind a proxy, with little patience.
async fn behind(server: &AzureServer, proxy: &FaultProxy) -> Files {
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1);
    open(config.with_timeouts(Duration::from_secs(1), Duration::from_secs(2))).await
}

pub(crate) fn target(files: &Files, name: &str) -> String {
    format!("/statehouse/statehouse/{}/{name}", files.namespace())
}

/// Azure says `AuthenticationFailed` of a wrong signature. Azurite says what Azure says of what is not allowed.
const REFUSED: &str = "403 AuthorizationFailure";

fn refused(error: &Error) -> &'static str {
    let text = format!("{error:?}");
    if error.kind() == ErrorKind::PermissionDenied && text.contains(REFUSED) { REFUSED } else { "something else" }
}

mod azurite {
    use super::*;
    statehouse_filestore::filestore_conformance!(async {
        let open = || async {
            let config = config(AzureServer::shared().await).with_prefix("some/prefix");
            // What a busy machine takes long for is not told as lost.
            let config = config.with_timeouts(Duration::from_secs(10), Duration::from_secs(60));
            ObjectFileStore::open_azure(config).await.unwrap()
        };
        statehouse_filestore::conformance::Store::opened_by(open).await
    });
}

#[tokio::test]
async fn the_probe_finds_what_azure_honours_and_what_it_has_not_is_not_told() {
    let files = open(config(AzureServer::shared().await)).await;
    let has = files.store().capabilities();
    let lacks: Vec<_> = capability::ALL.into_iter().filter(|capability| !has.has(*capability)).collect();
    assert_eq!(lacks, [capability::STAGED, capability::FENCED_AT_ONCE]);
    assert_eq!(files.put("a", "x").stage().await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn without_a_probe_conditions_are_refused() {
    let files = open(config(AzureServer::shared().await).with_probe(Probe::Never)).await;
    files.put("a", "x").content_type("text/plain").await.unwrap();
    assert_eq!(files.put("a", "y").if_absent().await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(files.get("a").bytes().await.unwrap(), "x");
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_server_that_ignores_preconditions_is_noticed_and_refused() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    // What is signed cannot be taken off: such a server is one that asks for no signature over them.
    proxy.strip_request_headers(&["if-none-match", "if-match"]);
    let error = ObjectFileStore::open_azure(config(server).with_endpoint(proxy.url(&server.endpoint()))).await;
    assert_eq!(refused(&error.unwrap_err()), REFUSED);
}

#[tokio::test]
async fn each_wrong_setting_is_an_error_of_its_own_when_opened() {
    let server = AzureServer::shared().await;
    let open = async |config| ObjectFileStore::open_azure(config).await.unwrap_err();
    let credentials = || AzureCredentials::AccessKey(Secret::new(server.access_key()));
    let missing = AzureConfig::new(server.account(), "no-such-container").with_endpoint(server.endpoint());
    let missing = missing.with_transport(Transport::PlainAllowed).with_credentials(credentials());
    let error = open(missing).await;
    assert_eq!((error.kind(), error.setting().is_some()), (ErrorKind::InvalidConfig, true), "{error:?}");
    assert!(error.to_string().contains("no container \"no-such-container\""), "{error}");
    let wrong = AzureCredentials::AccessKey(Secret::from("aHVudGVyMg=="));
    let error = open(config(server).with_credentials(wrong)).await;
    assert_eq!((refused(&error), error.setting().is_some()), (REFUSED, true), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("aHVudGVyMg"));
    let unsigned =
        AzureCredentials::Sas(Secret::from("sv=2021-12-02&sr=c&sp=racwdl&se=2020-01-01T00:00:00Z&sig=aHVudGVyMg=="));
    let error = open(config(server).with_credentials(unsigned)).await;
    assert_eq!(refused(&error), REFUSED, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("aHVudGVyMg"), "{error:?}");
    let proxy = FaultProxy::start(server.address());
    proxy.cut();
    let start = Instant::now();
    let error = open(config(server).with_endpoint(proxy.url(&server.endpoint())).with_retries(1)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let error = open(config(server).require(capability::STAGED)).await;
    assert_eq!((error.kind(), error.setting().is_some()), (ErrorKind::Unsupported, true), "{error:?}");
}

#[tokio::test]
async fn a_url_opens_the_store() {
    let server = AzureServer::shared().await;
    let text = format!(
        "az://{}/urls?account={}&access_key={}&endpoint={}&allow_http=true&require=create_if_absent,fenced",
        server.container(),
        server.account(),
        server.access_key().replace('=', "%3D"),
        server.endpoint(),
    );
    let url = ServiceUrl::parse("STATEHOUSE_FILES_URL", &text).unwrap();
    let files = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap();
    assert!(files.store().health().await.is_up());
    assert!(!format!("{:?}", files.store()).contains(&server.access_key()));
}

/// Azure takes no hyphen in a name, and its emulator does.
#[tokio::test]
async fn metadata_has_names_that_azure_takes_and_comes_back_by_its_own() {
    let server = AzureServer::shared().await;
    let files = open(config(server)).await;
    files.put("a", "x").metadata("patient-id", "Zoë 42").metadata("7", "seven").await.unwrap();
    let answer = server.request("HEAD", &target(&files, "a"), &[], b"").await.unwrap();
    let names = answer.headers.iter().filter_map(|(name, _)| name.strip_prefix("x-ms-meta-"));
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["_37", "patient_2did", "statehouse_2dput"]);
    let meta = files.head("a").await.unwrap();
    assert_eq!((meta.user["patient-id"].as_str(), meta.user["7"].as_str()), ("Zoë 42", "seven"));
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-owner", "somebody")];
    let answer = server.request("PUT", &target(&files, "foreign"), &headers, b"content").await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let object = files.get("foreign").await.unwrap();
    assert_eq!((object.meta().sha256, object.meta().user["owner"].as_str()), (None, "somebody"));
    assert_eq!(object.bytes().await.unwrap(), "content");
    files.delete("a").await.unwrap();
    files.delete("foreign").await.unwrap();
}

#[tokio::test]
async fn foreign_things_are_left_out_of_listings_and_counted() {
    let server = AzureServer::shared().await;
    let files = open(config(server)).await;
    for name in ["a", "b/c", "d"] {
        files.put(name, "x").await.unwrap();
    }
    for name in ["b/", "b//x", "c//"] {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        let answer = server.request("PUT", &target(&files, name), &headers, b"").await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let page = files.list("").await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()).collect();
    assert_eq!((names.join(" "), page.skipped), ("a b/c d".to_owned(), 3));
    let etag = files.head("a").await.unwrap().etag;
    assert_eq!(page.entries[0].etag, etag, "as it is in headers");
    let (mut from, mut skipped, mut all) = (None, 0, Vec::new());
    loop {
        let list = files.list("").limit(1);
        let page = match from {
            Some(token) => list.page(token).await.unwrap(),
            None => list.await.unwrap(),
        };
        skipped += page.skipped;
        all.extend(page.entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!((all.join(" "), skipped), ("a b/c d".to_owned(), 3), "page by page");
    for name in ["b/", "b//x", "c//"] {
        server.request("DELETE", &target(&files, name), &[], b"").await.unwrap();
    }
    for name in ["a", "b/c", "d"] {
        files.delete(name).await.unwrap();
    }
}

#[tokio::test]
async fn an_outage_is_an_error_and_never_an_absent_file() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(server, &proxy).await;
    crate::broken::an_outage_is_an_error(&proxy, &files).await;
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_knows_its_own_file() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = open(config.with_timeouts(Duration::from_secs(2), Duration::from_millis(1500)).with_retries(6)).await;
    crate::broken::a_create_knows_its_own_file(&proxy, &files).await;
}

#[tokio::test]
async fn a_body_that_breaks_is_resumed_or_an_error_and_never_short() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(server, &proxy).await;
    crate::broken::a_body_is_never_short(&proxy, &files).await;
}

/// The answers to conditional writes are lost, and the server is asked what it has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_write_to_azure_whose_answer_was_lost_is_found_out() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(10), Duration::from_secs(20)).with_retries(6);
    let files = open(config).await;
    let theirs = async |name: &str| {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        assert_eq!(server.request("PUT", &target(&files, name), &headers, b"theirs").await.unwrap().status, 201);
    };
    crate::s3_lost::every_lost_answer(&proxy, &files, theirs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_put_that_is_cut_off_leaves_the_old_file_and_is_made_again() {
    let server = AzureServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(server, &proxy).await;
    files.put("a", "old").await.unwrap();
    let seen = proxy.counts().bytes_to_server;
    // Slow enough to be seen in the middle.
    proxy.limit(Direction::ToServer, 4 << 20);
    let put = files.put("a", crate::broken::long(7)).into_future();
    let cut = async {
        // In the middle of the first part.
        while proxy.counts().bytes_to_server - seen < 3 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.cut();
    };
    let (stored, ()) = tokio::join!(put, cut);
    assert_eq!(stored.unwrap_err().kind(), ErrorKind::Unavailable);
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "old");
    assert_eq!(files.list("").await.unwrap().entries.len(), 1);
    files.put("a", crate::broken::long(7)).await.unwrap();
    assert_eq!(files.get("a").bytes().await.unwrap().len(), 12 << 20);
    files.delete("a").await.unwrap();
}

/// The parts of a name are in one heap, and whoever completes an upload empties it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_in_parts_of_one_name_are_whole_or_told_to_try_again() {
    let files = open(config(AzureServer::shared().await)).await;
    let puts = (0..4_u8).map(|with| files.put("a", crate::broken::long(with)).into_future());
    let mut stored = 0;
    for result in futures_util::future::join_all(puts).await {
        match result {
            Ok(_) => stored += 1,
            Err(error) => assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error:?}"),
        }
    }
    assert!(stored > 0, "somebody completes");
    let object = files.get("a").await.unwrap();
    let digest = object.meta().sha256.unwrap();
    let content = object.bytes().await.unwrap();
    assert!(content.len() == 12 << 20 && content.iter().all(|byte| *byte == content[0]), "of one put");
    assert_eq!(Digest::of(&content), digest, "with its own digest");
    files.delete("a").await.unwrap();
}

#[tokio::test]
async fn what_is_over_is_swept_and_so_is_the_digest_of_a_file_that_is_gone() {
    let server = AzureServer::start().await;
    let files = open(config(&server)).await;
    files.put("short", "x").time_to_live(Duration::from_secs(1)).await.unwrap();
    files.put("kept", "x").time_to_live(Duration::from_secs(3600)).await.unwrap();
    files.put("gone", crate::broken::long(1)).await.unwrap();
    server.request("DELETE", &target(&files, "gone"), &[], b"").await.unwrap();
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let swept = files
        .store()
        .sweep_with(statehouse_filestore::SweepOptions::new("").with_uploads_older_than(Duration::ZERO))
        .await;
    let swept = swept.unwrap();
    assert_eq!((swept.expired, swept.digests, swept.uploads), (1, 1, 0), "{swept:?}");
    assert!(!files.exists("short").await.unwrap() && files.exists("kept").await.unwrap());
}

/// Azurite writes to its disk every few seconds: what is killed then has what Azure has at once.
#[tokio::test]
async fn a_server_that_was_killed_has_what_it_had_and_is_found_again() {
    let server = AzureServer::start().await;
    let files = open(config(&server).with_retries(1)).await;
    let stored = files.put("a", crate::broken::long(7)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    server.kill();
    assert_eq!(files.get("a").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!files.store().health().await.is_up());
    server.restart().await;
    let object = files.get("a").await.unwrap();
    assert_eq!((object.meta().etag.clone(), object.meta().sha256), (stored.etag, stored.sha256));
    assert_eq!(object.bytes().await.unwrap().len(), 12 << 20);
    assert_eq!(files.put("a", "y").if_absent().await.unwrap(), PutOutcome::Conflict);
    let _: &Arc<dyn FileStore> = files.store();
}
