//! Bulks that are too large for what is in between, and bulks that are refused as a whole: which of it is a row's own fault.

use std::sync::Arc;

use statehouse_core::ErrorKind;
use statehouse_search::{MassIndexed, MassIndexer, Operation, Outcome, Record, SearchIndexExt as _};

use super::stub::Received;
use super::stubbed::{index, items, text};

const CREATED: &str = r#"{"index":{"status":201,"result":"created","_version":1}}"#;

/// How many operations a request has: each has two lines.
fn operations(request: &Received) -> usize {
    request.body.lines().count() / 2
}

fn created(request: &Received) -> (u16, String) {
    items(&vec![CREATED; operations(request)])
}

fn row(n: usize, title: &str) -> Record {
    Record::new(format!("{n:03}")).unwrap().with("title", title)
}

/// What is in between takes five operations at a time, and none that has "huge" in it.
fn of_five(request: &Received) -> (u16, String) {
    match request.target.contains("_bulk") {
        true if operations(request) > 5 || request.body.contains("huge") => (413, text("<html>")),
        true => created(request),
        false => (200, text(r#"{"_shards":{"total":1,"successful":1,"failed":0}}"#)),
    }
}

#[tokio::test]
async fn a_bulk_that_is_too_large_is_sent_in_halves() {
    let (stub, index) = index("", |request, _| of_five(request)).await;
    let title = |n: usize| if n == 7 { "huge" } else { "ward" };
    let bulk = (0..20).map(|n| Operation::Upsert(row(n, title(n)))).collect();
    let outcomes = index.bulk(bulk).await.unwrap().outcomes;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Failed(error) => {
                assert_eq!((n, error.kind(), error.key()), (7, ErrorKind::TooLarge, Some("007")), "{error}");
            }
            outcome => assert!(matches!(outcome, Outcome::Created { .. }) && n != 7, "{n}: {outcome:?}"),
        }
    }
    assert!(stub.received("_bulk").len() < 20, "not one by one");
}

/// Sent again, the older one would take the place of the newer one.
#[tokio::test]
async fn what_had_no_room_in_one_request_is_not_sent_behind_what_another_one_wrote() {
    const BUSY: &str = r#"{"index":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}"#;
    let (stub, index) = index("", |request, _| match of_five(request) {
        (200, _) if request.body.contains("older") => {
            items(&[[BUSY].as_slice(), &vec![CREATED; operations(request) - 1]].concat())
        }
        answer => answer,
    })
    .await;
    let title = |n: usize| if n == 0 { "older" } else { "ward" };
    let bulk = (0..20).map(|n| Operation::Upsert(row(n % 15, title(n)))).collect();
    let outcomes = index.bulk(bulk).await.unwrap().outcomes;
    assert!(matches!(&outcomes[0], Outcome::Failed(error) if error.kind() == ErrorKind::RateLimited), "{outcomes:?}");
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Created { .. })), "{outcomes:?}");
    let taken = |request: &&Received| operations(request) <= 5 && request.body.contains("older");
    assert_eq!(stub.received("_bulk").iter().filter(taken).count(), 1);
}

#[tokio::test]
async fn rows_are_filled_in_by_halves_and_only_the_one_that_is_too_large_by_itself_fails() {
    let (_stub, index) = index("", |request, _| of_five(request)).await;
    let rows = (0..60).map(|n| row(n, if n == 31 { "huge" } else { "ward" }));
    let done = MassIndexer::new(Arc::new(index)).batch(20).allow_failures(1).run(rows).await.unwrap();
    assert_eq!((done.written, done.failed), (59, 1));
    assert_eq!(done.failures[0].0.as_str(), "031");
    assert_eq!(done.last.unwrap().as_str(), "059");
}

#[tokio::test]
async fn a_request_that_is_refused_as_a_whole_is_no_fault_of_its_rows() {
    let refused = r#"{"error":{"type":"x_content_parse_exception"},"status":400}"#;
    let (stub, index) = index("", move |request, before| match request.target.contains("_bulk") {
        true if before > 0 => (400, text(refused)),
        true => created(request),
        false => (200, text(r#"{"_shards":{"total":1,"successful":1,"failed":0}}"#)),
    })
    .await;
    // More than one request takes.
    let title = "x".repeat(30_000);
    let rows = (0..400).map(move |n| row(n, &title));
    let mut saved = Vec::new();
    let save = |done: MassIndexed| {
        saved.push(done.last);
        std::future::ready(Ok(()))
    };
    let filling = MassIndexer::new(Arc::new(index)).batch(400).allow_failures(1_000).run_saving(rows, save);
    let error = filling.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(saved.is_empty(), "nothing is behind it: {saved:?}");
    assert!(stub.received("_bulk").len() > 1);
}
