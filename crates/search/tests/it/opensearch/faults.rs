use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, HealthStatus, Namespace};
use statehouse_search::OpenSearchIndex;
use statehouse_search::{
    BulkOptions, Outcome, Query, Refresh, SearchIndex as _, SearchIndexExt as _, SearchOptions, SearchRequest,
};
use statehouse_testkit::FaultProxy;

use super::{Scratch, config, document, fresh_name, impatient, own_node, schema, up, versioned};

/// Far less than any deadline of the tests below, far more than a local answer takes.
const SHORT: &str = "&connect_timeout=300ms&timeout=1s&deadline=2s";
const BOUND: Duration = Duration::from_secs(10);

fn cholera() -> SearchRequest {
    SearchRequest::new(Query::matches("title", "cholera"))
}

/// The same index twice: one waits for what takes a busy machine seconds, such as its creation, and one gives up early.
async fn open(address: &str, name: &Namespace) -> (OpenSearchIndex, OpenSearchIndex) {
    let patient = OpenSearchIndex::open(config(address, ""), name, schema()).await.unwrap();
    (patient, impatient(&config(address, SHORT), name).await)
}

fn visible() -> BulkOptions {
    BulkOptions::default().with_refresh(Refresh::Now)
}

#[tokio::test]
async fn a_killed_node_is_unavailable_and_serves_again_after_its_restart() {
    let node = own_node().await;
    let (patient, index) = open(node.address(), &fresh_name()).await;
    patient.bulk_with(vec![versioned("a", 1)], visible()).await.unwrap().check().unwrap();
    node.kill();

    let start = Instant::now();
    let search = index.search(&cholera()).await.unwrap_err();
    let get = index.get(&"a".try_into().unwrap()).await.unwrap_err();
    let count = index.count(&Query::all().into()).await.unwrap_err();
    assert!(start.elapsed() < 3 * BOUND);
    for error in [search, get, count] {
        assert_eq!((error.kind(), error.setting()), (ErrorKind::Unavailable, Some("STATEHOUSE_SEARCH_URL")), "{error}");
    }
    // Nothing was sent, so nothing is in doubt.
    assert_eq!(index.bulk(vec![document("b", "x")]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(index.health().await.status, HealthStatus::Down);

    node.restart().await;
    let start = Instant::now();
    while let Err(error) = index.search(&cholera()).await {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
    }
    assert_eq!(patient.search(&cholera()).await.unwrap().ids(), ["a"], "what was acknowledged is there");
    up(&index).await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_a_timeout_and_a_write_to_it_is_in_doubt() {
    let scratch = Scratch::new().await;
    let proxy = FaultProxy::start(scratch.node.address());
    let (patient, index) = open(&proxy.address(), &scratch.name).await;
    proxy.black_hole();

    let start = Instant::now();
    assert_eq!(index.search(&cholera()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < BOUND);
    let start = Instant::now();
    let options = SearchOptions::default().with_deadline(Duration::from_millis(200));
    assert_eq!(patient.search_with(&cholera(), options).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < BOUND);

    let unversioned = index.bulk(vec![document("a", "x")]).await.unwrap_err();
    assert_eq!((unversioned.kind(), unversioned.is_retryable()), (ErrorKind::OutcomeUnknown, false));
    let versioned = index.bulk(vec![versioned("a", 1)]).await.unwrap_err();
    assert_eq!(versioned.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(index.health().await.status, HealthStatus::Down);

    proxy.heal();
    assert_eq!(patient.search(&cholera()).await.unwrap().total, 0);
    scratch.delete().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_replaced() {
    let scratch = Scratch::new().await;
    let proxy = FaultProxy::start(scratch.node.address());
    let index = OpenSearchIndex::open(config(&proxy.address(), ""), &scratch.name, schema()).await.unwrap();
    // Far more breaks than the budget of retries could pay for, and more dead connections than there are tries.
    for version in 1..=40 {
        let request = cholera();
        let search = || index.search(&request);
        let filled = tokio::join!(search(), search(), search(), search(), search(), search(), search(), search());
        assert!(filled.0.is_ok(), "{filled:?}");
        proxy.reset_connections();
        let report = index.bulk_with(vec![versioned("a", version)], visible()).await.unwrap();
        // The second of two tries finds what the first has done, which is not taken for somebody else's.
        assert!(matches!(report.outcomes[..], [Outcome::Created { .. } | Outcome::Updated { .. }]), "{report:?}");
        proxy.reset_connections();
        assert_eq!(index.search(&cholera()).await.unwrap().hits[0].record.version(), Some(version));
    }
    scratch.delete().await;
}

#[tokio::test]
async fn the_other_nodes_serve_while_one_is_gone_or_silent() {
    let scratch = Scratch::new().await;
    let (first, second) = (FaultProxy::start(scratch.node.address()), FaultProxy::start(scratch.node.address()));
    let addresses = format!("{},{}", first.address(), second.address());
    let config = config(&addresses, "&connect_timeout=300ms&timeout=1s&deadline=10s");
    let index = OpenSearchIndex::open(config, &scratch.name, schema()).await.unwrap();
    index.bulk_with(vec![versioned("a", 1)], visible()).await.unwrap().check().unwrap();
    for (broken, how) in [(&first, FaultProxy::cut as fn(&FaultProxy)), (&second, FaultProxy::black_hole)] {
        how(broken);
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(index.search(&cholera()).await.unwrap().ids(), ["a"]);
        }
        assert!(start.elapsed() < 2 * BOUND, "a node that failed is asked last for a while: {:?}", start.elapsed());
        broken.heal();
        // Long enough for the rest of a node that failed to end: no fault carries over to the next round.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    scratch.delete().await;
}
