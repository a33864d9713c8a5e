//! What is written while two generations are compared.

use std::sync::Arc;

use super::super::client::{Client, Rule};
use super::schema;
use crate::work::Stop;
use crate::{BulkOptions, DocumentId, Durability, Operation, Outcome, Record, TantivyConfig, TantivyIndex};

fn write(client: &Client, operations: Vec<Operation>, durability: Durability) -> Vec<Outcome> {
    let options = BulkOptions::default().with_durability(durability);
    client.bulk(operations, &options, (&client.mapping.schema, Rule::Newer)).unwrap()
}

fn upsert(n: u64, version: Option<u64>) -> Operation {
    let record = Record::new(format!("{n}")).unwrap().with("title", "cholera");
    Operation::Upsert(version.map_or(record.clone(), |version| record.with_version(version)))
}

fn delete(n: u64, version: Option<u64>) -> Operation {
    Operation::Delete { id: DocumentId::new(format!("{n}")).unwrap(), version }
}

fn client(index: &TantivyIndex) -> Arc<Client> {
    index.shelf.set().live.client
}

/// Of every kind: created, updated, deleted, stale, failed and nothing.
#[tokio::test]
async fn what_is_written_while_generations_are_compared_counts() {
    let (index, stop) = (TantivyConfig::memory().open(schema()).await.unwrap(), Stop::default());
    let client = client(&index);
    write(&client, (0..20).map(|n| upsert(n, Some(5))).collect(), Durability::Committed);
    let mut taken = vec![client.taken(&stop).unwrap()];
    for round in 0..30_u64 {
        let durability = if round % 3 == 0 { Durability::Committed } else { Durability::Queued };
        let bad = Operation::Upsert(Record::new("3").unwrap().with("title", 1_u64));
        let operations = vec![
            upsert(round, None),
            upsert(round + 1, Some(round)),
            delete(round / 2, None),
            delete(round + 2, Some(4)),
            bad,
            upsert(round, None),
        ];
        write(&client, operations, durability);
        let now: Vec<_> = taken.iter().map(|taken| client.now(taken, &stop).unwrap()).collect();
        let read = client.digest(&stop).unwrap();
        assert!(now.iter().all(|now| *now == read), "round {round}: {now:?} {read:?}");
        taken.push(client.taken(&stop).unwrap());
    }
}

/// What it had done is undone.
#[tokio::test]
async fn what_a_commit_that_failed_has_left_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (index, stop) = (TantivyConfig::folder(folder.path()).open(schema()).await.unwrap(), Stop::default());
    let client = client(&index);
    write(&client, (0..20).map(|n| upsert(n, None)).collect(), Durability::Committed);
    let taken = client.taken(&stop).unwrap();
    // In the place of the file that a commit of deletes writes first.
    let in_its_way = folder.path().join("000001/deletes-000000");
    std::fs::create_dir(&in_its_way).unwrap();
    let by = (&*client.mapping.schema, Rule::Newer);
    client.bulk(vec![delete(3, None), upsert(7, None)], &BulkOptions::default(), by).unwrap_err();
    std::fs::remove_dir(&in_its_way).unwrap();
    assert_eq!(client.now(&taken, &stop).unwrap(), client.digest(&stop).unwrap());
    assert_eq!(client.digest(&stop).unwrap().documents, 20);
    write(&client, vec![delete(3, None)], Durability::Committed);
    assert_eq!(client.now(&taken, &stop).unwrap().documents, 19);
}
