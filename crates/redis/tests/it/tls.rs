use statehouse_core::ErrorKind;
use statehouse_redis::Idempotence;
use statehouse_redis::redis::cmd;
use statehouse_testkit::RedisServer;

use crate::open;

#[tokio::test]
async fn tls_trusts_the_given_authority_and_nothing_else() {
    let server = RedisServer::builder().password("pw").tls().start().await;
    let authority = server.tls_authority();
    let url = format!("{}/1?ca={}", server.tls_url(), authority.display());
    let client = open(&url).await.unwrap();
    client.query::<()>(cmd("SET").arg("k").arg("v"), Idempotence::Idempotent).await.unwrap();
    let mut alone = client.exclusive(None).await.unwrap();
    let value: String = alone.query(cmd("GET").arg("k"), std::time::Duration::from_secs(1)).await.unwrap();
    assert_eq!(value, "v");

    let error = open(&server.tls_url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.to_string().contains("certificate that is not trusted"), "{error}");
    assert!(error.to_string().ends_with("(setting STATEHOUSE_CACHE_URL)"), "{error}");
}

#[tokio::test]
async fn a_wrong_authority_file_is_named() {
    for path in ["/nowhere/ca.pem", "/dev/null"] {
        let error = open(&format!("rediss://localhost?ca={path}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[tokio::test]
async fn tls_to_a_server_without_it_and_the_reverse_fail_within_the_deadline() {
    let server = RedisServer::builder().tls().start().await;
    let reverse = server.tls_url().replace("rediss:", "redis:");
    for url in [format!("rediss://{}", server.address()), reverse] {
        let error = open(&url).await.unwrap_err();
        let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Unexpected];
        assert!(kinds.contains(&error.kind()), "{url}: {error:?}");
    }
}
