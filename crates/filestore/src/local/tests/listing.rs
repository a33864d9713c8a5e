//! Listings of directories that hold more than the store's own files, and of those that are long.

use std::os::unix::net::UnixListener;

use futures_util::TryStreamExt;

use super::super::folder::Windows;
use super::super::remembered::Remembered;
use super::*;
use crate::options::{Page, PageToken};

fn names(files: &Files, page: &Page) -> Vec<String> {
    page.entries.iter().map(|entry| files.name(&entry.key).unwrap().to_owned()).collect()
}

async fn relaxed(dir: &Dir) -> Files {
    let config = LocalConfig::new(&dir.0).with_durability(Durability::Relaxed);
    Files::new(Arc::new(LocalFileStore::open_with(config).await.unwrap()), Namespace::new("n").unwrap())
}

#[tokio::test]
async fn links_sockets_pipes_and_foreign_names_are_skipped_and_counted() {
    let (dir, outside) = (Dir::new(), Dir::new());
    let files = dir.files().await;
    let all = ["a", "below/b", "below/c/d", "e"];
    for name in all {
        files.put(name, "x").await.unwrap();
    }
    fs::create_dir(outside.0.join("elsewhere")).unwrap();
    let long = format!("{}=", "x".repeat(138));
    for folder in ["n+", "n+/below+"] {
        let at = |name: &str| dir.0.join(folder).join(name);
        symlink(dir.0.join("n+/a"), at("link")).unwrap();
        symlink(outside.0.join("nothing"), at("dangling")).unwrap();
        symlink(outside.0.join("elsewhere"), at("linked+")).unwrap();
        symlink(outside.0.join("elsewhere"), at(&long)).unwrap();
        symlink(dir.0.join("n+"), at("loop+")).unwrap();
        drop(UnixListener::bind(at("socket")).unwrap());
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for name in ["Upload.TMP", "upload.tmp", "%zz", "%61", "a=", "file+", ".DS_Store", "%ff", "%2e%2e", "x%2fa"] {
            fs::write(at(name), "foreign").unwrap();
        }
        fs::create_dir(at("folder")).unwrap();
        fs::create_dir_all(at("%2e%2e+/x+")).unwrap();
    }
    for prefix in ["", "below/"] {
        let page = files.list(prefix).await.unwrap();
        let expected: Vec<_> = all.into_iter().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(names(&files, &page), expected);
        assert_eq!(page.skipped, if prefix.is_empty() { 36 } else { 18 }, "{prefix:?}");
    }
    let page = files.list("").one_level().await.unwrap();
    assert_eq!(
        (names(&files, &page), page.prefixes),
        (vec!["a".to_owned(), "e".to_owned()], vec!["below/".to_owned()])
    );
    assert_eq!(files.list("below/c/").await.unwrap().skipped, 0);
    // The links themselves lead nowhere, whatever they are asked for.
    for name in ["link", "dangling", "linked/x", "loop/a"] {
        assert_eq!(files.get(name).await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{name}");
    }
}

#[tokio::test]
async fn a_page_goes_on_in_another_store_and_as_often_as_it_is_asked_for() {
    let dir = Dir::new();
    let (files, other) = (relaxed(&dir).await, relaxed(&dir).await);
    let all = ["a", "b/1", "b/2/x", "b/2/y", "b/3", "c", "d/e/f"];
    for name in all {
        files.put(name, "x").await.unwrap();
    }
    let (mut next, mut found): (Option<PageToken>, Vec<String>) = (None, Vec::new());
    loop {
        let page = async |files: &Files| match &next {
            Some(token) => files.list("").limit(2).page(token.clone()).await,
            None => files.list("").limit(2).await,
        };
        let (first, again, elsewhere) =
            (page(&files).await.unwrap(), page(&files).await.unwrap(), page(&other).await.unwrap());
        assert_eq!(names(&files, &first), names(&files, &again));
        assert_eq!(names(&files, &first), names(&files, &elsewhere));
        found.extend(names(&files, &first));
        next = first.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn a_listing_sees_what_was_written_before_it_began_though_an_older_one_is_under_way() {
    let dir = Dir::new();
    let files = relaxed(&dir).await;
    for name in ["a", "b", "d"] {
        files.put(name, "x").await.unwrap();
    }
    let older = files.list("").limit(1).await.unwrap();
    files.put("c", "x").await.unwrap();
    files.delete("b").await.unwrap();
    let newer = files.list("").limit(1).await.unwrap();
    assert_ne!(older.next, newer.next);
    let rest = files.list("").page(newer.next.unwrap()).await.unwrap();
    assert_eq!(names(&files, &rest), ["c", "d"]);
    let rest = files.list("").page(older.next.unwrap()).await.unwrap();
    assert!([&["c", "d"][..], &["d"]].iter().any(|expected| names(&files, &rest) == *expected));
}

#[tokio::test]
async fn a_folder_that_does_not_fit_into_a_window_is_listed_whole() {
    let dir = Dir::new();
    let files = opened(&dir, |disk| disk.folders.windows = Windows { whole: 64 << 10, part: 32 << 10 }).1;
    let mut all: Vec<_> = (0..2_500).map(|n| format!("{}{:04}", "x".repeat(125), n * 7919 % 10_000)).collect();
    all.extend((0..50).map(|n| format!("{}/{}", "y".repeat(100), n)));
    for name in &all {
        files.put(name, "x").await.unwrap();
    }
    all.sort_unstable();
    for limit in [999, 1000] {
        let entries: Vec<_> = files.list("").limit(limit).stream().try_collect().await.unwrap();
        assert!(entries.iter().map(|entry| files.name(&entry.key).unwrap()).eq(&all), "{limit} a page");
    }
    let page = files.list("").after(&all[2_000]).limit(3).await.unwrap();
    assert_eq!(names(&files, &page), all[2_001..2_004]);
}

/// A store that remembers every directory, however small.
fn remembering(dir: &Dir, remembered: Remembered) -> (Arc<Disk>, Files) {
    opened(dir, |disk| disk.folders.remembered = remembered)
}

fn opened(dir: &Dir, change: impl FnOnce(&mut Disk)) -> (Arc<Disk>, Files) {
    let root = Root::new(File::open(&dir.0).unwrap().into(), Access::Write);
    let mut disk = Disk::begin(root, &LocalConfig::new(&dir.0).with_durability(Durability::Relaxed)).unwrap();
    change(&mut disk);
    let disk = Arc::new(disk);
    let store = LocalFileStore::of(dir.0.clone(), Arc::clone(&disk));
    (disk, Files::new(Arc::new(store), Namespace::new("n").unwrap()))
}

/// Lists until the folder has been left alone long enough to be remembered.
async fn until_remembered(disk: &Disk, files: &Files) -> Page {
    loop {
        let page = files.list("").await.unwrap();
        if disk.folders.remembered.has_any(&disk.root) {
            return page;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_folder_that_is_remembered_is_read_again_after_every_change_whoever_makes_it() {
    every_change_is_seen(Remembered::by_stamps()).await;
}

#[tokio::test]
async fn every_change_of_a_folder_that_is_remembered_is_heard_whoever_makes_it() {
    every_change_is_seen(Remembered::of_all()).await;
}

async fn every_change_is_seen(remembered: Remembered) {
    let dir = Dir::new();
    let (disk, files) = remembering(&dir, remembered);
    let other = relaxed(&dir).await;
    for name in ["a", "b", "c"] {
        files.put(name, name).await.unwrap();
    }
    let at = |name: &str| dir.0.join("n+").join(name);
    let folder = File::open(at("")).unwrap();
    type Change<'a> = (&'static str, std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>);
    let changes: [Change<'_>; 7] = [
        (
            "a b c d",
            Box::pin(async {
                _ = files.put("d", "d").await.unwrap();
            }),
        ),
        (
            "a b c d",
            Box::pin(async {
                _ = other.put("b", "changed").await.unwrap();
            }),
        ),
        (
            "a c d",
            Box::pin(async {
                _ = other.delete("b").await.unwrap();
            }),
        ),
        (
            "a c d e",
            Box::pin(async {
                _ = fs::copy(at("a"), at("e")).unwrap();
            }),
        ),
        ("a c e f", Box::pin(async { fs::rename(at("d"), at("f")).unwrap() })),
        ("a c e", Box::pin(async { fs::remove_file(at("f")).unwrap() })),
        (
            "a c e x/y",
            Box::pin(async {
                _ = other.put("x/y", "y").await.unwrap();
            }),
        ),
    ];
    for (number, (expected, change)) in changes.into_iter().enumerate() {
        let before = until_remembered(&disk, &files).await;
        assert_eq!(files.list("").await.unwrap().entries, before.entries);
        let modified = folder.metadata().unwrap().modified().unwrap();
        change.await;
        // As tools that restore a folder do.
        folder.set_modified(modified).unwrap();
        let page = files.list("").await.unwrap();
        assert_eq!(names(&files, &page).join(" "), expected, "after change {number}");
        for entry in &page.entries {
            let meta = files.head(files.name(&entry.key).unwrap()).await.unwrap();
            assert_eq!((&entry.etag, entry.len, entry.modified), (&meta.etag, meta.len, meta.modified));
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_remembered_answers_like_one_that_is_not() {
    let dir = Dir::new();
    let (disk, files) = remembering(&dir, Remembered::of_all());
    let reference = Files::new(Arc::new(crate::memory::MemoryFileStore::new()), Namespace::new("n").unwrap());
    let long = "ж".repeat(60);
    let all = ["a", "a-", "a.b", "a/1", "a/2/x", "a0", "b/1", "b/2", "é", "é/x", "z", &long, &format!("{long}x/y")];
    for name in all {
        files.put(name, name.to_owned()).await.unwrap();
        reference.put(name, name.to_owned()).await.unwrap();
    }
    until_remembered(&disk, &files).await;
    let texts =
        ["", "a", "a/", "a/1", "a/2", "a/2/", "a/2/x", "a0", "b", "b/", "b/15", "c", "é", "é/", &long, "ж", "~"];
    for prefix in texts {
        for after in texts {
            for limit in [1, 3, 1000] {
                for levels in [false, true] {
                    let ask = async |files: &Files| {
                        let (mut found, mut token) = (Vec::new(), None);
                        loop {
                            let list = files.list(prefix).limit(limit);
                            let list = if levels { list.one_level() } else { list };
                            let page = match token {
                                Some(token) => list.page(token).await.unwrap(),
                                None => list.after(after).await.unwrap(),
                            };
                            found.extend(names(files, &page));
                            found.extend(page.prefixes);
                            token = page.next;
                            if token.is_none() {
                                return found;
                            }
                        }
                    };
                    let (ours, theirs) = (ask(&files).await, ask(&reference).await);
                    assert_eq!(ours, theirs, "{prefix:?} after {after:?}, {limit} a page, one level: {levels}");
                }
            }
        }
    }
    assert!(disk.folders.remembered.has_any(&disk.root), "nothing has changed");
}

/// What somebody does with the directory on the disk, by a number for it.
fn change_by_hand(folder: &Path, number: usize, name: &str, other: &str) {
    let (at, to) = (folder.join(name), folder.join(other));
    // What is not there cannot be changed; the listing is to show what is.
    let _ = match number {
        0 => fs::rename(at, to),
        1 => fs::hard_link(at, to),
        2 => fs::remove_file(at),
        3 => fs::create_dir(at),
        4 => fs::remove_dir(at),
        5 => fs::create_dir(folder.join(format!("{name}+"))),
        6 => fs::remove_dir(folder.join(format!("{name}+"))),
        7 => symlink(at, to),
        8 => fs::write(folder.join(name.to_uppercase()), "foreign"),
        9 => fs::remove_file(folder.join(name.to_uppercase())),
        // Another process.
        _ => std::process::Command::new("mv").arg("-f").arg(at).arg(to).output().map(drop),
    };
}

/// The directory is never read a second time, unless where its long names go on is changed.
#[tokio::test]
async fn a_folder_that_is_remembered_keeps_up_with_all_who_change_it() {
    let dir = Dir::new();
    let (disk, files) = remembering(&dir, Remembered::of_all());
    let (other, fresh) = (relaxed(&dir).await, relaxed(&dir).await);
    files.put("kept", "x").await.unwrap();
    files.list("").await.unwrap();
    let seed = u64::from_le_bytes(crate::digest::nonce().unwrap()[..8].try_into().unwrap());
    let (mut random, long) = (seed | 1, "w".repeat(150));
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 40).unwrap() % below
    };
    for round in 0..statehouse_core::conformance::rounds(400, 20_000) {
        let (name, by) = (["a", "b", "c", "d", "e"][next(5)], if next(2) == 0 { &files } else { &other });
        let to = ["a", "b", "c", "d", "e"][next(5)];
        let (mut is_long, what) = (false, next(18));
        match what {
            0..=10 => change_by_hand(&dir.0.join("n+"), what, name, to),
            // Where a directory or a link lies in the way, the answer is an error.
            11 | 12 => drop(by.put(name, round.to_string()).await),
            13 => drop(by.delete(name).await),
            14 => drop(by.put(format!("{name}/x"), "below").await),
            15 => drop(by.delete(format!("{name}/x")).await),
            16 => drop(by.copy(name, to).await),
            _ => {
                is_long = next(4) == 0;
                let name = if is_long { &long } else { name };
                drop(by.put(name, "x").await);
                drop(by.delete(name).await);
            }
        }
        let followed = disk.folders.remembered.get(&disk.root, "n+").is_some();
        assert!(followed || is_long, "after change {what} in round {round} of seed {seed}");
        let (ours, theirs) = (files.list("").one_level().await.unwrap(), fresh.list("").one_level().await.unwrap());
        assert_eq!(
            (names(&files, &ours), &ours.prefixes, ours.skipped),
            (names(&fresh, &theirs), &theirs.prefixes, theirs.skipped),
            "after change {what} of {name} and {to} in round {round} of seed {seed}"
        );
        assert_eq!(ours.entries, theirs.entries, "after change {what} in round {round} of seed {seed}");
    }
}

/// A reading that others write beside is kept, too, with what they wrote.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_a_folder_is_read_is_not_lost() {
    let dir = Dir::new();
    let (_disk, files) = remembering(&dir, Remembered::of_all());
    let other = relaxed(&dir).await;
    let writer = tokio::spawn(async move {
        for number in 0..statehouse_core::conformance::rounds(500, 20_000) {
            other.put(format!("{number:05}"), "x").await.unwrap();
            if number % 3 == 0 {
                other.delete(format!("{:05}", number / 2)).await.unwrap();
            }
        }
    });
    let fresh = relaxed(&dir).await;
    while !writer.is_finished() {
        files.list("").await.unwrap();
        // As if it had never been read.
        files.list("").after("9").await.unwrap();
    }
    writer.await.unwrap();
    let all = async |files: &Files| files.list("").stream().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(all(&files).await, all(&fresh).await);
}
