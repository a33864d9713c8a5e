use statehouse_core::ErrorKind;
use statehouse_search::OpenSearchIndex;
use statehouse_search::analysis::Analyzer;
use statehouse_search::{
    BulkOptions, Field, Operation, Outcome, Query, Refresh, Schema, SchemaBuilder, SearchIndex as _,
    SearchIndexExt as _, SearchRequest, capability,
};

use super::{Scratch, config, document, schema, up};

#[tokio::test]
async fn a_missing_index_is_created_and_found_again() {
    let scratch = Scratch::new().await;
    let first = scratch.open(schema()).await.unwrap();
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    first.bulk_with(vec![document("a", "Fracture of the femur")], options).await.unwrap().check().unwrap();
    let second = scratch.open(schema()).await.unwrap();
    let found = second.search(&SearchRequest::new(Query::matches("title", "fractures"))).await.unwrap();
    assert_eq!(found.ids(), ["a"]);
    assert!(second.capabilities().has(capability::GLOBAL_STATISTICS));
    up(&second).await;
    scratch.delete().await;
}

#[tokio::test]
async fn many_that_open_a_missing_index_at_once_all_succeed() {
    let scratch = Scratch::new().await;
    let opened =
        tokio::join!(scratch.open(schema()), scratch.open(schema()), scratch.open(schema()), scratch.open(schema()),);
    for index in [opened.0, opened.1, opened.2, opened.3] {
        assert_eq!(index.unwrap().count(&Query::all().into()).await.unwrap(), 0);
    }
    scratch.delete().await;
}

#[tokio::test]
async fn another_schema_is_refused_with_what_differs() {
    let scratch = Scratch::new().await;
    scratch.open(schema()).await.unwrap();
    let other = Schema::builder().field(Field::text("title")).field(Field::keyword("chapter")).build().unwrap();
    let error = scratch.open(other).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Conflict, Some("search.open")));
    for part in ["field \"title\" is analyzed otherwise", "field \"chapter\" is no longer sortable"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    scratch.delete().await;
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let scratch = Scratch::new().await;
    let name = &scratch.name;
    scratch.request("PUT", &format!("/{name}-000001"), "{}").await;
    let error = scratch.open(schema()).await.unwrap_err();
    assert!(error.to_string().contains("without its alias"), "{error}");

    scratch.request("PUT", &format!("/{name}-000001/_alias/{name}"), "").await;
    let error = scratch.open(schema()).await.unwrap_err();
    assert!(error.to_string().contains("not created by statehouse"), "{error}");
    scratch.delete().await;

    scratch.request("PUT", &format!("/{name}"), "{}").await;
    let error = scratch.open(schema()).await.unwrap_err();
    assert!(error.to_string().contains("not an alias"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    scratch.request("DELETE", &format!("/{name}"), "").await;
}

#[tokio::test]
async fn an_index_that_may_lose_acknowledged_writes_is_refused() {
    let scratch = Scratch::new().await;
    scratch.open(schema()).await.unwrap();
    let setting = r#"{"index.translog.durability":"async"}"#;
    scratch.request("PUT", &format!("/{}-000001/_settings", scratch.name), setting).await;
    let error = scratch.open(schema()).await.unwrap_err();
    assert!(error.to_string().contains("index.translog.durability"), "{error}");
    scratch.delete().await;
}

#[tokio::test]
async fn a_server_that_analyses_otherwise_is_refused_with_field_and_token() {
    let scratch = Scratch::new().await;
    let schema = || {
        let folding = Analyzer::standard().lowercase().ascii_folding();
        Schema::builder().analyzer("folded", folding).field(Field::text("name").analyzed_by("folded")).build().unwrap()
    };
    scratch.open(schema()).await.unwrap();
    let index = format!("/{}-000001", scratch.name);
    scratch.request("POST", &format!("{index}/_close"), "").await;
    let analyzer = r#"{"analysis":{"analyzer":{"statehouse_folded":{"type":"custom","tokenizer":"standard",
        "filter":["lowercase"]}}}}"#;
    let (status, answer) = scratch.request("PUT", &format!("{index}/_settings"), analyzer).await;
    assert_eq!(status, 200, "{answer}");
    scratch.request("POST", &format!("{index}/_open?wait_for_active_shards=1"), "").await;
    let error = scratch.open(schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("name")));
    assert!(error.to_string().contains("\"élan\" at position 0 instead of \"elan\""), "{error}");
    scratch.delete().await;
}

#[tokio::test]
async fn a_deleted_index_is_an_error_and_is_not_made_again() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    scratch.delete().await;
    let delete = Operation::Delete { id: "a".try_into().unwrap(), version: Some(3) };
    for operation in [document("a", "x"), delete] {
        let report = index.bulk(vec![operation]).await.unwrap();
        assert!(matches!(&report.outcomes[..], [Outcome::Failed(error)] if error.kind() == ErrorKind::Unavailable));
    }
    let search = index.search(&SearchRequest::new(Query::all())).await.unwrap_err();
    let count = index.count(&Query::all().into()).await.unwrap_err();
    let get = index.get(&"a".try_into().unwrap()).await.unwrap_err();
    let refresh = index.refresh().await.unwrap_err();
    for error in [search, count, get, refresh] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(scratch.request("HEAD", &format!("/{}", scratch.name), "").await.0, 404);
}

#[tokio::test]
async fn several_shards_rank_as_one_and_say_what_they_lack() {
    let scratch = Scratch::new().await;
    let config = config(scratch.node.address(), "&shards=3");
    let index = OpenSearchIndex::open(config, &scratch.name, schema()).await.unwrap();
    assert!(!index.capabilities().has(capability::GLOBAL_STATISTICS));
    let documents = (0..30).map(|n| document(&format!("d{n:02}"), if n % 3 == 0 { "rare" } else { "common word" }));
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(documents.collect(), options).await.unwrap().check().unwrap();
    let found = index.search(&SearchRequest::new(Query::matches("title", "rare")).with_size(30)).await.unwrap();
    let scores: Vec<_> = found.hits.iter().map(|hit| hit.score.unwrap()).collect();
    assert_eq!((found.total, scores.len()), (10, 10));
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
    let expected: Vec<_> = (0..30).step_by(3).map(|n| format!("d{n:02}")).collect();
    assert_eq!(found.ids(), expected);
    scratch.delete().await;
}

#[tokio::test]
async fn an_address_where_nothing_listens_names_the_setting() {
    let scratch = Scratch::new().await;
    let config = config("127.0.0.1:1", "&connect_timeout=200ms&timeout=500ms&deadline=1s");
    let error = OpenSearchIndex::open(config, &scratch.name, schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unavailable, Some("STATEHOUSE_SEARCH_URL")));
    assert!(error.to_string().contains("127.0.0.1:1 cannot be reached"), "{error}");
}

/// Each of two builds adds a field that the other one does not know, at the same moment or nearly so.
#[tokio::test]
async fn builds_that_add_different_fields_at_once_leave_an_index_that_all_of_them_open() {
    let scratch = Scratch::new().await;
    scratch.open(schema()).await.unwrap();
    let more = |names: &[&str]| {
        let base = schema();
        let builder =
            base.analyzers().fold(Schema::builder(), |builder, (name, known)| builder.analyzer(name, known.clone()));
        let added = names.iter().map(|name| Field::keyword(name));
        base.fields().iter().cloned().chain(added).fold(builder, SchemaBuilder::field).build().unwrap()
    };
    let opened =
        tokio::join!(scratch.open(more(&["one"])), scratch.open(more(&["two"])), scratch.open(more(&["one", "three"])));
    for index in [opened.0, opened.1, opened.2] {
        up(&index.unwrap()).await;
    }
    // What the slower one says of the index takes the place of what the faster one did, whose field stays.
    let (_, before) = scratch.request("GET", &format!("/{}/_mapping", scratch.name), "").await;
    let before: serde_json::Value = serde_json::from_str(&before).unwrap();
    let (_, before) = before.as_object().unwrap().iter().next().unwrap();
    let slower = serde_json::json!({ "_meta": before["mappings"]["_meta"] }).to_string();
    let faster = scratch.open(more(&["four"])).await.unwrap();
    scratch.request("PUT", &format!("/{}/_mapping", scratch.name), &slower).await;
    up(&faster).await;
    scratch.request("PUT", &format!("/{}/_mapping", scratch.name), &slower).await;
    // Who does not know that field opens it, though whoever added it may be dead by now.
    up(&scratch.open(schema()).await.unwrap()).await;
    scratch.open(more(&["four"])).await.unwrap();
    for names in [&[][..], &["one"], &["two"], &["four", "three"]] {
        up(&scratch.open(more(names)).await.unwrap()).await;
    }
    up(&faster).await;
    scratch.delete().await;
}
