//! Answers that are none to the question, and answers without an end.

use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, HealthStatus};
use statehouse_search::{
    BulkOptions, Facet, Operation, Query, SearchIndex as _, SearchIndexExt as _, SearchOptions, SearchRequest,
};

use super::stub::{DRIP, ENDLESS};
use super::stubbed::{everything, index, items, text};
use super::{document, versioned};

fn hits(total: u64, hits: &str) -> String {
    format!(
        r#"{{"timed_out":false,"_shards":{{"total":1,"successful":1,"failed":0}},
        "hits":{{"total":{{"value":{total},"relation":"eq"}},"hits":[{hits}]}}}}"#
    )
}

fn hit(id: &str) -> String {
    format!(r#"{{"_id":"{id}","_version":1,"_score":1.0,"_source":{{"_sid":"{id}"}},"sort":[1.0,"{id}"]}}"#)
}

#[tokio::test]
async fn a_get_does_not_take_another_document_for_the_one_it_asked_for() {
    for body in [
        r#"{"docs":[{"_id":"c","found":true,"_version":1,"_source":{"_sid":"c"}}]}"#,
        r#"{"docs":[{"_id":"c","found":false}]}"#,
        r#"{"docs":[{"_id":"a"}]}"#,
        r#"{"docs":[{"_id":"a","found":true,"_version":1}]}"#,
        r#"{"docs":[]}"#,
        r#"{"docs":[{"_id":"a","found":false},{"_id":"a","found":false}]}"#,
    ] {
        let (_stub, index) = index("", move |_, _| (200, text(body))).await;
        let error = index.get(&"a".try_into().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{body}: {error}");
    }
    let (_stub, index) = index("", |_, _| (200, text(r#"{"docs":[{"_id":"a","found":false}]}"#))).await;
    assert_eq!(index.get(&"a".try_into().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn an_item_of_a_bulk_is_of_the_operation_at_its_place() {
    let created = |id: &str| format!(r#"{{"index":{{"_id":"{id}","status":201,"result":"created","_version":1}}}}"#);
    let deleted = r#"{"delete":{"_id":"a","status":200,"result":"deleted","_version":1}}"#;
    for answer in [
        vec![created("b"), created("a")],
        vec![created("a"), created("a")],
        vec![deleted.to_owned(), created("b")],
        vec![r#"{"index":{"_id":"a","status":200,"result":"deleted","_version":1}}"#.to_owned(), created("b")],
        vec![r#"{"index":{"_id":"a","status":200}}"#.to_owned(), created("b")],
        vec![r#"{"index":{"_id":"a","status":201,"result":"created"}}"#.to_owned(), created("b")],
        vec![created("a"), created("b"), created("c")],
    ] {
        let shown = format!("{answer:?}");
        let (_stub, index) = index("", move |_, _| items(&answer.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let error = index.bulk(vec![document("a", "x"), document("b", "x")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{shown}");
    }
    let good = [created("a"), created("b")];
    let (_stub, index) = index("", move |_, _| items(&[&good[0], &good[1]])).await;
    index.bulk(vec![document("a", "x"), document("b", "x")]).await.unwrap().check().unwrap();
}

#[tokio::test]
async fn a_page_has_no_more_hits_than_it_can_have_and_each_once() {
    for (total, found, size, from) in [
        (9, vec!["a", "b", "c"], 2, 0),
        (1, vec!["a", "b"], 10, 0),
        (5, vec!["a", "b"], 10, 4),
        (9, vec!["a"], 0, 0),
        (9, vec!["a", "b", "a"], 10, 0),
    ] {
        let body = hits(total, &found.iter().map(|id| hit(id)).collect::<Vec<_>>().join(","));
        let (_stub, index) = index("", move |_, _| (200, body.clone())).await;
        let request = everything().with_size(size).with_from(from);
        assert_eq!(index.search(&request).await.unwrap_err().kind(), ErrorKind::Unexpected, "{found:?}");
    }
    let body = hits(9, &[hit("a"), hit("b")].join(","));
    let (_stub, index) = index("", move |_, _| (200, body.clone())).await;
    assert_eq!(index.search(&everything()).await.unwrap().ids(), ["a", "b"]);
}

#[tokio::test]
async fn a_facet_has_no_more_values_than_were_asked_for() {
    let bucket = |key: &str| format!(r#"{{"key":"{key}","doc_count":1}}"#);
    let counted = format!(
        r#""aggregations":{{"0":{{"doc_count_error_upper_bound":0,"buckets":[{},{}]}}}}"#,
        bucket("x"),
        bucket("y")
    );
    let body = hits(0, "").trim_end_matches('}').to_owned() + "}," + &counted + "}";
    let (_stub, index) = index("", move |_, _| (200, body.clone())).await;
    let request = everything().with_facet(Facet::field("title").with_size(1));
    assert_eq!(index.search(&request).await.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(index.search(&everything().with_facet(Facet::field("title"))).await.unwrap().facet("title").len(), 2);
}

#[tokio::test]
async fn collapsed_hits_are_one_of_each_group_and_of_no_other() {
    let of = |id: &str, group: &str| {
        hit(id).replace("\"sort\"", &format!("\"fields\":{{\"title\":[\"{group}\"]}},\"sort\""))
    };
    let values = |documents: u64, values: u64| {
        format!(r#""aggregations":{{"c":{{"doc_count":{documents},"v":{{"value":{values}}}}}}}"#)
    };
    let several = r#"{"type":"illegal_state_exception","reason":"failed to collapse 5, the collapse field must be single valued"}"#;
    let failed = format!(r#""failed":1,"failures":[{{"shard":0,"reason":{several}}}]"#);
    let (unexpected, unsupported) = (ErrorKind::Unexpected, ErrorKind::Unsupported);
    for (found, counted, kind) in [
        (vec![of("a", "x"), of("b", "y"), hit("c")], values(8, 8), None),
        (vec![of("a", "x"), of("b", "x")], values(8, 8), Some(unexpected)),
        (vec![hit("a"), of("b", "x"), hit("c")], values(8, 8), Some(unexpected)),
        (vec![of("a", "x")], r#""aggregations":{}"#.to_owned(), Some(unexpected)),
        (vec![of("a", "x")], values(8, 9), Some(unsupported)),
    ] {
        let body = hits(9, &found.join(",")).trim_end_matches('}').to_owned() + "}," + &counted + "}";
        let shown = body.clone();
        let (_stub, index) = index("", move |_, _| (200, body.clone())).await;
        let answer = index.search(&everything().with_collapse("title")).await;
        assert_eq!(answer.err().map(|error| error.kind()), kind, "{shown}");
    }
    let partly = hits(9, &of("a", "x")).replace("\"failed\":0", &failed);
    let wholly =
        format!(r#"{{"error":{{"type":"search_phase_execution_exception","root_cause":[{several}]}},"status":500}}"#);
    for (status, body) in [(200, partly), (500, wholly)] {
        let (_stub, index) = index("", move |_, _| (status, body.clone())).await;
        let error = index.search(&everything().with_collapse("title")).await.unwrap_err();
        assert_eq!(error.kind(), unsupported, "{error}");
    }
}

#[tokio::test]
async fn hits_and_documents_of_another_index_are_a_conflict() {
    let other = hit("a").replace("{\"_id\"", "{\"_index\":\"other-000001\",\"_id\"");
    let page = hits(1, &other);
    let (_stub, index) = index("", move |request, _| match request.target.contains("_mget") {
        true => (
            200,
            text(r#"{"docs":[{"_index":"other-000001","_id":"a","found":true,"_version":1,"_source":{"_sid":"a"}}]}"#),
        ),
        false => (200, page.clone()),
    })
    .await;
    let search = index.search(&everything()).await.unwrap_err();
    let get = index.get(&"a".try_into().unwrap()).await.unwrap_err();
    for error in [search, get] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("other-000001"), "{error}");
    }
}

/// An answer of the server counts a shard without any copy neither as successful nor as failed.
#[tokio::test]
async fn a_count_without_a_shard_is_no_count() {
    let shards = r#""_shards":{"total":2,"successful":1,"skipped":0,"failed":0}"#;
    let (_stub, index) = index("", move |request, _| {
        let page = r#""timed_out":false,"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}"#;
        if request.target.starts_with("/_cluster/health") {
            return (200, text(r#"{"status":"red"}"#));
        }
        (200, format!(r#"{{"count":0,{page},{shards}}}"#))
    })
    .await;
    let count = index.count(&Query::all().into()).await.unwrap_err();
    let search = index.search(&everything()).await.unwrap_err();
    let refresh = index.refresh().await.unwrap_err();
    for error in [count, search, refresh] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_too_large_and_read_no_further() {
    let (stub, index) = index("&max_answer=1MiB", |_, _| (200, text(ENDLESS))).await;
    let search = index.search(&everything()).await.unwrap_err();
    let get = index.get(&"a".try_into().unwrap()).await.unwrap_err();
    let count = index.count(&Query::all().into()).await.unwrap_err();
    let refresh = index.refresh().await.unwrap_err();
    for error in [search, get, count, refresh] {
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("max_answer") && !error.is_retryable(), "{error}");
    }
    let bulk = index.bulk(vec![versioned("a", 1)]).await.unwrap_err();
    assert_eq!(bulk.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(index.health().await.status, HealthStatus::Down);
    // Each took little more than the limit and what lies in buffers on the way.
    assert!(stub.sent() < 10 * (16 << 20), "{} bytes were read", stub.sent());
}

#[tokio::test]
async fn of_an_error_without_an_end_only_the_beginning_is_read() {
    for (status, kind) in
        [(500, ErrorKind::Unexpected), (403, ErrorKind::PermissionDenied), (503, ErrorKind::Unavailable)]
    {
        let (stub, index) = index("&timeout=20s&deadline=20s", move |_, _| (status, text(ENDLESS))).await;
        let error = index.search(&everything()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let report = index.bulk(vec![versioned("a", 1)]).await;
        assert_eq!(report.unwrap_err().kind(), kind);
        assert!(stub.sent() < 20 * (8 << 20), "{} bytes were read", stub.sent());
    }
}

#[tokio::test]
async fn an_answer_that_drips_for_ever_ends_at_the_deadline() {
    let (_stub, index) = index("&timeout=1s&deadline=2s", |_, _| (200, text(DRIP))).await;
    let start = Instant::now();
    assert_eq!(index.search(&everything()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(index.get(&"a".try_into().unwrap()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(index.bulk(vec![versioned("a", 1)]).await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(index.health().await.status, HealthStatus::Down);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_error_that_drips_for_ever_is_known_by_its_status() {
    let (_stub, index) = index("&timeout=20s&deadline=20s", |_, _| (403, text(DRIP))).await;
    let start = Instant::now();
    assert_eq!(index.search(&everything()).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_time_that_no_clock_can_hold_is_no_panic() {
    let (_stub, index) = index("", |request, _| match request.target.contains("_bulk") {
        true => items(&[r#"{"index":{"_id":"a","status":201,"result":"created","_version":1}}"#]),
        false => (200, hits(0, "")),
    })
    .await;
    let options = SearchOptions::default().with_deadline(Duration::MAX);
    assert_eq!(index.search_with(&SearchRequest::new(Query::all()), options).await.unwrap().total, 0);
    let options = BulkOptions::default().with_deadline(Duration::MAX);
    let operations: Vec<Operation> = vec![versioned("a", 1)];
    index.bulk_with(operations, options).await.unwrap().check().unwrap();
}

/// The second try finds what the first has done, and that is no newer document of somebody else.
#[tokio::test]
async fn a_write_that_was_applied_by_a_lost_try_is_read_back() {
    let stale = |verb: &str, id: &str| {
        format!(r#"{{"{verb}":{{"_id":"{id}","status":409,"error":{{"type":"version_conflict_engine_exception"}}}}}}"#)
    };
    let delete = |id: &str| Operation::Delete { id: id.try_into().unwrap(), version: Some(4) };
    let answers =
        [stale("index", "a"), stale("index", "b"), stale("index", "c"), stale("delete", "d"), stale("delete", "e")];
    let found = r#"{"docs":[{"_id":"a","_version":4,"found":true},{"_id":"b","_version":5,"found":true},
        {"_id":"c","found":false},{"_id":"d","found":false},{"_id":"e","_version":9,"found":true}]}"#;
    let (_stub, index) = index("", move |request, before| match (request.target.contains("_mget"), before) {
        (true, _) => (200, text(found)),
        // As a gateway says that has lost the answer.
        (false, 0) => (502, text("")),
        (false, _) => items(&answers.iter().map(String::as_str).collect::<Vec<_>>()),
    })
    .await;
    let operations = ["a", "b", "c"].map(|id| versioned(id, 4)).into_iter().chain([delete("d"), delete("e")]).collect();
    let report = index.bulk(operations).await.unwrap();
    use statehouse_search::Outcome::{Deleted, Stale, Updated};
    assert!(
        matches!(report.outcomes[..], [Updated { version: 4 }, Stale, Stale, Deleted { version: 4 }, Stale]),
        "{report:?}"
    );
}

/// A node that is killed says so of single operations, too, of which it may have done some.
#[tokio::test]
async fn an_operation_of_which_the_server_knows_no_outcome_is_in_doubt() {
    let item = |status: u16, kind: &str| format!(r#"{{"index":{{"status":{status},"error":{{"type":"{kind}"}}}}}}"#);
    let gone = item(500, "node_disconnected_exception");
    let stale = item(409, "version_conflict_engine_exception");
    let (busy, wrong) = (item(429, "rejected_execution_exception"), item(400, "mapper_parsing_exception"));
    let found = r#"{"docs":[{"_id":"a","_version":4,"found":true},{"_id":"b","_version":5,"found":true}]}"#;
    let (stub, index) = index("&timeout=1s&deadline=2s", move |request, before| {
        let again: &[&str] = match (request.target.contains("_mget"), before) {
            (true, _) => return (200, text(found)),
            (false, 0) => &[&gone, &gone, &busy, &gone, &gone, &gone],
            (false, 1) => &[&stale, &stale, &stale, &busy, &wrong],
            (false, _) => &[&busy],
        };
        items(again)
    })
    .await;
    let operations = ["a", "b", "c", "d", "e"].map(|id| versioned(id, 4)).into_iter().chain([document("f", "x")]);
    let report = index.bulk(operations.collect()).await.unwrap();
    use statehouse_search::Outcome::{Failed, Stale, Updated};
    let [Updated { version: 4 }, Stale, Stale, Failed(d), Failed(e), Failed(f)] = &report.outcomes[..] else {
        panic!("{report:?}")
    };
    let told = [d, e, f].map(|error| (error.kind(), error.key(), error.is_retryable()));
    let unknown = |key, again| (ErrorKind::OutcomeUnknown, Some(key), again);
    assert_eq!(told, [unknown("d", true), unknown("e", false), unknown("f", false)]);
    let asked = stub.received("_mget");
    assert!(matches!(&asked[..], [asked] if !asked.body.contains(r#""c""#)), "it was refused only: {asked:?}");
}

/// The node sends such a one again by itself, and in the end says only that the shard is not there.
#[tokio::test]
async fn an_operation_that_a_node_may_have_sent_before_is_in_doubt() {
    let item = |status: u16, kind: &str| format!(r#"{{"index":{{"status":{status},"error":{{"type":"{kind}"}}}}}}"#);
    let gone = item(503, "unavailable_shards_exception");
    let stale = item(409, "version_conflict_engine_exception");
    let found = r#"{"docs":[{"_id":"a","_version":4,"found":true}]}"#;
    let (stub, index) = index("", move |request, before| match (request.target.contains("_mget"), before) {
        (true, _) => (200, text(found)),
        (false, 0 | 2) => items(&[&gone]),
        (false, _) => items(&[&stale]),
    })
    .await;
    let report = index.bulk(vec![versioned("a", 4)]).await.unwrap();
    use statehouse_search::Outcome::{Failed, Updated};
    assert!(matches!(report.outcomes[..], [Updated { version: 4 }]), "{report:?}");
    let report = index.bulk(vec![document("b", "x")]).await.unwrap();
    let [Failed(error)] = &report.outcomes[..] else { panic!("{report:?}") };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::OutcomeUnknown, false), "{error}");
    assert_eq!(stub.received("_bulk").len(), 3, "without a version it is not sent again");
}
