//! A generation beside the live one that cannot be read.

use std::path::Path;
use std::sync::Arc;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::Warnings;
use tantivy::directory::Directory as _;

use super::super::generations::{files, names};
use super::super::shelf::Shelf;
use crate::work::Stop;
use crate::{
    BeginOptions, DocumentId, Field, GenerationState, Operation, Query, Record, Reindex, Scan, Schema, SearchIndex,
    SearchIndexExt as _, TantivyConfig, rollback,
};

fn old_schema() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::u64("size")).build().unwrap()
}

fn new_schema() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::keyword("size")).build().unwrap()
}

async fn open(folder: &Path, schema: Schema) -> Arc<dyn SearchIndex> {
    Arc::new(TantivyConfig::folder(folder).open(schema).await.unwrap())
}

async fn put(index: &dyn SearchIndex, name: &str) {
    let record = Record::new(name).unwrap().with("title", "cholera");
    index.bulk(vec![Operation::Upsert(record)]).await.unwrap().check().unwrap();
}

/// The second generation is live; the first is kept, or the second is being filled.
async fn two(folder: &Path, filling: bool) {
    let old = open(folder, old_schema()).await;
    put(&*old, "a").await;
    if filling {
        old.begin_with(Arc::new(new_schema()), BeginOptions::default()).await.unwrap();
    } else {
        Reindex::new(Arc::clone(&old), new_schema()).run().await.unwrap();
    }
    old.close().await.unwrap();
}

fn segment(folder: &Path) -> Option<std::path::PathBuf> {
    let name = names(folder).unwrap().into_iter().find(|name| name.ends_with(".store"));
    name.map(|name| folder.join(name))
}

fn replace(folder: &Path, name: &str, from: &str, to: &str) {
    let files = files(folder).unwrap();
    let text = String::from_utf8(files.atomic_read(Path::new(name)).unwrap()).unwrap();
    assert!(text.contains(from), "{text}");
    files.atomic_write(Path::new(name), text.replace(from, to).as_bytes()).unwrap();
}

type Made = fn() -> Schema;

type Damage = (&'static str, bool, fn(&Path));

/// What may have happened to it, and whether its schema is known yet.
const DAMAGES: [Damage; 8] = [
    ("newer", false, |folder| replace(folder, "schema.json", r#""format":1"#, r#""format":2"#)),
    ("another mapping", false, |folder| replace(folder, "schema.json", r#""fingerprint":""#, r#""fingerprint":"0"#)),
    ("no schema", false, |folder| std::fs::remove_file(folder.join("schema.json")).unwrap()),
    ("no list", true, |folder| std::fs::remove_file(folder.join("meta.json")).unwrap()),
    ("notes", true, |folder| std::fs::write(folder.join("generation.json"), "{").unwrap()),
    ("segment", true, |folder| match segment(folder) {
        Some(segment) => std::fs::write(segment, "x").unwrap(),
        None => std::fs::remove_file(folder.join(".managed.json")).unwrap(),
    }),
    ("nothing", false, |folder| std::fs::remove_dir_all(folder).unwrap()),
    ("a file", false, |folder| {
        std::fs::remove_dir_all(folder).unwrap();
        std::fs::write(folder, "x").unwrap();
    }),
];

/// It says so, is not used, and can be dropped; meanwhile the live one is searched and written.
#[tokio::test]
async fn the_live_generation_serves_whatever_became_of_the_one_beside_it() {
    for (filling, (what, is_known, damage)) in [true, false].iter().flat_map(|f| DAMAGES.map(|damage| (*f, damage))) {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("index");
        two(&folder, filling).await;
        let (number, live, mine, other): (u32, u32, Made, Made) =
            if filling { (2, 1, old_schema, new_schema) } else { (1, 2, new_schema, old_schema) };
        damage(&folder.join(format!("{number:06}")));

        for round in ["b", "c"] {
            let index = open(&folder, mine()).await;
            put(&*index, round).await;
            let found = index.generations().await.unwrap();
            let states: Vec<_> = found.iter().map(|found| (found.number, found.state)).collect();
            let mut expected = [(number, GenerationState::Unreadable), (live, GenerationState::Live)];
            expected.sort_by_key(|(number, _)| *number);
            assert_eq!(states, expected, "{what}");
            let of_it = found.iter().find(|found| found.number == number).unwrap();
            assert_eq!(of_it.schema.field("size").is_some(), is_known, "{what}");
            for error in [
                index.activate(number).await.unwrap_err(),
                index.begin_with(Arc::new(other()), BeginOptions::default()).await.unwrap_err(),
                index.scan_with(Scan::of(number), crate::GenerationOptions::default()).await.unwrap_err(),
                Reindex::new(Arc::clone(&index), other()).run().await.unwrap_err(),
                index.ensure(other()).await.unwrap_err(),
            ] {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{what}: {error}");
            }
            assert_eq!(rollback(&index).await.unwrap_err().kind(), ErrorKind::NotFound, "{what}");
            index.close().await.unwrap();
        }
        let index = open(&folder, mine()).await;
        index.drop_generation(number).await.unwrap();
        assert!(!folder.join(format!("{number:06}")).exists(), "{what}");
        assert_eq!(index.generations().await.unwrap().len(), 1, "{what}");
        let other = Reindex::new(Arc::clone(&index), other()).run().await.unwrap().index;
        other.refresh().await.unwrap();
        assert_eq!(other.count(&Query::matches("title", "cholera").into()).await.unwrap(), 3, "{what}");
        for name in ["a", "b", "c"] {
            assert!(index.get(&DocumentId::new(name).unwrap()).await.unwrap().is_some(), "{what}: {name}");
        }
    }
}

#[tokio::test]
async fn a_generation_that_cannot_be_read_is_told_once() {
    let parent = tempfile::tempdir().unwrap();
    two(parent.path(), false).await;
    std::fs::remove_file(parent.path().join("000001/schema.json")).unwrap();
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let shelf = Shelf::open(TantivyConfig::folder(parent.path()), Some(&Arc::new(new_schema()))).unwrap();
        let stop = Stop::default();
        shelf.ensure(&new_schema(), &stop).unwrap();
        shelf.ensure(&old_schema(), &stop).unwrap_err();
        shelf.generations(true, &stop).unwrap();
        shelf.close().unwrap();
    });
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("schema.json is missing"), "{lines:?}");
}
