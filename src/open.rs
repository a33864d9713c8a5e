//! From a configuration to the rows of the table. Every URL is read here, and nothing is opened but what is in memory.

use std::sync::Arc;

use statehouse_cache::Caches;
use statehouse_core::{Capabilities, Namespace, Result};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;

use crate::config::ServiceConfig;
use crate::deferred::Deferred;
#[cfg(any(feature = "cache-redis", feature = "session-redis"))]
use crate::in_redis::{self, RedisClients, is_redis};
use crate::lazy::Lazy;
use crate::place::Place;
use crate::slot::Slot;

/// Opens the services of one application.
pub(crate) struct Opening {
    pub(crate) namespace: Namespace,
    #[cfg(any(feature = "cache-redis", feature = "session-redis"))]
    pub(crate) clients: RedisClients,
}

impl Opening {
    pub(crate) async fn cache(&mut self, brought: Option<Caches>, config: &ServiceConfig) -> Result<Slot<Caches>> {
        const NAME: &str = "cache";
        if let Some(caches) = brought {
            return Ok(Slot::ready(NAME, caches));
        }
        let url = config.resolve(NAME)?;
        Caches::check(&url, &self.namespace)?;
        #[cfg(feature = "cache-redis")]
        if is_redis(&url) {
            let place = Place::of(&url)?;
            let (caches, until_then) = in_redis::caches(place, &self.clients.client(url)?, &self.namespace);
            return Ok(Slot::new(NAME, caches, until_then));
        }
        Ok(Slot::ready(NAME, Caches::open(url, &self.namespace).await?))
    }

    pub(crate) async fn sessions(
        &mut self,
        brought: Option<Arc<dyn SessionStore>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<dyn SessionStore>>> {
        use statehouse_session::capability::{DURABLE, UNEVICTED};
        const NAME: &str = "sessions";
        if let Some(store) = brought {
            return Ok(Slot::ready(NAME, store));
        }
        let url = config.resolve(NAME)?;
        statehouse_session::check(&url, &self.namespace)?;
        let place = Place::of(&url)?;
        if url.scheme() == "memory" {
            return Ok(Slot::ready(NAME, statehouse_session::open(url, &self.namespace).await?));
        }
        #[cfg(feature = "session-redis")]
        if is_redis(&url) {
            use statehouse_session::capability::SHARED;
            let store = Arc::new(in_redis::sessions(place, url, &mut self.clients, &self.namespace)?);
            let known = [DURABLE, SHARED].into_iter().collect();
            return Ok(Slot::new(NAME, Arc::clone(&store), Arc::new(Deferred { store, known })));
        }
        let namespace = self.namespace.clone();
        let store = Arc::new(Lazy::named(place, move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { statehouse_session::open(url, &namespace).await }
        }));
        let known = [DURABLE, UNEVICTED].into_iter().collect();
        Ok(Slot::new(NAME, Arc::clone(&store), Arc::new(Deferred { store, known })))
    }

    pub(crate) async fn files(
        &self,
        brought: Option<Arc<dyn FileStore>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<dyn FileStore>>> {
        use statehouse_filestore::capability::{ALL, DURABLE, METADATA, SHARED};
        const NAME: &str = "files";
        if let Some(store) = brought {
            return Ok(Slot::ready(NAME, store));
        }
        let url = config.resolve(NAME)?;
        statehouse_filestore::check(&url)?;
        let place = Place::of(&url)?;
        let known: Capabilities = match url.scheme() {
            "memory" => {
                let files = statehouse_filestore::open(url, &self.namespace).await?;
                return Ok(Slot::ready(NAME, Arc::clone(files.store())));
            }
            "file" => ALL.into_iter().filter(|capability| *capability != SHARED).collect(),
            _ => [DURABLE, SHARED, METADATA].into_iter().collect(),
        };
        let namespace = self.namespace.clone();
        let store = Arc::new(Lazy::named(place, move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { Ok(Arc::clone(statehouse_filestore::open(url, &namespace).await?.store())) }
        }));
        Ok(Slot::new(NAME, Arc::clone(&store), Arc::new(Deferred { store, known })))
    }

    #[cfg(feature = "_search")]
    pub(crate) fn search(
        &self,
        brought: Option<Arc<statehouse_search::Indexes>>,
        config: &ServiceConfig,
    ) -> Result<Slot<Arc<statehouse_search::Indexes>, ()>> {
        use statehouse_search::Indexes;
        const NAME: &str = "search";
        if let Some(indexes) = brought {
            return Ok(Slot::new(NAME, Arc::new(Lazy::ready(indexes)), ()));
        }
        let url = config.resolve(NAME)?;
        Indexes::check(&url)?;
        let (place, namespace) = (Place::of(&url)?, self.namespace.clone());
        let store = Lazy::named(place, move || {
            let (url, namespace) = (url.clone(), namespace.clone());
            async move { Indexes::open(url, &namespace).await.map(Arc::new) }
        });
        Ok(Slot::new(NAME, Arc::new(store), ()))
    }
}
