//! What becomes of the versions of deletes when the server itself starts again.

use statehouse_core::Namespace;
use statehouse_search::{DocumentId, OpenSearchIndex, Operation, Outcome, Record, SearchIndexExt as _};

use super::{Scratch, config, fresh_name, own_node, schema, versioned};

/// A server remembers them in memory, and again what it reads in its log of what was not flushed yet.
#[tokio::test]
async fn versions_of_deletes_outlive_a_killed_server_as_long_as_they_are_not_flushed() {
    let node = own_node().await;
    let open = async |name: &Namespace| {
        OpenSearchIndex::open(config(node.address(), "&deadline=120s"), name, schema()).await.unwrap()
    };
    let (logged, flushed) = (fresh_name(), fresh_name());
    for name in [&logged, &flushed] {
        let index = open(name).await;
        index.bulk(vec![versioned("there", 1)]).await.unwrap().check().unwrap();
        let delete = |name: &str| Operation::Delete { id: DocumentId::new(name).unwrap(), version: Some(5) };
        index.bulk(vec![delete("there"), delete("absent")]).await.unwrap().check().unwrap();
    }
    let answer = node.request("POST", &format!("/{flushed}/_flush?force=true"), "").await.unwrap();
    assert_eq!(answer.status, 200);
    node.kill();
    node.restart().await;
    let mut kept = Vec::new();
    for name in [&logged, &flushed] {
        let older = |name: &str| Operation::Upsert(Record::new(name).unwrap().with_version(3));
        let report = open(name).await.bulk(vec![older("there"), older("absent")]).await.unwrap();
        kept.push(report.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stale)));
    }
    assert_eq!(kept, [true, false], "what the documentation says");
}

/// Until a refresh the server does not count it as deleted.
#[tokio::test]
async fn what_was_replaced_and_no_search_has_seen_yet_is_merged_away_too() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    for version in [1, 2] {
        index.bulk(vec![versioned("a", version)]).await.unwrap().check().unwrap();
    }
    index.merge().await.unwrap();
    assert_eq!(index.get(&DocumentId::new("a").unwrap()).await.unwrap().unwrap().version(), Some(2));
    scratch.delete().await;
}
