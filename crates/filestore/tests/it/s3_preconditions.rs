//! Preconditions are signed: nobody on the way can take one off.

use statehouse_core::ErrorKind;
use statehouse_filestore::{ObjectFileStore, PutOutcome};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::{config, files};

const LONG: usize = 9 << 20;

/// A middlebox that drops headers it does not know. Open saw none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_precondition_that_is_taken_off_on_the_way_is_refused_by_the_server() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let store = ObjectFileStore::open_s3(config(server).with_endpoint(proxy.url(&server.endpoint()))).await.unwrap();
    let files = files(store);
    let stale = files.put("a", "first").await.unwrap().etag;
    files.put("a", "second").await.unwrap();
    files.put("b", "other").await.unwrap();
    let (fine, changed) = (files.head("a").await.unwrap().etag, vec![7_u8; LONG]);
    proxy.strip_request_headers(&["if-none-match", "if-match"]);
    let refused = |what: &str, error: statehouse_core::Error| {
        let kinds = [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied];
        assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
    };
    refused("create", files.put("a", "third").if_absent().await.unwrap_err());
    refused("create what is absent", files.put("new", "third").if_absent().await.unwrap_err());
    refused("replace", files.put("a", "third").if_match(&fine).await.unwrap_err());
    refused("copy", files.copy("b", "a").if_match(&fine).await.unwrap_err());
    refused("copy to what is absent", files.copy("b", "new").if_absent().await.unwrap_err());
    refused("delete", files.delete("a").if_match(&fine).await.unwrap_err());
    // These are found out before they are sent; what has been decided meanwhile is decided by the server.
    refused("complete, absent", files.put("new", changed.clone()).if_absent().await.unwrap_err());
    refused("complete, replace", files.put("a", changed.clone()).if_match(&fine).await.unwrap_err());
    assert_eq!(files.put("a", changed).if_match(&stale).await.unwrap(), PutOutcome::Conflict);
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "second");
    assert!(!files.exists("new").await.unwrap());
    for name in ["a", "b"] {
        files.delete(name).await.unwrap();
    }
}
