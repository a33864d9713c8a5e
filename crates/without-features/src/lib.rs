//! What is said about a feature that is not compiled in: `cargo xtask check without-features` runs this.
//!
//! A package of its own, because the development dependencies of the others would bring features, and a long build.

#![cfg(all(test, not(feature = "full")))]

use statehouse::{Config, ErrorKind, Services};
use statehouse_core::ServiceUrl;
use statehouse_redis::RedisConfig;

#[tokio::test]
async fn a_backend_that_is_missing_names_the_setting_the_scheme_and_the_feature() {
    let memory = Config::in_memory;
    let missing = [
        (memory().with_cache("redis+cluster://h"), "STATEHOUSE_CACHE_URL", "redis+cluster", "cache-redis"),
        (memory().with_sessions("rediss://h"), "STATEHOUSE_SESSIONS_URL", "rediss", "session-redis"),
        (memory().with_files("s3://b"), "STATEHOUSE_FILES_URL", "s3", "filestore-s3"),
        (memory().with_files("az://c"), "STATEHOUSE_FILES_URL", "az", "filestore-azure"),
    ];
    for (config, setting, scheme, feature) in missing {
        let error = Services::open(config).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
        let message = format!("{scheme:?} needs the feature {feature:?} of statehouse (");
        assert!(error.to_string().starts_with(&message), "{error}");
    }
}

#[tokio::test]
async fn a_backend_that_is_misspelt_and_missing_names_both() {
    let memory = Config::in_memory;
    for (config, scheme, feature) in [
        (memory().with_cache("redis+clutser://h"), "redis+cluster", "cache-redis"),
        (memory().with_sessions("redsis://h"), "redis", "session-redis"),
        (memory().with_files("s4://b"), "s3", "filestore-s3"),
    ] {
        let error = Services::open(config).await.unwrap_err().to_string();
        let asked = format!("did you mean {scheme:?}? accepted: ");
        let missing = format!("; {scheme:?} needs the feature {feature:?} of statehouse (");
        assert!(error.contains(&asked) && error.contains(&missing), "{error}");
    }
}

#[test]
fn tls_without_its_feature_names_the_feature() {
    for text in ["rediss://h", "rediss+cluster://h", "rediss+sentinel://h/m"] {
        let mut url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", text).unwrap();
        let error = RedisConfig::from_url(&mut url).unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_CACHE_URL")));
        assert!(error.to_string().contains("crate feature \"redis-tls\" of statehouse"), "{error}");
    }
}
