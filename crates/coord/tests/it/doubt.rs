//! What may have been done is told so, whatever is answered afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_coord::{
    Accepted, Condition, CoordKey, CoordStore, CoordStoreExt as _, Coordination, Guard, LayeredCoordStore, LockError,
    MemberInfo, MemoryConfig, MemoryCoordStore, PutOptions, Raised, WaitOptions,
};
use statehouse_core::conformance::Warnings;
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, ManualClock, Result};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};
use tokio::time::{sleep, timeout};

use crate::lock::until;
use crate::{open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_in_redis_whose_answer_was_lost_may_have_been_made_whatever_its_repetition_meets() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open_redis(&server.url(), &namespace).await;
    // With the limits that are the default.
    let store = open_redis(&format!("{}?connections=1", proxy.url(&server.url())), &namespace).await;
    let keys = ["absent", "match", "deadline"].map(|name| CoordKey::new(name).unwrap());
    let before = store.put(&keys[1], "before").await.unwrap().stored().unwrap();
    proxy.black_hole_way(Direction::ToClient);
    let put = |condition| PutOptions::default().with_condition(condition);
    let hasty = PutOptions::default().with_deadline(Duration::from_millis(700));
    let lost = tokio::join!(
        store.put_with(&keys[0], "lost".into(), put(Condition::Absent)),
        store.put_with(&keys[1], "lost".into(), put(Condition::Match(before))),
        store.put_with(&keys[2], "lost".into(), hasty),
    );
    proxy.heal();
    for (key, lost) in keys.iter().zip([lost.0, lost.1, lost.2]) {
        assert_eq!(lost.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{key}");
        assert_eq!(other.get(key).await.unwrap().unwrap().value, "lost", "{key}: it was made");
    }
}

/// A store whose next put is made, its answer lost, and nothing is answered from then on.
#[derive(Clone, Debug, Default)]
struct Doubt(Arc<AtomicU64>);

const SOUND: u64 = 0;
const NEXT: u64 = 1;
const AWAY: u64 = 2;
/// The one after the next.
const SECOND: u64 = 3;

impl Layer for Doubt {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let refused = || Error::new(ErrorKind::Unavailable, "the store is away");
        match self.0.load(Ordering::SeqCst) {
            SOUND => work.await,
            NEXT if operation == "coord.put" => {
                work.await?;
                self.0.store(AWAY, Ordering::SeqCst);
                Err(Error::new(ErrorKind::OutcomeUnknown, "the answer was lost"))
            }
            NEXT => work.await,
            SECOND => {
                if operation == "coord.put" {
                    self.0.store(NEXT, Ordering::SeqCst);
                }
                work.await
            }
            _ => Err(refused()),
        }
    }
}

impl Doubt {
    fn set(&self, state: u64) {
        self.0.store(state, Ordering::SeqCst);
    }
}

/// One store, by a way that fails, and by one that does not.
fn pair() -> (Doubt, Coordination, Coordination, Arc<MemoryCoordStore>) {
    let (store, doubt) = (Arc::new(MemoryCoordStore::new()), Doubt::default());
    let faulty = LayeredCoordStore::new(Arc::clone(&store) as _, doubt.clone());
    (doubt, Coordination::new(Arc::new(faulty)), Coordination::new(Arc::clone(&store) as _), store)
}

fn kind(error: LockError) -> ErrorKind {
    match error {
        LockError::Failed(error) => error.kind(),
        LockError::Busy(busy) => panic!("{busy}"),
    }
}

#[tokio::test]
async fn an_update_or_a_token_whose_answer_was_lost_in_an_outage_is_in_doubt() {
    let (doubt, faulty, sound, _) = pair();
    let counter = faulty.state::<u64>("runs");
    counter.update("n", |before| before.unwrap_or(0) + 1).await.unwrap();
    doubt.set(NEXT);
    let error = counter.update("n", |before| before.unwrap_or(0) + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "whoever takes it for not done adds it twice");
    assert_eq!(sound.state::<u64>("runs").get("n").await.unwrap().unwrap().value, 2);
    doubt.set(SOUND);
    let tokens = faulty.single_use("tokens", LONG);
    assert_eq!(tokens.accept("first").await.unwrap(), Accepted::First);
    doubt.set(NEXT);
    assert_eq!(tokens.accept("second").await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(sound.single_use("tokens", LONG).accept("second").await.unwrap(), Accepted::Before);
}

#[tokio::test]
async fn a_lock_that_nobody_knows_to_have_is_free_once_the_store_answers_again() {
    let (doubt, faulty, sound, _) = pair();
    doubt.set(NEXT);
    let lost = faulty.lock("export").lease(Duration::from_secs(3600)).await.unwrap_err();
    assert_eq!(kind(lost), ErrorKind::OutcomeUnknown);
    assert!(sound.lock("export").await.is_err(), "it was acquired");
    // It was tried to give it back meanwhile, in vain.
    sleep(Duration::from_millis(300)).await;
    doubt.set(SOUND);
    let next: Guard = sound.lock("export").wait(LONG).await.unwrap();
    next.release().await.unwrap();
}

/// A process that stood still: the holder sees the end of its lease before the task that renews it.
#[tokio::test]
async fn a_holder_is_told_as_it_releases_that_the_lock_was_lost() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let lease = Duration::from_millis(500);
    let guard = coord.lock("export").lease(lease).await.unwrap();
    // No other task runs meanwhile, nor before the lock is given back.
    std::thread::sleep(2 * lease);
    assert!(!guard.is_held());
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Conflict);
    let told = warnings.lines();
    assert!(told.len() == 1 && told[0].starts_with("coord.lock_lost"), "{told:?}");
    coord.lock("export").wait(LONG).await.unwrap().release().await.unwrap();
}

/// Counts the looks at a record.
#[derive(Clone, Debug, Default)]
struct Looks(Arc<AtomicU64>);

impl Layer for Looks {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == "coord.get" {
            self.0.fetch_add(1, Ordering::SeqCst);
            // So that whoever looks without a pause lets others work.
            tokio::task::yield_now().await;
        }
        work.await
    }
}

#[tokio::test]
async fn a_watch_whose_value_has_vanished_waits_for_it() {
    let (store, looks) = (Arc::new(MemoryCoordStore::new()), Looks::default());
    let layered = LayeredCoordStore::new(Arc::clone(&store) as _, looks.clone());
    let flags = Coordination::new(Arc::new(layered)).state::<u64>("flags");
    let mut watch = flags.watch("a").unwrap();
    flags.update("a", |_| 1).await.unwrap();
    assert_eq!(watch.next().await.unwrap().value, 1);
    let key = CoordKey::new("state/flags/a").unwrap();
    let version = store.get(&key).await.unwrap().unwrap().version;
    let _ = store.remove(&key, version).await.unwrap();
    let before = looks.0.load(Ordering::SeqCst);
    assert!(timeout(Duration::from_millis(100), watch.next()).await.is_err(), "there is nothing to tell");
    let looked = looks.0.load(Ordering::SeqCst) - before;
    assert!(looked <= 2, "{looked} looks without a change");
    flags.update("a", |_| 2).await.unwrap();
    assert_eq!(timeout(LONG, watch.next()).await.unwrap().unwrap().value, 2);
}

fn knowing(newest: u32) -> MemberInfo {
    MemberInfo::new("clinic").with_formats("notes", 1..=newest)
}

/// Removes the records of all members, as if each had been silent for too long.
async fn forget(store: &MemoryCoordStore) {
    for (key, record) in store.scan("member/").await.unwrap().records {
        let _ = store.remove(&key, record.version).await.unwrap();
    }
}

#[tokio::test]
async fn a_member_that_comes_back_while_the_epochs_are_away_is_told_afterwards_that_it_is_behind() {
    let (doubt, faulty, sound, _) = pair();
    let members = Arc::new(MemoryCoordStore::new());
    let beat = Duration::from_millis(500);
    let old = faulty.with_members(Arc::clone(&members) as _).membership().heartbeat(beat);
    let new = sound.with_members(Arc::clone(&members) as _).membership().heartbeat(beat);
    let joined = old.join(knowing(1)).await.unwrap();
    doubt.set(AWAY);
    forget(&members).await;
    assert_eq!(new.epoch("notes", 1..=2).raise().await.unwrap(), Raised::Now);
    until("a member that comes back", async || !new.members().await.unwrap().is_empty()).await;
    // Several words of it, which arrive.
    sleep(4 * beat).await;
    assert_eq!(joined.behind(), None, "nobody can tell it");
    doubt.set(SOUND);
    until("that it is behind", async || joined.behind().is_some()).await;
    assert_eq!(joined.behind().map(|behind| behind.epoch), Some(2));
}

#[tokio::test]
async fn an_epoch_is_raised_by_one_at_a_time() {
    let store = Arc::new(MemoryCoordStore::new());
    let membership = Coordination::new(Arc::clone(&store) as _).membership();
    let joined = membership.join(knowing(2)).await.unwrap();
    let raising = CoordKey::new("epoch-raise/notes").unwrap();
    let other = store.put(&raising, &b"\x01\x02\0\0\0"[..]).await.unwrap().stored().unwrap();
    let raised = tokio::spawn({
        let epoch = membership.epoch("notes", 1..=2);
        async move { epoch.raise().await }
    });
    sleep(Duration::from_millis(500)).await;
    let announced = store.get(&raising).await.unwrap().map(|record| record.version);
    assert_eq!(announced, Some(other), "who raises it is still counted on");
    assert!(!raised.is_finished());
    let _ = store.remove(&raising, other).await.unwrap();
    assert_eq!(raised.await.unwrap().unwrap(), Raised::Now);
    assert!(store.get(&raising).await.unwrap().is_none());
    joined.leave().await;
}

#[tokio::test]
async fn a_member_whose_place_was_taken_without_its_knowledge_leaves_it() {
    let (doubt, faulty, sound, store) = pair();
    let joined = faulty.membership().heartbeat(Duration::from_secs(20)).join(knowing(1)).await.unwrap();
    forget(&store).await;
    // The word that finds no record, and the one that takes a place anew: its answer is lost.
    doubt.set(SECOND);
    joined.update(|info| info.build = "clinic 2".to_owned()).unwrap();
    until("the put whose answer is lost", async || doubt.0.load(Ordering::SeqCst) == AWAY).await;
    assert_eq!(sound.membership().members().await.unwrap().len(), 1, "it is there");
    // What became of it is not asked for any more, and the next word is not due yet.
    sleep(Duration::from_secs(1)).await;
    doubt.set(SOUND);
    joined.leave().await;
    assert!(sound.membership().members().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_listened_to_once_nobody_waits_however_much_is_published() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let (waiting, writing) = (open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await);
    let key = CoordKey::new("news").unwrap();
    let version = writing.put(&key, "0").await.unwrap().stored();
    let options = WaitOptions::default().with_limit(Duration::from_millis(100));
    waiting.wait_with(&key, version, options).await;
    let listeners = async || {
        let listed = server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.unwrap();
        format!("{listed:?}").matches("name=").count()
    };
    assert_eq!(listeners().await, 1);
    // However long that goes on.
    until("an end of listening", async || {
        let _ = writing.put(&key, "more").await.unwrap();
        listeners().await == 0
    })
    .await;
}

#[tokio::test]
async fn locks_of_many_names_leave_nothing_for_good() {
    let clock = ManualClock::default();
    let config = MemoryConfig::default().with_capacity(64 * 1024).unwrap().with_clock(clock.clone());
    let coord = Coordination::new(Arc::new(MemoryCoordStore::with_config(config)));
    for day in 0..10 {
        for patient in 0..100 {
            let guard = coord.lock(&format!("patient/{day}/{patient}")).await.unwrap();
            guard.release().await.unwrap();
        }
        clock.advance(Duration::from_secs(49 * 3600));
    }
}
