//! The requests that nobody would write, against a real server: what both take has the same answer.

use statehouse_core::conformance::rounds;
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_testkit::OpenSearchNode;

use super::requests::{Choices, WORDS, schema};
use crate::opensearch::{OpenSearchConfig, OpenSearchIndex};
use crate::{
    BulkOptions, DocumentId, Operation, Record, Refresh, SearchIndex as _, SearchIndexExt as _, TantivyConfig, Value,
    parity,
};

const WHOLE: [i64; 9] = [0, 1, -1, 2, 40, i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX];
const FRACTIONS: [f64; 10] =
    [0.0, -0.0, 1.0, -1.0, 0.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 9_007_199_254_740_993.0];

/// Values at the ends of their types; several of them, and none.
fn record(n: usize) -> Record {
    let mut record = Record::new(format!("{n}")).unwrap();
    for nth in 0..n % 3 {
        record.push("title", WORDS[(n + 5 * nth) % WORDS.len()]);
        record.push("code", format!("c{}", (n + nth) % 7));
        record.push("rank", WHOLE[(n + 2 * nth) % WHOLE.len()]);
    }
    if !n.is_multiple_of(4) {
        record.push("uses", WHOLE[n % WHOLE.len()].cast_unsigned());
        record.push("ratio", FRACTIONS[n % FRACTIONS.len()]);
    }
    if !n.is_multiple_of(5) {
        record.push("leaf", n.is_multiple_of(2));
        record.push("day", Value::Date(WHOLE[n / 2 % WHOLE.len()]));
        record.push("kept", "x");
    }
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_take_of_drawn_requests_has_the_same_answer() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let name = Namespace::new(format!("statehouse-test.{:x}-drawn", now.as_nanos())).unwrap();
    // Always the same, unless there is time to look into what others find.
    let seed = if rounds(0, 1) == 0 { 0x5eed } else { now.as_secs() };
    let node = OpenSearchNode::shared().await;
    let url = format!("opensearch+http://{}?replicas=0&connect_timeout=20s&timeout=60s&deadline=120s", node.address());
    let config = OpenSearchConfig::from_url(ServiceUrl::parse("SEARCH", &url).unwrap()).unwrap();
    let distributed = OpenSearchIndex::open(config, &name, schema()).await.unwrap();
    let embedded = TantivyConfig::memory().open(schema()).await.unwrap();
    for part in 0..3 {
        let records = || (part * 45..part * 45 + 45).map(record).map(Operation::Upsert).collect();
        let now = || BulkOptions::default().with_refresh(Refresh::Now);
        distributed.bulk_with(records(), now()).await.unwrap().check().unwrap();
        embedded.bulk_with(records(), now()).await.unwrap().check().unwrap();
    }
    for n in 0..135 {
        let id = DocumentId::new(n.to_string()).unwrap();
        let (ours, theirs) = (embedded.get(&id).await.unwrap(), distributed.get(&id).await.unwrap());
        assert_eq!(ours, theirs, "{n}");
    }
    let (mut state, mut asked, mut found) = (seed | 1, 0, 0);
    for _ in 0..rounds(8_000, 100_000) {
        let bytes: Vec<u8> = (0..40)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        let request = Choices(&bytes).request();
        let Ok(ours) = embedded.search(&request).await else { continue };
        let theirs = distributed.search(&request).await;
        assert!(theirs.is_ok(), "seed {seed}: only OpenSearch refuses {request:?}: {theirs:?}");
        let report = parity::compare(&embedded, &distributed, std::slice::from_ref(&request)).await.unwrap();
        assert!(report.differences.is_empty(), "seed {seed}: {:?} for {request:?}", report.differences);
        let count = (embedded.count(&request.query).await.unwrap(), distributed.count(&request.query).await.unwrap());
        assert_eq!(count.0, count.1, "seed {seed}: {request:?}");
        (asked, found) = (asked + 1, found + usize::from(ours.total > 0));
    }
    assert!(asked > 50 && found > 20, "{asked} asked, {found} found something");
    node.request("DELETE", &format!("/{name}-000001"), "").await.unwrap();
}
