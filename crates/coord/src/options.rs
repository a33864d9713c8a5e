//! What one call of a store may be told besides what it does.

use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Error, Fence, Result, Version};
pub use statehouse_filestore::PageToken;

use crate::key::CoordKey;
use crate::record::WriteId;

/// What must hold for a put to happen; `Match` is of a version.
pub type Condition = statehouse_core::Condition<Version>;

statehouse_core::deadline_options! {
    /// Options of a get.
    GetOptions
    /// Options of a remove.
    RemoveOptions
    /// Options of asking for the time.
    NowOptions
}

/// Options of a put.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_coord::{Condition, CoordKey, CoordStore, MemoryCoordStore, PutOptions, WriteId};
/// use statehouse_core::{ErrorKind, Fence, Key, RaiseOptions, Version};
///
/// let store = MemoryCoordStore::new();
/// let options = PutOptions::default()
///     .with_condition(Condition::Absent)
///     .with_time_to_live(Duration::from_secs(15))
///     .with_deadline(Duration::from_secs(2));
/// let (key, id) = (CoordKey::new("a")?, WriteId::generate()?);
/// let first = store.put_with(&key, "1".into(), options.clone().with_id(id)).await?;
/// // Repeated because its answer was lost, it is known.
/// assert_eq!(store.put_with(&key, "1".into(), options.repeating(id)).await?, first);
///
/// // What is put under a lock is refused once somebody else has acquired that.
/// let lock = Key::new("lock/export")?;
/// let (one, next) = (Fence::new(lock.clone(), Version::new(1)), Fence::new(lock, Version::new(2)));
/// store.raise_with(&next, RaiseOptions::default()).await?;
/// let late = store.put_with(&key, "2".into(), PutOptions::default().with_fence(&one)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// What must hold for the put to happen.
    pub condition: Condition,
    /// A value that counts as no record for [`Condition::Absent`], where the store sees to that; none if there is none.
    pub or_in_place_of: Option<Bytes>,
    /// After how long the record is gone; it stays if none.
    pub time_to_live: Option<Duration>,
    /// Which put it is; another than all before if none.
    pub id: Option<WriteId>,
    /// Whether it may have been made already: its outcome is unknown.
    pub repeats: bool,
    /// Under which lock it is made; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl PutOptions {
    statehouse_core::with_deadline!();
    statehouse_core::with_fence!();

    /// The longest time to live.
    pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(366 * 24 * 3600);

    /// With a condition.
    #[must_use]
    pub const fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// A record of this very value counts as none for [`Condition::Absent`], so that one call does what otherwise takes two.
    /// A hint: a store that does not know it answers with the record, as to any other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # use statehouse_coord::{Condition, CoordKey, CoordStore, CoordStoreExt, MemoryCoordStore, PutOptions};
    /// # let (store, key) = (MemoryCoordStore::new(), CoordKey::new("a")?);
    /// store.put(&key, "free").await?;
    /// let options = PutOptions::default().with_condition(Condition::Absent).or_in_place_of("free");
    /// assert!(store.put_with(&key, "taken".into(), options.clone()).await?.stored().is_some());
    /// assert!(store.put_with(&key, "taken".into(), options).await?.stored().is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn or_in_place_of(mut self, value: impl Into<Bytes>) -> Self {
        self.or_in_place_of = Some(value.into());
        self
    }

    /// Whether a record is none for this put.
    pub(crate) fn passes_over(&self, value: &Bytes) -> bool {
        self.condition == Condition::Absent && !self.repeats && self.or_in_place_of.as_ref() == Some(value)
    }

    /// With a time to live.
    #[must_use]
    pub const fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// With the id of the put, which stands in the [record](crate::Record::id).
    #[must_use]
    pub const fn with_id(mut self, id: WriteId) -> Self {
        self.id = Some(id);
        self
    }

    /// The put of this id once more, because nobody knows whether it was made.
    #[must_use]
    pub const fn repeating(mut self, id: WriteId) -> Self {
        self.id = Some(id);
        self.repeats = true;
        self
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        let possible = Duration::from_millis(1)..=Self::MAX_TIME_TO_LIVE;
        match self.time_to_live {
            Some(time) if !possible.contains(&time) => {
                Err(Error::invalid_input("a time to live is at least a millisecond and at most 366 days"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is made where this version is, and where there is a `trace` of that or of what was there before: its
    /// condition must hold, and one that repeats must be sure that the first try was not made. A version tells that; that
    /// there is none does not, since what the first try has put may have been removed.
    #[must_use]
    pub fn is_made(&self, current: Option<&Version>, trace: bool) -> bool {
        let is_sure = !self.repeats || !trace || matches!(self.condition, Condition::Match(_));
        is_sure && self.condition.holds(current)
    }

    /// Its id, whether somebody named it or not.
    pub(crate) fn id(&self) -> Result<WriteId> {
        self.id.map_or_else(WriteId::generate, Ok)
    }
}

/// Options of a scan.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_coord::{CoordKey, CoordStore, CoordStoreExt, MemoryCoordStore, ScanOptions};
///
/// let store = MemoryCoordStore::new();
/// for name in ["jobs/a", "jobs/b", "other"] {
///     store.put(&CoordKey::new(name)?, "1").await?;
/// }
/// let mut options = ScanOptions::new("jobs/").with_limit(1).with_deadline(Duration::from_secs(2));
/// let first = store.scan_with(options.clone()).await?;
/// options = options.with_start(first.next.expect("another page"));
/// assert_eq!(store.scan_with(options).await?.records.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanOptions {
    /// What keys begin with; any text, not only whole segments.
    pub prefix: String,
    /// Where the page before ended; the first page if none.
    pub start: Option<PageToken>,
    /// The most records of a page, 1 to 1,000.
    pub limit: u16,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl ScanOptions {
    statehouse_core::with_deadline!();

    /// The most records of a page.
    pub const MAX_LIMIT: u16 = 1000;

    /// All records whose keys begin with the prefix, a hundred on each page.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), start: None, limit: 100, deadline: None }
    }

    /// With where a page ended, to go on there.
    #[must_use]
    pub fn with_start(mut self, start: PageToken) -> Self {
        self.start = Some(start);
        self
    }

    /// With the most records of a page.
    #[must_use]
    pub const fn with_limit(mut self, limit: u16) -> Self {
        self.limit = limit;
        self
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        if self.limit == 0 || self.limit > Self::MAX_LIMIT {
            return Err(Error::invalid_input("a page has 1 to 1000 records"));
        }
        if self.prefix.len() > CoordKey::MAX_LEN || self.prefix.chars().any(char::is_control) {
            return Err(Error::invalid_input("a prefix has at most 200 bytes and no control characters"));
        }
        Ok(())
    }
}

/// Options of a wait.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_coord::{CoordKey, CoordStore, MemoryCoordStore, WaitOptions};
///
/// let store = MemoryCoordStore::new();
/// let limit = Duration::from_millis(1);
/// store.wait_with(&CoordKey::new("a")?, None, WaitOptions::default().with_limit(limit)).await; // nothing happened
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitOptions {
    /// How long to wait at most; a second at first.
    pub limit: Duration,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self { limit: Duration::from_secs(1) }
    }
}

impl WaitOptions {
    /// With how long to wait at most.
    #[must_use]
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}
