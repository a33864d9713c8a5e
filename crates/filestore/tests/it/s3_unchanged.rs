//! Reads of S3 that say what the reader has.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_filestore::{ETag, Files, ObjectFileStore, ReadOutcome};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::{config, files};

const LONG: usize = 4 << 20;

async fn through(proxy: &FaultProxy, server: &S3Server) -> Files {
    files(ObjectFileStore::open_s3(config(server).with_endpoint(proxy.url(&server.endpoint()))).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_file_costs_no_body() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    let known = files.put("a", vec![7; LONG]).await.unwrap().etag;
    let modified = files.head("a").await.unwrap().modified;
    // A server does not look at a time that is still to come.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = proxy.counts();
    assert!(files.get("a").if_none_match(&known).await.unwrap().found().is_none());
    // The second behind it, for this server compares more precisely than in seconds.
    assert!(files.get("a").if_modified_since(modified + Duration::from_secs(1)).await.unwrap().found().is_none());
    assert!(files.get("a").if_match(&known).if_none_match(&known).await.unwrap().found().is_none());
    let after = proxy.counts();
    assert_eq!(after.command("GET") - before.command("GET"), 3, "one request each");
    assert!(after.bytes_to_client - before.bytes_to_client < 64 << 10, "{before:?} {after:?}");
    files.put("a", vec![8; LONG]).await.unwrap();
    let object = files.get("a").if_none_match(&known).await.unwrap().found().unwrap();
    assert_eq!(object.bytes().await.unwrap().len(), LONG);
    assert_eq!(proxy.counts().command("GET") - after.command("GET"), 1);
    files.delete("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_the_conditions_of_reads_is_looked_after() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    let known = files.put("a", "content").await.unwrap().etag;
    let modified = files.head("a").await.unwrap().modified;
    let names = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    proxy.strip_s3_headers(&names, server.secret_key());
    let before = statehouse_core::Timestamp::from_micros(modified.as_micros() - 9_000_000);
    let kind = |error: statehouse_core::Error| error.kind();
    assert!(files.get("a").if_none_match(&known).await.unwrap().found().is_none());
    assert!(files.get("a").if_modified_since(modified).await.unwrap().found().is_none());
    assert_eq!(files.head("a").if_none_match(&known).await.unwrap(), ReadOutcome::NotModified);
    assert_eq!(
        files.head("a").if_modified_since(modified + Duration::from_secs(1)).await.unwrap(),
        ReadOutcome::NotModified
    );
    assert_eq!(kind(files.get("a").if_unmodified_since(before).await.unwrap_err()), ErrorKind::Conflict);
    assert_eq!(kind(files.head("a").if_unmodified_since(before).await.unwrap_err()), ErrorKind::Conflict);
    assert!(files.get("a").if_modified_since(before).await.unwrap().found().is_some());
    proxy.heal();
    // One that heeds only what the reader has says that this is what there is, of a file that is not the one that is asked for.
    proxy.strip_s3_headers(&["if-match", "if-unmodified-since"], server.secret_key());
    let asked = files.get("a").if_unmodified_since(before).if_none_match(&known).await;
    assert_eq!(kind(asked.unwrap_err()), ErrorKind::Conflict);
    let asked = files.head("a").if_match(&ETag::new("\"other\"")).if_none_match(&known).await;
    assert_eq!(kind(asked.unwrap_err()), ErrorKind::Conflict);
    proxy.heal();
    files.delete("a").await.unwrap();
}
