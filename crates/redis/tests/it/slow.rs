//! A long way to the server: each answer takes more than half of what a try may take, and nothing is lost.

use std::time::Duration;

use statehouse_redis::redis::cmd;
use statehouse_redis::{Idempotence, REFUSE_LATE, RedisScript};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{config, open};

/// What is not repeated: each answer that is lost is an error.
const NO: Idempotence = Idempotence::NotIdempotent;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_caller_on_a_long_way_loses_no_answer() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    for connections in [1, 2, 4] {
        let client = open(&format!("{}?connections={connections}&timeout=3s&deadline=20s", proxy.url(&server.url())))
            .await
            .unwrap();
        for _ in 0..connections {
            client.query::<()>(&cmd("PING"), NO).await.unwrap();
        }
        for millis in [600, 800] {
            proxy.delay(Direction::ToClient, Duration::from_millis(millis));
            for call in 0..6 {
                let answer = client.query::<i64>(cmd("INCR").arg("n"), NO).await;
                answer.unwrap_or_else(|error| panic!("{connections} connections, {millis} ms, call {call}: {error}"));
            }
        }
        proxy.heal();
        assert_eq!(client.breaker_openings(), 0);
    }
}

/// A new connection and the reading of the server's clock cost a round trip each. What is sent after them would have its
/// answer after the end of its try, and so nobody would know what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_new_connection_on_a_long_way_is_sent_when_its_answer_can_come() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let url = format!("{}?connections=1", proxy.url(&server.url()));
    let client = statehouse_redis::RedisClient::open(config(&url).with_deadline(Duration::from_secs(8))).await.unwrap();
    let script = RedisScript::new(format!("{REFUSE_LATE} return redis.call('INCR', KEYS[1])"));
    assert_eq!(script.key("n").deadline().run::<i64>(&client, NO).await.unwrap(), 1);
    for (round, millis) in [(0, 600), (1, 700)] {
        proxy.delay(Direction::ToClient, Duration::from_millis(millis));
        for stamped in [true, false] {
            proxy.reset_connections();
            // That it was lost is known, and the next is being made.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = match stamped {
                true => script.key("n").deadline().run::<i64>(&client, NO).await,
                false => client.query::<i64>(cmd("INCR").arg("n"), NO).await,
            };
            let expected = 2 + 2 * round + i64::from(!stamped);
            assert_eq!(answer.unwrap(), expected, "{millis} ms, stamped: {stamped}");
        }
    }
}
