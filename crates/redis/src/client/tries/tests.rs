use futures_util::future::join_all;
use redis::cmd;
use statehouse_core::{ErrorKind, ServiceUrl};
use statehouse_testkit::RedisServer;

use super::*;
use crate::RedisConfig;

const NO: Idempotence = Idempotence::NotIdempotent;

async fn client(server: &RedisServer) -> RedisClient {
    let mut url = ServiceUrl::parse("URL", &format!("{}?timeout=20s&deadline=40s", server.url())).unwrap();
    RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap()
}

/// One of a large batch that is tried by itself, `left` before the batch is over.
async fn straggler(client: &RedisClient, key: &str, left: Duration) -> Result<Value> {
    let increment = cmd("INCR").arg(key).clone();
    client.execute_on(&Request::Command(&increment), NO, Tries::new(Instant::now() + left)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_before_its_turn_is_not_sent() {
    let server = RedisServer::start().await;
    let client = client(&server).await;
    let error = straggler(&client, "k", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(client.query::<i64>(cmd("INCR").arg("k"), NO).await.unwrap(), 1, "it was not executed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_little_time_left_takes_none_from_those_beside_it() {
    let server = RedisServer::start().await;
    let client = client(&server).await;
    for left in [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(2)] {
        let one = |n: usize| {
            let client = client.clone();
            async move {
                if n.is_multiple_of(4) {
                    let _whatever = straggler(&client, "late", left).await;
                    return Ok(0);
                }
                client.query::<i64>(cmd("INCR").arg("k"), NO).await
            }
        };
        // From 8 on they go out together.
        let lost = join_all((0..400).map(one)).await.into_iter().filter_map(Result::err).next();
        assert!(lost.is_none(), "{lost:?}");
    }
}
