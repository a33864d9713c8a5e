//! The embedded backend: tantivy, in memory or in a folder.

mod answer;
mod best;
mod census;
mod client;
mod collect;
mod config;
mod document;
mod error;
mod expand;
mod facet;
mod folder;
mod found;
mod generations;
mod inplace;
mod mapping;
mod numbers;
mod ordinals;
mod pending;
mod plan;
#[cfg(unix)]
mod private;
mod reclaim;
mod run;
mod scorer;
mod scoring;
mod sealed;
mod snapshot;
mod sorted;
mod tokens;
mod traces;
mod weight;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_core::policy::Backoff;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, HealthStatus, RaiseOptions, Result};
use tantivy::TantivyError;

use self::answer::{find, search};
use self::client::{Client, OPERATION};
pub use self::config::TantivyConfig;
use self::error::BACKEND;
use crate::counters::Writes;
use crate::limits::Size;
use crate::work::{Stop, away, within};
use crate::{
    BulkOptions, BulkReport, DocumentId, Durability, GetOptions, MergeOptions, Operation, Query, Record, Refresh,
    RefreshOptions, Schema, SearchIndex, SearchOptions, SearchRequest, SearchResponse, capability,
};

/// An index in this process: in memory, or in a folder that no other process writes to.
///
/// A short search runs in place, which takes microseconds: a few exact terms that stand in few and small documents. All
/// other reads run on the runtime's blocking threads and end with their deadline (30 seconds unless the call says otherwise)
/// or when their future is dropped, and so do all writes, which are finished in any case. No poll holds an async thread for
/// longer than a millisecond of its time. A `Queued` write is committed within the configured interval.
///
/// # Layout
/// ```text
/// concepts/
///   statehouse-search          the pointer: which generation is live
///   .statehouse-writer.lock    locked by who has the index open
///   000001/                    a generation, a whole index of one schema
///     schema.json              the schema; written last, so where it is the generation is whole
///     deletes-000001           versions of deletes, record by record
///     meta.json                tantivy's list of segments, with what a commit says besides
///     .managed.json            tantivy's list of files
///     32 digits and an ending  its segments
/// ```
///
/// Marks of locks that guard the index are in memory, since nobody else writes to it: whoever opens the folder anew begins
/// without them.
///
/// The pointer is text: the format, `statehouse-search 1`, and lines `live 000001` and `kept 000002`. It, `schema.json`,
/// `meta.json` and `.managed.json` end with a line `#crc32` and the CRC-32 of what stands before. In `meta.json` there is a
/// line before that, `#files` and a JSON object with the length of each segment's files, and the CRC-32 of its last 128 bytes,
/// which hold its checksum: a file of another segment or another commit in its place is noticed.
///
/// ```
/// use statehouse_search::{
///     Field, Operation, Query, Record, Refresh, BulkOptions, Schema, SearchIndex, SearchIndexExt, SearchRequest,
///     TantivyConfig,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder().field(Field::text("title")).build()?;
/// let index = TantivyConfig::memory().open(schema).await?;
/// let record = Record::new("I21")?.with("title", "Acute myocardial infarction");
/// index.bulk_with(vec![Operation::Upsert(record)], BulkOptions::default().with_refresh(Refresh::Wait)).await?;
/// let found = index.search(&SearchRequest::new(Query::matches("title", "infarction"))).await?;
/// assert_eq!(found.ids(), ["I21"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TantivyIndex {
    client: Arc<Client>,
    capabilities: Arc<Capabilities>,
    place: Arc<str>,
    commit_interval: Duration,
    /// Whether a commit of queued writes is on its way.
    scheduled: Arc<AtomicBool>,
    writes: Writes,
    /// What was found damaged first since the index was opened.
    damage: Arc<OnceLock<Error>>,
}

/// How long to wait at most before a commit that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long to leave the engine to its own merge, where that was faster.
const MERGE_PAUSE: Duration = Duration::from_millis(20);
const MERGE_TRIES: u32 = 1_000;

/// How long a look at the folder may take.
const PROBE: Duration = Duration::from_secs(1);

/// How long a search or count may take unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

impl TantivyConfig {
    /// Opens the index, or makes it in a folder that is missing or empty. The folder's files are compared with their
    /// checksums, which takes as long as reading them once; what a process that was killed left half-written is removed.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable) if another process or handle has the folder open.
    /// `Conflict` if the folder's index has another schema: it is not touched. `Corrupt` for a damaged index,
    /// `InvalidConfig` for a wrong setting or a folder that holds something else, `PermissionDenied` or `Unavailable` as the disk says.
    pub async fn open(self, schema: Schema) -> Result<TantivyIndex> {
        TantivyIndex::open(self, schema).await
    }
}

impl TantivyIndex {
    pub(super) async fn open(config: TantivyConfig, schema: Schema) -> Result<Self> {
        config.check()?;
        let place = match &config.folder {
            Some(folder) => format!("tantivy {}", folder.display()),
            None => "tantivy in memory".to_owned(),
        };
        let fenced = [capability::FENCED, capability::FENCED_AT_ONCE];
        let always = [capability::GLOBAL_STATISTICS, capability::LIVE_STATISTICS];
        let durable = config.folder.is_some().then_some(capability::DURABLE);
        let commit_interval = config.commit_interval;
        let client = blocking(OPERATION.open, None, move |_| Client::open(config, Arc::new(schema))).await?;
        Ok(Self {
            client: Arc::new(client),
            capabilities: Arc::new(always.into_iter().chain(fenced).chain(durable).collect()),
            place: place.into(),
            commit_interval,
            scheduled: Arc::default(),
            writes: Writes::new(BACKEND),
            damage: Arc::default(),
        })
    }

    /// Runs work on the client away from the async threads.
    async fn run<T: Send + 'static>(
        &self,
        operation: statehouse_core::Operation,
        timeout: Option<Duration>,
        work: impl FnOnce(&Client, &Stop) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.client);
        self.noted(blocking(operation, timeout, move |stop| work(&client, stop)).await)
    }

    /// Has health tell of damage that was found.
    fn noted<T>(&self, done: Result<T>) -> Result<T> {
        done.inspect_err(|error| {
            if error.kind() == ErrorKind::Corrupt {
                self.damage.get_or_init(|| error.clone());
            }
        })
    }

    /// Merges what was written before. The engine merges on its own meanwhile: segments that it took are no longer there.
    async fn merge_all(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let Some(merged) = self.run(OPERATION.merge, None, |client, _| client.start_merge()).await? else {
                return Ok(());
            };
            match merged.await {
                Ok(_) => return self.run(OPERATION.merge, None, |client, _| client.show_merged()).await,
                Err(TantivyError::InvalidArgument(_)) if tries < MERGE_TRIES => tries += 1,
                Err(error) => return Err(error::map_error(error)),
            }
            tokio::time::sleep(MERGE_PAUSE).await;
        }
    }

    /// Sees to it that queued writes are committed soon, once for all that are queued until then.
    fn schedule_commit(&self) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let (scheduled, interval) = (Arc::clone(&self.scheduled), self.commit_interval);
        // What is queued is committed once also if the last handle goes before. A commit that fails is tried again for as
        // long as there is a handle.
        let (mut client, weak) = (Some(Arc::clone(&self.client)), Arc::downgrade(&self.client));
        tokio::spawn(async move {
            let (mut pause, mut pauses) = (interval, Backoff::new(interval, interval.max(LONGEST_PAUSE)));
            loop {
                tokio::time::sleep(pause).await;
                scheduled.store(false, Ordering::Release);
                let Some(client) = client.take().or_else(|| weak.upgrade()) else { return };
                let Err(error) = blocking(OPERATION.commit, None, move |_| client.commit_queued()).await else {
                    return;
                };
                let given_up = error.kind() == ErrorKind::Unavailable && !error.is_retryable();
                tracing::error!(name: "search.not_committed", error = %error, "queued writes could not be committed");
                if given_up || scheduled.swap(true, Ordering::AcqRel) {
                    return;
                }
                pause = pauses.pause();
            }
        });
    }
}

#[async_trait]
impl SearchIndex for TantivyIndex {
    fn schema(&self) -> &Arc<Schema> {
        &self.client.mapping.schema
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::clone(&self.capabilities)
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        let queued = options.durability == Durability::Queued && options.refresh == Refresh::None;
        let deadline = options.deadline;
        let write = move |client: &Client, _: &Stop| client.bulk(operations, &options);
        // A write that began cannot be taken back, so a deadline leaves its outcome open.
        let outcomes = self.run(OPERATION.bulk, deadline, write).await.map_err(|error| match error.kind() {
            ErrorKind::Timeout => {
                OPERATION.bulk.name_in(Error::new(ErrorKind::OutcomeUnknown, "the bulk went on past its deadline"))
            }
            _ => error,
        })?;
        if queued {
            self.schedule_commit();
        }
        self.writes.count(&outcomes);
        Ok(BulkReport::new(outcomes))
    }

    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>> {
        self.client.check_open()?;
        let found = if inplace::may_read_one(&self.client) {
            self.noted(inplace::guarded(|| self.client.get(id)))
        } else {
            let id = id.clone();
            self.run(OPERATION.get, options.deadline.or(Some(DEADLINE)), move |client, _| client.get(&id)).await
        };
        found.map_err(|error| OPERATION.get.name_in(error).with_key(id.as_str()))
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        let named = |error: Error| OPERATION.search.name_in(error);
        let size = self.client.check_open().and_then(|()| Size::of_request(request)).map_err(named)?;
        if let Some(response) = self.noted(inplace::search(&self.client, request, size)).map_err(named)? {
            return Ok(response);
        }
        let request = request.clone();
        let work = move |client: &Client, stop: &Stop| {
            let terms = client.mapping.schema.terms_of_request(&request, size)?;
            let snapshot = client.snapshot();
            let weight = find(&snapshot, &request, terms, stop)?.ranked(&snapshot, stop)?;
            search(client, &snapshot, &weight, &request, stop)
        };
        self.run(OPERATION.search, options.deadline.or(Some(DEADLINE)), work).await
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        let named = |error: Error| OPERATION.count.name_in(error);
        let size = self.client.check_open().and_then(|()| Size::of([query])).map_err(named)?;
        let query = query.clone();
        let work = move |client: &Client, stop: &Stop| {
            let terms = client.mapping.schema.terms_of([&query], size)?;
            let snapshot = client.snapshot();
            let weight = weight::find(&snapshot, plan::plan(&snapshot, &query, &[], terms, stop)?, 1.0)?;
            collect::count(&snapshot, &weight, stop)
        };
        self.run(OPERATION.count, options.deadline.or(Some(DEADLINE)), work).await
    }

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.run(OPERATION.refresh, options.deadline, |client, _| client.refresh()).await
    }

    async fn merge_with(&self, options: MergeOptions) -> Result<()> {
        OPERATION.merge.during(within(options.deadline, self.merge_all())).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let fence = fence.clone();
        self.run(OPERATION.raise, options.deadline, move |client, _| client.marks.raise(&fence)).await
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let client = Arc::clone(&self.client);
        // A folder that is away may come back: nothing was read of it.
        let probe = blocking(OPERATION.health, Some(PROBE), move |_| client.probe()).await;
        let mut health = Health::of(&*self.place, start.elapsed(), probe);
        let trouble = self.damage.get().cloned().or_else(|| self.client.failure());
        if health.is_up() && trouble.is_some() {
            health.status = HealthStatus::Degraded;
            health.error = trouble;
        }
        health
    }

    async fn close(&self) -> Result<()> {
        self.run(OPERATION.close, None, |client, _| client.close()).await
    }
}

/// Runs work on the runtime's blocking threads.
async fn blocking<T: Send + 'static>(
    operation: statehouse_core::Operation,
    timeout: Option<Duration>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    operation.during(away(timeout, work)).await
}
