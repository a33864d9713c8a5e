//! What is on its way to a generation while another one becomes live, and what others of the same handle have seen by then.

use std::sync::Arc;

use statehouse_search::{
    DocumentId, HitsOptions, OpenSearchIndex, Operation, Outcome, Query, Record, Reindex, Scan, SearchIndex,
    SearchIndexExt as _, SearchRequest, Suggest, rollback,
};
use tokio::task::JoinSet;

use super::gate::{Gate, Wait};
use super::reindex::sweep;
use super::{Scratch, config};
use crate::changed::{document, new_schema, old_schema};

/// A handle of the schema before that has a gate before it, and one without. What the first one uses is kept beside the live one.
async fn kept_behind_a_gate(scratch: &Scratch) -> (Arc<Gate>, Arc<dyn SearchIndex>, Arc<dyn SearchIndex>) {
    let other: Arc<dyn SearchIndex> = Arc::new(scratch.open(old_schema()).await.unwrap());
    let operations = (0..3).map(|n| document(&old_schema(), &format!("d{n}"), n).with_version(n + 1));
    other.bulk(operations.map(Operation::Upsert).collect()).await.unwrap().check().unwrap();
    Reindex::new(Arc::clone(&other), new_schema()).renamed("title", "name").run().await.unwrap();
    let gate = Gate::before(scratch.node).await;
    let gated = OpenSearchIndex::open(config(&gate.address, ""), &scratch.name, old_schema()).await.unwrap();
    (gate, Arc::new(gated), other)
}

fn everything() -> SearchRequest {
    SearchRequest::new(Query::all())
}

/// The first one that is told so looks, and reads what is so now. What the others learn from a look is nothing new, and yet they
/// have asked for what was so before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_that_was_on_its_way_is_made_again_where_another_one_has_looked() {
    let scratch = Scratch::new().await;
    let (gate, index, other) = kept_behind_a_gate(&scratch).await;
    gate.hold(Wait::Requests, "@Told.000001/");
    let mut reads = JoinSet::new();
    macro_rules! begin {
        ($name:literal, |$index:ident| $read:expr) => {{
            let $index = Arc::clone(&index);
            reads.spawn(async move { ($name, $read.await.map(drop)) });
            gate.waiting(reads.len()).await;
        }};
    }
    begin!("get", |index| index.get(&DocumentId::new("d1").unwrap()));
    begin!("search", |index| index.search(&everything()));
    begin!("count", |index| index.count(&Query::all().into()));
    begin!("suggest", |index| index.suggest(&Suggest::new("title", "cholerra")));
    begin!("hits", |index| index.hits_with(&everything(), HitsOptions::default()));
    begin!("refresh", |index| index.refresh());
    begin!("merge", |index| index.merge());
    begin!("generations", |index| index.generations());
    begin!("scan", |index| index.scan_with(Scan::of(1), Default::default()));
    assert_eq!(rollback(&other).await.unwrap().number, 1);
    gate.hold_no_more();
    assert_eq!(index.search(&everything()).await.unwrap().total, 3);
    gate.open();
    let ended = reads.join_all().await;
    let failed: Vec<_> = ended.iter().filter(|(_, read)| read.is_err()).collect();
    assert!(failed.is_empty() && ended.len() == 9, "{failed:?}");
    sweep(&scratch).await;
}

/// What it saw is older than what is known since, whenever it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_took_longer_says_nothing_to_a_later_one() {
    let scratch = Scratch::new().await;
    let (gate, index, other) = kept_behind_a_gate(&scratch).await;
    gate.hold(Wait::Answers, "@Told.000001");
    let looking = Arc::clone(&index);
    let looks = tokio::spawn(async move { looking.health().await });
    gate.waiting(1).await;
    gate.hold_no_more();
    rollback(&other).await.unwrap();
    assert_eq!(index.search(&everything()).await.unwrap().total, 3);
    gate.open();
    looks.await.unwrap();
    let before = gate.received("@Told.000001/_search");
    assert_eq!(index.search(&everything()).await.unwrap().total, 3);
    assert_eq!((before, gate.received("@Told.000001/_search")), (1, 1));
    sweep(&scratch).await;
}

/// Where a write reads by the way which of its operations came too late, and what it reads of is elsewhere by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_reads_of_a_generation_that_is_elsewhere_is_made_again() {
    let scratch = Scratch::new().await;
    let (gate, index, other) = kept_behind_a_gate(&scratch).await;
    gate.hold(Wait::Requests, "@Told.000001/_mget");
    let late = document(&old_schema(), "d2", 9).with_version(1);
    let new = document(&old_schema(), "new", 7).with_version(7);
    let writing = Arc::clone(&index);
    let write = tokio::spawn(async move { writing.bulk([late, new].map(Operation::Upsert).to_vec()).await });
    gate.waiting(1).await;
    rollback(&other).await.unwrap();
    gate.open();
    let report = write.await.unwrap().unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Stale, Outcome::Created { version: 7 }]), "{report:?}");
    for schema in [old_schema(), new_schema()] {
        let generation = scratch.open(schema).await.unwrap();
        let versions = async |id: &str| {
            let found = generation.get(&DocumentId::new(id).unwrap()).await.unwrap();
            found.and_then(|found: Record| found.version())
        };
        assert_eq!((versions("new").await, versions("d2").await), (Some(7), Some(3)));
    }
    sweep(&scratch).await;
}
