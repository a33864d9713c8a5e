//! The table of services: what can be done with each, whatever it is.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_cache::Caches;
use statehouse_core::{Capabilities, Capability, Error, Health, Result};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;

use crate::description::{ServiceDescription, ServiceState};
use crate::lazy::{Lazy, shut_down};
use crate::place::Place;
use crate::service::Service;
use crate::watched::{Seen, Watched};

/// What is behind a row of the table, once it is open.
#[async_trait]
pub(crate) trait Opened: Debug + Send + Sync + 'static {
    async fn health(&self) -> Health;

    fn capabilities(&self) -> Capabilities;

    /// What its server is and which version, where that is asked of the service itself.
    async fn release(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Finishes what is under way.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Opened for Caches {
    async fn health(&self) -> Health {
        Self::health(self).await
    }

    fn capabilities(&self) -> Capabilities {
        Self::capabilities(self)
    }
}

#[async_trait]
impl Opened for Arc<dyn SessionStore> {
    async fn health(&self) -> Health {
        (**self).health().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
}

#[async_trait]
impl Opened for Arc<dyn FileStore> {
    async fn health(&self) -> Health {
        (**self).health().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
}

#[cfg(feature = "_search")]
#[async_trait]
impl Opened for Arc<statehouse_search::Indexes> {
    async fn health(&self) -> Health {
        (**self).health().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn release(&self) -> Result<Option<String>> {
        (**self).release().await
    }

    async fn close(&self) -> Result<()> {
        (**self).close().await
    }
}

#[cfg(feature = "coord")]
#[async_trait]
impl Opened for statehouse_coord::Coordination {
    async fn health(&self) -> Health {
        self.store().health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.store().capabilities()
    }

    async fn close(&self) -> Result<()> {
        Self::close(self).await;
        Ok(())
    }
}

#[cfg(feature = "coord")]
#[async_trait]
impl Opened for Arc<dyn statehouse_coord::Signals> {
    async fn health(&self) -> Health {
        (**self).health().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
}

/// A service that is open, or will be when it is first needed.
pub(crate) struct Slot<S, H = S> {
    service: Service,
    place: Place,
    store: Arc<Lazy<S>>,
    /// What is handed out until it is open, and what every store of its kind can do.
    until_then: H,
    known: Capabilities,
    wanted: Arc<AtomicBool>,
    watched: Watched,
}

impl<S: Opened, H> Slot<S, H> {
    pub(crate) fn new(
        service: Service,
        place: Place,
        store: Arc<Lazy<S>>,
        until_then: H,
        known: impl IntoIterator<Item = Capability>,
    ) -> Self {
        let (wanted, watched) = (Arc::default(), Watched::default());
        Self { service, place, store, until_then, known: known.into_iter().collect(), wanted, watched }
    }

    /// What says that the program uses it, for who knows only later.
    #[cfg(feature = "coord")]
    pub(crate) fn wanted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wanted)
    }

    /// The store, to be opened by another service that lies in it.
    #[cfg(feature = "coord")]
    pub(crate) fn lazy(&self) -> Arc<Lazy<S>> {
        Arc::clone(&self.store)
    }

    /// The store, opened now if it is not open.
    #[cfg(feature = "_search")]
    pub(crate) async fn get(&self) -> Result<&S> {
        let store = self.store.get().await?;
        if self.store.is_closed() { Err(shut_down()) } else { Ok(store) }
    }

    async fn look(&self, start: Instant) -> Health {
        self.store.health(Opened::health).await.unwrap_or_else(|error| self.down(start, error))
    }

    fn down(&self, start: Instant, error: Error) -> Health {
        let named = if error.setting().is_some() { error } else { error.with_setting(self.place.setting()) };
        Health::of(self.service.as_str(), start.elapsed(), Err(named))
    }
}

impl<S: Opened + Clone> Slot<S> {
    /// What is open already.
    pub(crate) fn ready(service: Service, place: Place, store: S) -> Self {
        Self::new(service, place, Arc::new(Lazy::ready(store.clone())), store, [])
    }

    /// What can be handed out at once: the store itself, or what opens it.
    pub(crate) fn handle(&self) -> &S {
        self.want();
        self.handle_unasked()
    }

    /// The same for who only looks, and does not say that the program uses it.
    pub(crate) fn handle_unasked(&self) -> &S {
        self.store.opened().unwrap_or(&self.until_then)
    }
}

#[cfg(all(feature = "coord", feature = "serve"))]
impl<S: Opened> Slot<S> {
    pub(crate) fn is_shared_and_open(&self) -> bool {
        let shared = statehouse_core::capability::SHARED;
        self.store.opened().is_some_and(|store| store.capabilities().has(shared))
    }
}

impl<S: Debug + Send + Sync, H> Debug for Slot<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("service", &self.service).field("store", &self.store).finish_non_exhaustive()
    }
}

/// A row of the table.
#[async_trait]
pub(crate) trait Row: Debug + Send + Sync {
    fn service(&self) -> Service;

    fn place(&self) -> &Place;

    /// Says that the program uses it.
    fn want(&self);

    /// Whether the program has asked for it.
    fn is_wanted(&self) -> bool;

    /// Opens it if it is not open.
    async fn open(&self) -> Result<()>;

    fn describe(&self) -> ServiceDescription;

    /// How it is, within [`HEALTH_WITHIN`](crate::lazy::HEALTH_WITHIN), and how it was before.
    async fn health(&self) -> (Health, Seen);

    /// What its server is and which version, where that is asked of the service itself.
    async fn release(&self) -> Result<Option<String>>;

    /// Finishes what is under way; what is not open will not be.
    async fn close(&self) -> Result<()>;
}

#[async_trait]
impl<S: Opened, H: Send + Sync> Row for Slot<S, H> {
    fn service(&self) -> Service {
        self.service
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    async fn open(&self) -> Result<()> {
        self.store.get().await.map(drop)
    }

    fn describe(&self) -> ServiceDescription {
        let opened = self.store.opened();
        let state = match (self.store.is_closed(), self.is_wanted(), opened) {
            (true, ..) => ServiceState::Closed,
            (_, false, _) => ServiceState::NotUsed,
            (_, _, None) => ServiceState::NotOpen,
            (_, _, Some(_)) => ServiceState::Open,
        };
        let can = opened.map_or_else(|| self.known.clone(), Opened::capabilities);
        ServiceDescription::of(self.service, state, &self.place, &can)
    }

    async fn health(&self) -> (Health, Seen) {
        let start = Instant::now();
        let health = if self.store.is_closed() {
            Health::of(self.service.as_str(), Duration::ZERO, Err(shut_down()))
        } else {
            self.look(start).await
        };
        let seen = self.watched.saw(health.status, Instant::now());
        (health, seen)
    }

    async fn release(&self) -> Result<Option<String>> {
        match self.store.opened() {
            Some(store) => store.release().await,
            None => Ok(None),
        }
    }

    async fn close(&self) -> Result<()> {
        self.store.close();
        match self.store.opened() {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}
