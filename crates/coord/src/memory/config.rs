use std::sync::Arc;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

/// Settings of a [`MemoryCoordStore`](super::MemoryCoordStore).
///
/// ```
/// use statehouse_coord::{MemoryConfig, MemoryCoordStore};
/// use statehouse_core::ManualClock;
///
/// let clock = ManualClock::default(); // a test moves it on
/// let store = MemoryCoordStore::with_config(MemoryConfig::default().with_clock(clock.clone()).with_capacity(1 << 20)?);
/// # let _ = store;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(super) capacity: u64,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for MemoryConfig {
    /// 64 MiB, the system's clock.
    fn default() -> Self {
        Self { capacity: 64 << 20, clock: Arc::new(SystemClock::default()) }
    }
}

const CAPACITY: &str = "a size of at least 64KiB, such as 64MiB";

impl MemoryConfig {
    /// Reads `memory:?capacity=64MiB`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" {
            return Err(Error::invalid_config(url.setting(), "expected a URL such as \"memory:\""));
        }
        let mut config = Self::default();
        if let Some(bytes) = url.take_size("capacity")? {
            config = config.with_capacity(bytes).map_err(|_| url.refuse("capacity", CAPACITY))?;
        }
        url.finish()?;
        Ok(config)
    }

    pub(crate) fn into_parts(self) -> (u64, Arc<dyn Clock>) {
        (self.capacity, self.clock)
    }

    /// How much memory the records may take up, expired ones and what is remembered of them included.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) below 64 KiB.
    pub fn with_capacity(self, bytes: u64) -> Result<Self> {
        if bytes < 64 << 10 {
            return Err(Error::invalid_config("capacity", format!("must be {CAPACITY}")));
        }
        Ok(Self { capacity: bytes, ..self })
    }

    /// Where the time comes from. The time of day is read when the store is made; from then on only what has passed counts,
    /// so that a wall clock that is put right ends no lease.
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
        let read = |text| MemoryConfig::from_url(ServiceUrl::parse("STATEHOUSE_COORDINATION_URL", text).unwrap());
        assert_eq!(read("memory:").unwrap().capacity, 64 << 20);
        assert_eq!(read("memory:?capacity=1MiB").unwrap().capacity, 1 << 20);
        for wrong in ["memory:?capacity=0", "memory:?capacity=63KiB", "memory:?capacity=x", "memory:?x=1", "file:/x"] {
            assert_eq!(read(wrong).unwrap_err().setting(), Some("STATEHOUSE_COORDINATION_URL"), "{wrong}");
        }
    }
}
