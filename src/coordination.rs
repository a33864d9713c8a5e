//! Which store replicas coordinate in, and how it is opened.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_coord::{
    self as coord, CoordKey, CoordStore, Coordination, FilesConfig, FilesCoordStore, Leases, Page, PutOutcome, Record,
    RemoveOutcome,
};
use statehouse_core::capability::{DURABLE, SHARED};
use statehouse_core::{
    Capabilities, Capability, Error, Fence, Health, Namespace, RaiseOptions, Result, ServiceUrl, Timestamp, Version,
};
use statehouse_filestore::FileStore;

use crate::config::ServiceConfig;
use crate::deferred::Deferred;
use crate::description::ServiceState;
use crate::lazy::Lazy;
use crate::open::Opening;
use crate::place::Place;
use crate::service::Service;
use crate::slot::{Row as _, Slot};

const SERVICE: Service = Service::Coordination;
const SETTING: &str = "STATEHOUSE_COORDINATION_URL";

type Coord = Arc<dyn CoordStore>;

impl Opening {
    /// Where it is said to be, else in the files. `shared` names a service that replicas share, if there is one: then this
    /// must be shared as well, else each replica would be the only one that it knows of.
    pub(crate) fn coordination(
        &mut self,
        brought: Option<Coord>,
        config: &ServiceConfig,
        files: &Slot<Arc<dyn FileStore>>,
        shared: Option<&'static str>,
    ) -> Result<Slot<Coordination>> {
        if let Some(store) = brought {
            if let (false, Some(service)) = (store.capabilities().has(SHARED), shared) {
                return Err(alone(SERVICE.brought_by(), service));
            }
            return Ok(Slot::ready(SERVICE, Place::brought(SERVICE), Coordination::new(store)));
        }
        if config.is_unset() {
            return Ok(self.coordination_in_files(files, shared));
        }
        let url = config.resolve(SERVICE.as_str())?;
        coord::check(&url, &self.namespace)?;
        if let (true, Some(service)) = (matches!(url.scheme(), "memory" | "file"), shared) {
            return Err(alone(SETTING, service));
        }
        self.coordination_at(url)
    }

    fn coordination_at(&mut self, url: ServiceUrl) -> Result<Slot<Coordination>> {
        let (place, namespace) = (Place::of(SERVICE, &url)?, self.namespace.clone());
        #[cfg(feature = "coord-redis")]
        if crate::in_redis::is_redis(&url) {
            let client = self.clients.client(url)?;
            return Ok(later(place.clone(), [SHARED], move || {
                let (place, client, namespace) = (place.clone(), Arc::clone(&client), namespace.clone());
                async move {
                    let client = client.get().await?.clone();
                    let store = coord::RedisCoordStore::connect(client, &namespace).await;
                    Ok(Arc::new(store.map_err(|error| place.name(error))?) as _)
                }
            }));
        }
        let known = match url.scheme() {
            "memory" => &[][..],
            "file" => &[DURABLE],
            _ => &[DURABLE, SHARED],
        };
        Ok(later(place.clone(), known.iter().copied(), move || {
            let (place, url, namespace) = (place.clone(), url.clone(), namespace.clone());
            async move { coord::open(url, &namespace).await.map_err(|error| place.name(error)) }
        }))
    }

    /// Beside the files, in the same store. Whether that is shared is known once it is open.
    fn coordination_in_files(
        &self,
        files: &Slot<Arc<dyn FileStore>>,
        shared: Option<&'static str>,
    ) -> Slot<Coordination> {
        let known = files.describe();
        let known = [(DURABLE, known.durable), (SHARED, known.shared)];
        let known = known.into_iter().filter_map(|(capability, has)| has.then_some(capability));
        let (place, namespace, files) = (files.place().clone().unless(SETTING), self.namespace.clone(), files.lazy());
        later(place, known, move || {
            let (files, namespace) = (Arc::clone(&files), namespace.clone());
            async move { in_files(files.get().await?, &namespace, shared) }
        })
    }
}

/// One that is opened when it is first needed. Its errors name the place already.
fn later<F>(
    place: Place,
    known: impl IntoIterator<Item = Capability>,
    open: impl Fn() -> F + Send + Sync + 'static,
) -> Slot<Coordination>
where
    F: Future<Output = Result<Coord>> + Send + 'static,
{
    let leases = Leases::default();
    let (all, setting) = (leases.clone(), place.setting().to_owned());
    let store = Arc::new(Lazy::new(move || {
        let (opening, leases, setting) = (open(), all.clone(), setting.clone());
        Box::pin(async move {
            let opened = Coordination::new(opening.await?).with_leases(leases);
            tracing::info!(name: "services.opened", setting, "a service is open");
            Ok(opened)
        })
    }));
    // What it can do decides whether a lock is refused, so that nothing is said of it before it is open.
    let deferred = Deferred { store: Arc::clone(&store), known: Capabilities::default() };
    let until_then = Coordination::new(Arc::new(deferred)).with_leases(leases);
    Slot::new(SERVICE, place, store, until_then, known)
}

/// Whether replicas share a service at this URL.
pub(crate) fn is_shared(service: &str, config: &ServiceConfig) -> bool {
    config.resolve(service).is_ok_and(|url| !matches!(url.scheme(), "memory" | "file" | "tantivy"))
}

fn in_files(files: &Arc<dyn FileStore>, namespace: &Namespace, shared: Option<&'static str>) -> Result<Coord> {
    let mut config = FilesConfig::default();
    if !files.capabilities().has(SHARED) {
        if let Some(service) = shared {
            return Err(alone(SETTING, service));
        }
        // A look at a local file costs nothing.
        config = config.with_longest_pause(std::time::Duration::from_secs(1))?;
    }
    let store =
        FilesCoordStore::new(Arc::clone(files), namespace, config).map_err(|error| error.with_setting(SETTING))?;
    Ok(Arc::new(store))
}

/// Refuses a store that is open, and that gives no lock since replicas share it and it may forget: whoever asked for it would be told
/// so by each call.
pub(crate) fn check(slot: &Slot<Coordination>) -> Result<()> {
    let described = slot.describe();
    let forgets = described.state == ServiceState::Open && described.shared && !described.durable;
    match described.missing.into_iter().next_back() {
        Some(missing) if slot.is_wanted() && forgets => Err(Error::invalid_config(&described.setting, missing)),
        _ => Ok(()),
    }
}

fn alone(setting: &str, service: &str) -> Error {
    let is = if matches!(service, "cache" | "search") { "is" } else { "are" };
    let message = format!(
        "{service} {is} shared by replicas, and coordination is not: each replica would be alone, and do what only one \
         may. Name a store that all of them share: s3:, redis:"
    );
    Error::invalid_config(setting, message)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CoordStore for Deferred<Coordination> {
    async fn get_with(&self, key: &CoordKey, options: coord::GetOptions) -> Result<Option<Record>> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().get_with(key, options).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: coord::PutOptions) -> Result<PutOutcome> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().put_with(key, value, options).await
    }

    async fn remove_with(
        &self,
        key: &CoordKey,
        version: Version,
        options: coord::RemoveOptions,
    ) -> Result<RemoveOutcome> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().remove_with(key, version, options).await
    }

    async fn scan_with(&self, options: coord::ScanOptions) -> Result<Page> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().scan_with(options).await
    }

    async fn now_with(&self, options: coord::NowOptions) -> Result<Timestamp> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().now_with(options).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: coord::WaitOptions) {
        match self.store.within(&mut Some(options.limit)).await {
            Ok(opened) => opened.store().wait_with(key, seen, options).await,
            // Who waits for a store that is away goes on waiting.
            Err(_) => tokio::time::sleep(options.limit.min(std::time::Duration::from_secs(1))).await,
        }
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().raise_with(fence, options).await
    }

    async fn beat_with(&self, key: &CoordKey, version: Version, options: coord::BeatOptions) -> Result<coord::Beaten> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().beat_with(key, version, options).await
    }

    async fn beats_with(&self, group: &CoordKey, options: coord::BeatsOptions) -> Result<coord::Beats> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.store().beats_with(group, options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |opened| opened.store().capabilities())
    }

    async fn health(&self) -> Health {
        self.health_of(SERVICE.as_str(), |opened| opened.store().health()).await
    }
}
