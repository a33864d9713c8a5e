//! One state of the index, for who reads all hits of a request.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::Result;

use super::answer::hits;
use super::client::{Client, OPERATION};
use super::collect::{Window, top};
use super::counting::Counting;
use super::found::Found;
use super::snapshot::Snapshot;
use super::sought::{Sought, find};
use super::{DEADLINE, TantivyIndex, blocking};
use crate::cursor::Cursor;
use crate::lease::Lease;
use crate::size::Size;
use crate::work::Stop;
use crate::{End, Hit, HitPage, HitPages, Hits, HitsOptions, Schema, SearchRequest, Total};

/// How many hits are found at a time at most, of which a page returns the first: to find them takes one pass over all that
/// match, however many are wanted.
const AHEAD: usize = 10_000;

/// How many to find for pages of so many, where so many were found before: twice as many each time, for what they are sorted
/// by is read for each, and perhaps few of them are wanted.
fn how_far(page: usize, before: usize) -> usize {
    page.saturating_mul(4).max(before.saturating_mul(2)).min(AHEAD)
}

impl TantivyIndex {
    /// The state that searches see now, held for the hits of a request.
    pub(super) async fn hold(&self, request: &SearchRequest, options: HitsOptions) -> Result<Hits> {
        let request = options.request(request);
        let sized = request.and_then(|request| Size::of_request(&request).map(|size| (request, size)));
        let (request, size) = sized.map_err(|error| OPERATION.hits.name_in(error))?;
        let (after, deadline) = (request.after.clone(), options.deadline.unwrap_or(DEADLINE));
        let (owner, schema) = (self.clone(), Arc::clone(&self.schema));
        let hold = move |client: &Client, stop: &Stop| {
            client.check_open()?;
            Held::new(client.snapshot(), owner, schema, (request, size), stop)
        };
        let held = self.run(OPERATION.hits, Some(deadline), hold).await?;
        let lease = Lease::new(held, options.keep_alive);
        Ok(Hits::new(Box::new(Pages { lease, deadline }), after))
    }
}

#[derive(Debug)]
struct Pages {
    lease: Lease<Held>,
    deadline: Duration,
}

#[async_trait]
impl HitPages for Pages {
    async fn page(&mut self, after: Option<&Cursor>) -> Result<HitPage> {
        let held = self.lease.get().and_then(|held| held.index.shelf.check_open().map(|()| held));
        let held = held.map_err(|error| OPERATION.hits.name_in(error))?;
        let (state, after) = (Arc::clone(&held), after.cloned());
        let read = move |stop: &Stop| state.page(after.as_ref(), stop);
        held.index.noted(blocking(OPERATION.hits, Some(self.deadline), read).await)
    }

    async fn close(&mut self) -> Result<()> {
        drop(self.lease.end());
        Ok(())
    }
}

/// A snapshot that is kept, and the request as it was compiled for it.
struct Held {
    snapshot: Arc<Snapshot>,
    /// Held no longer than the snapshot: it keeps a folder locked.
    index: TantivyIndex,
    schema: Arc<Schema>,
    request: SearchRequest,
    sought: Sought,
    ahead: Mutex<Ahead>,
}

/// What was found and not returned yet.
#[derive(Default)]
struct Ahead {
    after: Option<Cursor>,
    found: VecDeque<Found>,
    /// Whether there is nothing behind these.
    last: bool,
    /// How many were looked for.
    size: usize,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Held {
    fn new(
        snapshot: Arc<Snapshot>,
        index: TantivyIndex,
        schema: Arc<Schema>,
        (request, size): (SearchRequest, Size),
        stop: &Stop,
    ) -> Result<Self> {
        let terms = schema.terms_of_request(&request, size)?;
        let sought = find(&snapshot, &request, terms, stop)?.ranked(&snapshot, stop)?;
        Ok(Self { snapshot, index, schema, request, sought, ahead: Mutex::default() })
    }

    fn page(&self, after: Option<&Cursor>, stop: &Stop) -> Result<HitPage> {
        let size = usize::try_from(self.request.size).unwrap_or(usize::MAX);
        let mut kept = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a page that is not finished nothing is kept: it may be asked for again.
        let mut ahead = std::mem::take(&mut *kept);
        if ahead.found.is_empty() || ahead.after.as_ref() != after {
            ahead = self.look_ahead(after, how_far(size, ahead.size), stop)?;
        }
        let page = ahead.found.drain(..size.min(ahead.found.len()));
        let hits = hits((&self.schema, &self.snapshot), &self.request, page, stop)?;
        let end = if ahead.last && ahead.found.is_empty() { End::Reached } else { End::Ahead };
        ahead.after = hits.last().map(Hit::cursor);
        *kept = ahead;
        Ok(HitPage { hits, skipped: 0, end })
    }

    fn look_ahead(&self, after: Option<&Cursor>, size: usize, stop: &Stop) -> Result<Ahead> {
        // Nobody is told a total.
        let total = Total::AtLeast(0);
        let window = Window { sort: &self.request.sort, after, size, collapse: None, total };
        let mut counting = Counting::none(&self.snapshot);
        let (_, found) = top(&self.snapshot, &self.sought, window, &mut counting, stop)?;
        Ok(Ahead { after: None, last: found.len() < size, found: found.into(), size })
    }
}

#[cfg(test)]
mod tests {
    use super::how_far;

    #[test]
    fn who_wants_few_hits_pays_for_few() {
        assert_eq!([how_far(1, 0), how_far(1, 4), how_far(1, 8)], [4, 8, 16]);
        assert_eq!([how_far(1_000, 0), how_far(1_000, 8_000), how_far(10_000, 0)], [4_000, 10_000, 10_000]);
    }
}
