//! HTTP proxies: none of the environment, and the one that is asked for.

use std::process::Command;

use statehouse_core::{ErrorKind, Namespace, ServiceUrl};
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};

use super::stub::Stub;
use super::stubbed::{schema, text};
use super::{Scratch, up};

const TARGET: &str = "STATEHOUSE_TEST_BEHIND_A_PROXY";

async fn open(url: &str, name: &Namespace) -> statehouse_core::Result<OpenSearchIndex> {
    let url = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", url)?;
    OpenSearchIndex::open(OpenSearchConfig::from_url(url)?, name, schema()).await
}

/// Runs itself once more with a proxy in the environment.
#[tokio::test]
async fn a_proxy_of_the_environment_gets_neither_requests_nor_the_password() {
    if let Ok(address) = std::env::var(TARGET) {
        let error = open(&format!("opensearch+http://app:hunter2@{address}"), &Namespace::new("a").unwrap()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthenticated);
        return;
    }
    let proxy = Stub::start(|_, _| (502, text("from the proxy"))).await;
    let server = Stub::start(|_, _| (401, text("Unauthorized"))).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "opensearch::proxy::a_proxy_of_the_environment_gets_neither_requests_nor_the_password"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, format!("http://{}", proxy.address));
    }
    child.env(TARGET, &server.address).env_remove("no_proxy").env_remove("NO_PROXY");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.received("/").len(), 1, "the child asked the server");
    assert_eq!(proxy.received("").len(), 0, "the child asked the proxy");
}

#[tokio::test]
async fn a_proxy_that_is_asked_for_is_used_and_named_in_errors() {
    let scratch = Scratch::new().await;
    let gone =
        open("opensearch+http://app:hunter2@search.invalid:9200?proxy=http://127.0.0.1:1&deadline=10s", &scratch.name);
    let error = gone.await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unavailable, Some("STATEHOUSE_SEARCH_URL")));
    assert!(
        error.to_string().contains("search.invalid:9200 through the proxy 127.0.0.1:1 cannot be reached"),
        "{error}"
    );

    let proxy = Stub::start(|_, _| (401, text("Unauthorized"))).await;
    let url = format!("opensearch+http://app:hunter2@search.invalid:9200?proxy=http://me:hunter3@{}", proxy.address);
    let error = open(&url, &scratch.name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains(&format!("through the proxy {}", proxy.address)), "{error}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    let [request] = &proxy.received("")[..] else { panic!("{:?}", proxy.received("")) };
    assert_eq!(request.target, "http://search.invalid:9200/");
}

#[tokio::test]
async fn health_names_where_the_index_is_and_no_secret() {
    let scratch = Scratch::new().await;
    let url = format!("opensearch+http://app:hunter2@{}?replicas=0", scratch.node.address());
    let index = open(&url, &scratch.name).await.unwrap();
    let health = up(&index).await;
    assert!(!format!("{health:?}").contains("hunter2"), "{health:?}");
    scratch.delete().await;
}
