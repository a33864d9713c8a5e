use std::pin::Pin;
use std::time::Duration;

use statehouse_core::capability::FENCED;
use statehouse_core::{AsFence, RaiseOptions, Result};

use crate::outcome::Late;
use crate::{BulkOptions, BulkReport, DocumentId, Durability, Operation, Refresh, SearchIndex};

/// A write that happens when it is awaited: made by [`Index::upsert`](crate::Index::upsert) and its siblings.
///
/// It succeeds if every operation was applied. Otherwise the answer is the error of the first one that was not; those
/// before and behind it may have been applied. One that came too late, because the index holds a newer version, is
/// [`Conflict`](statehouse_core::ErrorKind::Conflict): whoever replays events expects that and says
/// [`allow_stale`](Self::allow_stale). What became of each operation is in [`report`](Self::report).
///
#[cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#[cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
/// use std::time::Duration;
/// use statehouse_search::{Document, Index, Outcome};
/// # use statehouse_search::TantivyConfig;
///
/// #[derive(Clone, Document)]
/// struct Patient {
///     #[document(id)]
///     number: String,
///     #[document(text)]
///     name: String,
///     #[document(version)]
///     row_version: u64, // as the database has it
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let index = TantivyConfig::memory().open(Patient::schema()?).await?;
/// # let patients: Index<Patient> = Index::new(std::sync::Arc::new(index))?;
/// let ada = Patient { number: "7".into(), name: "Ada".into(), row_version: 3 };
/// patients.upsert(ada.clone()).wait_until_visible().deadline(Duration::from_secs(5)).await?;
/// // An event that comes twice, or late
/// patients.upsert(ada.clone()).allow_stale().await?;
/// let report = patients.upsert_all([ada.clone()]).report().await?;
/// assert!(matches!(report.outcomes[0], Outcome::Stale), "{report:?}");
/// // What can be read again from the database if the power fails now
/// patients.delete_at("7", 4).queued().await?;
/// // One of many requests that write at a time
/// patients.upsert(Patient { row_version: 5, ..ada }).logged().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Write<'i> {
    index: &'i dyn SearchIndex,
    operations: Result<Vec<Operation>>,
    options: BulkOptions,
    late: Late,
}

impl<'i> Write<'i> {
    pub(crate) fn new(index: &'i dyn SearchIndex, operations: Result<Vec<Operation>>) -> Self {
        Self { index, operations, options: BulkOptions::default(), late: Late::Refused }
    }

    /// Answers when searches see it.
    pub const fn wait_until_visible(mut self) -> Self {
        self.options.refresh = Refresh::Wait;
        self
    }

    /// Answers before it is durable: a crash within the next moments may lose it. For what can be indexed again.
    pub const fn queued(mut self) -> Self {
        self.options.durability = Durability::Queued;
        self
    }

    /// Answers when it stands in the log of the index, which is synced: as durable as by default, and where many wait at a
    /// time far cheaper, for a commit each takes turns and one sync of the log is for all of them. See
    /// [`Logged`](Durability::Logged).
    pub const fn logged(mut self) -> Self {
        self.options.durability = Durability::Logged;
        self
    }

    /// Writes only as long as nobody else has acquired the lock since: else it is refused as
    /// [`Fenced`](statehouse_core::ErrorKind::Fenced). The lock should [guard](statehouse_core::Guarded) the index; if it does
    /// not, this is refused once its next holder has written something.
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.options = self.options.with_fence(guard);
        self
    }

    /// Sets how long it may take, in place of the backend's own limit.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Succeeds also where the index holds the same version or a newer one already: for events that are replayed.
    pub const fn allow_stale(mut self) -> Self {
        self.late = Late::Allowed;
        self
    }

    /// Writes, and says what became of each operation: also failed and late ones are an `Ok` here.
    ///
    /// # Errors
    /// If a document cannot be a record, or the bulk failed as a whole.
    pub async fn report(self) -> Result<BulkReport> {
        // One of somebody else's that ignores fences raises no mark either.
        if let Some(fence) = self.options.fence.as_ref().filter(|_| !self.index.capabilities().has(FENCED)) {
            let mut options = RaiseOptions::default();
            options.deadline = self.options.deadline;
            self.index.raise_with(fence, options).await?;
        }
        self.index.bulk_with(self.operations?, self.options).await
    }

    async fn checked(self) -> Result<()> {
        let late = self.late;
        let ids: Vec<DocumentId> = self.operations.iter().flatten().map(|operation| operation.id().clone()).collect();
        self.report().await?.check_with(late, |place| ids.get(place))
    }
}

impl<'i> IntoFuture for Write<'i> {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'i>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.checked())
    }
}
