mod contended;
mod durable;
mod leftovers;
mod listing;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use statehouse_core::{ErrorKind, Namespace};

use super::beneath::Root;
use super::gate::Share;
use super::lock::PATIENCE;
use super::stage::Staged;
use super::*;
use crate::files::Files;
use crate::options::Condition;
use crate::outcome::Deleted;

/// A directory that is removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let name = crate::digest::hex(&crate::digest::nonce().unwrap());
        let path = std::env::temp_dir().join(format!("statehouse-{name}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    async fn store(&self) -> LocalFileStore {
        LocalFileStore::open(&self.0).await.unwrap()
    }

    async fn files(&self) -> Files {
        Files::new(Arc::new(self.store().await), Namespace::new("n").unwrap())
    }

    /// Every file below, besides locks and the format.
    fn all(&self, below: &str) -> Vec<PathBuf> {
        fn collect(path: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    collect(&entry.path(), found);
                } else if entry.file_name() != "lock" {
                    found.push(entry.path());
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.0.join(below), &mut found);
        found
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    /// One for each test, which ends with its thread. A static would never be dropped.
    static OWN: Dir = Dir::new();
}

mod synced {
    use super::*;
    crate::filestore_conformance!(async {
        let path = OWN.with(|dir| dir.0.clone());
        let open = move || {
            let path = path.clone();
            async { LocalFileStore::open(path).await.unwrap() }
        };
        crate::conformance::Store::opened_by(open).await
    });
}

/// Without `openat2`, as on old kernels and other systems, and each put through a store of its own.
mod walking_steps {
    use super::*;

    fn open(path: PathBuf) -> LocalFileStore {
        let config = LocalConfig::new(&path).with_durability(Durability::Relaxed);
        let root = Root::with_steps(File::open(&path).unwrap().into());
        LocalFileStore::of(path, Arc::new(Disk::begin(root, &config).unwrap()))
    }

    crate::filestore_conformance!(async {
        let path = OWN.with(|dir| dir.0.clone());
        crate::conformance::Store::opened_by(move || std::future::ready(open(path.clone()))).await
    });
}

#[tokio::test]
async fn content_comes_first_in_the_file_and_a_new_store_reads_it() {
    let dir = Dir::new();
    dir.files().await.put("p42/chest.dcm", "DICM").content_type("application/dicom").await.unwrap();
    let bytes = fs::read(dir.0.join("n+/p42+/chest.dcm")).unwrap();
    assert!(bytes.starts_with(b"DICM") && bytes.ends_with(b"SHfile\r\n"));
    let object = dir.files().await.get("p42/chest.dcm").await.unwrap();
    assert_eq!(object.meta().content_type.as_deref(), Some("application/dicom"));
    assert_eq!(object.bytes().await.unwrap(), "DICM");
}

/// The paths of everything below the root, in order; a directory's with a slash behind it.
fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push(name + "/");
                walk(root, &path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort_unstable();
    found
}

#[tokio::test]
async fn what_lies_on_the_disk_is_frozen() {
    let dir = Dir::new();
    let store = dir.store().await;
    let files = Files::new(Arc::new(store.clone()), Namespace::new("n").unwrap());
    let long = "ж".repeat(30);
    for name in ["a", "a/b", "IMG 1.JPG", "con/x.", &long] {
        files.put(name, "x").await.unwrap();
    }
    let staged = begin(&store, "n/a/c");
    let own = fs::read_dir(dir.0.join(".statehouse/stage")).unwrap().map(|entry| entry.unwrap().file_name());
    let own = own.map(|name| name.into_string().unwrap()).find(|name| name != "lock").unwrap();
    let expected = [
        ".statehouse/",
        ".statehouse/format",
        ".statehouse/locks/",
        ".statehouse/locks/07",
        ".statehouse/locks/07-turn",
        ".statehouse/locks/0f",
        ".statehouse/locks/0f-turn",
        ".statehouse/locks/12",
        ".statehouse/locks/12-turn",
        ".statehouse/locks/13",
        ".statehouse/locks/13-turn",
        ".statehouse/locks/1d",
        ".statehouse/locks/1d-turn",
        ".statehouse/stage/",
        ".statehouse/stage/OWN/",
        ".statehouse/stage/OWN/lock",
        ".statehouse/stage/OWN/slots",
        ".statehouse/stage/lock",
        "n+/",
        "n+/%49%4d%47%201.%4a%50%47",
        "n+/%63on+/",
        "n+/%63on+/x%2e",
        &format!("n+/{}=/", "%d0%b6".repeat(23)),
        &format!("n+/{}=/{}", "%d0%b6".repeat(23), "%d0%b6".repeat(7)),
        "n+/a",
        "n+/a+/",
        "n+/a+/.statehouse-OWN-0",
        "n+/a+/b",
    ];
    let found: Vec<_> = tree(&dir.0).into_iter().map(|path| path.replace(&own, "OWN")).collect();
    assert_eq!(found, expected);
    assert_eq!(fs::read(dir.0.join(".statehouse/format")).unwrap(), b"statehouse files 1\n");
    let slots = fs::read(dir.0.join(".statehouse/stage").join(&own).join("slots")).unwrap();
    assert!(slots.starts_with(b"\x05\x00n+/a+"), "{slots:?}");
    drop(staged);
    // One byte of content, no description, and a footer.
    let file = fs::read(dir.0.join("n+/a")).unwrap();
    let etag = files.head("a").await.unwrap().etag;
    let mut golden = b"x\0\0\x01\0\0\0\0\0\0\0".to_vec();
    golden.extend_from_slice(crate::digest::Digest::of(b"x").as_bytes());
    golden.extend(file[43..59].iter());
    golden.extend_from_slice(b"\x02\0\0\0\x83\x16\xdc\x8c\x01\0\0\0");
    assert_eq!(file[..golden.len()], golden);
    assert_eq!(etag.as_str(), format!("\"{}\"", crate::digest::hex(&file[43..59])));
    assert_eq!(file[golden.len()..golden.len() + 4], crc32fast::hash(&golden[1..]).to_le_bytes());
    assert_eq!(file[golden.len() + 4..], *b"SHfile\r\n");
}

#[tokio::test]
async fn a_file_that_was_cut_or_changed_is_corrupt_and_never_short() {
    let dir = Dir::new();
    let files = dir.files().await;
    for len in [100_usize, 100_000, 3_000_000] {
        files.put("a", vec![7; len]).await.unwrap();
        let path = dir.0.join("n+/a");
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"x", len as u64 / 2).unwrap();
        assert_eq!(files.get("a").bytes().await.unwrap_err().kind(), ErrorKind::Corrupt, "changed, {len}");
        assert_eq!(files.copy("a", "b").await.unwrap_err().kind(), ErrorKind::Corrupt, "changed, {len}");
        files.put("a", vec![7; len]).await.unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(len as u64 / 2).unwrap();
        assert_eq!(files.get("a").bytes().await.unwrap_err().kind(), ErrorKind::Corrupt, "cut, {len}");
        assert_eq!(files.head("a").await.unwrap_err().kind(), ErrorKind::Corrupt, "cut, {len}");
        assert_eq!(files.copy("a", "b").await.unwrap_err().kind(), ErrorKind::Corrupt, "cut, {len}");
        assert_eq!(dir.all("n+"), [path], "no copy, and no litter");
    }
}

/// A footer may say that four gigabytes of description are before it, and they may be there: nobody reads them.
#[tokio::test]
async fn a_file_whose_trailer_is_longer_than_any_is_corrupt_and_not_read() {
    let dir = Dir::new();
    let files = dir.files().await;
    files.put("a", "").await.unwrap();
    let path = dir.0.join("n+/a");
    let written = fs::read(&path).unwrap();
    let mut footer = written[written.len() - format::FOOTER..].to_vec();
    for described in [1 << 24, u32::MAX] {
        footer[56..60].copy_from_slice(&described.to_le_bytes());
        let file = File::options().write(true).open(&path).unwrap();
        // A hole takes no room on the disk.
        file.set_len(u64::from(described)).unwrap();
        file.write_all_at(&footer, u64::from(described)).unwrap();
        for error in [files.head("a").await.unwrap_err(), files.get("a").await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert!(error.message().contains("longer than any is"), "{error}");
        }
    }
}

/// Of all 32 locks each is asked for by writers that overwrite, all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compare_and_set_gets_its_turn_beside_64_writers() {
    const ROUNDS: usize = 8;
    let dir = Dir::new();
    let config = LocalConfig::new(&dir.0).with_durability(Durability::Relaxed);
    let files = Files::new(Arc::new(LocalFileStore::open_with(config).await.unwrap()), Namespace::new("n").unwrap());
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let (files, ended) = (files.clone(), Arc::clone(&ended));
            tokio::spawn(async move {
                // Half of them overwrite the one that is compared, half files of their own.
                let name = if writer % 2 == 0 { format!("w{writer}") } else { "w".to_owned() };
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    files.put(&name, "x").await.unwrap();
                }
            })
        })
        .collect();
    let mut longest = Duration::ZERO;
    for name in ["w", "counter"] {
        files.put(name, "0").await.unwrap();
        let mut done = 0;
        for _ in 0..ROUNDS {
            let etag = files.head(name).await.unwrap().etag;
            let start = Instant::now();
            done += usize::from(files.put(name, "1").if_match(&etag).await.unwrap().stored().is_some());
            longest = longest.max(start.elapsed());
        }
        assert!(name == "w" || done == ROUNDS, "{done} of {ROUNDS}");
    }
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(longest < PATIENCE / 2, "{longest:?}");
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_ends_with_an_error() {
    let dir = Dir::new();
    let files = dir.files().await;
    files.put("a", vec![7; 3_000_000]).await.unwrap();
    let mut stream = files.get("a").stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    File::options().write(true).open(dir.0.join("n+/a")).unwrap().set_len(1_000_000).unwrap();
    let mut last = None;
    while let Some(piece) = stream.next().await {
        last = Some(piece);
    }
    assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_reader_keeps_its_file_while_it_is_replaced_and_deleted() {
    let dir = Dir::new();
    let files = dir.files().await;
    files.put("a", vec![7; 3_000_000]).await.unwrap();
    let object = files.get("a").await.unwrap();
    files.put("a", vec![8; 3_000_000]).await.unwrap();
    files.delete("a").await.unwrap();
    assert_eq!(object.bytes().await.unwrap(), vec![7; 3_000_000]);
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    for steps in [false, true] {
        let (dir, outside) = (Dir::new(), Dir::new());
        fs::write(outside.0.join("secret"), "secret").unwrap();
        drop(dir.store().await);
        fs::create_dir(dir.0.join("n+")).unwrap();
        symlink(outside.0.join("secret"), dir.0.join("n+/file")).unwrap();
        symlink(&outside.0, dir.0.join("n+/dir+")).unwrap();
        symlink(dir.0.join("n+"), dir.0.join("n+/loop+")).unwrap();
        let fd = File::open(&dir.0).unwrap().into();
        let root = if steps { Root::with_steps(fd) } else { Root::new(fd, Access::Write) };
        let disk = Arc::new(Disk::begin(root, &LocalConfig::new(&dir.0)).unwrap());
        let store = LocalFileStore::of(dir.0.clone(), disk);
        let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
        for name in ["file", "dir/secret", "loop/file"] {
            let error = files.get(name).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}, steps {steps}: {error:?}");
        }
        assert_eq!(files.put("dir/new", "x").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(files.delete("dir/secret").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1);
        // A put replaces a link, it does not write through it.
        files.put("file", "mine").await.unwrap();
        assert_eq!(fs::read_to_string(outside.0.join("secret")).unwrap(), "secret");
    }
}

fn begin(store: &LocalFileStore, key: &str) -> Staged {
    store.disk.create(&DiskName::of(&FileKey::new(key).unwrap()), &Condition::Always).unwrap()
}

#[tokio::test]
async fn what_a_store_that_ended_was_writing_is_swept_and_what_a_living_one_is_writing_is_not() {
    let dir = Dir::new();
    let living = dir.store().await;
    let staged = begin(&living, "n/a");
    let (dead, unknown) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let stage = dir.0.join(".statehouse/stage").join(dead);
    fs::create_dir(&stage).unwrap();
    for (slot, folder) in ["n+/b+/c+", "n+", "../.."].into_iter().enumerate() {
        let record = [&u16::try_from(folder.len()).unwrap().to_le_bytes(), folder.as_bytes()].concat();
        let slots = File::options().create(true).truncate(false).write(true).open(stage.join("slots")).unwrap();
        slots.write_all_at(&record, slot as u64 * 2048).unwrap();
    }
    fs::create_dir_all(dir.0.join("n+/b+/c+")).unwrap();
    fs::write(dir.0.join(format!("n+/b+/c+/.statehouse-{dead}-0")), "half a file").unwrap();
    fs::write(dir.0.join(format!("n+/.statehouse-{dead}-1")), "half a file").unwrap();
    // What a power cut left, which no record tells of; and what is somebody else's.
    let left = dir.0.join(format!("n+/.statehouse-{unknown}-7"));
    fs::write(&left, "half a file").unwrap();
    for name in [".statehouse-", ".statehouse-x-1", ".statehouse-fedcba98-1"] {
        fs::write(dir.0.join("n+").join(name), "foreign").unwrap();
    }
    let files = dir.files().await;
    assert!(!stage.exists() && !dir.0.join("n+/b+").exists());
    assert_eq!(dir.all("n+").len(), 5, "{:?}", dir.all("n+"));
    assert_eq!(files.list("").await.unwrap().entries.len(), 0);
    assert!(!left.exists());
    assert_eq!(dir.all("n+").len(), 4, "the living store's file and the foreign ones");
    drop((living, staged, files));
    assert_eq!(dir.all("n+").len(), 3);
    assert_eq!(fs::read_dir(dir.0.join(".statehouse/stage")).unwrap().count(), 1, "only the lock");
}

#[tokio::test]
async fn a_put_that_fails_leaves_no_file_and_no_directory() {
    let dir = Dir::new();
    let files = dir.files().await;
    let failing = || Body::from_stream(futures_util::stream::iter([Ok("begun"), Err("the client went away")]));
    files.put("a/b/c", failing()).await.unwrap_err();
    files.put("a/b/d", failing()).if_absent().await.unwrap_err();
    assert_eq!(fs::read_dir(dir.0.join("n+")).unwrap().count(), 0);
    files.put("a/b/c", "x").await.unwrap();
    assert_eq!(files.put("a/b/c", "y").if_absent().await.unwrap(), PutOutcome::Conflict);
    files.put("a/b/c", failing()).await.unwrap_err();
    assert_eq!(dir.all("n+"), [dir.0.join("n+/a+/b+/c")]);
}

#[tokio::test]
async fn something_else_in_the_place_of_a_file_is_told_by_every_verb() {
    let dir = Dir::new();
    let files = dir.files().await;
    let etag = files.put("b", "x").await.unwrap().etag;
    for (folder, name) in [("a", "a"), ("c/full", "c")] {
        fs::create_dir_all(dir.0.join("n+").join(folder)).unwrap();
        let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("y")]));
        let errors = [
            files.get(name).await.map(drop),
            files.head(name).await.map(drop),
            files.put(name, "y").await.map(drop),
            files.put(name, stream()).await.map(drop),
            files.put(name, "y").if_match(&etag).await.map(drop),
            files.delete(name).await.map(drop),
            files.delete(name).if_match(&etag).await.map(drop),
            files.copy(name, "z").await.map(drop),
            files.copy("b", name).await.map(drop),
        ];
        for (verb, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}, {verb}: {error:?}");
            assert!(!error.is_retryable());
        }
        assert_eq!(files.put(name, "y").if_absent().await.unwrap(), PutOutcome::Conflict);
        assert!(dir.0.join("n+").join(folder).is_dir(), "and it is left alone");
    }
    assert_eq!(dir.all("n+"), [dir.0.join("n+/b")]);
}

#[tokio::test]
async fn a_socket_or_a_pipe_in_the_place_of_a_file_is_no_file() {
    let dir = Dir::new();
    let files = dir.files().await;
    let etag = files.put("b", "x").await.unwrap().etag;
    let _socket = std::os::unix::net::UnixListener::bind(dir.0.join("n+/socket")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.0.join("n+/pipe")).status().unwrap().success());
    for name in ["socket", "pipe"] {
        let errors = [
            files.get(name).await.map(drop),
            files.head(name).await.map(drop),
            files.put(name, "y").if_match(&etag).await.map(drop),
            files.delete(name).if_match(&etag).await.map(drop),
            files.copy(name, "z").await.map(drop),
        ];
        for (verb, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}, {verb}: {error:?}");
            assert!(!error.is_retryable());
        }
        assert_eq!(files.put(name, "y").if_absent().await.unwrap(), PutOutcome::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_may_be_opened_and_closed_side_by_side() {
    let dir = Dir::new();
    let opens = (0..8).map(|_| {
        let path = dir.0.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                drop(LocalFileStore::open(&path).await.unwrap());
            }
        })
    });
    for task in opens.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn empty_directories_are_removed_and_foreign_files_are_left_alone() {
    let dir = Dir::new();
    let files = dir.files().await;
    files.put("a/b/c/d", "x").await.unwrap();
    files.put("a/e", "x").await.unwrap();
    fs::write(dir.0.join("n+/Upload.TMP"), "foreign").unwrap();
    fs::write(dir.0.join("n+/upload.tmp"), "foreign").unwrap();
    files.delete("a/b/c/d").await.unwrap();
    assert!(!dir.0.join("n+/a+/b+").exists());
    assert_eq!(files.list("").await.unwrap().entries.len(), 1);
    assert_eq!(files.get("upload.tmp").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(dir.all("n+").len(), 3);
}

#[tokio::test]
async fn a_directory_that_is_something_else_is_refused_by_name() {
    let dir = Dir::new();
    fs::write(dir.0.join("thesis.tex"), "x").unwrap();
    let error = LocalFileStore::open(&dir.0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "and nothing is written into it");
    let newer = Dir::new();
    drop(newer.store().await);
    fs::write(newer.0.join(".statehouse/format"), "statehouse files 2\n").unwrap();
    assert_eq!(LocalFileStore::open(&newer.0).await.unwrap_err().kind(), ErrorKind::InvalidConfig);
    let thesis = dir.0.join("thesis.tex");
    for root in [thesis.clone(), thesis.join("below"), dir.0.join("n\0l"), dir.0.join("n".repeat(300)), "/".into()] {
        for access in [Access::Write, Access::Read] {
            let config = LocalConfig::new(&root).with_access(access);
            let error = LocalFileStore::open_with(config).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{root:?} {access:?}: {error:?}");
            assert!(error.setting().is_some(), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_deleters_and_listers_of_neighbours_do_not_lose_their_directory() {
    let dir = Dir::new();
    let config = LocalConfig::new(&dir.0).with_durability(Durability::Relaxed);
    let files = Files::new(Arc::new(LocalFileStore::open_with(config).await.unwrap()), Namespace::new("n").unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let files = files.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    let name = format!("a/b/{task}");
                    files.put(&name, "x").await.unwrap();
                    assert_eq!(files.delete(&name).await.unwrap(), Deleted::Removed);
                }
            })
        })
        .collect();
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        for prefix in ["", "a/", "a/b/"] {
            files.list(prefix).await.unwrap();
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(dir.all("n+"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_source_that_says_nothing_any_more_is_given_up_and_leaves_nothing() {
    let dir = Dir::new();
    let within = async |silence| {
        let config = LocalConfig::new(&dir.0).with_body_timeout(silence);
        Files::new(Arc::new(LocalFileStore::open_with(config).await.unwrap()), Namespace::new("n").unwrap())
    };
    let files = within(Duration::from_millis(100)).await;
    for len in [0, 1000, 3 << 20] {
        let begun = futures_util::stream::iter([Ok::<_, statehouse_core::Error>(vec![7; len])]);
        let body = Body::from_stream(begun.chain(futures_util::stream::pending()));
        let error = tokio::time::timeout(Duration::from_secs(30), files.put("a", body)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains("body_timeout"), "{error}");
    }
    assert_eq!(dir.all("n+"), Vec::<PathBuf>::new());
    // One that is slow is none, however long all of it takes.
    let files = within(Duration::from_secs(2)).await;
    let pieces = futures_util::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (sent < 10).then(|| (Ok::<_, statehouse_core::Error>("x"), sent + 1))
    });
    assert_eq!(files.put("a", Body::from_stream(pieces)).await.unwrap().len, 10);
}

/// More than tokio has threads for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_for_the_lock_of_one_file_keep_no_read_waiting() {
    let dir = Dir::new();
    let store = LocalFileStore::open_with(LocalConfig::new(&dir.0).with_durability(Durability::Relaxed)).await.unwrap();
    let files = Files::new(Arc::new(store.clone()), Namespace::new("n").unwrap());
    files.put("large", vec![7; 1 << 20]).await.unwrap();
    let etag = files.put("a", "x").await.unwrap().etag;
    let disk = Arc::clone(&store.disk);
    let held = disk.writing.as_ref().unwrap().locks.of_key("n/a", Share::Alone, PATIENCE).unwrap();
    let put = || {
        let (files, etag) = (files.clone(), etag.clone());
        tokio::spawn(async move { files.put("a", "y").if_match(&etag).await })
    };
    let puts: Vec<_> = (0..600).map(|_| put()).collect();
    let begun = Instant::now();
    while store.disk.writers.available_permits() > 0 && begun.elapsed() < PATIENCE / 4 {
        tokio::task::yield_now().await;
    }
    let read = tokio::time::timeout(PATIENCE / 2, async { files.get("large").await.unwrap().bytes().await });
    assert_eq!(read.await.expect("it is read while they wait").unwrap().len(), 1 << 20);
    drop(held);
    let mut stored = 0;
    for put in puts {
        stored += usize::from(put.await.unwrap().unwrap().stored().is_some());
    }
    assert_eq!(stored, 1);
}
