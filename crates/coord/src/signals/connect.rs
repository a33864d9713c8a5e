//! From a URL to signals.

use std::pin::Pin;
use std::sync::Arc;

use statehouse_core::{Namespace, REDIS_SCHEMES, Result, Scheme, ServiceUrl};

use super::api::Signals;
use super::memory::MemorySignals;
use crate::memory::MemoryConfig;

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Signals>>> + Send>>;
type Open = fn(ServiceUrl, Namespace) -> Result<Opening>;

const PACKAGE: &str = "statehouse-coord";

const SCHEMES: [Scheme<Open>; 2] =
    [Scheme::new(&["memory"], Some(memory)), Scheme::new(&REDIS_SCHEMES, REDIS).with_features("redis", "coord-redis")];

#[cfg(feature = "redis")]
const REDIS: Option<Open> = Some(redis);
#[cfg(not(feature = "redis"))]
const REDIS: Option<Open> = None;

/// Opens the signals that a URL names.
///
/// | URL | signals |
/// | --- | --- |
/// | `memory:` | [`MemorySignals`]; parameters as [`MemoryConfig`] says |
/// | `redis://host`, `rediss:`, `redis+sentinel:`, `redis+cluster:` | `RedisSignals`; feature `redis` |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use statehouse_coord::{CoordKey, SignalsExt, signals};
/// use statehouse_core::{Namespace, ServiceUrl};
///
/// let url = ServiceUrl::parse("APP_SIGNALS_URL", "memory:")?;
/// let signals = signals::open(url, &Namespace::new("clinic")?).await?;
/// assert_eq!(signals.add(&CoordKey::new("visits")?, 1).await?.value, 1);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and
/// whatever opening them may fail with.
pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Arc<dyn Signals>> {
    prepare(url, namespace)?.await
}

/// Whether [`open`] takes this URL, as far as the URL tells: nothing is opened, and no server is asked.
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
    Ok(Box::pin(async { Ok(Arc::new(MemorySignals::with_config(config)) as _) }))
}

#[cfg(feature = "redis")]
fn redis(mut url: ServiceUrl, namespace: Namespace) -> Result<Opening> {
    let config = statehouse_redis::RedisConfig::from_url(&mut url)?;
    url.finish()?;
    config.check()?;
    Ok(Box::pin(async move {
        let client = statehouse_redis::RedisClient::open(config).await?;
        Ok(Arc::new(super::redis::RedisSignals::new(client, &namespace)?) as _)
    }))
}
