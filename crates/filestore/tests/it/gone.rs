//! A directory that is removed under an open store: an outage, which never looks as if there were no files.

use std::sync::Arc;

use statehouse_core::{ErrorKind, HealthStatus, Namespace, Result, Retry};
use statehouse_filestore::{Access, Body, Files, LocalConfig, LocalFileStore};

fn in_pieces() -> Body {
    Body::from_stream(futures_util::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 300_000]))))
}

#[tokio::test]
async fn a_directory_that_is_gone_is_an_outage_for_every_verb() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("files");
    let open = async |config| {
        let store = LocalFileStore::open_with(config).await.unwrap();
        Files::new(Arc::new(store), Namespace::new("n").unwrap())
    };
    let files = open(LocalConfig::new(&root)).await;
    let etag = files.put("a/b", "x").await.unwrap().etag;
    let reader = open(LocalConfig::new(&root).with_access(Access::Read)).await;
    assert_eq!(files.get("missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(files.list("none/").await.unwrap().entries.len(), 0);
    std::fs::remove_dir_all(&root).unwrap();

    let verbs: [(&str, Result<()>); 14] = [
        ("get", files.get("a/b").await.map(drop)),
        ("get, only to read", reader.get("a/b").await.map(drop)),
        ("head", files.head("a/b").await.map(drop)),
        ("list", files.list("").await.map(drop)),
        ("list of a folder", files.list("a/").await.map(drop)),
        ("list, only to read", reader.list("").await.map(drop)),
        ("put", files.put("a/b", "y").await.map(drop)),
        ("put of a new file", files.put("c", "y").if_absent().await.map(drop)),
        ("put over one", files.put("a/b", "y").if_match(&etag).await.map(drop)),
        ("put in pieces", files.put("c", in_pieces()).await.map(drop)),
        ("put of much", files.put("c", vec![7_u8; 2 << 20]).await.map(drop)),
        ("copy", files.copy("a/b", "c").await.map(drop)),
        ("delete", files.delete("a/b").await.map(drop)),
        ("delete of one", files.delete("a/b").if_match(&etag).await.map(drop)),
    ];
    for (verb, done) in verbs {
        let error = done.expect_err(verb);
        let told = (error.kind(), error.retry());
        assert_eq!(told, (ErrorKind::Unavailable, Retry::DISK_FAILED), "{verb}: {error:?}");
        assert!(error.message().contains("gone"), "{verb}: {error}");
    }
    for files in [files, reader] {
        let health = files.store().health().await;
        assert_eq!(health.status, HealthStatus::Down, "{health:?}");
        assert_eq!(health.error.unwrap().kind(), ErrorKind::Unavailable);
    }
}
