//! Three real nodes, of which the one that holds the primary shard is killed under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Namespace};
use statehouse_search::{
    BulkOptions, DocumentId, HitsOptions, OpenSearchConfig, OpenSearchIndex, Outcome, Query, Refresh, SearchIndex as _,
    SearchIndexExt as _, SearchRequest,
};
use statehouse_testkit::{OpenSearchCluster, OpenSearchNode};

use super::{fresh_name, schema, versioned};

const DEADLINE: Duration = Duration::from_secs(30);
const PER_BULK: usize = 10;

/// How often something succeeded so far.
#[derive(Debug, Default)]
struct Progress {
    written: AtomicUsize,
    searched: AtomicUsize,
}

impl Progress {
    fn now(&self) -> [usize; 2] {
        [&self.written, &self.searched].map(|count| count.load(Ordering::Relaxed))
    }
}

/// What became of the operations of one task.
#[derive(Debug, Default)]
struct Tally {
    /// Documents that were acknowledged.
    stored: Vec<String>,
    /// When operations succeeded.
    successes: Vec<Instant>,
    failures: Vec<Error>,
    slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.stored.extend(other.stored);
        self.successes.extend(other.successes);
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// The longest time without a success, and when the first one came after `instant`.
    fn gap_and_first_after(&mut self, instant: Instant) -> (Duration, Duration) {
        self.successes.sort();
        let gap = self.successes.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let first = self.successes.iter().find(|success| **success > instant).expect("no success after the kill");
        (gap, *first - instant)
    }

    fn assert_typed(&self) {
        use ErrorKind::{OutcomeUnknown, RateLimited, Timeout, Unavailable};
        for error in &self.failures {
            assert!(matches!(error.kind(), OutcomeUnknown | RateLimited | Timeout | Unavailable), "{error:?}");
        }
    }
}

async fn write(index: Arc<OpenSearchIndex>, stop: Arc<AtomicBool>, progress: Arc<Progress>, writer: usize) -> Tally {
    let mut tally = Tally::default();
    for bulk in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids: Vec<_> = (0..PER_BULK).map(|n| format!("{writer}-{bulk}-{n}")).collect();
        let begun = Instant::now();
        let report = index.bulk(ids.iter().map(|id| versioned(id, 1)).collect()).await;
        tally.slowest = tally.slowest.max(begun.elapsed());
        match report {
            Err(error) => tally.failures.push(error),
            Ok(report) => {
                tally.successes.push(Instant::now());
                progress.written.fetch_add(1, Ordering::Relaxed);
                for (id, outcome) in ids.into_iter().zip(report.outcomes) {
                    match outcome {
                        Outcome::Failed(error) => tally.failures.push(error),
                        _ => tally.stored.push(id),
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tally
}

async fn search(index: Arc<OpenSearchIndex>, stop: Arc<AtomicBool>, progress: Arc<Progress>) -> Tally {
    let (mut tally, request) = (Tally::default(), SearchRequest::new(Query::matches("title", "cholera")));
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match index.search(&request).await {
            Ok(_) => {
                tally.successes.push(Instant::now());
                progress.searched.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tally.failures.push(error),
        }
        tally.slowest = tally.slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tally
}

/// Which node holds the primary of the only shard.
async fn primary<'c>(cluster: &'c OpenSearchCluster, index: &str) -> &'c OpenSearchNode {
    let target = format!("/_cat/shards/{index}?h=prirep,node");
    let shards = cluster.nodes()[0].request("GET", &target, "").await.unwrap().text();
    let name = shards.lines().find_map(|line| line.strip_prefix("p ")).expect("no primary").trim();
    let place = ["one", "two", "three"].iter().position(|node| *node == name).expect("an unknown node");
    &cluster.nodes()[place]
}

/// An index with two copies, of which both are there.
async fn open(cluster: &OpenSearchCluster, name: &Namespace) -> OpenSearchIndex {
    let nodes = cluster.nodes().iter().map(|node| {
        let (host, port) = node.address().split_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    });
    let config = OpenSearchConfig::new(nodes).unwrap().with_replicas(1).with_deadline(DEADLINE);
    let index = OpenSearchIndex::open(config, name, schema()).await.unwrap();
    let green = format!("/_cluster/health/{name}?wait_for_status=green&timeout=30s");
    assert_eq!(cluster.nodes()[0].request("GET", &green, "").await.unwrap().status, 200);
    index
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_costs_no_acknowledged_document_and_no_restart() {
    let cluster = OpenSearchCluster::start().await;
    let name = fresh_name();
    let index = Arc::new(open(&cluster, &name).await);
    let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::<Progress>::default());
    let shared = || (Arc::clone(&index), Arc::clone(&stop), Arc::clone(&progress));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (index, stop, progress) = shared();
            tokio::spawn(write(index, stop, progress, writer))
        })
        .collect();
    let searchers: Vec<_> = (0..4)
        .map(|_| {
            let (index, stop, progress) = shared();
            tokio::spawn(search(index, stop, progress))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let node = primary(&cluster, name.as_str()).await;
    let killed = Instant::now();
    node.kill();
    let before = progress.now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    // More than what the killed one had answered already.
    while (0..2).any(|which| progress.now()[which] < before[which] + 8) {
        assert!(killed.elapsed() < Duration::from_secs(120), "no success after the kill: {progress:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut writes, mut searches) = (Tally::default(), Tally::default());
    for writer in writers {
        writes.add(writer.await.unwrap());
    }
    for searcher in searchers {
        searches.add(searcher.await.unwrap());
    }

    let (write_gap, write_after) = writes.gap_and_first_after(killed);
    let (search_gap, search_after) = searches.gap_and_first_after(killed);
    crate::report(&format!(
        "OpenSearch, primary's node killed: {} documents acknowledged, {} failed, stored again after {write_after:?}, \
         longest pause {write_gap:?}, slowest {:?}\n{} searches, {} failed, answered again after {search_after:?}, \
         longest pause {search_gap:?}, slowest {:?}",
        writes.stored.len(),
        writes.failures.len(),
        writes.slowest,
        searches.successes.len(),
        searches.failures.len(),
        searches.slowest,
    ));
    for tally in [&writes, &searches] {
        tally.assert_typed();
        assert!(tally.slowest < DEADLINE + Duration::from_secs(1));
    }
    for id in &writes.stored {
        let id = DocumentId::try_from(id.as_str()).unwrap();
        assert!(index.get(&id).await.unwrap().is_some(), "{id:?} was acknowledged and is gone");
    }
    index.refresh().await.unwrap();
    let found = index.count(&Query::matches("title", "cholera").into()).await.unwrap();
    assert!(found >= writes.stored.len() as u64, "{found} are found of {}", writes.stored.len());
}

/// Another copy of a shard has another state: nobody goes on with that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_node_is_gone_is_a_conflict() {
    let cluster = OpenSearchCluster::start().await;
    let index = open(&cluster, &fresh_name()).await;
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with((0..9).map(|n| versioned(&n.to_string(), 1)).collect(), options).await.unwrap().check().unwrap();
    let options = HitsOptions::default().with_page_size(1).with_keep_alive(Duration::from_secs(1_200));
    let mut hits = index.hits_with(&SearchRequest::new(Query::all()), options).await.unwrap();
    assert!(hits.next().await.unwrap().is_some());
    holder(&cluster).await.kill();
    let start = Instant::now();
    let lost = loop {
        match hits.next().await {
            // Until the others have noticed.
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => break error,
            Ok(hit) => panic!("{hit:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(120), "it is never lost");
    };
    assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::Conflict, false), "{lost:?}");
    assert_eq!(index.search(&SearchRequest::new(Query::all())).await.unwrap().total, 9);
}

/// The node that holds a point in time.
async fn holder(cluster: &OpenSearchCluster) -> &OpenSearchNode {
    for node in cluster.nodes() {
        let target = "/_nodes/_local/stats/indices/search?filter_path=nodes.*.indices.search.point_in_time_current";
        let found = node.request("GET", target, "").await.unwrap().text();
        if found.contains(r#""point_in_time_current":1"#) {
            return node;
        }
    }
    panic!("no node holds one");
}
