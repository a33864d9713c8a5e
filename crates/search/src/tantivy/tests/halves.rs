//! Bulks of which only one generation knows, as where the disk has failed between the writes to both.

use std::sync::Arc;

use super::super::client::Rule;
use crate::{
    BulkOptions, DocumentId, Field, GenerationState, Operation, Outcome, Record, Reindex, Schema, SearchIndex,
    SearchIndexExt as _, TantivyConfig, TantivyIndex,
};

fn schema(size: Field) -> Schema {
    Schema::builder().field(Field::text("title")).field(size).build().unwrap()
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

fn upsert(name: &str, version: u64) -> Operation {
    Operation::Upsert(Record::new(name).unwrap().with("title", format!("of {version}")).with_version(version))
}

fn delete(name: &str, version: u64) -> Operation {
    Operation::Delete { id: id(name), version: Some(version) }
}

/// An index of two generations, by the live one's schema and by that of the one that is kept.
async fn both() -> (TantivyIndex, Arc<dyn SearchIndex>, Arc<dyn SearchIndex>) {
    let index = TantivyConfig::memory().open(schema(Field::u64("size"))).await.unwrap();
    let old: Arc<dyn SearchIndex> = Arc::new(index.clone());
    let first = ["a", "b", "c", "d"].map(|name| upsert(name, 3));
    old.bulk(first.to_vec()).await.unwrap().check().unwrap();
    let new = Reindex::new(Arc::clone(&old), schema(Field::keyword("size"))).run().await.unwrap().index;
    (index, new, old)
}

/// Writes to one of them.
fn half(index: &TantivyIndex, state: GenerationState, operations: Vec<Operation>) {
    let set = index.shelf.set();
    let generation = set.all().find(|generation| set.state(generation) == state).unwrap();
    let client = &generation.client;
    let outcomes = client.bulk(operations, &BulkOptions::default(), (&client.mapping.schema, Rule::Newer)).unwrap();
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Failed(_) | Outcome::Stale)));
}

/// Whatever became of it the first time, and also where something newer was lost on its way.
#[tokio::test]
async fn a_bulk_that_is_sent_again_is_in_both_generations() {
    for by_old in [true, false] {
        let (index, new, old) = both().await;
        let (handle, state) = if by_old { (&old, GenerationState::Kept) } else { (&new, GenerationState::Live) };
        let operations = vec![upsert("a", 5), delete("b", 5), upsert("e", 5), delete("f", 5)];
        half(&index, state, operations.clone());
        half(&index, state, vec![upsert("c", 9), delete("d", 9)]);
        let again = operations.into_iter().chain([upsert("c", 8), upsert("d", 8)]).collect();
        let report = handle.bulk(again).await.unwrap();
        assert!(report.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stale)), "{report:?}");
        for side in [&old, &new] {
            let mut versions = Vec::new();
            for name in ["a", "b", "c", "d", "e", "f"] {
                let found = side.get(&id(name)).await.unwrap();
                let title = found.as_ref().and_then(|found| found.value("title")).and_then(|title| title.as_text());
                assert!(title.is_none_or(|title| Some(title)
                    == found.as_ref().and_then(Record::version).map(|version| format!("of {version}")).as_deref()));
                versions.push(found.and_then(|found| found.version()));
            }
            assert_eq!(versions, [Some(5), None, Some(9), None, Some(5), None], "by the old one: {by_old}");
            // Deletes have left their traces.
            let late = side.bulk(vec![upsert("b", 4), upsert("d", 9), upsert("f", 5)]).await.unwrap();
            assert!(late.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stale)), "{late:?}");
        }
    }
}
