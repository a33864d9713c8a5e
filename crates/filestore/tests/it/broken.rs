//! What every server of objects is held to behind a network that breaks.

use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_filestore::{Body, Files, PutOutcome};
use statehouse_testkit::{Direction, FaultProxy};

/// 12 MiB in pieces of 1 MiB: two parts.
pub(crate) fn long(with: u8) -> Body {
    Body::from_stream(futures_util::stream::iter((0..12).map(move |_| Ok::<_, std::io::Error>(vec![with; 1 << 20]))))
}

pub(crate) async fn an_outage_is_an_error(proxy: &FaultProxy, files: &Files) {
    files.put("a", "x").await.unwrap();
    proxy.cut();
    for name in ["a", "absent"] {
        // On a connection that was there before it may have been sent.
        let kind = files.put(name, "y").await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown), "{kind:?}");
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
    assert_eq!(files.list("").await.unwrap_err().kind(), ErrorKind::Timeout);
    // It was sent, and nobody knows what became of it.
    assert_eq!(files.put("a", "z").await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    proxy.reset_connections();
    proxy.heal();
    let content = files.get("a").bytes().await.unwrap();
    assert!(content == "x" || content == "z", "{content:?}");
    files.delete("a").await.unwrap();
}

/// The server does the write and its answer never comes: the retry is refused by what the first attempt wrote, which is
/// no reason to say that somebody else was first.
pub(crate) async fn a_create_knows_its_own_file(proxy: &FaultProxy, files: &Files) {
    for (name, body) in [("short", Body::from("mine")), ("long", long(7))] {
        let len = if name == "short" { 4 } else { 12 << 20 };
        let put = files.put(name, body).if_absent().into_future();
        let seen = proxy.counts().bytes_to_server;
        let lose = async {
            // A long one's parts are answered, and its completion is not.
            while proxy.counts().bytes_to_server - seen < len {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.black_hole_way(Direction::ToClient);
            tokio::time::sleep(Duration::from_millis(600)).await;
            // The answer that waits in the proxy is thrown away with its connection.
            proxy.reset_connections();
            proxy.heal();
        };
        let (stored, ()) = tokio::join!(put, lose);
        let stored = stored.unwrap().stored().unwrap();
        assert_eq!(files.head(name).await.unwrap().etag, stored.etag, "{name}");
        assert_eq!(files.put(name, "other").if_absent().await.unwrap(), PutOutcome::Conflict);
        files.delete(name).await.unwrap();
    }
}

/// What is read of a body that was cut off is resumed, or an error.
pub(crate) async fn a_body_is_never_short(proxy: &FaultProxy, files: &Files) {
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
