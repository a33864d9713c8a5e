use super::*;
use crate::conformance::Subject;
use statehouse_core::ManualClock;

struct InMemory {
    clock: ManualClock,
    cache: MemoryCache,
    other: MemoryCache,
}

#[async_trait]
impl Subject for InMemory {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(self.cache.clone())
    }

    async fn open_other(&self) -> Arc<dyn Cache> {
        Arc::new(self.other.clone())
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn in_memory() -> InMemory {
    let clock = ManualClock::default();
    let new = || MemoryCache::new(MemoryConfig::default().with_clock(clock.clone()));
    InMemory { cache: new(), other: new(), clock }
}

crate::cache_conformance!(std::future::ready(in_memory()));
