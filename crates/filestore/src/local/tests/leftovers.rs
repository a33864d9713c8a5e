//! What lies in the store's own folders that is nobody's any more, or never was the store's.

use super::*;
use crate::options::SweepOptions;
use crate::outcome::Swept;

const DEAD: &str = "0123456789abcdef0123456789abcdef";

/// As file servers put one into every folder.
fn foreign(dir: &Dir, folder: &str) -> PathBuf {
    let foreign = dir.0.join(folder).join("@eaDir");
    fs::create_dir_all(foreign.join("below")).unwrap();
    fs::write(foreign.join("lock"), "theirs").unwrap();
    fs::write(foreign.join("below/x"), "theirs").unwrap();
    foreign
}

fn is_whole(foreign: &Path) -> bool {
    fs::read(foreign.join("lock")).is_ok_and(|read| read == b"theirs") && foreign.join("below/x").exists()
}

async fn sweep(store: &LocalFileStore, older_than: Duration) -> Swept {
    store.sweep_with(SweepOptions::new("").with_uploads_older_than(older_than)).await.unwrap()
}

#[tokio::test]
async fn a_folder_beside_the_stages_stays_as_it_is_and_stops_nothing() {
    let dir = Dir::new();
    drop(dir.store().await);
    let beside = foreign(&dir, ".statehouse/stage");
    let stage = format!(".statehouse/stage/{DEAD}");
    let within = foreign(&dir, &stage);
    for name in ["lock", "slots"] {
        fs::write(dir.0.join(&stage).join(name), "").unwrap();
    }
    let left = dir.0.join(format!("n+/.statehouse-{DEAD}-0"));
    fs::create_dir(dir.0.join("n+")).unwrap();
    fs::write(&left, "half a file").unwrap();
    for round in 0..2 {
        let store = dir.store().await;
        assert_eq!(sweep(&store, Duration::ZERO).await.uploads, 0);
        assert!(is_whole(&beside) && is_whole(&within), "round {round}");
        assert!(!dir.0.join(&stage).join("slots").exists(), "what the dead had is gone");
        let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
        assert_eq!(files.list("").await.unwrap().entries.len(), 0);
        assert!(!left.exists(), "and what it was writing");
    }
}

/// After a power cut nothing else may tell of it.
#[tokio::test]
async fn what_was_being_staged_is_removed_by_its_name_unless_its_store_lives() {
    let dir = Dir::new();
    let store = dir.store().await;
    let living = store.disk.writing.as_ref().unwrap().stage.create(stage::STAGED).unwrap();
    let staged = dir.0.join(".statehouse/staged");
    let left = staged.join(format!(".statehouse-{DEAD}-3"));
    for opened in [false, true] {
        fs::write(&left, "half a file").unwrap();
        fs::write(staged.join("readme"), "theirs").unwrap();
        match opened {
            true => drop(dir.store().await),
            false => assert_eq!(sweep(&store, Duration::ZERO).await.uploads, 1),
        }
        assert!(!left.exists(), "opened {opened}");
        assert_eq!(fs::read_dir(&staged).unwrap().count(), 2, "what is being staged, and what is theirs");
    }
    drop(living);
}

#[tokio::test]
async fn a_stage_that_a_power_cut_has_torn_is_swept_once_it_is_old_and_one_of_a_newer_version_is_not() {
    let dir = Dir::new();
    let store = Arc::new(dir.store().await);
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
    let whole = files.put("a", "whole").stage().await.unwrap();
    let newer = files.put("b", "newer").stage().await.unwrap();
    let path = |id: StageId| dir.0.join(format!(".statehouse/staged/{id}"));
    let mut content = fs::read(path(newer.id())).unwrap();
    let format = content.len() - format::FOOTER + 64;
    content[format] = 99;
    fs::write(path(newer.id()), content).unwrap();
    for torn in [&[0_u8; 4096][..], b"", b"cut short"] {
        let lost = files.put("c", "lost").stage().await.unwrap();
        fs::write(path(lost.id()), torn).unwrap();
        assert_eq!(sweep(&store, Duration::from_secs(3600)).await.uploads, 0, "it may be on its way");
        assert_eq!(sweep(&store, Duration::ZERO).await.uploads, 1, "{} bytes", torn.len());
        assert_eq!(lost.commit().await.unwrap(), CommitOutcome::Gone);
    }
    assert!(path(newer.id()).exists());
    assert!(matches!(whole.commit().await.unwrap(), CommitOutcome::Committed(_)));
}

/// Whoever gives an upload up removes the folder of what is staged, if nothing is in it: also between a commit and its sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_told_as_made_while_others_give_up_what_they_stage() {
    let dir = Dir::new();
    let store = Arc::new(dir.store().await);
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let givers: Vec<_> = (0..2)
        .map(|_| {
            let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(store.disk.writing.as_ref().unwrap().stage.create(stage::STAGED).unwrap());
                }
            })
        })
        .collect();
    let mut told = Vec::new();
    for round in 0..300 {
        let staged = files.put("a", "content").stage().await.unwrap();
        told.extend(staged.commit().await.err().map(|error| format!("{round}: {error:?}")));
    }
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    givers.into_iter().for_each(|giver| giver.join().unwrap());
    assert_eq!(told.first(), None, "and {} in all", told.len());
}

/// There are 256 turns.
#[tokio::test]
async fn a_copy_takes_its_turn_when_its_content_is_copied() {
    let dir = Dir::new();
    let store = Arc::new(dir.store().await);
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
    files.put("a", vec![7_u8; 1_000_000]).await.unwrap();
    let turns = u32::try_from(store.disk.writers.available_permits()).unwrap();
    let all = Arc::clone(&store.disk.writers).acquire_many_owned(turns).await.unwrap();
    let copy = tokio::spawn(async move { files.copy("a", "b").await });
    let begun = Instant::now();
    let copied = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 1_000_000);
    while !dir.all("n+").iter().any(|path| copied(path) && !path.ends_with("n+/a")) {
        assert!(begun.elapsed() < Duration::from_secs(8), "nothing was copied meanwhile");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!dir.0.join("n+/b").exists());
    drop(all);
    assert_eq!(copy.await.unwrap().unwrap().len, 1_000_000);
}
