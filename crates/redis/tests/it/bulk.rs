//! Large values travel beside the small ones, not in front of them, and have the time that they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{generously, open, until};

const YES: Idempotence = Idempotence::Idempotent;
const LARGE: usize = 16 << 20;

/// How long each of so many small reads took, in order of length.
async fn small_reads(client: &RedisClient, go_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut lasted = Vec::new();
    while go_on(lasted.len()) {
        let begun = Instant::now();
        assert_eq!(client.get(b"small").await.unwrap().as_deref(), Some(b"v".as_slice()));
        lasted.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    lasted.sort_unstable();
    lasted
}

fn p99(lasted: &[Duration]) -> Duration {
    lasted[(lasted.len() * 99 / 100).min(lasted.len() - 1)]
}

/// The ids of the connections that small requests take, in turn.
async fn connections(client: &RedisClient) -> [u64; 2] {
    let id = async || client.query::<u64>(cmd("CLIENT").arg("ID"), YES).await.unwrap();
    let mut ids = [id().await, id().await];
    ids.sort_unstable();
    ids
}

/// `rate` is in bytes per second, each way.
async fn beside_large_ones(rate: u64, rounds: usize) -> (Duration, Duration) {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    client.query::<()>(cmd("SET").arg("small").arg("v"), YES).await.unwrap();
    proxy.limit(Direction::ToServer, rate);
    proxy.limit(Direction::ToClient, rate);
    let idle = p99(&small_reads(&client, |done| done < 400).await);
    let before = connections(&client).await;
    let done = Arc::new(AtomicBool::new(false));
    let large = tokio::spawn({
        let (client, done) = (client.clone(), Arc::clone(&done));
        async move {
            let value = vec![b'x'; LARGE];
            for _ in 0..rounds {
                client.query::<()>(cmd("SET").arg("large").arg(&value), YES).await.unwrap();
                assert_eq!(client.get(b"large").await.unwrap().map(|value| value.len()), Some(LARGE));
                assert_eq!(client.get_many(&["large", "small"]).await.unwrap()[0].as_ref().map(Vec::len), Some(LARGE));
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let lasted = small_reads(&client, |_| !done.load(Ordering::Relaxed)).await;
    large.await.unwrap();
    let beside = p99(&lasted);
    println!(
        "{rate} bytes/s: p99 of small reads {idle:?} idle, {beside:?} beside large ones, slowest {:?}",
        lasted.last()
    );
    assert_eq!(connections(&client).await, before, "no shared connection was given up for a large value");
    assert_eq!(client.breaker_openings(), 0);
    let listed: String = client.query(cmd("CLIENT").arg("LIST"), YES).await.unwrap();
    assert!(listed.lines().count() <= 4, "two for small and two for large values:\n{listed}");
    (idle, beside)
}

/// At 5 MB/s a large value takes longer than the whole deadline of the configuration, and six times as long as a server
/// may be silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_on_a_slow_link_arrive_and_small_ones_do_not_wait_for_them() {
    let (_, beside) = beside_large_ones(5_000_000, 1).await;
    assert!(beside < generously(Duration::from_millis(500)), "{beside:?}: a small read waited for a large value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_reads_beside_large_values_on_a_fast_link() {
    let (_, beside) = beside_large_ones(50_000_000, 3).await;
    assert!(beside < generously(Duration::from_millis(250)), "{beside:?}: a small read waited for a large value");
}

/// Time by size is for what moves: a large write into a black hole is given up as soon as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_write_into_a_black_hole_is_given_up_when_nothing_moves() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    let value = vec![b'x'; LARGE];
    client.query::<()>(cmd("SET").arg("large").arg(&value), YES).await.unwrap();
    proxy.black_hole();
    let begun = Instant::now();
    let set = cmd("SET").arg("large").arg(&value).clone();
    let error = client.query::<()>(&set, Idempotence::NotIdempotent).await.unwrap_err();
    println!("a large write into a black hole: {error} after {:?}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!(begun.elapsed() < generously(Duration::from_secs(3)), "{:?}", begun.elapsed());
    let limited = client.with_deadline(Duration::from_millis(200));
    let begun = Instant::now();
    limited.query::<()>(&set, YES).await.unwrap_err();
    assert!(begun.elapsed() < generously(Duration::from_secs(1)), "{:?}", begun.elapsed());
}

/// Nobody knows yet that they are large, so they are asked for together; and each alone is soon there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_values_that_nobody_knows_yet_arrive_on_a_slow_link() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let (near, far) = (open(&server.url()).await.unwrap(), open(&proxy.url(&server.url())).await.unwrap());
    let keys: Vec<_> = (0..32).map(|n| format!("large {n}")).collect();
    for key in &keys {
        near.query::<()>(cmd("SET").arg(key).arg(vec![b'x'; 1 << 20]), YES).await.unwrap();
    }
    // Three seconds for all, and a try has one.
    proxy.limit(Direction::ToClient, 11_000_000);
    let values = far.get_many(&keys).await.unwrap();
    assert!(values.iter().all(|value| value.as_ref().is_some_and(|value| value.len() == 1 << 20)));
    assert_eq!(far.breaker_openings(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_too_large_together_are_read_one_by_one() {
    let server = RedisServer::start().await;
    let client = open(&format!("{}?max_answer=1MiB", server.url())).await.unwrap();
    let keys: Vec<_> = (0..40).map(|n| format!("value {n}")).collect();
    for key in &keys {
        client.query::<()>(cmd("SET").arg(key).arg(vec![b'x'; 60_000]), YES).await.unwrap();
    }
    let whole = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|value| value.len() == 60_000);
    for round in 0..2 {
        assert!(client.get_many(&keys).await.unwrap().iter().all(whole), "{round}");
    }
    // One that is above the limit by itself is not to be had, and takes nothing along that is small.
    let above = client.check_len(2 << 20).unwrap_err();
    assert_eq!(above.kind(), ErrorKind::TooLarge);
    client.check_len(1_000_000).unwrap();
    assert_eq!(client.max_len(), (1 << 20) - (1 << 10));
    client.query::<()>(cmd("SETRANGE").arg("above").arg(2 << 20).arg("x"), YES).await.unwrap();
    assert_eq!(client.get(b"above").await.unwrap_err().kind(), ErrorKind::TooLarge);
    // It cost one of them, which is replaced.
    let mut before = connections(&client).await;
    until(Duration::from_secs(10), async || {
        before = connections(&client).await;
        before[0] != before[1]
    })
    .await;
    assert_eq!(client.get(b"above").await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(connections(&client).await, before, "it is known as large: no shared connection was given up for it");
}

/// What goes out together is over when each by itself would be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_values_end_at_the_deadline_of_their_caller() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    client.query::<()>(cmd("SETRANGE").arg("large").arg(LARGE).arg("x"), YES).await.unwrap();
    proxy.limit(Direction::ToClient, 1_000_000);
    let limited = client.with_deadline(Duration::from_millis(200));
    let begun = Instant::now();
    let answers = limited.query_many::<Vec<u8>>(&[cmd("GET").arg("large").clone()], YES).await;
    assert_eq!(answers.into_iter().next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() < generously(Duration::from_millis(500)), "{:?}", begun.elapsed());
}
