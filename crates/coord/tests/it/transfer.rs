//! What must outlive a move of coordination is taken along, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{
    Accepted, CoordKey, CoordStore, CoordStoreExt as _, Coordination, Delivery, FilesConfig, FilesCoordStore,
    LastingKind, LayeredCoordStore, MemoryCoordStore, Raised, Ran, Revision, Run, Tick, copy_lasting,
};
use statehouse_core::layer::Faults;
use statehouse_core::{Error, ErrorKind};
use statehouse_filestore::{LocalFileStore, MemoryFileStore};
use statehouse_testkit::{RedisServer, S3Server};

use crate::{durable_redis, open_files, open_redis, random_namespace};

fn over(store: &Arc<dyn CoordStore>) -> Coordination {
    Coordination::new(Arc::clone(store))
}

fn seed() -> Revision {
    Revision::new(7, "sha256:4a7d1e")
}

/// All that an application may have, of each kind, with a lock that somebody has and a member that is there.
async fn used(store: &Arc<dyn CoordStore>) {
    let coord = over(store);
    let hits = coord.state::<u64>("hits");
    for key in ["front", "a/b"] {
        for _ in 0..3 {
            hits.update(key, |before| before.unwrap_or(0) + 1).await.unwrap();
        }
    }
    let nothing = async |_: Run| Ok::<_, Error>(());
    assert_eq!(coord.run_once("seed", seed()).run(nothing).await.unwrap(), Ran::Now { attempt: 1 });
    let cut_short = async |run: Run| {
        run.save("batch 2", 2, 5).await?;
        Err::<(), _>(Error::invalid_input("line 7"))
    };
    coord.run_once("terminology", seed()).attempts(1).run(cut_short).await.unwrap_err();
    let (done, mut times) = tokio::sync::mpsc::unbounded_channel();
    let job = coord.schedule("cleanup", Duration::from_secs(300 * 24 * 3600), Delivery::AtMostOnce);
    let job = tokio::spawn(job.run(move |tick: Tick| {
        let sent = done.send(tick.planned);
        async move { sent }
    }));
    times.recv().await.unwrap();
    job.abort();
    let _ = job.await;
    assert_eq!(coord.membership().epoch("notes", 1..=2).raise().await.unwrap(), Raised::Now);
    let _ = store.put(&CoordKey::new("member/7").unwrap(), "somebody").await.unwrap();
    std::mem::forget(coord.lock("export").await.unwrap());
    assert_eq!(coord.single_use("links", Duration::from_secs(60)).accept("x").await.unwrap(), Accepted::First);
}

/// A program goes on there where it was.
async fn goes_on(store: &Arc<dyn CoordStore>) {
    let coord = over(store);
    let hits = coord.state::<u64>("hits");
    for key in ["front", "a/b"] {
        let now = hits.update(key, |before| before.unwrap_or(0) + 1).await.unwrap();
        assert_eq!((now.revision, now.value), (4, 4), "{key}");
    }
    let never = async |_: Run| Err::<(), _>(Error::invalid_input("it was run"));
    assert_eq!(coord.run_once("seed", seed()).run(never).await.unwrap(), Ran::AlreadyDone);
    let successor = async |run: Run| {
        assert_eq!(run.checkpoint().expect("where it stopped"), "batch 2");
        Ok::<_, Error>(())
    };
    let ran = coord.run_once("terminology", seed()).run(successor).await.unwrap();
    assert!(matches!(ran, Ran::Now { attempt: 2 }), "{ran:?}");
    let job = coord.schedule("cleanup", Duration::from_secs(300 * 24 * 3600), Delivery::AtMostOnce);
    let again = job.run(async |_: Tick| -> Result<(), Error> { panic!("this time was done") });
    assert!(tokio::time::timeout(Duration::from_millis(300), again).await.is_err());
    assert!(matches!(coord.membership().epoch("notes", 1..=2).raise().await.unwrap(), Raised::Already));
    let locks = store.scan("lock/").await.unwrap().records.len();
    let tokens = store.scan("used/").await.unwrap().records.len();
    let members = store.scan("member/").await.unwrap().records.len();
    assert_eq!((locks, tokens, members), (0, 0, 0), "these stay behind");
}

async fn on_disk(folder: &std::path::Path) -> Arc<dyn CoordStore> {
    let files = Arc::new(LocalFileStore::open(folder).await.unwrap());
    Arc::new(
        FilesCoordStore::new(files, &statehouse_core::Namespace::new("n").unwrap(), FilesConfig::default()).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_goes_on_where_it_was_after_its_coordination_has_moved() {
    let files = Arc::new(MemoryFileStore::new());
    let from = FilesCoordStore::new(files, &random_namespace(), FilesConfig::default()).unwrap();
    let from: Arc<dyn CoordStore> = Arc::new(from);
    used(&from).await;
    let redis = durable_redis().await;
    let files = open_files(S3Server::shared().await).await;
    let places: [Arc<dyn CoordStore>; 3] = [
        Arc::new(open_redis(&redis.url(), &random_namespace()).await),
        Arc::new(FilesCoordStore::new(files, &random_namespace(), FilesConfig::default()).unwrap()),
        Arc::new(MemoryCoordStore::new()),
    ];
    for to in &places {
        let done = copy_lasting(&*from, &**to).await.unwrap();
        let copied = done.iter().map(|done| (done.kind, done.copied, done.same)).collect::<Vec<_>>();
        let expected =
            [(LastingKind::State, 2), (LastingKind::Run, 2), (LastingKind::Schedule, 1), (LastingKind::Epoch, 1)];
        assert_eq!(copied, expected.map(|(kind, count)| (kind, count, 0)));
        let again = copy_lasting(&*from, &**to).await.unwrap();
        let same = again.iter().map(|done| (done.kind, done.same, done.copied)).collect::<Vec<_>>();
        assert_eq!(same, expected.map(|(kind, count)| (kind, count, 0)));
        assert!(again.iter().all(|done| done.is_whole()));
        goes_on(to).await;
        // It has gone on: nothing of that is taken back.
        let late = copy_lasting(&*from, &**to).await.unwrap();
        assert_eq!(late[0].differ, ["hits/a/b", "hits/front"]);
        assert_eq!(late[1].differ, ["terminology"]);
        assert!(!late[0].is_whole() && late.iter().all(|done| done.copied == 0));
        let hits = over(to).state::<u64>("hits").get("front").await.unwrap().unwrap();
        assert_eq!((hits.revision, hits.value), (4, 4));
    }
}

/// Calls that fail end it, and the next goes on; answers that are lost are found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_cut_off_is_gone_on_with() {
    let from: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    let hits = over(&from).state::<u64>("hits");
    for number in 0..40_u64 {
        hits.update(&number.to_string(), |_| number).await.unwrap();
    }
    let to: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    let (mut failed, mut seed) = (0, 0);
    let done = loop {
        seed += 1;
        let faults = Faults::seeded(seed).with_refused_calls(0.05).with_lost_answers(0.1);
        match copy_lasting(&*from, &LayeredCoordStore::new(Arc::clone(&to), faults)).await {
            Ok(done) => break done,
            Err(error) => assert!(error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown, "{error}"),
        }
        failed += 1;
        assert!(failed < 500, "it does not get on");
    };
    assert!(failed > 0 && done[0].copied < 40, "{failed} {done:?}");
    assert!(done[0].is_whole() && done[0].copied + done[0].same == 40, "{done:?}");
    for number in 0..40_u64 {
        let there = over(&to).state::<u64>("hits").get(&number.to_string()).await.unwrap().unwrap();
        assert_eq!((there.revision, there.value), (1, number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_told_and_a_store_that_may_forget_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (from, place) = (on_disk(&folder.path().join("from")).await, folder.path().join("to"));
    let to = on_disk(&place).await;
    for key in ["front", "back", "side"] {
        over(&from).state::<u64>("hits").update(key, |_| 7).await.unwrap();
    }
    assert!(to.put(&CoordKey::new("state/hits/front").unwrap(), "x").await.unwrap().stored().is_some());
    damage(&place, "front");
    damage(&folder.path().join("from"), "side");
    let done = copy_lasting(&*from, &*to).await.unwrap();
    let state = &done[0];
    assert_eq!((state.copied, state.skipped), (1, 1), "{state:?}");
    assert_eq!(state.damaged, ["hits/front"]);
    assert!(!state.is_whole());
    let forgets = RedisServer::start().await;
    let forgets = open_redis(&forgets.url(), &random_namespace()).await;
    assert_eq!(copy_lasting(&*from, &forgets).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(forgets.scan("").await.unwrap().records.is_empty());
}

/// Changes a byte of the file of this name.
fn damage(folder: &std::path::Path, name: &str) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_string_lossy().contains(name) {
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(path, bytes).unwrap();
                return;
            }
        }
    }
    panic!("there is no {name}");
}
