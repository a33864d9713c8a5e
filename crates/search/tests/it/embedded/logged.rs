//! Logged writes of a process that is killed, again and again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::conformance::rounds;
use statehouse_search::{
    BulkOptions, DocumentId, Durability, Operation, Outcome, Query, Record, SearchIndex, SearchIndexExt as _,
    TantivyConfig,
};
use tokio::task::JoinSet;

use super::schema;
use crate::random::Random;

const KILLED: &str = "STATEHOUSE_TEST_LOGGER";

const WRITERS: u64 = 4;

/// Not a test of its own: writes without end, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_logs_and_is_killed() {
    let Ok(folder) = std::env::var(KILLED) else { return };
    let config = TantivyConfig::folder(&folder).with_commit_interval(Duration::from_millis(60));
    let index: Arc<dyn SearchIndex> = Arc::new(config.open(schema()).await.unwrap());
    let said = std::fs::File::options().create(true).append(true).open(format!("{folder}.said")).unwrap();
    let said = Arc::new(said);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&index), writer, Arc::clone(&said)));
    }
    let ended = writers.join_next().await;
    panic!("{ended:?}");
}

/// Its own documents, over and over, each time in another version: written, deleted, and both in one bulk.
async fn write(index: Arc<dyn SearchIndex>, writer: u64, said: Arc<std::fs::File>) {
    let say = |what: char, id: &str, version: u64| {
        (&*said).write_all(format!("{what} {id} {version}\n").as_bytes()).unwrap();
    };
    let with = |durability| BulkOptions::default().with_durability(durability);
    let mut random = Random::new(u64::from(std::process::id()) * WRITERS + writer);
    loop {
        let id = format!("{writer}-{}", random.below(40));
        let known = index.get(&DocumentId::new(&id).unwrap()).await.unwrap();
        let (deletes, with_version) = (random.below(3) == 0, random.below(2) == 0);
        let next = known.as_ref().and_then(Record::version).map(|version| version + 1);
        say('?', &id, 0);
        let record = Record::new(&id).unwrap().with("title", format!("cholera {id}"));
        let operation = match (deletes, next.filter(|_| with_version)) {
            (false, Some(version)) => Operation::Upsert(record.with_version(version)),
            (false, None) => Operation::Upsert(record),
            (true, version) => Operation::Delete { id: DocumentId::new(&id).unwrap(), version },
        };
        let durability = if random.below(8) == 0 { Durability::Committed } else { Durability::Logged };
        let beside = Operation::Upsert(Record::new(format!("queued-{id}")).unwrap().with("title", "fever"));
        index.bulk_with(vec![beside], with(Durability::Queued)).await.unwrap().check().unwrap();
        match index.bulk_with(vec![operation], with(durability)).await.unwrap().outcomes[..] {
            [Outcome::Created { version } | Outcome::Updated { version }] => say('+', &id, version),
            [Outcome::Deleted { version }] => say('-', &id, version),
            [Outcome::NotFound] => say('-', &id, 0),
            ref other => panic!("{other:?}"),
        }
    }
}

/// What was acknowledged last of each id: there, gone, or nobody knows; and the version.
fn acknowledged(said: &Path) -> BTreeMap<String, (char, u64)> {
    let said = std::fs::read_to_string(said).unwrap_or_default();
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (what, id, version) = (words.next()?, words.next()?, words.next()?);
        Some((id.to_owned(), (what.chars().next()?, version.parse().ok()?)))
    };
    whole.lines().map(|text| line(text).unwrap_or_else(|| panic!("{text:?}"))).collect()
}

/// Nothing is lost, nothing is there twice, and nothing came back.
async fn assert_holds(index: &dyn SearchIndex, acknowledged: &BTreeMap<String, (char, u64)>) {
    let mut there = Vec::new();
    for (id, (what, version)) in acknowledged {
        let found = index.get(&DocumentId::new(id).unwrap()).await.unwrap();
        match (what, &found) {
            ('+', Some(found)) => assert_eq!(found.version(), Some(*version), "{id}"),
            ('+', None) => panic!("{id} is lost"),
            ('-', Some(_)) => panic!("{id} came back"),
            _ => {}
        }
        if let Some(found) = found {
            let title = format!("cholera {id}");
            assert_eq!(found.value("title").and_then(|title| title.as_text()), Some(&*title));
            there.push(id.clone());
        }
    }
    index.refresh().await.unwrap();
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.unwrap(), there.len() as u64);
    assert_eq!(index.count(&Query::ids(there.clone()).into()).await.unwrap(), there.len() as u64);
    for (id, (what, version)) in acknowledged.iter().filter(|(_, (what, version))| *what == '-' && *version > 0) {
        let late = Operation::Upsert(Record::new(id).unwrap().with_version(*version));
        let outcomes = index.bulk(vec![late]).await.unwrap().outcomes;
        assert!(matches!(outcomes[..], [Outcome::Stale]), "{id} {what} {version}: {outcomes:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

#[tokio::test]
async fn logged_writes_of_a_process_that_is_killed_again_and_again_are_there_once() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, said) = (parent.path().join("index"), parent.path().join("index.said"));
    let (mut pauses, mut replayed) = (Random::new(11), 0);
    for round in 0..rounds(6, 200) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::logged::the_process_that_logs_and_is_killed", "--nocapture"])
            .env(KILLED, &folder)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = || std::fs::metadata(&said).map_or(0, |said| said.len());
        let before = lines();
        while lines() < before + 1_000 {
            assert!(process.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(pauses.below(200) as u64)).await;
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        process.kill().unwrap();
        process.wait().unwrap();
        let logs = std::fs::read_dir(folder.join("000001")).unwrap().map(|entry| entry.unwrap().file_name());
        replayed += logs.filter(|name| name.to_string_lossy().starts_with("log-")).count();
        // Of the folder itself the next process takes up what this one has left.
        let left = parent.path().join(format!("left-{round}"));
        copy(&folder, &left);
        let index = TantivyConfig::folder(&left).open(schema()).await.unwrap();
        assert_holds(&index, &acknowledged(&said)).await;
        index.close().await.unwrap();
        drop(index);
        std::fs::remove_dir_all(&left).unwrap();
    }
    assert!(replayed > 0, "there was nothing in a log");
}
