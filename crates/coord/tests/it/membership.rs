//! Members on every store, and what becomes of them when a process, a way or a clock fails.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{
    Behind, CoordStore, CoordStoreExt as _, Coordination, Epoch, FilesConfig, FilesCoordStore, Joined,
    LayeredCoordStore, MemberId, MemberInfo, MemberState, Membership, MemoryCoordStore, Raised,
};
use statehouse_core::layer::Faults;
use statehouse_core::{Error, ErrorKind};
use statehouse_filestore::{FileStore as _, LocalFileStore, MemoryFileStore};
use statehouse_testkit::{FaultProxy, RedisServer};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::lock::Skewed;
use crate::{open_files, open_redis, random_namespace};

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const BEAT: Duration = Duration::from_secs(1);

pub(crate) fn over(store: impl CoordStore) -> Membership {
    Coordination::new(Arc::new(store)).membership().heartbeat(BEAT)
}

/// As three replicas have them, each over connections of its own.
pub(crate) async fn three_in_redis(url: &str) -> [Membership; 3] {
    let namespace = random_namespace();
    let open = async || over(open_redis(url, &namespace).await);
    [open().await, open().await, open().await]
}

pub(crate) fn named(build: &str) -> MemberInfo {
    MemberInfo::new(build).with_state(MemberState::Ready)
}

/// Waits until these members are there, as one of them sees them.
pub(crate) async fn sees(who: &Membership, ids: &[MemberId]) {
    let (begun, mut watch, mut ids) = (Instant::now(), who.watch(), ids.to_vec());
    ids.sort_unstable();
    loop {
        let members = watch.look().await.unwrap();
        let found: Vec<_> = members.iter().map(|member| member.id).collect();
        if found == ids {
            return;
        }
        assert!(begun.elapsed() < LONG, "{found:?} in place of {ids:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A member whose process ends without leaving, once it `is_seen`.
async fn killed(who: &Membership, is_seen: impl AsyncFnOnce(MemberId)) {
    let (who, (tell, told), (kill, killing)) = (who.clone(), oneshot::channel(), oneshot::channel::<()>());
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let joined = who.join(named("killed")).await.unwrap();
            tell.send(joined.id()).unwrap();
            std::mem::forget(joined);
            // Meanwhile its heart beats.
            let _ = killing.await;
        });
        runtime.shutdown_background();
    });
    is_seen(told.await.unwrap()).await;
    drop(kill);
    tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
}

/// Three replicas, of which each has a way of its own to the store.
pub(crate) async fn come_and_go([one, other, third]: [Membership; 3]) {
    let first = one.join(named("a")).await.unwrap();
    let second = other.join(named("b")).await.unwrap();
    assert_ne!(first.id(), second.id());
    for who in [&one, &other, &third] {
        sees(who, &[first.id(), second.id()]).await;
    }
    killed(&third, async |last| sees(&one, &[first.id(), second.id(), last]).await).await;
    sees(&other, &[first.id(), second.id()]).await;
    second.update(|info| info.state = MemberState::Stopping).unwrap();
    let mut watch = one.watch();
    let begun = Instant::now();
    while watch.next().await.unwrap().iter().all(|member| member.info.state != MemberState::Stopping) {
        assert!(begun.elapsed() < LONG);
    }
    second.leave().await;
    let members = one.members().await.unwrap();
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [first.id()], "gone at once");
    // For longer than it lives without a word.
    sleep(4 * BEAT).await;
    assert!(first.is_listed());
    sees(&other, &[first.id()]).await;
    drop(first);
    sees(&other, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_memory_come_and_go() {
    let who = over(MemoryCoordStore::new());
    come_and_go([who.clone(), who.clone(), who]).await;
}

async fn on_disk(folder: &TempDir, namespace: &statehouse_core::Namespace) -> Membership {
    let files = Arc::new(LocalFileStore::open(folder.path()).await.unwrap());
    over(FilesCoordStore::new(files, namespace, FilesConfig::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_a_disk_come_and_go_and_leave_one_file_each() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), random_namespace());
    let files = Arc::new(LocalFileStore::open(folder.path()).await.unwrap());
    let who = over(FilesCoordStore::new(Arc::clone(&files) as _, &namespace, FilesConfig::default()).unwrap());
    come_and_go([who.clone(), who.clone(), who.clone()]).await;
    for _ in 0..40 {
        who.join(named("again")).await.unwrap().leave().await;
    }
    let names = statehouse_filestore::ListOptions::new(format!(".coordination/{namespace}/member/"));
    let count = files.list_with(names).await.unwrap().entries.len();
    assert!((1..=20).contains(&count), "{count} files for one member at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_redis_come_and_go() {
    come_and_go(three_in_redis(&RedisServer::shared().await.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_s3_come_and_go() {
    let (server, namespace) = (statehouse_testkit::S3Server::shared().await, random_namespace());
    let mut all = Vec::new();
    for _ in 0..3 {
        let files = open_files(server).await;
        all.push(over(FilesCoordStore::new(files, &namespace, FilesConfig::default()).unwrap()));
    }
    come_and_go(all.try_into().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_whose_clocks_are_a_quarter_of_an_hour_off_see_each_other() {
    let (files, namespace) = (Arc::new(MemoryFileStore::new()), random_namespace());
    let host = |minutes| {
        let config = FilesConfig::default().with_clock(Skewed(minutes));
        over(FilesCoordStore::new(Arc::clone(&files) as _, &namespace, config).unwrap())
    };
    let hosts = [host(15), host(-15), host(0)];
    let mut joined = Vec::new();
    for who in &hosts {
        joined.push(who.join(named("a")).await.unwrap());
    }
    let ids: Vec<_> = joined.iter().map(Joined::id).collect();
    sleep(4 * BEAT).await;
    for who in &hosts {
        sees(who, &ids).await;
    }
    killed(&hosts[0], async |last| sees(&hosts[1], &[ids[0], ids[1], ids[2], last]).await).await;
    sees(&hosts[1], &ids).await;
}

/// A process that stands still: its heart does not beat either. It does until it `is_over`.
pub(crate) async fn stands_still(who: &Membership, is_over: impl AsyncFnOnce()) {
    let (told, mut id) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, stands_still) = std::sync::mpsc::channel::<()>();
    let (end, ended) = oneshot::channel::<()>();
    let process = std::thread::spawn({
        let who = who.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let joined = who.join(named("paused")).await.unwrap();
                told.send(joined.id()).unwrap();
                stands_still.recv().unwrap();
                let was_listed = joined.is_listed();
                ended.await.unwrap();
                joined.leave().await;
                was_listed
            })
        }
    });
    let id = id.recv().await.unwrap();
    sees(who, &[id]).await;
    sees(who, &[]).await;
    is_over().await;
    // Somebody else may have its place now.
    let next = who.join(named("next")).await.unwrap();
    go_on.send(()).unwrap();
    sees(who, &[id, next.id()]).await;
    end.send(()).unwrap();
    let was_listed = tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
    assert!(!was_listed, "it knows by its own clock");
    sees(who, &[next.id()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stood_still_is_forgotten_and_comes_back_as_itself() {
    stands_still(&over(MemoryCoordStore::new()), async || ()).await;
    let redis = open_redis(&RedisServer::shared().await.url(), &random_namespace()).await;
    stands_still(&over(redis), async || ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_is_forgotten_and_comes_back() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let far = over(open_redis(&format!("{}?timeout=500ms&deadline=1s", proxy.url(&server.url())), &namespace).await);
    let near = over(open_redis(&server.url(), &namespace).await);
    let (one, other) = (far.join(named("a")).await.unwrap(), near.join(named("b")).await.unwrap());
    sees(&near, &[one.id(), other.id()]).await;
    proxy.black_hole();
    sees(&near, &[other.id()]).await;
    let begun = Instant::now();
    while one.is_listed() {
        assert!(begun.elapsed() < LONG);
        sleep(BEAT).await;
    }
    assert!(far.members().await.is_err(), "that nobody answers is no empty list");
    // The heartbeat finds no way to say that it leaves: it gives up.
    proxy.heal();
    sees(&near, &[one.id(), other.id()]).await;
    timeout(LONG, one.leave()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_make_no_second_member_and_leave_none_behind() {
    let store = Arc::new(MemoryCoordStore::new());
    let sound = Coordination::new(Arc::clone(&store) as _).membership().heartbeat(BEAT);
    for seed in 0..12 {
        let faults = Faults::seeded(seed).with_lost_answers(0.3);
        let faulty = over(LayeredCoordStore::new(Arc::clone(&store) as _, faults));
        let joined = loop {
            match faulty.join(named("a")).await {
                Ok(joined) => break joined,
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}"),
            }
        };
        sees(&sound, &[joined.id()]).await;
        joined.leave().await;
        sees(&sound, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_program_it_leaves_and_none_joins_any_more() {
    let store = Arc::new(MemoryCoordStore::new());
    let replica = || Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let (one, other) = (replica(), replica());
    let joined = one.membership().join(named("a")).await.unwrap();
    assert_eq!(other.membership().members().await.unwrap().len(), 1);
    one.close().await;
    assert!(other.membership().members().await.unwrap().is_empty());
    assert!(one.membership().join(named("a")).await.is_err());
    drop(joined);
    for wrong in [Duration::ZERO, Duration::from_secs(3600)] {
        let error = other.membership().heartbeat(wrong).join(named("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let joined = other.membership().join(named("a")).await.unwrap();
    let error = joined.update(|info| info.build = "x".repeat(20_000)).unwrap_err();
    assert_eq!((error.kind(), &joined.info().build[..]), (ErrorKind::TooLarge, "a"));
}

#[tokio::test]
async fn what_several_threads_say_of_a_member_is_all_said() {
    let joined = over(MemoryCoordStore::new()).join(named("a")).await.unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let joined = &joined;
            scope.spawn(move || {
                for number in 0..50 {
                    let say = |info: &mut MemberInfo| info.reaches.extend([(format!("{thread} {number}"), true)]);
                    joined.update(say).unwrap();
                }
            });
        }
    });
    assert_eq!(joined.info().reaches.len(), 200);
    joined.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_members_that_come_at_once_all_have_a_place() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let who = Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await)).membership();
    let joining = (0..100).map(|_| who.join(named("a")));
    let joined = futures_util::future::join_all(joining).await;
    let mut ids: Vec<_> = joined.iter().map(|joined| joined.as_ref().unwrap().id()).collect();
    ids.sort_unstable();
    let found: Vec<_> = who.members().await.unwrap().into_iter().map(|member| member.id).collect();
    assert_eq!(found, ids);
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_the_stores_time() {
    let who = over(open_redis(&RedisServer::shared().await.url(), &random_namespace()).await);
    for minutes in [15, -15, 0] {
        let offset = who.clock_offset(&Skewed(minutes)).await.unwrap().expect("it tells the time");
        assert!((offset - minutes * 60_000_000).abs() < 30_000_000, "{minutes} min: {offset}");
    }
    assert_eq!(over(MemoryCoordStore::new()).clock_offset(&Skewed(15)).await.unwrap(), None);
}

fn knowing(newest: u32) -> MemberInfo {
    named("clinic").with_formats("notes", 1..=newest)
}

fn behind(error: &Error) -> Behind {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<Behind>()).expect("it says why").clone()
}

/// However busy the machine is: who is not told what became of it calls again.
pub(crate) async fn raise(epoch: &Epoch) -> Raised {
    let (begun, mut is_told) = (Instant::now(), true);
    loop {
        match epoch.raise().await {
            Ok(Raised::Already) if !is_told => return Raised::Now,
            Ok(raised) => return raised,
            Err(error) => assert!(error.kind() != ErrorKind::Unsupported && begun.elapsed() < LONG, "{error:?}"),
        }
        is_told = false;
    }
}

async fn is_gated(who: &Membership) {
    let (old, epoch) = (who.join(knowing(1)).await.unwrap(), who.epoch("notes", 1..=1));
    assert_eq!(raise(&epoch).await, Raised::Now);
    assert!(epoch.allows(1).await.unwrap());
    let (new, next) = (who.join(knowing(2)).await.unwrap(), who.epoch("notes", 1..=2));
    assert!(next.allows(1).await.unwrap() && !next.allows(2).await.unwrap());
    let Raised::Waiting(members) = raise(&next).await else { panic!("an old one is there") };
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [old.id()]);
    old.leave().await;
    assert_eq!(raise(&next).await, Raised::Now);
    assert_eq!((raise(&next).await, next.current().await.unwrap()), (Raised::Already, 2));
    assert!(next.allows(2).await.unwrap());
    // It never falls.
    assert_eq!(raise(&epoch).await, Raised::Already);
    assert_eq!(next.current().await.unwrap(), 2);
    let told = behind(&who.join(knowing(1)).await.unwrap_err());
    assert_eq!((told.epoch, told.newest), (2, Some(1)));
    assert_eq!(behind(&who.join(named("none")).await.unwrap_err()).newest, None);
    assert_eq!(behind(&epoch.allows(1).await.unwrap_err()).epoch, 2);
    sees(who, &[new.id()]).await;
    assert_eq!(who.epoch("a//b", 1..=1).current().await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_format_waits_until_no_old_member_is_left_and_never_falls() {
    is_gated(&over(MemoryCoordStore::new())).await;
    let folder = tempfile::tempdir().unwrap();
    is_gated(&on_disk(&folder, &random_namespace()).await).await;
    let server = crate::durable_redis().await;
    is_gated(&over(open_redis(&server.url(), &random_namespace()).await)).await;
    let forgets = RedisServer::start().await;
    let who = over(open_redis(&forgets.url(), &random_namespace()).await);
    let error = who.epoch("notes", 1..=1).raise().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "it would fall");
}

/// Either the old one is seen, or it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_while_an_epoch_is_raised_is_seen_or_is_told() {
    let mut outcomes = [0; 2];
    for round in 0..60 {
        let who = over(MemoryCoordStore::new());
        let new = who.join(knowing(2)).await.unwrap();
        let raising = tokio::spawn({
            let epoch = who.epoch("notes", 1..=2);
            async move { epoch.raise().await.unwrap() }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let old = who.join(knowing(1)).await;
        match (raising.await.unwrap(), old) {
            (Raised::Waiting(members), Ok(old)) => {
                assert!(members.iter().any(|member| member.id == old.id()));
                outcomes[0] += 1;
            }
            (Raised::Now, Err(error)) => {
                behind(&error);
                outcomes[1] += 1;
            }
            (raised, old) => panic!("{raised:?} and {old:?}"),
        }
        drop(new);
    }
    assert_eq!(outcomes.iter().sum::<u32>(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_raised_an_epoch_and_died_keeps_nobody_waiting_for_long() {
    let store = Arc::new(MemoryCoordStore::new());
    let who = Coordination::new(Arc::clone(&store) as _).membership().heartbeat(BEAT);
    let raising = statehouse_coord::CoordKey::new("epoch-raise/notes").unwrap();
    let options = statehouse_coord::PutOptions::default().with_time_to_live(Duration::from_secs(1));
    let _ = store.put_with(&raising, b"\x01\x02\0\0\0".as_slice().into(), options).await.unwrap();
    let joined = timeout(LONG, who.join(knowing(1))).await.unwrap().unwrap();
    assert!(store.get(&raising).await.unwrap().is_none(), "it has waited for what was left behind");
    drop(joined);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_forgotten_while_others_went_on_is_told_when_it_comes_back() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let far = over(open_redis(&format!("{}?timeout=500ms&deadline=1s", proxy.url(&server.url())), &namespace).await);
    let near = over(open_redis(&server.url(), &namespace).await);
    let (old, new) = (far.join(knowing(1)).await.unwrap(), near.join(knowing(2)).await.unwrap());
    let epoch = near.epoch("notes", 1..=2);
    assert!(matches!(epoch.raise().await.unwrap(), Raised::Waiting(_)));
    assert!(old.behind().is_none());
    proxy.black_hole();
    sees(&near, &[new.id()]).await;
    assert_eq!(epoch.raise().await.unwrap(), Raised::Now);
    proxy.heal();
    let begun = Instant::now();
    let told = loop {
        if let Some(behind) = old.behind() {
            break behind;
        }
        assert!(begun.elapsed() < LONG);
        sleep(BEAT).await;
    };
    assert_eq!((&told.kind[..], told.epoch, told.newest), ("notes", 2, Some(1)));
}
