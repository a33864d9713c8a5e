use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

use crate::body::BODY_TIMEOUT;

/// How much a [`MemoryFileStore`](super::MemoryFileStore) takes, and from whom.
///
/// By URL: `memory:?capacity=256MiB&body_timeout=5m`.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{ErrorKind, ManualClock, Namespace, Retry};
/// use statehouse_filestore::{Files, MemoryConfig, MemoryFileStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let clock = ManualClock::default(); // a test moves it on
/// let config = MemoryConfig::default()
///     .with_capacity(1 << 20)
///     .with_body_timeout(Duration::from_secs(30))
///     .with_clock(clock.clone());
/// let store = MemoryFileStore::with_config(config);
/// let scans = Files::new(std::sync::Arc::new(store), Namespace::new("clinic.scans")?);
/// let full = scans.put("p42/chest.dcm", vec![0; 2 << 20]).await.unwrap_err();
/// assert_eq!((full.kind(), full.retry()), (ErrorKind::Unavailable, Retry::FULL)); // as a disk is
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// How many bytes all files, stages and uploads under way may have together, with what is kept of each beside its content: 256
    /// MiB. What is beyond it is refused as by a full disk. What somebody still reads counts until they have.
    pub capacity: u64,
    /// How long the source of an upload may be silent: five minutes. Then the put fails with `Timeout`, and nothing of it is left.
    pub body_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { capacity: 256 << 20, body_timeout: BODY_TIMEOUT, clock: Arc::new(SystemClock::default()) }
    }
}

impl MemoryConfig {
    /// Reads `memory:?capacity=256MiB&body_timeout=5m`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming what is wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" {
            return Err(Error::invalid_config(url.setting(), "expected a URL such as \"memory:\""));
        }
        let mut config = Self::default();
        config.capacity = url.take_size("capacity")?.unwrap_or(config.capacity);
        config.body_timeout = url.take_duration("body_timeout")?.unwrap_or(config.body_timeout);
        url.finish()?;
        Ok(config)
    }

    /// Sets how many bytes there may be.
    #[must_use]
    pub const fn with_capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Sets how long the source of an upload may be silent.
    #[must_use]
    pub const fn with_body_timeout(mut self, silence: Duration) -> Self {
        self.body_timeout = silence;
        self
    }

    /// Where the files' times come from. The time of day is read when the store is made; from then on only what has passed counts,
    /// so that a clock that is put right ends no file.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_sets_what_may_be_held_and_names_what_is_wrong() {
        let read = |text| MemoryConfig::from_url(ServiceUrl::parse("FILES", text).unwrap());
        let config = read("memory:").unwrap();
        assert_eq!((config.capacity, config.body_timeout), (256 << 20, Duration::from_secs(300)));
        let config = read("memory:?capacity=1MiB&body_timeout=2s").unwrap();
        assert_eq!((config.capacity, config.body_timeout), (1 << 20, Duration::from_secs(2)));
        for wrong in ["memory:?capacity=0", "memory:?capacity=x", "memory:?body_timeout=1", "memory:?x=1", "file:/x"] {
            assert_eq!(read(wrong).unwrap_err().setting(), Some("FILES"), "{wrong}");
        }
    }
}
