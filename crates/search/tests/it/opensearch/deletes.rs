//! What becomes of the versions of deletes when the server itself starts again.

use statehouse_search::{DocumentId, OpenSearchIndex, Operation, Outcome, Record, SearchIndexExt as _};
use statehouse_testkit::OpenSearchNode;

use super::{config, fresh_name, schema, versioned};

/// A server remembers them in memory, and again what it reads in its log of what was not flushed yet.
#[tokio::test]
async fn versions_of_deletes_outlive_a_killed_server_as_long_as_they_are_not_flushed() {
    let node = OpenSearchNode::start().await;
    let mut kept = Vec::new();
    for flushed in [false, true] {
        let name = fresh_name();
        let open =
            async || OpenSearchIndex::open(config(node.address(), "&deadline=120s"), &name, schema()).await.unwrap();
        let index = open().await;
        index.bulk(vec![versioned("there", 1)]).await.unwrap().check().unwrap();
        let delete = |name: &str| Operation::Delete { id: DocumentId::new(name).unwrap(), version: Some(5) };
        index.bulk(vec![delete("there"), delete("absent")]).await.unwrap().check().unwrap();
        if flushed {
            let answer = node.request("POST", &format!("/{name}/_flush?force=true"), "").await.unwrap();
            assert_eq!(answer.status, 200);
        }
        node.kill();
        node.restart().await;
        let older = |name: &str| Operation::Upsert(Record::new(name).unwrap().with_version(3));
        let report = open().await.bulk(vec![older("there"), older("absent")]).await.unwrap();
        kept.push(report.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stale)));
    }
    assert_eq!(kept, [true, false], "what the documentation says");
}
