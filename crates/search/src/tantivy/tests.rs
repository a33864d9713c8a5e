mod beside;
mod bounded;
mod columns;
mod committed;
mod counted;
mod halves;
mod held;
mod logged;
mod measured;
mod pointed;
mod queued;
mod totals;
mod worn;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_core::conformance::{Backend, Warnings};
use statehouse_core::{Capabilities, Clock, Error, ErrorKind, ManualClock, Retry, ServiceUrl, Timestamp};
use tempfile::TempDir;

use crate::parity::{self, Kind};
use crate::size::Size;
use crate::work::Stop;
use crate::{
    BulkOptions, DocumentId, Durability, Field, Operation, Outcome, Query, Record, Refresh, Schema, SearchIndex,
    SearchIndexExt, SearchRequest, TantivyConfig, TantivyIndex,
};

/// An index, and the folder it is in, which goes with it.
#[derive(Debug)]
struct Embedded {
    index: Arc<dyn SearchIndex>,
    folder: Option<TempDir>,
}

impl Embedded {
    async fn open(schema: Schema, folder: Option<TempDir>) -> Self {
        let config = folder.as_ref().map_or_else(TantivyConfig::memory, TantivyConfig::folder);
        Self { index: Arc::new(config.open(schema).await.unwrap()), folder }
    }
}

impl Backend for Embedded {
    type Service = dyn SearchIndex;

    async fn service(&self) -> Arc<dyn SearchIndex> {
        Arc::clone(&self.index)
    }

    async fn capabilities(&self) -> Capabilities {
        self.index.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&mut self) {
        self.index.close().await.unwrap();
        *self = Self::open(Schema::clone(self.index.schema()), self.folder.take()).await;
    }

    async fn another(&self) -> Self {
        let folder = self.folder.is_some().then(|| tempfile::tempdir().unwrap());
        Self::open(Schema::clone(self.index.schema()), folder).await
    }
}

mod memory {
    use super::*;

    crate::search_conformance!(Embedded::open(crate::conformance::schema(), None));
}

mod folder {
    use super::*;

    crate::search_conformance!(Embedded::open(crate::conformance::schema(), Some(tempfile::tempdir().unwrap())));
}

fn schema() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::keyword("code").sortable()).build().unwrap()
}

fn upsert(id: &str, title: &str) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with("title", title))
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TantivyConfig::folder(folder.path()).open(schema());
    let index = open().await.unwrap();
    index.bulk(vec![upsert("a", "cholera"), upsert("b", "fever")]).await.unwrap().check().unwrap();
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index.bulk_with(vec![upsert("c", "cholera")], queued).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    drop(index);
    let index = open().await.unwrap();
    let found = index.search(&SearchRequest::new(Query::matches("title", "cholera"))).await.unwrap();
    assert_eq!(found.ids(), ["a", "c"]);
    assert!(index.get(&DocumentId::new("b").unwrap()).await.unwrap().is_some());
}

/// Closing has committed it before its turn came.
#[tokio::test]
async fn what_was_queued_when_the_index_was_closed_is_no_failure_afterwards() {
    let warnings = Warnings::default();
    let _told = tracing::subscriber::set_default(warnings.clone());
    let folder = tempfile::tempdir().unwrap();
    let config = TantivyConfig::folder(folder.path()).with_commit_interval(Duration::from_millis(100));
    let index = config.open(schema()).await.unwrap();
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index.bulk_with(vec![upsert("a", "cholera")], queued).await.unwrap().check().unwrap();
    assert_eq!(Arc::strong_count(&index.shelf), 2, "a commit is due");
    index.close().await.unwrap();
    while Arc::strong_count(&index.shelf) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(warnings.lines(), [""; 0]);
}

#[tokio::test]
async fn a_folder_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let first = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap();
    let error = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "as for files and sessions");
    first.close().await.unwrap();
    TantivyConfig::folder(folder.path()).open(schema()).await.unwrap();
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_and_the_next_write_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("index"), parent.path().join("away"));
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    index.bulk(vec![upsert("a", "cholera"), upsert("b", "fever")]).await.unwrap().check().unwrap();
    let changes = || {
        let delete = Operation::Delete { id: DocumentId::new("b").unwrap(), version: None };
        vec![upsert("a", "typhoid"), delete, upsert("c", "fever")]
    };
    let ids = async || index.search(&SearchRequest::new(Query::all())).await.unwrap().ids().join(" ");

    std::fs::rename(&folder, &away).unwrap();
    for _ in 0..3 {
        let error = index.bulk(changes()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::DISK_FAILED), "{error:?}");
        assert_eq!(ids().await, "a b");
        let a = index.get(&DocumentId::new("a").unwrap()).await.unwrap().unwrap();
        assert_eq!(a.value("title").unwrap().as_text(), Some("cholera"));
        assert!(index.get(&DocumentId::new("c").unwrap()).await.unwrap().is_none());
    }

    std::fs::rename(&away, &folder).unwrap();
    let report = index.bulk_with(changes(), BulkOptions::default().with_refresh(Refresh::Now)).await.unwrap();
    let done = &report.outcomes[..];
    assert!(matches!(done, [Outcome::Updated { .. }, Outcome::Deleted { .. }, Outcome::Created { .. }]), "{done:?}");
    assert_eq!(ids().await, "a c");
    index.close().await.unwrap();
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    let found = index.search(&SearchRequest::new(Query::matches("title", "typhoid fever"))).await.unwrap();
    assert_eq!((found.total, found.hits.len()), (2, 2));
}

/// The threads that index end when the disk fails under them, in the middle of a bulk. What is told is why, and not that they
/// did.
#[tokio::test]
async fn what_ends_the_threads_that_index_is_told_and_the_next_write_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("index"), parent.path().join("away"));
    let config = TantivyConfig::folder(&folder).with_commit_interval(Duration::from_secs(3_600));
    let index = config.open(schema()).await.unwrap();
    let queue = async |from: usize| {
        let rows = (from..from + 100).map(|row| upsert(&format!("{row}"), "typhoid")).collect();
        index.bulk_with(rows, BulkOptions::default().with_durability(Durability::Queued)).await
    };
    let is_failed = |error: &Error| {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::DISK_FAILED), "{error:?}");
        assert!(error.message().contains("gone"), "{error}");
    };
    queue(0).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();

    std::fs::rename(&folder, &away).unwrap();
    let mut taken = 0;
    let failed = loop {
        let outcomes = queue(1_000 + taken).await.unwrap().outcomes;
        let failed: Vec<Error> = outcomes
            .into_iter()
            .filter_map(|outcome| match outcome {
                Outcome::Failed(error) => Some(error),
                _ => None,
            })
            .collect();
        taken += 100 - failed.len();
        if !failed.is_empty() {
            break failed;
        }
        assert!(taken < 100_000, "nothing fails");
    };
    failed.iter().for_each(is_failed);
    is_failed(&index.shelf.failure().unwrap());
    is_failed(&queue(500_000).await.unwrap_err());

    std::fs::rename(&away, &folder).unwrap();
    queue(500_000).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    assert!(index.shelf.failure().is_none());
    let all = index.count(&Query::matches("title", "typhoid").into()).await.unwrap();
    assert_eq!(all, 200 + taken as u64, "what was taken is there, and what was refused is not");
}

#[tokio::test]
async fn an_index_is_not_read_with_another_schema() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap();
    index.bulk(vec![upsert("a", "cholera")]).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    let other = Schema::builder().field(Field::keyword("title")).build().unwrap();
    let error = TantivyConfig::folder(folder.path()).open(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("\"title\" is a keyword, and was a text"), "{error}");
    std::fs::remove_file(folder.path().join("000001/schema.json")).unwrap();
    let error = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_queued_write_is_committed_on_its_own() {
    let index = TantivyConfig::memory().with_commit_interval(Duration::from_millis(5)).open(schema()).await.unwrap();
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    index.bulk_with(vec![upsert("a", "cholera")], queued).await.unwrap().check().unwrap();
    let shown = async {
        while index.count(&Query::all().into()).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shown).await.unwrap();
}

#[tokio::test]
async fn the_trace_of_a_delete_ends_after_its_retention() {
    let clock = ManualClock::default();
    let config = TantivyConfig::memory().with_clock(clock.clone());
    let index = config.with_delete_retention(Duration::from_secs(60)).open(schema()).await.unwrap();
    let id = DocumentId::new("a").unwrap();
    let delete = Operation::Delete { id, version: Some(5) };
    index.bulk(vec![delete]).await.unwrap().check().unwrap();
    let older = || vec![Operation::Upsert(Record::new("a").unwrap().with_version(4))];
    clock.advance(Duration::from_secs(60));
    assert!(matches!(index.bulk(older()).await.unwrap().outcomes[..], [Outcome::Stale]));
    clock.advance(Duration::from_secs(1));
    assert!(matches!(index.bulk(older()).await.unwrap().outcomes[..], [Outcome::Created { version: 4 }]));
}

/// A clock whose time of day is set, as by whoever puts it right.
#[derive(Clone, Debug, Default)]
struct Set(ManualClock, Arc<AtomicU64>);

impl Set {
    fn step(&self, by: Duration) {
        self.1.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        self.0.now() + Duration::from_micros(self.1.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forgets_no_delete() {
    let (parent, clock) = (tempfile::tempdir().unwrap(), Set::default());
    let folder = TantivyConfig::folder(parent.path().join("index"));
    let retention = Duration::from_secs(60);
    let older = || vec![Operation::Upsert(Record::new("a").unwrap().with_version(4))];
    for config in [TantivyConfig::memory(), folder.clone()] {
        let index = config.with_clock(clock.clone()).with_delete_retention(retention).open(schema()).await.unwrap();
        let delete = Operation::Delete { id: DocumentId::new("a").unwrap(), version: Some(5) };
        index.bulk(vec![delete]).await.unwrap().check().unwrap();
        clock.step(Duration::from_secs(3600));
        assert!(matches!(index.bulk(older()).await.unwrap().outcomes[..], [Outcome::Stale]));
        index.close().await.unwrap();
    }
    // Nor does one that is set while the process is down. From then on it is kept for its time.
    clock.step(Duration::from_secs(3600));
    let index = folder.with_clock(clock.clone()).with_delete_retention(retention).open(schema()).await.unwrap();
    clock.0.advance(retention);
    assert!(matches!(index.bulk(older()).await.unwrap().outcomes[..], [Outcome::Stale]));
    clock.0.advance(Duration::from_secs(1));
    assert!(matches!(index.bulk(older()).await.unwrap().outcomes[..], [Outcome::Created { version: 4 }]));
}

#[test]
fn urls_name_what_they_accept() {
    let parse = |text: &str| TantivyConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", text).unwrap());
    assert!(parse("memory:").is_ok());
    assert!(parse("tantivy:///var/lib/app?threads=2&memory=64MiB&commit_interval=250ms").is_ok());
    for text in ["redis://h", "tantivy:", "tantivy:///x?threads=9", "tantivy:///x?memory=1MiB", "memory:?unknown=1"] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.kind(), error.setting().is_some()), (ErrorKind::InvalidConfig, true), "{text}");
    }
}

/// What the cost says decides whether a search may hold up an async thread.
#[tokio::test]
async fn the_cost_of_a_search_is_what_it_reads() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let titles = (0..200).map(|at| if at == 7 { "rare" } else { "common" });
    let rows = titles.enumerate().map(|(at, title)| Record::new(format!("{at}")).unwrap().with("title", title));
    index.bulk(rows.map(|row| Operation::Upsert(row.with("code", "x"))).collect()).await.unwrap().check().unwrap();
    let snapshot = index.client().unwrap().snapshot();
    let terms = |query: &Query| index.schema().terms_of([query], Size::of([query]).unwrap()).unwrap();
    let cost = |query: Query| {
        let node = super::plan::plan(&snapshot, &query, &[], terms(&query), &Stop::default()).unwrap();
        super::weight::find(&snapshot, node, 1.0).unwrap().cost(&snapshot)
    };
    let (rare, code) = (|| Query::matches("title", "rare"), || Query::term("code", "x"));
    assert_eq!(cost(rare().into()), 1);
    assert_eq!(cost(Query::matches("title", "rare common").into()), 200);
    assert_eq!((cost(code().into()), cost(Query::term("code", "y").into())), (200, 0));
    // One list of postings is looked up in; a set of many terms is read whole.
    assert_eq!(cost(Query::bool().must(rare()).filter(code()).into()), 1);
    assert_eq!(cost(Query::bool().must(rare()).filter(Query::prefix("code", "x")).into()), 201);
    assert_eq!(cost(Query::bool().must(rare()).must_not(Query::terms("code", ["x", "y"])).into()), 201);
    assert_eq!(cost(Query::bool().must_not(rare()).into()), 200);

    // Where documents were deleted, the living ones are counted, by looking for the dead ones if those are few.
    let rank_cost = |index: &TantivyIndex, query: Query| {
        let snapshot = index.client().unwrap().snapshot();
        let node = super::plan::plan(&snapshot, &query, &[], terms(&query), &Stop::default()).unwrap();
        super::weight::find(&snapshot, node, 1.0).unwrap().rank_cost(&snapshot)
    };
    let common = || Query::from(Query::matches("title", "common"));
    assert_eq!(rank_cost(&index, common()), 0);
    for (deleted, expected) in [("0", 64), ("1", 128), ("2", 192), ("3", 199)] {
        let delete = Operation::Delete { id: DocumentId::new(deleted).unwrap(), version: None };
        index.bulk(vec![delete]).await.unwrap().check().unwrap();
        assert_eq!(rank_cost(&index, common()), expected);
        assert_eq!(rank_cost(&index, code().into()), 0);
    }
}

fn diagnoses() -> Vec<Record> {
    let packed = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/icd10cm-2025-04.tsv.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let record = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        Record::new(columns[0]).unwrap().with("title", columns[3].to_owned()).with("code", columns[0].to_owned())
    };
    text.lines().map(record).collect()
}

/// Segments, threads and the order of writing must not show in any answer.
#[tokio::test]
async fn many_segments_answer_like_one() {
    let corpus = diagnoses();
    assert_eq!(corpus.len(), 46_498);
    let mut requests = Vec::new();
    for kind in Kind::ALL {
        requests.extend(parity::draw(*kind, &["title"], &corpus, 20, 7).unwrap());
    }
    let one = TantivyConfig::memory().open(schema()).await.unwrap();
    let whole = corpus.iter().cloned().map(Operation::Upsert).collect();
    one.bulk_with(whole, BulkOptions::default().with_refresh(Refresh::Now)).await.unwrap().check().unwrap();
    let many = TantivyConfig::memory().with_threads(2).open(schema()).await.unwrap();
    parity::load(&many, corpus.into_iter().rev().collect()).await.unwrap();
    let report = parity::compare(&one, &many, &requests).await.unwrap();
    let all = Kind::ALL.len() * 20;
    assert_eq!((report.runs, report.equal), (all, all), "{:?}", report.differences);
}
