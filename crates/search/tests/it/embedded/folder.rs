use std::path::Path;
use std::process::Command;

use statehouse_core::{ErrorKind, HealthStatus};
use statehouse_search::{
    BulkOptions, DocumentId, Durability, Field, Operation, Outcome, Query, Record, Schema, SearchIndex,
    SearchIndexExt as _, SearchRequest, TantivyConfig,
};

use super::{schema, upsert};

#[tokio::test]
async fn a_folder_of_something_else_is_not_taken() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let others = parent.path().join("others");
    std::fs::create_dir(&others).unwrap();
    std::fs::write(others.join("letters.txt"), "dear").unwrap();
    // Folders that somebody else calls by numbers, and what looks as if we had been writing it.
    for (name, within) in [("months", "202401/letters.txt"), ("drafts", ".tmpA1b2C3"), ("empty", "202402/.keep")] {
        let within = parent.path().join(name).join(within);
        std::fs::create_dir_all(within.parent().unwrap()).unwrap();
        std::fs::write(&within, "dear").unwrap();
        let error = TantivyConfig::folder(parent.path().join(name)).open(schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name}: {error:?}");
        assert_eq!(std::fs::read_to_string(&within).unwrap(), "dear");
    }
    for place in [file.clone(), file.join("below"), others.clone(), parent.path().join("n\0l")] {
        let error = TantivyConfig::folder(&place).open(schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{place:?}: {error:?}");
    }
    assert_eq!(std::fs::read_dir(&others).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
}

/// What was cut off while the index was made is begun again.
#[tokio::test]
async fn an_index_whose_making_was_cut_off_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    TantivyConfig::folder(&folder).open(schema()).await.unwrap().close().await.unwrap();
    for cut in [&["schema.json"][..], &["schema.json", "meta.json"], &[]] {
        std::fs::remove_file(folder.join("statehouse-search")).unwrap();
        cut.iter().for_each(|name| std::fs::remove_file(folder.join("000001").join(name)).unwrap());
        let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 0);
        index.close().await.unwrap();
    }
}

/// Another one that was not finished, by whatever it was begun.
#[tokio::test]
async fn a_generation_that_is_not_live_is_swept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    index.bulk(vec![upsert("kept", "cholera")]).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    let half = folder.join("000002");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("0123456789abcdef0123456789abcdef.store"), "half").unwrap();
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 1);
    assert!(!half.exists());
}

/// In the same order or not, with an analyzer that nobody uses or without.
#[tokio::test]
async fn fields_may_come_in_another_order() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    let record = |id: &str| Record::new(id).unwrap().with("title", "cholera").with("code", "A00").with("rank", 7_i64);
    index.bulk(vec![Operation::Upsert(record("a"))]).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    let other = Schema::builder()
        .field(Field::i64("rank").sortable())
        .analyzer("unused", statehouse_search::analysis::Analyzer::whole())
        .field(Field::keyword("code").sortable())
        .field(Field::text("title"))
        .build()
        .unwrap();
    let index = TantivyConfig::folder(&folder).open(other).await.unwrap();
    index.bulk(vec![Operation::Upsert(record("b"))]).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    let query = Query::bool().must(Query::matches("title", "cholera")).filter(Query::term("code", "A00"));
    let found = index.search(&SearchRequest::new(query.filter(Query::term("rank", 7_i64)))).await.unwrap();
    assert_eq!(found.ids(), ["a", "b"]);
    for hit in &found.hits {
        assert_eq!(hit.record.value("rank"), Some(&7_i64.into()));
        assert_eq!(hit.record.value("code").and_then(|value| value.as_text()), Some("A00"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_folder_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/index");
    TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn health_is_down_where_the_folder_is_gone_or_the_index_closed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    std::fs::rename(&folder, parent.path().join("away")).unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Down);
    std::fs::rename(parent.path().join("away"), &folder).unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    index.close().await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Down);
}

/// Each is held as it was given until it is committed: as much as the writer may collect, and no more.
#[tokio::test]
async fn queued_writes_are_committed_before_they_take_more_than_the_memory_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let hour = std::time::Duration::from_secs(3600);
    for config in [TantivyConfig::memory(), TantivyConfig::folder(folder.path().join("index"))] {
        let index = config.with_memory(16_000_000).with_commit_interval(hour).open(schema()).await.unwrap();
        let queued = || BulkOptions::default().with_durability(Durability::Queued);
        let text = "cholera ".repeat(128 << 10);
        // Of the same document, too, of which the last state alone is held.
        for _ in 0..20 {
            index.bulk_with(vec![upsert("same", &text)], queued()).await.unwrap().check().unwrap();
        }
        assert_eq!(index.count(&Query::all().into()).await.unwrap(), 0, "there is no need");
        for n in 0..40_u64 {
            index.bulk_with(vec![upsert(&n.to_string(), &text)], queued()).await.unwrap().check().unwrap();
            let held = n + 2 - index.count(&Query::all().into()).await.unwrap();
            assert!(held <= 17, "{held} MiB are held");
        }
        index.close().await.unwrap();
    }
}

const KILLED: &str = "STATEHOUSE_TEST_KILLED";

/// Not a test of its own: writes without end until it is killed.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(folder) = std::env::var(KILLED) else { return };
    let index = TantivyConfig::folder(&folder).with_memory(16_000_000).open(schema()).await.unwrap();
    let queued = BulkOptions::default().with_durability(Durability::Queued);
    let text = (0..2_000).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    for n in 0.. {
        index.bulk_with(vec![upsert(&n.to_string(), &text)], queued.clone()).await.unwrap().check().unwrap();
    }
}

fn segment_files(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder.join("000001"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.len() > 33 && name.as_bytes()[32] == b'.').count()
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    index.bulk(vec![upsert("kept", "cholera")]).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    drop(index);
    let whole = segment_files(&folder);
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::folder::the_process_that_is_killed"])
        .env(KILLED, &folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while segment_files(&folder) <= whole {
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    assert!(index.get(&DocumentId::new("kept").unwrap()).await.unwrap().is_some());
    // As many files as segments count, and no other: those of the whole one, and of one that the other process committed.
    let committed = index.count(&Query::all().into()).await.unwrap() > 1;
    let left = segment_files(&folder);
    assert!(left == whole || committed && left.is_multiple_of(whole), "{left} files, of {whole} each");
    index.close().await.unwrap();
    drop(index);
    let orphan = folder.join("000001/0123456789abcdef0123456789abcdef.store");
    std::fs::write(&orphan, "not in any list").unwrap();
    TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    assert!(!orphan.exists());
}

const DELETER: &str = "STATEHOUSE_TEST_DELETER";

/// Not a test of its own: deletes, says so, and is killed.
#[tokio::test]
async fn the_process_that_deletes_and_is_killed() {
    let Ok(folder) = std::env::var(DELETER) else { return };
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    let id = |text: &str| DocumentId::new(text).unwrap();
    index.bulk(vec![upsert("there", "cholera")]).await.unwrap().check().unwrap();
    for name in ["there", "absent"] {
        let delete = Operation::Delete { id: id(name), version: Some(5) };
        index.bulk(vec![delete]).await.unwrap().check().unwrap();
    }
    std::fs::write(format!("{folder}.done"), "").unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn an_acknowledged_delete_outlives_a_process_that_is_killed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("index");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::folder::the_process_that_deletes_and_is_killed"])
        .env(DELETER, &folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !parent.path().join("index.done").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
    let older = |name: &str| Operation::Upsert(Record::new(name).unwrap().with_version(3));
    let report = index.bulk(vec![older("there"), older("absent"), older("other")]).await.unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Stale, Outcome::Stale, Outcome::Created { version: 3 }]));
}
