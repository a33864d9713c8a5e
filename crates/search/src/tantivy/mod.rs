//! The embedded backend: tantivy, in memory or in a folder.

mod answer;
mod behind;
mod best;
mod blocking;
mod census;
mod client;
mod collapse;
mod collect;
mod config;
mod counted;
mod counting;
mod document;
mod error;
mod expand;
mod facet;
mod folder;
mod found;
mod function;
mod gate;
mod generations;
mod held;
mod impacts;
mod inplace;
mod listing;
mod log;
mod mapping;
mod measured;
mod node;
mod notes;
mod numbers;
mod ordinals;
mod pending;
mod place;
mod plan;
#[cfg(unix)]
mod private;
mod queued;
mod reclaim;
mod run;
mod scorer;
mod scoring;
mod sealed;
mod shape;
mod shelf;
mod snapshot;
mod sorted;
mod sought;
mod sparing;
mod suggest;
mod tokens;
mod traces;
mod weight;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, HealthStatus, RaiseOptions, Result};
use tantivy::TantivyError;

use self::answer::search;
use self::blocking::blocking;
use self::client::{Client, OPERATION};
pub use self::config::TantivyConfig;
use self::error::BACKEND;
use self::queued::Queued;
use self::shelf::{Filler, Generation, Shelf};
use self::sought::find;
use crate::counters::Writes;
use crate::size::Size;
use crate::work::{Stop, away, within};
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, BulkReport, DocumentId, Durability, EnsureOptions, GenerationOptions,
    GenerationsOptions, GetOptions, Hits, HitsOptions, MergeOptions, Operation, Query, Record, Refresh, RefreshOptions,
    Scan, Schema, SchemaDiff, SearchIndex, SearchOptions, SearchRequest, SearchResponse, Suggest, Suggestions,
    capability,
};

/// An index in this process: in memory, or in a folder that no other process writes to.
///
/// A short search runs in place, which takes microseconds: a few exact terms that stand in few and small documents. All
/// other reads run on the runtime's blocking threads and end with their deadline (30 seconds unless the call says otherwise)
/// or when their future is dropped. So do all writes, and what goes through a whole generation, with five minutes unless the call
/// says otherwise; only opening, a merge, an activation and closing have no limit then. A write that has begun is finished in any case, and one
/// that still waits for others is not begun any more, so that it is never applied behind a later one. No poll holds an async thread for
/// longer than a millisecond of its time. Who waits for a `Logged` write to be synced occupies no thread. A `Queued` or `Logged` write is committed within the configured interval, also if nobody waits for it
/// any more; where the runtime that it was made on has ended before, with the next write, refresh or close. While all hits are read
/// the folder keeps the files of the state that is read, for as long as `keep_alive` says.
///
/// A commit that fails has not happened, or is `OutcomeUnknown`: where it may be in the folder already, or is and cannot be shown. What
/// it was to commit then stays, is committed again on its own, and is told of by `get` and versions until then.
///
/// # Layout
/// ```text
/// concepts/
///   statehouse-search          the pointer: which generation is live
///   last-generation            the highest number of those that were dropped: none is used again
///   .statehouse-writer.lock    locked by who has the index open
///   000001/                    a generation, a whole index of one schema
///     schema.json              the schema; written last, so where it is the generation is whole
///     generation.json          of one that was begun beside another: whether it is being filled, and which fields were renamed
///     deletes-000001           versions of deletes, record by record
///     log-000001               what is acknowledged as `Logged` and not committed yet; gone once the index is closed
///     meta.json                tantivy's list of segments, with what a commit says besides
///     .managed.json            tantivy's list of files
///     32 digits and an ending  its segments
/// ```
///
/// Marks of locks that guard the index are in memory, since nobody else writes to it: whoever opens the folder anew begins
/// without them.
///
/// The pointer is text: the format, `statehouse-search 1`, and lines `live 000001` and `kept 000002`. It, `last-generation`, `schema.json`,
/// `meta.json` and `.managed.json` end with a line `#crc32` and the CRC-32 of what stands before. In `meta.json` there is a
/// line before that, `#files` and a JSON object with the length of each segment's files, and the CRC-32 of its last 128 bytes,
/// which hold its checksum: a file of another segment or another commit in its place is noticed.
///
/// A document is `tantivy/mapping/format.rs` of this crate, byte by byte, and a record of a delete `tantivy/traces/format.rs`; the
/// pointer is `tantivy/generations.rs`, and the lines with checksums are `tantivy/sealed.rs` and `tantivy/sealed/prints.rs`.
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
    shelf: Arc<Shelf>,
    schema: Arc<Schema>,
    /// A generation that this handle may see while it is filled, and fills.
    own: Option<(u32, Arc<Filler>)>,
    home: Arc<RwLock<Home>>,
    capabilities: Arc<Capabilities>,
    place: Arc<str>,
    queued: Queued,
    writes: Writes,
    /// What was found damaged first since the index was opened.
    damage: Arc<OnceLock<Error>>,
}

/// The generation that a handle found, and what it is as good as: one that was found when the set was the same.
#[derive(Debug)]
struct Home {
    epoch: u64,
    found: Result<Generation>,
}

/// How long to leave the engine to its own merge, where that was faster.
const MERGE_PAUSE: Duration = Duration::from_millis(20);
const MERGE_TRIES: u32 = 1_000;

/// How long a search or count may take unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a write may take, and what reads all of a generation, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

fn patient(deadline: Option<Duration>) -> Option<Duration> {
    deadline.or(Some(PATIENCE))
}

/// What it means that a change was not done in time.
fn late(operation: statehouse_core::Operation, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Timeout => operation.name_in(Error::new(ErrorKind::OutcomeUnknown, "it went on past its deadline")),
        _ => error,
    }
}

impl TantivyConfig {
    /// Opens the index, or makes it in a folder that is missing or empty. The folder's files are compared with their
    /// checksums, which takes as long as reading them once; what a process that was killed left half-written is removed.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable) if another process or handle has the folder open.
    /// `Conflict` if the folder's index has another schema that fields cannot just be added to: it is not touched, and the
    /// fields are named. So is one that was begun and not finished. `Corrupt` for a damaged index,
    /// `InvalidConfig` for a wrong setting or a folder that holds something else, `PermissionDenied` or `Unavailable` as the disk says.
    pub async fn open(self, schema: Schema) -> Result<TantivyIndex> {
        TantivyIndex::open(self, Some(Arc::new(schema))).await
    }

    /// Opens the live generation of an index by the schema that it has, whatever that is: what a build of another schema
    /// begins a `Reindex` with.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](ErrorKind::NotFound) if there is no index.
    pub async fn open_live(self) -> Result<TantivyIndex> {
        TantivyIndex::open(self, None).await
    }
}

impl TantivyIndex {
    async fn open(config: TantivyConfig, schema: Option<Arc<Schema>>) -> Result<Self> {
        config.check()?;
        let place = match &config.folder {
            Some(folder) => format!("tantivy {}", folder.display()),
            None => "tantivy in memory".to_owned(),
        };
        let fenced = [capability::FENCED, capability::FENCED_AT_ONCE, capability::REINDEX];
        let always = [
            capability::GLOBAL_STATISTICS,
            capability::LIVE_STATISTICS,
            capability::POINT_IN_TIME,
            capability::SUGGEST,
            capability::COLLAPSE,
        ];
        let durable = config.folder.is_some().then_some(capability::DURABLE);
        let queued = Queued::new(config.commit_interval);
        let opened = move |stop: &Stop| {
            let shelf = Shelf::open(config, schema.as_ref())?;
            let schema = schema.unwrap_or_else(|| Arc::clone(&shelf.set().live.client.mapping.schema));
            let ensured = shelf.ensure(&schema, stop);
            Ok((shelf, ensured.map(|()| schema)))
        };
        let opened = blocking(OPERATION.open, None, opened).await;
        let (shelf, schema) = opened.map_err(|error| error.within(&place))?;
        let schema = schema.map_err(|error| OPERATION.open.name_in(error))?;
        let home = Home { epoch: 0, found: Err(client::closed()) };
        let shelf = Arc::new(shelf);
        if shelf.is_behind() {
            // What a process that has ended had logged.
            queued.schedule(&shelf);
        }
        Ok(Self {
            shelf,
            schema,
            own: None,
            home: Arc::new(RwLock::new(home)),
            capabilities: Arc::new(always.into_iter().chain(fenced).chain(durable).collect()),
            place: place.into(),
            queued,
            writes: Writes::new(BACKEND),
            damage: Arc::default(),
        })
    }

    /// Another handle of the index.
    fn with(&self, schema: Arc<Schema>, own: Option<(u32, Arc<Filler>)>) -> Arc<dyn SearchIndex> {
        let home = Home { epoch: 0, found: Err(client::closed()) };
        Arc::new(Self { schema, own, home: Arc::new(RwLock::new(home)), ..self.clone() })
    }

    /// The generation that this handle searches.
    fn home(&self) -> Result<Generation> {
        let epoch = self.shelf.epoch();
        let known = self.home.read().unwrap_or_else(PoisonError::into_inner);
        if known.epoch == epoch {
            return known.found.clone();
        }
        drop(known);
        let found = self.shelf.find(&self.schema, self.own.as_ref().map(|(number, _)| *number));
        *self.home.write().unwrap_or_else(PoisonError::into_inner) = Home { epoch, found: found.clone() };
        found
    }

    fn client(&self) -> Result<Arc<Client>> {
        self.home().map(|home| home.client)
    }

    /// Runs work on the client away from the async threads.
    async fn run<T: Send + 'static>(
        &self,
        operation: statehouse_core::Operation,
        timeout: Option<Duration>,
        work: impl FnOnce(&Client, &Stop) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = self.client().map_err(|error| operation.name_in(error))?;
        self.noted(blocking(operation, timeout, move |stop| work(&client, stop)).await)
    }

    /// Runs work on all generations away from the async threads.
    async fn on_all<T: Send + 'static>(
        &self,
        operation: statehouse_core::Operation,
        timeout: Option<Duration>,
        work: impl FnOnce(&Arc<Shelf>, &Stop) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shelf = Arc::clone(&self.shelf);
        self.noted(blocking(operation, timeout, move |stop| work(&shelf, stop)).await)
    }

    /// Changes all generations away from the async threads. What began cannot be taken back, so a deadline leaves its outcome
    /// open. What nobody waits for any more does not begin.
    async fn changed<T: Send + 'static>(
        &self,
        operation: statehouse_core::Operation,
        timeout: Option<Duration>,
        work: impl FnOnce(&Arc<Shelf>, &Stop) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_all(operation, timeout, work).await.map_err(|error| late(operation, error))
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
}

#[async_trait]
impl SearchIndex for TantivyIndex {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::clone(&self.capabilities)
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        let (home, schema, deadline) = (self.home(), Arc::clone(&self.schema), options.deadline);
        let home = home.map_err(|error| OPERATION.bulk.name_in(error))?.number;
        let (shelf, commits) = (Arc::clone(&self.shelf), self.queued.clone());
        let write = move |stop: &Stop| {
            let waits = options.durability != Durability::Committed && options.refresh == Refresh::None;
            let done = shelf.bulk(home, &schema, operations, (&options, stop));
            // What is in doubt waits for a commit, too.
            if waits || done.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutcomeUnknown) {
                commits.schedule(&shelf);
            }
            done
        };
        let written = async {
            let (outcomes, unsynced) = away(None, write).await?;
            for log in unsynced {
                log.wait().await?;
            }
            Ok(outcomes)
        };
        let written = OPERATION.bulk.during(within(patient(deadline), written)).await;
        let outcomes = self.noted(written).map_err(|error| late(OPERATION.bulk, error))?;
        self.writes.count(&outcomes);
        Ok(BulkReport::new(outcomes))
    }

    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>> {
        let client = self.client()?;
        client.check_open()?;
        let found = if inplace::may_read_one(&client) {
            self.noted(inplace::guarded(|| client.get(id, client.snapshot().all_of(&self.schema))))
        } else {
            let (id, schema) = (id.clone(), Arc::clone(&self.schema));
            let read = move |client: &Client, _: &Stop| client.get(&id, client.snapshot().all_of(&schema));
            self.run(OPERATION.get, options.deadline.or(Some(DEADLINE)), read).await
        };
        found.map_err(|error| OPERATION.get.name_in(error).with_key(id.as_str()))
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        let named = |error: Error| OPERATION.search.name_in(error);
        let client = self.client().map_err(named)?;
        let size = client.check_open().and_then(|()| Size::of_request(request)).map_err(named)?;
        let short = inplace::search((&client, &self.schema), request, size);
        if let Some(response) = self.noted(short).map_err(named)? {
            return Ok(response);
        }
        let (request, schema) = (request.clone(), Arc::clone(&self.schema));
        let work = move |client: &Client, stop: &Stop| {
            let terms = schema.terms_of_request(&request, size)?;
            let snapshot = client.snapshot();
            let sought = find(&snapshot, &request, terms, stop)?.ranked(&snapshot, stop)?;
            search(&schema, &snapshot, &sought, &request, stop)
        };
        self.run(OPERATION.search, options.deadline.or(Some(DEADLINE)), work).await
    }

    async fn hits_with(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        self.hold(request, options).await
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        let named = |error: Error| OPERATION.count.name_in(error);
        let open = self.client().and_then(|client| client.check_open());
        let size = open.and_then(|()| Size::of([query])).map_err(named)?;
        let (query, schema) = (query.clone(), Arc::clone(&self.schema));
        let work = move |client: &Client, stop: &Stop| {
            let terms = schema.terms_of([&query], size)?;
            let snapshot = client.snapshot();
            let weight = weight::find(&snapshot, plan::plan(&snapshot, &query, &[], terms, stop)?, 1.0)?;
            collect::count(&snapshot, &weight, stop)
        };
        self.run(OPERATION.count, options.deadline.or(Some(DEADLINE)), work).await
    }

    async fn suggest_with(&self, suggest: &Suggest, options: SearchOptions) -> Result<Suggestions> {
        let open = self.client().and_then(|client| client.check_open());
        open.and_then(|()| self.schema.check_suggest(suggest)).map_err(|error| OPERATION.suggest.name_in(error))?;
        let (asked, schema) = (suggest.clone(), Arc::clone(&self.schema));
        let work = move |client: &Client, stop: &Stop| suggest::suggest(&schema, &client.snapshot(), &asked, stop);
        self.run(OPERATION.suggest, options.deadline.or(Some(DEADLINE)), work).await
    }

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.client().map_err(|error| OPERATION.refresh.name_in(error))?;
        self.on_all(OPERATION.refresh, patient(options.deadline), |shelf, _| shelf.refresh()).await
    }

    async fn merge_with(&self, options: MergeOptions) -> Result<()> {
        OPERATION.merge.during(within(options.deadline, self.merge_all())).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let fence = fence.clone();
        self.on_all(OPERATION.raise, patient(options.deadline), move |shelf, _| shelf.marks.raise(&fence)).await
    }

    async fn diff_with(&self, wanted: &Schema, _: EnsureOptions) -> Result<SchemaDiff> {
        self.shelf.check_open().map_err(|error| OPERATION.diff.name_in(error))?;
        Ok(self.shelf.set().live.client.mapping.schema.diff(wanted))
    }

    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        let schema = Arc::clone(&wanted);
        self.changed(OPERATION.ensure, patient(options.deadline), move |shelf, stop| shelf.ensure(&schema, stop))
            .await?;
        Ok(self.with(wanted, None))
    }

    async fn generations_with(&self, options: GenerationsOptions) -> Result<Vec<crate::Generation>> {
        let GenerationsOptions { checksums, deadline } = options;
        let told = move |shelf: &Arc<Shelf>, stop: &Stop| shelf.generations(checksums, stop);
        self.on_all(OPERATION.generations, patient(deadline), told).await
    }

    async fn begin_with(&self, wanted: Arc<Schema>, options: BeginOptions) -> Result<Arc<dyn SearchIndex>> {
        let (schema, deadline) = (Arc::clone(&wanted), options.deadline);
        let begun = move |shelf: &Arc<Shelf>, stop: &Stop| shelf.begin(&schema, options, stop);
        let own = self.changed(OPERATION.begin, patient(deadline), begun).await?;
        Ok(self.with(wanted, Some(own)))
    }

    async fn scan_with(&self, scan: Scan, options: GenerationOptions) -> Result<Vec<(DocumentId, u64)>> {
        let listed = move |shelf: &Arc<Shelf>, stop: &Stop| shelf.scan(&scan, stop);
        self.on_all(OPERATION.scan, patient(options.deadline), listed).await
    }

    async fn copy_with(&self, ids: Vec<DocumentId>, options: GenerationOptions) -> Result<u64> {
        let commits = self.queued.clone();
        let copy = move |shelf: &Arc<Shelf>, stop: &Stop| {
            let copied = shelf.copy(ids, stop);
            commits.schedule(shelf);
            copied
        };
        self.changed(OPERATION.copy, patient(options.deadline), copy).await
    }

    async fn activate_with(&self, generation: u32, options: ActivateOptions) -> Result<()> {
        let activated = move |shelf: &Arc<Shelf>, stop: &Stop| shelf.activate(generation, options.verify, stop);
        self.changed(OPERATION.activate, options.deadline, activated).await
    }

    async fn drop_generation_with(&self, generation: u32, options: GenerationOptions) -> Result<()> {
        self.changed(OPERATION.drop, patient(options.deadline), move |shelf, stop| shelf.remove(generation, stop)).await
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let client = self.client();
        // A folder that is away may come back: nothing was read of it.
        let probe = blocking(OPERATION.health, Some(Health::LIMIT), move |_| {
            let client = client?;
            Ok((client.probe(), client.probe_writing()))
        });
        let (reads, writes) = probe.await.unwrap_or_else(|error| (Err(error), Ok(())));
        let mut health = Health::of_reads_and_writes(&*self.place, start.elapsed(), reads, writes);
        let trouble = self.damage.get().cloned().or_else(|| self.shelf.failure());
        if health.is_up() && trouble.is_some() {
            health.status = HealthStatus::Degraded;
            health.error = trouble;
        }
        health
    }

    async fn close(&self) -> Result<()> {
        self.on_all(OPERATION.close, None, |shelf, _| shelf.close()).await
    }
}
