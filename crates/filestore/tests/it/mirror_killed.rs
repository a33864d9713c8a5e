//! A process that mirrors files is killed; what it was about is whole or not there, and the next one goes on.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use statehouse_core::Namespace;
use statehouse_core::conformance::rounds;
use statehouse_filestore::{Files, LocalFileStore};

use crate::mirror::{assert_equal, names};

const DIRECTORY: &str = "STATEHOUSE_TEST_MIRRORED_DIRECTORY";
const AFTER: &str = "STATEHOUSE_TEST_MIRRORED_AFTER";
const AHEAD: usize = 4;

async fn both(directory: &Path) -> (Files, Files) {
    let open = async |name: &str| {
        let store = LocalFileStore::open(directory.join(name)).await.unwrap();
        Files::new(Arc::new(store), Namespace::new("n").unwrap())
    };
    (open("from").await, open("to").await)
}

/// Not a test of its own: the process that the other test starts and kills. Started by hand it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (from, to) = both(Path::new(&directory)).await;
    let told = AtomicUsize::new(0);
    let mirror = from.mirror_to(&to).after(std::env::var(AFTER).unwrap()).progress(|done| {
        if let Some(last) = &done.last {
            writeln!(std::io::stdout(), "\nlast {last}").unwrap();
            // It runs ahead of whoever kills it by so many files and no more.
            if told.fetch_add(1, Ordering::Relaxed) >= AHEAD {
                std::io::stdin().read_line(&mut String::new()).unwrap();
            }
        }
    });
    assert_eq!(mirror.await.unwrap().failed, 0);
}

/// Runs it until it has told so many; gives the last that was told, and whether it was killed.
fn mirror_until(directory: &Path, after: &str, told: usize) -> (String, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mirror_killed::the_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(AFTER, after)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = child.stdin.take().unwrap();
    let (mut last, mut seen) = (after.to_owned(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(name) = line.strip_prefix("last ") else { continue };
        name.clone_into(&mut last);
        seen += 1;
        if seen == told {
            child.kill().unwrap();
        } else {
            // Nobody reads what is behind the last.
            let _ = heard.write_all(b"\n");
        }
    }
    (last, !child.wait().unwrap().success())
}

#[tokio::test]
async fn a_mirror_whose_process_is_killed_again_and_again_is_whole_in_the_end() {
    let (directory, files) = (tempfile::tempdir().unwrap(), rounds(200, 2_000));
    let (from, _to) = both(directory.path()).await;
    for n in 0..files {
        let content = vec![u8::try_from(n % 251).unwrap(); 100 + n * 7919 % 50_000];
        from.put(format!("{n:05}"), content).metadata("n", n.to_string()).await.unwrap();
    }
    let (mut last, mut kills) = (String::new(), 0);
    for told in [files / 20, 1, files / 4, 3, files / 3] {
        let (reached, is_killed) = mirror_until(directory.path(), &last, told);
        last = reached;
        kills += u32::from(is_killed);
        let (from, to) = both(directory.path()).await;
        let checked = to.check().await.unwrap();
        assert_eq!((checked.damaged, checked.failed, checked.undigested), (0, 0, 0), "{checked:?}");
        let there = names(&to).await;
        let missing = names(&from).await.into_iter().find(|name| *name <= last && !there.contains(name));
        assert_eq!(missing, None, "all up to {last} are there");
    }
    assert_eq!(kills, 5);
    let (from, to) = both(directory.path()).await;
    let done = from.mirror_to(&to).after(&*last).await.unwrap();
    assert!(done.copied > 0 && done.failed == 0, "{done:?}");
    assert_equal(&from, &to).await;
}
