//! What is slow or not there holds up what needs it, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_core::{ErrorKind, Fence, Key, Namespace, Version};
use statehouse_search::{BulkOptions, Field, Indexes, OpenSearchIndex, Outcome, Schema, SearchIndex as _};
use tokio::time::{sleep, timeout};

use super::stub::{DRIP, Stub};
use super::stubbed::{CREATED, ROOT, index, items, real_index, schema, text};
use super::{config, document};

/// Nor does it keep anybody from knowing how the others are.
#[tokio::test]
async fn an_index_that_opens_slowly_holds_up_no_other() {
    let (_, real) = real_index().await;
    let stub = Stub::start(move |request, _| match request.target.as_str() {
        "/" => (200, text(ROOT)),
        target if target.starts_with("/_cluster/health") => (200, text(r#"{"status":"green"}"#)),
        target if target.contains(".slow") => (200, text(DRIP)),
        _ => (200, real.clone()),
    })
    .await;
    let namespace = Namespace::new("clinic").unwrap();
    let indexes = Arc::new(Indexes::opensearch(config(&stub.address, ""), &namespace).unwrap());
    let first = indexes.index("first", schema()).await.unwrap();
    let slow = || {
        let indexes = Arc::clone(&indexes);
        tokio::spawn(async move { indexes.index("slow", schema()).await })
    };
    let slow = [slow(), slow(), slow()];
    let others = async {
        while stub.received(".slow").is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(Arc::ptr_eq(&indexes.index("first", schema()).await.unwrap(), &first));
        indexes.index("second", schema()).await.unwrap();
        indexes.health().await
    };
    timeout(Duration::from_secs(50), others).await.expect("nothing of it needs the slow one");
    assert_eq!(stub.received(".slow").len(), 1, "one of them opens it");
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Each request takes a time of its own, and others seem to change the fields all the while.
#[tokio::test]
async fn an_opening_ends_however_many_requests_it_takes() {
    let (name, real) = real_index().await;
    let path = format!("/{name}");
    let stub = Stub::start(move |request, before| match request.target.as_str() {
        "/" => (200, text(ROOT)),
        target if target == path && before % 2 == 0 => (200, text(DRIP)),
        target if target == path => (200, real.clone()),
        _ => (200, text("{}")),
    })
    .await;
    let wanted = Schema::builder().field(Field::keyword("title").sortable()).field(Field::keyword("more"));
    let config = config(&stub.address, "&timeout=1s&deadline=3s");
    let opened = OpenSearchIndex::open(config, &name, wanted.build().unwrap()).await;
    let error = opened.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("search.open")), "{error}");
}

#[tokio::test]
async fn a_mark_whose_shard_is_not_there_is_waited_for_and_one_whose_index_is_gone_is_made_anew() {
    let fence = Fence::new(Key::new("lock/loading").unwrap(), Version::new(7));
    let options = || BulkOptions::default().with_fence(&fence);
    let mark = fence.mark().to_string();
    let told = move |rest: &str| (200, format!(r#"{{"docs":[{{"_id":"{mark}",{rest}}}]}}"#));
    let serves = Arc::new(AtomicBool::new(false));
    let is_there = Arc::clone(&serves);
    let (stub, index) = index("&timeout=1s&deadline=2s", move |request, before| {
        if request.target.contains("/_cluster/health/") && request.target.contains("@marks") {
            let status = if is_there.load(Ordering::SeqCst) { "yellow" } else { "red" };
            return (200, text(&format!(r#"{{"status":"{status}"}}"#)));
        }
        match (request.target.contains("@marks"), request.target.contains("_mget"), before) {
            (true, true, 0 | 1) => told(r#""error":{"type":"no_shard_available_action_exception","reason":"x"}"#),
            (true, true, 2 | 4) => told(r#""error":{"type":"index_not_found_exception","reason":"x"}"#),
            (true, true, _) => told(r#""_version":7,"found":true"#),
            (true, false, _) if request.target.contains("_bulk") => items(&[r#"{"index":{"status":201}}"#]),
            (true, false, _) => (200, text("{}")),
            (false, ..) => items(&[CREATED]),
        }
    })
    .await;
    let error = index.bulk_with(vec![document("a", "x")], options()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert_eq!(stub.received("_bulk").len(), 0, "put off where it does not come");
    serves.store(true, Ordering::SeqCst);
    // Made where it is not there, written only then, and left alone where it is.
    for made in [1, 1, 2] {
        let report = index.bulk_with(vec![document("a", "x")], options()).await.unwrap();
        assert!(matches!(report.outcomes[..], [Outcome::Created { .. }]), "{report:?}");
        let marks = stub.received("@marks");
        let puts = marks.iter().filter(|request| request.target.ends_with("@marks")).count();
        let raised = marks.iter().filter(|request| request.target.contains("_bulk")).count();
        assert_eq!((puts, raised), (made, made));
    }
}
