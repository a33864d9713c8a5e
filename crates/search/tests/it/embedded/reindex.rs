//! A reindex that is killed, again and again, while it is written and searched.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::rounds;
use statehouse_core::layer::Layer;
use statehouse_search::{
    BeginOptions, BulkOptions, DocumentId, Durability, Field, GenerationOptions, GenerationState, LayeredIndex,
    Operation, Query, Reindex, Schema, SearchIndex, SearchIndexExt as _, TantivyConfig, rollback,
};

use crate::changed::{document, is_old, new_schema, old_schema};

fn other(schema: &Schema) -> (Schema, &'static str, &'static str) {
    if is_old(schema) { (new_schema(), "title", "name") } else { (old_schema(), "name", "title") }
}

const KILLED: &str = "STATEHOUSE_TEST_REINDEXER";

/// Not a test of its own: writes, searches and indexes anew without end, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_indexes_anew_and_is_killed() {
    let Ok(folder) = std::env::var(KILLED) else { return };
    let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(&folder).open_live().await.unwrap());
    let log = std::fs::File::options().create(true).append(true).open(format!("{folder}.log")).unwrap();
    let (writer, searcher) = (Arc::clone(&index), Arc::clone(&index));
    let writes = tokio::spawn(async move { write(&*writer, log).await });
    let searches = tokio::spawn(async move {
        loop {
            assert!(searcher.count(&Query::all().into()).await.unwrap() >= 300, "documents are always found");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let evolve = tokio::spawn(async move {
        loop {
            evolve(&index).await;
        }
    });
    tokio::select! {
        ended = writes => panic!("{ended:?}"),
        ended = searches => panic!("{ended:?}"),
        ended = evolve => panic!("{ended:?}"),
    }
}

/// Committed and logged by turns.
async fn write(index: &dyn SearchIndex, mut log: std::fs::File) {
    for n in 0_u64.. {
        let durability = if n % 2 == 0 { Durability::Committed } else { Durability::Logged };
        let options = BulkOptions::default().with_durability(durability);
        let id = format!("{}-{n}", std::process::id());
        let upsert = Operation::Upsert(document(index.schema(), &id, n));
        index.bulk_with(vec![upsert], options.clone()).await.unwrap().check().unwrap();
        writeln!(log, "+ {id}").unwrap();
        if n % 3 == 0 {
            writeln!(log, "? {id}").unwrap();
            let delete = Operation::Delete { id: DocumentId::new(&id).unwrap(), version: None };
            index.bulk_with(vec![delete], options).await.unwrap().check().unwrap();
            writeln!(log, "- {id}").unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// To the other schema, back and forth, and away with what was kept, except for that of the handle.
async fn evolve(index: &Arc<dyn SearchIndex>) {
    let (wanted, old, new) = other(index.schema());
    let generations = index.generations().await.unwrap();
    let kept = generations.iter().find(|generation| generation.state == GenerationState::Kept);
    match kept {
        Some(_) => {
            rollback(index).await.unwrap();
            rollback(index).await.unwrap();
            let generations = index.generations().await.unwrap();
            let live = generations.iter().find(|generation| generation.state == GenerationState::Live).unwrap();
            let other = generations.iter().find(|generation| generation.state != GenerationState::Live).unwrap();
            if is_old(&live.schema) == is_old(index.schema()) {
                index.drop_generation(other.number).await.unwrap();
            } else {
                rollback(index).await.unwrap();
            }
        }
        None => {
            Reindex::new(Arc::clone(index), wanted).renamed(old, new).batch(20).per_second(1_500).run().await.unwrap();
        }
    }
}

/// What was acknowledged, by id: there, gone, or nobody knows.
fn acknowledged(folder: &Path) -> BTreeMap<String, char> {
    let log = std::fs::read_to_string(format!("{}.log", folder.display())).unwrap_or_default();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(what, id)| (id.to_owned(), what.chars().next().unwrap()))
        .collect()
}

async fn assert_holds(index: &dyn SearchIndex, acknowledged: &BTreeMap<String, char>) {
    let schema = Arc::clone(index.schema());
    for (id, what) in acknowledged {
        let found = index.get(&DocumentId::new(id).unwrap()).await.unwrap();
        match what {
            '+' => {
                let (_, n) = id.split_once('-').unwrap();
                let found = found.unwrap_or_else(|| panic!("{id} is lost"));
                let expected = document(&schema, id, n.parse().unwrap());
                assert!(expected.iter().all(|(name, value)| found.value(name) == Some(value)), "{id}: {found:?}");
            }
            '-' => assert!(found.is_none(), "{id} came back"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_reindex_under_writes_that_is_killed_again_and_again_loses_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let index = TantivyConfig::folder(&folder).open(old_schema()).await.unwrap();
    let first = (0..300).map(|n| Operation::Upsert(document(&old_schema(), &format!("base-{n}"), n)));
    index.bulk(first.collect()).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    drop(index);
    let mut pauses = crate::random::Random::new(7);
    for round in 0..rounds(6, 200) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::reindex::the_process_that_indexes_anew_and_is_killed", "--nocapture"])
            .env(KILLED, &folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = acknowledged(&folder).len();
        while acknowledged(&folder).len() < before + 20 {
            assert!(process.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(pauses.below(400) as u64)).await;
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        process.kill().unwrap();
        process.wait().unwrap();
        let acknowledged = acknowledged(&folder);
        let index = TantivyConfig::folder(&folder).open_live().await.unwrap();
        for generation in index.generations().await.unwrap() {
            let handle = match generation.state {
                GenerationState::Filling | GenerationState::Behind => continue,
                _ => index.ensure(Arc::clone(&generation.schema)).await.unwrap(),
            };
            assert_holds(&*handle, &acknowledged).await;
            let base = (0..300).map(|n| format!("base-{n}"));
            assert_eq!(handle.count(&Query::ids(base).into()).await.unwrap(), 300, "round {round}");
        }
        index.close().await.unwrap();
    }
}

/// As a program does it that is started again: it finds out what is to be done by opening the index by its own schema.
#[tokio::test]
async fn a_reindex_that_was_killed_is_gone_on_with_by_the_next_start_of_the_new_build() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let old = TantivyConfig::folder(&folder).open(old_schema()).await.unwrap();
    let all = (0..30).map(|n| Operation::Upsert(document(&old_schema(), &format!("{n:02}"), n)));
    old.bulk(all.collect()).await.unwrap().check().unwrap();
    let renamed = || BeginOptions::default().with_renamed("title", "name");
    let filling = old.begin_with(Arc::new(new_schema()), renamed()).await.unwrap();
    let ids = (0..10).map(|n| DocumentId::new(format!("{n:02}")).unwrap());
    old.copy_with(ids.collect(), GenerationOptions::default()).await.unwrap();
    // Who has the index open waits for who fills it.
    assert_eq!(old.ensure(new_schema()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    old.close().await.unwrap();
    drop((old, filling));

    // Nobody fills what was just opened.
    let error = TantivyConfig::folder(&folder).open(new_schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
    assert!(error.to_string().contains("generation 2 was begun and not finished"), "{error}");
    let live: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(&folder).open_live().await.unwrap());
    let done = Reindex::new(Arc::clone(&live), new_schema()).renamed("title", "name").run().await.unwrap();
    assert_eq!(done.written, 20);
    live.close().await.unwrap();
    drop((live, done));
    let new = TantivyConfig::folder(&folder).open(new_schema()).await.unwrap();
    assert_eq!(new.count(&Query::matches("name", "cholera").into()).await.unwrap(), 30);
}

/// Behind the pointer, and before its own file.
#[tokio::test]
async fn a_generation_that_became_live_as_the_process_ended_is_live() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let notes = folder.join("000002/generation.json");
    let old: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(&folder).open(old_schema()).await.unwrap());
    old.bulk(vec![Operation::Upsert(document(&old_schema(), "a", 1))]).await.unwrap().check().unwrap();
    old.begin_with(Arc::new(new_schema()), BeginOptions::default().with_renamed("title", "name")).await.unwrap();
    let filling = std::fs::read(&notes).unwrap();
    Reindex::new(Arc::clone(&old), new_schema()).renamed("title", "name").run().await.unwrap();
    old.close().await.unwrap();
    drop(old);
    assert_ne!(std::fs::read(&notes).unwrap(), filling);
    std::fs::write(&notes, filling).unwrap();

    for states in [[GenerationState::Kept, GenerationState::Live], [GenerationState::Live, GenerationState::Kept]] {
        let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(&folder).open(new_schema()).await.unwrap());
        let found: Vec<_> = index.generations().await.unwrap().iter().map(|found| found.state).collect();
        assert_eq!(found, states);
        if states[1] == GenerationState::Live {
            assert_eq!(rollback(&index).await.unwrap().number, 1);
        }
        index.close().await.unwrap();
    }
}

/// One that knows of a single generation, as a release before did, or a process that ended between one and the other.
#[tokio::test]
async fn a_generation_that_somebody_did_not_write_to_is_made_whole_before_it_is_used() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let open = || TantivyConfig::folder(&folder);
    let old: Arc<dyn SearchIndex> = Arc::new(open().open(old_schema()).await.unwrap());
    old.bulk(vec![Operation::Upsert(document(&old_schema(), "a", 1))]).await.unwrap().check().unwrap();
    Reindex::new(Arc::clone(&old), new_schema()).renamed("title", "name").run().await.unwrap();
    old.close().await.unwrap();
    // The folder as it is with one generation, and back.
    let (pointer, first) = (folder.join("statehouse-search"), folder.join("000001"));
    let (both, away) = (std::fs::read(&pointer).unwrap(), parent.path().join("away"));
    std::fs::create_dir(&away).unwrap();
    for file in std::fs::read_dir(&first).unwrap().map(|file| file.unwrap()) {
        std::fs::copy(file.path(), away.join(file.file_name())).unwrap();
    }
    let new = open().open(new_schema()).await.unwrap();
    new.drop_generation(1).await.unwrap();
    assert!(!first.exists());
    new.bulk(vec![Operation::Upsert(document(&new_schema(), "b", 2))]).await.unwrap().check().unwrap();
    new.close().await.unwrap();
    std::fs::rename(&away, &first).unwrap();
    std::fs::write(&pointer, both).unwrap();

    let error = open().open(old_schema()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
    assert!(error.to_string().contains("generation 1"), "{error}");
    let new: Arc<dyn SearchIndex> = Arc::new(open().open(new_schema()).await.unwrap());
    let states: Vec<_> = new.generations().await.unwrap().iter().map(|found| found.state).collect();
    assert_eq!(states, [GenerationState::Behind, GenerationState::Live]);
    assert_eq!(rollback(&new).await.unwrap().number, 1);
    let old = new.ensure(old_schema()).await.unwrap();
    let found = old.get(&DocumentId::new("b").unwrap()).await.unwrap().unwrap();
    assert_eq!(found.value("size"), Some(&2_u64.into()));
}

/// Its schema was written, and tantivy was not told yet.
#[tokio::test]
async fn a_process_that_ended_while_a_field_was_added_leaves_an_index_that_opens() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let old = TantivyConfig::folder(&folder).open(old_schema()).await.unwrap();
    old.bulk(vec![Operation::Upsert(document(&old_schema(), "a", 1))]).await.unwrap().check().unwrap();
    old.close().await.unwrap();
    drop(old);
    let list = folder.join("000001/meta.json");
    let before = std::fs::read(&list).unwrap();
    let more = || {
        let base = old_schema();
        let fields = base.fields().iter().cloned().chain([Field::text("notes")]);
        fields.fold(Schema::builder(), |schema, field| schema.field(field)).build().unwrap()
    };
    TantivyConfig::folder(&folder).open(more()).await.unwrap().close().await.unwrap();
    assert_ne!(std::fs::read(&list).unwrap(), before);
    std::fs::write(&list, before).unwrap();
    let new = TantivyConfig::folder(&folder).open(more()).await.unwrap();
    let noted = document(&old_schema(), "b", 2).with("notes", "fever");
    new.bulk(vec![Operation::Upsert(noted)]).await.unwrap().check().unwrap();
    new.refresh().await.unwrap();
    assert_eq!(new.count(&Query::matches("notes", "fever").into()).await.unwrap(), 1);
    assert_eq!(new.count(&Query::matches("title", "cholera").into()).await.unwrap(), 2);
}

/// How many pages of ids were read with nothing copied in between: now, and at most.
#[derive(Debug, Default)]
struct InARow(AtomicUsize, Arc<AtomicUsize>);

impl Layer for InARow {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = statehouse_core::Result<T>> + Send + 'a,
    ) -> statehouse_core::Result<T> {
        match operation {
            "search.scan" => drop(self.1.fetch_max(self.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst)),
            "search.copy" => self.0.store(0, Ordering::SeqCst),
            _ => {}
        }
        work.await
    }
}

/// Whatever one of them has more than the other.
#[tokio::test]
async fn generations_are_compared_page_by_page() {
    let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(old_schema()).await.unwrap());
    let many = (0..2_600).map(|n| Operation::Upsert(document(&old_schema(), &format!("many-{n:04}"), n)));
    index.bulk(many.collect()).await.unwrap().check().unwrap();
    let rows = ["first", "many-1000", "zero"].map(|id| document(&new_schema(), id, 7).with_version(9));
    let reindex = Reindex::new(Arc::clone(&index), new_schema()).renamed("title", "name");
    reindex.run_from(rows.into_iter()).await.unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let watched: Arc<dyn SearchIndex> =
        Arc::new(LayeredIndex::new(index, InARow(AtomicUsize::new(0), Arc::clone(&most))));
    assert_eq!(rollback(&watched).await.unwrap().number, 1);
    assert_eq!(most.load(Ordering::SeqCst), 2, "a page of each");
    let old = watched.ensure(old_schema()).await.unwrap();
    old.refresh().await.unwrap();
    assert_eq!(old.count(&Query::all().into()).await.unwrap(), 3);
}
