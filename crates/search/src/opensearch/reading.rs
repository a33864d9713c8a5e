//! Reads, of whichever generation there is when they are answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use statehouse_core::Result;
use tokio::time::{Instant, sleep};

use super::client::{self, Call, SHORT_ANSWER};
use super::generations::Home;
use super::onward::Onward;
use super::{OpenSearchIndex, error, search, source};
use crate::size::Size;
use crate::work::{Stop, away};
use crate::{DocumentId, GetOptions, Projection, Query, Record, Schema, SearchOptions, SearchRequest, SearchResponse};

/// A read that follows generations that come and go.
pub(super) struct Reading<'a> {
    index: &'a OpenSearchIndex,
    until: Instant,
    /// Whether a generation was looked for that is where it was, and was not there.
    stayed: bool,
}

/// How long a node may take to know of a change of the generations that another one has told of.
const SOON: Duration = Duration::from_millis(50);

impl Reading<'_> {
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(super) async fn home(&self) -> Result<Arc<Home>> {
        self.index.home(self.left()).await
    }

    /// What was read. Nothing if it is to be read again, for the generation is no more where it was asked for. That is held against
    /// what is known by now: another request may have looked since, and then nothing is new to a look of this one.
    pub(super) async fn settle<T>(&mut self, home: &Arc<Home>, done: Result<T>) -> Result<Option<T>> {
        let gone = match done {
            Err(error) if error::is_gone(&error) => error,
            done => return done.map(Some),
        };
        if self.index.seen().view.set != home.set {
            return Ok(None);
        }
        self.index.forget(home);
        let Some(now) = self.index.look(self.left()).await? else { return Err(gone) };
        if now.set != home.set {
            return Ok(None);
        }
        // It may have come and gone in between, and a node may not know yet: once more, and no oftener.
        if std::mem::replace(&mut self.stayed, true) {
            return Err(gone);
        }
        sleep(SOON.min(self.left())).await;
        Ok(None)
    }
}

impl OpenSearchIndex {
    /// A read of the generation that is used.
    pub(super) fn reading(&self, limit: Option<Duration>) -> Result<Reading<'_>> {
        self.check_open()?;
        Ok(Reading { index: self, until: client::deadline(limit.unwrap_or(self.deadline)), stayed: false })
    }

    pub(super) async fn get_one(&self, id: &DocumentId, options: &GetOptions) -> Result<Option<Record>> {
        let body = json!({ "docs": [{ "_id": id.as_str() }] });
        let mut reading = self.reading(options.deadline)?;
        loop {
            let home = reading.home().await?;
            let done = self.get_in(&home, (id, &body), reading.left()).await;
            if let Some(found) = reading.settle(&home, done).await? {
                return Ok(found);
            }
        }
    }

    async fn get_in(
        &self,
        home: &Arc<Home>,
        (id, body): (&DocumentId, &serde_json::Value),
        left: Duration,
    ) -> Result<Option<Record>> {
        let start = Instant::now();
        let call = Call::ask(format!("/{}/_mget", home.address), body).within(Some(left));
        let answer = self.client.send(&call).await?;
        if answer.len() <= SHORT_ANSWER {
            return found(&self.schema, &home.index, id, &answer);
        }
        let (schema, home, id) = (Arc::clone(&self.schema), Arc::clone(home), id.clone());
        away(Some(left.saturating_sub(start.elapsed())), move |_| found(&schema, &home.index, &id, &answer)).await
    }

    pub(super) async fn search_of(&self, request: &SearchRequest, options: &SearchOptions) -> Result<SearchResponse> {
        self.check_open()?;
        let size = Size::of_request(request)?;
        let mut reading = self.reading(options.deadline)?;
        loop {
            let home = reading.home().await?;
            let done = self.search_in(&home, (request, size), reading.left()).await;
            if let Some(found) = reading.settle(&home, done).await? {
                return Ok(found);
            }
        }
    }

    async fn search_in(
        &self,
        home: &Arc<Home>,
        (request, size): (&SearchRequest, Size),
        left: Duration,
    ) -> Result<SearchResponse> {
        let start = Instant::now();
        let (mut call, of) = if size.is_small() {
            search::call(&self.schema, &home.search_path, request, size)?
        } else {
            let (schema, home, request) = (Arc::clone(&self.schema), Arc::clone(home), request.clone());
            away(None, move |_| search::call(&schema, &home.search_path, &request, size)).await?
        };
        let left = || left.saturating_sub(start.elapsed());
        let mut onward = Onward::new(None, request.size);
        loop {
            let answer = self.client.send(&call.within(Some(left()))).await?;
            let response;
            (response, onward) = self.response_of((request, of), (home, onward), answer, left()).await?;
            if let Some(response) = response {
                tell_of_foreign(response.skipped);
                return Ok(response);
            }
            let (schema, home, request) = (Arc::clone(&self.schema), Arc::clone(home), request.clone());
            let from = onward.clone();
            let next = move |_: &Stop| search::call_from((&schema, &home.search_path), &request, size, &from);
            call = away(Some(left()), next).await?;
        }
    }

    async fn response_of(
        &self,
        (request, of): (&SearchRequest, u64),
        (home, mut onward): (&Arc<Home>, Onward),
        answer: Bytes,
        left: Duration,
    ) -> Result<(Option<SearchResponse>, Onward)> {
        if request.highlight.is_empty() && answer.len() <= SHORT_ANSWER {
            let (of, asked) = ((&*self.schema, of), (request, &mut onward));
            let response = search::response(of, &home.index, asked, &answer, &Stop::default())?;
            return Ok((response, onward));
        }
        // Reading and marking grow with the documents, so they have their own thread and what is left of the deadline.
        let (schema, home, request) = (Arc::clone(&self.schema), Arc::clone(home), request.clone());
        let read = move |stop: &Stop| {
            let response = search::response((&schema, of), &home.index, (&request, &mut onward), &answer, stop)?;
            Ok((response, onward))
        };
        away(Some(left), read).await
    }

    pub(super) async fn count_of(&self, query: &Query, options: &SearchOptions) -> Result<u64> {
        self.check_open()?;
        let size = Size::of([query])?;
        let mut reading = self.reading(options.deadline)?;
        loop {
            let home = reading.home().await?;
            let done = self.count_in(&home, (query, size), reading.left()).await;
            if let Some(counted) = reading.settle(&home, done).await? {
                return Ok(counted);
            }
        }
    }

    async fn count_in(&self, home: &Home, (query, size): (&Query, Size), left: Duration) -> Result<u64> {
        let path = format!("/{}/_count", home.address);
        let call = if size.is_small() {
            search::count_call(&self.schema, path, query, size)?
        } else {
            let (schema, query) = (Arc::clone(&self.schema), query.clone());
            away(None, move |_| search::count_call(&schema, path, &query, size)).await?
        };
        let answer: search::Count = self.client.read(&call.within(Some(left))).await?;
        answer.check()
    }
}

/// The record that an answer has, with what is stored of it.
fn found(schema: &Schema, index: &str, id: &DocumentId, answer: &[u8]) -> Result<Option<Record>> {
    let record = source::found(schema, index, id, answer)?;
    Ok(record.map(|record| source::project(record, schema, &Projection::All)))
}

pub(super) fn tell_of_foreign(skipped: u64) {
    if skipped > 0 {
        tracing::warn!(name: "search.foreign", skipped, "hits that are none of the index's are left out");
    }
}
