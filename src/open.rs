//! From a URL to a backend: the only place that knows which scheme belongs to which feature.

use std::sync::Arc;

use statehouse_cache::Caches;
use statehouse_core::{Error, Namespace, Result, ServiceUrl};
use statehouse_filestore::FileStore;
use statehouse_session::SessionStore;

/// The error for a backend that exists and is not compiled in.
#[allow(dead_code, reason = "with every feature on, nothing is missing")]
pub(crate) fn missing_feature(url: &ServiceUrl, feature: &str) -> Error {
    let message = format!("{:?} needs the feature {feature:?} of statehouse, which is not compiled in", url.scheme());
    Error::invalid_config(url.setting(), message)
}

#[cfg(not(feature = "cache-redis"))]
fn is_redis(scheme: &str) -> bool {
    matches!(scheme.split('+').next(), Some("redis" | "rediss"))
}

pub(crate) async fn cache(url: ServiceUrl, namespace: &Namespace) -> Result<Caches> {
    match url.scheme() {
        #[cfg(not(feature = "cache-redis"))]
        scheme if is_redis(scheme) => Err(missing_feature(&url, "cache-redis")),
        _ => Caches::open(url, namespace).await,
    }
}

pub(crate) async fn sessions(url: ServiceUrl, namespace: &Namespace) -> Result<Arc<dyn SessionStore>> {
    statehouse_session::open(url, namespace).await
}

pub(crate) async fn files(url: ServiceUrl, namespace: &Namespace) -> Result<Arc<dyn FileStore>> {
    Ok(Arc::clone(statehouse_filestore::open(url, namespace).await?.store()))
}

#[cfg(all(test, not(feature = "full")))]
mod tests {
    use crate::{Config, ErrorKind, Services};

    /// `cargo xtask check` runs this without any feature.
    #[tokio::test]
    async fn what_is_not_compiled_in_names_the_setting_the_scheme_and_the_feature() {
        let (memory, mut missing) = (Config::in_memory, Vec::new());
        if cfg!(not(feature = "cache-redis")) {
            missing.push((
                memory().with_cache("redis+cluster://h"),
                "STATEHOUSE_CACHE_URL",
                "redis+cluster",
                "cache-redis",
            ));
        }
        if cfg!(not(feature = "session-redis")) {
            missing.push((memory().with_sessions("rediss://h"), "STATEHOUSE_SESSIONS_URL", "rediss", "session-redis"));
        }
        if cfg!(not(feature = "filestore-s3")) {
            missing.push((memory().with_files("s3://b"), "STATEHOUSE_FILES_URL", "s3", "filestore-s3"));
        }
        for (config, setting, scheme, feature) in missing {
            let error = Services::open(config).await.unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
            let message = format!("{scheme:?} needs the feature {feature:?} of statehouse, which is not compiled in");
            assert!(error.to_string().starts_with(&message), "{error}");
        }
    }
}
