//! Many callers at a time, whose commands go out together.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Result};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, RedisClient, RedisScript};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisServer};
use tokio::task::JoinSet;

use crate::{generously, keys, open, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

type Asking = Pin<Box<dyn Future<Output = Result<i64>> + Send>>;

fn increment(client: &RedisClient, key: impl AsRef<[u8]>, idempotence: Idempotence) -> Asking {
    let (client, command) = (client.clone(), cmd("INCR").arg(key.as_ref()).clone());
    Box::pin(async move { client.query(&command, idempotence).await })
}

/// Polls each once, so that all of them wait.
fn begin(asking: &mut [Asking]) {
    for one in asking {
        assert!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_caller_has_its_own_answer_or_error() {
    let (single, cluster) = (RedisServer::shared().await.url(), RedisCluster::shared().await.url());
    for url in [single, cluster] {
        let (client, keys) = (open(&format!("{url}?timeout=20s&deadline=40s")).await.unwrap(), keys());
        let add = RedisScript::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        let mut callers = JoinSet::new();
        for n in 0..600_i64 {
            let (client, key, add) = (client.clone(), keys.key(n.to_string()), add.clone());
            callers.spawn(async move {
                // Every seventh is too long to go out with others, and no number.
                let value = if n % 7 == 0 { "x".repeat(10_000) } else { n.to_string() };
                client.query::<()>(cmd("SET").arg(&key).arg(&value), YES).await.unwrap();
                assert_eq!(client.query::<String>(cmd("GET").arg(&key), YES).await.unwrap(), value);
                let sum = add.key(&key[..]).arg(1000).run::<i64>(&client, NO).await;
                match sum {
                    Ok(sum) => assert_eq!(sum, n + 1000),
                    Err(error) => assert!(n % 7 == 0 && error.kind() == ErrorKind::Unexpected, "{n}: {error:?}"),
                }
            });
        }
        callers.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_share_a_command_and_each_has_its_own_value_or_error() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let read_all = async |client: &RedisClient, keys: &[Vec<u8>]| {
        let read = |key: &Vec<u8>| tokio::spawn(read(client.clone(), key.clone()));
        let reading: Vec<_> = keys.iter().map(read).collect();
        let mut values = Vec::new();
        for one in reading {
            values.push(one.await.unwrap());
        }
        values
    };
    for url in [proxy.url(&server.url()), RedisCluster::shared().await.url()] {
        let (client, keys) = (open(&format!("{url}?timeout=20s&deadline=40s")).await.unwrap(), keys());
        let keys: Vec<_> = (0..300).map(|n| keys.key(n.to_string())).collect();
        for (n, key) in keys.iter().enumerate().filter(|(n, _)| n % 3 > 0) {
            // Every third is no string.
            let command = if n % 3 == 1 { "SET" } else { "RPUSH" };
            client.query::<()>(cmd(command).arg(key).arg(n), YES).await.unwrap();
        }
        for (n, value) in read_all(&client, &keys).await.into_iter().enumerate() {
            assert_eq!(value.unwrap(), (n % 3 == 1).then(|| n.to_string().into_bytes()), "{n}");
        }
        assert_eq!(client.get_many(&keys[..3]).await.unwrap(), [None, Some(b"1".to_vec()), None]);
    }
    let sent = proxy.counts().command("MGET");
    assert!(sent < 200, "{sent} commands for 300 values");

    let client = open(&server.url()).await.unwrap();
    server.command(&["ACL", "SETUSER", "default", "-mget"]).await.unwrap();
    let keys: Vec<_> = (0..100_u8).map(|n| vec![n]).collect();
    for value in read_all(&client, &keys).await {
        assert_eq!(value.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}

async fn read(client: RedisClient, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
    client.get(&key).await
}

#[tokio::test]
async fn callers_who_give_up_do_not_take_the_others_answers_along() {
    let client = open(&format!("{}?timeout=20s&deadline=40s", RedisServer::shared().await.url())).await.unwrap();
    let key = keys().key("n");
    let mut asking: Vec<_> = (0..400).map(|_| increment(&client, &key, NO)).collect();
    begin(&mut asking);
    let mut n = 0;
    asking.retain(|_| {
        n += 1;
        n % 2 == 0
    });
    let mut found = Vec::new();
    for one in asking {
        found.push(one.await.unwrap());
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 200, "each was executed once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_while_there_was_no_connection_is_not_sent() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    proxy.cut();
    // Long enough to be noticed, and too short for the server to count as away: then nobody would wait. On a machine that is
    // busy it may be known all the same.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut asking: Vec<_> = (0..50).map(|_| increment(&client, "n", NO)).collect();
    asking.retain_mut(|one| one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    // Long enough for their turn to have come: they wait for a connection now.
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(asking);
    proxy.heal();
    until(Duration::from_secs(30), async || increment(&client, "other", NO).await.is_ok()).await;
    assert_eq!(server.command(&["GET", "n"]).await.unwrap().text(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_to_a_crowd_are_outcome_unknown_and_nothing_is_repeated() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&proxy.url(&server.url())).await.unwrap();
    proxy.black_hole_way(Direction::ToClient);
    let mut asking: JoinSet<_> = (0..100).map(|_| increment(&client, "n", NO)).collect();
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    }
    proxy.heal();
    assert_eq!(server.command(&["GET", "n"]).await.unwrap().text(), Some("100"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_replaced_under_a_crowd_that_does_not_notice() {
    let (silent, live) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(silent.address());
    let client = open(&proxy.url(&silent.url())).await.unwrap();
    proxy.retarget(live.address());
    silent.pause();
    let begun = Instant::now();
    // With two retries each, if one connection is given up later than the other, they need no more than are saved up.
    let mut asking: JoinSet<_> = (0..45).map(|_| increment(&client, "n", YES)).collect();
    let (mut failed, mut slowest) = (None, Duration::ZERO);
    let crowd = async {
        while let Some(answer) = asking.join_next().await {
            failed = failed.take().or(answer.unwrap().err());
        }
    };
    let connect = async {
        loop {
            let start = Instant::now();
            drop(live.command(&["PING"]).await);
            slowest = slowest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = crowd => {}
        () = connect => {}
    }
    // A new connection, of some round trips, is waited for 300 ms: a machine on which one takes a quarter of that tells nothing.
    assert!(failed.is_none() || slowest > Duration::from_millis(75), "{failed:?}, and to connect took {slowest:?}");
    println!("half-open under a crowd: all answered after {:?}, {failed:?}", begun.elapsed());
    assert!(begun.elapsed() < generously(Duration::from_secs(2)));
}

/// A client may be used from several runtimes. Whoever waits in one has its answer though the other ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_another_runtime_leaves_nobody_waiting() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    server.pause();
    let mut waiting: Vec<_> = (0..20).map(|n| increment(&client, format!("here{n}"), YES)).collect();
    begin(&mut waiting);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut asking: Vec<_> = (0..20).map(|n| increment(&client, format!("there{n}"), YES)).collect();
    let asking = std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // They wait for a task of that runtime, which it never comes to run.
        other.block_on(async { begin(&mut asking) });
        asking
    });
    let asking = asking.join().unwrap();
    server.resume();
    for one in asking {
        assert_eq!(one.await.unwrap(), 1);
    }
    for one in waiting {
        assert_eq!(one.await.unwrap(), 1);
    }
}
