//! The table of services, and what an application does with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use statehouse_cache::{CacheBuilder, Caches};
use statehouse_core::{Namespace, Result};
use statehouse_filestore::{FileStore, Files};
use statehouse_session::SessionStore;

use crate::health::{ServiceHealth, ServicesHealth};
#[cfg(feature = "serve")]
use crate::lifecycle::Lifecycle;
#[cfg(feature = "serve")]
use crate::service::Service;
use crate::slot::{Row, Slot};

/// The services of one application, by URLs. Clones share them.
///
/// ```
/// use std::time::Duration;
/// use statehouse::{Config, Services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse::Result<()> {
/// let services = Services::open(Config::in_memory()).await?;
///
/// let rates = services.cache::<f64>("rates").time_to_live(Duration::from_secs(600)).open()?;
/// let rate = rates.get_or_load("EUR/USD", || async { Ok::<_, std::io::Error>(1.08) }).await?;
/// assert_eq!(*rate, 1.08);
///
/// let scans = services.files("scans")?;
/// scans.put("p42/chest.dcm", "DICM").content_type("application/dicom").await?;
/// assert_eq!(scans.get("p42/chest.dcm").range(..2).bytes().await?, "DI");
///
/// services.shutdown().await?;
/// # Ok(()) }
/// ```
///
/// # When a service is opened
/// [`open`](Self::open) reads every setting, and refuses one that is wrong. A service itself is opened when it is first
/// needed: by the first call of a handle, by [`connect`](Self::connect), or by [`health`](Self::health). One that no part
/// of the program asks for is never opened: no folder is made for it and no server asked. If opening fails, the call says
/// why, with the setting, and the next call tries again. It goes on when the deadline of the call is over.
///
/// Services whose URLs lead to the same Redis in the same way share one client, and so its connections.
#[derive(Clone, Debug)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: Namespace,
    pub(crate) cache: Slot<Caches>,
    pub(crate) sessions: Slot<Arc<dyn SessionStore>>,
    pub(crate) files: Slot<Arc<dyn FileStore>>,
    /// What is handed out in place of the files if they are only read.
    pub(crate) read_only: Option<Arc<dyn FileStore>>,
    #[cfg(feature = "_search")]
    pub(crate) search: Slot<Arc<statehouse_search::Indexes>, ()>,
    #[cfg(feature = "coord")]
    pub(crate) coordination: Slot<statehouse_coord::Coordination>,
    #[cfg(feature = "coord")]
    pub(crate) signals: Slot<Arc<dyn statehouse_coord::Signals>>,
    /// What this replica is called, if it was said.
    #[cfg(feature = "coord")]
    pub(crate) label: Option<Arc<str>>,
    /// Where members are if not among the other records of coordination.
    #[cfg(feature = "coord")]
    pub(crate) members: Option<Arc<dyn statehouse_coord::CoordStore>>,
    /// Replicas in other namespaces of the Redis in which members are.
    #[cfg(feature = "coord-redis")]
    pub(crate) neighbours: Option<crate::neighbours::Neighbours>,
    #[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
    pub(crate) redis: crate::in_redis::RedisClients,
    pub(crate) is_shut_down: AtomicBool,
    #[cfg(feature = "serve")]
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Inner {
    /// All services, in the order in which they are told of.
    pub(crate) fn table(&self) -> Vec<&dyn Row> {
        vec![
            &self.cache,
            &self.sessions,
            &self.files,
            #[cfg(feature = "_search")]
            &self.search,
            #[cfg(feature = "coord")]
            &self.coordination,
            #[cfg(feature = "coord")]
            &self.signals,
        ]
    }

    pub(crate) fn wanted(&self) -> impl Iterator<Item = &dyn Row> {
        self.table().into_iter().filter(|row| row.is_wanted())
    }
}

#[cfg(feature = "coord")]
impl Inner {
    pub(crate) fn coordinate(&self, store: &statehouse_coord::Coordination) -> statehouse_coord::Coordination {
        let coord = self.called(store.clone()).with_signals(crate::signals::asked(&self.signals));
        match &self.members {
            Some(members) => coord.with_members(Arc::clone(members)),
            None => coord,
        }
    }

    /// The replicas, if they can know of each other. Nobody has asked for coordination by that.
    pub(crate) fn membership(&self) -> Option<statehouse_coord::Membership> {
        // Where members are elsewhere, coordination is shared by nobody: there is no epoch that one could be behind.
        if let Some(members) = &self.members {
            return Some(self.called(statehouse_coord::Coordination::new(Arc::clone(members))).membership());
        }
        let is_shared = self.coordination.describe().shared;
        is_shared.then(|| self.called(self.coordination.handle_unasked().clone()).membership())
    }

    fn called(&self, coord: statehouse_coord::Coordination) -> statehouse_coord::Coordination {
        match &self.label {
            Some(label) => coord.with_label(label),
            None => coord,
        }
    }
}

#[cfg(feature = "serve")]
impl Inner {
    pub(crate) fn row(&self, service: Service) -> Option<&dyn Row> {
        self.table().into_iter().find(|row| row.service() == service)
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }
}

impl Services {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The cache of this name, to be configured and opened.
    pub fn cache<V>(&self, name: &str) -> CacheBuilder<V> {
        self.0.cache.handle().cache(name)
    }

    /// The store of the sessions, for [`SessionLayer::new`](crate::SessionLayer::new). Until it is open, its capabilities
    /// are those that every store of its kind has.
    #[must_use]
    pub fn sessions(&self) -> Arc<dyn SessionStore> {
        Arc::clone(self.0.sessions.handle())
    }

    /// The files of this name, apart from those of any other name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word without a dot, as [`Namespace::child`] takes it.
    pub fn files(&self, name: &str) -> Result<Files> {
        let namespace = self.0.namespace.child(name)?;
        Ok(Files::new(Arc::clone(self.file_store()), namespace))
    }

    /// The store of the files, without a name. Until it is open, its capabilities are those that every store of its kind
    /// has.
    #[must_use]
    pub fn file_store(&self) -> &Arc<dyn FileStore> {
        let files = self.0.files.handle();
        self.0.read_only.as_ref().unwrap_or(files)
    }

    #[cfg(feature = "_search")]
    pub(crate) fn indexes(&self) -> &Slot<Arc<statehouse_search::Indexes>, ()> {
        self.0.search.want();
        &self.0.search
    }

    /// What replicas do together: locks, what runs once or at planned times, shared state, what counts once; counters, limits,
    /// permits and messages.
    ///
    /// Unless `STATEHOUSE_COORDINATION_URL` says where, the records lie beside the files. If another service is shared by
    /// replicas and the files are not, there is no such place, and [`connect`](Self::connect) or the first use says so. A
    /// [`shutdown`](Self::shutdown) gives back what is locked.
    ///
    /// Counters, limits, permits and messages are of the moment and lie elsewhere: in the Redis of the sessions (feature
    /// `coord-redis`), or in memory if no service is shared. Else each replica would count for itself, so that every call of
    /// them is [`Unsupported`](crate::ErrorKind::Unsupported), naming `STATEHOUSE_SESSIONS_URL`.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let coord = services.coordination();
    /// assert_eq!(coord.counter("visits").add(1).await?, 1);
    /// let guard = coord.lock("nightly-export").await?;
    /// guard.run(async { Ok::<_, statehouse::Error>(()) }).await?; // dropped if the lock is lost
    /// guard.release().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    #[must_use]
    pub fn coordination(&self) -> statehouse_coord::Coordination {
        self.0.coordinate(self.0.coordination.handle())
    }

    /// The namespace of everything that these services store.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Opens what the program has asked for and is not open yet, all at once: to be called once its handles are made, by
    /// a program that is not to start where a service cannot be had. [`Operations::serve`](crate::Operations::serve)
    /// does so.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// # let folder = std::env::temp_dir().join("statehouse-connect");
    /// let config = Config::in_memory().with_cache("redis://redis.internal").with_files(format!("file:{}", folder.display()));
    /// let services = Services::open(config).await?;
    /// let scans = services.files("scans")?;
    /// services.connect().await?; // the folder is there; nobody has asked for the cache
    /// # let _ = std::fs::remove_dir_all(&folder);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first of: [`Unauthenticated`](crate::ErrorKind::Unauthenticated) and
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for wrong credentials,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) for a server that does not
    /// answer, [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a bucket or database that does not exist, and for a server
    /// of coordination that may forget who has a lock. Each names the setting.
    pub async fn connect(&self) -> Result<()> {
        join_all(self.0.wanted().map(Row::open)).await.into_iter().collect::<Result<()>>()?;
        #[cfg(feature = "coord")]
        crate::coordination::check(&self.0.coordination)?;
        Ok(())
    }

    /// Asks every service that the program has asked for how it is, all at once, and opens it if it is not open. The answer
    /// is there within a second: what has not answered by then is down. A service that nobody asks for is left alone, and is
    /// not in the answer. After a [`shutdown`](Self::shutdown) none is up.
    pub async fn health(&self) -> ServicesHealth {
        let all = self.0.is_shut_down.load(Ordering::Acquire);
        let asked = self.0.table().into_iter().filter(|row| all || row.is_wanted());
        let answers = asked.map(|row| async move {
            let (health, seen) = row.health().await;
            ServiceHealth::of(row.service(), health, seen)
        });
        ServicesHealth(join_all(answers).await)
    }

    /// Finishes what is under way: leaves the other replicas, commits and closes the open search indexes, and gives back the locks of
    /// `coordination` once their guards are dropped. Everything else that was acknowledged is stored already, and connections
    /// close when the last clone is dropped. What was not opened before is not opened any
    /// more.
    ///
    /// # Errors
    /// What an index says that cannot be committed.
    pub async fn shutdown(&self) -> Result<()> {
        self.0.is_shut_down.store(true, Ordering::Release);
        // All at once: what hangs as it leaves takes no time from what is to be stored.
        let closing = join_all(self.0.table().into_iter().map(Row::close));
        let (_left, closed) = join(self.leave(), closing).await;
        closed.into_iter().collect()
    }

    #[cfg(feature = "serve")]
    async fn leave(&self) {
        self.0.lifecycle.end().await;
    }

    #[cfg(not(feature = "serve"))]
    fn leave(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

#[cfg(all(test, feature = "coord", feature = "serve"))]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn what_hangs_when_the_others_are_left_keeps_no_lock() {
        let services = Services::open(Config::in_memory()).await.unwrap();
        let guard = services.coordination().lock("export").await.unwrap();
        services.inner().lifecycle.at_shutdown(std::future::pending());
        let ending = services.clone();
        let ending = tokio::spawn(async move { ending.shutdown().await });
        timeout(Duration::from_secs(30), guard.lost()).await.expect("it is to be given back");
        ending.abort();
    }
}
