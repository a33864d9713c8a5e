//! Writes that wait for replicas.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, HealthStatus, Result, Retry};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, REFUSE_LATE, RedisClient, RedisScript};
use statehouse_testkit::{RedisCluster, RedisSentinel, RedisServer};

use crate::{generously, opened, until};

const YES: Idempotence = Idempotence::Idempotent;

static SET: LazyLock<RedisScript> =
    LazyLock::new(|| RedisScript::new([REFUSE_LATE, "return redis.call('SET', KEYS[1], ARGV[1])"].concat()));

async fn set(client: &RedisClient, key: &str, value: &[u8]) -> Result<()> {
    SET.key(key).arg(value).deadline().run(client, YES).await
}

fn is_short(error: &statehouse_core::Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown && error.message().contains("replicas had it")
}

async fn replica_of(group: &RedisSentinel) -> &RedisServer {
    let primary = group.primary().await.unwrap().unwrap();
    group.servers().iter().find(|server| server.address() != primary.address()).unwrap()
}

/// Waits until a write is on the replica, which may have to connect first.
async fn settled(client: &RedisClient) {
    until(Duration::from_secs(30), async || set(client, "first", b"").await.is_ok()).await;
}

/// What a server was asked so many times.
async fn calls(server: &RedisServer, command: &str) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).await.unwrap();
    let line = info.text().unwrap().lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// How often a server has read what its clients sent.
async fn reads(server: &RedisServer) -> u64 {
    let info = server.command(&["INFO", "stats"]).await.unwrap();
    let line = info.text().unwrap().lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// Writes until told to stop; answers the keys whose write was acknowledged, and how many were not.
async fn write_on(client: RedisClient, writer: usize, stop: Arc<AtomicBool>) -> (Vec<String>, usize) {
    // So much that what a stopped replica has not read does not fit into the buffers on the way to it.
    let (value, mut acknowledged, mut failed) = (vec![7; 32 << 10], Vec::new(), 0);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{writer}:{number}");
        match set(&client, &key, &value).await {
            Ok(()) => acknowledged.push(key),
            Err(_) => failed += 1,
        }
    }
    (acknowledged, failed)
}

/// The replica stands still for a while before the primary is killed: what is written then is on the primary only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_was_acknowledged_after_a_wait_nothing_is_lost_with_the_primary() {
    for round in 0..rounds(1, 10) {
        let group = RedisSentinel::start().await;
        let client = opened(&format!("{}?wait_replicas=1", group.url())).await;
        settled(&client).await;
        let stop = Arc::<AtomicBool>::default();
        let writers = (0..8).map(|writer| tokio::spawn(write_on(client.clone(), writer, Arc::clone(&stop))));
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (old, replica) = (group.primary().await.unwrap().unwrap(), replica_of(&group).await);
        replica.pause();
        tokio::time::sleep(Duration::from_millis(700)).await;
        old.kill();
        replica.resume();
        stop.store(true, Ordering::Relaxed);
        let (mut acknowledged, mut failed) = (Vec::new(), 0);
        for writer in writers {
            let (more, lost) = writer.await.unwrap();
            acknowledged.extend(more);
            failed += lost;
        }
        let elected = async || matches!(group.primary().await, Ok(Some(now)) if now.address() != old.address());
        until(Duration::from_secs(60), elected).await;
        let mut missing = 0;
        for key in &acknowledged {
            let there = replica.command(&["EXISTS", key.as_str()]).await.unwrap();
            missing += usize::from(there.integer() != Some(1));
        }
        println!("round {round}: {} acknowledged, {failed} not, {missing} of the former lost", acknowledged.len());
        assert!(acknowledged.len() > 20 && failed > 0, "nothing is shown");
        assert_eq!(missing, 0, "of {}", acknowledged.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_too_few_replicas_have_in_time_is_of_unknown_outcome_and_reads_go_on() {
    let group = RedisSentinel::start().await;
    let client = opened(&format!("{}?wait_replicas=1&timeout=2s&wait_timeout=400ms&deadline=6s", group.url())).await;
    settled(&client).await;
    let replica = replica_of(&group).await;
    replica.pause();
    for idempotence in [YES, Idempotence::NotIdempotent] {
        let begun = Instant::now();
        let error = SET.key("k").arg("seen").deadline().run::<()>(&client, idempotence).await.unwrap_err();
        assert!(is_short(&error) && error.retry() == Retry::Never, "{error:?}");
        assert!(error.message().contains("only 0 of 1 replicas had it within 400ms"), "{error:?}");
        assert!(begun.elapsed() >= Duration::from_millis(400) && begun.elapsed() < generously(Duration::from_secs(1)));
    }
    let many: Vec<_> = (0..3).map(|number| SET.key(format!("many {number}")).arg("x").deadline()).collect();
    let answers = client.run_many::<()>(&many, YES).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(is_short)), "{answers:?}");
    // What the server refuses was not executed, whoever waits for it.
    let refuses = RedisScript::new([REFUSE_LATE, "return redis.call('INCR', KEYS[1])"].concat());
    let error = refuses.key("k").deadline().run::<u64>(&client, YES).await.unwrap_err();
    assert!(!is_short(&error), "{error:?}");

    // Writers wait, each for a while; readers do not.
    let writers: Vec<_> = (0..50).map(|writer| write_one(&client, writer)).map(tokio::spawn).collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        let asked = Instant::now();
        let found: String = client.query(cmd("GET").arg("k"), YES).await.unwrap();
        assert_eq!(found, "seen", "it was executed");
        assert!(asked.elapsed() < generously(Duration::from_millis(50)), "{:?}", asked.elapsed());
    }
    for writer in writers {
        assert!(is_short(&writer.await.unwrap().unwrap_err()));
    }
    replica.resume();
    settled(&client).await;
    assert!(client.health().await.is_up());
    replica.kill();
    let told = async || client.health().await.error.is_some_and(|error| error.message().contains("(wait_replicas)"));
    until(Duration::from_secs(30), told).await;
    assert_eq!(client.health().await.status, HealthStatus::Degraded);
}

fn write_one(client: &RedisClient, writer: usize) -> impl Future<Output = Result<()>> + use<> {
    let client = client.clone();
    async move { set(&client, &format!("at once {writer}"), b"x").await }
}

/// Alone, a write has its `WAIT` with it; of many at the same time, those that come while one batch waits have one together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_costs_no_round_trip_and_many_writes_share_one() {
    let group = RedisSentinel::start().await;
    let client = opened(&format!("{}?wait_replicas=1", group.url())).await;
    settled(&client).await;
    let primary = group.primary().await.unwrap().unwrap();
    let before = (calls(primary, "evalsha").await, calls(primary, "wait").await);
    for _ in 0..100 {
        set(&client, "alone", b"x").await.unwrap();
    }
    let alone = (calls(primary, "evalsha").await - before.0, calls(primary, "wait").await - before.1);
    // On a machine that stands still for a while, one comes too late and is sent again.
    assert!((100..110).contains(&alone.0) && alone.0 == alone.1, "{alone:?}");
    let writers = (0..64).map(|writer| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                set(&client, &format!("together {writer}"), b"x").await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let together =
        (calls(primary, "evalsha").await - before.0 - alone.0, calls(primary, "wait").await - before.1 - alone.1);
    println!("{} writes of 64 at a time waited {} times", together.0, together.1);
    assert!(together.0 >= 3_200 && together.1 < 1_600, "{together:?}");

    // Without a replica nobody else sends anything to the server.
    let single = RedisServer::start().await;
    let client = opened(&format!("{}?wait_replicas=1&wait_timeout=1ms", single.url())).await;
    assert!(is_short(&set(&client, "k", b"x").await.unwrap_err()));
    let before = reads(&single).await;
    for _ in 0..100 {
        assert!(is_short(&set(&client, "k", b"x").await.unwrap_err()));
    }
    let read = reads(&single).await - before;
    println!("the server has read {read} times for 100 writes");
    assert!((100..150).contains(&read), "one round trip for each, and a few that look after the connections: {read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_a_write_waits_at_the_server_of_its_key() {
    let cluster = RedisCluster::start().await;
    let client = opened(&format!("{}?wait_replicas=1", cluster.url())).await;
    let mut primaries = Vec::new();
    for key in ["a", "b", "c"] {
        until(Duration::from_secs(30), async || set(&client, key, b"x").await.is_ok()).await;
        let primary = cluster.primary_of(key).await.unwrap().unwrap();
        let before = calls(primary, "wait").await;
        set(&client, key, b"y").await.unwrap();
        assert_eq!(calls(primary, "wait").await - before, 1, "{key}");
        primaries.push(primary.address().to_owned());
    }
    primaries.sort();
    primaries.dedup();
    assert_eq!(primaries.len(), 3, "of three servers");
    let client = opened(&format!("{}?wait_replicas=2&wait_timeout=50ms", cluster.url())).await;
    let error = set(&client, "a", b"z").await.unwrap_err();
    assert!(is_short(&error) && error.message().contains("only 1 of 2"), "{error:?}");
}
