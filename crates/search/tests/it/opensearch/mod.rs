//! What is particular to OpenSearch: opening, failures, and a server that misbehaves.

mod analysis;
mod answers;
mod bounded;
mod conformance;
mod deletes;
mod failover;
mod faults;
mod gate;
mod halves;
mod https;
mod moved;
mod numbers;
mod opening;
mod operator;
mod proxy;
mod reading;
mod refused;
pub(crate) mod reindex;
mod stub;
mod stubbed;
#[cfg(feature = "tantivy")]
mod told;
mod trouble;
mod wrong;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use statehouse_core::{ErrorKind, Health, HealthStatus, Namespace, ServiceUrl};
use statehouse_search::analysis::{Analyzer, Stemmer};
use statehouse_search::{Field, Operation, Record, Schema, SearchIndex as _};
use statehouse_search::{OpenSearchConfig, OpenSearchIndex};
use statehouse_testkit::OpenSearchNode;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

const PATIENCE: &str = "&connect_timeout=20s&timeout=60s&deadline=120s";

/// A configuration for one or more addresses, with these parameters.
pub(crate) fn config(addresses: &str, parameters: &str) -> OpenSearchConfig {
    // On a busy machine everything takes its time; tests of deadlines bring their own.
    let patience = if parameters.contains("deadline=") { "" } else { PATIENCE };
    let url = format!("opensearch+http://{addresses}?replicas=0{patience}{parameters}");
    OpenSearchConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", &url).unwrap()).unwrap()
}

/// A node that a test may stop, if it starts it again: one test after another, because a node takes its time to start.
pub(crate) async fn own_node() -> MappedMutexGuard<'static, OpenSearchNode> {
    const PAUSED: Duration = Duration::from_secs(30);
    static OWN: Mutex<Option<OpenSearchNode>> = Mutex::const_new(None);
    let mut own = OWN.lock().await;
    match own.take() {
        // A test that failed may have left it stopped or paused.
        Some(node) if timeout(PAUSED, node.request("GET", "/", "")).await.is_ok_and(|answer| answer.is_ok()) => {
            *own = Some(node);
        }
        _ => *own = Some(OpenSearchNode::start().await),
    }
    MutexGuard::map(own, |own| own.as_mut().unwrap())
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

/// Opens an index that gives up early, which may take more than one try on a busy machine.
pub(crate) async fn impatient(config: &OpenSearchConfig, name: &Namespace) -> OpenSearchIndex {
    let start = Instant::now();
    loop {
        match OpenSearchIndex::open(config.clone(), name, schema()).await {
            Ok(index) => return index,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error}"),
        }
    }
}

/// Waits until health is up: on a busy server the index's shard may still be on its way.
async fn up(index: &OpenSearchIndex) -> Health {
    reported(index, HealthStatus::Up).await
}

/// Waits until health says this of an index, for another reason than that the server was too busy to answer within the
/// second that health waits for it.
async fn reported(index: &OpenSearchIndex, status: HealthStatus) -> Health {
    let start = Instant::now();
    loop {
        let health = index.health().await;
        let silent = health.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Timeout);
        if health.status == status && !silent {
            return health;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "health does not become {status:?}: {health:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn schema() -> Schema {
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
