use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use statehouse_core::{Capabilities, Error, Health, Result, SchemaId};

use crate::Cache;
use crate::capability::{FENCED, FENCED_AT_ONCE};
use crate::memory::{Bound, MemoryConfig};

/// Where an application keeps its caches, and the caches that are open.
///
/// ```
/// # use std::time::Duration;
/// use statehouse_cache::{Caches, MemoryConfig};
///
/// # async fn example() -> statehouse_core::Result<()> {
/// let caches = Caches::memory(MemoryConfig::default());
/// let greetings = caches.cache::<String>("greetings").time_to_live(Duration::from_secs(60)).open()?;
/// greetings.set("en", "Hello".to_owned()).await?;
/// # Ok(()) }
/// ```
///
/// Clones share the open caches.
#[derive(Clone)]
pub struct Caches(Arc<Inner>);

struct Inner {
    place: Place,
    open: Mutex<HashMap<Identity, Opened>>,
    /// Whom [`Caches::health`] asks.
    asked: OnceLock<Arc<dyn Cache>>,
}

impl Inner {
    /// Opened once, and again only where that failed.
    fn asked(&self, open: &Open) -> Result<&Arc<dyn Cache>> {
        if let Some(asked) = self.asked.get() {
            return Ok(asked);
        }
        let opened = open(ASKED, SchemaId::default())?;
        Ok(self.asked.get_or_init(|| opened))
    }
}

pub(crate) enum Place {
    /// Typed values in this process.
    Memory(MemoryConfig),
    /// Bytes, by a backend that opens the cache of this name and schema.
    Backend(Box<Open>),
}

/// The name under which a backend is opened to be asked how it is and what it can do.
const ASKED: &str = "health";

type Open = dyn Fn(&str, SchemaId) -> Result<Arc<dyn Cache>> + Send + Sync;

type Identity = (String, SchemaId);

struct Opened {
    core: Arc<dyn Any + Send + Sync>,
    bound: Option<Bound>,
}

impl Caches {
    /// Caches in the memory of this process. They hold typed values: a hit decodes nothing.
    #[must_use]
    pub fn memory(config: MemoryConfig) -> Self {
        Self::new(Place::Memory(config))
    }

    /// Caches in Redis or Valkey, each as a [`RedisCache`](crate::RedisCache) of this namespace.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(client: statehouse_redis::RedisClient, namespace: &statehouse_core::Namespace) -> Self {
        let namespace = namespace.clone();
        Self::backend(move |name, schema| {
            Ok(Arc::new(crate::RedisCache::new(client.clone(), &namespace, name, schema)?))
        })
    }

    /// Caches of any other backend: `open` is given a cache's name and schema, and opens its bytes.
    ///
    /// It is called once for each name and schema, and once with the name `health`, for [`health`](Self::health) and
    /// [`capabilities`](Self::capabilities); opening alone must send nothing.
    #[must_use]
    pub fn backend(open: impl Fn(&str, SchemaId) -> Result<Arc<dyn Cache>> + Send + Sync + 'static) -> Self {
        Self::new(Place::Backend(Box::new(open)))
    }

    fn new(place: Place) -> Self {
        Self(Arc::new(Inner { place, open: Mutex::default(), asked: OnceLock::new() }))
    }

    /// Asks the backend how it is.
    pub async fn health(&self) -> Health {
        match &self.0.place {
            Place::Memory(_) => Health::of("memory", Duration::ZERO, Ok(())),
            Place::Backend(open) => match self.0.asked(open) {
                Ok(cache) => cache.health().await,
                Err(error) => Health::of("cache", Duration::ZERO, Err(error)),
            },
        }
    }

    /// What every cache here can do.
    ///
    /// ```
    /// use statehouse_cache::{Caches, MemoryConfig, capability};
    ///
    /// let capabilities = Caches::memory(MemoryConfig::default()).capabilities();
    /// assert!(capabilities.has(capability::FENCED) && !capabilities.has(capability::SHARED));
    /// ```
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match &self.0.place {
            Place::Memory(_) => Capabilities::from_iter([FENCED, FENCED_AT_ONCE]),
            // One that cannot be opened can do nothing.
            Place::Backend(open) => {
                self.0.asked(open).map_or_else(|_| Capabilities::default(), |cache| cache.capabilities())
            }
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// What is open under this identity, or what `open` makes.
    pub(crate) fn shared<T: Send + Sync + 'static>(
        &self,
        identity: Identity,
        bound: Option<Bound>,
        open: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        // A backend that panics while it opens leaves the map as it was.
        let mut all = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let refuse = |setting: &str, what: &str| {
            let message = format!("cache {:?} is open already, with another {what}", identity.0);
            Err(Error::invalid_config(setting, message))
        };
        if let Some(opened) = all.get(&identity) {
            if bound.is_some() && bound != opened.bound {
                let setting = if matches!(bound, Some(Bound::Entries(_))) { "max_entries" } else { "capacity" };
                return refuse(setting, setting);
            }
            return Arc::clone(&opened.core).downcast().or_else(|_| refuse("name", "type of value"));
        }
        let core = Arc::new(open()?);
        let opened = Opened { core: Arc::<T>::clone(&core), bound };
        all.insert(identity, opened);
        Ok(core)
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.0.place {
            Place::Memory(_) => "memory",
            Place::Backend(_) => "backend",
        };
        f.debug_struct("Caches").field("place", &place).finish_non_exhaustive()
    }
}
