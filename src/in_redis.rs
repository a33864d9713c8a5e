//! What is in Redis: one client for each URL, whichever services are there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(any(feature = "cache-redis", feature = "session-redis"))]
use statehouse_core::Namespace;
use statehouse_core::{Health, Result, ServiceUrl};
use statehouse_redis::{EvictionPolicy, Persistence, RedisClient, RedisConfig, ServerReport};

use crate::diagnosis::{Finding, ServerDiagnosis};
use crate::findings;
use crate::lazy::Lazy;
#[cfg(any(feature = "cache-redis", feature = "session-redis"))]
use crate::place::Place;
use crate::service::Service;

/// The clients that are wanted. None is connected before it is needed.
#[derive(Default)]
pub(crate) struct RedisClients(Vec<Shared>);

struct Shared {
    url: ServiceUrl,
    /// Who has it from where, for errors.
    settings: Arc<Mutex<Vec<String>>>,
    client: Arc<Lazy<RedisClient>>,
}

pub(crate) fn is_redis(url: &ServiceUrl) -> bool {
    matches!(url.scheme().split('+').next(), Some("redis" | "rediss"))
}

impl RedisClients {
    /// The client of this URL: the same for all that lead to the same place in the same way.
    pub(crate) fn client(&mut self, url: ServiceUrl) -> Result<Arc<Lazy<RedisClient>>> {
        if let Some(shared) = self.0.iter().find(|shared| shared.url.is_same_place(&url)) {
            let mut settings = lock(&shared.settings);
            if !settings.iter().any(|setting| setting == url.setting()) {
                settings.push(url.setting().to_owned());
            }
            drop(settings);
            return Ok(Arc::clone(&shared.client));
        }
        let mut rest = url.clone();
        let config = RedisConfig::from_url(&mut rest)?;
        rest.finish()?;
        let settings = Arc::new(Mutex::new(vec![url.setting().to_owned()]));
        let named = Arc::clone(&settings);
        let client = Arc::new(Lazy::new(move || {
            let setting = lock(&named).join(" and ");
            Box::pin(RedisClient::open(config.clone().with_setting(setting)))
        }));
        self.0.push(Shared { url, settings, client: Arc::clone(&client) });
        Ok(client)
    }

    /// The client of whoever has it from this setting.
    pub(crate) fn of(&self, setting: &str) -> Option<&Lazy<RedisClient>> {
        let shared = self.0.iter().find(|shared| lock(&shared.settings).iter().any(|one| one == setting))?;
        Some(&shared.client)
    }
}

impl fmt::Debug for RedisClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClients").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

/// What a server says of itself, and what is to be said of that.
pub(crate) fn told(report: ServerReport, service: Service, health: &Health) -> (ServerDiagnosis, Vec<Finding>) {
    let findings = findings::of_redis(&report, service, health);
    let server = ServerDiagnosis {
        address: report.address,
        version: report.version,
        eviction: match report.eviction {
            EvictionPolicy::Never => Some("evicts nothing"),
            EvictionPolicy::WithTimeToLive => Some("evicts keys with a time to live"),
            EvictionPolicy::Any => Some("evicts any key"),
            _ => None,
        },
        persistence: match report.persistence {
            Persistence::AppendOnlyFile => Some("appends to a file"),
            Persistence::Snapshots => Some("keeps snapshots"),
            Persistence::Nothing => Some("keeps nothing"),
            Persistence::Failing => Some("cannot write to its disk"),
            _ => None,
        },
        clock_ahead_ms: report.clock.map(|clock| clock.ahead_millis()),
    };
    (server, findings)
}

fn lock(settings: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    // Nothing panics while it is held.
    settings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The caches, and what can be handed out until the client is there.
#[cfg(feature = "cache-redis")]
pub(crate) fn caches(
    place: Place,
    client: &Arc<Lazy<RedisClient>>,
    namespace: &Namespace,
) -> (Arc<Lazy<statehouse_cache::Caches>>, statehouse_cache::Caches) {
    use statehouse_cache::{Cache, Caches, RedisCache, capability};
    use statehouse_redis::KeySpace;

    use crate::deferred::Deferred;

    let (opening, within) = (Arc::clone(client), namespace.clone());
    let all = Arc::new(Lazy::named(place, move || {
        let (client, namespace) = (Arc::clone(&opening), within.clone());
        async move { Ok(Caches::redis(client.get().await?.clone(), &namespace)) }
    }));
    let (opening, client, namespace) = (Arc::clone(&all), Arc::clone(client), namespace.clone());
    let until_then = Caches::backend(move |name, schema| {
        // What can be refused is refused now.
        KeySpace::new(&namespace, "cache", name)?;
        let (all, client, namespace) = (Arc::clone(&opening), Arc::clone(&client), namespace.clone());
        let name = name.to_owned();
        let store = Arc::new(Lazy::new(move || {
            let (all, client) = (Arc::clone(&all), Arc::clone(&client));
            let (name, namespace) = (name.clone(), namespace.clone());
            Box::pin(async move {
                // So that errors are those of opening the caches, whichever is used first.
                all.get().await?;
                let cache = RedisCache::new(client.get().await?.clone(), &namespace, &name, schema)?;
                Ok(Arc::new(cache) as Arc<dyn Cache>)
            })
        }));
        Ok(Arc::new(Deferred { store, known: [capability::SHARED].into_iter().collect() }))
    });
    (all, until_then)
}

#[cfg(feature = "session-redis")]
pub(crate) fn sessions(
    place: Place,
    mut url: ServiceUrl,
    clients: &mut RedisClients,
    namespace: &Namespace,
) -> Result<Lazy<Arc<dyn statehouse_session::SessionStore>>> {
    use statehouse_session::RedisSessionStore;

    // What is left is of the connection, and decides who shares it.
    let max_anonymous = RedisSessionStore::take_max_anonymous(&mut url)?;
    let (client, namespace) = (clients.client(url)?, namespace.clone());
    Ok(Lazy::named(place, move || {
        let (client, namespace) = (Arc::clone(&client), namespace.clone());
        async move {
            let client = client.get().await?.clone();
            let store = RedisSessionStore::connect(client, &namespace).await?;
            Ok(Arc::new(store.with_max_anonymous(max_anonymous)?) as _)
        }
    }))
}
