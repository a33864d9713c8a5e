//! What runs once in the fleet, though replicas are killed, fail and come late.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_coord::{
    CoordKey, CoordStoreExt as _, Coordination, MemoryConfig, MemoryCoordStore, Ran, Revision, Run, RunPhase,
};
use statehouse_core::conformance::Warnings;
use statehouse_core::{Error, ErrorKind, ManualClock};
use tokio::task::JoinSet;

use crate::{durable_redis, open_redis, random_namespace};

fn april() -> Revision {
    Revision::new(202_604, "sha256:4a7d1e")
}

fn in_memory() -> Coordination {
    Coordination::new(Arc::new(MemoryCoordStore::new()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_replicas_that_start_together_one_runs_it_and_all_wait_until_it_is_done() {
    let (coord, begun, done) = (in_memory(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut replicas = JoinSet::new();
    for _ in 0..3 {
        let (coord, begun, done) = (coord.clone(), Arc::clone(&begun), Arc::clone(&done));
        replicas.spawn(async move {
            let body = async |run: Run| {
                begun.fetch_add(1, Ordering::SeqCst);
                run.progress(1, 2).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Error>(())
            };
            let ran = coord.run_once("terminology", april()).run(body).await.unwrap();
            assert_eq!(done.load(Ordering::SeqCst), 1, "{ran:?} before it was done");
            ran
        });
    }
    let ran = replicas.join_all().await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    assert_eq!(ran.iter().filter(|ran| **ran == Ran::Now { attempt: 1 }).count(), 1, "{ran:?}");
    assert_eq!(ran.iter().filter(|ran| **ran == Ran::AlreadyDone).count(), 2, "{ran:?}");
    let status = coord.run_once("terminology", april()).status().await.unwrap().unwrap();
    assert_eq!((status.phase, status.done, status.total, status.attempt), (RunPhase::Done, 1, 2, 1));
}

/// On one thread, whose log is written down.
#[tokio::test(flavor = "current_thread")]
async fn who_waits_for_a_run_or_comes_late_warns_of_nothing() {
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (server, namespace) = (durable_redis().await, random_namespace());
    // However late the server answers, on a busy machine: that would be worth a warning.
    let url = format!("{}?timeout=20s&deadline=40s", server.url());
    let mut replicas = JoinSet::new();
    for _ in 0..5 {
        let coord = Coordination::new(Arc::new(open_redis(&url, &namespace).await));
        let body = async |_: Run| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, Error>(())
        };
        replicas.spawn(async move { coord.run_once("terminology", april()).run(body).await.unwrap() });
    }
    let ran = replicas.join_all().await;
    assert_eq!(ran.iter().filter(|ran| **ran == Ran::AlreadyDone).count(), 4, "{ran:?}");
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_only_rise_and_one_number_has_one_digest() {
    let coord = in_memory();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let body = |number| {
        let ran = Arc::clone(&ran);
        move |_: Run| {
            ran.lock().unwrap().push(number);
            async { Ok::<_, Error>(()) }
        }
    };
    for (number, expected) in [
        (2, Ran::Now { attempt: 1 }),
        (1, Ran::NewerExists),
        (2, Ran::AlreadyDone),
        (3, Ran::Now { attempt: 1 }),
        (2, Ran::NewerExists),
    ] {
        let run = coord.run_once("terminology", Revision::new(number, "d"));
        assert_eq!(run.run(body(number)).await.unwrap(), expected, "{number}");
    }
    assert_eq!(*ran.lock().unwrap(), [2, 3]);
    let error = coord.run_once("terminology", Revision::new(3, "another")).run(body(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = coord.run_once("terminology", Revision::new(4, "d".repeat(101))).run(body(4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// A replica that is killed after it has saved a checkpoint. Gives the handle that its body had.
fn killed_after_a_checkpoint(open: impl Future<Output = Coordination>, lease: Duration) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let coord = runtime.block_on(open);
    let (sender, receiver) = std::sync::mpsc::channel();
    let body = async |run: Run| {
        run.save("batch 2", 2, 5).await?;
        sender.send(run).unwrap();
        std::future::pending::<()>().await;
        Ok::<_, Error>(())
    };
    let running = coord.run_once("terminology", april()).lease(lease).run(body);
    let run = runtime.block_on(async {
        tokio::select! {
            ran = running => panic!("it ran: {ran:?}"),
            run = async {
                loop {
                    match receiver.try_recv() {
                        Ok(run) => break run,
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            } => {
                // Not even its lock is given back.
                std::thread::sleep(lease);
                run
            }
        }
    });
    runtime.shutdown_background();
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_goes_on_where_the_one_that_was_killed_has_stopped() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let coord = Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await)).with_label("replica 2");
    let lease = Duration::from_secs(1);
    let (dead, url) = (namespace.clone(), server.url());
    let killed = tokio::task::spawn_blocking(move || {
        let open = async { Coordination::new(Arc::new(open_redis(&url, &dead).await)) };
        drop(killed_after_a_checkpoint(open, lease));
    });
    killed.await.unwrap();
    let body = async |run: Run| {
        assert_eq!((run.attempt(), run.checkpoint().map(|at| &at[..])), (2, Some(&b"batch 2"[..])));
        run.progress(3, 5).await
    };
    let ran = coord.run_once("terminology", april()).lease(lease).run(body).await.unwrap();
    assert_eq!(ran, Ran::Now { attempt: 2 });
    let status = coord.run_once("terminology", april()).status().await.unwrap().unwrap();
    assert_eq!((status.phase, status.done, &status.holder[..]), (RunPhase::Done, 3, "replica 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_taken_over_writes_nothing_more() {
    let coord = in_memory();
    let lease = Duration::from_millis(300);
    let dead = coord.clone();
    let killed = tokio::task::spawn_blocking(move || killed_after_a_checkpoint(async { dead }, lease));
    let late = killed.await.unwrap();
    let ran = coord.run_once("terminology", april()).run(async |_: Run| Ok::<_, Error>(())).await.unwrap();
    assert_eq!(ran, Ran::Now { attempt: 2 });
    for written in [late.progress(5, 5).await, late.save("batch 5", 5, 5).await] {
        assert_eq!(written.unwrap_err().kind(), ErrorKind::Conflict);
    }
    let status = coord.run_once("terminology", april()).status().await.unwrap().unwrap();
    assert_eq!((status.phase, status.done), (RunPhase::Done, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_fails_is_tried_again_and_says_why_meanwhile() {
    let (coord, tries) = (in_memory(), AtomicU32::new(0));
    let body = async |_: Run| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Err("the feed is away"),
        _ => Ok(()),
    };
    let error = coord.run_once("terminology", april()).attempts(1).run(body).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoadFailed);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the feed is away");
    let status = coord.run_once("terminology", april()).status().await.unwrap().unwrap();
    assert_eq!((status.phase, status.error.as_deref()), (RunPhase::Failed, Some("the feed is away")));
    assert_eq!(coord.run_once("terminology", april()).run(body).await.unwrap(), Ran::Now { attempt: 2 });
    let status = coord.run_once("terminology", april()).status().await.unwrap().unwrap();
    assert_eq!((status.phase, status.error), (RunPhase::Done, None));
    tries.store(0, Ordering::SeqCst);
    let again = coord.run_once("another", april()).run(body).await.unwrap();
    assert_eq!((again, tries.load(Ordering::SeqCst)), (Ran::Now { attempt: 2 }, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_run_is_listed_and_run_again_after_a_reset() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let coord = Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await)).with_label("replica 1");
    let runs = coord.runs();
    assert_eq!(runs.list().await.unwrap().runs, []);
    assert!(runs.get("terminology").await.unwrap().is_none() && !runs.reset("terminology").await.unwrap());

    let fails = async |run: Run| {
        run.save("batch 2", 2, 5).await?;
        Err::<(), _>(Error::new(ErrorKind::Unexpected, "the feed is away"))
    };
    let failed = coord.run_once("terminology", april()).attempts(1).run(fails).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::LoadFailed);
    let done = async |_: Run| Ok::<_, Error>(());
    assert_eq!(coord.run_once("seeds/a", april()).run(done).await.unwrap(), Ran::Now { attempt: 1 });
    // Something else of the same kind of store is no run.
    coord.state::<u32>("flags").update("limit", |_| 7).await.unwrap();

    let all = runs.list().await.unwrap();
    let [seeds, terminology] = &all.runs[..] else { panic!("{all:?}") };
    assert_eq!((&seeds.name[..], seeds.checkpoint, all.skipped), ("seeds/a", None, 0));
    assert_eq!(Some(terminology), runs.get("terminology").await.unwrap().as_ref());
    assert_eq!((terminology.checkpoint, terminology.held_by.as_deref()), (Some(7), None));
    let status = terminology.status.as_ref().unwrap();
    assert_eq!((status.phase, status.done, status.attempt), (RunPhase::Failed, 2, 1));

    assert!(runs.reset("terminology").await.unwrap() && !runs.reset("terminology").await.unwrap());
    let body = async |run: Run| {
        assert!(run.checkpoint().is_none(), "it begins anew");
        Ok::<_, Error>(())
    };
    // Of an older revision, too.
    let ran = coord.run_once("terminology", Revision::new(1, "d")).run(body).await.unwrap();
    assert_eq!(ran, Ran::Now { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_runs_is_not_reset_until_they_are_dead_for_their_lease() {
    let clock = ManualClock::default();
    let store = MemoryCoordStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
    let coord = Coordination::new(Arc::new(store)).with_label("replica 1");
    let dead = coord.clone();
    let killed = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (saved, is_saved) = tokio::sync::oneshot::channel();
        let saved = Mutex::new(Some(saved));
        let body = async |run: Run| {
            run.save("batch 2", 2, 5).await?;
            saved.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<Result<(), Error>>().await
        };
        runtime.block_on(async {
            tokio::select! {
                ran = dead.run_once("terminology", april()).run(body) => panic!("it ran: {ran:?}"),
                saved = is_saved => saved.unwrap(),
            }
        });
        // As if killed: its lock is not given back.
        std::mem::forget(runtime);
    });
    killed.await.unwrap();
    let runs = coord.clone().with_label("operator").runs();
    assert_eq!(runs.get("terminology").await.unwrap().unwrap().held_by.as_deref(), Some("replica 1"));
    let error = runs.reset("terminology").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("\"replica 1\" runs \"terminology\""), "{error}");
    assert_eq!(runs.get("terminology").await.unwrap().unwrap().checkpoint, Some(7), "nothing was changed");

    clock.advance(Duration::from_secs(15));
    assert!(runs.reset("terminology").await.unwrap());
    assert!(runs.get("terminology").await.unwrap().is_none());
}

#[tokio::test]
async fn a_run_that_another_version_has_written_is_listed_and_can_be_reset() {
    let coord = in_memory();
    let put = coord.store().put(&CoordKey::new("run/terminology").unwrap(), "\x02from the future").await.unwrap();
    let listed = coord.runs().list().await.unwrap().runs;
    assert_eq!((&listed[0].status, listed[0].version), (&None, put.stored().unwrap().get()));
    assert!(coord.runs().reset("terminology").await.unwrap());
    assert_eq!(coord.runs().list().await.unwrap().runs, []);
}

/// A lock whose record cannot be read is held by nobody who could be named, and hides no run.
#[tokio::test]
async fn runs_are_listed_though_what_is_in_a_locks_place_cannot_be_read() {
    let coord = in_memory();
    for name in ["migration", "terminology"] {
        let _ran = coord.run_once(name, april()).run(async |_: Run| Ok::<_, Error>(())).await.unwrap();
    }
    coord.store().put(&CoordKey::new("run-lock/migration").unwrap(), "no lock").await.unwrap().stored().unwrap();
    let runs = coord.runs().list().await.unwrap().runs;
    let told: Vec<_> = runs.iter().map(|run| (run.name.as_str(), run.held_by.as_deref())).collect();
    assert_eq!(told, [("migration", None), ("terminology", None)]);
    assert_eq!(coord.runs().get("migration").await.unwrap().unwrap(), runs[0]);
}
