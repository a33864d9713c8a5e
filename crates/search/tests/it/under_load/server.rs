//! On a server. Builds of the old schema write and search, and processes of the new one are killed.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Namespace;
use statehouse_core::conformance::rounds;
use statehouse_search::{
    GenerationState, OpenSearchIndex, Operation, Reindex, SearchIndex, SearchIndexExt as _, rollback,
};

use super::load::Load;
use super::told::Told;
use super::{document, new_schema, old_schema, pace, rows};
use crate::opensearch::reindex::sweep;
use crate::opensearch::{Scratch, config};
use crate::random::Random;

const KILLED: &str = "STATEHOUSE_TEST_OPENSEARCH_LOADED_REINDEXER";

/// The bar for searches meanwhile.
const BAR: Duration = Duration::from_millis(250);

async fn live(address: &str, name: &Namespace) -> Arc<dyn SearchIndex> {
    Arc::new(OpenSearchIndex::open_live(config(address, ""), name).await.unwrap())
}

fn reindex(index: &Arc<dyn SearchIndex>) -> Reindex {
    Reindex::new(Arc::clone(index), new_schema()).per_second(pace())
}

/// Not a test of its own: indexes anew, and is killed in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_indexes_anew_beside_a_load_and_is_killed() {
    let Ok(place) = std::env::var(KILLED) else { return };
    let (address, name) = place.split_once(' ').unwrap();
    reindex(&live(address, &Namespace::new(name).unwrap()).await).run().await.unwrap();
    std::future::pending::<()>().await;
}

async fn kill_one(scratch: &Scratch, pause: Duration) {
    let test = "under_load::server::the_process_that_indexes_anew_beside_a_load_and_is_killed";
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(KILLED, format!("{} {}", scratch.node.address(), scratch.name))
        .env("STATEHOUSE_TEST_OPENSEARCH_URL", format!("http://{}", scratch.node.address()))
        .spawn()
        .unwrap();
    tokio::time::sleep(pause).await;
    assert!(process.try_wait().unwrap().is_none(), "it ended");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_on_a_server_that_is_made_anew_under_load_loses_nothing_and_fails_no_search() {
    let (scratch, folder) = (Scratch::new().await, tempfile::tempdir().unwrap());
    let old = || async { Arc::new(scratch.open(old_schema()).await.unwrap()) as Arc<dyn SearchIndex> };
    let (first, second) = (old().await, old().await);
    let mut base = rows().into_iter().map(|row| Operation::Upsert(document(&row.id, &row.title, 1))).peekable();
    while base.peek().is_some() {
        first.bulk(base.by_ref().take(4_000).collect()).await.unwrap().check().unwrap();
    }
    first.refresh().await.unwrap();
    let (idle_log, log) = (folder.path().join("idle"), folder.path().join("log"));
    let idle = Load::start(vec![Arc::clone(&first)], rows(), None, &idle_log);
    tokio::time::sleep(Duration::from_secs(rounds(2, 20) as u64)).await;
    idle.stop().await;
    let idle = Told::read(&idle_log);

    let load = Load::start(vec![Arc::clone(&first), second], rows(), Some(1_000_000), &log);
    let (kills, mut pauses) = (rounds(2, 5), Random::new(19));
    for _ in 0..kills {
        kill_one(&scratch, Duration::from_millis(1_500 + pauses.below(rounds(1_000, 15_000)) as u64)).await;
    }
    let done = reindex(&first).run().await.unwrap();
    load.also(Arc::clone(&done.index));
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rollback(&first).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.stop().await;

    let told = Told::read(&log);
    let states: Vec<_> = first.generations().await.unwrap().iter().map(|found| found.state).collect();
    assert_eq!(states, [GenerationState::Kept, GenerationState::Live]);
    for index in [&first, &done.index] {
        assert_eq!(told.lost(&rows(), &**index).await, [""; 0]);
    }
    told.judge("on a server", kills, &idle, BAR);
    sweep(&scratch).await;
}
