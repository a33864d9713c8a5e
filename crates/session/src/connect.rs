//! From a URL to a store.

use std::pin::Pin;
use std::sync::Arc;

use statehouse_core::{Error, Namespace, Result, ServiceUrl};

use crate::api::SessionStore;
use crate::memory::{MemoryConfig, MemorySessionStore};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn SessionStore>>> + Send>>;
type Open = fn(ServiceUrl, Namespace) -> Opening;

/// What a scheme opens, and the features without which it does not: this package's, and the one of `statehouse` that turns
/// it on.
struct Scheme {
    names: &'static [&'static str],
    features: Option<(&'static str, &'static str)>,
    /// None if it is not compiled in.
    open: Option<Open>,
}

const SCHEMES: [Scheme; 3] = [
    Scheme { names: &["memory"], features: None, open: Some(|url, _| Box::pin(async { memory(url) })) },
    Scheme { names: &["file"], features: None, open: LOCAL },
    Scheme {
        names: &["redis", "rediss", "redis+sentinel", "redis+cluster", "rediss+sentinel", "rediss+cluster"],
        features: Some(("redis", "session-redis")),
        open: REDIS,
    },
];

#[cfg(unix)]
const LOCAL: Option<Open> = Some(|url, _| Box::pin(local(url)));
#[cfg(not(unix))]
const LOCAL: Option<Open> = None;

#[cfg(feature = "redis")]
const REDIS: Option<Open> = Some(|url, namespace| Box::pin(redis(url, namespace)));
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
/// let url = ServiceUrl::parse("APP_SESSIONS_URL", "memory:?capacity=5000")?;
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
    let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.names.contains(&url.scheme())) else {
        return Err(url.refuse_scheme(&SCHEMES.map(|scheme| scheme.names.join(", ")).join(", ")));
    };
    let open = scheme.open.ok_or_else(|| scheme.refuse(&url))?;
    open(url, namespace.clone()).await
}

impl Scheme {
    fn refuse(&self, url: &ServiceUrl) -> Error {
        let message = match self.features {
            Some((ours, whole)) => format!(
                "{:?} needs the feature {whole:?} of statehouse, which is not compiled in ({ours:?} of \
                 statehouse-session)",
                url.scheme()
            ),
            None => format!("{:?} is not there on this system", url.scheme()),
        };
        Error::invalid_config(url.setting(), message)
    }
}

fn memory(url: ServiceUrl) -> Result<Arc<dyn SessionStore>> {
    Ok(Arc::new(MemorySessionStore::with_config(MemoryConfig::from_url(url)?)))
}

#[cfg(unix)]
async fn local(url: ServiceUrl) -> Result<Arc<dyn SessionStore>> {
    let config = crate::local::LocalConfig::from_url(url)?;
    Ok(Arc::new(crate::local::LocalSessionStore::open_with(config).await?))
}

#[cfg(feature = "redis")]
async fn redis(url: ServiceUrl, namespace: Namespace) -> Result<Arc<dyn SessionStore>> {
    Ok(Arc::new(crate::redis::RedisSessionStore::open(url, &namespace).await?))
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
        for text in ["s3://bucket", "memory:?x=1", "file://host/x"] {
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
        let error = SCHEMES[2].refuse(&url).to_string();
        for text in ["\"redis+cluster\" needs the feature", "session-redis", "statehouse-session"] {
            assert!(error.contains(text), "{error}");
        }
    }
}
