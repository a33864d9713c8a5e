//! What is particular to OpenSearch: opening, failures, and a server that misbehaves.

mod analysis;
mod answers;
mod conformance;
mod deletes;
mod failover;
mod faults;
mod https;
mod network;
mod numbers;
mod opening;
mod operator;
mod proxy;
mod stub;
mod stubbed;
mod wrong;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use statehouse_core::{ErrorKind, Health, Namespace, ServiceUrl};
use statehouse_search::analysis::{Analyzer, Stemmer};
use statehouse_search::{Field, Operation, Record, Schema, SearchIndex as _};
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};
use statehouse_testkit::OpenSearchNode;

/// A configuration for one or more addresses, with these parameters.
pub(crate) fn config(addresses: &str, parameters: &str) -> OpenSearchConfig {
    let url = format!("opensearch+http://{addresses}?replicas=0{parameters}");
    OpenSearchConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", &url).unwrap()).unwrap()
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> Namespace {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Namespace::new(format!("statehouse-test.{now:x}-{count}")).unwrap()
}

/// An index on the shared node that is deleted at the end of its test.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) node: &'static OpenSearchNode,
    pub(crate) name: Namespace,
}

impl Scratch {
    pub(crate) async fn new() -> Self {
        Self { node: OpenSearchNode::shared().await, name: fresh_name() }
    }

    pub(crate) async fn open(&self, schema: Schema) -> statehouse_core::Result<OpenSearchIndex> {
        OpenSearchIndex::open(config(self.node.address(), ""), &self.name, schema).await
    }

    pub(crate) async fn request(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let answer = self.node.request(method, target, body).await.unwrap();
        (answer.status, answer.text())
    }

    /// Deletes the index behind the alias.
    pub(crate) async fn delete(&self) {
        let (status, answer) = self.request("DELETE", &format!("/{}-000001", self.name), "").await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// What health says once the server has found the time to answer: health itself waits for a second only.
async fn health_of(index: &OpenSearchIndex) -> Health {
    for _ in 0..30 {
        let health = index.health().await;
        if health.error.as_ref().is_none_or(|error| error.kind() != ErrorKind::Timeout) {
            return health;
        }
    }
    index.health().await
}

fn schema() -> Schema {
    Schema::builder()
        .analyzer("clinical", Analyzer::standard().lowercase().stop_words(["the", "of"]).stem(Stemmer::Porter2))
        .field(Field::text("title").analyzed_by("clinical"))
        .field(Field::keyword("chapter").sortable())
        .field(Field::u64("uses").sortable())
        .build()
        .unwrap()
}

fn document(id: &str, title: &str) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with("title", title))
}

fn versioned(id: &str, version: u64) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with_version(version).with("title", "Cholera"))
}
