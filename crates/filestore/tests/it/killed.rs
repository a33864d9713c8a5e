//! A process that stores files is killed; what it had acknowledged is there, and nothing else is seen.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use statehouse_core::Namespace;
use statehouse_filestore::{Body, Files, LocalFileStore};

const DIRECTORY: &str = "STATEHOUSE_TEST_KILLED_DIRECTORY";
const PUTS: usize = 500;
const FILES: usize = 50;

fn content(put: usize) -> Vec<u8> {
    let mut content = format!("{put}\n").into_bytes();
    content.resize(200 + put * 7919 % 300_000, u8::try_from(put % 251).unwrap());
    content
}

async fn files(directory: &str) -> Files {
    let store = LocalFileStore::open(directory).await.unwrap();
    Files::new(Arc::new(store), Namespace::new("n").unwrap())
}

/// Not a test of its own: the process that the other test starts and kills. Started by hand it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let files = files(&directory).await;
    for put in 0..PUTS {
        let name = format!("dir/{}", put % FILES);
        let body = match put % 2 {
            0 => Body::from(content(put)),
            _ => Body::from_stream(futures_util::stream::iter(
                content(put).chunks(4096).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
            )),
        };
        files.put(&name, body).await.unwrap();
        use std::io::Write;
        writeln!(std::io::stdout(), "\nacknowledged {put}").unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_whole_and_nothing_partial_is_seen() {
    let mut kills = 0;
    for round in 0..8_u32 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("files");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::the_process_that_is_killed", "--nocapture"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed after a number of acknowledgements, and then some microseconds into the next put.
        let mut acknowledged = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(put) = line.strip_prefix("acknowledged ") else { continue };
            acknowledged = Some(put.parse::<usize>().unwrap());
            if acknowledged >= Some(20 + 57 * usize::try_from(round).unwrap()) && kills == round {
                std::thread::sleep(Duration::from_micros(u64::from(round) * 137));
                child.kill().unwrap();
                kills += 1;
            }
        }
        child.wait().unwrap();
        check(path.to_str().unwrap(), acknowledged.unwrap()).await;
    }
    assert_eq!(kills, 8);
}

async fn check(path: &str, acknowledged: usize) {
    let files = files(path).await;
    let stage = std::fs::read_dir(format!("{path}/.statehouse/stage")).unwrap().flatten();
    let stages: Vec<_> = stage.filter(|entry| entry.file_type().unwrap().is_dir()).collect();
    assert_eq!(stages.len(), 1, "only the stage of the store that is open now");
    assert_eq!(half_written(std::path::Path::new(path)), Vec::<std::path::PathBuf>::new());
    let mut found = HashMap::new();
    let entries: Vec<_> = files.list("").stream().try_collect().await.unwrap();
    for entry in entries {
        let name = files.name(&entry.key).unwrap();
        let read = files.get(name).bytes().await.unwrap();
        let put: usize =
            std::str::from_utf8(read.split(|byte| *byte == b'\n').next().unwrap()).unwrap().parse().unwrap();
        assert_eq!(read, content(put), "{name} is whole");
        found.insert(name.to_owned(), put);
    }
    for put in (0..=acknowledged).rev().take(FILES) {
        let name = format!("dir/{}", put % FILES);
        assert!(found.get(&name) >= Some(&put), "put {put} was acknowledged, {name} is {:?}", found.get(&name));
    }
}

/// What a store was writing, beside the files.
fn half_written(below: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(half_written(&entry.path()));
        } else if entry.file_name().to_str().is_some_and(|name| name.starts_with(".statehouse-")) {
            found.push(entry.path());
        }
    }
    found
}
