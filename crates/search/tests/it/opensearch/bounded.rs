//! However much is written or read: an async thread is held for a moment only.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use statehouse_search::{DocumentId, Operation, Record, SearchIndexExt as _};

use super::stubbed::{index, text};

/// Far more than the moments in between take, and far less than what is measured here would.
const LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 15 });

/// Remembers the longest poll, in time of the thread itself.
struct Measured<F> {
    inner: Pin<Box<F>>,
    longest: Duration,
}

impl<F: Future> Future for Measured<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let start = thread_time();
        let polled = self.inner.as_mut().poll(context);
        self.longest = self.longest.max(thread_time() - start);
        polled.map(|output| (output, self.longest))
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

async fn longest_poll<F: Future>(future: F) -> (F::Output, Duration) {
    Measured { inner: Box::pin(future), longest: Duration::ZERO }.await
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
    let long = "a word of a title ".repeat(55);
    let titles = vec![format!("\"{long}\""); 5_000].join(",");
    let giant = format!(
        r#"{{"docs":[{{"_id":"giant","_version":1,"found":true,"_source":{{"_sid":"giant","title":[{titles}]}}}}]}}"#
    );
    let (stub, index) = index("", move |request, _| match request.target.contains("_mget") {
        true => (200, giant.clone()),
        false if request.target.contains("_bulk") => (200, items(&request.body)),
        false => (200, text("{}")),
    })
    .await;
    let documents = || {
        let record = |n: usize| Record::new(format!("{n}")).unwrap().with("title", long.as_str());
        (0..12_000).map(|n| Operation::Upsert(record(n))).collect::<Vec<_>>()
    };
    // The first time takes what is made once: pages, threads, connections.
    for warm in [false, true] {
        let operations = documents();
        let (report, bulk) = longest_poll(async { index.bulk(operations).await }).await;
        report.unwrap().check().unwrap();
        let (found, get) = longest_poll(async { index.get(&DocumentId::new("giant").unwrap()).await }).await;
        assert_eq!(found.unwrap().unwrap().iter().count(), 5_000);
        assert!(!warm || bulk.max(get) <= LIMIT, "a bulk takes {bulk:?} at once, a get {get:?}");
    }
    assert_eq!(stub.received("_bulk").len(), 4);
}
