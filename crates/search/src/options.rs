//! How a call is made, whatever it asks.

use std::time::Duration;

use statehouse_core::Fence;

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
