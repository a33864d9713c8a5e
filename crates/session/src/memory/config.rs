use std::sync::Arc;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

use crate::bounds::Bounds;

/// Settings of a [`MemorySessionStore`](super::MemorySessionStore).
///
/// ```
/// use statehouse_core::ManualClock;
/// use statehouse_session::{MemoryConfig, MemorySessionStore};
///
/// let clock = ManualClock::default(); // a test moves it on
/// let config = MemoryConfig::default().with_capacity(16 << 20)?.with_max_sessions(1_000)?.with_clock(clock.clone());
/// let store = MemorySessionStore::with_config(config);
/// # let _ = store;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(super) bounds: Bounds,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for MemoryConfig {
    /// 100,000 sessions and 256 MiB, the system's clock.
    fn default() -> Self {
        Self { bounds: Bounds { sessions: 100_000, bytes: 256 << 20 }, clock: Arc::new(SystemClock::default()) }
    }
}

impl MemoryConfig {
    /// Reads `memory:?capacity=256MiB&max_sessions=100000`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" {
            return Err(Error::invalid_config(url.setting(), "expected a URL such as \"memory:\""));
        }
        let config = Self::default();
        let bounds = config.bounds.with_parameters_of(&mut url)?;
        url.finish()?;
        Ok(Self { bounds, ..config })
    }

    /// How many sessions there may be at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for zero.
    pub fn with_max_sessions(self, sessions: usize) -> Result<Self> {
        Ok(Self { bounds: self.bounds.with_sessions(sessions)?, ..self })
    }

    /// How much memory they may take up in all.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) below 64 KiB.
    pub fn with_capacity(self, bytes: u64) -> Result<Self> {
        Ok(Self { bounds: self.bounds.with_bytes(bytes)?, ..self })
    }

    /// Where the time comes from. The time of day is read when the store is opened; from then on only what has passed counts, so
    /// that a wall clock that is put right logs nobody out.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_sets_the_capacity_and_names_what_is_wrong() {
        let read = |text| MemoryConfig::from_url(ServiceUrl::parse("STATEHOUSE_SESSION_URL", text).unwrap());
        assert_eq!(read("memory:").unwrap().bounds.sessions, 100_000);
        let bounds = read("memory:?capacity=1MiB&max_sessions=5").unwrap().bounds;
        assert_eq!((bounds.sessions, bounds.bytes), (5, 1 << 20));
        for (wrong, told) in [
            ("memory:?capacity=0", "a size above zero"),
            ("memory:?capacity=63KiB", "a size of at least 64KiB"),
            ("memory:?capacity=5000", "with its unit"),
            ("memory:?capacity=x", "a size"),
            ("memory:?max_sessions=0", "a number of sessions above zero"),
            ("memory:?max_sessions=1MiB", "a number of sessions above zero"),
            ("memory:?max_entries=1", "capacity, max_sessions"),
            ("file:///x", "memory:"),
        ] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.setting(), Some("STATEHOUSE_SESSION_URL"), "{wrong}");
            assert!(error.to_string().contains(told), "{wrong}: {error}");
        }
    }
}
