//! A reindex while several processes write, of which some die.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, Namespace};
use statehouse_search::{
    BeginOptions, DocumentId, GenerationOptions, GenerationState, OpenSearchIndex, Operation, Outcome, Query, Record,
    Reindex, Schema, SearchIndex, SearchIndexExt as _, rollback,
};

use statehouse_testkit::{Direction, FaultProxy};

use super::{Scratch, config, fresh_name, own_node};
use crate::changed::{document, is_old, new_schema, old_schema};

fn renamed() -> BeginOptions {
    BeginOptions::default().with_renamed("title", "name")
}

fn reindex(index: &Arc<dyn SearchIndex>) -> Reindex {
    Reindex::new(Arc::clone(index), new_schema()).renamed("title", "name")
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

async fn live(address: &str, name: &Namespace) -> Arc<dyn SearchIndex> {
    Arc::new(OpenSearchIndex::open_live(config(address, ""), name).await.unwrap())
}

async fn put(index: &dyn SearchIndex, records: impl IntoIterator<Item = Record>) {
    index.bulk(records.into_iter().map(Operation::Upsert).collect()).await.unwrap().check().unwrap();
}

/// Removes whatever there is of an index.
pub(crate) async fn sweep(scratch: &Scratch) {
    for part in ["-0*", "@notes-*"] {
        let (_, found) = scratch.request("GET", &format!("/{}{part}/_alias", scratch.name), "").await;
        let found: Value = serde_json::from_str(&found).unwrap();
        for index in found.as_object().unwrap().keys().filter(|index| index.starts_with(scratch.name.as_str())) {
            scratch.request("DELETE", &format!("/{index}"), "").await;
        }
    }
}

const KILLED: &str = "STATEHOUSE_TEST_OPENSEARCH_REINDEXER";

/// Not a test of its own: indexes anew and goes back without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_indexes_anew_on_a_server_and_is_killed() {
    let Ok(place) = std::env::var(KILLED) else { return };
    let (address, name) = place.split_once(' ').unwrap();
    let index = live(address, &Namespace::new(name).unwrap()).await;
    let old: Arc<Schema> = Arc::new(old_schema());
    loop {
        let generations = index.generations().await.unwrap();
        let beside = generations.iter().find(|found| found.state != GenerationState::Live);
        let now = generations.iter().find(|found| found.state == GenerationState::Live).unwrap();
        match beside {
            Some(kept) if kept.state == GenerationState::Filling => {
                reindex(&index).batch(40).per_second(1_500).run().await.unwrap();
            }
            Some(_) if is_old(&now.schema) => drop(rollback(&index).await.unwrap()),
            Some(kept) => {
                rollback(&index).await.unwrap();
                let handle = index.ensure(Arc::clone(&old)).await.unwrap();
                handle.drop_generation(now.number).await.unwrap();
                assert!(kept.number < now.number);
            }
            None => drop(reindex(&index).batch(40).per_second(1_500).run().await.unwrap()),
        }
    }
}

/// What was acknowledged of each document.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    There(u64),
    Gone,
    /// An outcome that nobody knows, or one that is on its way.
    Open,
}

#[derive(Debug, Default)]
struct Log {
    told: Mutex<BTreeMap<String, Told>>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Log {
    fn says(&self, id: &str, told: Told) {
        self.told.lock().unwrap().insert(id.to_owned(), told);
        self.acknowledged.fetch_add(u64::from(told != Told::Open), Ordering::SeqCst);
    }
}

/// Writes and deletes, with versions and without, also what it has written before.
async fn write(index: Arc<dyn SearchIndex>, log: Arc<Log>, who: &'static str, first: u64) {
    let schema = Arc::clone(index.schema());
    for n in first.. {
        if log.stop.load(Ordering::SeqCst) {
            return;
        }
        // A document is of one writer, and is written again and again.
        let name = format!("{who}-{}", n % 60);
        let versioned = n % 60 % 2 == 0;
        let delete = n % 5 == 3;
        log.says(&name, Told::Open);
        let version = versioned.then_some(n + 1);
        let operation = if delete {
            Operation::Delete { id: id(&name), version }
        } else {
            let record = document(&schema, &name, n);
            Operation::Upsert(version.into_iter().fold(record, Record::with_version))
        };
        let report = index.bulk(vec![operation]).await.unwrap();
        match &report.outcomes[0] {
            // Sent again behind a lost answer.
            Outcome::Failed(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{name}: {error}"),
            Outcome::Stale => panic!("{name} is written by one, in order: {report:?}"),
            _ => log.says(&name, if delete { Told::Gone } else { Told::There(n) }),
        }
        if versioned && n % 7 == 0 {
            // What is older never comes back, whoever knows of the delete or of the newer document.
            let late = document(&schema, &name, 9_999_999).with_version(n);
            let report = index.bulk(vec![Operation::Upsert(late)]).await.unwrap();
            assert!(n == first || matches!(report.outcomes[0], Outcome::Stale), "{name} at {n}: {report:?}");
        }
    }
}

async fn search(index: Arc<dyn SearchIndex>, log: Arc<Log>) -> u64 {
    let mut searches = 0;
    while !log.stop.load(Ordering::SeqCst) {
        let base = Query::ids((0..300).map(|n| format!("base-{n}")));
        assert_eq!(index.count(&base.into()).await.unwrap(), 300, "documents are always found");
        searches += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    searches
}

async fn assert_holds(index: &dyn SearchIndex, log: &Log) {
    let told = log.told.lock().unwrap().clone();
    for (name, told) in told {
        let found = index.get(&id(&name)).await.unwrap();
        match told {
            Told::There(n) => {
                let found = found.unwrap_or_else(|| panic!("{name} of {n} is lost"));
                let expected = document(index.schema(), &name, n);
                assert!(
                    expected.iter().all(|(field, value)| found.value(field) == Some(value)),
                    "{name} is to be of {n}: {:?} {:?}",
                    found.value("code").and_then(|value| value.as_text().map(str::to_owned)),
                    found.version()
                );
            }
            Told::Gone => assert!(found.is_none(), "{name} came back: {:?}", found.and_then(|found| found.version())),
            Told::Open => {}
        }
    }
}

/// Of another process each time, while others of the old schema, which know nothing of it, write, delete and search.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reindex_that_is_killed_again_and_again_under_writes_of_others_loses_nothing() {
    let scratch = Scratch::new().await;
    let old = || async { Arc::new(scratch.open(old_schema()).await.unwrap()) as Arc<dyn SearchIndex> };
    let first = old().await;
    put(&*first, (0..300).map(|n| document(&old_schema(), &format!("base-{n}"), n))).await;
    first.refresh().await.unwrap();
    let mut pauses = crate::random::Random::new(11);
    let mut searches = 0;
    for round in 0..rounds(4, 100) {
        let log = Arc::new(Log::default());
        let writers = ["a", "b"].map(|who| (who, Arc::clone(&log)));
        let mut tasks = tokio::task::JoinSet::new();
        for (who, log) in writers {
            let index = old().await;
            // Versions go on from those of the round before.
            tasks.spawn(write(index, log, who, round as u64 * 1_000_000));
        }
        let searcher = tokio::spawn(search(old().await, Arc::clone(&log)));
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "opensearch::reindex::the_process_that_indexes_anew_on_a_server_and_is_killed"])
            .env(KILLED, format!("{} {}", scratch.node.address(), scratch.name))
            .env("STATEHOUSE_TEST_OPENSEARCH_URL", format!("http://{}", scratch.node.address()))
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(1_500 + pauses.below(4_000) as u64)).await;
        assert!(process.try_wait().unwrap().is_none(), "round {round}: it ended");
        process.kill().unwrap();
        process.wait().unwrap();
        // Writes go on behind it, whatever it was about to do.
        let before = log.acknowledged.load(Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(60);
        while log.acknowledged.load(Ordering::SeqCst) < before + 20 {
            assert!(Instant::now() < until, "round {round}: writes have stopped");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        log.stop.store(true, Ordering::SeqCst);
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        searches += searcher.await.unwrap();
        let index = live(scratch.node.address(), &scratch.name).await;
        for generation in index.generations().await.unwrap() {
            if generation.state == GenerationState::Filling || generation.state == GenerationState::Behind {
                continue;
            }
            let handle = index.ensure(Arc::clone(&generation.schema)).await.unwrap();
            assert_holds(&*handle, &log).await;
        }
        // And whatever was left of it becomes live.
        let done = reindex(&index).run().await.unwrap();
        assert_holds(&*done.index, &log).await;
        let kept = index.generations().await.unwrap().into_iter().find(|found| found.state != GenerationState::Live);
        rollback(&done.index).await.unwrap();
        assert_holds(&*old().await, &log).await;
        assert!(kept.is_some_and(|kept| kept.state == GenerationState::Kept), "round {round}");
    }
    assert!(searches > 0);
    sweep(&scratch).await;
}

/// It has looked at the index a moment before, and does not look again.
#[tokio::test]
async fn a_writer_that_does_not_know_of_a_generation_writes_to_it() {
    let scratch = Scratch::new().await;
    let (knows, other) = (scratch.open(old_schema()).await.unwrap(), scratch.open(old_schema()).await.unwrap());
    put(&other, [document(&old_schema(), "gone", 1)]).await;
    let filling = knows.begin_with(Arc::new(new_schema()), renamed()).await.unwrap();
    knows.copy_with(vec![id("gone")], GenerationOptions::default()).await.unwrap();
    assert!(filling.get(&id("gone")).await.unwrap().is_some());
    // In between nothing but this tells it that there is another one.
    put(&other, [document(&old_schema(), "a", 1)]).await;
    let delete = Operation::Delete { id: id("gone"), version: None };
    other.bulk(vec![delete]).await.unwrap().check().unwrap();
    assert_eq!(filling.get(&id("a")).await.unwrap().unwrap().value("name"), Some(&"cholera 1".into()));
    assert!(filling.get(&id("gone")).await.unwrap().is_none());
    sweep(&scratch).await;
}

/// A node took it in before there was another generation, and whoever sent it hears of it when there is one.
#[tokio::test]
async fn a_write_whose_answer_is_late_is_in_a_generation_that_was_begun_meanwhile() {
    let scratch = Scratch::new().await;
    let knows = scratch.open(old_schema()).await.unwrap();
    let proxy = FaultProxy::start(scratch.node.address());
    let other = OpenSearchIndex::open(config(&proxy.address(), ""), &scratch.name, old_schema()).await.unwrap();
    put(&other, [document(&old_schema(), "seen", 1)]).await;
    proxy.delay(Direction::ToClient, Duration::from_secs(5));
    let write = tokio::spawn(async move { put(&other, [document(&old_schema(), "late", 1)]).await });
    while knows.get(&id("late")).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let filling = knows.begin_with(Arc::new(new_schema()), renamed()).await.unwrap();
    proxy.heal();
    write.await.unwrap();
    assert!(filling.get(&id("late")).await.unwrap().is_some());
    assert!(knows.get(&id("late")).await.unwrap().is_some());
    sweep(&scratch).await;
}

/// A process that dies while nobody may write holds up nobody for long, and what it wanted does not happen.
#[tokio::test]
async fn writes_go_on_where_who_stopped_them_has_died() {
    let scratch = Scratch::new().await;
    let index: Arc<dyn SearchIndex> = Arc::new(scratch.open(old_schema()).await.unwrap());
    put(&*index, [document(&old_schema(), "a", 1)]).await;
    index.begin_with(Arc::new(new_schema()), renamed()).await.unwrap();
    let (live, alias) =
        (format!("{}-000001", scratch.name), |verb: &str| format!("{}@{verb}.2.1.2.copied", scratch.name));
    let actions = json!({ "actions": [
        { "remove": { "index": live, "alias": alias("Write"), "must_exist": true } },
        { "add": { "index": live, "alias": alias("Frozen") } },
    ]});
    let (status, answer) = scratch.request("POST", "/_aliases", &actions.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let start = Instant::now();
    put(&*index, [document(&old_schema(), "b", 2)]).await;
    assert!(start.elapsed() > Duration::from_secs(5), "it waited: {:?}", start.elapsed());
    assert_eq!(reindex(&index).run().await.unwrap().generation.documents, 2);
    sweep(&scratch).await;
}

/// As a writer leaves it that dies between the one and the other.
#[tokio::test]
async fn what_is_in_one_generation_only_is_found_before_the_other_becomes_live() {
    let scratch = Scratch::new().await;
    let index: Arc<dyn SearchIndex> = Arc::new(scratch.open(old_schema()).await.unwrap());
    put(&*index, (0..20).map(|n| document(&old_schema(), &format!("{n:02}"), n))).await;
    let done = reindex(&index).run().await.unwrap();
    let place = |id: &str| format!("/{}-000002/_doc/{id}", scratch.name);
    let alone = r#"{"_sid":"alone","name":"cholera","code":"c","size":"7"}"#;
    assert_eq!(scratch.request("PUT", &place("alone"), alone).await.0, 201);
    assert_eq!(scratch.request("DELETE", &place("03"), "").await.0, 200);
    assert_eq!(index.activate(1).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(rollback(&done.index).await.unwrap().number, 1);
    let found = index.get(&id("alone")).await.unwrap().unwrap();
    assert_eq!((found.value("size"), index.get(&id("03")).await.unwrap()), (Some(&7_u64.into()), None));
    assert_eq!(index.count(&Query::all().into()).await.unwrap(), 20);
    sweep(&scratch).await;
}

/// One made by a release that knew of a single generation has none of the aliases that tell of several.
#[tokio::test]
async fn an_index_of_a_release_before_is_indexed_anew() {
    let scratch = Scratch::new().await;
    let index = scratch.open(old_schema()).await.unwrap();
    put(&index, [document(&old_schema(), "a", 1)]).await;
    for alias in ["@Write.1.1", "@000001"] {
        let target = format!("/{0}-000001/_alias/{0}{alias}", scratch.name);
        assert_eq!(scratch.request("DELETE", &target, "").await.0, 200);
    }
    let before = live(scratch.node.address(), &scratch.name).await;
    let done = reindex(&before).run().await.unwrap();
    assert_eq!((done.written, done.generation.number), (1, 2));
    put(&index, [document(&old_schema(), "b", 2)]).await;
    assert!(done.index.get(&id("b")).await.unwrap().is_some());
    sweep(&scratch).await;
}

/// A delete from before is remembered by the elder one alone, be that live or not.
#[tokio::test]
async fn what_was_deleted_before_a_reindex_does_not_come_back_by_an_older_write() {
    let scratch = Scratch::new().await;
    let index: Arc<dyn SearchIndex> = Arc::new(scratch.open(old_schema()).await.unwrap());
    put(&*index, [document(&old_schema(), "a", 1).with_version(3), document(&old_schema(), "b", 1)]).await;
    let delete = |name: &str, version| Operation::Delete { id: id(name), version };
    index.bulk(vec![delete("a", Some(9)), delete("b", None)]).await.unwrap().check().unwrap();
    let new = reindex(&index).run().await.unwrap().index;
    let late = |name: &str, version| Operation::Upsert(document(&new_schema(), name, 2).with_version(version));
    let report = new.bulk(vec![late("a", 5), late("b", 2), late("a", 10)]).await.unwrap();
    assert!(
        matches!(report.outcomes[..], [Outcome::Stale, Outcome::Stale, Outcome::Created { version: 10 }]),
        "{report:?}"
    );
    // One without a version counts on from what either knows.
    let report = new.bulk(vec![Operation::Upsert(document(&new_schema(), "b", 3))]).await.unwrap();
    report.check().unwrap();
    for index in [&index, &new] {
        assert_eq!(index.get(&id("b")).await.unwrap().unwrap().version(), Some(3));
    }
    sweep(&scratch).await;
}

#[tokio::test]
async fn a_reindex_goes_on_behind_the_death_of_the_server() {
    let node = own_node().await;
    let name = fresh_name();
    let index: Arc<dyn SearchIndex> =
        Arc::new(OpenSearchIndex::open(config(node.address(), ""), &name, old_schema()).await.unwrap());
    put(&*index, (0..50).map(|n| document(&old_schema(), &format!("{n:02}"), n))).await;
    index.begin_with(Arc::new(new_schema()), renamed()).await.unwrap();
    let half = (0..25).map(|n| id(&format!("{n:02}"))).collect();
    assert_eq!(index.copy_with(half, GenerationOptions::default()).await.unwrap(), 25);
    let delete = Operation::Delete { id: id("07"), version: None };
    index.bulk(vec![delete]).await.unwrap().check().unwrap();
    node.kill();
    node.restart().await;
    let index = live(node.address(), &name).await;
    let done = reindex(&index).run().await.unwrap();
    assert_eq!((done.written, done.generation.documents), (25, 49));
    assert!(done.index.get(&id("07")).await.unwrap().is_none());
    for number in [1, 2] {
        node.request("DELETE", &format!("/{name}-00000{number}"), "").await.unwrap();
    }
}
