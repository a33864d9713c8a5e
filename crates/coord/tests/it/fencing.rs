//! Locks that guard stores: their marks are raised before a guard is handed out, or it is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_coord::{
    CoordStore, Coordination, FilesConfig, FilesCoordStore, LayeredCoordStore, LockError, MemberInfo, MemoryCoordStore,
    Raised, Ran, Revision, Run,
};
use statehouse_core::fence::Raising;
use statehouse_core::layer::Faults;
use statehouse_core::{AsFence as _, Error, ErrorKind, Fence, Guarded, Key, Namespace, Version};
use statehouse_filestore::capability::FENCED_AT_ONCE;
use statehouse_filestore::{FileStore, Files, LocalFileStore, MemoryFileStore};
use statehouse_testkit::S3Server;
use tokio::time::{sleep, timeout};

use crate::membership::raise;
use crate::{durable_redis, open_files, open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);

/// A store that answers as it is told, after so many refusals.
#[derive(Clone, Debug)]
struct Store {
    refusals: Arc<AtomicUsize>,
    kind: ErrorKind,
    raised: Arc<Mutex<Vec<Version>>>,
}

impl Store {
    fn refusing(refusals: usize, kind: ErrorKind) -> Self {
        Self { refusals: Arc::new(AtomicUsize::new(refusals)), kind, raised: Arc::default() }
    }
}

impl Guarded for Store {
    fn raise<'a>(&'a self, fence: &'a Fence, _: Duration) -> Raising<'a> {
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let left = self.refusals.load(Ordering::SeqCst);
            if left > 0 {
                self.refusals.store(left - 1, Ordering::SeqCst);
                return Err(Error::new(self.kind, "told to refuse"));
            }
            self.raised.lock().unwrap().push(fence.token());
            Ok(())
        })
    }
}

fn in_memory() -> Coordination {
    Coordination::new(Arc::new(MemoryCoordStore::new()))
}

fn files(store: Arc<dyn FileStore>) -> Files {
    Files::new(store, Namespace::new("exports").unwrap())
}

fn failed(error: LockError) -> Error {
    match error {
        LockError::Failed(error) => error,
        LockError::Busy(busy) => panic!("{busy}"),
    }
}

#[tokio::test]
async fn marks_are_raised_in_all_stores_before_a_lock_is_handed_out() {
    let (coord, one, other) =
        (in_memory(), Store::refusing(0, ErrorKind::Unavailable), files(Arc::new(MemoryFileStore::new())));
    let mut last = Version::default();
    for _ in 0..3 {
        let guard = coord.lock("export").guards(&one).guards(&other).await.unwrap();
        assert!(guard.token() > last && guard.fence().token() == guard.token());
        assert_eq!(one.raised.lock().unwrap().last(), Some(&guard.token()));
        let before = Fence::new(guard.fence().mark().clone(), last);
        assert_eq!(other.put("a", "late").fenced(&before).await.unwrap_err().kind(), ErrorKind::Fenced);
        other.put("a", "in time").fenced(&guard).await.unwrap();
        last = guard.token();
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_whose_mark_is_not_raised_is_given_back() {
    let coord = in_memory();
    for kind in [ErrorKind::Unsupported, ErrorKind::Unavailable, ErrorKind::Timeout] {
        let store = Store::refusing(1, kind);
        assert_eq!(failed(coord.lock("export").guards(&store).lease(LONG).await.unwrap_err()).kind(), kind);
        coord.lock("export").lease(LONG).await.unwrap().release().await.unwrap();
    }
    // Who waits tries again what may pass.
    let store = Store::refusing(2, ErrorKind::Unavailable);
    let guard = coord.lock("export").guards(&store).lease(LONG).wait(LONG).await.unwrap();
    assert_eq!(*store.raised.lock().unwrap(), [guard.token()]);
    guard.release().await.unwrap();
    let store = Store::refusing(1, ErrorKind::Unsupported);
    assert_eq!(
        failed(coord.lock("export").guards(&store).wait(LONG).await.unwrap_err()).kind(),
        ErrorKind::Unsupported
    );
}

/// A store that never answers.
#[derive(Clone, Debug)]
struct Silent;

impl Guarded for Silent {
    fn raise<'a>(&'a self, _: &'a Fence, _: Duration) -> Raising<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_store_that_is_silent_keeps_nobody_waiting_for_ever() {
    let coord = in_memory();
    let silent = coord.lock("export").guards(&Silent).lease(Duration::from_secs(4));
    let error = failed(timeout(LONG, silent.into_future()).await.unwrap().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Timeout);
    coord.lock("export").await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_token_that_has_fallen_is_told_and_nothing_is_handed_out() {
    let (coord, exports) = (in_memory(), files(Arc::new(MemoryFileStore::new())));
    let ahead = Fence::new(Key::new("lock/export").unwrap(), Version::new(9_000_000_000_000_000));
    Guarded::raise(&exports, &ahead, LONG).await.unwrap();
    let error = failed(coord.lock("export").guards(&exports).lease(LONG).wait(LONG).await.unwrap_err());
    assert!(error.kind() == ErrorKind::Fenced && error.message().contains("clock"), "{error:?}");
    coord.lock("export").lease(LONG).await.unwrap().release().await.unwrap();
    coord.lock("another").guards(&exports).await.unwrap().release().await.unwrap();
}

/// A former holder's update is refused, whatever its successor has done.
async fn is_fenced(coord: &Coordination) {
    let state = coord.state::<Vec<u32>>("closure");
    let first = coord.lock("loading").guards(&state).lease(LONG).wait(LONG).await.unwrap();
    let stale = first.fence().clone();
    let push = |number: u32| {
        move |before: Option<Vec<u32>>| {
            let mut all = before.unwrap_or_default();
            all.push(number);
            all
        }
    };
    assert_eq!(state.fenced(&first).update("t1", push(1)).await.unwrap().value, [1]);
    first.release().await.unwrap();
    let second = coord.lock("loading").guards(&state).lease(LONG).wait(LONG).await.unwrap();
    let late = state.fenced(&stale).update("t1", push(2)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late:?}");
    let made = state.fenced(&second).update("t1", push(3)).await.unwrap();
    assert_eq!((made.value, made.revision), (vec![1, 3], 2));
    assert_eq!(state.fenced(&stale).update("t1", push(4)).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(state.update("t1", push(5)).await.unwrap().revision, 3, "of nobody who has a lock");
    second.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_refuses_a_former_holder_in_memory_in_files_and_in_redis() {
    is_fenced(&in_memory()).await;
    let namespace = random_namespace();
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(LocalFileStore::open(folder.path().join("files")).await.unwrap());
    for files in [Arc::new(MemoryFileStore::new()) as Arc<dyn FileStore>, disk] {
        let store = FilesCoordStore::new(files, &namespace, FilesConfig::default()).unwrap();
        is_fenced(&Coordination::new(Arc::new(store))).await;
    }
    let server = durable_redis().await;
    is_fenced(&Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await))).await;
}

/// What an attempt left behind still writes is refused when the next one has begun.
#[tokio::test]
async fn a_run_writes_under_the_lock_of_its_attempt() {
    let (coord, exports) = (in_memory(), files(Arc::new(MemoryFileStore::new())));
    let before = Mutex::new(None::<Fence>);
    let run = coord.run_once("terminology", Revision::new(202_604, "d")).guards(&exports);
    let load = async |run: Run| {
        let before = before.lock().unwrap().replace(run.as_fence().clone());
        let Some(before) = before else { return Err(Error::new(ErrorKind::Unavailable, "the first attempt")) };
        assert_eq!(exports.put("codes", "late").fenced(&before).await.unwrap_err().kind(), ErrorKind::Fenced);
        exports.put("codes", "I21").fenced(&run).await.map(drop)
    };
    assert_eq!(run.run(load).await.unwrap(), Ran::Now { attempt: 2 });
    assert_eq!(exports.get("codes").bytes().await.unwrap(), "I21");
}

/// An update is made once and is told of as made, or is not made: with answers that are lost, and a successor in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_fenced_update_whose_answer_was_lost_it_is_known_what_became_of_it() {
    let (mut fenced, mut made) = (0, 0);
    for seed in 0..40 {
        let store: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
        let sound = Coordination::new(Arc::clone(&store));
        let state = sound.state::<u64>("runs");
        let first = sound.lock("export").guards(&state).await.unwrap();
        let stale = first.fence().clone();
        first.release().await.unwrap();
        let faulty =
            Coordination::new(Arc::new(LayeredCoordStore::new(store, Faults::seeded(seed).with_lost_answers(0.5))));
        let updating = async {
            let state = faulty.state::<u64>("runs").fenced(&stale);
            state.update("export", |before| before.unwrap_or(0) + 1).await
        };
        let overtaking = async {
            sleep(Duration::from_millis(seed)).await;
            sound.lock("export").guards(&state).await.unwrap()
        };
        let (updated, second) = match seed % 2 {
            0 => tokio::join!(updating, overtaking),
            _ => {
                let second = overtaking.await;
                (updating.await, second)
            }
        };
        let now = state.get("export").await.unwrap().map_or(0, |found| found.value);
        match updated {
            Ok(updated) => {
                assert_eq!((updated.value, now), (1, 1), "{seed}");
                made += 1;
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                assert_eq!(now, 0, "{seed}: it says that nothing was changed");
                fenced += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}"),
        }
        second.release().await.unwrap();
    }
    assert!(made > 0 && fenced > 0, "{made} made, {fenced} refused");
}

/// The old build's process stood still, and was forgotten; it writes once more before it learns of anything.
async fn a_straggler_is_refused(coord: &Coordination, store: Arc<dyn FileStore>) {
    let is_at_once = store.capabilities().has(FENCED_AT_ONCE);
    let (notes, state) = (files(store), coord.state::<u32>("notes"));
    let who = coord.membership().heartbeat(Duration::from_secs(1));
    let knowing = |newest| MemberInfo::new("clinic").with_formats("notes", 1..=newest);
    let [first, second] = [1, 2].map(|newest| who.epoch("notes", 1..=newest).guards(&notes).guards(&state));
    let (old, new) = (who.join(knowing(1)).await.unwrap(), who.join(knowing(2)).await.unwrap());
    assert_eq!(raise(&first).await, Raised::Now);
    let [before, after] = [1, 2].map(|format| first.fence(format).unwrap());
    assert!(matches!(raise(&second).await, Raised::Waiting(_)));
    notes.put("a", "of the old").fenced(&before).await.expect("it may write as long as it is there");
    state.fenced(&before).update("a", |_| 1).await.unwrap();
    old.leave().await;
    assert_eq!(raise(&second).await, Raised::Now);
    if is_at_once {
        assert_eq!(notes.put("a", "late").fenced(&before).await.unwrap_err().kind(), ErrorKind::Fenced);
    }
    notes.put("a", "of the new").fenced(&after).await.unwrap();
    assert_eq!(notes.put("a", "late").fenced(&before).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(notes.get("a").bytes().await.unwrap(), "of the new");
    assert_eq!(state.fenced(&before).update("a", |_| 2).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(state.fenced(&after).update("a", |_| 3).await.unwrap().value, 3);
    // Who asks for less makes nothing lower.
    assert_eq!(raise(&first).await, Raised::Already);
    assert_eq!(state.fenced(&before).update("a", |_| 4).await.unwrap_err().kind(), ErrorKind::Fenced);
    drop(new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_straggler_of_the_build_before_writes_is_refused_once_the_epoch_has_risen() {
    a_straggler_is_refused(&in_memory(), Arc::new(MemoryFileStore::new())).await;
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(LocalFileStore::open(folder.path().join("files")).await.unwrap()) as Arc<dyn FileStore>;
    let store = FilesCoordStore::new(Arc::clone(&disk), &random_namespace(), FilesConfig::default()).unwrap();
    a_straggler_is_refused(&Coordination::new(Arc::new(store)), disk).await;
    let (redis, s3) = (durable_redis().await, S3Server::start().await);
    let store = open_redis(&redis.url(), &random_namespace()).await;
    a_straggler_is_refused(&Coordination::new(Arc::new(store)), open_files(&s3).await).await;
}

/// A store that could not be told yet is told when it is called again, and one that keeps no marks is an error.
#[tokio::test]
async fn the_marks_of_an_epoch_that_has_risen_already_are_raised_too() {
    let who = in_memory().membership();
    let _new = who.join(MemberInfo::new("clinic").with_formats("notes", 1..=2)).await.unwrap();
    let away = Store::refusing(1, ErrorKind::Unavailable);
    let epoch = who.epoch("notes", 1..=2).guards(&away);
    assert_eq!(epoch.raise().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((epoch.current().await.unwrap(), away.raised.lock().unwrap().len()), (2, 0));
    assert_eq!(epoch.raise().await.unwrap(), Raised::Already);
    assert_eq!(*away.raised.lock().unwrap(), [Version::new(2)]);
    let never = who.epoch("notes", 1..=2).guards(&Store::refusing(9, ErrorKind::Unsupported));
    assert_eq!(never.raise().await.unwrap_err().kind(), ErrorKind::Unsupported);
}
