//! All hits of a request, one after another, of one state of the index.

use std::fmt::Debug;

use async_trait::async_trait;
use statehouse_core::Result;

use crate::cursor::Cursor;
use crate::print::print;
use crate::{Hit, Schema, SearchRequest};

/// All hits of a request, each once and in the order of pages, of one state of the index: that of the moment in which it was
/// opened, made by [`hits`](crate::SearchIndexExt::hits).
///
/// What is written, deleted, merged or put in the index's place meanwhile changes nothing in what it gives. It holds one page
/// in memory, and may besides hold what up to 10,000 further hits are sorted by. The state is held until the last page was fetched, until this is dropped, and for at most
/// [`keep_alive`](crate::HitsOptions::keep_alive) without the next page being asked for: it costs the disk what was deleted since, and keeps the folder of an index
/// in use. A page that fails or was not waited for counts as asked for, and the hits of a page that are handed out do not: the
/// work for `page_size` hits must be done within `keep_alive`. That time passes on the runtime in which the last page was asked for:
/// if that has ended, the state is held until this is used or dropped.
/// One that is no longer held, for this time is over, or the server has restarted or deleted the index, is a
/// [`Conflict`](statehouse_core::ErrorKind::Conflict), and never another state: who can do with one goes on behind the last
/// [`cursor`](Hit::cursor) from another opening.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
/// let shown = || BulkOptions::default().with_refresh(Refresh::Now);
/// let fever = |n: u32| Record::new(format!("{n:05}")).map(|record| Operation::Upsert(record.with("title", "Fever")));
/// index.bulk_with((0..12_000).map(fever).collect::<statehouse_core::Result<_>>()?, shown()).await?.check()?;
///
/// let request = SearchRequest::new(Query::matches("title", "fever")).with_projection(Projection::Id);
/// let mut hits = index.hits(&request).await?;
/// index.bulk_with(vec![fever(12_000)?], shown()).await?.check()?; // too late to be in it
/// let mut count = 0;
/// while let Some(hit) = hits.next().await? {
///     assert_eq!(hit.id().as_str(), format!("{count:05}"));
///     count += 1;
/// }
/// assert_eq!(count, 12_000);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "it holds a state of the index until it is read to its end or dropped"]
pub struct Hits {
    /// None behind the last page.
    pages: Option<Box<dyn HitPages>>,
    page: std::vec::IntoIter<Hit>,
    after: Option<Cursor>,
    skipped: u64,
}

impl Hits {
    /// All hits that a backend has pages of, behind the cursor if there is one.
    pub fn new(pages: Box<dyn HitPages>, after: Option<Cursor>) -> Self {
        Self { pages: Some(pages), page: Vec::new().into_iter(), after, skipped: 0 }
    }

    /// The same, of pages that something was put around.
    pub(crate) fn wrapped(self, by: impl FnOnce(Box<dyn HitPages>) -> Box<dyn HitPages>) -> Self {
        Self { pages: self.pages.map(by), ..self }
    }

    /// The next hit, or `None` behind the last. Dropping the future loses nothing, and ends the work for the page.
    ///
    /// # Errors
    /// What the backend says of a page; the next call asks for it again. `Conflict` if the state is no longer held.
    pub async fn next(&mut self) -> Result<Option<Hit>> {
        loop {
            if let Some(hit) = self.page.next() {
                return Ok(Some(hit));
            }
            let Some(pages) = &mut self.pages else { return Ok(None) };
            let page = pages.page(self.after.as_ref()).await?;
            self.skipped += page.skipped;
            self.after = page.hits.last().map(Hit::cursor).or(self.after.take());
            if page.end == End::Reached || page.hits.is_empty() {
                // The hits do not wait until the backend has let go of the state.
                self.pages = None;
            }
            self.page = page.hits.into_iter();
        }
    }

    /// How many hits were left out so far because something else than statehouse has written them into the index.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Lets go of the state, and waits until the backend has. Dropping does it too, and so has the last page, both without
    /// waiting.
    ///
    /// # Errors
    /// What the backend says; it lets go on its own behind `keep_alive`.
    pub async fn close(mut self) -> Result<()> {
        match self.pages.take() {
            Some(mut pages) => pages.close().await,
            None => Ok(()),
        }
    }
}

/// Some of all hits.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend makes it, of all of its parts")]
pub struct HitPage {
    /// In order; of an empty one, nothing comes behind.
    pub hits: Vec<Hit>,
    /// How many were left out between the one before and the last of these.
    pub skipped: u64,
    /// Whether there are more.
    pub end: End,
}

impl HitPage {
    /// Lets its hits give cursors of this request; a backend that was not made here calls it last. The example of [`HitPages`]
    /// shows it.
    #[must_use]
    pub fn with_cursors(mut self, schema: &Schema, request: &SearchRequest) -> Self {
        let of = print(schema, request);
        self.hits.iter_mut().for_each(|hit| hit.of = of);
        self
    }
}

/// Whether there is more behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is, or there is not")]
pub enum End {
    /// There is no more.
    Reached,
    /// There may be more.
    Ahead,
}

/// One state of an index, held for a request: what a backend makes [`Hits`] of. Dropping it lets go of the state.
///
/// ```
/// use async_trait::async_trait;
/// use statehouse_search::{Cursor, End, Field, Hit, HitPage, HitPages, Hits, HitsOptions, Query, Record, Schema, SearchRequest};
///
/// /// Hits that were found at once, by score.
/// #[derive(Debug)]
/// struct Found {
///     schema: Schema,
///     request: SearchRequest,
///     hits: Vec<Hit>,
/// }
///
/// #[async_trait]
/// impl HitPages for Found {
///     async fn page(&mut self, after: Option<&Cursor>) -> statehouse_core::Result<HitPage> {
///         let is_behind = |hit: &Hit, place: &Cursor| match place.score().partial_cmp(&hit.score) {
///             Some(order) if order.is_ne() => order.is_gt(),
///             _ => hit.id() > place.id(),
///         };
///         let rest: Vec<_> = self.hits.iter().filter(|hit| after.is_none_or(|place| is_behind(hit, place))).collect();
///         let size = self.request.size as usize;
///         let end = if rest.len() > size { End::Ahead } else { End::Reached };
///         let page = HitPage { hits: rest.into_iter().take(size).cloned().collect(), skipped: 0, end };
///         Ok(page.with_cursors(&self.schema, &self.request))
///     }
///
///     async fn close(&mut self) -> statehouse_core::Result<()> {
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let schema = Schema::builder().field(Field::text("title")).build()?;
/// let request = HitsOptions::default().with_page_size(2).request(&SearchRequest::new(Query::matches("title", "fever")))?;
/// let hit = |(id, score)| Ok(Hit::new(Record::new(id)?, Some(score)));
/// let hits = [("c", 2.0), ("a", 1.5), ("b", 1.5)].into_iter().map(hit).collect::<statehouse_core::Result<_>>()?;
/// let pages = Found { schema: schema.clone(), request: request.clone(), hits };
/// let mut hits = Hits::new(Box::new(pages), None);
/// for id in ["c", "a", "b"] {
///     let hit = hits.next().await?.unwrap();
///     assert_eq!(hit.id().as_str(), id);
///     schema.check_request(&request.clone().with_after(hit.cursor()))?;
/// }
/// assert!(hits.next().await?.is_none());
/// # Ok(()) }
/// ```
#[async_trait]
pub trait HitPages: Debug + Send + Sync + 'static {
    /// The page behind a cursor, from the start if there is none: the same, however often it is asked for.
    async fn page(&mut self, after: Option<&Cursor>) -> Result<HitPage>;

    /// Lets go of the state. Later pages fail.
    async fn close(&mut self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::Record;

    /// One page, of which a server that hangs is not told.
    #[derive(Debug)]
    struct Hanging {
        _held: Arc<()>,
    }

    #[async_trait]
    impl HitPages for Hanging {
        async fn page(&mut self, _: Option<&Cursor>) -> Result<HitPage> {
            Ok(HitPage { hits: vec![Hit::new(Record::new("a")?, None)], skipped: 0, end: End::Reached })
        }

        async fn close(&mut self) -> Result<()> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_page_waits_for_nobody_to_let_go_of_the_state() {
        let held = Arc::new(());
        let mut hits = Hits::new(Box::new(Hanging { _held: Arc::clone(&held) }), None);
        let next = tokio::time::timeout(Duration::from_secs(60), hits.next()).await;
        assert_eq!(next.expect("it hands out the page").unwrap().unwrap().id().as_str(), "a");
        assert_eq!(Arc::strong_count(&held), 1, "it was let go of");
        assert!(hits.next().await.unwrap().is_none());
        hits.close().await.unwrap();
    }
}
