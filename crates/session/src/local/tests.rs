use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use statehouse_core::{Clock as _, ErrorKind, ManualClock};

use super::*;
use crate::api::SessionStoreExt as _;
use crate::record::{Limit, Timeouts};
use crate::token::Token;

const MINUTE: Duration = Duration::from_secs(60);

async fn open(folder: &Path, clock: &ManualClock) -> LocalSessionStore {
    LocalSessionStore::open_with(LocalConfig::new(folder).with_clock(clock.clone())).await.unwrap()
}

async fn create(store: &LocalSessionStore) -> Snapshot {
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), 20 * MINUTE, 120 * MINUTE);
    store.create(&token.key(), &new).await.unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(folder).unwrap().map(|shard| shard.unwrap().path()).filter(|path| path.is_dir());
    shards.flat_map(|shard| fs::read_dir(shard).unwrap().map(|file| file.unwrap().path())).collect()
}

#[tokio::test]
async fn a_second_store_on_the_folder_is_refused_until_the_first_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let first = LocalSessionStore::open(folder.path()).await.unwrap();
    let error = LocalSessionStore::open(folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("in use by another store"), "{error}");
    drop(first);
    LocalSessionStore::open(folder.path()).await.unwrap();
}

/// A folder that somebody named by mistake, such as `/var`, keeps what it has: also below `tmp`.
#[tokio::test]
async fn a_folder_of_other_things_is_refused_and_nothing_in_it_is_touched() {
    for other in ["tmp/dump.sql", "00/notes", "lock/a", "notes"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(other);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"mine").unwrap();
        let error = LocalSessionStore::open(folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{other}: {error:?}");
        assert_eq!(fs::read(&file).unwrap(), b"mine", "{other}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{other}: nothing is made");
    }
    let folder = tempfile::tempdir().unwrap();
    drop(LocalSessionStore::open(folder.path()).await.unwrap());
    let others = [folder.path().join("tmp/notes"), folder.path().join("tmp/below/7")];
    fs::create_dir(folder.path().join("tmp/below")).unwrap();
    others.iter().for_each(|file| fs::write(file, b"mine").unwrap());
    LocalSessionStore::open(folder.path()).await.unwrap();
    assert!(others.iter().all(|file| file.exists()), "only what is ours is swept");
}

#[tokio::test]
async fn a_folder_that_is_none_or_is_everybodys_is_a_wrong_setting() {
    let above = tempfile::tempdir().unwrap();
    let (file, open) = (above.path().join("file"), above.path().join("open"));
    fs::write(&file, b"x").unwrap();
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    for folder in [file, open, above.path().join("n\0l"), above.path().join("n".repeat(300))] {
        let error = LocalSessionStore::open(&folder).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
        assert!(error.setting().is_some_and(|setting| setting.contains("folder")), "{error:?}");
    }
}

#[tokio::test]
async fn sessions_and_touches_survive_a_restart_and_half_written_files_do_not() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let created = create(&store).await;
    clock.advance(15 * MINUTE);
    assert_eq!(store.touch(created.record().key()).await.unwrap(), Touched::Slid);
    drop(store);
    fs::write(folder.path().join("tmp/7"), b"half").unwrap();
    let store = open(folder.path(), &clock).await;
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    clock.advance(15 * MINUTE);
    let again = store.load(created.record().key()).await.unwrap().found().expect("the touch was kept");
    assert_eq!(again.record(), created.record());
    clock.advance(5 * MINUTE);
    assert!(store.load(created.record().key()).await.unwrap().found().is_none());
}

#[tokio::test]
async fn a_deletion_survives_a_restart_and_is_forgotten_and_freed_in_time() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let key = *create(&store).await.record().key();
    assert_eq!(store.delete(&key, Authority::Application).await.unwrap(), Deleted::Removed);
    drop(store);
    let store = open(folder.path(), &clock).await;
    assert!(matches!(store.load(&key).await.unwrap(), Loaded::Deleted { .. }));
    clock.advance(REMEMBERED);
    assert!(matches!(store.load(&key).await.unwrap(), Loaded::Absent));
    for _ in 0..60 {
        create(&store).await;
    }
    assert_eq!(files(folder.path()).len(), 60, "what is forgotten takes up no file");
}

#[tokio::test]
async fn expired_files_are_freed_as_others_are_written() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    for _ in 0..40 {
        create(&store).await;
    }
    assert_eq!(files(folder.path()).len(), 40);
    clock.advance(20 * MINUTE);
    for _ in 0..60 {
        create(&store).await;
    }
    assert_eq!(files(folder.path()).len(), 60, "all forty expired ones are gone, and no other");
}

#[tokio::test]
async fn a_damaged_file_is_corrupt_and_stays() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let created = create(&store).await;
    let path = files(folder.path()).remove(0);
    let good = fs::read(&path).unwrap();
    for damaged in [&good[..good.len() - 1], &good[..30], b"", &[good.as_slice(), b"x"].concat()] {
        fs::write(&path, damaged).unwrap();
        let key = created.record().key();
        assert_eq!(store.load(key).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    create(&store).await;
    assert!(path.exists(), "it was kept for somebody to look at");
    let key = created.record().key();
    assert_eq!(store.delete(key, Authority::Application).await.unwrap(), Deleted::Removed);
    assert_eq!(store.delete(key, Authority::Application).await.unwrap(), Deleted::Gone);
}

#[tokio::test]
async fn whoever_holds_the_token_of_a_damaged_session_ends_it_and_time_does_too() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let holder = Authority::Holder(Token::generate().unwrap().verifier_hash());
    let key = *create(&store).await.record().key();
    fs::write(files(folder.path()).remove(0), b"torn").unwrap();
    assert_eq!(store.delete(&key, holder).await.unwrap(), Deleted::Removed);
    assert!(store.load(&key).await.unwrap().found().is_none());
    clock.advance(REMEMBERED);

    create(&store).await;
    for path in files(folder.path()) {
        fs::write(&path, b"torn").unwrap();
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(clock.now().into()).unwrap();
    }
    clock.advance(UNREADABLE_KEPT + MINUTE);
    for _ in 0..60 {
        create(&store).await;
    }
    assert_eq!(files(folder.path()).len(), 60, "nobody looks at it any more");
}

#[tokio::test]
async fn a_full_folder_keeps_who_is_logged_in_and_its_bounds() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let config = || LocalConfig::new(folder.path()).with_clock(clock.clone()).with_capacity(20 * 4096).unwrap();
    let store = LocalSessionStore::open_with(config()).await.unwrap();
    let log_in = async |store: &LocalSessionStore| {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), 20 * MINUTE, 120 * MINUTE);
        let new = new.with_principal(Principal::new("u42").unwrap());
        store.create(&token.key(), &new).await.map(|snapshot| *snapshot.record().key())
    };
    let user = log_in(&store).await.unwrap();
    for _ in 0..100 {
        create(&store).await;
        assert!(files(folder.path()).len() <= 20);
    }
    drop(store);
    // What is there is counted when the folder is opened.
    let store = LocalSessionStore::open_with(config()).await.unwrap();
    let mut users = vec![user];
    let refused = loop {
        match log_in(&store).await {
            Ok(key) => users.push(key),
            Err(error) => break error,
        }
    };
    assert_eq!((users.len(), refused.kind()), (20, ErrorKind::Unavailable), "{refused:?}");
    for key in &users {
        assert_eq!(store.touch(key).await.unwrap(), Touched::Slid);
    }
    clock.advance(20 * MINUTE);
    log_in(&store).await.unwrap();
}

#[tokio::test]
async fn files_are_private_and_swapping_two_of_them_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &ManualClock::default()).await;
    let (one, two) = (create(&store).await, create(&store).await);
    let paths = files(folder.path());
    for path in &paths {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let temp = folder.path().join("swap");
    fs::rename(&paths[0], &temp).unwrap();
    fs::rename(&paths[1], &paths[0]).unwrap();
    fs::rename(&temp, &paths[1]).unwrap();
    for snapshot in [one, two] {
        assert_eq!(store.load(snapshot.record().key()).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_folder_that_went_away_is_an_outage_and_not_an_absent_session() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sessions");
    let store = open(&folder, &ManualClock::default()).await;
    let created = create(&store).await;
    fs::rename(&folder, parent.path().join("unmounted")).unwrap();
    let error = store.load(created.record().key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!store.health().await.is_up());
    fs::rename(parent.path().join("unmounted"), &folder).unwrap();
    assert!(store.load(created.record().key()).await.unwrap().found().is_some());
    assert!(store.health().await.is_up());
}

/// The disk goes on with what it was asked.
#[tokio::test]
async fn what_is_late_is_in_doubt_if_it_changes_anything() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &ManualClock::default()).await;
    let (held, disk) = std::sync::mpsc::channel::<()>();
    let disk = Arc::new(std::sync::Mutex::new(disk));
    let silent = || {
        let disk = Arc::clone(&disk);
        move |_: &Inner| disk.lock().unwrap().recv().map_err(|_| Failure::Full(Room::default()))
    };
    let limit = Some(Duration::from_millis(1));
    let load = store.look(OPERATION.load, limit, silent()).await.unwrap_err();
    assert_eq!((load.kind(), load.operation()), (ErrorKind::Timeout, Some("session.load")), "{load:?}");
    let save = store.change(OPERATION.save, limit, silent()).await.unwrap_err();
    assert_eq!((save.kind(), save.backend()), (ErrorKind::OutcomeUnknown, Some("local")), "{save:?}");
    drop(held);
}

/// Not even a pipe, which nobody writes to, makes anybody wait.
#[tokio::test]
async fn what_is_no_file_in_a_sessions_place_is_corrupt_and_a_logout_takes_it_away() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let key = *create(&store).await.record().key();
    let path = files(folder.path()).pop().expect("the session's file");
    let plant: [fn(&Path); 3] = [
        |path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
        |path| fs::create_dir(path).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ];
    fs::remove_file(&path).unwrap();
    for (number, plant) in plant.iter().enumerate() {
        plant(&path);
        assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Corrupt, "{number}");
        assert_eq!(store.delete(&key, Authority::Application).await.unwrap(), Deleted::Removed, "{number}");
        assert!(store.load(&key).await.unwrap().found().is_none(), "{number}");
        let _ = fs::remove_file(&path);
    }
}

async fn log_in_where(store: &LocalSessionStore, fits: impl Fn(&SessionKey) -> bool) -> Snapshot {
    loop {
        let token = Token::generate().unwrap();
        if fits(&token.key()) {
            let new = NewSession::new(token.verifier_hash(), 20 * MINUTE, 120 * MINUTE);
            return store.create(&token.key(), &new.with_principal(Principal::new("u42").unwrap())).await.unwrap();
        }
    }
}

/// Which takes a write for each session that there is, and on a busy disk minutes.
#[test]
fn a_revocation_of_everybody_holds_up_no_login_and_no_load() {
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(4).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(open(folder.path(), &ManualClock::default()));
    let who = Principal::new("u42").unwrap();
    // In one of the last folders, which so few writes free nothing in.
    let doomed = *runtime.block_on(log_in_where(&store, |key| key.as_bytes()[0] >= 0xf0)).record().key();
    let begun = runtime.block_on(store.epoch(&who)).unwrap();
    let held = store.inner.folder.lock(&doomed);
    let revocation = runtime.spawn({
        let store = store.clone();
        async move { store.revoke(Revoke::Everything).await }
    });
    let now = store.inner.clock.now();
    while store.inner.logins.index().admit(&who, begun, now).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let later = async {
        let apart = |key: &SessionKey| store.inner.folder.lock_beside(key, &doomed).is_some();
        let logins = (0..8).map(|_| log_in_where(&store, apart));
        let logins = futures_util::future::join_all(logins).await;
        for login in &logins {
            assert!(store.load(login.record().key()).await.unwrap().found().is_some());
        }
        logins
    };
    let later = runtime.block_on(async { tokio::time::timeout(MINUTE / 2, later).await }).expect("they wait for it");
    assert!(!revocation.is_finished());
    drop(held);
    runtime.block_on(revocation).unwrap().unwrap();
    runtime.block_on(async {
        assert!(store.load(&doomed).await.unwrap().found().is_none());
        for login in &later {
            assert!(store.load(login.record().key()).await.unwrap().found().is_some(), "it began later");
        }
    });
}

fn somebody() -> Principal {
    Principal::new("u42").unwrap()
}

async fn log_in(store: &LocalSessionStore) -> SessionKey {
    *log_in_where(store, |_| true).await.record().key()
}

/// The disk did not give it when the folder was opened. As one that is read, this file is there and gives nothing but errors.
#[tokio::test]
async fn a_session_that_could_not_be_read_at_the_opening_is_ended_by_no_revocation_that_is_said_to_be_done() {
    let (folder, aside, clock) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let key = log_in(&store).await;
    drop(store);
    let (file, aside) = (files(folder.path()).pop().unwrap(), aside.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
    let store = open(folder.path(), &clock).await;
    let (who, other) = (somebody(), log_in(&store).await);
    for failed in [store.list(&who).await.map(drop), store.revoke(Revoke::All(&who)).await] {
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(store.load(&other).await.unwrap().found().is_none(), "what is known has ended all the same");
    fs::remove_file(&file).unwrap();
    // By its content, for the other may be another file system.
    fs::copy(&aside, &file).unwrap();
    assert_eq!(store.list(&who).await.unwrap().len(), 1);
    store.revoke(Revoke::All(&who)).await.unwrap();
    assert!(store.load(&key).await.unwrap().found().is_none());
}

#[tokio::test]
async fn a_login_that_may_not_survive_a_crash_is_listed_and_makes_its_room() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let store = open(folder.path(), &clock).await;
    let who = somebody();
    let before = log_in(&store).await;
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), 20 * MINUTE, 120 * MINUTE).with_principal(who.clone());
    let new = new.with_limit(Limit::evict_oldest(1));
    let options = CreateOptions::default().with_id(SaveId::generate().unwrap());
    let fails = &store.inner.folder.fails_to_sync;
    fails.store(true, std::sync::atomic::Ordering::Relaxed);
    let doubt = store.create_with(&token.key(), &new, options.clone()).await.unwrap_err();
    assert_eq!(doubt.kind(), ErrorKind::OutcomeUnknown);
    fails.store(false, std::sync::atomic::Ordering::Relaxed);
    store.create_with(&token.key(), &new, options).await.unwrap();
    assert!(store.load(&before).await.unwrap().found().is_none());
    assert_eq!(store.list(&who).await.unwrap().len(), 1);
    store.revoke(Revoke::All(&who)).await.unwrap();
    assert!(store.load(&token.key()).await.unwrap().found().is_none());
}

/// The login is made, and what is to end for it cannot end: the same login again ends that.
#[tokio::test]
async fn a_login_that_is_repeated_ends_what_its_first_try_could_not() {
    let timeouts = Timeouts::new(5 * MINUTE, 120 * MINUTE, 120 * MINUTE);
    let limits = [Limit::evict_oldest(1), Limit::reject(1).with_timeouts(timeouts)];
    for (limit, rotates) in limits.into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
        let (store, who) = (open(folder.path(), &clock).await, somebody());
        let before = log_in(&store).await;
        clock.advance(5 * MINUTE);
        let (token, id) = (Token::generate().unwrap(), SaveId::generate().unwrap());
        let new = NewSession::new(token.verifier_hash(), 20 * MINUTE, 120 * MINUTE);
        let base = match rotates {
            true => Some(store.create(&token.key(), &new).await.unwrap()),
            false => None,
        };
        let next = token.with_new_verifier().unwrap().verifier_hash();
        let rotation = Rotation::login(next, who.clone()).with_limit(limit);
        let new = new.with_principal(who.clone()).with_limit(limit);
        let log_in = async |repeats: bool| match &base {
            None => {
                let options = CreateOptions::default().with_id(id);
                store.create_with(&token.key(), &new, options).await.map(drop)
            }
            Some(base) => {
                let holder = Authority::Holder(token.verifier_hash());
                let options = SaveOptions { repeats, ..SaveOptions::default().with_id(id) };
                store.rotate_with(base, holder, &rotation, &Delta::new(), options).await.map(drop)
            }
        };
        let stays = &store.inner.folder.stays;
        *stays.lock().unwrap() = Some(before);
        let doubt = log_in(false).await.unwrap_err();
        assert_eq!(doubt.kind(), ErrorKind::OutcomeUnknown, "{doubt}");
        *stays.lock().unwrap() = None;
        // What may be theirs cannot be read: the login is made all the same.
        let unread = Token::generate().unwrap().key();
        let file = store.inner.folder.path(&unread);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
        store.inner.logins.unread().insert(unread);
        let doubt = log_in(true).await.unwrap_err();
        assert_eq!(doubt.kind(), ErrorKind::OutcomeUnknown, "{doubt}");
        fs::remove_file(&file).unwrap();
        log_in(true).await.unwrap();
        assert!(store.load(&before).await.unwrap().found().is_none(), "{limit:?}, rotates: {rotates}");
        assert_eq!(store.list(&who).await.unwrap().len(), 1, "{limit:?}, rotates: {rotates}");
    }
}

/// What was revoked is remembered in memory only.
#[tokio::test]
async fn a_login_that_began_before_a_restart_does_not_stand() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let (store, who) = (open(folder.path(), &clock).await, somebody());
    let begun = store.epoch(&who).await.unwrap();
    store.revoke(Revoke::All(&who)).await.unwrap();
    drop(store);
    clock.advance(MINUTE);
    let store = open(folder.path(), &clock).await;
    let new = |epoch| {
        let verifier = Token::generate().unwrap().verifier_hash();
        NewSession::new(verifier, 20 * MINUTE, 120 * MINUTE).with_principal(who.clone()).with_epoch(epoch)
    };
    let late = store.create(&Token::generate().unwrap().key(), &new(begun)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let epoch = store.epoch(&who).await.unwrap();
    store.create(&Token::generate().unwrap().key(), &new(epoch)).await.unwrap();
}
