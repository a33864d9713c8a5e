//! What a process leaves behind when it ends without dropping its servers.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use statehouse_testkit::RedisServer;

/// Set in the child process that this binary starts itself as: how it is to end.
const CHILD: &str = "STATEHOUSE_TESTKIT_CHILD";

/// Waits until `gone` holds.
pub(crate) fn eventually(what: &str, gone: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The ids of the processes whose command line or working folder mentions `text`.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let proc = Path::new("/proc").read_dir().expect("these tests need /proc");
    proc.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let id = folder.file_name()?.to_str()?.to_owned();
        id.parse::<u32>().ok()?;
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let cwd = folder.join("cwd").read_link().unwrap_or_default();
        (String::from_utf8_lossy(&line).contains(text) || cwd.to_string_lossy().contains(text)).then_some(id)
    })
    .collect()
}

/// Also the process that the tests below start, to see what becomes of a server in a static.
#[tokio::test]
async fn the_shared_server_is_one() {
    let (one, two) = (RedisServer::shared().await, RedisServer::shared().await);
    assert_eq!(one.url(), two.url());
    let folder = one.command(&["CONFIG", "GET", "dir"]).await.unwrap();
    let Ok(ending) = std::env::var(CHILD) else { return };
    writeln!(std::io::stdout(), "server {} {folder:?}", two.address()).unwrap();
    if ending == "hang" {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn folder_in(line: &str) -> PathBuf {
    line.split('"').find(|part| part.starts_with('/')).expect("no folder in the child's line").into()
}

/// Runs the test above as a process of its own until it has said where its server is; returns the server's folder.
fn child_that(ending: &str) -> (std::process::Child, PathBuf) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["leftovers::the_shared_server_is_one", "--exact", "--nocapture"])
        .env(CHILD, ending)
        .env_remove("STATEHOUSE_TEST_REDIS_URL")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("server 127.0.0.1:")).expect("the child started no server");
    let folder = folder_in(&line);
    std::thread::spawn(move || lines.count());
    (child, folder)
}

fn is_gone(folder: &Path) -> bool {
    !folder.exists() && processes_with(&folder.to_string_lossy()).is_empty()
}

#[test]
fn a_shared_server_ends_with_its_process() {
    let (mut child, folder) = child_that("exit");
    assert!(child.wait().unwrap().success());
    eventually("a server or its folder outlived a process that exited", || is_gone(&folder));
}

#[test]
fn a_server_ends_when_its_process_is_killed() {
    let (mut child, folder) = child_that("hang");
    assert!(!is_gone(&folder));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("a server or its folder outlived a process that was killed", || is_gone(&folder));
}
