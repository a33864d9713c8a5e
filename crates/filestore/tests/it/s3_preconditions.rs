//! Preconditions are signed: nobody on the way can take one off.

use std::time::Duration;

use statehouse_core::conformance::fenced::holder;
use statehouse_core::{ErrorKind, Guarded as _};
use statehouse_filestore::{Files, ObjectFileStore, PutOutcome};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::{config, files};

const LONG: usize = 9 << 20;

async fn behind(proxy: &FaultProxy, server: &S3Server) -> Files {
    files(ObjectFileStore::open_s3(config(server).with_endpoint(proxy.url(&server.endpoint()))).await.unwrap())
}

/// Takes off whatever makes a request conditional.
fn strip(proxy: &FaultProxy) {
    let conditions = ["if-none-match", "if-match", "if-modified-since", "if-unmodified-since"];
    proxy.strip_request_headers(&[&conditions[..], &["range", "x-amz-copy-source-if-match"]].concat());
}

fn refused<T: std::fmt::Debug>(what: &str, told: &statehouse_core::Result<T>) {
    let kind = told.as_ref().err().map(statehouse_core::Error::kind);
    let kinds = [Some(ErrorKind::Unauthenticated), Some(ErrorKind::PermissionDenied)];
    assert!(kinds.contains(&kind), "{what}: {told:?}");
}

/// A middlebox that drops headers it does not know. Open saw none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_precondition_that_is_taken_off_on_the_way_is_refused_by_the_server() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(&proxy, server).await;
    let stale = files.put("a", "first").await.unwrap().etag;
    files.put("a", "second").await.unwrap();
    files.put("b", "other").await.unwrap();
    let (fine, changed) = (files.head("a").await.unwrap().etag, vec![7_u8; LONG]);
    let staged_new = files.put("new", "staged").if_absent().stage().await.unwrap();
    let staged_over = files.put("a", "staged").if_match(&fine).stage().await.unwrap();
    strip(&proxy);
    refused("create", &files.put("a", "third").if_absent().await);
    refused("create what is absent", &files.put("new", "third").if_absent().await);
    refused("replace", &files.put("a", "third").if_match(&fine).await);
    refused("copy", &files.copy("b", "a").if_match(&fine).await);
    refused("copy to what is absent", &files.copy("b", "new").if_absent().await);
    refused("delete", &files.delete("a").if_match(&fine).await);
    refused("commit, absent", &staged_new.commit().await);
    refused("commit, replace", &staged_over.commit().await);
    // Its first step is made, and its second takes away nothing but what was copied.
    refused("rename", &files.rename("b", "c").await);
    // These are found out before they are sent; what has been decided meanwhile is decided by the server.
    refused("complete, absent", &files.put("new", changed.clone()).if_absent().await);
    refused("complete, replace", &files.put("a", changed.clone()).if_match(&fine).await);
    assert_eq!(files.put("a", changed).if_match(&stale).await.unwrap(), PutOutcome::Conflict);
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "second");
    assert_eq!(files.get("b").bytes().await.unwrap(), "other");
    assert!(!files.exists("new").await.unwrap());
    staged_new.commit().await.unwrap().stored().expect("it is still staged");
    staged_over.commit().await.unwrap().stored().expect("it is still staged");
    for name in ["a", "b", "c", "new"] {
        files.delete(name).await.unwrap();
    }
}

/// They are made on conditions of ours, which nobody has asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_lock_nothing_is_written_whose_condition_was_taken_off() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(&proxy, server).await;
    let lock = format!("export of {}", files.namespace());
    let (first, second) = (holder(&lock, 5), holder(&lock, 9));
    files.put("a", "first").await.unwrap();
    files.raise(&first, Duration::from_secs(60)).await.unwrap();
    strip(&proxy);
    refused("put", &files.put("a", "second").fenced(&first).await);
    refused("put of what is absent", &files.put("new", "second").fenced(&first).await);
    refused("put of much", &files.put("new", vec![7; LONG]).fenced(&first).await);
    refused("delete", &files.delete("a").fenced(&first).await);
    refused("copy", &files.copy("a", "new").fenced(&first).await);
    refused("raise", &files.raise(&second, Duration::from_secs(60)).await);
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "first");
    assert!(!files.exists("new").await.unwrap());
    files.put("a", "third").fenced(&first).await.expect("the mark has not risen");
    files.delete("a").await.unwrap();
}

/// Another state would be read, or all of it in place of a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_condition_or_range_was_taken_off_is_refused_by_the_server() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = behind(&proxy, server).await;
    let etag = files.put("a", "content").await.unwrap().etag;
    let modified = files.head("a").await.unwrap().modified;
    strip(&proxy);
    refused("get", &files.get("a").if_match(&etag).await);
    refused("get of what is known", &files.get("a").if_none_match(&etag).await);
    refused("get of what is newer", &files.get("a").if_modified_since(modified).await);
    refused("get of a range", &files.get("a").range(1..3).await);
    // A head that is refused has no body, and does not say why.
    refused("head", &files.head("a").if_match(&etag).await);
    refused("head of what is known", &files.head("a").if_none_match(&etag).await);
    proxy.heal();
    assert_eq!(files.get("a").range(1..3).if_match(&etag).bytes().await.unwrap(), "on");
    files.delete("a").await.unwrap();
}
