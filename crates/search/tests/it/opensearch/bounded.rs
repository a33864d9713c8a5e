//! However much is written or read: an async thread is held for a moment only.

use std::time::Duration;

use statehouse_search::{DocumentId, Operation, Record, SearchIndexExt as _};
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
