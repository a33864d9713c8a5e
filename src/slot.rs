//! The table of services: what can be done with each, whatever it is.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use statehouse_cache::Caches;
use statehouse_core::{Error, ErrorKind, Health, Result};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;
use tokio::time::timeout;

use crate::lazy::{Lazy, shut_down};

/// How long a health check waits for a service to be opened.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is behind a row of the table, once it is open.
#[async_trait]
pub(crate) trait Opened: Debug + Send + Sync + 'static {
    async fn health(&self) -> Health;

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
}

#[async_trait]
impl Opened for Arc<dyn SessionStore> {
    async fn health(&self) -> Health {
        (**self).health().await
    }
}

#[async_trait]
impl Opened for Arc<dyn FileStore> {
    async fn health(&self) -> Health {
        (**self).health().await
    }
}

#[cfg(feature = "_search")]
#[async_trait]
impl Opened for Arc<statehouse_search::Indexes> {
    async fn health(&self) -> Health {
        (**self).health().await
    }

    async fn close(&self) -> Result<()> {
        (**self).close().await
    }
}

/// A service that is open, or will be when it is first needed.
pub(crate) struct Slot<S, H = S> {
    name: &'static str,
    store: Arc<Lazy<S>>,
    /// What is handed out until it is open.
    until_then: H,
    wanted: AtomicBool,
}

impl<S: Opened, H> Slot<S, H> {
    pub(crate) fn new(name: &'static str, store: Arc<Lazy<S>>, until_then: H) -> Self {
        Self { name, store, until_then, wanted: AtomicBool::new(false) }
    }

    /// Says that the program uses it.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The store, opened now if it is not open.
    #[cfg(feature = "_search")]
    pub(crate) async fn get(&self) -> Result<&S> {
        let store = self.store.get().await?;
        if self.store.is_closed() { Err(shut_down()) } else { Ok(store) }
    }
}

impl<S: Opened + Clone> Slot<S> {
    /// What is open already.
    pub(crate) fn ready(name: &'static str, store: S) -> Self {
        Self::new(name, Arc::new(Lazy::ready(store.clone())), store)
    }

    /// What can be handed out at once: the store itself, or what opens it.
    pub(crate) fn handle(&self) -> &S {
        self.want();
        self.store.opened().unwrap_or(&self.until_then)
    }
}

impl<S: Debug + Send + Sync, H> Debug for Slot<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).field("store", &self.store).finish_non_exhaustive()
    }
}

/// A row of the table.
#[async_trait]
pub(crate) trait Row: Debug + Send + Sync {
    fn name(&self) -> &'static str;

    /// Whether the program has asked for it.
    fn is_wanted(&self) -> bool;

    /// Opens it if it is not open.
    async fn open(&self) -> Result<()>;

    async fn health(&self) -> Health;

    /// Finishes what is under way; what is not open will not be.
    async fn close(&self) -> Result<()>;
}

#[async_trait]
impl<S: Opened, H: Send + Sync> Row for Slot<S, H> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    async fn open(&self) -> Result<()> {
        self.store.get().await.map(drop)
    }

    async fn health(&self) -> Health {
        if self.store.is_closed() {
            return Health::of(self.name, Duration::ZERO, Err(shut_down()));
        }
        let start = Instant::now();
        let late = |_| Err(Error::new(ErrorKind::Timeout, "the service is still being opened"));
        match timeout(PATIENCE, self.store.get()).await.unwrap_or_else(late) {
            Ok(store) => store.health().await,
            Err(error) => Health::of(self.name, start.elapsed(), Err(error)),
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
