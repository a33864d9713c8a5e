use statehouse_cache::{MemoryCache, MemoryConfig};
use statehouse_core::ManualClock;
#[cfg(feature = "redis-tls")]
use tokio::sync::OnceCell;

use super::*;

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

mod in_memory {
    use super::*;

    statehouse_cache::cache_conformance!(async { InMemory::new(ManualClock::default()) });
}

mod on_a_single_server {
    use super::*;
    statehouse_cache::cache_conformance!(single());
}

mod on_a_cluster {
    use super::*;
    statehouse_cache::cache_conformance!(cluster());
}

#[cfg(feature = "redis-tls")]
mod over_tls {
    use super::*;

    async fn secure() -> InRedis {
        static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
        let server = SERVER.get_or_init(async || RedisServer::builder().tls().start().await).await;
        let url = format!("{}?ca={}", server.tls_url(), server.tls_authority().display());
        InRedis::new(url)
    }

    statehouse_cache::cache_conformance!(secure());
}
