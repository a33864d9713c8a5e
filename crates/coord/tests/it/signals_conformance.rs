//! The contract of signals on every backend.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{MemoryConfig, MemorySignals, RedisSignals, Signals};
use statehouse_core::conformance::Backend;
use statehouse_core::{Capabilities, ManualClock};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::signals::open;

struct Memory {
    signals: Arc<MemorySignals>,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone());
        Self { signals: Arc::new(MemorySignals::with_config(config)), clock }
    }
}

impl Backend for Memory {
    type Service = dyn Signals;

    async fn service(&self) -> Arc<dyn Signals> {
        Arc::<MemorySignals>::clone(&self.signals)
    }

    async fn capabilities(&self) -> Capabilities {
        self.signals.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn another(&self) -> Self {
        Self::new()
    }

    fn step(&self) -> Duration {
        Duration::from_secs(60)
    }
}

mod memory {
    use super::*;

    statehouse_coord::signals_conformance!(async { Memory::new() });
}

struct Redis {
    signals: Arc<RedisSignals>,
    url: String,
}

impl Redis {
    async fn at(url: String) -> Self {
        let signals = Arc::new(open(&url, &crate::random_namespace()).await);
        Self { signals, url }
    }
}

impl Backend for Redis {
    type Service = dyn Signals;

    async fn service(&self) -> Arc<dyn Signals> {
        Arc::<RedisSignals>::clone(&self.signals)
    }

    async fn capabilities(&self) -> Capabilities {
        self.signals.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn another(&self) -> Self {
        Self::at(self.url.clone()).await
    }
}

mod redis {
    use super::*;

    async fn backend() -> Redis {
        Redis::at(RedisServer::shared().await.url()).await
    }

    statehouse_coord::signals_conformance!(backend());
}

mod redis_cluster {
    use super::*;

    async fn backend() -> Redis {
        Redis::at(RedisCluster::shared().await.url()).await
    }

    statehouse_coord::signals_conformance!(backend());
}
