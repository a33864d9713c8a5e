//! A long way to the server: each answer takes more than half of what a try may take, and nothing is lost.

use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Result};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, REFUSE_LATE, RedisClient, RedisScript};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{config, open, opened};

/// What is not repeated: each answer that is lost is an error.
const NO: Idempotence = Idempotence::NotIdempotent;

/// A way that is long for this crate leaves a machine that is busy little time besides: what holds there holds once of five
/// times, and what does not never does.
async fn once(pass: impl AsyncFn() -> Result<(), String>) {
    let mut said = Vec::new();
    for _ in 0..5 {
        match pass().await {
            Ok(()) => return,
            Err(why) => said.push(why),
        }
    }
    panic!("{said:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_caller_on_a_long_way_loses_no_answer() {
    let server = RedisServer::start().await;
    for connections in [1, 2, 4] {
        once(async || loses_no_answer(&server, connections).await).await;
    }
}

async fn loses_no_answer(server: &RedisServer, connections: usize) -> Result<(), String> {
    let proxy = FaultProxy::start(server.address());
    let url = format!("{}?connections={connections}&timeout=3s&deadline=20s", proxy.url(&server.url()));
    let client = open(&url).await.unwrap();
    for _ in 0..connections {
        client.query::<()>(&cmd("PING"), NO).await.unwrap();
    }
    for millis in [600, 800] {
        proxy.delay(Direction::ToClient, Duration::from_millis(millis));
        for call in 0..6 {
            let answer = client.query::<i64>(cmd("INCR").arg("n"), NO).await;
            answer.map_err(|error| format!("{connections} connections, {millis} ms, call {call}: {error}"))?;
        }
    }
    match client.breaker_openings() {
        0 => Ok(()),
        openings => Err(format!("the breaker has opened {openings} times")),
    }
}

/// A new connection and the reading of the server's clock cost a round trip each. What is sent after them would have its
/// answer after the end of its try, and so nobody would know what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_new_connection_on_a_long_way_is_sent_when_its_answer_can_come() {
    once(is_sent_in_time).await;
}

async fn is_sent_in_time() -> Result<(), String> {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let url = format!("{}?connections=1", proxy.url(&server.url()));
    let client = RedisClient::open(config(&url).with_deadline(Duration::from_secs(8))).await.unwrap();
    let script = RedisScript::new(format!("{REFUSE_LATE} return redis.call('INCR', KEYS[1])"));
    let mut expected = 1;
    assert_eq!(script.key("n").deadline().run::<i64>(&client, NO).await.unwrap(), expected);
    for millis in [600, 700] {
        proxy.delay(Direction::ToClient, Duration::from_millis(millis));
        for stamped in [true, false] {
            proxy.reset_connections();
            // That it was lost is known, and the next is being made.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = match stamped {
                true => script.key("n").deadline().run::<i64>(&client, NO).await,
                false => client.query::<i64>(cmd("INCR").arg("n"), NO).await,
            };
            expected += 1;
            let counted = answer.map_err(|error| format!("{millis} ms, stamped: {stamped}: {error}"))?;
            assert_eq!(counted, expected, "{millis} ms, stamped: {stamped}");
        }
    }
    Ok(())
}

/// Four batches of which each would be in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_values_have_the_deadline_of_one_operation() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = opened(&format!("{}?timeout=1s&deadline=1s", proxy.url(&server.url()))).await;
    let keys: Vec<_> = (0..1024).map(|n| format!("k{n}")).collect();
    client.get_many(&keys).await.unwrap();
    proxy.delay(Direction::ToClient, Duration::from_millis(800));
    let begun = Instant::now();
    let error = client.get_many(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(begun.elapsed() < Duration::from_millis(2400), "{:?}", begun.elapsed());
}
