use super::*;
use statehouse_core::ManualClock;
use statehouse_core::conformance::Backend;

struct InMemory {
    clock: ManualClock,
    cache: MemoryCache,
}

impl InMemory {
    fn new(clock: ManualClock) -> Self {
        Self { cache: MemoryCache::new(MemoryConfig::default().with_clock(clock.clone())), clock }
    }
}

impl Backend for InMemory {
    type Service = dyn Cache;

    async fn service(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache.clone())
    }

    async fn capabilities(&self) -> Capabilities {
        self.cache.capabilities()
    }

    async fn another(&self) -> Self {
        Self::new(self.clock.clone())
    }

    async fn pass_time(&self, time: Duration) {
        self.clock.advance(time);
    }
}

crate::cache_conformance!(async { InMemory::new(ManualClock::default()) });
