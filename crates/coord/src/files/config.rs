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
}

impl Default for FilesConfig {
    /// The system's clock, and a look every ten seconds at least while somebody waits.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::default()), longest_pause: Duration::from_secs(10) }
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
}
