//! However much is written or read: an async thread is held for a moment only.

use std::time::Duration;

use statehouse_search::{DocumentId, Operation, Outcome, Record, SearchIndexExt as _};
use statehouse_testkit::{longest_poll, thread_time};

use super::stubbed::{index, text};

/// What the moments in between take, on a fast machine; a slow one takes a part of what the work itself takes.
const MOMENT: Duration = Duration::from_millis(10);

/// A quarter of the time that this takes.
fn a_part_of<T>(work: impl FnOnce() -> T) -> Duration {
    let start = thread_time();
    std::hint::black_box(work());
    MOMENT.max((thread_time() - start) / 4)
}

/// What a server says of each line that begins an operation.
fn items(body: &str) -> String {
    let operations = body.lines().filter(|line| line.starts_with("{\"index\"")).count();
    let created = vec![r#"{"index":{"status":201,"result":"created","_version":1}}"#; operations];
    format!(r#"{{"items":[{}]}}"#, created.join(","))
}

/// Two requests' worth of documents that are checked, written and answered for, and one of five megabytes that is read.
#[tokio::test]
async fn no_bulk_and_no_get_holds_an_async_thread() {
    let long = "a word of a title ".repeat(550);
    let titles = vec![format!("\"{long}\""); 500].join(",");
    let giant = format!(
        r#"{{"docs":[{{"_id":"giant","_version":1,"found":true,"_source":{{"_sid":"giant","title":[{titles}]}}}}]}}"#
    );
    let read = a_part_of(|| serde_json::from_str::<serde_json::Value>(&giant).unwrap());
    let (stub, index) = index("", move |request, _| match request.target.contains("_mget") {
        true => (200, giant.clone()),
        false if request.target.contains("_bulk") => (200, items(&request.body)),
        false => (200, text("{}")),
    })
    .await;
    let documents = |count| {
        let record = |n: usize| Record::new(format!("{n}")).unwrap().with("title", long.as_str());
        (0..count).map(|n| Operation::Upsert(record(n))).collect::<Vec<_>>()
    };
    // The first time takes what is made once: pages, threads, connections.
    for warm in [false, true] {
        // As many as are written in place, which holds a thread for a small part of what the others would.
        let operations = documents(6);
        let (report, few) = longest_poll(async { index.bulk(operations).await }).await;
        report.unwrap().check().unwrap();
        let written = (MOMENT / 4).max(6 * few);
        let operations = documents(1_200);
        let (report, bulk) = longest_poll(async { index.bulk(operations).await }).await;
        report.unwrap().check().unwrap();
        let (found, get) = longest_poll(async { index.get(&DocumentId::new("giant").unwrap()).await }).await;
        assert_eq!(found.unwrap().unwrap().iter().count(), 500);
        let short = bulk <= written && get <= read;
        assert!(!warm || short, "a bulk takes {bulk:?} of {written:?} at once, a get {get:?} of {read:?}");
    }
    assert_eq!(stub.received("_bulk").len(), 6);
}

/// Of all of it the first try's answer is lost, and the second finds it done.
#[tokio::test]
async fn what_is_read_back_of_a_long_bulk_holds_no_async_thread() {
    const OPERATIONS: usize = 20_000;
    let ids = || (0..OPERATIONS).map(|n| format!("document-{n:06}"));
    let asked = a_part_of(|| {
        let docs: Vec<_> = ids().map(|id| serde_json::json!({ "_id": id, "_source": false })).collect();
        serde_json::to_vec(&docs).unwrap()
    });
    let stale = r#"{"index":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}"#;
    let stale = format!(r#"{{"items":[{}]}}"#, vec![stale; OPERATIONS].join(","));
    let (stub, index) = index("", move |request, before| match request.target.contains("_mget") {
        true => {
            let asked: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let found = |doc: &serde_json::Value| format!(r#"{{"_id":{},"_version":4,"found":true}}"#, doc["_id"]);
            let docs: Vec<_> = asked["docs"].as_array().unwrap().iter().map(found).collect();
            (200, format!(r#"{{"docs":[{}]}}"#, docs.join(",")))
        }
        // As a gateway says that has lost the answer.
        false if before % 2 == 0 => (502, text("")),
        false => (200, stale.clone()),
    })
    .await;
    for warm in [false, true] {
        let upsert = |id| Operation::Upsert(Record::new(id).unwrap().with_version(4));
        let operations: Vec<_> = ids().map(upsert).collect();
        let (report, longest) = longest_poll(async { index.bulk(operations).await }).await;
        let outcomes = report.unwrap().outcomes;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Updated { version: 4 })));
        assert!(!warm || longest <= asked, "it takes {longest:?} of {asked:?} at once");
    }
    assert_eq!(stub.received("_mget").len(), 2 * OPERATIONS / 1_000);
}
