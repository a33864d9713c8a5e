//! A search index on OpenSearch.

mod body;
mod bulk;
mod checked;
mod client;
mod config;
mod copies;
mod counts;
mod drift;
mod error;
mod found;
mod function;
mod generations;
mod handle;
mod health;
mod hits;
mod mapping;
mod marks;
mod merge;
mod nodes;
mod onward;
mod open;
mod query;
mod reading;
mod search;
mod shards;
mod source;
mod suggest;
mod tls;
mod versions;
mod writing;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, Namespace, RaiseOptions, Result};
use tokio::time::Instant;
use tracing::Instrument as _;

use self::checked::is_long;
use self::client::{Call, Client, OPERATION};
pub use self::config::OpenSearchConfig;
use self::error::Effect;
use self::generations::{Filler, Ground, Home, View};
use self::marks::Marks;
use self::shards::Shards;
use crate::counters::Writes;
use crate::work::within;
use crate::{
    ActivateOptions, BeginOptions, BulkOptions, BulkReport, DocumentId, EnsureOptions, Generation, GenerationOptions,
    GenerationsOptions, GetOptions, Hits, HitsOptions, MergeOptions, Operation, Outcome, Query, Record, RefreshOptions,
    Scan, Schema, SchemaDiff, SearchIndex, SearchOptions, SearchRequest, SearchResponse, Suggest, Suggestions,
    capability,
};

/// A search index on an OpenSearch cluster, shared by every process that opens it under the same name.
///
/// ```no_run
/// use statehouse_core::{Namespace, ServiceUrl};
/// use statehouse_search::{Field, OpenSearchConfig, OpenSearchIndex, Schema};
///
/// # async fn open() -> statehouse_core::Result<()> {
/// let url = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", "opensearch+http://localhost:9200")?;
/// let schema = Schema::builder().field(Field::text("title")).build()?;
/// let index = OpenSearchIndex::open(OpenSearchConfig::from_url(url)?, &Namespace::new("clinic.concepts")?, schema).await?;
/// # drop(index);
/// # Ok(())
/// # }
/// ```
///
/// # Layout
/// The name is an alias; the documents are in an index called `{name}-000001`, which is created with the schema's
/// mapping if the alias is missing. Another generation is an index of the next number. Which there are, and what for, other aliases
/// say, which the server changes in one step:
///
/// | alias | of the index of | means |
/// | --- | --- | --- |
/// | `{name}` | the live generation | what other tools search |
/// | `{name}@Write.{last}.{live}`, behind it `.{beside}.{state}` if there are two | the live one | these there are; what is written goes here. `last` is the highest number that was given; the state is `copied`, `rows`, `came`, `kept` or `behind` |
/// | `{name}@Frozen.…` | the live one | stands in its place while another one becomes live: nobody writes |
/// | `{name}@000002` | each that may be searched | it holds what the live one does |
/// | `{name}@Told.000002` | the one beside | it is told what the live one took |
/// | `{name}@Dropped.000002` | one that was dropped | it is removed once nobody reads a point in time of it, for ten minutes at most |
///
/// All requests go through one of these, so that a deleted index is an error and is not made again by the server with guessed types:
/// where it takes no account of `require_alias`, as with a delete that has a version, the capital letter keeps it from that. And whoever does not know how it is now is refused and looks again. An index of a release that knew of one generation gets the
/// aliases when it is opened. While a generation is filled from rows, `{name}@notes-000002` has the ids of what was
/// written without a version meanwhile.
///
/// The mapping's `_meta` has under `statehouse` what the index holds: `{"schema": …, "fingerprint": …}`, the schema with all
/// fields that were added since it was created, and the SHA-256, in hexadecimal, of the analysis and mappings that it was
/// compiled to; in a later generation also `"renamed"`, pairs of old and new names of fields. Each field says in its own `meta` that it is of statehouse, for of two builds that add fields at once the
/// slower one writes an `_meta` without the other's. Each document has its id once more as the keyword `_sid`, by which
/// searches break ties.
///
/// # Behavior beyond the contract
/// - **Retries.** Connection failures, 429 and 503 are tried again on the next node, with growing random pauses, within
///   the deadline and a budget; behind a broken connection at once and on a new one. A request that may have been
///   applied is sent again only if every operation in it has a version; an operation that was applied the first time is
///   then read back, so that it is not taken for one that came too late.
/// - **Large bulks** are sent in parts of 8 MiB, one after the other. If a later part fails as a whole, its operations
///   are [`Failed`](Outcome::Failed) one by one.
/// - **Fenced bulks.** The marks of locks are documents of an index called `{name}@marks`. Each request of a bulk looks at
///   its mark first; what is on its way when that rises is applied, by the bulk's deadline at the latest. Where a large bulk is
///   refused from one of its parts on, the operations of those are [`Failed`](Outcome::Failed) one by one.
/// - **A versioned delete** refuses older documents for as long as `delete_retention` says. The server remembers it in
///   memory: one that is killed reads it again in its log, one that was stopped in order, or had flushed its log, does not.
/// - **Two generations, many writers.** Each bulk names by its alias which generations there are; one that does not know of a new one is refused by
///   the server and sent again by what is so. The live one gives an operation without a version its version, and the other one
///   is told that; what has a version goes to the elder one first, which remembers deletes of both times. A bulk that took longer than a
///   quarter of a second is followed by a look: if there are others by then, it is applied again to them, so that of two writes of one
///   document at the same time the earlier one may win. What begins or becomes live waits for half a second, in which what a
///   node had taken in before ends. Where two hold the index, a write that is to be seen refreshes both.
/// - **A generation becomes live** while nobody writes: for half a second, and as long as it takes to compare what was written since all ids were
///   read, which is found by the numbers that the server gives its operations; deletes by the count. Writes wait for it; reads do not.
///   Where the process that does it dies, the next write goes on after ten seconds, as if nothing had been begun.
/// - **Who fills a generation** is known in its process only: elsewhere one that is being filled is a `Conflict`, and a `Reindex` that is run there
///   goes on with it beside the other one. From rows it is begun anew: run that once (`RunOnce`).
/// - **Deletes from before** a generation was begun are remembered by the elder one: it is kept for `delete_retention`, or what is older than
///   such a delete and comes later than the drop comes back.
/// - **Where rows brought an older version** of a document than the generation before has, or one that it remembers as deleted, both get the next version when
///   that one is made the same as the live one. Writes pause for it, as where one becomes live.
/// - **Merging.** A shard keeps what was deleted for copies that fall behind and lets go of it only every half minute, so
///   [`merge_with`](SearchIndex::merge_with) may take that long after a delete. While a copy is away it is `Unavailable`.
/// - **What others do to the index.** A changed similarity, analyzer, pipeline or limit, a foreign field, and an alias of
///   several indexes or of another one are a `Conflict` that names them: at opening, in health, and for writes that come
///   a quarter of a second later. Hits that something else has written into the index are left out and counted in
///   [`skipped`](SearchResponse::skipped); `get` of one is `Corrupt`. Of more than 10,000 that stand in one place in the order of
///   a request, only so many are counted where it is read behind cursors.
/// - **In doubt.** A node that has lost another one in the middle of a write sends it there again by itself. So a single operation of
///   which the server says that its shard is not there may have been applied: with a version it is sent again and read back, without
///   one it is `OutcomeUnknown`. And a write with a version may be `Stale` at the first try because its own first half came through.
/// - **Bounds.** An answer longer than `max_answer` is `TooLarge`. Health takes at most a second, and opening no longer than
///   `deadline` and one `timeout`, however many requests it takes.
/// - **Pages.** One handle asks the same copy of a shard each time, as long as that copy is there, so that pages fit
///   together. Copies may rank differently while they hold different deleted documents.
/// - **All hits** are read of a point in time, which the server is told of when it is not needed any more. Where that does not
///   reach it, or the answer to the opening was lost, it ends `keep_alive` later. A server takes 300 at a time unless it is set up
///   otherwise (`search.max_open_pit_context`); one more is `RateLimited`. One that has started anew has none, nor is there one
///   of an index that was closed or deleted, or of a node that has left the cluster, which is a `Conflict`,
///   and a page longer than `max_answer` is `TooLarge`: ask for smaller ones.
#[derive(Debug)]
pub struct OpenSearchIndex {
    /// What all handles of the index share.
    ground: Arc<Ground>,
    client: Arc<Client>,
    schema: Arc<Schema>,
    /// The generation that it fills, and that it may read meanwhile.
    own: Option<(u32, Arc<Filler>)>,
    /// What was last seen of the index.
    seen: Mutex<Seen>,
    capabilities: Capabilities,
    /// Which copies of shards are asked.
    preference: String,
    place: String,
    deadline: Duration,
    writes: Writes,
    marks: Marks,
}

/// What was seen of the index, and when.
#[derive(Clone, Debug)]
struct Seen {
    view: Arc<View>,
    /// None if no generation can be used with the schema of the handle.
    home: Option<Arc<Home>>,
    at: Instant,
}

/// How long what was seen of the index counts. An operator who changes it is noticed by the next write after that.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long a write waits to see it.
const LOOK_TIME: Duration = Duration::from_secs(1);

impl OpenSearchIndex {
    /// Opens the index of this name, and creates it if there is none.
    ///
    /// # Errors
    /// `InvalidConfig`, `Unauthenticated` and `Unavailable` name the setting to look at. `Conflict` means that the index
    /// was created with another schema, or that the server analyses text in another way than we do.
    pub async fn open(config: OpenSearchConfig, name: &Namespace, schema: impl Into<Arc<Schema>>) -> Result<Self> {
        let schema = schema.into();
        let opened = async {
            config.check()?;
            Self::open_shared(&Arc::new(Ground::new(&config, name)?), &schema).await
        };
        OPERATION.open.during(opened).await.map_err(|error| placed(error, &config))
    }

    /// Opens the index of this name by the schema that it has, whatever that is.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](ErrorKind::NotFound) if there is no index.
    pub async fn open_live(config: OpenSearchConfig, name: &Namespace) -> Result<Self> {
        let opened = async {
            config.check()?;
            let ground = Ground::new(&config, name)?;
            let found = ground.view(None).await?;
            let none = || {
                let message = format!("there is no index {}", ground.alias);
                Error::new(ErrorKind::NotFound, message).with_backend(error::BACKEND)
            };
            let schema = Arc::new(found.ok_or_else(none)?.live.stored.schema);
            Self::open_shared(&Arc::new(ground), &schema).await
        };
        OPERATION.open.during(opened).await.map_err(|error| placed(error, &config))
    }

    /// Asks a node whether the cluster is there, takes the credentials and is new enough, without opening an index.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn check(config: &OpenSearchConfig) -> Result<()> {
        let checked = async {
            config.check()?;
            open::check_server(&Client::new(config)?, config).await
        };
        OPERATION.open.during(checked).await.map_err(|error| placed(error, config))
    }

    /// Asks whether a node answers and takes the credentials, as [`health`](SearchIndex::health) of an index does: within a
    /// second.
    ///
    /// # Errors
    /// What the server says, and `Timeout` if it says nothing.
    pub async fn ping(config: &OpenSearchConfig) -> Result<()> {
        let asked = async {
            config.check()?;
            let client = Client::new(config)?;
            health::ping(&client).await
        };
        OPERATION.health.during(asked).await
    }

    /// What the server calls itself and which version it is, for example `OpenSearch 3.2.0`; none if it does not say.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub async fn release(config: &OpenSearchConfig) -> Result<Option<String>> {
        let asked = async {
            config.check()?;
            open::release(&Client::new(config)?).await
        };
        OPERATION.health.during(asked).await
    }

    async fn open_shared(ground: &Arc<Ground>, schema: &Arc<Schema>) -> Result<Self> {
        let looked = Instant::now();
        let wanted = open::Wanted { ground, schema, own: None };
        let opened = async {
            open::check_server(&ground.client, &ground.config).await?;
            open::index(wanted).await
        };
        // What a request or a shard that is waited for has to say at the end of its time says more.
        let timing = ground.client.timing;
        let opened = within(Some(timing.total.saturating_add(timing.attempt)), opened).await?;
        Ok(Self::of(Arc::clone(ground), Arc::clone(schema), (opened, looked), None))
    }

    fn of(
        ground: Arc<Ground>,
        schema: Arc<Schema>,
        (opened, looked): (open::Opened, Instant),
        own: Option<(u32, Arc<Filler>)>,
    ) -> Self {
        let (config, alias) = (&ground.config, &ground.alias);
        let preference = preference(alias.as_str());
        let home = opened.known().map(|known| Home::of(&opened.view, known, alias.as_str(), &preference));
        let several = home.as_ref().is_some_and(|home| home.several);
        let all = [capability::SHARED, capability::DURABLE, capability::FENCED, capability::GLOBAL_STATISTICS];
        let more = [capability::POINT_IN_TIME, capability::REINDEX, capability::SUGGEST, capability::COLLAPSE];
        let capabilities = Capabilities::from_iter(all.into_iter().chain(more));
        Self {
            client: Arc::clone(&ground.client),
            schema,
            own,
            seen: Mutex::new(Seen { view: Arc::new(opened.view), home: home.map(Arc::new), at: looked }),
            capabilities: if several { capabilities.without(capability::GLOBAL_STATISTICS) } else { capabilities },
            preference,
            place: format!("opensearch {config}/{alias}"),
            deadline: config.timing.total,
            writes: Writes::new(error::BACKEND),
            marks: Marks::of(alias, config.layout.replicas),
            ground,
        }
    }

    /// What the index must be like.
    fn wanted(&self) -> open::Wanted<'_> {
        let own = self.own.as_ref().map(|(number, _)| *number);
        open::Wanted { ground: &self.ground, schema: &self.schema, own }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Succeeds if the alias still stands for an index that can be used, and that is as it was. Gives the generation that is used,
    /// and none if there is no index.
    async fn look(&self, limit: Duration) -> Result<Option<Arc<Home>>> {
        let now = Instant::now();
        let Some(found) = open::look_again(self.wanted(), limit).await? else { return Ok(None) };
        found.check()?;
        let known = found.known().ok_or_else(error::of_gone)?;
        let before = self.seen();
        if found.view.set.live == before.view.set.live {
            source::check_index(&before.view.live.index, Some(&found.view.live.index))?;
        }
        let home = Arc::new(Home::of(&found.view, known, self.ground.alias.as_str(), &self.preference));
        let looked = Seen { view: Arc::new(found.view), home: Some(Arc::clone(&home)), at: now };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that began before another one, and took longer, has nothing to say to that.
        if seen.at <= now {
            *seen = looked;
        }
        Ok(Some(home))
    }

    /// The generation that is used, looked for again where none could be.
    async fn home(&self, limit: Duration) -> Result<Arc<Home>> {
        if let Some(home) = self.seen().home {
            return Ok(home);
        }
        self.look(limit).await?.ok_or_else(error::of_gone)
    }

    /// Looks for another generation at the next call.
    fn forget(&self, home: &Arc<Home>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.home.take_if(|known| Arc::ptr_eq(known, home));
    }

    /// Stops a write into an index that somebody has changed. One that is gone or silent says so itself.
    async fn check_shape(&self, deadline: Instant) -> Result<()> {
        if self.seen().at.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        // Most of the time is for the write.
        let limit = LOOK_TIME.min(deadline.saturating_duration_since(Instant::now()) / 4);
        match self.look(limit).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    fn check_open(&self) -> Result<()> {
        self.ground.check_open()
    }

    /// A handle of a generation that is being filled.
    async fn begun(&self, wanted: Arc<Schema>, options: BeginOptions) -> Result<Arc<dyn SearchIndex>> {
        let (ground, schema) = (Arc::clone(&self.ground), Arc::clone(&wanted));
        let deadline = options.deadline;
        let begun = late(deadline, async move {
            let own = ground.begin(&schema, options).await?;
            let looked = Instant::now();
            let of = open::Wanted { ground: &ground, schema: &schema, own: Some(own.0) };
            let opened = open::look(of, None).await?.ok_or_else(error::of_gone)?;
            Ok(Self::of(Arc::clone(&ground), schema, (opened, looked), Some(own)))
        });
        Ok(Arc::new(begun.await?))
    }

    async fn bulk_of(&self, operations: Vec<Operation>, options: &BulkOptions) -> Result<Vec<Outcome>> {
        let is_long = is_long(&operations);
        let operations = Arc::new(operations);
        let outcomes = self.bulk_shared(&operations, is_long, options).await;
        if is_long {
            // To free them takes as long as to make them.
            tokio::task::spawn_blocking(move || drop(operations));
        }
        outcomes
    }

    async fn refresh_all(&self, limit: Option<Duration>) -> Result<()> {
        let mut reading = self.reading(limit)?;
        loop {
            let home = reading.home().await?;
            let done = self.refresh_in(&self.seen().view, reading.left()).await;
            if reading.settle(&home, done).await?.is_some() {
                return Ok(());
            }
        }
    }

    async fn refresh_in(&self, view: &View, left: Duration) -> Result<()> {
        let (alias, until) = (self.ground.alias.as_str(), client::deadline(left));
        let at = view.addresses(alias);
        let call = Call::ask(format!("/{at}/_refresh"), &json!({})).within(Some(left));
        if self.client.read::<search::Sharded>(&call).await?.check()? {
            return Ok(());
        }
        // A copy that is not there needs no refresh; a shard without any does.
        let at = if view.beside.is_none() { alias } else { &at };
        let left = until.saturating_duration_since(Instant::now());
        let call = Call::get(Shards::path(at, "timeout=1s")).within(Some(left));
        let shards: Shards = self.client.read(&call).await?;
        if shards.all_serve() { Ok(()) } else { Err(error::of_missing_shard()) }
    }

    async fn merge_all(&self) -> Result<()> {
        let mut view = self.ground.present().await?;
        loop {
            let done = merge::all(&self.client, &view.addresses(self.ground.alias.as_str())).await;
            if self.ground.settle(&mut view, done).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// Says of an error at opening which setting it is about, and which server.
fn placed(error: Error, config: &OpenSearchConfig) -> Error {
    let error = if error.setting().is_none() { error.with_setting(&config.setting) } else { error };
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    let place = Error::new(error.kind(), format!("{}; this is OpenSearch at {config}", error.message()));
    let place = OPERATION.open.name_in(place).with_setting(&config.setting);
    match error.key() {
        Some(key) => place.with_key(key),
        None => place,
    }
}

/// Goes on with what changes generations, whether or not anybody waits for its end.
async fn late<T: Send + 'static>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let work = tokio::spawn(work.in_current_span());
    let in_doubt = |error: Error| match error.kind() {
        ErrorKind::Timeout => error::of_doubt(Effect::Once, error),
        _ => error,
    };
    let done = async { work.await.unwrap_or_else(|failed| Err(Error::abandoned().with_source(failed))) };
    within(limit, done).await.map_err(in_doubt)
}

fn preference(alias: &str) -> String {
    format!("statehouse{:016x}", RandomState::new().hash_one(alias))
}

#[async_trait]
impl SearchIndex for OpenSearchIndex {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        let outcomes = OPERATION.bulk.during(self.bulk_of(operations, &options)).await?;
        self.writes.count(&outcomes);
        Ok(BulkReport::new(outcomes))
    }

    async fn get_with(&self, id: &DocumentId, options: GetOptions) -> Result<Option<Record>> {
        OPERATION.get.during(self.get_one(id, &options)).await
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        OPERATION.search.during(self.search_of(request, &options)).await
    }

    async fn hits_with(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        OPERATION.hits.during(self.hold(request, options)).await
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        OPERATION.count.during(self.count_of(query, &options)).await
    }

    async fn suggest_with(&self, suggest: &Suggest, options: SearchOptions) -> Result<Suggestions> {
        OPERATION.suggest.during(self.suggest_of(suggest, &options)).await
    }

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.refresh.during(self.refresh_all(options.deadline)).await
    }

    async fn merge_with(&self, options: MergeOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.merge.during(within(options.deadline, self.merge_all())).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.raise.during(self.marks.raise(&self.client, fence, options.deadline)).await
    }

    async fn diff_with(&self, wanted: &Schema, options: EnsureOptions) -> Result<SchemaDiff> {
        self.check_open()?;
        let view = OPERATION.diff.during(self.ground.view(options.deadline)).await?;
        Ok(view.ok_or_else(error::of_gone)?.live.stored.diff(wanted))
    }

    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        self.check_open()?;
        let opened = within(options.deadline, Self::open_shared(&self.ground, &wanted));
        let opened = OPERATION.ensure.during(opened).await.map_err(|error| placed(error, &self.ground.config))?;
        Ok(Arc::new(opened))
    }

    async fn generations_with(&self, options: GenerationsOptions) -> Result<Vec<Generation>> {
        self.check_open()?;
        // To read all ids takes as long as it takes.
        let limit = options.deadline.or((!options.checksums).then_some(self.deadline));
        let found = within(limit, self.ground.generations(options.checksums));
        OPERATION.generations.during(found).await
    }

    async fn begin_with(&self, wanted: Arc<Schema>, options: BeginOptions) -> Result<Arc<dyn SearchIndex>> {
        self.check_open()?;
        OPERATION.begin.during(self.begun(wanted, options)).await
    }

    async fn scan_with(&self, scan: Scan, options: GenerationOptions) -> Result<Vec<(DocumentId, u64)>> {
        self.check_open()?;
        OPERATION.scan.during(within(options.deadline, self.ground.scan(scan))).await
    }

    async fn copy_with(&self, ids: Vec<DocumentId>, options: GenerationOptions) -> Result<u64> {
        self.check_open()?;
        let ground = Arc::clone(&self.ground);
        OPERATION.copy.during(late(options.deadline, async move { ground.copy(ids).await })).await
    }

    async fn activate_with(&self, generation: u32, options: ActivateOptions) -> Result<()> {
        self.check_open()?;
        let ground = Arc::clone(&self.ground);
        let activated = late(options.deadline, async move { ground.activate(generation, options.verify).await });
        OPERATION.activate.during(activated).await
    }

    async fn drop_generation_with(&self, generation: u32, options: GenerationOptions) -> Result<()> {
        self.check_open()?;
        let ground = Arc::clone(&self.ground);
        OPERATION.drop.during(late(options.deadline, async move { ground.drop_generation(generation).await })).await
    }

    async fn health(&self) -> Health {
        if let Err(error) = self.check_open() {
            return Health::of(&self.place, Duration::ZERO, Err(error.with_backend(error::BACKEND)));
        }
        let shape = async { self.look(health::LIMIT).await.map(drop) };
        let Seen { view, home, .. } = self.seen();
        let index = home.map_or_else(|| view.live.index.clone(), |home| home.index.clone());
        let asked = health::Asked { alias: self.ground.alias.as_str(), index: &index, place: &self.place };
        health::ask(&self.client, asked, shape).await
    }

    async fn close(&self) -> Result<()> {
        self.ground.close();
        Ok(())
    }
}
