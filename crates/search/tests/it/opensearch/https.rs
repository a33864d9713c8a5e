use std::path::Path;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Result, ServiceUrl};
use statehouse_search::{
    BulkOptions, OpenSearchConfig, OpenSearchIndex, Query, Refresh, SearchIndex as _, SearchIndexExt as _,
    SearchRequest,
};
use statehouse_testkit::{FaultProxy, HttpsProxy};

use super::{Scratch, document, schema, up};

/// `app` with the password `hunter2`.
const APP: &str = "Basic YXBwOmh1bnRlcjI=";

async fn open(scratch: &Scratch, password: &str, addresses: &str, ca: Option<&Path>) -> Result<OpenSearchIndex> {
    let mut url = format!("opensearch+https://app:{password}@{addresses}?replicas=0");
    if let Some(ca) = ca {
        url.push_str(&format!("&ca={}", ca.display()));
    }
    let config = OpenSearchConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", &url)?)?;
    OpenSearchIndex::open(config, &scratch.name, schema()).await
}

#[tokio::test]
async fn an_index_is_used_over_https_with_a_login() {
    let scratch = Scratch::new().await;
    let proxy = HttpsProxy::start(scratch.node.address(), APP);
    let index = open(&scratch, "hunter2", &proxy.address(), Some(&proxy.authority())).await.unwrap();
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(vec![document("a", "Cholera")], options).await.unwrap().check().unwrap();
    assert_eq!(index.search(&SearchRequest::new(Query::matches("title", "cholera"))).await.unwrap().ids(), ["a"]);
    assert!(index.get(&"a".try_into().unwrap()).await.unwrap().is_some());
    up(&index).await;
    scratch.delete().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_reaches_nobody() {
    let scratch = Scratch::new().await;
    let behind = FaultProxy::start(scratch.node.address());
    let proxy = HttpsProxy::start(behind.address(), APP);
    let error = open(&scratch, "hunter3", &proxy.address(), Some(&proxy.authority())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(error.setting(), Some("STATEHOUSE_SEARCH_URL"), "{error:?}");
    assert!(!error.is_retryable() && !format!("{error} {error:?}").contains("hunter"), "{error:?}");
    assert_eq!(behind.counts().commands(), 0);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_at_once() {
    let scratch = Scratch::new().await;
    let proxy = HttpsProxy::start(scratch.node.address(), APP);
    let other = HttpsProxy::start(scratch.node.address(), APP);
    for ca in [None, Some(other.authority())] {
        let start = Instant::now();
        let error = open(&scratch, "hunter2", &proxy.address(), ca.as_deref()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.setting()),
            (ErrorKind::InvalidConfig, Some("STATEHOUSE_SEARCH_URL")),
            "{error:?}"
        );
        assert!(error.to_string().contains("certificate that is not trusted"), "{error}");
        assert!(!error.is_retryable() && start.elapsed() < Duration::from_secs(10), "{error:?}");
    }
}

#[tokio::test]
async fn another_node_serves_while_one_is_not_trusted() {
    let scratch = Scratch::new().await;
    let (good, bad) = (HttpsProxy::start(scratch.node.address(), APP), HttpsProxy::start(scratch.node.address(), APP));
    for addresses in [format!("{},{}", bad.address(), good.address()), format!("{},{}", good.address(), bad.address())]
    {
        let index = open(&scratch, "hunter2", &addresses, Some(&good.authority())).await.unwrap();
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 0);
    }
    scratch.delete().await;
}

#[tokio::test]
async fn a_wrong_authority_file_is_named() {
    let scratch = Scratch::new().await;
    for file in ["/nowhere/ca.pem", "/dev/null"] {
        let error = open(&scratch, "hunter2", "localhost", Some(Path::new(file))).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_SEARCH_URL")));
        assert!(error.to_string().contains("\"ca\""), "{error}");
    }
}
