//! A program of one's own. Here it is this very binary, which serves HTTP if it is told to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use statehouse_testkit::{Program, ProgramBuilder};

use crate::leftovers::processes_with;

const CHILD: &str = "STATEHOUSE_TESTKIT_PROGRAM";

fn program(behavior: &str) -> ProgramBuilder {
    let this = std::env::current_exe().unwrap();
    let builder = Program::builder("program", this).arg("program::it_serves_when_told_to").arg("--exact");
    builder.arg("--nocapture").arg("{address}").env(CHILD, behavior)
}

/// The program that the tests below start. The address is its last argument, which the test runner takes for a filter.
#[test]
fn it_serves_when_told_to() {
    let Ok(behavior) = std::env::var(CHILD) else { return };
    let listener = TcpListener::bind(std::env::args().next_back().unwrap()).unwrap();
    assert_eq!(behavior, "serve", "this one fails after a word");
    let mut asked = 0;
    for stream in listener.incoming() {
        let (mut stream, mut request) = (stream.unwrap(), [0; 1024]);
        let length = stream.read(&mut request).unwrap();
        asked += 1;
        let path = String::from_utf8_lossy(&request[..length]).split(' ').nth(1).unwrap_or_default().to_owned();
        // Ready only when it is asked for the third time.
        let status = if path == "/ready" && asked < 3 { "503 Not Yet" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        writeln!(std::io::stdout(), "asked for {path}").unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

async fn answers(program: &Program) -> bool {
    let asked = program.request("GET", "/hello", &[], b"");
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
    matches!(answer, Ok(Ok(response)) if response.text() == "/hello")
}

#[tokio::test]
async fn it_is_waited_for_paused_killed_and_started_again_at_its_address() {
    let program = program("serve").ready_at("/ready").start().await;
    assert!(program.log().unwrap().matches("asked for /ready").count() >= 3, "{}", program.log().unwrap());
    assert!(answers(&program).await);
    program.pause();
    assert!(!answers(&program).await);
    program.resume();
    assert!(answers(&program).await);

    let (address, first) = (program.address().to_owned(), program.id());
    program.kill();
    assert!(!answers(&program).await && !program.is_running());
    program.restart().await;
    assert!(answers(&program).await && program.is_running());
    assert_eq!((program.address(), program.id() == first), (&*address, false));
    let log = program.log().unwrap();
    assert!(log.matches("asked for /hello").count() >= 3, "the log goes on: {log}");

    drop(program);
    assert_eq!(processes_with(&address), [""; 0]);
}

#[tokio::test]
async fn it_is_asked_to_end_and_says_how_it_did() {
    let program = program("serve").start().await;
    program.pause();
    let still = program.terminate(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::TimedOut);
    program.resume();
    let status = program.terminate(Duration::from_secs(10)).await.unwrap();
    assert!(!status.success(), "it has no handler for the signal: {status}");
}

#[tokio::test]
async fn one_that_does_not_start_says_why() {
    let error = program("fail").try_start().await.unwrap_err().to_string();
    assert!(error.contains("program ended") && error.contains("this one fails after a word"), "{error}");
    let error = Program::builder("program", "/nonexistent/program").try_start().await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/program did not start"), "{error}");
}
