//! Whole programs that are told to stop by signals. Here each is this very binary, which serves if it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use clinic_fleet::Balancer;
use statehouse::{Config, Services};
use statehouse_testkit::{Program, ProgramBuilder, RedisServer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CHILD: &str = "STATEHOUSE_TEST_PROGRAM";
/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(60);

/// The README's first program, as it stands there.
mod first_screen;

fn program(behavior: &str) -> ProgramBuilder {
    let this = std::env::current_exe().unwrap();
    let builder = Program::builder("program", this).arg("program::it_serves_when_told_to").arg("--exact");
    builder.arg("--nocapture").arg("{address}").env(CHILD, behavior).ready_at("/ready")
}

/// The program that the tests below start. The address is its last argument, which the test runner takes for a filter.
#[test]
fn it_serves_when_told_to() {
    match std::env::var(CHILD).as_deref() {
        Ok("first screen") => first_screen::main().unwrap(),
        Ok("opening") => opening(),
        Ok(_) => patient(),
        Err(_) => {}
    }
}

/// Waits for what is under way as long as anybody likes.
#[tokio::main(flavor = "current_thread")]
async fn patient() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let listener = TcpListener::bind(std::env::args().next_back().unwrap()).await.unwrap();
    let app = Router::new().route("/for-ever", get(std::future::pending::<()>));
    let operations = services.operations().delay(10 * SOON).drain_within(20 * SOON);
    operations.serve(listener, app).await.unwrap();
}

/// Cannot serve before its files are open, and their server never answers. It is ready to be told at its address.
#[tokio::main(flavor = "current_thread")]
async fn opening() {
    let services = Services::open(Config::from_env().unwrap()).await.unwrap();
    let _scans = services.files("scans").unwrap();
    let at = TcpListener::bind(std::env::args().next_back().unwrap()).await.unwrap();
    let here = axum::serve(at, Router::new().route("/ready", get(|| async {})));
    let _here = tokio::spawn(async move { here.await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    services.operations().serve(listener, Router::new()).await.unwrap();
}

#[tokio::test]
async fn a_signal_ends_a_program_that_waits_for_a_service() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let s3 = format!("s3://key:secret@b?endpoint=http://{}&allow_http=true&timeout=1h", silent.local_addr().unwrap());
    let program = program("opening").env("STATEHOUSE_FILES_URL", s3).start().await;
    let _asks = timeout(SOON, silent.accept()).await.expect("it opens its files").unwrap();
    let status = program.terminate(SOON).await.expect("it ends");
    assert!(status.success(), "{status}: {}", program.log().unwrap());
}

#[tokio::test]
async fn a_signal_makes_unready_and_a_second_one_forces() {
    let program = program("patient").start().await;
    let first = program.terminate(Duration::from_millis(100)).await;
    assert_eq!(first.unwrap_err().kind(), std::io::ErrorKind::TimedOut, "it waits for load balancers");
    let start = Instant::now();
    while program.request("GET", "/ready", &[], b"").await.unwrap().status != 503 {
        assert!(start.elapsed() < SOON, "{}", program.log().unwrap());
    }
    assert_eq!(program.request("GET", "/live", &[], b"").await.unwrap().status, 200);
    let never = program.request("GET", "/for-ever", &[], b"");
    assert!(timeout(Duration::from_millis(300), never).await.is_err(), "it is under way");
    let status = program.terminate(SOON).await.unwrap();
    assert!(status.success(), "{status}: {}", program.log().unwrap());
}

/// What one client saw who logs in again and again until told to stop: how often that worked, and what did not.
async fn log_in(
    balancer: String,
    stop: tokio::sync::watch::Receiver<()>,
    done: Arc<AtomicUsize>,
) -> (usize, Vec<String>) {
    const LOG_IN: &str = "POST /login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\
                          Content-Type: application/x-www-form-urlencoded\r\n\r\nname=ada";
    let (mut worked, mut failed) = (0, Vec::new());
    while !stop.has_changed().unwrap() {
        match crate::exchange(&balancer, LOG_IN).await {
            Ok(answer) if answer.starts_with("HTTP/1.1 303") && answer.contains("set-cookie: ") => {
                worked += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            other => failed.push(format!("{other:?}")),
        }
    }
    (worked, failed)
}

/// Log-ins change something, so the balancer repeats none that was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_from_the_readme_a_program_is_restarted_as_two_replicas_and_no_request_fails() {
    let redis = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let shared = ["STATEHOUSE_SESSIONS_URL", "STATEHOUSE_COORDINATION_URL"];
    let replica =
        || shared.iter().fold(program("first screen"), |program, name| program.env(name, redis.url())).start();
    let replicas = <[Program; 2]>::from(tokio::join!(replica(), replica()));
    let addresses = replicas.each_ref().map(|replica| replica.address().parse().unwrap());
    let balancer = Balancer::start("127.0.0.1:0", &addresses).await.unwrap();
    let all_ready = async || {
        let start = Instant::now();
        while !balancer.states().iter().all(|state| state.ready) {
            assert!(start.elapsed() < SOON, "{:?}", balancer.states());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    all_ready().await;
    let (stop, stopped) = tokio::sync::watch::channel(());
    let address = balancer.address().to_string();
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients: JoinSet<_> = (0..4).map(|_| log_in(address.clone(), stopped.clone(), Arc::clone(&done))).collect();
    for (turn, replica) in (1..).zip(&replicas) {
        let start = Instant::now();
        while done.load(Ordering::Relaxed) <= 20 * turn {
            assert!(start.elapsed() < SOON, "{:?}", balancer.states());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = replica.terminate(SOON).await.unwrap();
        assert!(status.success(), "{status}: {}", replica.log().unwrap());
        replica.restart().await;
        all_ready().await;
    }
    stop.send_replace(());
    let (mut worked, mut failed) = (0, Vec::new());
    while let Some(client) = clients.join_next().await {
        let (some, others) = client.unwrap();
        worked += some;
        failed.extend(others);
    }
    let states = balancer.states();
    assert_eq!(failed, Vec::<String>::new(), "of {worked}: {states:?}");
    assert!(worked > 40 && states.iter().all(|state| state.answered > 0 && state.failed == 0), "{worked}: {states:?}");
}
