//! A search index on OpenSearch.

mod body;
mod bulk;
mod checked;
mod client;
mod config;
mod counts;
mod drift;
mod error;
mod function;
mod health;
mod hits;
mod mapping;
mod marks;
mod merge;
mod nodes;
mod onward;
mod open;
mod query;
mod search;
mod shards;
mod source;
mod tls;
mod versions;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use statehouse_core::{Capabilities, Error, ErrorKind, Fence, Health, Namespace, RaiseOptions, Result, Retry};
use tokio::time::Instant;

use self::bulk::Run;
use self::checked::{is_long, refusals};
use self::client::{Call, Client, OPERATION, SHORT_ANSWER};
pub use self::config::OpenSearchConfig;
use self::error::Effect;
use self::marks::Marks;
use self::onward::Onward;
use self::shards::Shards;
use crate::counters::Writes;
use crate::limits::Size;
use crate::work::{Stop, away, within};
use crate::{
    BulkOptions, BulkReport, DocumentId, EnsureOptions, GetOptions, Hits, HitsOptions, MergeOptions, Operation,
    Outcome, Projection, Query, Reach, Record, Refresh, RefreshOptions, Schema, SchemaDiff, SearchIndex, SearchOptions,
    SearchRequest, SearchResponse, capability,
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
/// mapping if the alias is missing. Writes go through the alias only, so that a deleted index is an error and is not
/// made again by the server with guessed types.
///
/// The mapping's `_meta` has under `statehouse` what the index holds: `{"schema": …, "fingerprint": …}`, the schema with all
/// fields that were added since it was created, and the SHA-256, in hexadecimal, of the analysis and mappings that it was
/// compiled to. Each field says in its own `meta` that it is of statehouse, for of two builds that add fields at once the
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
    client: Arc<Client>,
    /// What it was opened with.
    origin: (OpenSearchConfig, Namespace),
    alias: Namespace,
    schema: Arc<Schema>,
    capabilities: Capabilities,
    search_path: String,
    /// Which copies of shards are asked.
    preference: String,
    /// Whether there is more than one shard.
    several: bool,
    place: String,
    deadline: Duration,
    /// The index behind the alias when it was opened.
    index: String,
    /// When it was last looked at.
    looked: Mutex<Instant>,
    /// All handles of it are closed at once.
    closed: Arc<AtomicBool>,
    writes: Writes,
    marks: Marks,
    /// How long the server must know the versions of deletes at least.
    retention: Duration,
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
        let opened = OPERATION.open.during(Self::open_shared(&config, name, &schema)).await;
        opened.map_err(|error| placed(error, &config))
    }

    /// Opens the index of this name by the schema that it has, whatever that is.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](ErrorKind::NotFound) if there is no index.
    pub async fn open_live(config: OpenSearchConfig, name: &Namespace) -> Result<Self> {
        let opened = async {
            config.check()?;
            let (client, alias) = (Client::new(&config)?, config.alias(name)?);
            let stored = open::stored(&client, &alias, None).await?;
            let none =
                || Error::new(ErrorKind::NotFound, format!("there is no index {alias}")).with_backend(error::BACKEND);
            Self::open_shared(&config, name, &Arc::new(stored.ok_or_else(none)?.schema)).await
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

    async fn open_shared(config: &OpenSearchConfig, name: &Namespace, schema: &Arc<Schema>) -> Result<Self> {
        config.check()?;
        let alias = config.alias(name)?;
        let client = Client::new(config)?;
        let looked = Instant::now();
        let opened = async {
            open::check_server(&client, config).await?;
            open::index(&client, config, &alias, schema).await
        };
        // What a request or a shard that is waited for has to say at the end of its time says more.
        let limit = config.timing.total.saturating_add(config.timing.attempt);
        let opened = within(Some(limit), opened).await?;
        let marks = Marks::of(&alias, config.layout.replicas);
        let several = opened.shards > 1;
        let all = [capability::SHARED, capability::DURABLE, capability::FENCED, capability::GLOBAL_STATISTICS];
        let capabilities = Capabilities::from_iter(all.into_iter().chain([capability::POINT_IN_TIME]));
        let preference = preference(alias.as_str());
        Ok(Self {
            client: Arc::new(client),
            origin: (config.clone(), name.clone()),
            schema: Arc::clone(schema),
            capabilities: if several { capabilities.without(capability::GLOBAL_STATISTICS) } else { capabilities },
            search_path: search_path(alias.as_str(), &preference, several),
            preference,
            several,
            place: format!("opensearch {config}/{alias}"),
            deadline: config.timing.total,
            alias,
            index: opened.index,
            looked: Mutex::new(looked),
            closed: Arc::default(),
            writes: Writes::new(error::BACKEND),
            marks,
            retention: config.layout.delete_retention,
        })
    }

    /// What the index must be like.
    fn wanted(&self) -> open::Wanted<'_> {
        open::Wanted { alias: &self.alias, schema: &self.schema, retention: self.retention }
    }

    /// Succeeds if the alias still stands for the index that was opened, and that is as it was.
    async fn look(&self, limit: Duration) -> Result<()> {
        let now = Instant::now();
        let found = open::look_again(&self.client, self.wanted(), limit).await?;
        if let Some(found) = found {
            source::check_index(&self.index, Some(&found.index))?;
            found.check()?;
            *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(())
    }

    /// Stops a write into an index that somebody has changed. One that is gone or silent says so itself.
    async fn check_shape(&self, deadline: Instant) -> Result<()> {
        let seen = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.elapsed() < LOOK_AGAIN {
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
        check_open(&self.closed)
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

    async fn bulk_shared(
        &self,
        operations: &Arc<Vec<Operation>>,
        is_long: bool,
        options: &BulkOptions,
    ) -> Result<Vec<Outcome>> {
        self.check_open()?;
        if options.reach == Reach::Own {
            let message = "an index on OpenSearch has one generation";
            return Err(Error::new(ErrorKind::Unsupported, message).with_backend(error::BACKEND));
        }
        let deadline = client::deadline(options.deadline.unwrap_or(self.deadline));
        let left = || deadline.saturating_duration_since(Instant::now());
        let outcomes = if is_long {
            let (schema, operations) = (Arc::clone(&self.schema), Arc::clone(operations));
            away(Some(left()), move |stop| refusals(&schema, &operations, stop)).await?
        } else {
            refusals(&self.schema, operations, &Stop::default())?
        };
        if outcomes.iter().any(Option::is_none) {
            self.check_shape(deadline).await?;
        }
        let mut run = Run {
            client: &self.client,
            alias: self.alias.as_str(),
            operations,
            is_long,
            fence: options.fence.as_ref().map(|fence| (&self.marks, fence)),
            outcomes,
            deadline,
            in_doubt: HashSet::new(),
            requests: 0,
        };
        run.finish(options.refresh).await?;
        // The server does not refresh where all it was given is stale, which is also what a second try finds.
        let unseen = run.requests > 1 || run.outcomes.iter().any(|outcome| matches!(outcome, Some(Outcome::Stale)));
        if unseen && options.refresh != Refresh::None {
            // What was written is not in doubt, only whether it can be found.
            self.refresh_all(run.left()).await.map_err(|error| error::of_doubt(Effect::Once, error))?;
        }
        Ok(run.outcomes.into_iter().map(|outcome| outcome.expect("each was refused or sent")).collect())
    }

    async fn get_one(&self, id: &DocumentId, options: &GetOptions) -> Result<Option<Record>> {
        self.check_open()?;
        let start = Instant::now();
        let left = || options.deadline.unwrap_or(self.deadline).saturating_sub(start.elapsed());
        let body = json!({ "docs": [{ "_id": id.as_str() }] });
        let call = Call::ask(format!("/{}/_mget", self.alias), &body).within(options.deadline);
        let answer = self.client.send(&call).await?;
        if answer.len() <= SHORT_ANSWER {
            return found(&self.schema, &self.index, id, &answer);
        }
        let (schema, index, id) = (Arc::clone(&self.schema), self.index.clone(), id.clone());
        away(Some(left()), move |_| found(&schema, &index, &id, &answer)).await
    }

    async fn search_of(&self, request: &SearchRequest, options: &SearchOptions) -> Result<SearchResponse> {
        self.check_open()?;
        let start = Instant::now();
        let size = Size::of_request(request)?;
        let (mut call, of) = if size.is_small() {
            search::call(&self.schema, &self.search_path, request, size)?
        } else {
            let (schema, path, request) = (Arc::clone(&self.schema), self.search_path.clone(), request.clone());
            away(None, move |_| search::call(&schema, &path, &request, size)).await?
        };
        let left = || options.deadline.unwrap_or(self.deadline).saturating_sub(start.elapsed());
        let (mut limit, mut onward) = (options.deadline, Onward::new(None, request.size));
        loop {
            let answer = self.client.send(&call.within(limit)).await?;
            let response;
            (response, onward) = self.response_of((request, of), onward, answer, left()).await?;
            if let Some(response) = response {
                tell_of_foreign(response.skipped);
                return Ok(response);
            }
            let (schema, path, request) = (Arc::clone(&self.schema), self.search_path.clone(), request.clone());
            let from = onward.clone();
            call = away(Some(left()), move |_| search::call_from((&schema, &path), &request, size, &from)).await?;
            limit = Some(left());
        }
    }

    async fn response_of(
        &self,
        (request, of): (&SearchRequest, u64),
        mut onward: Onward,
        answer: Bytes,
        left: Duration,
    ) -> Result<(Option<SearchResponse>, Onward)> {
        if request.highlight.is_empty() && answer.len() <= SHORT_ANSWER {
            let (of, asked) = ((&*self.schema, of), (request, &mut onward));
            let response = search::response(of, &self.index, asked, &answer, &Stop::default())?;
            return Ok((response, onward));
        }
        // Reading and marking grow with the documents, so they have their own thread and what is left of the deadline.
        let (schema, index, request) = (Arc::clone(&self.schema), self.index.clone(), request.clone());
        let read = move |stop: &Stop| {
            let response = search::response((&schema, of), &index, (&request, &mut onward), &answer, stop)?;
            Ok((response, onward))
        };
        away(Some(left), read).await
    }

    async fn count_of(&self, query: &Query, options: &SearchOptions) -> Result<u64> {
        self.check_open()?;
        let size = Size::of([query])?;
        let path = format!("/{}/_count", self.alias);
        let call = if size.is_small() {
            search::count_call(&self.schema, path, query, size)?
        } else {
            let (schema, query) = (Arc::clone(&self.schema), query.clone());
            away(None, move |_| search::count_call(&schema, path, &query, size)).await?
        };
        let answer: search::Count = self.client.read(&call.within(options.deadline)).await?;
        answer.check()
    }

    async fn refresh_all(&self, limit: Option<Duration>) -> Result<()> {
        let call = Call::ask(format!("/{}/_refresh", self.alias), &json!({})).within(limit);
        let answer: search::Sharded = self.client.read(&call).await?;
        if answer.check()? {
            return Ok(());
        }
        // A copy that is not there needs no refresh; a shard without any does.
        let call = Call::get(Shards::path(self.alias.as_str(), "timeout=1s")).within(limit);
        let shards: Shards = self.client.read(&call).await?;
        if shards.all_serve() { Ok(()) } else { Err(error::of_missing_shard()) }
    }
}

/// The record that an answer has, with what is stored of it.
fn found(schema: &Schema, index: &str, id: &DocumentId, answer: &[u8]) -> Result<Option<Record>> {
    let record = source::found(schema, index, id, answer)?;
    Ok(record.map(|record| source::project(record, schema, &Projection::All)))
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

fn tell_of_foreign(skipped: u64) {
    if skipped > 0 {
        tracing::warn!(name: "search.foreign", skipped, "hits that are none of the index's are left out");
    }
}

fn check_open(closed: &AtomicBool) -> Result<()> {
    if !closed.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, "the index is closed").with_retry(Retry::Never))
}

fn preference(alias: &str) -> String {
    format!("statehouse{:016x}", RandomState::new().hash_one(alias))
}

fn search_path(alias: &str, preference: &str, several_shards: bool) -> String {
    // Term statistics of all shards are gathered first, so that scores do not depend on the shard.
    let kind = if several_shards { "&search_type=dfs_query_then_fetch" } else { "" };
    format!("/{alias}/_search?allow_partial_search_results=false&preference={preference}{kind}")
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

    async fn refresh_with(&self, options: RefreshOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.refresh.during(self.refresh_all(options.deadline)).await
    }

    async fn merge_with(&self, options: MergeOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.merge.during(within(options.deadline, merge::all(&self.client, self.alias.as_str()))).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.check_open()?;
        OPERATION.raise.during(self.marks.raise(&self.client, fence, options.deadline)).await
    }

    async fn diff_with(&self, wanted: &Schema, options: EnsureOptions) -> Result<SchemaDiff> {
        self.check_open()?;
        let stored = OPERATION.diff.during(open::stored(&self.client, &self.alias, options.deadline)).await?;
        Ok(stored.ok_or_else(error::of_gone)?.diff(wanted))
    }

    async fn ensure_with(&self, wanted: Arc<Schema>, options: EnsureOptions) -> Result<Arc<dyn SearchIndex>> {
        self.check_open()?;
        let (config, name) = &self.origin;
        let opened = within(options.deadline, Self::open_shared(config, name, &wanted));
        let opened = OPERATION.ensure.during(opened).await.map_err(|error| placed(error, config))?;
        Ok(Arc::new(Self { closed: Arc::clone(&self.closed), ..opened }))
    }

    async fn health(&self) -> Health {
        if let Err(error) = self.check_open() {
            return Health::of(&self.place, Duration::ZERO, Err(error.with_backend(error::BACKEND)));
        }
        let shape = self.look(health::LIMIT);
        let asked = health::Asked { alias: self.alias.as_str(), index: &self.index, place: &self.place };
        health::ask(&self.client, asked, shape).await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}
