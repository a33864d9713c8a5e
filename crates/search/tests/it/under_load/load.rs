//! The load: each write and search begins at its time, however long those before it take.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_search::{DocumentId, Operation, Outcome, Query, SearchIndex, SearchIndexExt as _, SearchRequest};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::told::Log;
use super::{Row, document};

/// A hundred a second.
const EVERY: Duration = Duration::from_millis(10);

/// How many may be under way: where the machine does not keep up the rate, fewer are begun, and each figure says how many ended.
const UNDER_WAY: usize = 32;

/// Writes and searches in the background.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    rows: Vec<Row>,
    /// Asked in turn.
    handles: Mutex<Vec<Arc<dyn SearchIndex>>>,
    log: Log,
    stop: AtomicBool,
    first: u64,
    /// What was added and is still there.
    added: Mutex<VecDeque<String>>,
}

impl Load {
    /// Begins; writes have numbers from the first on, and none is written if there is no first one.
    pub(super) fn start(handles: Vec<Arc<dyn SearchIndex>>, rows: Vec<Row>, first: Option<u64>, log: &Path) -> Self {
        let (handles, stop) = (Mutex::new(handles), AtomicBool::new(false));
        let (first_number, added) = (first.unwrap_or_default(), Mutex::default());
        let shared = Shared { rows, handles, log: Log::open(log), stop, first: first_number, added };
        let shared = Arc::new(shared);
        let mut tasks = vec![tokio::spawn(every(Arc::clone(&shared), search))];
        tasks.extend(first.map(|_| tokio::spawn(every(Arc::clone(&shared), write))));
        Self { shared, tasks }
    }

    /// Has one more handle, as of another build.
    pub(super) fn also(&self, handle: Arc<dyn SearchIndex>) {
        self.shared.handles.lock().unwrap().push(handle);
    }

    /// Ends it once all that was begun has ended.
    pub(super) async fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Begins one after another at their times, and waits for the last of them.
async fn every<F>(shared: Arc<Shared>, work: impl Fn(Arc<Shared>, u64, Instant) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut ticks, mut running) = (tokio::time::interval(EVERY), JoinSet::new());
    for number in shared.first.. {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let at = ticks.tick().await;
        if running.len() >= UNDER_WAY
            && let Some(ended) = running.join_next().await
        {
            ended.unwrap();
        }
        running.spawn(work(Arc::clone(&shared), number, at));
        while let Some(ended) = running.try_join_next() {
            ended.unwrap();
        }
    }
    running.join_all().await;
}

/// Another row for each number, and the same one only after all others.
pub(super) fn row(rows: &[Row], number: u64) -> &Row {
    const STEP: u64 = 7_919;
    &rows[usize::try_from(number * STEP % rows.len() as u64).unwrap()]
}

impl Shared {
    fn handle(&self, number: u64) -> Arc<dyn SearchIndex> {
        let handles = self.handles.lock().unwrap();
        Arc::clone(&handles[usize::try_from(number).unwrap() % handles.len()])
    }

    fn row(&self, number: u64) -> &Row {
        row(&self.rows, number)
    }

    /// Two of four replace a row, one adds a document, and one deletes a document that was added.
    fn operation(&self, number: u64) -> (String, Operation) {
        let added = if number % 4 == 3 { self.added.lock().unwrap().pop_front() } else { None };
        match (number % 4, added) {
            (2, _) => {
                let id = format!("added-{number}");
                (id.clone(), Operation::Upsert(document(&id, &self.row(number).title, number)))
            }
            (_, Some(id)) => {
                (id.clone(), Operation::Delete { id: DocumentId::new(id).unwrap(), version: Some(number) })
            }
            _ => {
                let Row { id, title } = self.row(number);
                (id.clone(), Operation::Upsert(document(id, title, number)))
            }
        }
    }
}

async fn write(shared: Arc<Shared>, number: u64, at: Instant) {
    let (id, operation) = shared.operation(number);
    let is_delete = matches!(operation, Operation::Delete { .. });
    shared.log.sends(&id, number, is_delete);
    let outcome = shared.handle(number).bulk(vec![operation]).await.map(|mut report| report.outcomes.remove(0));
    match outcome {
        Ok(Outcome::Failed(error)) | Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
        Ok(Outcome::Failed(error)) | Err(error) => shared.log.failed(&format!("write {number} of {id}: {error}")),
        // Only what was acknowledged is deleted.
        Ok(Outcome::NotFound) => shared.log.failed(&format!("{id} was not there for delete {number}")),
        // Sent again behind an answer that was lost it may find itself done: what is there in the end tells.
        Ok(_) => {
            shared.log.acknowledged(&id, number, is_delete, at.elapsed());
            if number % 4 == 2 {
                shared.added.lock().unwrap().push_back(id);
            }
        }
    }
}

async fn search(shared: Arc<Shared>, number: u64, at: Instant) {
    let title = &shared.row(number).title;
    let word = title.split_whitespace().max_by_key(|word| word.len()).unwrap_or(title);
    let request = SearchRequest::new(Query::matches("title", word)).with_size(10);
    match shared.handle(number).search(&request).await {
        Ok(page) if page.total > 0 => shared.log.found(at.elapsed()),
        Ok(_) => shared.log.failed(&format!("nothing has {word:?}")),
        Err(error) => shared.log.failed(&format!("search {number}: {error}")),
    }
}
