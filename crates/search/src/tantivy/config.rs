use std::path::{Path, PathBuf};
use std::time::Duration;

use statehouse_core::folder::check_path;
use statehouse_core::{Clock, Error, Namespace, Result, ServiceUrl, Steady, SystemClock};

/// How to open a [`TantivyIndex`](crate::TantivyIndex).
///
/// As a URL: `memory:` or `tantivy:///var/lib/app/concepts`, with the parameters `commit_interval`, `delete_retention`,
/// `memory` and `threads` named as the methods here.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{ManualClock, Namespace};
/// use statehouse_search::TantivyConfig;
///
/// # fn main() -> statehouse_core::Result<()> {
/// let config = TantivyConfig::folder("/var/lib/clinic/search")
///     .with_threads(2)
///     .with_memory(128 << 20)
///     .with_commit_interval(Duration::from_millis(500))
///     .with_delete_retention(Duration::from_secs(24 * 3600));
/// let concepts = config.below(&Namespace::new("concepts")?); // `/var/lib/clinic/search/concepts`
/// let clock = ManualClock::default(); // a test moves it on
/// let test = TantivyConfig::memory().with_clock(clock.clone());
/// # let _ = (concepts, test);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TantivyConfig {
    pub(super) folder: Option<PathBuf>,
    pub(super) threads: usize,
    pub(super) memory: u64,
    pub(super) commit_interval: Duration,
    pub(super) delete_retention: Duration,
    pub(super) clock: Steady,
}

impl TantivyConfig {
    /// The least memory per writing thread, in bytes.
    pub const MIN_MEMORY: u64 = 15_000_000;

    fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            threads: 1,
            memory: 64 << 20,
            commit_interval: Duration::from_secs(1),
            delete_retention: Duration::from_secs(3_600),
            clock: Steady::new(SystemClock::default()),
        }
    }

    pub(crate) const fn is_on_disk(&self) -> bool {
        self.folder.is_some()
    }

    /// An index in memory, gone with its last handle.
    #[must_use]
    pub fn memory() -> Self {
        Self::new(None)
    }

    /// An index in a folder of its own, which is made if it is missing. A pointer file in it says which of its generations,
    /// each a folder with its schema, is live.
    ///
    /// What is made is private to the user that the process runs as (files 0600, folders 0700). A folder that every user
    /// can write, or that another user owns, is refused with `InvalidConfig`; a process of root is warned of the latter.
    #[must_use]
    pub fn folder(path: impl AsRef<Path>) -> Self {
        Self::new(Some(path.as_ref().to_owned()))
    }

    /// The same settings for the index of this name in a folder below; in memory, unchanged.
    #[must_use]
    pub fn below(mut self, name: &Namespace) -> Self {
        self.folder = self.folder.map(|folder| folder.join(name.as_str()));
        self
    }

    /// Reads `memory:` or `tantivy:///folder` with parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for another scheme, no folder, or a
    /// parameter that is unknown or wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let accepts = "expected \"memory:\" or \"tantivy:///folder\"";
        let mut config = match (url.scheme(), url.path()) {
            ("memory", "") => Self::memory(),
            ("tantivy", path) if !path.is_empty() && url.hosts().is_empty() => Self::folder(path),
            _ => return Err(Error::invalid_config(url.setting(), accepts)),
        };
        if let Some(threads) = url.take_parsed("threads", "a number from 1 to 8")? {
            config.threads = threads;
        }
        config.memory = url.take_size("memory")?.unwrap_or(config.memory);
        config.commit_interval = url.take_duration("commit_interval")?.unwrap_or(config.commit_interval);
        config.delete_retention = url.take_duration("delete_retention")?.unwrap_or(config.delete_retention);
        config.check().map_err(|error| error.with_setting(url.setting()))?;
        url.finish()?;
        Ok(config)
    }

    /// How many threads write: 1 unless set, at most 8. More are faster on large bulks and leave more segments behind.
    #[must_use]
    pub const fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many bytes the writing threads may collect before they write a segment, and how many queued writes may take that wait for their
    /// commit, which comes before its interval is over where they take more: 64 MiB unless set.
    #[must_use]
    pub const fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// How long a queued or logged write waits at most for its commit: 1 second unless set.
    #[must_use]
    pub const fn with_commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// How long the version of a delete is remembered: an hour unless set, by a clock that nobody sets. In a folder it survives a
    /// restart, and counts anew from there: nobody knows how long it was down, for the time of day may have been set meanwhile. There is
    /// room for about 400,000 of them; of more the oldest are forgotten before their time.
    #[must_use]
    pub const fn with_delete_retention(mut self, retention: Duration) -> Self {
        self.delete_retention = retention;
        self
    }

    /// Takes the time from another clock, for tests. The time of day is read here, and then only what has passed counts.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Steady::new(clock);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let named = self.folder.as_deref().map_or(Ok(()), check_path);
        named.map_err(|why| Error::invalid_config("folder", why))?;
        if !(1..=8).contains(&self.threads) {
            let message = format!("threads must be a number from 1 to 8, not {}", self.threads);
            return Err(Error::invalid_config("threads", message));
        }
        if self.memory / self.threads as u64 <= Self::MIN_MEMORY {
            let message = format!("memory must be over 15 MB for each thread, not {} bytes", self.memory);
            return Err(Error::invalid_config("memory", message));
        }
        if self.commit_interval.is_zero() {
            return Err(Error::invalid_config("commit_interval", "commit_interval must be above zero"));
        }
        Ok(())
    }
}
