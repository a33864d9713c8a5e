//! What a server does with its connections as the system has them: sockets, and file descriptors of which there are few.

use std::fs;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use statehouse::core::conformance::Warnings;
use statehouse::{Config, Operations, Services};
use statehouse_testkit::{Program, ProgramBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const CHILD: &str = "STATEHOUSE_TEST_CONNECTIONS";
/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(60);
/// How many files the programs below may have open.
const FILES: usize = 64;

const KEPT: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

async fn serve(settings: impl FnOnce(Operations) -> Operations) -> SocketAddr {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(|| async { "hello" }));
    let operations = settings(services.operations().delay(Duration::ZERO));
    tokio::spawn(operations.serve_until(listener, app, std::future::pending::<()>()));
    address
}

/// A client that was answered on a connection that is kept.
async fn answered(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(KEPT.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"hello") {
        let read = timeout(SOON, client.read(&mut buffer)).await.expect("an answer").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    client
}

/// The other end of a client's connection, which this process has as well.
fn other_end(client: &TcpStream) -> StdStream {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let numbers = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let sockets = numbers.filter_map(|number| {
        let is_socket = fs::read_link(format!("/proc/self/fd/{number}")).ok()?.to_str()?.starts_with("socket:");
        is_socket.then(|| pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok())?
    });
    let mut streams = sockets.map(StdStream::from);
    let of = Some(client.local_addr().unwrap());
    streams.find(|stream| stream.peer_addr().ok() == of).expect("the server's end")
}

/// With Nagle's algorithm, an answer of more than one piece waits for the client's delayed acknowledgement: 40 ms.
#[tokio::test]
async fn small_answers_wait_for_no_acknowledgement() {
    let client = answered(serve(|operations| operations).await).await;
    assert!(other_end(&client).nodelay().unwrap());
}

#[tokio::test]
async fn a_connection_that_is_kept_and_not_used_is_ended() {
    let address = serve(|operations| operations.head_within(Duration::from_secs(1)).max_connections(1)).await;
    let mut idle = answered(address).await;
    // There is room for one connection, and it is not let go of by whom it belongs to.
    drop(answered(address).await);
    let rest = timeout(SOON, idle.read(&mut [0])).await.expect("it is ended");
    assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
}

fn program(behavior: &str) -> ProgramBuilder {
    let this = std::env::current_exe().unwrap();
    // The address, which is the last argument, the test runner takes for a filter.
    Program::builder("program", "/bin/sh")
        .arg("-c")
        .arg(format!("ulimit -n {FILES} && exec \"$0\" \"$@\""))
        .arg(this)
        .arg("connections::it_serves_with_few_files_when_told_to")
        .arg("--exact")
        .arg("--nocapture")
        .arg("{address}")
        .env(CHILD, behavior)
        .ready_at("/ready")
}

/// Not a test of its own: the program that the tests below start.
#[test]
fn it_serves_with_few_files_when_told_to() {
    if let Ok(behavior) = std::env::var(CHILD) {
        few_files(&behavior);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn few_files(behavior: &str) {
    let warnings = Arc::new(Warnings::default());
    let _listening = tracing::subscriber::set_default(Warnings::clone(&warnings));
    let services = Services::open(Config::in_memory()).await.unwrap();
    let listener = TcpListener::bind(std::env::args().next_back().unwrap()).await.unwrap();
    let said = move || {
        let said = warnings.lines().iter().filter(|line| line.contains("serve.accept_failed")).count();
        async move { said.to_string() }
    };
    // What an application opens to answer.
    let opens = || async {
        let opened: Result<Vec<_>, _> = (0..4).map(|_| fs::File::open("/proc/self/status")).collect();
        opened.map_or_else(
            |error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            |_| (StatusCode::OK, "".into()),
        )
    };
    let app = Router::new().route("/said", get(said)).route("/opens", get(opens));
    let mut operations = services.operations().delay(Duration::ZERO).drain_within(Duration::from_secs(1));
    operations = operations.head_within(Duration::from_secs(5));
    if behavior == "too many connections" {
        operations = operations.max_connections(10 * FILES);
    }
    operations.serve(listener, app).await.unwrap();
}

/// As many clients as the program can have files, twice; they say nothing.
async fn crowd(program: &Program) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..2 * FILES {
        clients.push(TcpStream::connect(program.address()).await.unwrap());
    }
    clients
}

#[tokio::test]
async fn connections_leave_files_for_the_application_and_idle_ones_leave_room_for_others() {
    let program = program("as it comes").start().await;
    let crowd = crowd(&program).await;
    for path in ["/live", "/opens", "/said"] {
        let answer = timeout(SOON, program.request("GET", path, &[], b"")).await.expect("an answer").unwrap();
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{path}: {body}");
        assert!(path != "/said" || body == "0", "{body} lines: every connection could be accepted");
    }
    drop(crowd);
}

#[tokio::test]
async fn that_no_connection_can_be_accepted_is_said_once_and_passes() {
    let program = program("too many connections").start().await;
    for trouble in 1..=2 {
        let crowd = crowd(&program).await;
        // Ten further tries, none of which finds a free descriptor.
        sleep(Duration::from_secs(1)).await;
        drop(crowd);
        // It is over when connections have been accepted for two seconds.
        sleep(Duration::from_secs(10)).await;
        let begun = Instant::now();
        let said = loop {
            if let Ok(said) = program.request("GET", "/said", &[], b"").await {
                break String::from_utf8(said.body).unwrap();
            }
            assert!(begun.elapsed() < SOON, "it accepts no more: {}", program.log().unwrap());
        };
        assert_eq!(said, trouble.to_string(), "one line for each time");
    }
}
