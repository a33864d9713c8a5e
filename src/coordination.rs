//! Which store replicas coordinate in, and how it is opened.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_coord::{
    self as coord, CoordKey, CoordStore, FilesConfig, FilesCoordStore, Page, PutOutcome, Record, RemoveOutcome,
};
use statehouse_core::capability::SHARED;
use statehouse_core::{Capabilities, Error, Health, Namespace, Result, ServiceUrl, Timestamp, Version};
use statehouse_filestore::FileStore;

use crate::config::ServiceConfig;
use crate::deferred::Deferred;
use crate::lazy::Lazy;
use crate::open::Opening;
use crate::slot::Slot;

const NAME: &str = "coordination";
const SETTING: &str = "STATEHOUSE_COORDINATION_URL";

type Coord = Arc<dyn CoordStore>;

/// The store, which is opened by its first use.
pub(crate) type Later = Deferred<Coord>;

impl Opening {
    /// Where it is said to be, else in the files. `shared` names a service that replicas share, if there is one: then this
    /// must be shared as well, else each replica would be the only one that it knows of.
    pub(crate) fn coordination(
        &mut self,
        brought: Option<Coord>,
        config: &ServiceConfig,
        files: &Slot<Arc<dyn FileStore>>,
        shared: Option<&'static str>,
    ) -> Result<Arc<Later>> {
        if let Some(store) = brought {
            return Ok(later(Lazy::ready(store)));
        }
        if config.is_unset() {
            return Ok(self.coordination_in_files(files, shared));
        }
        let url = config.resolve(NAME)?;
        coord::check(&url, &self.namespace)?;
        if let (true, Some(service)) = (matches!(url.scheme(), "memory" | "file"), shared) {
            return Err(alone(service));
        }
        self.coordination_at(url)
    }

    fn coordination_at(&mut self, url: ServiceUrl) -> Result<Arc<Later>> {
        #[cfg(feature = "coord-redis")]
        if crate::in_redis::is_redis(&url) {
            let (client, namespace) = (self.clients.client(url)?, self.namespace.clone());
            return Ok(later(Lazy::new(move || {
                let (client, namespace) = (Arc::clone(&client), namespace.clone());
                Box::pin(async move {
                    let client = client.get().await?.clone();
                    let store = coord::RedisCoordStore::connect(client, &namespace).await;
                    Ok(Arc::new(store.map_err(|error| error.with_setting(SETTING))?) as _)
                })
            })));
        }
        let namespace = self.namespace.clone();
        Ok(later(Lazy::new(move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            Box::pin(async move { coord::open(url, &namespace).await.map_err(|error| error.with_setting(SETTING)) })
        })))
    }

    /// Beside the files, in the same store. Whether that is shared is known once it is open.
    fn coordination_in_files(&self, files: &Slot<Arc<dyn FileStore>>, shared: Option<&'static str>) -> Arc<Later> {
        let (files, namespace) = (files.lazy(), self.namespace.clone());
        later(Lazy::new(move || {
            let (files, namespace) = (Arc::clone(&files), namespace.clone());
            Box::pin(async move { in_files(files.get().await?, &namespace, shared) })
        }))
    }
}

/// The first service that replicas share, of those that are not brought along: its name and URL.
pub(crate) fn shared_of<'a>(
    services: impl IntoIterator<Item = (&'static str, &'a ServiceConfig)>,
) -> Option<&'static str> {
    let is_shared = |(name, config): (&'static str, &ServiceConfig)| {
        let url = config.resolve(name).ok()?;
        (!matches!(url.scheme(), "memory" | "file" | "tantivy")).then_some(name)
    };
    services.into_iter().find_map(is_shared)
}

fn in_files(files: &Arc<dyn FileStore>, namespace: &Namespace, shared: Option<&'static str>) -> Result<Coord> {
    let mut config = FilesConfig::default();
    if !files.capabilities().has(SHARED) {
        if let Some(service) = shared {
            return Err(alone(service));
        }
        // A look at a local file costs nothing.
        config = config.with_longest_pause(std::time::Duration::from_secs(1))?;
    }
    let store =
        FilesCoordStore::new(Arc::clone(files), namespace, config).map_err(|error| error.with_setting(SETTING))?;
    Ok(Arc::new(store))
}

fn alone(service: &str) -> Error {
    let message = format!(
        "the {service} are shared by replicas, and coordination is not: each replica would be alone, and do what only one \
         may. Name a store that all of them share: s3:, redis:"
    );
    Error::invalid_config(SETTING, message)
}

/// What it can do is known once it is open, and asked again then.
fn later(store: Lazy<Coord>) -> Arc<Later> {
    Arc::new(Deferred { store: Arc::new(store), known: Capabilities::default() })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CoordStore for Deferred<Coord> {
    async fn get_with(&self, key: &CoordKey, options: coord::GetOptions) -> Result<Option<Record>> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.get_with(key, options).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: coord::PutOptions) -> Result<PutOutcome> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.put_with(key, value, options).await
    }

    async fn remove_with(
        &self,
        key: &CoordKey,
        version: Version,
        options: coord::RemoveOptions,
    ) -> Result<RemoveOutcome> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.remove_with(key, version, options).await
    }

    async fn scan_with(&self, options: coord::ScanOptions) -> Result<Page> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.scan_with(options).await
    }

    async fn now_with(&self, options: coord::NowOptions) -> Result<Timestamp> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.now_with(options).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: coord::WaitOptions) {
        match self.store.within(&mut Some(options.limit)).await {
            Ok(store) => store.wait_with(key, seen, options).await,
            // Who waits for a store that is away goes on waiting.
            Err(_) => tokio::time::sleep(options.limit.min(std::time::Duration::from_secs(1))).await,
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |store| store.capabilities())
    }

    async fn health(&self) -> Health {
        match self.store.get().await {
            Ok(store) => CoordStore::health(store).await,
            Err(error) => Health::of(NAME, std::time::Duration::ZERO, Err(error)),
        }
    }
}
