//! How services are opened.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use statehouse_cache::Caches;
use statehouse_core::Result;
#[cfg(feature = "coord")]
use statehouse_core::{Capabilities, capability::SHARED};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;

use crate::config::Config;
use crate::open::Opening;
use crate::read_only::ReadOnly;
use crate::services::{Inner, Services};

impl Services {
    /// Reads what the configuration names. Nothing is opened yet but what is in memory; see
    /// [the type](Self#when-a-service-is-opened).
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the setting, for a malformed URL, an unknown scheme or
    /// parameter, a value that is not accepted, a backend that is not compiled in, or a file in the place of a folder: also
    /// for a service that is never used. Of search and coordination nothing is read where no feature of theirs is compiled in.
    pub async fn open(config: Config) -> Result<Self> {
        Self::builder(config).open().await
    }

    /// For services that the application has opened itself, beside those that the configuration names.
    pub fn builder(config: Config) -> ServicesBuilder {
        ServicesBuilder {
            config,
            caches: None,
            sessions: None,
            files: None,
            #[cfg(feature = "_search")]
            search: None,
            #[cfg(feature = "coord")]
            coordination: None,
            #[cfg(feature = "coord")]
            signals: None,
            #[cfg(feature = "coord")]
            label: None,
        }
    }
}

/// Services to be opened, of which the application brings some: made by [`Services::builder`]. The URL of one that is
/// brought is not looked at.
#[derive(Debug)]
#[must_use = "nothing is opened until `open` is awaited"]
pub struct ServicesBuilder {
    config: Config,
    caches: Option<Caches>,
    sessions: Option<Arc<dyn SessionStore>>,
    files: Option<Arc<dyn FileStore>>,
    #[cfg(feature = "_search")]
    search: Option<Arc<statehouse_search::Indexes>>,
    #[cfg(feature = "coord")]
    coordination: Option<Arc<dyn statehouse_coord::CoordStore>>,
    #[cfg(feature = "coord")]
    signals: Option<Arc<dyn statehouse_coord::Signals>>,
    #[cfg(feature = "coord")]
    label: Option<Arc<str>>,
}

impl ServicesBuilder {
    /// Uses these caches: a backend of the application's own, or a Redis client or pool that it has already.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use statehouse::cache::{Caches, MemoryCache, MemoryConfig};
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let caches = Caches::backend(|_name, _schema| Ok(Arc::new(MemoryCache::new(MemoryConfig::default()))));
    /// let services = Services::builder(Config::in_memory()).with_caches(caches).open().await?;
    /// let rates = services.cache("rates").time_to_live(Duration::from_secs(60)).open()?;
    /// rates.set("EUR/USD", 1.08).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A `deadpool_redis::Pool` of the application's own, for the cache and the sessions:
    ///
    /// ```no_run
    /// # #[cfg(not(all(feature = "cache-redis", feature = "session-redis")))] fn main() {}
    /// # #[cfg(all(feature = "cache-redis", feature = "session-redis"))]
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use statehouse::cache::Caches;
    /// use statehouse::redis::{RedisClient, deadpool_redis};
    /// use statehouse::session::RedisSessionStore;
    /// use statehouse::{Config, Namespace, Services};
    ///
    /// let pool = deadpool_redis::Config::from_url("redis://10.0.0.5").create_pool(Some(deadpool_redis::Runtime::Tokio1))?;
    /// let client = RedisClient::from_pool(pool).await?;
    /// let namespace = Namespace::new("clinic")?;
    /// let sessions = RedisSessionStore::connect(client.clone(), &namespace).await?;
    /// let services = Services::builder(Config::from_env()?.with_namespace("clinic"))
    ///     .with_caches(Caches::redis(client, &namespace))
    ///     .with_sessions(Arc::new(sessions))
    ///     .open()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn with_caches(mut self, caches: Caches) -> Self {
        self.caches = Some(caches);
        self
    }

    /// Uses this store of sessions.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse::session::{MemoryConfig, MemorySessionStore};
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let store = MemorySessionStore::with_config(MemoryConfig::default());
    /// let services = Services::builder(Config::in_memory()).with_sessions(Arc::new(store)).open().await?;
    /// # let _ = services.sessions();
    /// # Ok(()) }
    /// ```
    pub fn with_sessions(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.sessions = Some(store);
        self
    }

    /// Uses this store of files.
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
    ///
    /// Any `object_store` that the application has made itself:
    ///
    /// ```
    /// # #[cfg(not(feature = "filestore-s3"))] fn main() {}
    /// # #[cfg(feature = "filestore-s3")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use statehouse::files::object::{ObjectConfig, ObjectFileStore};
    /// use statehouse::{Config, Services};
    ///
    /// let store = ObjectFileStore::open(Arc::new(InMemory::new()), ObjectConfig::new().with_prefix("clinic")).await?;
    /// let services = Services::builder(Config::in_memory()).with_files(Arc::new(store)).open().await?;
    /// services.files("scans")?.put("p42/chest.dcm", "DICM").await?;
    /// # Ok(()) }
    /// ```
    pub fn with_files(mut self, store: Arc<dyn FileStore>) -> Self {
        self.files = Some(store);
        self
    }

    /// Uses these search indexes.
    ///
    /// ```
    /// # #[cfg(not(feature = "search-tantivy"))] fn main() {}
    /// # #[cfg(feature = "search-tantivy")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// use statehouse::search::{Indexes, TantivyConfig};
    /// use statehouse::{Config, Namespace, Services};
    ///
    /// let indexes = Indexes::tantivy(TantivyConfig::memory(), &Namespace::new("clinic")?);
    /// let services = Services::builder(Config::in_memory()).with_search(indexes).open().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// OpenSearch through a `reqwest::Client` of the application's own:
    ///
    /// ```no_run
    /// # #[cfg(not(feature = "search-opensearch"))] fn main() {}
    /// # #[cfg(feature = "search-opensearch")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use statehouse::core::ServiceUrl;
    /// use statehouse::search::{Indexes, OpenSearchConfig};
    /// use statehouse::{Config, Namespace, Services};
    ///
    /// let client = reqwest::Client::builder().no_proxy().build()?;
    /// let url = ServiceUrl::parse("APP_SEARCH_URL", "opensearch+http://search.internal:9200")?;
    /// let config = OpenSearchConfig::from_url(url)?.with_http_client(client);
    /// let indexes = Indexes::opensearch(config, &Namespace::new("clinic")?)?;
    /// let services = Services::builder(Config::in_memory()).with_search(indexes).open().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "_search")]
    pub fn with_search(mut self, indexes: statehouse_search::Indexes) -> Self {
        self.search = Some(Arc::new(indexes));
        self
    }

    /// Uses this store for what replicas do together. One that is not shared is refused beside a service that is, as a URL of such a one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse::coord::{MemoryConfig, MemoryCoordStore};
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let store = Arc::new(MemoryCoordStore::with_config(MemoryConfig::default()));
    /// let services = Services::builder(Config::in_memory()).with_coordination(store).open().await?;
    /// services.coordination().state::<u32>("flags").update("limit", |_| 7).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    pub fn with_coordination(mut self, store: Arc<dyn statehouse_coord::CoordStore>) -> Self {
        self.coordination = Some(store);
        self
    }

    /// Uses these signals for counters, limits, permits and messages.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse::coord::MemorySignals;
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let signals = Arc::new(MemorySignals::new());
    /// let services = Services::builder(Config::in_memory()).with_signals(signals).open().await?;
    /// services.coordination().counter("visits").add(1).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    pub fn with_signals(mut self, signals: Arc<dyn statehouse_coord::Signals>) -> Self {
        self.signals = Some(signals);
        self
    }

    /// What operators and other replicas are told of this one, where it holds a lock or runs something, among the members, and where replicas
    /// differ: its address, for example. Unless it is said, the name of the host and the number of the process.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = Services::builder(Config::in_memory()).with_label("10.0.0.7:8080").open().await?;
    /// let guard = services.coordination().lock("export").await?;
    /// assert_eq!(&*services.coordination().locks().await?.locks[0].holder, "10.0.0.7:8080");
    /// # guard.release().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    pub fn with_label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// A service that replicas share, if there is one, whoever has opened it: then they have to coordinate, too.
    #[cfg(feature = "coord")]
    fn shared(&self) -> Option<&'static str> {
        let config = &self.config;
        let is_shared = |can: Capabilities| can.has(SHARED);
        let caches = self.caches.as_ref().map(|caches| is_shared(caches.capabilities()));
        let sessions = self.sessions.as_ref().map(|store| is_shared(store.capabilities()));
        let files = self.files.as_ref().map(|store| is_shared(store.capabilities()));
        #[cfg(feature = "_search")]
        let search = self.search.as_ref().map(|indexes| is_shared(indexes.capabilities()));
        let services = [
            ("cache", caches, &config.cache),
            ("sessions", sessions, &config.sessions),
            ("files", files, &config.files),
            #[cfg(feature = "_search")]
            ("search", search, &config.search),
        ];
        let all = services.into_iter();
        // The URL of one that is brought along is not looked at.
        let mut shared =
            all.filter(|(name, brought, url)| brought.unwrap_or_else(|| crate::coordination::is_shared(name, url)));
        shared.next().map(|(name, ..)| name)
    }

    /// Reads what the configuration says of the services that were not brought along.
    ///
    /// # Errors
    /// As [`Services::open`].
    pub async fn open(self) -> Result<Services> {
        #[cfg(feature = "coord")]
        let shared = self.shared();
        let config = self.config;
        let mut opening = Opening {
            namespace: config.namespace()?,
            #[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
            clients: Default::default(),
        };
        #[cfg(feature = "coord")]
        let brought = self.sessions.is_some();
        #[cfg(feature = "coord-redis")]
        let coordinates = self.coordination.is_some();
        let cache = opening.cache(self.caches, &config.cache).await?;
        let sessions = opening.sessions(self.sessions, &config.sessions).await?;
        #[cfg(feature = "coord")]
        let signals = opening.signals(self.signals, (!brought).then_some(&config.sessions), shared)?;
        let files = opening.files(self.files, &config.files).await?;
        #[cfg(feature = "coord")]
        let coordination = opening.coordination(self.coordination, &config.coordination, &files, shared)?;
        #[cfg(feature = "coord")]
        let members = opening.members(&coordination, (!brought).then_some(&config.sessions))?;
        #[cfg(feature = "coord-redis")]
        let neighbours = {
            let coordination = (&coordination, (!coordinates).then_some(&config.coordination));
            opening.neighbours(coordination, (!brought).then_some(&config.sessions))?
        };
        let services = Services::new(Inner {
            cache,
            sessions,
            #[cfg(feature = "coord")]
            signals,
            #[cfg(feature = "coord")]
            members,
            #[cfg(feature = "coord-redis")]
            neighbours,
            read_only: config.read_only.then(|| ReadOnly::files(Arc::clone(files.handle_unasked()))),
            files,
            #[cfg(feature = "_search")]
            search: opening.search(self.search, &config.search)?,
            #[cfg(feature = "coord")]
            coordination,
            #[cfg(feature = "coord")]
            label: self.label,
            namespace: opening.namespace,
            #[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
            redis: opening.clients,
            is_shut_down: AtomicBool::new(false),
            #[cfg(feature = "serve")]
            lifecycle: Arc::default(),
        });
        services.warn_of_namespace();
        Ok(services)
    }
}
