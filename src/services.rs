use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_cache::{CacheBuilder, Caches};
use statehouse_core::{Error, ErrorKind, Health, Namespace, Result, Retry};
use statehouse_filestore::{FileStore, Files};
use statehouse_session::SessionStore;

use crate::place::Wanted;
use crate::unopened::Unopened;
use crate::{Config, open};

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
/// scans.put("p42/chest.dcm", "DICM").content_type("application/dicom").await?;
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
    search: statehouse_search::Indexes,
    /// Set by the shutdown.
    is_shut_down: AtomicBool,
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
        Self::builder(config).open().await
    }

    /// For services that the application has opened itself, beside those that the configuration names.
    pub fn builder(config: Config) -> ServicesBuilder {
        ServicesBuilder { config, caches: None, sessions: None, files: None }
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

    /// Asks every service how it is, all at once. After a [`shutdown`](Self::shutdown) none is up.
    pub async fn health(&self) -> ServicesHealth {
        let inner = &self.0;
        if inner.is_shut_down.load(Ordering::Acquire) {
            return ServicesHealth::shut_down();
        }
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
        self.0.is_shut_down.store(true, Ordering::Release);
        #[cfg(feature = "_search")]
        self.0.search.close().await?;
        Ok(())
    }
}

impl ServicesHealth {
    /// Whether every service is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.iter().all(|(_, health)| health.is_up())
    }

    /// Each service's name and health.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Health)> {
        [
            ("cache", &self.cache),
            ("sessions", &self.sessions),
            ("files", &self.files),
            #[cfg(feature = "_search")]
            ("search", &self.search),
        ]
        .into_iter()
    }

    fn shut_down() -> Self {
        let health = |service: &str| {
            let error = Error::new(ErrorKind::Unavailable, "the services were shut down").with_retry(Retry::Never);
            Health::of(service, Duration::ZERO, Err(error))
        };
        Self {
            cache: health("cache"),
            sessions: health("sessions"),
            files: health("files"),
            #[cfg(feature = "_search")]
            search: health("search"),
        }
    }
}

/// Services to be opened: made by [`Services::builder`].
///
/// ```
/// use std::sync::Arc;
/// use statehouse::files::MemoryFileStore;
/// use statehouse::{Config, Services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse::Result<()> {
/// let store = Arc::new(MemoryFileStore::new());
/// let services = Services::builder(Config::in_memory()).with_files(store).open().await?;
/// services.files("scans")?.put("p42/chest.dcm", "DICM").await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is opened until `open` is awaited"]
pub struct ServicesBuilder {
    config: Config,
    caches: Option<Caches>,
    sessions: Option<Arc<dyn SessionStore>>,
    files: Option<Arc<dyn FileStore>>,
}

impl ServicesBuilder {
    /// Uses these caches, for example `Caches::redis` with a client or a pool of the application's own. The URL of the
    /// cache is not looked at.
    pub fn with_caches(mut self, caches: Caches) -> Self {
        self.caches = Some(caches);
        self
    }

    /// Uses this store of sessions. The URL of the sessions is not looked at.
    pub fn with_sessions(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.sessions = Some(store);
        self
    }

    /// Uses this store of files. The URL of the files is not looked at.
    pub fn with_files(mut self, store: Arc<dyn FileStore>) -> Self {
        self.files = Some(store);
        self
    }

    /// Opens what was not brought along.
    ///
    /// # Errors
    /// As [`Services::open`].
    pub async fn open(self) -> Result<Services> {
        let Self { config, caches, sessions, files } = self;
        let namespace = config.namespace()?;
        // Everything is checked before anything is opened: a typo in the last setting should not leave folders behind.
        let caches = Wanted::new(caches, &config.cache, "cache")?;
        let sessions = Wanted::new(sessions, &config.sessions, "sessions")?;
        let files = Wanted::new(files, &config.files, "files")?;
        #[cfg(feature = "_search")]
        let search = Wanted::new(None, &config.search, "search")?;
        Ok(Services(Arc::new(Inner {
            caches: caches.open(|url| open::cache(url, &namespace), Err).await?,
            sessions: sessions
                .open(|url| open::sessions(url, &namespace), |error| Ok(Arc::new(Unopened::new("sessions", error))))
                .await?,
            files: files
                .open(|url| open::files(url, &namespace), |error| Ok(Arc::new(Unopened::new("files", error))))
                .await?,
            #[cfg(feature = "_search")]
            search: search.open(|url| statehouse_search::Indexes::open(url, &namespace), Err).await?,
            namespace,
            is_shut_down: AtomicBool::new(false),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_has_configured_may_be_missing_until_it_is_used() {
        // Nobody can make a folder there, not even root.
        let mut config = Config::embedded("/sys/statehouse");
        let refused = Services::open(config.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
        let text = refused.to_string();
        assert!(text.contains("/sys/statehouse/sessions") && text.contains("STATEHOUSE_SESSIONS_URL"), "{text}");

        (config.sessions.assumed, config.files.assumed) = (true, true);
        let services = Services::open(config).await.unwrap();
        let cache = services.cache::<u32>("numbers").time_to_live(Duration::from_secs(60)).open().unwrap();
        cache.get_or_load("one", || async { Ok::<_, Error>(1) }).await.unwrap();
        let refused = services.files("scans").unwrap().put("a", "b").await.unwrap_err();
        assert_eq!(refused.setting(), Some("STATEHOUSE_FILES_URL"), "{refused}");
        let health = services.health().await;
        assert!(!health.is_up() && health.cache.is_up());
        let down = health.iter().filter(|(_, health)| !health.is_up()).map(|(name, _)| name);
        assert_eq!(down.collect::<Vec<_>>(), ["sessions", "files"]);
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_a_folder_is_a_wrong_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        std::fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("below")] {
            let url = |scheme: &str| format!("{scheme}:{}", place.display());
            for (config, setting) in [
                (Config::in_memory().with_sessions(url("file")), "STATEHOUSE_SESSIONS_URL"),
                (Config::in_memory().with_files(url("file")), "STATEHOUSE_FILES_URL"),
            ] {
                let error = Services::open(config).await.unwrap_err();
                assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
                assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn after_a_shutdown_nothing_is_up() {
        let services = Services::open(Config::in_memory()).await.unwrap();
        assert!(services.health().await.is_up());
        services.shutdown().await.unwrap();
        assert!(services.health().await.iter().all(|(_, health)| !health.is_up()));
    }

    #[tokio::test]
    async fn brought_stores_are_used_and_their_urls_are_not_looked_at() {
        let store = Arc::new(statehouse_filestore::MemoryFileStore::new());
        let sessions = Arc::new(statehouse_session::MemorySessionStore::new());
        let caches = Caches::memory(statehouse_cache::MemoryConfig::default());
        let nowhere = Config::in_memory().with_files("no url").with_sessions("no url").with_cache("no url");
        let builder = Services::builder(nowhere).with_caches(caches).with_sessions(sessions);
        let services = builder.with_files(Arc::clone(&store) as _).open().await.unwrap();
        services.files("scans").unwrap().put("a", "b").await.unwrap();
        let same = Files::new(store, services.namespace().child("scans").unwrap());
        assert!(same.exists("a").await.unwrap());
    }
}
