//! From a configuration to the rows of the table. Every URL is read here, and nothing is opened but what is in memory.

use std::sync::Arc;

use statehouse_cache::Caches;
use statehouse_core::{Capabilities, Capability, Namespace, Result};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;

use crate::config::ServiceConfig;
use crate::deferred::Deferred;
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
use crate::in_redis::RedisClients;
#[cfg(any(feature = "cache-redis", feature = "session-redis"))]
use crate::in_redis::{self, is_redis};
use crate::lazy::Lazy;
use crate::place::Place;
use crate::service::Service;
use crate::slot::{Opened, Slot};

/// Opens the services of one application.
pub(crate) struct Opening {
    pub(crate) namespace: Namespace,
    #[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
    pub(crate) clients: RedisClients,
}

impl Opening {
    pub(crate) async fn cache(&mut self, brought: Option<Caches>, config: &ServiceConfig) -> Result<Slot<Caches>> {
        const SERVICE: Service = Service::Cache;
        if let Some(caches) = brought {
            return Ok(Slot::ready(SERVICE, Place::brought(SERVICE), caches));
        }
        let url = config.resolve(SERVICE.as_str())?;
        Caches::check(&url, &self.namespace)?;
        let place = Place::of(SERVICE, &url)?;
        #[cfg(feature = "cache-redis")]
        if is_redis(&url) {
            use statehouse_cache::capability::SHARED;
            let (caches, until_then) = in_redis::caches(place.clone(), &self.clients.client(url)?, &self.namespace);
            return Ok(Slot::new(SERVICE, place, caches, until_then, [SHARED]));
        }
        Ok(Slot::ready(SERVICE, place, Caches::open(url, &self.namespace).await?))
    }

    pub(crate) async fn sessions(
        &mut self,
        brought: Option<Arc<dyn SessionStore>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<dyn SessionStore>>> {
        use statehouse_session::capability::{DURABLE, PRINCIPALS, UNEVICTED};
        const SERVICE: Service = Service::Sessions;
        if let Some(store) = brought {
            return Ok(Slot::ready(SERVICE, Place::brought(SERVICE), store));
        }
        let url = config.resolve(SERVICE.as_str())?;
        statehouse_session::check(&url, &self.namespace)?;
        let place = Place::of(SERVICE, &url)?;
        if url.scheme() == "memory" {
            return Ok(Slot::ready(SERVICE, place, statehouse_session::open(url, &self.namespace).await?));
        }
        #[cfg(feature = "session-redis")]
        if is_redis(&url) {
            use statehouse_session::capability::SHARED;
            let store = Arc::new(in_redis::sessions(place.clone(), url, &mut self.clients, &self.namespace)?);
            return Ok(deferred(SERVICE, place, store, [DURABLE, PRINCIPALS, SHARED], |later| Arc::new(later)));
        }
        let namespace = self.namespace.clone();
        let store = Arc::new(Lazy::named(place.clone(), move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { statehouse_session::open(url, &namespace).await }
        }));
        Ok(deferred(SERVICE, place, store, [DURABLE, PRINCIPALS, UNEVICTED], |later| Arc::new(later)))
    }

    pub(crate) async fn files(
        &self,
        brought: Option<Arc<dyn FileStore>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<dyn FileStore>>> {
        use statehouse_filestore::capability::{ALL, DURABLE, METADATA, PRESIGNED, SHARED};
        const SERVICE: Service = Service::Files;
        if let Some(store) = brought {
            return Ok(Slot::ready(SERVICE, Place::brought(SERVICE), store));
        }
        let url = config.resolve(SERVICE.as_str())?;
        statehouse_filestore::check(&url, &self.namespace)?;
        let place = Place::of(SERVICE, &url)?;
        let known: Capabilities = match url.scheme() {
            "memory" => {
                let files = statehouse_filestore::open(url, &self.namespace).await?;
                return Ok(Slot::ready(SERVICE, place, Arc::clone(files.store())));
            }
            "file" => ALL.into_iter().filter(|capability| ![PRESIGNED, SHARED].contains(capability)).collect(),
            _ => [DURABLE, SHARED, METADATA].into_iter().collect(),
        };
        let namespace = self.namespace.clone();
        let store = Arc::new(Lazy::named(place.clone(), move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { Ok(Arc::clone(statehouse_filestore::open(url, &namespace).await?.store())) }
        }));
        Ok(deferred(SERVICE, place, store, known.iter(), |later| Arc::new(later)))
    }

    #[cfg(feature = "_search")]
    pub(crate) fn search(
        &self,
        brought: Option<Arc<statehouse_search::Indexes>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<statehouse_search::Indexes>, ()>> {
        use statehouse_search::{Indexes, capability};
        const SERVICE: Service = Service::Search;
        if let Some(indexes) = brought {
            return Ok(Slot::new(SERVICE, Place::brought(SERVICE), Arc::new(Lazy::ready(indexes)), (), []));
        }
        let url = config.resolve(SERVICE.as_str())?;
        Indexes::check(&url, &self.namespace)?;
        let known = match url.scheme() {
            "memory" => &[][..],
            "tantivy" => &[capability::DURABLE],
            _ => &[capability::DURABLE, capability::SHARED],
        };
        let (place, namespace) = (Place::of(SERVICE, &url)?, self.namespace.clone());
        let store = Lazy::named(place.clone(), move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { Indexes::open(url, &namespace).await.map(Arc::new) }
        });
        Ok(Slot::new(SERVICE, place, Arc::new(store), (), known.iter().copied()))
    }
}

#[cfg(feature = "coord-redis")]
impl Opening {
    /// The client of the sessions.
    pub(crate) fn session_client(
        &mut self,
        url: statehouse_core::ServiceUrl,
    ) -> Result<Arc<Lazy<statehouse_redis::RedisClient>>> {
        #[cfg(feature = "session-redis")]
        let url = {
            let mut url = url;
            // What is left is of the connection, and decides who shares it.
            statehouse_session::RedisSessionStore::take_max_anonymous(&mut url)?;
            url
        };
        self.clients.client(url)
    }
}

/// A service that is handed out before it is open.
fn deferred<S: Opened>(
    service: Service,
    place: Place,
    store: Arc<Lazy<S>>,
    known: impl IntoIterator<Item = Capability>,
    until_then: impl FnOnce(Deferred<S>) -> S,
) -> Slot<S> {
    let known: Capabilities = known.into_iter().collect();
    let later = until_then(Deferred { store: Arc::clone(&store), known: known.clone() });
    Slot::new(service, place, store, later, known.iter())
}
