use std::sync::Arc;

use statehouse_core::{Clock, CoarseClock, Result, ServiceUrl};

/// How much a cache in memory may hold, and by which clock its entries expire.
///
/// As a URL: `memory:?capacity=256MiB`.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(crate) capacity: u64,
    pub(crate) clock: Arc<dyn Clock>,
}

impl MemoryConfig {
    /// The capacity of one cache unless told otherwise: 64 MiB.
    pub const DEFAULT_CAPACITY: u64 = 64 << 20;

    /// Reads a `memory:` URL and takes its parameter: `capacity`, a size such as `256MiB`, for each cache. The caller
    /// may take more of its own and then calls [`finish`](ServiceUrl::finish).
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting, for another scheme and for
    /// a capacity that is none.
    pub fn from_url(url: &mut ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" || !url.hosts().is_empty() || !url.path().is_empty() {
            let message = "expected \"memory:\", with nothing but parameters behind it";
            return Err(statehouse_core::Error::invalid_config(url.setting(), message));
        }
        let capacity = url.take_size("capacity")?.unwrap_or(Self::DEFAULT_CAPACITY);
        Ok(Self::default().with_capacity(capacity))
    }

    /// With another bound for the weight of all entries of one cache, in bytes unless the cache has its own weigher.
    #[must_use]
    pub const fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity;
        self
    }

    /// With another clock, for tests that must not sleep.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { capacity: Self::DEFAULT_CAPACITY, clock: Arc::new(CoarseClock::default()) }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[test]
    fn the_url_sets_the_capacity_and_nothing_unknown_is_accepted() {
        let read = |text: &str| {
            let mut url = ServiceUrl::parse("URL", text).unwrap();
            MemoryConfig::from_url(&mut url).and_then(|config| url.finish().map(|()| config))
        };
        assert_eq!(read("memory:").unwrap().capacity, 64 << 20);
        assert_eq!(read("memory:?capacity=1GiB").unwrap().capacity, 1 << 30);
        for text in ["memory:?capacity=0", "memory:?size=1", "memory:/x", "memory://host", "redis://host"] {
            assert_eq!(read(text).unwrap_err().kind(), ErrorKind::InvalidConfig, "{text}");
        }
    }
}
