//! One server: stopped, paused, black-holed, half-open, cut.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use statehouse_core::policy::BreakerState;
use statehouse_core::{ErrorKind, Result};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::load::Load;
use crate::stub::stub;
use crate::{generously, open, opened, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

async fn get(client: &RedisClient) -> Result<Option<String>> {
    client.query(cmd("GET").arg("k"), YES).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_gives_typed_errors_and_is_found_again() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.restart().await;
    let recovery = until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
    println!("stopped: recovered {recovery:?} after the restart");
    let slowest = load.end("stopped").await.slowest;
    assert!(recovery < generously(Duration::from_secs(2)));
    assert!(slowest < generously(Duration::from_millis(3500)), "the deadline is 3 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_idle_costs_no_operation() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    for _ in 0..3 {
        server.restart().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        // A restart that took long has opened it; nothing is sent by asking.
        until(Duration::from_secs(30), async || client.breaker() == BreakerState::Closed).await;
        // Not idempotent: it would fail if it were sent on the closed connection.
        client.query::<i64>(cmd("INCR").arg("n"), NO).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_times_out_within_the_deadline_and_recovers() {
    let server = RedisServer::start().await;
    let client = opened(&format!("{}?timeout=300ms&deadline=1s", server.url())).await;
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.pause();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let error = get(&client).await.unwrap_err();
    println!("paused: {error} after {:?}", begun.elapsed());
    assert!(begun.elapsed() < generously(Duration::from_millis(1300)));
    server.resume();
    let recovery = until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
    let tally = load.end("paused").await;
    println!("paused: recovered {recovery:?} after it went on");
    let slowest = tally.slowest;
    assert!(tally.failed > 0 && slowest < generously(Duration::from_millis(1400)), "{slowest:?}");
    assert!(recovery < generously(Duration::from_secs(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_gives_timeouts_within_the_deadline() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&format!("{}?deadline=2s", proxy.url(&server.url()))).await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.black_hole();
    let begun = Instant::now();
    let error = get(&client).await.unwrap_err();
    println!("black hole: {error} after {:?}", begun.elapsed());
    assert!([ErrorKind::Timeout, ErrorKind::Unavailable].contains(&error.kind()), "{error:?}");
    assert!(begun.elapsed() < generously(Duration::from_millis(2500)));
    proxy.heal();
    let recovery = until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
    let tally = load.end("black hole").await;
    tally.assert_exact(&client).await;
    let slowest = tally.slowest;
    println!("black hole: recovered {recovery:?} after the network did");
    assert!(recovery < generously(Duration::from_secs(2)));
    assert!(slowest < generously(Duration::from_millis(2500)), "{slowest:?}");
}

/// The live connections lead to a server that no longer answers; new ones to one that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced_within_two_seconds() {
    for round in 0..3 {
        let (silent, live) = (RedisServer::start().await, RedisServer::start().await);
        let proxy = FaultProxy::start(silent.address());
        let client = open(&format!("{}?deadline=20s", proxy.url(&silent.url()))).await.unwrap();
        get(&client).await.unwrap();
        proxy.retarget(live.address());
        silent.pause();
        let begun = Instant::now();
        // Idempotent: it is sent again by itself, once the connection is replaced.
        until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
        println!("half-open, round {round}: noticed, replaced and answered in {:?}", begun.elapsed());
        assert!(begun.elapsed() < generously(Duration::from_secs(2)));
        let begun = Instant::now();
        get(&client).await.unwrap();
        assert!(begun.elapsed() < generously(Duration::from_millis(500)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_connection_is_replaced_the_other_serves() {
    let (live, silent) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(live.address());
    let client = open(&proxy.url(&live.url())).await.unwrap();
    // The number alone is no name: each server counts for itself.
    let id = async || {
        let info: String = client.query(cmd("CLIENT").arg("INFO"), YES).await.unwrap();
        info.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    };
    let first = id().await;
    until(Duration::from_secs(30), async || id().await != first).await;
    // What connects from now on waits for its handshake.
    silent.pause();
    proxy.retarget(silent.address());
    let number = first.split_whitespace().next().unwrap().strip_prefix("id=").unwrap();
    live.command(&["CLIENT", "KILL", "ID", number]).await.unwrap();
    let begun = Instant::now();
    let mut served = Vec::new();
    for _ in 0..20 {
        served.push(id().await);
    }
    assert!(begun.elapsed() < generously(Duration::from_millis(500)), "{:?}", begun.elapsed());
    assert!(served.iter().all(|id| *id == served[0] && *id != first), "{served:?}");
    proxy.retarget(live.address());
    silent.resume();
    until(Duration::from_secs(30), async || id().await != served[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced_whatever_the_timeout_is() {
    for timeout in ["100ms", "30s"] {
        let (silent, live) = (RedisServer::start().await, RedisServer::start().await);
        let proxy = FaultProxy::start(silent.address());
        let client = open(&format!("{}?timeout={timeout}", proxy.url(&silent.url()))).await.unwrap();
        proxy.retarget(live.address());
        silent.pause();
        let recovery = until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
        println!("half-open with timeout={timeout}: answered after {recovery:?}");
        assert!(recovery < generously(Duration::from_secs(2)), "{recovery:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_what_must_not_be_repeated_is_outcome_unknown() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    proxy.black_hole_way(Direction::ToClient);
    let error = client.query::<i64>(cmd("INCR").arg("n"), NO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!(!error.is_retryable());
    proxy.heal();
    until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
    assert_eq!(server.command(&["GET", "n"]).await.unwrap().text(), Some("1"), "executed once, not repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_replaced_and_idempotent_operations_do_not_notice() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let patient = "connect_timeout=10s&timeout=10s&deadline=60s";
    let client = open(&format!("{}?{patient}", proxy.url(&server.url()))).await.unwrap();
    let load = Load::start(&client);
    for _ in 0..10 {
        // Repetitions are paid for by what succeeds.
        let before = load.sets();
        until(Duration::from_secs(30), async || load.sets() >= before + 100).await;
        proxy.reset_connections();
    }
    let tally = load.end("ten resets").await;
    assert_eq!(tally.failed, 0);
    tally.assert_exact(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_redis_is_an_error_within_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let begun = Instant::now();
    let error = open(&format!("redis://127.0.0.1:{port}")).await.unwrap_err();
    println!("not Redis: {error} after {:?}", begun.elapsed());
    assert!(begun.elapsed() < generously(Duration::from_millis(3500)));
    assert!([ErrorKind::InvalidConfig, ErrorKind::Unavailable].contains(&error.kind()), "{error:?}");
}

/// Logs a client in, and then sends `answer` again and again, whatever is asked.
async fn endless(answer: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The commands of the handshake come at once, those of the client when it is done.
                let mut request = vec![0; 4096];
                let _handshake = stream.read(&mut request).await?;
                stream.write_all(b"%1\r\n+proto\r\n:3\r\n+OK\r\n+OK\r\n").await?;
                let _request = stream.read(&mut request).await?;
                let chunk = answer.repeat((1 << 20) / answer.len());
                for _ in 0..4096 {
                    stream.write_all(&chunk).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    format!("redis://{address}?max_answer=1MiB&deadline=3s")
}

/// The largest that this process has been, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_cut_off_before_it_fills_the_memory() {
    for answer in [&b"+"[..], b"*9\r\n", b"$1\r\nx\r\n-", b"*1000\r\n+a\r\n", b"$999999999999\r\n", b"x"] {
        let (before, begun) = (peak(), Instant::now());
        let error = open(&endless(answer).await).await.unwrap_err();
        let grown = peak().saturating_sub(before);
        println!("endless {:?}: {error} after {:?}, {grown} KiB", String::from_utf8_lossy(answer), begun.elapsed());
        assert!(begun.elapsed() < generously(Duration::from_millis(4500)));
        // Other tests run in this process; without a bound it is a gigabyte a second.
        assert!(grown < 300 << 10, "{grown} KiB");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_above_the_limit_is_too_large_and_others_go_on() {
    let server = RedisServer::start().await;
    let client = open(&format!("{}?max_answer=1MiB", server.url())).await.unwrap();
    let set = |key: &'static str, length: usize| cmd("SET").arg(key).arg(vec![b'x'; length]).clone();
    client.query::<()>(&set("large", 2 << 20), YES).await.unwrap();
    client.query::<()>(&set("fits", 1_000_000), YES).await.unwrap();
    for _ in 0..3 {
        let error = client.query::<Vec<u8>>(cmd("GET").arg("large"), YES).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        assert!(!error.is_retryable() && error.to_string().contains("1048576 bytes"), "{error}");
        let fits: Vec<u8> = client.query(cmd("GET").arg("fits"), YES).await.unwrap();
        assert_eq!(fits.len(), 1_000_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_became_a_replica_is_left_for_its_successor() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(old.address());
    let client = open(&proxy.url(&old.url())).await.unwrap();
    // As a failover behind one name or virtual address: live connections stay with what is a replica now.
    proxy.retarget(new.address());
    let (host, port) = new.address().split_once(':').unwrap();
    old.command(&["REPLICAOF", host, port]).await.unwrap();
    let begun = Instant::now();
    client.query::<i64>(cmd("INCR").arg("n"), NO).await.unwrap();
    println!("READONLY: written to the successor after {:?}", begun.elapsed());
    assert_eq!(new.command(&["GET", "n"]).await.unwrap().text(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cut_in_the_middle_is_asked_for_again() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    let value = "x".repeat(1 << 20);
    client.query::<()>(cmd("SET").arg("k").arg(&value), YES).await.unwrap();
    proxy.truncate(Direction::ToClient, 300_000);
    let asker = client.clone();
    let asking = tokio::spawn(async move { get(&asker).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.heal();
    match asking.await.unwrap() {
        Ok(whole) => assert_eq!(whole, Some(value)),
        // Where this machine was too busy to heal the network before all tries were cut.
        Err(error) => assert!(error.is_retryable(), "{error:?}"),
    }
    // In the middle of a length, and of a text.
    for bytes in [1, 3, 60] {
        proxy.truncate(Direction::ToClient, bytes);
        let error = get(&client).await.unwrap_err();
        assert!([ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind()), "{bytes}: {error:?}");
        proxy.heal();
        while get(&client).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_has_its_own_error_when_the_server_is_gone() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = opened(&format!("{}?timeout=300ms&deadline=600ms", proxy.url(&server.url()))).await;
    let add: Vec<_> = (0..50).map(|n| cmd("INCR").arg(format!("n{n}")).clone()).collect();
    proxy.black_hole_way(Direction::ToClient);
    let begun = Instant::now();
    let answers = client.query_many::<i64>(&add, NO).await;
    assert_eq!(answers.len(), 50);
    for answer in answers {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    }
    assert!(begun.elapsed() < generously(Duration::from_secs(1)), "{:?}", begun.elapsed());
    proxy.cut();
    // The second where no attempt to connect happens to fail before the deadline.
    let not_sent = [ErrorKind::Unavailable, ErrorKind::Timeout];
    until(Duration::from_secs(30), async || {
        let error = client.query::<i64>(cmd("INCR").arg("other"), NO).await.unwrap_err();
        not_sent.contains(&error.kind())
    })
    .await;
    for answer in client.query_many::<i64>(&add, NO).await {
        assert!(not_sent.contains(&answer.unwrap_err().kind()));
    }
    assert_eq!(server.command(&["GET", "n7"]).await.unwrap().text(), Some("1"));
}

/// Operations that are abandoned while the server is silent must not leave the connection unrepaired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_operations_leave_a_connection_that_heals() {
    let (silent, live) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(silent.address());
    let client = open(&proxy.url(&silent.url())).await.unwrap();
    proxy.retarget(live.address());
    silent.pause();
    let begun = Instant::now();
    let recovered = loop {
        // Each caller gives up long before this crate would.
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_millis(50), get(&client)).await {
            break answer;
        }
        assert!(
            begun.elapsed() < generously(Duration::from_secs(5)),
            "abandoning operations kept the connection from healing"
        );
    };
    println!("half-open, callers give up after 50 ms: answered after {:?}", begun.elapsed());
    assert_eq!(recovered, None);
}

#[tokio::test]
async fn an_answer_of_another_length_than_the_question_is_an_error() {
    for answer in ["*1\r\n$1\r\na\r\n", "*0\r\n", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "$-1\r\n", "+OK\r\n"] {
        let url = stub(move |words| (words[0] == "MGET").then(|| answer.to_owned())).await;
        let client = open(&format!("{url}?deadline=1s")).await.unwrap();
        let found = client.get_many(&["a", "b"]).await;
        assert!(found.is_err(), "{answer:?}: {found:?}");
    }
}

/// Who finds out that a connection is silent is a task, and may end with its runtime before it has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced_although_the_runtime_has_ended_that_was_to_find_out() {
    let (silent, live) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(silent.address());
    let client = open(&format!("{}?connections=1&deadline=20s", proxy.url(&silent.url()))).await.unwrap();
    get(&client).await.unwrap();
    proxy.retarget(live.address());
    silent.pause();
    let asker = client.clone();
    let asked = std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        other.block_on(async {
            let mut asked = pin!(get(&asker));
            poll_fn(|context| {
                let answer = asked.as_mut().poll(context);
                assert!(answer.is_pending(), "the server is paused");
                let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
                if tasks > 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    });
    asked.join().unwrap();
    let begun = Instant::now();
    until(Duration::from_secs(30), async || get(&client).await.is_ok()).await;
    println!("half-open, and nobody to find out: noticed, replaced and answered in {:?}", begun.elapsed());
}
