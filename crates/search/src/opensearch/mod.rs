//! A search index on OpenSearch.

mod bulk;
mod client;
mod config;
mod error;
mod mapping;
mod nodes;
mod open;
mod query;
mod search;
mod source;
mod tls;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, HealthStatus, Namespace, Result, Retry};
use tokio::time::Instant;
use tracing::Instrument as _;

use self::bulk::Run;
use self::client::{Call, Client};
pub use self::config::OpenSearchConfig;
use self::error::Effect;
use crate::limits::Size;
use crate::work::{Stop, away};
use crate::{
    BulkOptions, BulkReport, DocumentId, Operation, Outcome, Projection, Query, Record, Refresh, Schema, SearchIndex,
    SearchOptions, SearchRequest, SearchResponse, capability,
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
/// # What it does on the server
/// The name is an alias; the documents are in an index called `{name}-000001`, which is created with the schema's
/// mapping if the alias is missing. Writes go through the alias only, so that a deleted index is an error and is not
/// made again by the server with guessed types.
///
/// # Behavior beyond the contract
/// - **Retries.** Connection failures, 429 and 503 are tried again on the next node, with growing random pauses, within
///   the deadline and a budget; behind a broken connection at once and on a new one. A request that may have been
///   applied is sent again only if every operation in it has a version; an operation that was applied the first time is
///   then [`Stale`](Outcome::Stale) the second time.
/// - **Large bulks** are sent in parts of 8 MiB, one after the other. If a later part fails as a whole, its operations
///   are [`Failed`](Outcome::Failed) one by one.
/// - **A versioned delete** refuses older documents for as long as `delete_trace` says.
/// - **Pages.** One handle asks the same copy of a shard each time, as long as that copy is there, so that pages fit
///   together. Copies may rank differently while they hold different deleted documents.
#[derive(Debug)]
pub struct OpenSearchIndex {
    client: Client,
    alias: Namespace,
    schema: Arc<Schema>,
    capabilities: Capabilities,
    search_path: String,
    place: String,
    deadline: Duration,
    closed: AtomicBool,
}

impl OpenSearchIndex {
    /// Opens the index of this name, and creates it if there is none.
    ///
    /// # Errors
    /// `InvalidConfig`, `Unauthenticated` and `Unavailable` name the setting to look at. `Conflict` means that the index
    /// was created with another schema, or that the server analyses text in another way than we do.
    pub async fn open(config: OpenSearchConfig, name: &Namespace, schema: impl Into<Arc<Schema>>) -> Result<Self> {
        let schema = schema.into();
        during("search.open", Self::open_shared(&config, name, &schema)).await
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
        during("search.open", checked).await
    }

    async fn open_shared(config: &OpenSearchConfig, name: &Namespace, schema: &Arc<Schema>) -> Result<Self> {
        config.check()?;
        let alias = config.alias(name)?;
        let client = Client::new(config)?;
        open::check_server(&client, config).await?;
        let opened = open::index(&client, config, alias.as_str(), schema).await;
        let opened = opened.map_err(|error| client.name_setting(error))?;
        let several = opened.shards > 1;
        let all = [capability::SHARED, capability::PERSISTENT, capability::GLOBAL_STATISTICS];
        let capabilities = Capabilities::from_iter(all);
        Ok(Self {
            client,
            schema: Arc::clone(schema),
            capabilities: if several { capabilities.without(capability::GLOBAL_STATISTICS) } else { capabilities },
            search_path: search_path(alias.as_str(), several),
            place: format!("opensearch {config}/{alias}"),
            deadline: config.timing.total,
            alias,
            closed: AtomicBool::new(false),
        })
    }

    fn check_open(&self) -> Result<()> {
        if !self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "the index is closed").with_retry(Retry::Never))
    }

    async fn bulk_of(&self, operations: &[Operation], options: &BulkOptions) -> Result<Vec<Outcome>> {
        self.check_open()?;
        let mut run = Run {
            client: &self.client,
            alias: self.alias.as_str(),
            operations,
            outcomes: operations.iter().map(|operation| self.refusal(operation)).collect(),
            deadline: Instant::now() + options.timeout.unwrap_or(self.deadline),
            requests: 0,
        };
        run.finish(options.refresh).await?;
        // The server does not refresh where all it was given is stale, which is also what a second try finds.
        let unseen = run.requests > 1 || run.outcomes.iter().any(|outcome| matches!(outcome, Some(Outcome::Stale)));
        if unseen && options.refresh != Refresh::None {
            // What was written is not in doubt, only whether it can be found.
            self.refresh_all().await.map_err(|error| error::of_doubt(Effect::Once, error))?;
        }
        Ok(run.outcomes.into_iter().map(|outcome| outcome.expect("each was refused or sent")).collect())
    }

    fn refusal(&self, operation: &Operation) -> Option<Outcome> {
        let refused = |error: Error| Outcome::Failed(error.with_backend(error::BACKEND));
        self.schema.check_operation(operation).err().map(refused)
    }

    async fn get_one(&self, id: &DocumentId) -> Result<Option<Record>> {
        self.check_open()?;
        let body = json!({ "docs": [{ "_id": id.as_str() }] });
        let call = Call::ask(format!("/{}/_mget", self.alias), &body);
        let answer = self.client.send(&call).await?;
        let record = source::found(&self.schema, &answer)?;
        Ok(record.map(|record| source::project(record, &self.schema, &Projection::All)))
    }

    async fn search_of(&self, request: &SearchRequest, options: &SearchOptions) -> Result<SearchResponse> {
        self.check_open()?;
        let start = Instant::now();
        let size = Size::of_request(request)?;
        let call = if size.is_small() {
            search::call(&self.schema, &self.search_path, request, size)?
        } else {
            let (schema, path, request) = (Arc::clone(&self.schema), self.search_path.clone(), request.clone());
            away(None, move |_| search::call(&schema, &path, &request, size)).await?
        };
        let answer = self.client.send(&call.within(options.timeout)).await?;
        if request.highlight.is_empty() && answer.len() <= SHORT_ANSWER {
            return search::response(&self.schema, request, &answer, &Stop::default());
        }
        // Reading and marking grow with the documents, so they have their own thread and what is left of the deadline.
        let left = options.timeout.unwrap_or(self.deadline).saturating_sub(start.elapsed());
        let (schema, request) = (Arc::clone(&self.schema), request.clone());
        away(Some(left), move |stop| search::response(&schema, &request, &answer, stop)).await
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
        let answer: search::Count = self.client.read(&call.within(options.timeout)).await?;
        answer.check()
    }

    async fn refresh_all(&self) -> Result<()> {
        let call = Call::ask(format!("/{}/_refresh", self.alias), &json!({}));
        let answer: search::Sharded = self.client.read(&call).await?;
        answer.check()
    }

    async fn probe(&self) -> Result<ClusterHealth> {
        self.check_open()?;
        self.client.read(&Call::get(format!("/_cluster/health/{}?timeout=1s", self.alias))).await
    }
}

#[derive(Deserialize)]
struct ClusterHealth {
    status: String,
}

/// How long an answer may be to be read in place, in bytes: a fraction of a millisecond.
const SHORT_ANSWER: usize = 64 << 10;

fn search_path(alias: &str, several_shards: bool) -> String {
    let copy = RandomState::new().hash_one(alias);
    // Term statistics of all shards are gathered first, so that scores do not depend on the shard.
    let kind = if several_shards { "&search_type=dfs_query_then_fetch" } else { "" };
    format!("/{alias}/_search?allow_partial_search_results=false&preference=statehouse{copy:016x}{kind}")
}

/// Does the work of one operation, seen in traces and named in its error.
async fn during<T>(operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let span = tracing::debug_span!("statehouse.search", operation, db.system.name = error::BACKEND);
    let result = work.instrument(span).await;
    result.map_err(|error| error.with_backend(error::BACKEND).with_operation(operation))
}

#[async_trait]
impl SearchIndex for OpenSearchIndex {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        during("search.bulk", self.bulk_of(&operations, &options)).await.map(BulkReport::new)
    }

    async fn get(&self, id: &DocumentId) -> Result<Option<Record>> {
        during("search.get", self.get_one(id)).await
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        during("search.query", self.search_of(request, &options)).await
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        during("search.count", self.count_of(query, &options)).await
    }

    async fn refresh(&self) -> Result<()> {
        self.check_open()?;
        during("search.refresh", self.refresh_all()).await
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let probe = during("search.health", self.probe()).await;
        let red = matches!(&probe, Ok(health) if health.status == "red");
        let mut health = Health::of(&self.place, start.elapsed(), probe.map(drop));
        if red {
            health.status = HealthStatus::Degraded;
            health.error = Some(error::of_missing_shard());
        }
        health
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}
