//! What operators are told in metrics.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use statehouse_core::Namespace;
use statehouse_core::conformance::{Recorder, Spans};
use statehouse_filestore::{Body, FileStore, Files, LocalFileStore, MemoryFileStore, ObjectFileStore, PutOutcome};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::config;

/// What was counted of a backend, by what stands behind the backend's name.
fn counts(seen: &Recorder, counter: &str, backend: &str) -> Vec<(String, u64)> {
    let begin = format!("statehouse.filestore.{counter} backend={backend} ");
    let counts = seen.counts().into_iter();
    counts.filter_map(|(name, count)| Some((name.strip_prefix(&begin)?.to_owned(), count))).collect()
}

#[tokio::test]
async fn content_and_conflicts_are_counted_by_backend() {
    let directory = tempfile::tempdir().unwrap();
    for backend in ["memory", "local", "s3"] {
        let seen = Recorder::default();
        let _guard = metrics::set_default_local_recorder(&seen);
        let store: Arc<dyn FileStore> = match backend {
            "memory" => Arc::new(MemoryFileStore::new()),
            "local" => Arc::new(LocalFileStore::open(directory.path().join("files")).await.unwrap()),
            _ => Arc::new(ObjectFileStore::open_s3(config(S3Server::shared().await)).await.unwrap()),
        };
        let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let files = Files::new(store, Namespace::new(format!("it.{nonce}")).unwrap());
        let etag = files.put("somebody", "seven b").await.unwrap().etag;
        assert_eq!(files.put("somebody", "x").if_absent().await.unwrap(), PutOutcome::Conflict);
        files.put("somebody", "changed").await.unwrap();
        assert_eq!(files.put("somebody", "x").if_match(&etag).await.unwrap(), PutOutcome::Conflict);
        files.copy("somebody", "else").await.unwrap();
        assert_eq!(files.copy("somebody", "else").if_absent().await.unwrap(), PutOutcome::Conflict);
        if files.store().capabilities().has(statehouse_filestore::capability::DELETE_IF_MATCH) {
            assert_eq!(
                files.delete("else").if_match(&etag).await.unwrap(),
                statehouse_filestore::DeleteOutcome::Conflict
            );
        }
        assert_eq!(files.get("somebody").range(..3).bytes().await.unwrap(), "cha");
        files.put("long", vec![7; 2 << 20]).await.unwrap();
        let mut half = files.get("long").stream().await.unwrap();
        let first = half.try_next().await.unwrap().unwrap().len() as u64;
        drop(half);
        assert!(files.get("nobody").await.is_err() && files.put("a", "x").max_len(0).await.is_err());
        let content = [("direction=read".to_owned(), 3 + first), ("direction=stored".to_owned(), 14 + (2 << 20))];
        assert_eq!(counts(&seen, "content", backend), content);
        let conflicts: Vec<_> = counts(&seen, "conflicts", backend);
        let of = |operation| conflicts.iter().find(|(name, _)| name == operation).map(|(_, count)| *count);
        assert_eq!(
            (of("operation=filestore.put"), of("operation=filestore.copy")),
            (Some(2), Some(1)),
            "{conflicts:?}"
        );
        assert!(seen.counts().keys().all(|name| !name.contains("somebody")));
        files.delete("long").await.unwrap();
    }
}

#[tokio::test]
async fn requests_that_are_sent_again_are_counted_by_what_became_of_the_one_before() {
    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = crate::s3::files(ObjectFileStore::open_s3(config).await.unwrap());
    files.put("a", Body::from("x")).await.unwrap();
    let before = retries(&seen);
    proxy.cut();
    let health = files.store().health().await;
    assert!(!health.is_up() && files.get("a").await.is_err(), "{health:?}");
    proxy.heal();
    let counted = retries(&seen);
    assert!(counted > before, "{counted} after {before}: {:#?}", seen.counts());
    let start = std::time::Instant::now();
    while files.get("a").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    files.delete("a").await.unwrap();
}

/// The spans of requests since the last look, without what all of them have.
fn requests(spans: &Spans, seen: &mut usize) -> Vec<String> {
    let lines = spans.lines().split_off(*seen);
    *seen += lines.len();
    let begin = "statehouse otel.name=\"s3.request\" otel.kind=\"client\" http.request.method=";
    lines.iter().filter_map(|line| line.strip_prefix(begin)).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn each_try_of_a_request_has_a_span_that_tells_its_server_and_its_answer_and_no_key() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let files = crate::s3::files(ObjectFileStore::open_s3(files).await.unwrap());
    let (spans, mut seen) = (Spans::default(), 0);
    let _guard = tracing::subscriber::set_default(spans.clone());
    let at = proxy.address().replace("127.0.0.1:", "server.address=\"127.0.0.1\" server.port=");
    files.put("hunter2", Body::from("x")).await.unwrap();
    assert_eq!(requests(&spans, &mut seen), [format!("\"PUT\" {at} http.response.status_code=200")]);
    files.get("hunter2").bytes().await.unwrap();
    assert_eq!(requests(&spans, &mut seen), [format!("\"GET\" {at} http.response.status_code=200")]);
    assert!(files.get("nobody").await.is_err());
    let missing = format!("\"GET\" {at} http.response.status_code=404 error.type=404");
    assert_eq!(requests(&spans, &mut seen)[0], missing);
    proxy.cut();
    assert!(files.get("hunter2").await.is_err());
    let tried = requests(&spans, &mut seen);
    let lost = |line: &str| line.ends_with("error.type=\"not_sent\"") || line.ends_with("error.type=\"unanswered\"");
    assert!(tried.len() > 1 && tried.iter().all(|line| lost(line)), "{tried:#?}");
    assert!(!tried[0].contains("resend_count"), "{tried:#?}");
    for (again, line) in tried.iter().enumerate().skip(1) {
        assert!(line.starts_with(&format!("\"GET\" {at} http.request.resend_count={again} ")), "{tried:#?}");
    }
    // Those of other crates are theirs.
    let lines = spans.lines();
    let mut ours = lines.iter().filter(|line| line.starts_with("statehouse "));
    assert!(ours.all(|line| !line.contains("hunter2")), "{lines:#?}");
    proxy.heal();
}

fn retries(seen: &Recorder) -> u64 {
    let reason = |name: &str| {
        let reason = name.strip_prefix("statehouse.filestore.retries reason=");
        reason
            .inspect(|reason| {
                let known = ["not_sent", "unanswered"].contains(reason) || reason.parse::<u16>().is_ok();
                assert!(known, "{reason}");
            })
            .is_some()
    };
    seen.counts().iter().filter(|(name, _)| reason(name)).map(|(_, count)| count).sum()
}
