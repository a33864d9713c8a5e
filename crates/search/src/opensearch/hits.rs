//! A point in time of the server, for who reads all hits of a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::Result;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::{Call, Client, OPERATION};
use super::handle::check_open;
use super::onward::Onward;
use super::reading::tell_of_foreign;
use super::search::{self, Sharded};
use super::{OpenSearchIndex, error};
use crate::cursor::Cursor;
use crate::lease::{Lease, gone};
use crate::print::print;
use crate::size::Size;
use crate::work::away;
use crate::{HitPage, HitPages, Hits, HitsOptions, Schema, SearchRequest, Total};

const PATH: &str = "/_search/point_in_time";

/// How long it may take to tell the server that nobody needs a point in time any more. It finds out itself in the end.
const CLOSING: Duration = Duration::from_secs(5);

impl OpenSearchIndex {
    /// The state that searches see now, held for the hits of a request.
    pub(super) async fn hold(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        let start = Instant::now();
        self.check_open()?;
        let request = options.request(request)?;
        let size = Size::of_request(&request)?;
        let after = request.after.clone();
        let deadline = options.deadline.unwrap_or(self.deadline);
        let left = options.deadline.map(|deadline| deadline.saturating_sub(start.elapsed()));
        let keep_alive = format!("{}ms", options.keep_alive.as_millis());
        // Before anything is held for it, it is known to be possible.
        let (schema, several) = (Arc::clone(&self.schema), self.home(deadline).await?.several);
        let asked = away(None, move |_| Asked::new(schema, request, several, size)).await?;
        let mut reading = self.reading(left)?;
        let (opened, home) = loop {
            let home = reading.home().await?;
            let path = format!(
                "/{}{PATH}?keep_alive={keep_alive}&allow_partial_pit_creation=false&preference={}",
                home.address, self.preference
            );
            let done = self.client.send(&Call::act(path).within(left)).await;
            if let Some(opened) = reading.settle(&home, done).await? {
                break (opened, home);
            }
        };
        let Opened { id, sharded } = serde_json::from_slice(&opened).map_err(error::of_broken_body)?;
        let point = Point { client: Arc::clone(&self.client), id };
        // One that lacks a shard is closed where it is dropped.
        sharded.check_all()?;
        let lease = Lease::new(point, options.keep_alive);
        let (closed, name) = (Arc::clone(&self.ground.closed), home.index.clone());
        let asked = Arc::new(asked);
        let pages = Pages { lease, asked, name, closed, keep_alive, deadline, total: None };
        Ok(Hits::new(Box::new(pages), after))
    }
}

#[derive(Deserialize)]
struct Opened {
    #[serde(rename = "pit_id")]
    id: String,
    #[serde(flatten)]
    sharded: Sharded,
}

/// A point in time: the server is told when nobody has it any more.
#[derive(Debug)]
struct Point {
    client: Arc<Client>,
    id: String,
}

impl Point {
    fn call(&self) -> Call {
        Call::end(PATH, &json!({ "pit_id": [self.id] })).within(Some(CLOSING))
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        if let Ok(runtime) = Handle::try_current()
            && !self.id.is_empty()
        {
            let (client, call) = (Arc::clone(&self.client), self.call());
            runtime.spawn(async move { client.send(&call).await });
        }
    }
}

/// What each page asks.
struct Asked {
    schema: Arc<Schema>,
    request: SearchRequest,
    /// The request that cursors are of.
    of: u64,
    body: Json,
    path: &'static str,
}

/// Without the body, which has the values that are looked for.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Asked {
    fn new(schema: Arc<Schema>, request: SearchRequest, several_shards: bool, size: Size) -> Result<Self> {
        let terms = schema.terms_of_request(&request, size)?;
        // Counted in full, whatever is asked for: another total is that of another state.
        let request = request.with_total(Total::Exact);
        let body = search::body(&schema, &request, terms)?;
        let of = print(&schema, &request);
        let path = if several_shards {
            "/_search?allow_partial_search_results=false&search_type=dfs_query_then_fetch"
        } else {
            "/_search?allow_partial_search_results=false"
        };
        Ok(Self { schema, request, of, body, path })
    }

    fn call(&self, pit: Json, onward: &Onward) -> Call {
        let mut body = self.body.clone();
        body["pit"] = pit;
        onward.write(&mut body);
        Call::ask(self.path, &body)
    }
}

#[derive(Debug)]
struct Pages {
    lease: Lease<Point>,
    asked: Arc<Asked>,
    /// Of the index that was opened.
    name: String,
    closed: Arc<AtomicBool>,
    keep_alive: String,
    /// Of each page.
    deadline: Duration,
    /// How many hits there are, once that is known.
    total: Option<u64>,
}

impl Pages {
    async fn next(&mut self, after: Option<&Cursor>) -> Result<HitPage> {
        check_open(&self.closed)?;
        let point = self.lease.get()?;
        let start = Instant::now();
        let mut onward = Onward::new(self.place(after).await?, self.asked.request.size);
        loop {
            let left = self.deadline.saturating_sub(start.elapsed());
            let page;
            (page, onward) = self.ask(&point, onward, left).await?;
            if let Some(page) = page {
                tell_of_foreign(page.skipped);
                return Ok(page);
            }
        }
    }

    /// The place of a cursor, in the server's own words.
    async fn place(&self, after: Option<&Cursor>) -> Result<Option<Json>> {
        let Some(cursor) = after.cloned() else { return Ok(None) };
        let asked = Arc::clone(&self.asked);
        away(Some(self.deadline), move |_| search::after(&asked.schema, &asked.request, &cursor)).await.map(Some)
    }

    async fn ask(&mut self, point: &Point, onward: Onward, left: Duration) -> Result<(Option<HitPage>, Onward)> {
        let start = Instant::now();
        let (asked, pit) = (Arc::clone(&self.asked), json!({ "id": point.id, "keep_alive": self.keep_alive }));
        let (call, mut onward) = away(Some(left), move |_| Ok((asked.call(pit, &onward), onward))).await?;
        let rest = || left.saturating_sub(start.elapsed());
        let answer = point.client.exchange(&call.within(Some(rest()))).await?;
        // The point in time went with its index or its node.
        if answer.lacks_state() {
            return Err(gone().with_backend(error::BACKEND));
        }
        let answer = answer.into_body().map_err(|error| point.client.name_setting(error))?;
        let (asked, name) = (Arc::clone(&self.asked), self.name.clone());
        let found = away(Some(rest()), move |stop| {
            let of = (&*asked.schema, asked.of);
            search::found(of, &name, (&asked.request, &mut onward), &answer, stop).map(|found| (found, onward))
        });
        let (found, onward) = found.await?;
        if *self.total.get_or_insert(found.total) == found.total {
            return Ok((found.page, onward));
        }
        Err(error::of_other_question("OpenSearch answered of another state of the index"))
    }
}

#[async_trait]
impl HitPages for Pages {
    async fn page(&mut self, after: Option<&Cursor>) -> Result<HitPage> {
        OPERATION.hits.during(self.next(after)).await
    }

    async fn close(&mut self) -> Result<()> {
        let Some(point) = self.lease.end() else { return Ok(()) };
        // Unless the server says that it knows, it is told once more when the point is dropped.
        OPERATION.hits.during(point.client.send(&point.call())).await?;
        if let Some(mut point) = Arc::into_inner(point) {
            point.id.clear();
        }
        Ok(())
    }
}
