use std::sync::Arc;

use statehouse_cache::{CacheBuilder, Caches};
use statehouse_core::{Health, Namespace, Result};
use statehouse_filestore::{FileStore, Files};
use statehouse_session::SessionStore;

use crate::Config;
use crate::open;

/// The services of one application, opened from URLs. Clones share them.
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
/// scans.put("p42/chest.dcm", "DICM").content_type("application/dicom").if_absent().await?;
/// assert_eq!(scans.get("p42/chest.dcm").range(..2).bytes().await?, "DI");
///
/// services.shutdown().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: Namespace,
    caches: Caches,
    sessions: Arc<dyn SessionStore>,
    files: Arc<dyn FileStore>,
    #[cfg(feature = "_search")]
    search: crate::search_index::Indexes,
}

/// What each service answered to one health check.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServicesHealth {
    /// The cache.
    pub cache: Health,
    /// The sessions.
    pub sessions: Health,
    /// The files.
    pub files: Health,
    /// The search indexes.
    #[cfg(feature = "_search")]
    pub search: Health,
}

impl Services {
    /// Opens what the configuration names, and checks it with one round trip each.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a malformed URL, an unknown scheme or parameter, a backend
    /// that is not compiled in, or a bucket that does not exist; [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`Timeout`](crate::ErrorKind::Timeout) for a server that does not answer;
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated) and
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for wrong credentials. Each names the setting.
    pub async fn open(config: Config) -> Result<Self> {
        let namespace = config.namespace()?;
        // The text is checked before anything is opened: a typo in the last setting should not leave folders behind.
        let (cache, sessions) = (config.cache.resolve("cache")?, config.sessions.resolve("sessions")?);
        let files = config.files.resolve("files")?;
        #[cfg(feature = "_search")]
        let search = config.search.resolve("search")?;
        Ok(Self(Arc::new(Inner {
            caches: open::cache(cache, &namespace).await?,
            sessions: open::sessions(sessions, &namespace).await?,
            files: open::files(files).await?,
            #[cfg(feature = "_search")]
            search: crate::search_index::Indexes::open(search, &namespace).await?,
            namespace,
        })))
    }

    /// The cache of this name, to be configured and opened.
    pub fn cache<V>(&self, name: &str) -> CacheBuilder<V> {
        self.0.caches.cache(name)
    }

    /// The store of the sessions, for [`SessionLayer::new`](crate::SessionLayer::new).
    #[must_use]
    pub fn sessions(&self) -> Arc<dyn SessionStore> {
        Arc::clone(&self.0.sessions)
    }

    /// The files of this name, apart from those of any other name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`] describes.
    pub fn files(&self, name: &str) -> Result<Files> {
        Ok(Files::new(Arc::clone(&self.0.files), self.0.namespace.child(name)?))
    }

    /// The search index of this name, to be opened.
    #[cfg(feature = "_search")]
    pub fn search<'s, D: crate::search::Document>(&'s self, name: &'s str) -> crate::SearchBuilder<'s, D> {
        crate::SearchBuilder::new(&self.0.search, name)
    }

    /// The namespace of everything that these services store.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The store of the files, without a name.
    #[must_use]
    pub fn file_store(&self) -> &Arc<dyn FileStore> {
        &self.0.files
    }

    /// Asks every service how it is, all at once.
    pub async fn health(&self) -> ServicesHealth {
        let inner = &self.0;
        #[cfg(feature = "_search")]
        let search = inner.search.health();
        #[cfg(not(feature = "_search"))]
        let search = std::future::ready(());
        let (cache, sessions, files, search) =
            tokio::join!(inner.caches.health(), inner.sessions.health(), inner.files.health(), search);
        #[cfg(not(feature = "_search"))]
        let () = search;
        ServicesHealth {
            cache,
            sessions,
            files,
            #[cfg(feature = "_search")]
            search,
        }
    }

    /// Serves the application, with time limits for its clients and an end that loses nothing.
    #[cfg(feature = "serve")]
    #[must_use]
    pub fn operations(&self) -> crate::Operations {
        crate::Operations::new(self.clone())
    }

    /// Finishes what is under way: commits and closes the open search indexes. Everything else that was acknowledged is
    /// stored already, and connections close when the last clone is dropped.
    ///
    /// # Errors
    /// What an index says that cannot be committed.
    #[cfg_attr(
        not(feature = "_search"),
        expect(clippy::unused_async, reason = "only an index has something to finish")
    )]
    pub async fn shutdown(&self) -> Result<()> {
        #[cfg(feature = "_search")]
        self.0.search.close().await?;
        Ok(())
    }
}
