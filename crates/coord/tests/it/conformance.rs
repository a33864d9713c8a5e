use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{CoordStore, FilesConfig, FilesCoordStore, MemoryConfig, MemoryCoordStore, RedisCoordStore};
use statehouse_core::conformance::Backend;
use statehouse_core::{Capabilities, ManualClock, Namespace};
use statehouse_filestore::{FileStore, LocalFileStore, MemoryFileStore};
use statehouse_testkit::{AzureServer, RedisCluster, RedisServer, S3Server};
use tempfile::TempDir;

use crate::{open_azure_files, open_files, open_redis, random_namespace};

struct Memory {
    store: Arc<MemoryCoordStore>,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone());
        Self { store: Arc::new(MemoryCoordStore::with_config(config)), clock }
    }
}

impl Backend for Memory {
    type Service = dyn CoordStore;

    async fn service(&self) -> Arc<dyn CoordStore> {
        Arc::<MemoryCoordStore>::clone(&self.store)
    }

    async fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
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

    statehouse_coord::coord_conformance!(async { Memory::new() });
}

/// Records in files, with a clock that a test moves on.
struct Files {
    files: Option<Arc<dyn FileStore>>,
    store: Option<Arc<FilesCoordStore>>,
    folder: Option<TempDir>,
    namespace: Namespace,
    clock: ManualClock,
}

impl Files {
    fn new(files: Arc<dyn FileStore>, folder: Option<TempDir>) -> Self {
        let (namespace, clock) = (random_namespace(), ManualClock::default());
        let mut this = Self { files: Some(files), store: None, folder, namespace, clock };
        this.open();
        this
    }

    fn files(&self) -> Arc<dyn FileStore> {
        Arc::clone(self.files.as_ref().unwrap())
    }

    fn open(&mut self) {
        let config = FilesConfig::default().with_clock(self.clock.clone());
        let config = config.with_longest_pause(Duration::from_secs(1)).unwrap();
        self.store = Some(Arc::new(FilesCoordStore::new(self.files(), &self.namespace, config).unwrap()));
    }
}

impl Backend for Files {
    type Service = dyn CoordStore;

    async fn service(&self) -> Arc<dyn CoordStore> {
        Arc::<FilesCoordStore>::clone(self.store.as_ref().unwrap())
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn reopen(&mut self) {
        self.store = None;
        if let Some(folder) = &self.folder {
            self.files = None;
            self.files = Some(Arc::new(LocalFileStore::open(folder.path()).await.unwrap()));
        }
        self.open();
    }

    async fn pass_time(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn another(&self) -> Self {
        Self::new(self.files(), None)
    }

    fn step(&self) -> Duration {
        Duration::from_secs(60)
    }
}

mod memory_files {
    use super::*;

    statehouse_coord::coord_conformance!(async { Files::new(Arc::new(MemoryFileStore::new()), None) });
}

mod local_files {
    use super::*;

    async fn backend() -> Files {
        let folder = tempfile::tempdir().unwrap();
        Files::new(Arc::new(LocalFileStore::open(folder.path()).await.unwrap()), Some(folder))
    }

    statehouse_coord::coord_conformance!(backend());
}

mod s3_files {
    use super::*;

    async fn backend() -> Files {
        Files::new(open_files(S3Server::shared().await).await, None)
    }

    statehouse_coord::coord_conformance!(backend());
}

mod azure_files {
    use super::*;

    async fn backend() -> Files {
        Files::new(open_azure_files(AzureServer::shared().await).await, None)
    }

    statehouse_coord::coord_conformance!(backend());
}

struct Redis {
    store: Arc<RedisCoordStore>,
    url: String,
    namespace: Namespace,
}

impl Redis {
    async fn at(url: String) -> Self {
        let namespace = random_namespace();
        let store = Arc::new(open_redis(&url, &namespace).await);
        Self { store, url, namespace }
    }
}

impl Backend for Redis {
    type Service = dyn CoordStore;

    async fn service(&self) -> Arc<dyn CoordStore> {
        Arc::<RedisCoordStore>::clone(&self.store)
    }

    async fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn reopen(&mut self) {
        self.store = Arc::new(open_redis(&self.url, &self.namespace).await);
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

    statehouse_coord::coord_conformance!(backend());
}

mod redis_cluster {
    use super::*;

    async fn backend() -> Redis {
        Redis::at(RedisCluster::shared().await.url()).await
    }

    statehouse_coord::coord_conformance!(backend());
}

#[cfg(feature = "redis-tls")]
mod redis_over_tls {
    use tokio::sync::OnceCell;

    use super::*;

    async fn backend() -> Redis {
        static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
        let server = SERVER.get_or_init(async || RedisServer::builder().tls().start().await).await;
        Redis::at(format!("{}?ca={}", server.tls_url(), server.tls_authority().display())).await
    }

    statehouse_coord::coord_conformance!(backend());
}
