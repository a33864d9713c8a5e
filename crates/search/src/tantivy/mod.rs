//! The embedded backend: tantivy, in memory or in a folder.

mod client;
mod collect;
mod config;
mod error;
mod expand;
mod facet;
mod mapping;
mod plan;
mod scorer;
mod snapshot;
mod tokens;
mod weight;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result};

use self::client::Client;
pub use self::config::TantivyConfig;
use self::error::BACKEND;
use self::mapping::Wanted;
use crate::{
    BulkOptions, BulkReport, DocumentId, Durability, Hit, Operation, Projection, Query, Record, Refresh, Schema,
    SearchIndex, SearchOptions, SearchRequest, SearchResponse, capability, highlight,
};

/// An index in this process: in memory, or in a folder that no other process writes to.
///
/// A search without facets for one of the first 100 hits that reads at most 50,000 postings runs in place, which takes microseconds;
/// others, and all writes, run on the runtime's blocking threads. Terms, also similar ones, are looked up in place. A `Queued` write is committed within the configured interval.
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
}

/// How many postings a search may read in place: about a quarter of a millisecond.
const SHORT: u64 = 50_000;

/// How many hits a search may rank in place.
const SHORT_WINDOW: u64 = 100;

impl TantivyIndex {
    pub(super) async fn open(config: TantivyConfig, schema: Schema) -> Result<Self> {
        config.check()?;
        let place = match &config.folder {
            Some(folder) => format!("tantivy {}", folder.display()),
            None => "tantivy in memory".to_owned(),
        };
        let persistent = config.folder.is_some().then_some(capability::PERSISTENT);
        let commit_interval = config.commit_interval;
        let client = blocking("search.open", move || Client::open(config, Arc::new(schema))).await?;
        Ok(Self {
            client: Arc::new(client),
            capabilities: Arc::new([capability::GLOBAL_STATISTICS].into_iter().chain(persistent).collect()),
            place: place.into(),
            commit_interval,
            scheduled: Arc::default(),
        })
    }

    /// Runs work on the client away from the async threads.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        work: impl FnOnce(&Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.client);
        let work = blocking(operation, move || work(&client));
        let Some(timeout) = timeout else { return work.await };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(timed_out(operation)))
    }

    /// Sees to it that queued writes are committed soon, once for all that are queued until then.
    fn schedule_commit(&self) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let (client, scheduled, interval) =
            (Arc::clone(&self.client), Arc::clone(&self.scheduled), self.commit_interval);
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            scheduled.store(false, Ordering::Release);
            if let Err(error) = blocking("search.commit", move || client.refresh()).await {
                tracing::error!(error = %error, "queued writes could not be committed");
            }
        });
    }
}

#[async_trait]
impl SearchIndex for TantivyIndex {
    fn schema(&self) -> &Arc<Schema> {
        &self.client.mapping.schema
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn bulk_with(&self, operations: Vec<Operation>, options: BulkOptions) -> Result<BulkReport> {
        let queued = options.durability == Durability::Queued && options.refresh == Refresh::None;
        let write = move |client: &Client| client.bulk(operations, options.durability, options.refresh);
        // A write that began cannot be taken back, so a deadline leaves its outcome open.
        let outcomes = self.run("search.bulk", options.timeout, write).await.map_err(|error| match error.kind() {
            ErrorKind::Timeout => Error::new(ErrorKind::OutcomeUnknown, "the bulk went on past its deadline")
                .with_backend(BACKEND)
                .with_operation("search.bulk"),
            _ => error,
        })?;
        if queued {
            self.schedule_commit();
        }
        Ok(BulkReport::new(outcomes))
    }

    async fn get(&self, id: &DocumentId) -> Result<Option<Record>> {
        self.client.check_open()?;
        self.client.get(id).map_err(|error| error.with_operation("search.get").with_key(id.as_str()))
    }

    async fn search_with(&self, request: &SearchRequest, options: SearchOptions) -> Result<SearchResponse> {
        let named = |error: Error| error.with_operation("search.search");
        self.client.check_open().and_then(|()| self.schema().check_request(request)).map_err(named)?;
        let snapshot = self.client.snapshot();
        let node = plan::plan(&snapshot, &request.query, &request.filters).map_err(named)?;
        let weight = weight::weigh(&snapshot, node, 1.0).map_err(named)?;
        let short = request.from + request.size <= SHORT_WINDOW && request.facets.is_empty();
        if short && weight.cost(&snapshot) <= SHORT {
            let span = tracing::debug_span!("statehouse.search", operation = "search.search", backend = BACKEND);
            return span.in_scope(|| search(&self.client, &snapshot, &weight, request)).map_err(named);
        }
        let request = request.clone();
        let work = move |client: &Client| search(client, &snapshot, &weight, &request);
        self.run("search.search", options.timeout, work).await
    }

    async fn count_with(&self, query: &Query, options: SearchOptions) -> Result<u64> {
        let named = |error: Error| error.with_operation("search.count");
        self.client.check_open().and_then(|()| self.schema().check_query(query)).map_err(named)?;
        let query = query.clone();
        let work = move |client: &Client| {
            let snapshot = client.snapshot();
            let weight = weight::weigh(&snapshot, plan::plan(&snapshot, &query, &[])?, 1.0)?;
            collect::count(&snapshot, &weight)
        };
        self.run("search.count", options.timeout, work).await
    }

    async fn refresh(&self) -> Result<()> {
        self.run("search.refresh", None, Client::refresh).await
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let probe = self.client.check_open();
        Health::of(&*self.place, start.elapsed(), probe)
    }

    async fn close(&self) -> Result<()> {
        self.run("search.close", None, Client::close).await
    }
}

fn search(
    client: &Client,
    snapshot: &snapshot::Snapshot,
    weight: &weight::Weight,
    request: &SearchRequest,
) -> Result<SearchResponse> {
    let window = usize::try_from(request.from + request.size).unwrap_or(usize::MAX);
    let wanted_window = if request.size == 0 { 0 } else { window };
    let (total, found) = collect::top(snapshot, weight, &request.sort, wanted_window)?;
    let skipped = usize::try_from(request.from).unwrap_or(usize::MAX);
    let wanted = match &request.projection {
        // Highlighting needs the text, whatever is returned.
        _ if !request.highlight.is_empty() => Wanted::All,
        Projection::All => Wanted::All,
        Projection::Id => Wanted::None,
        Projection::Fields(names) => Wanted::Fields(names),
    };
    let marker = highlight::Marker::new(&client.mapping.schema, request)?;
    let hits = found.into_iter().skip(skipped).map(|found| {
        let sort = found.sort_values(snapshot, &request.sort);
        let record = client.hit(snapshot, &found, wanted)?;
        let highlights = marker.mark(&record);
        let mut hit = Hit::new(request.projection.apply(record), found.score);
        hit.sort = sort;
        hit.highlights = highlights;
        Ok(hit)
    });
    let mut response = SearchResponse::new(total, hits.collect::<Result<_>>()?);
    response.facets = facet::count(snapshot, weight, &request.facets)?;
    Ok(response)
}

/// Runs work on the runtime's blocking threads.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let span = tracing::debug_span!("statehouse.search", operation, backend = BACKEND);
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    let failed = |error| Error::new(ErrorKind::Unexpected, "the work was abandoned").with_source(error);
    done.map_err(failed)
        .and_then(|result| result)
        .map_err(|error| error.with_backend(BACKEND).with_operation(operation))
}

fn timed_out(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, "the deadline passed").with_backend(BACKEND).with_operation(operation)
}
