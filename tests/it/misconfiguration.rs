//! Every mistake that an operator can make in a URL is told apart, and names the setting.

use statehouse::{Config, Error, ErrorKind, Services};
use statehouse_testkit::{OpenSearchNode, RedisServer, S3Server};

async fn refused(config: Config) -> Error {
    Services::open(config).await.expect_err("a refusal")
}

#[tokio::test]
async fn malformed_urls_unknown_schemes_and_parameters_name_the_setting() {
    let memory = Config::in_memory;
    for (config, setting, says) in [
        (memory().with_cache("redis"), "STATEHOUSE_CACHE_URL", "expected a URL"),
        (memory().with_cache("mem:"), "STATEHOUSE_CACHE_URL", "memory"),
        (memory().with_cache("memory:?size=1"), "STATEHOUSE_CACHE_URL", "capacity"),
        (memory().with_cache("redis://h?tiemout=1s"), "STATEHOUSE_CACHE_URL", "timeout"),
        (memory().with_cache("redis://h/notanumber"), "STATEHOUSE_CACHE_URL", "database"),
        (memory().with_sessions("s3://b"), "STATEHOUSE_SESSIONS_URL", "redis"),
        (memory().with_sessions("memory:?capacity=0"), "STATEHOUSE_SESSIONS_URL", "above zero"),
        (memory().with_files("redis://h"), "STATEHOUSE_FILES_URL", "s3"),
        (memory().with_files("file:"), "STATEHOUSE_FILES_URL", "file:"),
        (memory().with_search("opensearch://h"), "STATEHOUSE_SEARCH_URL", "opensearch+https"),
        (memory().with_search("tantivy:"), "STATEHOUSE_SEARCH_URL", "tantivy:"),
        (memory().with_namespace("No Good"), "STATEHOUSE_NAMESPACE", "a-z"),
    ] {
        let error = refused(config).await;
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(setting)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // The discard port of the loopback interface: nothing listens there.
    let memory = Config::in_memory;
    let s3 = "s3://key:secret@bucket?endpoint=http://127.0.0.1:9&region=us-east-1&allow_http=true";
    for (config, setting) in [
        (memory().with_cache("redis://127.0.0.1:9"), "STATEHOUSE_CACHE_URL"),
        (memory().with_sessions("redis://127.0.0.1:9"), "STATEHOUSE_SESSIONS_URL"),
        (memory().with_files(s3), "STATEHOUSE_FILES_URL"),
        (memory().with_search("opensearch+http://127.0.0.1:9"), "STATEHOUSE_SEARCH_URL"),
    ] {
        let error = refused(config).await;
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{setting}: {error:?}");
        assert_eq!(error.setting(), Some(setting), "{error:?}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_and_not_repeated() {
    let redis = RedisServer::builder().password("right-one").start().await;
    let wrong = redis.url().replace("right-one", "hunter2-wrong");
    let error = refused(Config::in_memory().with_cache(wrong)).await;
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unauthenticated, Some("STATEHOUSE_CACHE_URL")), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");

    let s3 = S3Server::shared().await;
    let url = crate::s3_url(s3, "hunter2-wrong", s3.bucket());
    let error = refused(Config::in_memory().with_files(url)).await;
    let expected = [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied];
    assert!(expected.contains(&error.kind()), "{error:?}");
    assert_eq!(error.setting(), Some("STATEHOUSE_FILES_URL"), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_missing_bucket_is_a_wrong_setting() {
    let s3 = S3Server::shared().await;
    let url = crate::s3_url(s3, s3.secret_key(), "no-such-bucket");
    let error = refused(Config::in_memory().with_files(url)).await;
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_FILES_URL")), "{error:?}");
    assert!(error.to_string().contains("bucket does not exist"), "{error}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_refused() {
    let opensearch = OpenSearchNode::shared().await;
    let error = refused(Config::in_memory().with_cache(format!("redis://{}", opensearch.address()))).await;
    assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"), "{error:?}");
}
