use std::sync::Arc;

use statehouse_core::{Clock, Error, Result, ServiceUrl, SystemClock};

/// Settings of a [`MemorySessionStore`](super::MemorySessionStore).
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(super) capacity: usize,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for MemoryConfig {
    /// 100,000 sessions, the system's clock.
    fn default() -> Self {
        Self { capacity: 100_000, clock: Arc::new(SystemClock::default()) }
    }
}

impl MemoryConfig {
    /// Reads `memory:?capacity=100000`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        if url.scheme() != "memory" {
            return Err(Error::invalid_config(url.setting(), "expected a URL such as \"memory:\""));
        }
        let capacity = url.take_parsed("capacity", CAPACITY)?;
        let config = Self::default();
        let config = match capacity {
            Some(0) => return Err(url.refuse("capacity", CAPACITY)),
            Some(capacity) => Self { capacity, ..config },
            None => config,
        };
        url.finish()?;
        Ok(config)
    }

    /// How many sessions there may be at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for zero.
    pub fn with_capacity(self, capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::invalid_config("capacity", format!("must be {CAPACITY}")));
        }
        Ok(Self { capacity, ..self })
    }

    /// Where the time comes from.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

const CAPACITY: &str = "a number of sessions above zero";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_sets_the_capacity_and_names_what_is_wrong() {
        let read = |text| MemoryConfig::from_url(ServiceUrl::parse("STATEHOUSE_SESSION_URL", text).unwrap());
        assert_eq!(read("memory:").unwrap().capacity, 100_000);
        assert_eq!(read("memory:?capacity=5").unwrap().capacity, 5);
        for wrong in ["memory:?capacity=0", "memory:?capacity=x", "memory:?size=1", "file:///x"] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.setting(), Some("STATEHOUSE_SESSION_URL"), "{wrong}");
        }
    }
}
