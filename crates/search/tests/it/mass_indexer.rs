//! Filling an index: what was said to be saved survives, order holds, and no more is on its way than may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Fence, Key, RaiseOptions, Result, Version};
use statehouse_search::{
    DocumentId, Field, LayeredIndex, MassIndexed, MassIndexer, Query, Record, Rows, Schema, SearchIndex,
    SearchIndexExt as _,
};
use tokio::sync::Semaphore;

fn schema() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::u64("size").sortable()).build().unwrap()
}

fn row(n: u64) -> Record {
    Record::new(format!("{n:05}")).unwrap().with("title", format!("ward {n}")).with("size", n)
}

/// A row that no index of this schema holds.
fn bad(n: u64) -> Record {
    Record::new(format!("{n:05}")).unwrap().with("size", "many")
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

/// Every backend, and what ends it.
async fn everywhere(test: impl AsyncFn(Arc<dyn SearchIndex>)) {
    #[cfg(feature = "tantivy")]
    test(Arc::new(statehouse_search::TantivyConfig::memory().open(schema()).await.unwrap())).await;
    #[cfg(feature = "opensearch")]
    {
        let scratch = crate::opensearch::Scratch::new().await;
        test(Arc::new(scratch.open(schema()).await.unwrap())).await;
        scratch.delete().await;
    }
}

#[tokio::test]
async fn every_row_is_dealt_with_once_and_told() {
    everywhere(async |index| {
        let newer = row(7).with_version(9);
        index.bulk(vec![statehouse_search::Operation::Upsert(newer)]).await.unwrap().check().unwrap();
        let rows = (0..1_000_u64).map(|n| match n {
            7 => row(n).with_version(3),
            500 | 999 => bad(n),
            _ => row(n),
        });
        let (told, saved) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let indexer = MassIndexer::new(Arc::clone(&index)).batch(64).in_flight(3).save_every(300).allow_failures(2);
        let indexer = indexer.on_progress(move |done| telling.lock().unwrap().push(done.rows));
        let save = |done: MassIndexed| {
            saved.lock().unwrap().push((done.rows, done.last.unwrap()));
            std::future::ready(Ok(()))
        };
        let done = indexer.run_saving(rows, save).await.unwrap();
        assert_eq!((done.rows, done.written, done.stale, done.failed), (1_000, 997, 1, 2));
        let mut failed: Vec<_> = done.failures.iter().map(|(id, error)| (id.as_str(), error.kind())).collect();
        failed.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(failed, [("00500", ErrorKind::InvalidInput), ("00999", ErrorKind::InvalidInput)]);
        assert_eq!(done.last, Some(id("00999")));
        let saved = saved.into_inner().unwrap();
        assert_eq!(saved, [(320, id("00319")), (640, id("00639")), (960, id("00959")), (1_000, id("00999"))]);
        let told = told.lock().unwrap().clone();
        assert!(told.len() == 16 && told.is_sorted() && told.last() == Some(&1_000), "{told:?}");
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 998, "they are shown");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_done_of_no_rows() {
    everywhere(async |index| {
        let done = MassIndexer::new(index).run(std::iter::empty::<Record>()).await.unwrap();
        assert_eq!((done.rows, done.last), (0, None));
    })
    .await;
}

#[tokio::test]
async fn one_row_too_many_that_cannot_be_indexed_ends_it() {
    everywhere(async |index| {
        let rows = (0..10_000).map(|n| if n % 100 == 50 { bad(n) } else { row(n) });
        let indexer = MassIndexer::new(Arc::clone(&index)).batch(10).in_flight(2).allow_failures(3);
        let error = indexer.run(rows).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("00050")), "{error}");
        assert!(error.to_string().contains("4 cannot be indexed, and 3 may"), "{error}");
        index.refresh().await.unwrap();
        let count = index.count(&Query::all().into()).await.unwrap();
        assert!((340..400).contains(&count), "it went on: {count}");
    })
    .await;
}

/// How many writes are on their way, and what becomes of them.
#[derive(Debug, Default)]
struct Watched {
    calls: AtomicUsize,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// This one takes long.
    slow: Option<usize>,
    /// This one fails.
    broken: Option<usize>,
}

impl Layer for Watched {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation != "search.bulk" {
            return work.await;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(if self.slow == Some(call) { 300 } else { 5 })).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        if self.broken == Some(call) { Err(Error::new(ErrorKind::Unavailable, "gone")) } else { work.await }
    }
}

#[tokio::test]
async fn as_many_batches_are_on_their_way_as_may_be_and_no_more() {
    everywhere(async |index| {
        for batches in [1, 3] {
            let watched = Watched::default();
            let most = Arc::clone(&watched.most);
            let watched = Arc::new(LayeredIndex::new(Arc::clone(&index), watched));
            let indexer = MassIndexer::new(watched).batch(20).in_flight(batches);
            assert_eq!(indexer.run((0..400).map(row)).await.unwrap().written, 400);
            assert_eq!(most.load(Ordering::SeqCst), batches);
        }
    })
    .await;
}

#[tokio::test]
async fn two_rows_of_one_document_are_written_in_their_order() {
    everywhere(async |index| {
        let slow = Watched { slow: Some(0), ..Watched::default() };
        let indexer = MassIndexer::new(Arc::new(LayeredIndex::new(Arc::clone(&index), slow))).batch(2).in_flight(4);
        let again = Record::new("00000").unwrap().with("title", "later").with("size", 7_u64);
        let rows = [row(0), row(1), row(2), again, row(4), row(5)];
        assert_eq!(indexer.run(rows.into_iter()).await.unwrap().written, 6);
        let found = index.get(&id("00000")).await.unwrap().unwrap();
        assert_eq!(found.value("title").unwrap().as_text(), Some("later"));
    })
    .await;
}

#[tokio::test]
async fn an_outage_is_no_row_that_cannot_be_indexed_and_what_was_saved_goes_on_from_there() {
    everywhere(async |index| {
        let broken = Watched { broken: Some(7), ..Watched::default() };
        let faulty = Arc::new(LayeredIndex::new(Arc::clone(&index), broken));
        let saved = Mutex::new(None);
        let indexer = MassIndexer::new(faulty).batch(10).save_every(40).allow_failures(1_000);
        let save = |done: MassIndexed| {
            *saved.lock().unwrap() = done.last;
            std::future::ready(Ok(()))
        };
        let error = indexer.run_saving((0..200).map(row), save).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let last = saved.into_inner().unwrap().unwrap();
        assert_eq!(last, id("00039"), "the next ones were not all written");
        let rest = (0..200).map(row).filter(|row| *row.id() > last);
        assert_eq!(MassIndexer::new(Arc::clone(&index)).run(rest).await.unwrap().written, 160);
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 200);
    })
    .await;
}

#[tokio::test]
async fn who_saves_may_end_it() {
    everywhere(async |index| {
        let indexer = MassIndexer::new(index).batch(10).save_every(50);
        let mut left = 2;
        let save = |_| {
            left -= 1;
            let lost = || Err(Error::new(ErrorKind::Conflict, "somebody else has the lock"));
            std::future::ready(if left == 0 { lost() } else { Ok(()) })
        };
        assert_eq!(indexer.run_saving((0..1_000).map(row), save).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_on_its_way_once_it_has_failed() {
    everywhere(async |index| {
        let watched = Watched { slow: Some(2), broken: Some(3), ..Watched::default() };
        let now = Arc::clone(&watched.now);
        let faulty = Arc::new(LayeredIndex::new(Arc::clone(&index), watched));
        let indexer = MassIndexer::new(faulty).batch(10).in_flight(4);
        assert_eq!(indexer.run((0..200).map(row)).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(now.load(Ordering::SeqCst), 0, "what was slow has ended");
    })
    .await;
}

/// Rows of which the next ones come once it is told what became of the first.
struct Waiting {
    next: u64,
    told: Arc<Semaphore>,
}

#[async_trait]
impl Rows for Waiting {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        let first = self.next;
        self.next += limit as u64;
        if first == 2 * limit as u64 {
            let told = tokio::time::timeout(Duration::from_secs(20), self.told.acquire()).await;
            told.expect("progress").expect("open").forget();
        }
        Ok(if first > 3 * limit as u64 { Vec::new() } else { (first..self.next).map(row).collect() })
    }
}

#[tokio::test]
async fn how_far_it_is_is_told_while_rows_are_waited_for() {
    everywhere(async |index| {
        let told = Arc::new(Semaphore::new(0));
        let rows = Waiting { next: 0, told: Arc::clone(&told) };
        let indexer = MassIndexer::new(index).batch(10).in_flight(4).on_progress(move |_| told.add_permits(1));
        assert_eq!(indexer.run(rows).await.unwrap().written, 40);
    })
    .await;
}

#[tokio::test]
async fn who_has_lost_the_lock_fills_nothing_any_more() {
    everywhere(async |index| {
        let holder = |number| Fence::new(Key::new("lock/filling").unwrap(), Version::new(number));
        index.raise_with(&holder(5), RaiseOptions::default()).await.unwrap();
        let indexer = MassIndexer::new(Arc::clone(&index)).batch(10).save_every(50).fenced(&holder(5));
        let save = |done: MassIndexed| {
            let index = Arc::clone(&index);
            async move {
                match done.rows {
                    100 => index.raise_with(&holder(9), RaiseOptions::default()).await,
                    _ => Ok(()),
                }
            }
        };
        let error = indexer.run_saving((0..1_000).map(row), save).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        index.refresh().await.unwrap();
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 100);
    })
    .await;
}

#[cfg(feature = "tantivy")]
mod killed {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use statehouse_core::conformance::rounds;
    use statehouse_search::TantivyConfig;

    use super::*;
    use crate::random::Random;

    const FOLDER: &str = "STATEHOUSE_TEST_MASS_INDEXER";
    const ROWS: u64 = 20_000;

    /// Not a test of its own: fills an index, says what is saved, and is killed.
    #[tokio::test]
    async fn the_process_that_fills_an_index_and_is_killed() {
        let Ok(folder) = std::env::var(FOLDER) else { return };
        let mut log = std::fs::File::create(format!("{folder}.log")).unwrap();
        let index = Arc::new(TantivyConfig::folder(folder).open(schema()).await.unwrap());
        let save = |done: MassIndexed| {
            writeln!(log, "{}", done.last.unwrap()).unwrap();
            std::future::ready(Ok(()))
        };
        // The last one before each time that it is saved cannot be indexed: it makes durable what was before it all the same.
        let rows = (0..ROWS).map(|n| if n % 200 == 199 { bad(n) } else { row(n) });
        let indexer = MassIndexer::new(index).batch(1).save_every(200).allow_failures(ROWS);
        indexer.run_saving(rows, save).await.unwrap();
    }

    /// The last row that was said to be saved, once there are so many of these.
    fn saved(log: &str, times: usize) -> u64 {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter(|line| line.len() == 5).collect();
            if lines.len() >= times {
                return lines.last().map_or(0, |line| line.parse().unwrap());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_there_after_a_kill() {
        let mut random = Random::new(11);
        for round in 0..rounds(3, 100) {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("index").display().to_string();
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "mass_indexer::killed::the_process_that_fills_an_index_and_is_killed"])
                .env(FOLDER, &folder)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let log = format!("{folder}.log");
            saved(&log, 1 + random.below(20));
            std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
            process.kill().unwrap();
            process.wait().unwrap();
            let last = saved(&log, 1);
            assert!(last > 0);
            let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
            for n in (0..=last).filter(|n| n % 200 != 199) {
                assert!(index.get(&id(&format!("{n:05}"))).await.unwrap().is_some(), "round {round}: {n} of {last}");
            }
            index.close().await.unwrap();
        }
    }
}
