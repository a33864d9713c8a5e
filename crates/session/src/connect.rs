//! From a URL to a store.

use std::pin::Pin;
use std::sync::Arc;

use statehouse_core::{Namespace, REDIS_SCHEMES, Result, Scheme, ServiceUrl};

use crate::api::SessionStore;
use crate::memory::{MemoryConfig, MemorySessionStore};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn SessionStore>>> + Send>>;
/// Reads the URL at once, and opens what it names when the future runs.
type Open = fn(ServiceUrl, Namespace) -> Result<Opening>;

const PACKAGE: &str = "statehouse-session";

const SCHEMES: [Scheme<Open>; 3] = [
    Scheme::new(&["memory"], Some(memory)),
    Scheme::new(&["file"], LOCAL),
    Scheme::new(&REDIS_SCHEMES, REDIS).with_features("redis", "session-redis"),
];

#[cfg(unix)]
const LOCAL: Option<Open> = Some(local);
#[cfg(not(unix))]
const LOCAL: Option<Open> = None;

#[cfg(feature = "redis")]
const REDIS: Option<Open> = Some(redis);
#[cfg(not(feature = "redis"))]
const REDIS: Option<Open> = None;

/// Opens the store that a URL names. The sessions of a namespace are those of one application; in memory and in a folder
/// there are no others.
///
/// | URL | store |
/// | --- | --- |
/// | `memory:` | [`MemorySessionStore`]; parameters as [`MemoryConfig`] says |
/// | `file:///dir` | [`LocalSessionStore`](crate::LocalSessionStore); parameters as [`LocalConfig`](crate::LocalConfig) says |
/// | `redis://host`, `rediss:`, `redis+sentinel:`, `redis+cluster:` | `RedisSessionStore`; feature `redis` |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use statehouse_core::{Namespace, ServiceUrl};
/// use statehouse_session::{SessionConfig, Sessions};
///
/// let url = ServiceUrl::parse("APP_SESSIONS_URL", "memory:?max_sessions=5000")?;
/// let store = statehouse_session::open(url, &Namespace::new("clinic")?).await?;
/// let sessions = Sessions::new(store, SessionConfig::default());
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and
/// whatever opening the store may fail with.
pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Arc<dyn SessionStore>> {
    prepare(url, namespace)?.await
}

/// Whether [`open`] takes this URL, as far as the URL tells: nothing is opened, and no server is asked.
///
/// ```
/// # use statehouse_core::{Namespace, ServiceUrl};
/// let misspelt = ServiceUrl::parse("APP_SESSIONS_URL", "memory:?capasity=5000")?;
/// let error = statehouse_session::check(&misspelt, &Namespace::new("clinic")?).unwrap_err();
/// assert_eq!(error.setting(), Some("APP_SESSIONS_URL"));
/// # Ok::<(), statehouse_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
pub fn check(url: &ServiceUrl, namespace: &Namespace) -> Result<()> {
    prepare(url.clone(), namespace).map(drop)
}

fn prepare(url: ServiceUrl, namespace: &Namespace) -> Result<Opening> {
    Scheme::find(&SCHEMES, &url, PACKAGE)?(url, namespace.clone())
}

fn memory(url: ServiceUrl, _: Namespace) -> Result<Opening> {
    let config = MemoryConfig::from_url(url)?;
    Ok(Box::pin(async { Ok(Arc::new(MemorySessionStore::with_config(config)) as _) }))
}

#[cfg(unix)]
fn local(url: ServiceUrl, _: Namespace) -> Result<Opening> {
    let config = crate::local::LocalConfig::from_url(url)?;
    Ok(Box::pin(async { Ok(Arc::new(crate::local::LocalSessionStore::open_with(config).await?) as _) }))
}

#[cfg(feature = "redis")]
fn redis(mut url: ServiceUrl, namespace: Namespace) -> Result<Opening> {
    let config = statehouse_redis::RedisConfig::from_url(&mut url)?;
    let max_anonymous = crate::redis::RedisSessionStore::take_max_anonymous(&mut url)?;
    url.finish()?;
    config.check()?;
    Ok(Box::pin(async move {
        let client = statehouse_redis::RedisClient::open(config).await?;
        let store = crate::redis::RedisSessionStore::connect(client, &namespace).await?;
        Ok(Arc::new(store.with_max_anonymous(max_anonymous)?) as _)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(text: &str) -> Result<Arc<dyn SessionStore>> {
        super::open(ServiceUrl::parse("SESSIONS", text)?, &Namespace::new("n")?).await
    }

    #[tokio::test]
    async fn a_wrong_url_names_the_setting_and_what_is_accepted() {
        assert!(open("memory:").await.is_ok());
        for text in ["s3://bucket", "memory:?x=1", "memory:/var/lib/x", "memory://host", "file://host/x"] {
            assert_eq!(open(text).await.unwrap_err().setting(), Some("SESSIONS"), "{text}");
        }
        let error = open("s3://bucket").await.unwrap_err().to_string();
        assert!(error.contains("memory, file, redis, rediss"), "{error}");
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn the_bound_of_a_redis_store_is_a_parameter_of_its_url() {
        let error = open("redis://127.0.0.1:1?max_anonymous=0").await.unwrap_err().to_string();
        assert!(error.contains("a number of sessions above zero"), "{error}");
    }

    #[test]
    fn what_is_not_compiled_in_is_told_by_its_features() {
        let url = ServiceUrl::parse("SESSIONS", "redis+cluster://h").unwrap();
        let error = SCHEMES[2].missing(&url, PACKAGE).to_string();
        for text in ["\"redis+cluster\" needs the feature", "session-redis", "statehouse-session"] {
            assert!(error.contains(text), "{error}");
        }
    }
}
