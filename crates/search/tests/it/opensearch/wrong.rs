//! Wrong settings: what opening says of them.

use std::error::Error as _;

use statehouse_core::{Error, ErrorKind, ServiceUrl};
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};
use statehouse_testkit::HttpsProxy;

use super::stub::Stub;
use super::stubbed::{schema, text};
use super::{Scratch, fresh_name};

const SETTING: &str = "STATEHOUSE_SEARCH_URL";
const SHORT: &str = "connect_timeout=500ms&timeout=1s&deadline=3s";

async fn refused(url: &str) -> Error {
    let url = ServiceUrl::parse(SETTING, url).unwrap();
    let config = OpenSearchConfig::from_url(url).unwrap();
    let checked = OpenSearchIndex::check(&config).await.unwrap_err();
    let opened = OpenSearchIndex::open(config, &fresh_name(), schema()).await.unwrap_err();
    assert_eq!(checked.to_string(), opened.to_string());
    opened
}

/// Each sentence of the error and its causes is there once.
fn said(error: &Error) -> String {
    let mut all = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        assert!(!all.contains(&source.to_string()), "{source} is said twice: {all}");
        all = format!("{all}\n{source}");
        cause = source.source();
    }
    all
}

#[tokio::test]
async fn each_wrong_address_is_told_with_setting_server_cause_and_remedy() {
    let html = Stub::start(|_, _| (200, text("<html>hello</html>"))).await;
    let missing = Stub::start(|_, _| (404, text("404 page not found"))).await;
    let moved = Stub::start(|_, _| (301, text(""))).await;
    for (address, kind, parts) in [
        ("127.0.0.1:1", ErrorKind::Unavailable, ["127.0.0.1:1", "nothing listens there"]),
        ("search.invalid:9200", ErrorKind::Unavailable, ["search.invalid:9200", "its name is not known"]),
        (&*html.address, ErrorKind::InvalidConfig, [&*html.address, "is not OpenSearch"]),
        (&*missing.address, ErrorKind::InvalidConfig, [&*missing.address, "is not OpenSearch"]),
        (&*moved.address, ErrorKind::InvalidConfig, [&*moved.address, "is not OpenSearch"]),
    ] {
        let error = refused(&format!("opensearch+http://app:hunter2@{address}?{SHORT}")).await;
        let said = said(&error);
        assert_eq!((error.kind(), error.setting()), (kind, Some(SETTING)), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn the_wrong_side_of_tls_is_named_both_ways() {
    let scratch = Scratch::new().await;
    let tls = HttpsProxy::start(scratch.node.address(), "Basic YXBwOmh1bnRlcjI=");
    let plain = Stub::start(|_, _| (200, text("{}"))).await;
    let polite = Stub::start(|_, _| (400, text("Client sent an HTTP request to an HTTPS server."))).await;
    for (url, address, remedy) in [
        ("opensearch+http", tls.address(), "speaks TLS: write opensearch+https://"),
        ("opensearch+https", scratch.node.address().to_owned(), "does not speak TLS: write opensearch+http://"),
        ("opensearch+https", plain.address.clone(), "does not speak TLS: write opensearch+http://"),
    ] {
        let error = refused(&format!("{url}://app:hunter2@{address}?{SHORT}")).await;
        let said = said(&error);
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(SETTING)), "{said}");
        assert!(said.contains(remedy) && said.contains(&address), "{said}");
    }
    // Who only asks what is spoken there tells nobody the password.
    let asked = plain.received("/");
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|request| !request.headers.iter().any(|header| header.contains("authorization"))));
    let error = refused(&format!("opensearch+http://{}?{SHORT}", polite.address)).await;
    assert_ne!(error.kind(), ErrorKind::InvalidConfig, "it speaks no TLS: {error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_the_remedy() {
    let scratch = Scratch::new().await;
    let tls = HttpsProxy::start(scratch.node.address(), "Basic YXBwOmh1bnRlcjI=");
    let error = refused(&format!("opensearch+https://app:hunter2@{}?{SHORT}", tls.address())).await;
    let said = said(&error);
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(SETTING)), "{said}");
    assert!(said.contains("certificate that is not trusted") && said.contains("parameter \"ca\""), "{said}");
}

#[tokio::test]
async fn a_refused_login_names_the_server() {
    let stub = Stub::start(|_, _| (401, text("Unauthorized"))).await;
    let error = refused(&format!("opensearch+http://app:hunter2@{}?{SHORT}", stub.address)).await;
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unauthenticated, Some(SETTING)));
    assert!(error.to_string().contains(&stub.address), "{error}");
}

/// What some gateway says of a path is not the server's word on an index.
#[tokio::test]
async fn a_gateway_that_knows_no_path_is_not_a_missing_index() {
    let stub = Stub::start(|request, _| match request.target.as_str() {
        "/" => (200, text(super::stubbed::ROOT)),
        _ => (404, text("404 page not found")),
    })
    .await;
    let url = ServiceUrl::parse(SETTING, &format!("opensearch+http://{}?{SHORT}", stub.address)).unwrap();
    let config = OpenSearchConfig::from_url(url).unwrap();
    let error = OpenSearchIndex::open(config, &fresh_name(), schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unavailable, Some(SETTING)));
    assert!(stub.received("-000001").is_empty(), "nothing was created");
}
