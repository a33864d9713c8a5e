use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Namespace, Retry, ServiceUrl};
use statehouse_search::{
    BulkOptions, Facet, Field, Outcome, Query, Refresh, Schema, SearchIndex as _, SearchIndexExt as _, SearchRequest,
};
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};

use super::stub::{Received, Stub};
use super::{Scratch, config, document, versioned};

/// No text field: nothing is asked of the server's analysis.
pub(super) fn schema() -> Schema {
    Schema::builder().field(Field::keyword("title").sortable()).build().unwrap()
}

pub(super) const ROOT: &str = r#"{"version":{"number":"3.8.0","distribution":"opensearch"}}"#;

/// The name of an index, and what a real server says of a real index of this name.
pub(super) async fn real_index() -> (Namespace, String) {
    let scratch = Scratch::new().await;
    scratch.open(schema()).await.unwrap();
    let (_, real) = scratch.request("GET", &format!("/{}", scratch.name), "").await;
    scratch.delete().await;
    (scratch.name, real)
}

/// An index whose opening is answered as a real server does, and everything else by `answer`.
pub(super) async fn index(
    parameters: &str,
    answer: impl Fn(&Received, usize) -> (u16, String) + Send + Sync + 'static,
) -> (Stub, OpenSearchIndex) {
    let (name, real) = real_index().await;
    let path = format!("/{name}");
    let stub = Stub::start(move |request, before| match request.target.as_str() {
        "/" => (200, text(ROOT)),
        target if target == path => (200, real.clone()),
        target if target.starts_with("/_cluster/health") && before == 0 => (200, text(r#"{"status":"green"}"#)),
        _ => answer(request, before),
    })
    .await;
    let index = OpenSearchIndex::open(config(&stub.address, parameters), &name, schema()).await.unwrap();
    (stub, index)
}

pub(super) fn text(answer: &str) -> String {
    answer.to_owned()
}

pub(super) fn items(items: &[&str]) -> (u16, String) {
    (200, format!(r#"{{"items":[{}]}}"#, items.join(",")))
}

pub(super) const CREATED: &str = r#"{"index":{"status":201,"result":"created","_version":1}}"#;
const REJECTED: &str = r#"{"index":{"status":429,"error":{"type":"rejected_execution_exception"}}}"#;

pub(super) fn everything() -> SearchRequest {
    SearchRequest::new(Query::all())
}

#[tokio::test]
async fn wrong_credentials_name_the_setting_and_not_the_password() {
    let stub = Stub::start(|_, _| (401, text("Unauthorized"))).await;
    let url = format!("opensearch+http://app:hunter2@{}", stub.address);
    let config = OpenSearchConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", &url).unwrap()).unwrap();
    let error = OpenSearchIndex::open(config, &Namespace::new("a").unwrap(), schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unauthenticated, Some("STATEHOUSE_SEARCH_URL")));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let [request] = &stub.received("/")[..] else { panic!("wrong credentials are tried once") };
    assert!(request.headers.contains(&"authorization: Basic YXBwOmh1bnRlcjI=".to_owned()), "{request:?}");
}

#[tokio::test]
async fn a_server_of_another_kind_or_age_is_refused() {
    for (version, found) in [
        (r#"{"number":"2.19.6","distribution":"opensearch"}"#, "opensearch 2.19.6"),
        (r#"{"number":"9.0.0"}"#, "something else 9.0.0"),
    ] {
        let stub = Stub::start(move |_, _| (200, format!(r#"{{"version":{version}}}"#))).await;
        let name = Namespace::new("a").unwrap();
        let error = OpenSearchIndex::open(config(&stub.address, ""), &name, schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[tokio::test]
async fn opening_waits_until_the_shards_of_the_index_are_there() {
    let (name, real) = real_index().await;
    let starting = r#"{"status":"yellow","indices":{"x-000001":{"shards":{"0":{"primary_active":false}}}}}"#;
    let open = async |parameters, waits| {
        let real = real.clone();
        let stub = Stub::start(move |request, before| match request.target.as_str() {
            "/" => (200, text(ROOT)),
            target if !target.starts_with("/_cluster/health") => (200, real.clone()),
            // As of an index that was just created: its color says that all is well.
            _ if before < waits && before % 2 == 0 => (200, text(starting)),
            _ if before < waits => (408, text(r#"{"status":"red","timed_out":true}"#)),
            _ => (200, text(r#"{"status":"yellow"}"#)),
        })
        .await;
        let opened = OpenSearchIndex::open(config(&stub.address, parameters), &name, schema()).await;
        (opened, stub.received("wait_for_status=yellow").len())
    };
    let (opened, asked) = open("", 3).await;
    assert!(opened.is_ok() && asked == 4, "{opened:?} {asked}");
    let (opened, asked) = open("&timeout=200ms&deadline=1s", usize::MAX).await;
    let error = opened.unwrap_err();
    // Of the last answer, or of the end of the call, whichever comes first.
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
    assert_eq!(error.setting(), Some("STATEHOUSE_SEARCH_URL"), "{error}");
    assert!((2..=25).contains(&asked), "{asked}");
}

#[tokio::test]
async fn counts_that_may_be_too_low_are_refused() {
    let counted = r#""buckets":[{"key":"x","doc_count":3}]"#;
    let hits = r#""hits":{"total":{"value":3,"relation":"eq"},"hits":[]}"#;
    let (_stub, index) = index("", move |_, before| {
        let error = if before == 0 { 2 } else { 0 };
        let counted = format!(r#"{{"0":{{"doc_count_error_upper_bound":{error},{counted}}}}}"#);
        (200, format!(r#"{{"timed_out":false,"_shards":{{"failed":0}},{hits},"aggregations":{counted}}}"#))
    })
    .await;
    let request = everything().with_facet(Facet::field("title"));
    let error = index.search(&request).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some("title")));
    assert_eq!(index.search(&request).await.unwrap().facet("title").len(), 1);
    let error = index.search(&request.with_facet(Facet::field("title"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn an_answer_from_some_of_the_shards_is_an_error() {
    let failed = r#""_shards":{"total":2,"successful":1,"failed":1,"failures":[{"shard":1,"reason":{"type":"oops"}}]}"#;
    let (_stub, index) = index("", move |request, _| {
        let rest = r#""timed_out":false,"count":1,"hits":{"total":{"value":1,"relation":"eq"},"hits":[]}"#;
        assert!(!request.target.contains("_bulk"));
        (200, format!("{{{failed},{rest}}}"))
    })
    .await;
    let search = index.search(&everything()).await.unwrap_err();
    let count = index.count(&Query::all().into()).await.unwrap_err();
    let refresh = index.refresh().await.unwrap_err();
    for error in [search, count, refresh] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("1 of the index's shards failed (oops)"), "{error}");
    }
}

#[tokio::test]
async fn a_search_that_was_cut_short_or_did_not_count_is_an_error() {
    let answers =
        [(r#""timed_out":true"#, "eq", ErrorKind::Timeout), (r#""timed_out":false"#, "gte", ErrorKind::Unexpected)];
    for (timed_out, relation, kind) in answers {
        let body = format!(
            r#"{{{timed_out},"_shards":{{"failed":0}},"hits":{{"total":{{"value":1,"relation":"{relation}"}},"hits":[]}}}}"#
        );
        let (_stub, index) = index("", move |_, _| (200, body.clone())).await;
        assert_eq!(index.search(&everything()).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn answers_that_are_not_json_are_errors() {
    let (_stub, index) = index("", |_, _| (200, text("<html>secret"))).await;
    let search = index.search(&everything()).await.unwrap_err();
    let get = index.get(&"a".try_into().unwrap()).await.unwrap_err();
    for error in [search, get] {
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(!format!("{error:?}").contains("secret"));
    }
    let error = index.bulk(vec![versioned("a", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn a_refused_request_is_sent_again_until_there_is_room() {
    let refused = r#"{"error":{"type":"rejected_execution_exception","root_cause":[]},"status":429}"#;
    let (stub, index) = index("", move |_, before| match before {
        0 => (429, refused.to_owned()),
        1 => (503, String::new()),
        _ => (200, text(r#"{"count":7,"_shards":{"failed":0}}"#)),
    })
    .await;
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 7);
    assert_eq!(stub.received("_count").len(), 3);
}

#[tokio::test]
async fn a_server_that_stays_busy_gets_a_bounded_number_of_requests_and_says_so() {
    let (stub, index) = index("&timeout=1s&deadline=2s", |_, _| (429, String::new())).await;
    let start = Instant::now();
    let error = index.search(&everything()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::Exhausted));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!((2..=6).contains(&stub.received("_search").len()));
}

#[tokio::test]
async fn operations_that_were_refused_one_by_one_are_sent_again_alone() {
    let (stub, index) = index("", |request, before| match before {
        0 => items(&[CREATED, REJECTED, REJECTED]),
        _ => {
            assert_eq!(request.body.lines().count(), 4, "two operations of two lines: {}", request.body);
            items(&[CREATED, CREATED])
        }
    })
    .await;
    let report = index.bulk(vec![document("a", "x"), document("b", "x"), document("c", "x")]).await.unwrap();
    assert!(report.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Created { version: 1 })), "{report:?}");
    let again = &stub.received("_bulk")[1];
    assert!(
        again.body.contains(r#""_id":"b""#) && again.body.contains(r#""_id":"c""#) && !again.body.contains("\"a\"")
    );
}

#[tokio::test]
async fn a_refused_operation_that_a_later_one_has_overtaken_is_not_sent_again() {
    let (stub, index) = index("", |_, _| items(&[REJECTED, CREATED])).await;
    let report = index.bulk(vec![document("a", "old"), document("a", "new")]).await.unwrap();
    assert!(matches!(&report.outcomes[0], Outcome::Failed(error) if error.kind() == ErrorKind::RateLimited));
    assert!(matches!(report.outcomes[1], Outcome::Created { .. }));
    assert_eq!(stub.received("_bulk").len(), 1);
}

#[tokio::test]
async fn a_version_keeps_the_order_of_what_is_sent_again() {
    let (stub, index) = index("", |_, before| match before {
        0 => items(&[REJECTED, CREATED]),
        _ => items(&[r#"{"index":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}"#]),
    })
    .await;
    let report = index.bulk(vec![versioned("a", 1), versioned("a", 2)]).await.unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Stale, Outcome::Created { .. }]), "{report:?}");
    assert_eq!(stub.received("_bulk").len(), 2);
}

#[tokio::test]
async fn every_item_of_a_bulk_gets_its_own_outcome() {
    let (_stub, index) = index("", |_, _| {
        items(&[
            CREATED,
            r#"{"index":{"status":200,"result":"updated","_version":2}}"#,
            r#"{"index":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}"#,
            r#"{"index":{"status":400,"error":{"type":"mapper_parsing_exception"}}}"#,
            r#"{"index":{"status":403,"error":{"type":"cluster_block_exception"}}}"#,
        ])
    })
    .await;
    let operations =
        vec![document("a", ""), document("b", ""), versioned("c", 1), document("d", ""), document("e", "")];
    let report = index.bulk(operations).await.unwrap();
    let [
        Outcome::Created { version: 1 },
        Outcome::Updated { version: 2 },
        Outcome::Stale,
        Outcome::Failed(d),
        Outcome::Failed(e),
    ] = &report.outcomes[..]
    else {
        panic!("{report:?}")
    };
    assert_eq!((d.kind(), d.key()), (ErrorKind::InvalidInput, Some("d")));
    assert_eq!((e.kind(), e.key()), (ErrorKind::Unavailable, Some("e")));
}

#[tokio::test]
async fn an_answer_for_fewer_operations_than_were_sent_is_in_doubt() {
    let (_stub, index) = index("", |_, _| items(&[CREATED])).await;
    let error = index.bulk(vec![document("a", "x"), document("b", "x")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn a_large_bulk_goes_out_in_parts_and_is_refreshed_once() {
    let (stub, index) = index("", |request, _| {
        if request.target.contains("_refresh") {
            return (200, text(r#"{"_shards":{"failed":0}}"#));
        }
        let count = request.body.lines().count() / 2;
        items(&vec![CREATED; count])
    })
    .await;
    let long = "x".repeat(30_000);
    let operations: Vec<_> = (0..600).map(|n| document(&n.to_string(), &long)).collect();
    let options = BulkOptions::default().with_refresh(Refresh::Wait);
    let report = index.bulk_with(operations, options).await.unwrap().into_result().unwrap();
    assert_eq!(report.outcomes.len(), 600);
    let parts = stub.received("_bulk");
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.body.len() <= 8 << 20 && part.target.contains("refresh=false")));
    assert_eq!(stub.received("_refresh").len(), 1);
}

#[tokio::test]
async fn a_part_that_fails_behind_another_fails_its_own_operations_only() {
    let (_stub, index) = index("", |request, before| match before {
        0 => items(&vec![CREATED; request.body.lines().count() / 2]),
        _ => (403, String::new()),
    })
    .await;
    let long = "x".repeat(30_000);
    let operations: Vec<_> = (0..600).map(|n| document(&n.to_string(), &long)).collect();
    let report = index.bulk(operations).await.unwrap();
    let failed: Vec<_> = report.failures().map(|(place, error)| (place, error.kind())).collect();
    assert!((200..400).contains(&failed.len()), "{}", failed.len());
    assert_eq!(failed.last(), Some(&(599, ErrorKind::PermissionDenied)));
    assert!(matches!(report.outcomes[failed[0].0 - 1], Outcome::Created { .. }));
}
