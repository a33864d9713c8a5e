//! What operators are told in metrics.

use statehouse_core::ErrorKind;
use statehouse_core::conformance::{Recorder, Spans};
use statehouse_search::{DocumentId, Operation, Query, SearchIndex, SearchIndexExt as _, SearchRequest, TantivyConfig};

use super::stubbed::{index as stubbed, items, text};
use super::{Scratch, document, schema, versioned};

fn delete(id: &str, version: Option<u64>) -> Operation {
    Operation::Delete { id: DocumentId::new(id).unwrap(), version }
}

async fn write(index: &dyn SearchIndex) {
    let batches = [
        vec![versioned("somebody", 3), versioned("else", 1), document("third", "x")],
        vec![versioned("somebody", 2), versioned("somebody", 4), delete("absent", None), delete("else", Some(2))],
        vec![delete("somebody", Some(4)), versioned("else", 1)],
    ];
    for batch in batches {
        let _ = index.bulk(batch).await.unwrap();
    }
    let wrong = statehouse_search::Record::new("bad").unwrap().with("none such", 1_u64);
    let report = index.bulk(vec![Operation::Upsert(wrong)]).await.unwrap();
    assert_eq!(report.failures().count(), 1);
}

#[tokio::test]
async fn operations_are_counted_by_what_became_of_them() {
    let scratch = Scratch::new().await;
    for backend in ["tantivy", "opensearch"] {
        let seen = Recorder::default();
        let _guard = metrics::set_default_local_recorder(&seen);
        match backend {
            "tantivy" => write(&TantivyConfig::memory().open(schema()).await.unwrap()).await,
            _ => write(&scratch.open(schema()).await.unwrap()).await,
        }
        let begin = format!("statehouse.search.writes backend={backend} outcome=");
        let counts = seen.counts();
        let counts: Vec<_> =
            counts.iter().filter_map(|(name, count)| Some((name.strip_prefix(&begin)?, *count))).collect();
        let expected = [("created", 3), ("deleted", 1), ("failed", 1), ("not_found", 1), ("stale", 3), ("updated", 1)];
        assert_eq!(counts, expected, "{backend}");
        let io: Vec<_> = seen.counts().into_iter().filter(|(name, _)| name.contains("search.io")).collect();
        assert_eq!(io.len(), if backend == "tantivy" { 0 } else { 2 }, "{io:?}");
        let named = ["somebody", scratch.name.as_str()];
        assert!(seen.counts().keys().all(|name| named.iter().all(|named| !name.contains(named))));
    }
    scratch.delete().await;
}

#[tokio::test]
async fn requests_that_are_sent_again_are_counted_by_what_became_of_the_one_before() {
    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let (_stub, index) = stubbed("", |request, before| match (request.target.contains("_bulk"), before) {
        (false, 0) => (429, String::new()),
        (false, 1) => (503, String::new()),
        (false, _) => (200, text(r#"{"count":7,"_shards":{"failed":0}}"#)),
        (true, 0) => items(&[r#"{"index":{"status":429,"error":{"type":"rejected_execution_exception"}}}"#]),
        (true, _) => items(&[r#"{"index":{"status":201,"result":"created","_version":1}}"#]),
    })
    .await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 7);
    index.bulk(vec![document("a", "x")]).await.unwrap().check().unwrap();
    let retries = seen.counts().into_iter().filter(|(name, _)| name.contains("retries"));
    let retries: Vec<_> =
        retries.map(|(name, count)| (name.replace("statehouse.search.retries ", ""), count)).collect();
    let expected = [("reason=429", 1), ("reason=503", 1), ("reason=refused_items", 1)];
    assert_eq!(retries, expected.map(|(name, count)| (name.to_owned(), count)));
}

const REQUEST: &str = "statehouse otel.name=\"opensearch.request\" otel.kind=\"client\" http.request.method=";

/// The spans of requests, without what all of them have.
fn requests(spans: &Spans) -> Vec<String> {
    let lines = spans.lines();
    lines.iter().filter_map(|line| line.strip_prefix(REQUEST)).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_request_has_a_span_that_tells_its_node_its_endpoint_and_its_answer_and_no_id() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    index.bulk(vec![document("hunter2", "x")]).await.unwrap().check().unwrap();
    index.get(&"hunter2".try_into().unwrap()).await.unwrap().unwrap();
    index.search(&SearchRequest::new(Query::matches("title", "hunter2"))).await.unwrap();
    let told = requests(&spans);
    let at = scratch.node.address().replace("127.0.0.1:", "server.address=\"127.0.0.1\" server.port=");
    let at = format!("{at} db.system.name=\"opensearch\"");
    let of = |endpoint| format!("\"POST\" {at} db.operation.name=\"{endpoint}\" http.response.status_code=200");
    // The first write asks the index how it is set up; what is asked of an index itself has no endpoint.
    let posted: Vec<_> = told.iter().filter(|line| line.starts_with("\"POST\"")).cloned().collect();
    assert_eq!(posted, ["bulk", "mget", "search"].map(of), "{told:#?}");
    let got = format!("\"GET\" {at} http.response.status_code=200");
    assert!(told.iter().all(|line| posted.contains(line) || *line == got), "{told:#?}");
    let named = ["hunter2", scratch.name.as_str()];
    // Those of other crates are theirs.
    let lines = spans.lines();
    let mut ours = lines.iter().filter(|line| line.starts_with("statehouse "));
    assert!(ours.all(|line| named.iter().all(|named| !line.contains(named))), "{lines:#?}");
    scratch.delete().await;
}

#[tokio::test]
async fn each_try_of_a_request_has_a_span() {
    let (_stub, index) = stubbed("", |_, before| match before {
        0 => (429, String::new()),
        1 => (503, String::new()),
        _ => (200, text(r#"{"count":7,"_shards":{"failed":0}}"#)),
    })
    .await;
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 7);
    let told = requests(&spans);
    let ends: Vec<_> = told.iter().map(|line| line.split_once(" db.operation.name=\"count\" ").unwrap().1).collect();
    let expected = [
        "http.response.status_code=429 error.type=429",
        "http.response.status_code=503 error.type=503",
        "http.response.status_code=200",
    ];
    assert_eq!(ends, expected, "{told:#?}");
    let again: Vec<_> = told.iter().map(|line| line.split("resend_count=").nth(1).map(|rest| &rest[..1])).collect();
    assert_eq!(again, [None, Some("1"), Some("2")], "{told:#?}");
}

/// The page of a proxy whose server is away: never a missing document, at no verb.
#[tokio::test]
async fn a_page_that_opensearch_does_not_give_is_an_outage() {
    for page in ["404 page not found", "<html><h1>404</h1></html>", ""] {
        let (_stub, index) = stubbed("&timeout=1s&deadline=2s", move |_, _| (404, text(page))).await;
        let errors = [
            index.get(&"a".try_into().unwrap()).await.map(drop),
            index.search(&SearchRequest::new(Query::all())).await.map(drop),
            index.count(&Query::all().into()).await.map(drop),
            index.bulk(vec![versioned("a", 1)]).await.map(drop),
            index.refresh().await,
            index.merge().await,
        ];
        for (number, error) in errors.into_iter().enumerate() {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable, "{page:?}, {number}");
        }
    }
}
