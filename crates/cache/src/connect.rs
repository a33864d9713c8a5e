//! From a URL to caches.

use std::pin::Pin;

use statehouse_core::{Namespace, REDIS_SCHEMES, Result, Scheme, ServiceUrl};

use crate::caches::Caches;
use crate::memory::MemoryConfig;

type Opening = Pin<Box<dyn Future<Output = Result<Caches>> + Send>>;
/// Reads the URL at once, and opens what it names when the future runs.
type Open = fn(ServiceUrl, Namespace) -> Result<Opening>;

const PACKAGE: &str = "statehouse-cache";

const SCHEMES: [Scheme<Open>; 2] =
    [Scheme::new(&["memory"], Some(memory)), Scheme::new(&REDIS_SCHEMES, REDIS).with_features("redis", "cache-redis")];

#[cfg(feature = "redis")]
const REDIS: Option<Open> = Some(redis);
#[cfg(not(feature = "redis"))]
const REDIS: Option<Open> = None;

impl Caches {
    /// Caches where the URL says. `namespace` keeps applications apart that share a server.
    ///
    /// | URL | caches |
    /// | --- | --- |
    /// | `memory:` | typed values in this process; parameters as [`MemoryConfig`] says |
    /// | `redis://host`, `rediss:`, `redis+sentinel:`, `redis+cluster:` | `RedisCache`, whose server must answer; feature `redis`, parameters as `statehouse_redis::RedisConfig` says |
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and what
    /// the server answers, or that it does not.
    pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        prepare(url, namespace)?.await
    }

    /// Whether [`open`](Self::open) takes this URL, as far as the URL tells: no server is asked.
    ///
    /// ```
    /// # use statehouse_cache::Caches;
    /// # use statehouse_core::{Namespace, ServiceUrl};
    /// let misspelt = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "memory:?capasity=1GiB")?;
    /// let error = Caches::check(&misspelt, &Namespace::new("clinic")?).unwrap_err();
    /// assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"));
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn check(url: &ServiceUrl, namespace: &Namespace) -> Result<()> {
        prepare(url.clone(), namespace).map(drop)
    }
}

fn prepare(url: ServiceUrl, namespace: &Namespace) -> Result<Opening> {
    Scheme::find(&SCHEMES, &url, PACKAGE)?(url, namespace.clone())
}

fn memory(mut url: ServiceUrl, _: Namespace) -> Result<Opening> {
    let config = MemoryConfig::from_url(&mut url)?;
    url.finish()?;
    Ok(Box::pin(async { Ok(Caches::memory(config)) }))
}

#[cfg(feature = "redis")]
fn redis(mut url: ServiceUrl, namespace: Namespace) -> Result<Opening> {
    let config = statehouse_redis::RedisConfig::from_url(&mut url)?;
    url.finish()?;
    config.check()?;
    Ok(Box::pin(async move { Ok(Caches::redis(statehouse_redis::RedisClient::open(config).await?, &namespace)) }))
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_url_that_is_no_cache_is_refused_and_named() {
        let namespace = Namespace::new("test").unwrap();
        for text in [
            "memory:?capacity=0",
            "memory:?size=1MiB",
            "memory:/var/lib/x",
            "memory://host",
            "s3://bucket",
            "file:///tmp",
            "redis:",
        ] {
            let url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", text).unwrap();
            let error = Caches::open(url, &namespace).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}: {error}");
            assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"), "{text}");
        }
        let url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "s3://bucket").unwrap();
        let error = Caches::open(url, &namespace).await.unwrap_err().to_string();
        assert!(error.contains("memory, redis, rediss, redis+sentinel"), "{error}");
        let url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "memory:?capacity=1MiB").unwrap();
        assert!(Caches::open(url, &namespace).await.unwrap().health().await.is_up());
    }

    #[test]
    fn what_is_not_compiled_in_is_told_by_its_features() {
        let url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "rediss://host").unwrap();
        let error = SCHEMES[1].missing(&url, PACKAGE).to_string();
        assert!(error.contains("\"cache-redis\"") && error.contains("\"redis\" of statehouse-cache"), "{error}");
    }
}
