//! What an operator does to an index behind our back.

use std::time::Duration;

use statehouse_core::{ErrorKind, Health, HealthStatus, Retry};
use statehouse_search::{
    BulkOptions, Field, Highlight, OpenSearchIndex, Projection, Query, Refresh, Schema, SearchIndex as _,
    SearchIndexExt as _, SearchRequest, Sort,
};

use statehouse_testkit::FaultProxy;

use super::{Scratch, config, document, reported, schema, up, versioned};

/// Longer than what was seen of an index counts.
const NOTICED: Duration = Duration::from_millis(400);

async fn ok(scratch: &Scratch, method: &str, target: &str, body: &str) {
    let (status, answer) = scratch.request(method, target, body).await;
    assert!((200..300).contains(&status), "{method} {target}: {answer}");
}

/// Changes settings that only a closed index lets change.
async fn set_closed(scratch: &Scratch, settings: &str) {
    let index = format!("/{}-000001", scratch.name);
    ok(scratch, "POST", &format!("{index}/_close"), "").await;
    ok(scratch, "PUT", &format!("{index}/_settings"), settings).await;
    ok(scratch, "POST", &format!("{index}/_open?wait_for_active_shards=1"), "").await;
}

/// Opening, health and writes all say so; nothing more is written.
async fn assert_stopped(scratch: &Scratch, index: &OpenSearchIndex, schema: Schema, named: &str) {
    tokio::time::sleep(NOTICED).await;
    let write = index.bulk(vec![versioned("late", 1)]).await.unwrap_err();
    let open = scratch.open(schema).await.unwrap_err();
    let health = reported(index, HealthStatus::Degraded).await;
    for error in [&write, &open, health.error.as_ref().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    assert_eq!(open.setting(), Some("STATEHOUSE_SEARCH_URL"));
    assert!(open.to_string().contains(scratch.node.address()), "{open}");
}

#[tokio::test]
async fn a_changed_similarity_is_named_and_nothing_more_is_written() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    for (settings, named) in [
        (r#"{"index.similarity.default.type":"boolean"}"#, "index.similarity.default.type"),
        (
            r#"{"index.similarity.default.type":"BM25","index.similarity.default.b":"0.1"}"#,
            "index.similarity.default.b",
        ),
    ] {
        set_closed(&scratch, settings).await;
        assert_stopped(&scratch, &index, schema(), named).await;
    }
    set_closed(&scratch, r#"{"index.similarity.default.b":"0.75"}"#).await;
    tokio::time::sleep(NOTICED).await;
    index.bulk(vec![versioned("a", 1)]).await.unwrap().check().unwrap();
    scratch.open(schema()).await.unwrap();
    scratch.delete().await;
}

#[tokio::test]
async fn what_changes_documents_answers_or_limits_is_named() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let target = format!("/{}-000001/_settings", scratch.name);
    for (name, value, restored) in [
        ("index.max_result_window", "100", "10000"),
        ("index.refresh_interval", "\"-1\"", "null"),
        ("index.refresh_interval", "\"0\"", "null"),
        ("index.default_pipeline", "\"none-such\"", "null"),
        ("index.gc_deletes", "\"0s\"", "\"1h\""),
        ("index.gc_deletes", "\"-1\"", "\"1h\""),
        ("index.gc_deletes", "\"500micros\"", "\"1h\""),
        ("index.gc_deletes", "null", "\"90m\""),
    ] {
        ok(&scratch, "PUT", &target, &format!(r#"{{"{name}":{value}}}"#)).await;
        assert_stopped(&scratch, &index, schema(), name).await;
        ok(&scratch, "PUT", &target, &format!(r#"{{"{name}":{restored}}}"#)).await;
    }
    tokio::time::sleep(NOTICED).await;
    index.bulk(vec![versioned("a", 1)]).await.unwrap().check().unwrap();
    scratch.delete().await;
}

/// A filter hides documents from searches, a routing looks for them on one shard only.
#[tokio::test]
async fn an_alias_that_was_changed_is_named_and_nothing_more_is_written() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let own = format!(r#""index":"{0}-000001","alias":"{0}""#, scratch.name);
    let change = async |with: &str| {
        ok(&scratch, "POST", "/_aliases", &format!(r#"{{"actions":[{{"add":{{{own}{with}}}}}]}}"#)).await;
    };
    for (with, named) in [
        (r#","filter":{"term":{"title":"x"}}"#, "filter"),
        (r#","search_routing":"1""#, "search_routing"),
        (r#","index_routing":"1""#, "index_routing"),
        (r#","is_write_index":false"#, "is_write_index"),
    ] {
        change(with).await;
        assert_stopped(&scratch, &index, schema(), named).await;
    }
    for with in ["", r#","is_write_index":true"#] {
        change(with).await;
        tokio::time::sleep(NOTICED).await;
        index.bulk(vec![document("a", "x")]).await.unwrap().check().unwrap();
        scratch.open(schema()).await.unwrap();
        up(&index).await;
    }
    scratch.delete().await;
}

#[tokio::test]
async fn a_foreign_field_is_named_and_nothing_more_is_written() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let field = r#"{"properties":{"foreign":{"type":"keyword"}}}"#;
    ok(&scratch, "PUT", &format!("/{}-000001/_mapping", scratch.name), field).await;
    assert_stopped(&scratch, &index, schema(), "\"foreign\"").await;
    scratch.delete().await;
}

#[tokio::test]
async fn foreign_documents_are_left_out_and_counted() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let now = || BulkOptions::default().with_refresh(Refresh::Now);
    let ours = vec![document("a", "Cholera"), document("b", "Cholera in others")];
    index.bulk_with(ours, now()).await.unwrap().check().unwrap();
    let place = |id: &str| format!("/{}/_doc/{id}?refresh=true", scratch.name);
    ok(&scratch, "PUT", &place("foreign"), r#"{"title":"Cholera"}"#).await;
    ok(&scratch, "PUT", &place("copied"), r#"{"_sid":"a","title":"Cholera"}"#).await;

    let cholera = || SearchRequest::new(Query::matches("title", "cholera"));
    for request in [
        cholera(),
        cholera().with_projection(Projection::Id),
        cholera().with_projection(Projection::Id).with_highlight(Highlight::field("title")),
        cholera().with_sort(Sort::by("uses")),
    ] {
        let found = index.search(&request).await.unwrap();
        let mut ids = found.ids();
        ids.sort_unstable();
        assert_eq!((ids, found.skipped, found.total), (vec!["a", "b"], 2, 4), "{request:?}");
    }
    for id in ["foreign", "copied"] {
        let error = index.get(&id.try_into().unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(id)));
        assert!(error.to_string().contains("something else than statehouse"), "{error}");
    }
    assert!(index.get(&"a".try_into().unwrap()).await.unwrap().is_some());
    // Ours may be written over them.
    index
        .bulk_with(vec![document("foreign", "Cholera"), document("copied", "Fever")], now())
        .await
        .unwrap()
        .check()
        .unwrap();
    let found = index.search(&cholera()).await.unwrap();
    assert_eq!((found.total, found.skipped), (3, 0));
    scratch.delete().await;
}

#[tokio::test]
async fn two_indexes_behind_the_alias_are_named_and_nothing_more_is_written() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let now = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(vec![document("a", "Cholera")], now).await.unwrap().check().unwrap();
    let (_, real) = scratch.request("GET", &format!("/{}/_mapping", scratch.name), "").await;
    let mapping = real.split_once("\"mappings\":").unwrap().1.trim_end().strip_suffix("}}").unwrap();
    let (_, settings) = scratch.request("GET", &format!("/{}/_settings/index.analysis*", scratch.name), "").await;
    let settings = settings.split_once("\"settings\":").unwrap().1.trim_end().strip_suffix("}}").unwrap();
    let second = format!("/{}-000002", scratch.name);
    ok(&scratch, "PUT", &second, &format!(r#"{{"settings":{settings},"mappings":{mapping}}}"#)).await;
    ok(&scratch, "PUT", &format!("{second}/_alias/{}", scratch.name), "").await;
    ok(&scratch, "PUT", &format!("{second}/_doc/b?refresh=true"), r#"{"_sid":"b","title":"Cholera"}"#).await;

    assert_stopped(&scratch, &index, schema(), "-000002").await;
    // Its documents are none of ours.
    let found = index.search(&SearchRequest::new(Query::matches("title", "cholera"))).await.unwrap();
    assert_eq!((found.ids(), found.total, found.skipped), (vec!["a"], 1, 0));
    ok(&scratch, "DELETE", &second, "").await;
    tokio::time::sleep(NOTICED).await;
    index.bulk(vec![document("b", "x")]).await.unwrap().check().unwrap();
    scratch.delete().await;
}

/// The cluster's disk is full, or somebody has asked for it.
#[tokio::test]
async fn a_block_is_told_at_once_and_health_says_why() {
    let scratch = Scratch::new().await;
    let proxy = FaultProxy::start(scratch.node.address());
    let index = OpenSearchIndex::open(config(&proxy.address(), ""), &scratch.name, schema()).await.unwrap();
    let target = format!("/{}-000001/_settings", scratch.name);
    for (block, named) in [("read_only_allow_delete", "flood-stage watermark"), ("write", "write")] {
        ok(&scratch, "PUT", &target, &format!(r#"{{"index.blocks.{block}":true}}"#)).await;
        let before = proxy.counts().command("POST");
        let report = index.bulk(vec![versioned("a", 1), document("b", "x")]).await.unwrap();
        assert_eq!(proxy.counts().command("POST") - before, 1, "a block is not tried against again");
        let failures: Vec<_> = report.failures().collect();
        assert_eq!(failures.len(), 2, "{report:?}");
        for (_, error) in failures {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL));
            assert!(error.to_string().contains(named), "{error}");
        }
        let ill = reported(&index, HealthStatus::Degraded).await.error.unwrap();
        assert!(ill.retry() == Retry::FULL && ill.to_string().contains(named), "{ill:?}");
        assert_eq!(index.search(&SearchRequest::new(Query::all())).await.unwrap().total, 0);
        let (status, answer) = scratch.request("PUT", &format!("/{}-000001/_settings", scratch.name), "{}").await;
        assert!(status >= 400, "{answer}");
        // An index that takes no settings takes this one.
        ok(&scratch, "PUT", &target, &format!(r#"{{"index.blocks.{block}":null}}"#)).await;
        up(&index).await;
    }
    ok(&scratch, "PUT", &target, r#"{"index.blocks.read":true}"#).await;
    let health = reported(&index, HealthStatus::Down).await;
    assert!(health.error.as_ref().unwrap().to_string().contains("read"), "{health:?}");
    let error = index.search(&SearchRequest::new(Query::all())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    ok(&scratch, "PUT", &target, r#"{"index.blocks.read":null}"#).await;
    scratch.delete().await;
}

#[tokio::test]
async fn a_text_that_is_only_kept_can_be_created() {
    let scratch = Scratch::new().await;
    let schema = || {
        let kept = Field::text("note").not_indexed().with_sub_field(Field::keyword("exact"));
        Schema::builder().field(kept).build().unwrap()
    };
    scratch.open(schema()).await.unwrap();
    let again = scratch.open(schema()).await.unwrap();
    up(&again).await;
    scratch.delete().await;
}

#[tokio::test]
async fn what_is_done_to_another_index_says_nothing_of_this_one() {
    let (scratch, other) = (Scratch::new().await, Scratch::new().await);
    let index = scratch.open(schema()).await.unwrap();
    up(&index).await;
    let closed = other.open(schema()).await.unwrap();
    ok(&other, "PUT", &format!("/{}-000001/_settings", other.name), r#"{"index.blocks.write":true}"#).await;
    reported(&closed, HealthStatus::Degraded).await;
    let health = reported_in_time(&index).await;
    assert!(health.is_up(), "the other takes no writes: {health:?}");
    ok(&other, "POST", &format!("/{}-000001/_close", other.name), "").await;
    reported(&closed, HealthStatus::Down).await;
    let health = reported_in_time(&index).await;
    assert!(health.is_up(), "the other is closed: {health:?}");
    scratch.delete().await;
    other.delete().await;
}

/// What health says once, as soon as the server is not too busy to answer it.
async fn reported_in_time(index: &OpenSearchIndex) -> Health {
    for _ in 0..30 {
        let health = index.health().await;
        if health.error.as_ref().is_none_or(|error| error.kind() != ErrorKind::Timeout) {
            return health;
        }
    }
    index.health().await
}
