//! Large values travel beside the small ones, not in front of them, and have the time that they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::ErrorKind;
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{generously, open};

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
