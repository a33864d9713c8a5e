use std::fs;

use super::*;

fn names(changes: &Changes) -> Vec<&str> {
    let mut names: Vec<_> = changes.names.iter().filter_map(|name| name.to_str().ok()).collect();
    names.sort_unstable();
    names
}

#[test]
fn all_who_listen_hear_every_change_and_none_before_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let fd: OwnedFd = fs::File::open(dir.path()).unwrap().into();
    let watcher = Watcher::default();
    fs::write(at("before"), "x").unwrap();
    let first = watcher.listen(&fd).expect("the folder of temporary files is on a disk of this host");
    fs::write(at("a"), "x").unwrap();
    let second = watcher.listen(&fd).unwrap();
    fs::rename(at("a"), at("b")).unwrap();
    fs::write(at(".statehouse-under-way"), "x").unwrap();
    fs::hard_link(at("b"), at("c")).unwrap();
    assert_eq!(names(&second.take()), ["a", "b", "c"]);
    drop(second);
    fs::create_dir(at("d")).unwrap();
    fs::remove_file(at("c")).unwrap();
    let changes = first.take();
    assert_eq!((names(&changes), changes.lost), (vec!["a", "b", "c", "d"], false));
    assert_eq!(names(&first.take()), [""; 0]);
}

#[test]
fn who_could_not_be_told_all_knows_that() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |dir: &tempfile::TempDir| OwnedFd::from(fs::File::open(dir.path()).unwrap());
    let watcher = Watcher::default();
    let (many, moved) = (watcher.listen(&open(&dir)).unwrap(), watcher.listen(&open(&other)).unwrap());
    for number in 0..=MAX_NAMES {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    assert!(many.take().lost);
    assert!(!moved.take().lost);
    // More than the system keeps for somebody who does not listen.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for _ in 0..most {
        fs::write(dir.path().join("a"), "").unwrap();
        fs::remove_file(dir.path().join("a")).unwrap();
    }
    assert!(moved.take().lost, "its changes may be among those that are lost");
    fs::remove_dir(other.path()).unwrap();
    assert!(moved.take().lost);
}
