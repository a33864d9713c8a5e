use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Clock, Error, Result, SystemClock};

/// What [`FilesConfig::with_longest_pause`] takes.
pub(crate) const PAUSE: &str = "a duration of at least 10ms, such as 2s";

/// Settings of a [`FilesCoordStore`](super::FilesCoordStore).
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_coord::{FilesConfig, FilesCoordStore};
/// use statehouse_core::{ManualClock, Namespace};
/// use statehouse_filestore::MemoryFileStore;
///
/// let clock = ManualClock::default(); // a test moves it on
/// let config = FilesConfig::default().with_clock(clock.clone()).with_longest_pause(Duration::from_secs(2))?;
/// let files = Arc::new(MemoryFileStore::new());
/// let store = FilesCoordStore::new(files, &Namespace::new("clinic")?, config)?;
/// # let _ = store;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilesConfig {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) longest_pause: Duration,
    pub(super) sweeps: Sweeps,
}

/// When what strangers leave behind is removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweeps {
    pub(super) every: Duration,
    pub(super) leeway: Duration,
}

/// The shortest of both: a sweep that follows upon a sweep would be one without end.
const SHORTEST: Duration = Duration::from_millis(1);

impl Default for FilesConfig {
    /// The system's clock, a look every ten seconds at least while somebody waits, a sweep an hour at most, and a day of leeway.
    fn default() -> Self {
        let sweeps = Sweeps { every: Duration::from_secs(3600), leeway: Duration::from_secs(24 * 3600) };
        Self { clock: Arc::new(SystemClock::default()), longest_pause: Duration::from_secs(10), sweeps }
    }
}

impl FilesConfig {
    /// Where the time comes from. What has passed counts for the expiry of records; the time of day for versions only.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// How long whoever waits pauses at most before it looks again: a file store says nothing by itself, and each look is a
    /// request. The pauses begin with a fifth of a second and double.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) below 10 milliseconds.
    pub fn with_longest_pause(self, pause: Duration) -> Result<Self> {
        if pause < Duration::from_millis(10) {
            return Err(Error::invalid_config("poll", format!("must be {PAUSE}")));
        }
        Ok(Self { longest_pause: pause, ..self })
    }

    /// How much time at least is between two [sweeps](super::FilesCoordStore#sweeps): an hour at first, and at least a millisecond. A sweep on S3
    /// costs a request for each thousand used tokens and answered requests that are kept.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_coord::FilesConfig;
    /// let config = FilesConfig::default().with_sweeps_every(Duration::from_secs(6 * 3600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn with_sweeps_every(mut self, time: Duration) -> Self {
        self.sweeps.every = time.max(SHORTEST);
        self
    }

    /// How long a used token or an answered request stays at least when its time is over: a day at first, and at least a millisecond. It is
    /// what the file store's clock may be wrong by without a harm, and so long its version is remembered.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use statehouse_coord::FilesConfig;
    /// let config = FilesConfig::default().with_leeway(Duration::from_secs(7 * 24 * 3600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn with_leeway(mut self, time: Duration) -> Self {
        self.sweeps.leeway = time.max(SHORTEST);
        self
    }
}
