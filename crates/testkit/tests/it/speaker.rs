//! A process of the tests' own that ends with whoever started it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use statehouse_testkit::Speaker;

const CHILD: &str = "STATEHOUSE_TESTKIT_SPEAKER";

/// The process that the test below starts, which has no end of its own.
#[test]
fn the_process_that_never_ends() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    Speaker::end_with_parent();
    loop {
        std::thread::park();
    }
}

#[test]
fn one_that_never_ends_is_gone_when_its_parent_is() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "speaker::the_process_that_never_ends", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    // As the kernel does it for a parent that was killed.
    drop(child.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on without its parent");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
}
