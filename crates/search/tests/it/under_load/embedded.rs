//! In a folder. Its one process does all of it, and is killed.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::conformance::rounds;
use statehouse_search::{
    GenerationState, Operation, Reindex, SearchIndex, SearchIndexExt as _, TantivyConfig, rollback,
};

use super::load::Load;
use super::told::Told;
use super::{document, new_schema, old_schema, pace, rows};
use crate::random::Random;

const KILLED: &str = "STATEHOUSE_TEST_LOADED_REINDEXER";

/// Not a test of its own: writes, searches and indexes anew, goes back and forth twice, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_indexes_anew_under_load_and_is_killed() {
    let Ok(place) = std::env::var(KILLED) else { return };
    let (first, folder) = place.split_once(' ').unwrap();
    let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(folder).open_live().await.unwrap());
    let log = format!("{folder}.log");
    let load = Load::start(vec![Arc::clone(&index)], rows(), first.parse().ok(), Path::new(&log));
    let done = Reindex::new(Arc::clone(&index), new_schema()).per_second(pace()).run().await.unwrap();
    load.also(Arc::clone(&done.index));
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        rollback(&index).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await;
    index.close().await.unwrap();
}

fn process(folder: &Path, first: u64) -> Child {
    let test = "under_load::embedded::the_process_that_indexes_anew_under_load_and_is_killed";
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test, "--nocapture"]).env(KILLED, format!("{first} {}", folder.display()));
    process.stdout(std::process::Stdio::null()).spawn().unwrap()
}

/// Whatever of it can be read has what was acknowledged.
async fn assert_holds(folder: &Path, told: &Told) -> Vec<GenerationState> {
    let index = TantivyConfig::folder(folder).open_live().await.unwrap();
    let mut states = Vec::new();
    for generation in index.generations().await.unwrap() {
        states.push(generation.state);
        if !matches!(generation.state, GenerationState::Filling | GenerationState::Behind) {
            let handle = index.ensure(Arc::clone(&generation.schema)).await.unwrap();
            assert_eq!(told.lost(&rows(), &*handle).await, [""; 0], "generation {}", generation.number);
        }
    }
    index.close().await.unwrap();
    states
}

/// How long searches take while nothing else is done.
async fn idle(folder: &Path) -> Told {
    let log = folder.with_extension("idle");
    let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::folder(folder).open_live().await.unwrap());
    let load = Load::start(vec![Arc::clone(&index)], rows(), None, &log);
    tokio::time::sleep(Duration::from_secs(rounds(2, 20) as u64)).await;
    load.stop().await;
    index.close().await.unwrap();
    Told::read(&log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_indexed_anew_under_load_loses_nothing_and_fails_no_search() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, log) = (parent.path().join("index"), parent.path().join("index.log"));
    let index = TantivyConfig::folder(&folder).open(old_schema()).await.unwrap();
    let first = rows().into_iter().map(|row| Operation::Upsert(document(&row.id, &row.title, 1)));
    index.bulk(first.collect()).await.unwrap().check().unwrap();
    index.close().await.unwrap();
    drop(index);
    let idle = idle(&folder).await;

    let (kills, mut pauses) = (rounds(2, 5), Random::new(17));
    for kill in 1..=kills as u64 {
        let before = Told::read(&log).acknowledged();
        let mut process = process(&folder, kill * 1_000_000);
        let until = Instant::now() + Duration::from_secs(60);
        while Told::read(&log).acknowledged() < before + 50 {
            assert!(process.try_wait().unwrap().is_none() && Instant::now() < until, "it does not write");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(pauses.below(rounds(1_500, 15_000)) as u64)).await;
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        process.kill().unwrap();
        process.wait().unwrap();
        assert_holds(&folder, &Told::read(&log)).await;
    }
    let mut process = process(&folder, 100_000_000);
    let ended = tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    let told = Told::read(&log);
    let states = assert_holds(&folder, &told).await;
    assert_eq!(states, [GenerationState::Kept, GenerationState::Live]);

    let bar = idle.searches.percentile(9_900) * 5;
    told.judge("in a folder", kills, &idle, bar);
}
