//! How a call is made, whatever it asks.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Fence, Result};

use crate::{SearchRequest, Verify};

statehouse_core::deadline_options! {
    /// Options of a get.
    ///
    /// Each way to ask has options of its own, of which the first is how long it may take:
    ///
    #[cfg_attr(feature = "tantivy", doc = "```")]
    #[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
    /// use std::time::Duration;
    /// use statehouse_search::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
    /// let (hasty, patient) = (Duration::from_secs(2), Duration::from_secs(600));
    /// let id = DocumentId::new("7")?;
    /// assert!(index.get_with(&id, GetOptions::default().with_deadline(hasty)).await?.is_none());
    /// let request = SearchRequest::new(Query::matches("title", "cholera"));
    /// assert_eq!(index.search_with(&request, SearchOptions::default().with_deadline(hasty)).await?.total, 0);
    /// index.refresh_with(RefreshOptions::default().with_deadline(hasty)).await?;
    /// index.merge_with(MergeOptions::default().with_deadline(patient)).await?;
    /// # Ok(()) }
    /// ```
    GetOptions
    /// Options of a search or a count.
    SearchOptions
    /// Options of a refresh.
    RefreshOptions
    /// Options of a merge. It takes as long as it takes to write the index once, so without a deadline there is no
    /// limit to it.
    MergeOptions
    /// Options of comparing an index with a schema, or of adapting it in place.
    EnsureOptions
    /// Options of what is done about one generation.
    GenerationOptions
}

/// Options of a bulk. The default waits until it is durable and does not wait until it is visible.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{Fence, Key, Version};
/// use statehouse_search::{BulkOptions, Durability, Reach, Refresh};
///
/// let quick = BulkOptions::default().with_durability(Durability::Queued);
/// let many = BulkOptions::default().with_durability(Durability::Logged); // of many that wait at a time
/// let shown = BulkOptions::default().with_refresh(Refresh::Wait).with_deadline(Duration::from_secs(5));
/// let lock = Fence::new(Key::new("lock/loading")?, Version::new(7));
/// let guarded = BulkOptions::default().with_fence(&lock); // refused once somebody else has the lock
/// let filling = BulkOptions::default().with_reach(Reach::Own); // a generation that is filled from elsewhere
/// # let _ = (quick, many, shown, guarded, filling);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkOptions {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// When searches see it.
    pub refresh: Refresh,
    /// Which generations it is written to.
    pub reach: Reach,
    /// Under which lock it is written; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl BulkOptions {
    /// With a durability.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// With when searches see it.
    #[must_use]
    pub const fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = refresh;
        self
    }

    /// With which generations it is written to.
    #[must_use]
    pub const fn with_reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    statehouse_core::with_fence!();
    statehouse_core::with_deadline!();
}

/// How all hits are read.
///
/// ```
/// use std::time::Duration;
/// use statehouse_search::HitsOptions;
///
/// let export = HitsOptions::default().with_page_size(200).with_keep_alive(Duration::from_secs(600));
/// let hasty = HitsOptions::default().with_deadline(Duration::from_secs(2)); // for each page
/// # let _ = (export, hasty);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HitsOptions {
    /// How many hits are fetched at a time, and how many are in memory at most, whole: 1,000 unless set, 1 to
    /// [`MAX_WINDOW`](SearchRequest::MAX_WINDOW).
    pub page_size: u64,
    /// How long the state is held while nobody asks for the next page: a minute unless set, a millisecond to a day. It must be
    /// longer than the work for `page_size` hits takes.
    pub keep_alive: Duration,
    /// How long it may take to open, and how long each page may take; the backend's own limit if none. The pauses of who
    /// reads do not count.
    pub deadline: Option<Duration>,
}

impl Default for HitsOptions {
    fn default() -> Self {
        Self { page_size: 1_000, keep_alive: Duration::from_secs(60), deadline: None }
    }
}

impl HitsOptions {
    /// The longest that a state is held between two pages: OpenSearch's `point_in_time.max_keep_alive`.
    pub const MAX_KEEP_ALIVE: Duration = Duration::from_secs(86_400);

    /// With how many hits are fetched at a time.
    #[must_use]
    pub const fn with_page_size(mut self, hits: u64) -> Self {
        self.page_size = hits;
        self
    }

    /// With how long the state is held between two pages.
    #[must_use]
    pub const fn with_keep_alive(mut self, pause: Duration) -> Self {
        self.keep_alive = pause;
        self
    }

    statehouse_core::with_deadline!();

    /// The request for a page of all hits, whatever size it has, and however far it has its total counted; its `after` is where the first begins.
    ///
    /// # Errors
    /// `InvalidInput` for an option out of its range, and for what is of one page alone; `Unsupported` where hits are collapsed.
    pub fn request(&self, request: &SearchRequest) -> Result<SearchRequest> {
        if request.from > 0 {
            return Err(Error::invalid_input(format!(
                "all hits begin with the first or behind a cursor, not at from ({})",
                request.from
            )));
        }
        if request.counted() > 0 {
            return Err(Error::invalid_input("facets are counted by a search, not while all hits are read"));
        }
        if let Some(field) = &request.collapse {
            let message = "hits are collapsed by a search, not while all hits are read";
            return Err(Error::new(ErrorKind::Unsupported, message).with_key(field));
        }
        let (most, longest) = (SearchRequest::MAX_WINDOW, Self::MAX_KEEP_ALIVE);
        if !(1..=most).contains(&self.page_size) {
            return Err(Error::invalid_input(format!("a page must have 1 to {most} hits, not {}", self.page_size)));
        }
        if !(Duration::from_millis(1)..=longest).contains(&self.keep_alive) {
            let message = format!("a state is held for 1 ms to {longest:?}, not {:?}", self.keep_alive);
            return Err(Error::invalid_input(message));
        }
        Ok(request.clone().with_size(self.page_size))
    }
}

/// Options of a look at the generations.
///
/// ```
/// use statehouse_search::GenerationsOptions;
///
/// let options = GenerationsOptions::default().with_checksums();
/// assert!(options.checksums);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GenerationsOptions {
    /// Whether to read all ids, for [`Generation::checksum`](crate::Generation::checksum).
    pub checksums: bool,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl GenerationsOptions {
    /// With checksums.
    #[must_use]
    pub const fn with_checksums(mut self) -> Self {
        self.checksums = true;
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a new generation.
///
/// ```
/// use statehouse_search::BeginOptions;
///
/// let options = BeginOptions::default().with_renamed("title", "name");
/// assert_eq!(options.renamed, [("title".to_owned(), "name".to_owned())]);
/// assert!(options.with_rows().from_rows);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BeginOptions {
    /// Fields of the live generation that have another name in the new one: old and new.
    pub renamed: Vec<(String, String)>,
    /// Whether it is filled from rows, by [`Reach::Own`](crate::Reach::Own), and not by copies. What it cannot hold is then written to no generation, and
    /// one in which there are rows of an earlier time is begun anew.
    pub from_rows: bool,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl BeginOptions {
    /// With a field that has another name in the new generation.
    #[must_use]
    pub fn with_renamed(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.renamed.push((old.into(), new.into()));
        self
    }

    /// One that is filled from rows.
    #[must_use]
    pub const fn with_rows(mut self) -> Self {
        self.from_rows = true;
        self
    }

    statehouse_core::with_deadline!();
}

/// What makes a generation live.
///
/// ```
/// use statehouse_search::{ActivateOptions, Verify};
///
/// let options = ActivateOptions::default().with_verify(Verify::Nothing);
/// assert_eq!(options.verify, Verify::Nothing);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActivateOptions {
    /// What it must hold.
    pub verify: Verify,
    /// How long this call may take; the backend's own limit if none. An embedded index has none for this.
    pub deadline: Option<Duration>,
}

impl ActivateOptions {
    /// With what it must hold.
    #[must_use]
    pub const fn with_verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    statehouse_core::with_deadline!();
}

/// What the acknowledgement of a write promises at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// The write is in order behind the earlier ones and seen by `get`. A crash of the process may lose it until the
    /// next commit, which comes on its own soon after. A commit that fails loses nothing: it is tried again, and health
    /// is degraded until one succeeds.
    Queued,
    /// The write survives a crash of the process and of the machine that acknowledged it, and so does what it came too late for.
    /// It stands in a log that is synced; those who wait at the same time share one sync. It says nothing of what was queued
    /// before it. Where a write is committed anyway, for searches are to see it too or the server knows nothing less, it is
    /// `Committed`; in memory it is `Queued`, for nothing there survives.
    Logged,
    /// The write survives a crash of the process and of the machine that acknowledged it.
    #[default]
    Committed,
}

/// Which generations of an index a bulk is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// All, so that each holds the same whoever reads it.
    #[default]
    All,
    /// Only that of the handle: for filling it from elsewhere. A document without a version is then written only where
    /// nothing is known of its id, for what is there was written later than it was read. `Conflict` for a generation that is
    /// not being filled.
    Own,
}

/// When searches and counts see a write. `get` sees it at once in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// On its own, soon after.
    #[default]
    None,
    /// Before the call returns, at the backend's own pace: the right choice for a web request that shows the result.
    Wait,
    /// Before the call returns, at once: costs the server more.
    Now,
}
