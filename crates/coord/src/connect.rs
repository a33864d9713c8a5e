//! From a URL to a store.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Namespace, REDIS_SCHEMES, Result, Scheme, ServiceUrl};

use crate::api::CoordStore;
use crate::files::{FilesConfig, FilesCoordStore, PAUSE};
use crate::memory::{MemoryConfig, MemoryCoordStore};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn CoordStore>>> + Send>>;
/// Reads the URL at once, and opens what it names when the future runs.
type Open = fn(ServiceUrl, Namespace) -> Result<Opening>;

const PACKAGE: &str = "statehouse-coord";

const SCHEMES: [Scheme<Open>; 3] = [
    Scheme::new(&["memory"], Some(memory)),
    Scheme::new(&["file", "s3", "az"], Some(files)),
    Scheme::new(&REDIS_SCHEMES, REDIS).with_features("redis", "coord-redis"),
];

#[cfg(feature = "redis")]
const REDIS: Option<Open> = Some(redis);
#[cfg(not(feature = "redis"))]
const REDIS: Option<Open> = None;

/// Opens the store that a URL names. The records of a namespace are those of one application; in memory there are no
/// others.
///
/// In files, who waits looks again after so long at most: `poll`, by default `1s` on a local disk and `10s` on S3 and Azure.
///
/// | URL | store |
/// | --- | --- |
/// | `memory:` | [`MemoryCoordStore`]; parameters as [`MemoryConfig`] says |
/// | `file:///dir`, `s3://bucket/prefix`, `az://container/prefix` | [`FilesCoordStore`]; parameters as [`statehouse_filestore::open`] says, and `poll` |
/// | `redis://host`, `rediss:`, `redis+sentinel:`, `redis+cluster:` | `RedisCoordStore`; feature `redis` |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use statehouse_coord::{CoordKey, CoordStoreExt};
/// use statehouse_core::{Namespace, ServiceUrl};
///
/// let url = ServiceUrl::parse("APP_COORDINATION_URL", "memory:?capacity=1MiB")?;
/// let store = statehouse_coord::open(url, &Namespace::new("clinic")?).await?;
/// assert!(store.get(&CoordKey::new("jobs/export")?).await?.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and
/// whatever opening the store may fail with.
pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Arc<dyn CoordStore>> {
    prepare(url, namespace)?.await
}

/// Whether [`open`] takes this URL, as far as the URL tells: nothing is opened, and no server is asked.
///
/// ```
/// # use statehouse_core::{Namespace, ServiceUrl};
/// let misspelt = ServiceUrl::parse("APP_COORDINATION_URL", "memory:?capasity=1MiB")?;
/// let error = statehouse_coord::check(&misspelt, &Namespace::new("clinic")?).unwrap_err();
/// assert_eq!(error.setting(), Some("APP_COORDINATION_URL"));
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
    Ok(Box::pin(async { Ok(Arc::new(MemoryCoordStore::with_config(config)) as _) }))
}

/// The file store has a table of its own, which says what is not compiled in.
fn files(mut url: ServiceUrl, namespace: Namespace) -> Result<Opening> {
    let usual = if matches!(url.scheme(), "s3" | "az") { Duration::from_secs(10) } else { Duration::from_secs(1) };
    let pause = url.take_duration("poll")?.unwrap_or(usual);
    let config = FilesConfig::default().with_longest_pause(pause).map_err(|_| url.refuse("poll", PAUSE))?;
    statehouse_filestore::check(&url, &namespace)?;
    Ok(Box::pin(async move {
        let files = statehouse_filestore::open(url, &namespace).await?;
        Ok(Arc::new(FilesCoordStore::new(Arc::clone(files.store()), &namespace, config)?) as _)
    }))
}

#[cfg(feature = "redis")]
fn redis(mut url: ServiceUrl, namespace: Namespace) -> Result<Opening> {
    let config = statehouse_redis::RedisConfig::from_url(&mut url)?;
    url.finish()?;
    config.check()?;
    Ok(Box::pin(async move {
        let client = statehouse_redis::RedisClient::open(config).await?;
        Ok(Arc::new(crate::redis::RedisCoordStore::connect(client, &namespace).await?) as _)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(text: &str) -> Result<Arc<dyn CoordStore>> {
        super::open(ServiceUrl::parse("COORDINATION", text)?, &Namespace::new("n")?).await
    }

    #[tokio::test]
    async fn a_wrong_url_names_the_setting_and_what_is_accepted() {
        assert!(open("memory:").await.is_ok());
        for text in [
            "gopher://h",
            "memory:?x=1",
            "memory:/var/lib/x",
            "memory://host",
            "file:/x?poll=1ms",
            "file:/x?y=1",
            "file:/x?poll=0s",
        ] {
            assert_eq!(open(text).await.unwrap_err().setting(), Some("COORDINATION"), "{text}");
        }
        let error = open("gopher://h").await.unwrap_err().to_string();
        assert!(error.contains("memory, file, s3, az, redis, rediss"), "{error}");
    }

    #[test]
    fn what_is_not_compiled_in_is_told_by_its_features() {
        let url = ServiceUrl::parse("COORDINATION", "redis+cluster://h").unwrap();
        let error = SCHEMES[2].missing(&url, PACKAGE).to_string();
        for text in ["\"redis+cluster\" needs the feature", "coord-redis", "statehouse-coord"] {
            assert!(error.contains(text), "{error}");
        }
    }
}
