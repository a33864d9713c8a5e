use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, HealthStatus};
use statehouse_redis::redis::{cmd, pipe};
use statehouse_redis::{
    EvictionPolicy, Idempotence, REFUSE_LATE, RedisClient, RedisConfig, RedisScript, deadpool_redis,
};
use statehouse_testkit::RedisServer;

use crate::{generously, keys, open, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

#[tokio::test]
async fn commands_pipelines_and_transactions_answer() {
    let client = open(&RedisServer::shared().await.url()).await.unwrap();
    let key = keys().key("a");
    client.query::<()>(cmd("SET").arg(&key).arg("hunter2"), YES).await.unwrap();
    let error = client.query::<i64>(cmd("GET").arg(&key), YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    client.query::<()>(cmd("SET").arg(&key).arg(b"\xff\x00").arg("PX").arg(60_000), YES).await.unwrap();
    assert_eq!(client.query::<Vec<u8>>(cmd("GET").arg(&key), YES).await.unwrap(), b"\xff\x00");
    assert_eq!(client.query::<Option<Vec<u8>>>(cmd("GET").arg(keys().key("b")), YES).await.unwrap(), None);

    let (number, ttl): (i64, i64) = client
        .pipeline(pipe().cmd("SET").arg(&key).arg(5).ignore().cmd("INCR").arg(&key).cmd("TTL").arg(&key), NO)
        .await
        .unwrap();
    assert_eq!((number, ttl), (6, -1));
    let sum: (i64,) = client.pipeline(pipe().atomic().cmd("INCRBY").arg(&key).arg(4), NO).await.unwrap();
    assert_eq!(sum, (10,));
}

#[tokio::test]
async fn a_failing_command_fails_its_pipeline_with_the_kind_of_the_first_error() {
    let client = open(&RedisServer::shared().await.url()).await.unwrap();
    let key = keys().key("list");
    let list = pipe().cmd("RPUSH").arg(&key).arg("x").cmd("INCR").arg(&key).clone();
    for pipeline in [list.clone(), list.clone().atomic().clone()] {
        let error = client.pipeline::<(i64, i64)>(&pipeline, NO).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("another type under the key"), "{error}");
    }
}

#[tokio::test]
async fn a_script_survives_a_flush_of_the_script_cache() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let (keys, add) = (keys(), RedisScript::new("return redis.call('INCRBY', KEYS[1], ARGV[1])"));
    let call = add.key(keys.key("n")).arg(2);
    assert_eq!(call.run::<i64>(&client, NO).await.unwrap(), 2);
    assert_eq!(call.run::<i64>(&client, NO).await.unwrap(), 4);
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(call.run::<i64>(&client, NO).await.unwrap(), 6);

    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    let calls: Vec<_> = (0..600).map(|n| add.key(keys.key(format!("m{n}"))).arg(n)).collect();
    let sums = client.run_many::<i64>(&calls, NO).await;
    assert_eq!(sums.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_requests_are_answered_in_order_each_by_itself() {
    let client = open(&RedisServer::shared().await.url()).await.unwrap();
    let keys = keys();
    let sets: Vec<_> = (0..1000).map(|n| cmd("SET").arg(keys.key(n.to_string())).arg(n).clone()).collect();
    assert!(client.query_many::<()>(&sets, YES).await.into_iter().all(|set| set.is_ok()));
    let wanted: Vec<_> = (0..1000).rev().step_by(3).map(|n: i32| keys.key(n.to_string())).collect();
    let found = client.get_many(&wanted).await.unwrap();
    let expected: Vec<_> = (0..1000).rev().step_by(3).map(|n: i32| Some(n.to_string().into_bytes())).collect();
    assert_eq!(found, expected);

    let key = keys.key("7");
    let mixed = [cmd("INCR").arg(&key).clone(), cmd("LPUSH").arg(&key).arg("x").clone(), cmd("INCR").arg(&key).clone()];
    let answers = client.query_many::<i64>(&mixed, NO).await;
    assert_eq!((answers[0].as_ref().ok(), answers[2].as_ref().ok()), (Some(&8), Some(&9)));
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(client.get_many::<Vec<u8>>(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn wrong_credentials_are_an_error_at_open_that_names_the_setting() {
    let server = RedisServer::builder().password("right").acl_user("app", "secret", "~* +@all -get").start().await;
    let address = server.address();
    for url in
        [format!("redis://:wrong@{address}"), format!("redis://app:wrong@{address}"), format!("redis://{address}")]
    {
        let begun = Instant::now();
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"));
        assert!(begun.elapsed() < generously(Duration::from_secs(1)), "a refused login is not retried");
        assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
    }
    let client = open(&format!("redis://app:secret@{address}")).await.unwrap();
    let error = client.query::<Option<String>>(cmd("GET").arg("x"), YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_database_is_selected_and_a_missing_one_refused() {
    let server = RedisServer::start().await;
    let client = open(&format!("{}/3", server.url())).await.unwrap();
    client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap();
    assert_eq!(server.command(&["GET", "k"]).await.unwrap().text(), None);

    let error = open(&format!("{}/99", server.url())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.to_string().contains("no database of that number (setting STATEHOUSE_CACHE_URL)"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_an_error_at_open_within_the_deadline() {
    let server = RedisServer::start().await;
    let url = server.url();
    drop(server);
    let begun = Instant::now();
    let error = open(&format!("{url}?deadline=2s")).await.unwrap_err();
    println!("nobody listens: {error} after {:?}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"));
    assert!(begun.elapsed() < generously(Duration::from_millis(2500)));
}

#[tokio::test]
async fn a_brought_pool_serves_and_heals() {
    let server = RedisServer::start().await;
    let manager = deadpool_redis::Manager::new(server.url()).unwrap();
    let pool = deadpool_redis::Pool::builder(manager).max_size(1).build().unwrap();
    let client = RedisClient::from_pool(pool.clone()).await.unwrap();
    client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap();
    let mut alone = client.exclusive(None).await.unwrap();
    assert_eq!(alone.query::<String>(cmd("GET").arg("k"), Duration::from_secs(1)).await.unwrap(), "v");
    drop(alone);
    server.restart().await;
    client.query::<()>(cmd("SET").arg("k").arg("w"), YES).await.unwrap();
    let config = RedisConfig::pool(pool).with_connections(2);
    assert!(!format!("{config:?}").contains("Manager"));
    RedisClient::open(config).await.unwrap();
}

#[tokio::test]
async fn an_exclusive_connection_watches_blocks_and_is_closed_when_abandoned() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let second = Duration::from_secs(1);
    let mut alone = client.exclusive(Some(b"k")).await.unwrap();
    alone.query::<()>(cmd("WATCH").arg("k"), second).await.unwrap();
    client.query::<()>(cmd("SET").arg("k").arg("other"), YES).await.unwrap();
    let stopped: Option<(String,)> =
        alone.pipeline(pipe().atomic().cmd("SET").arg("k").arg("mine"), second).await.unwrap();
    assert_eq!(stopped, None);

    let blocked =
        alone.query::<Option<(String, String)>>(cmd("BLPOP").arg("q").arg(0), Duration::from_millis(50)).await;
    assert_eq!(blocked.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert!(
        alone.query::<()>(&cmd("PING"), second).await.is_err(),
        "a connection that owes an answer is not used again"
    );
    drop(alone);

    let id = async |alone: &mut statehouse_redis::Exclusive| {
        alone.query::<i64>(cmd("CLIENT").arg("ID"), second).await.unwrap()
    };
    let mut fresh = client.exclusive(None).await.unwrap();
    let first = id(&mut fresh).await;
    drop(fresh);
    let mut again = client.exclusive(None).await.unwrap();
    assert_eq!(id(&mut again).await, first, "an answered connection returns to the pool");
}

#[tokio::test]
async fn an_exclusive_connection_whose_query_is_dropped_is_closed() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let blocked = async || {
        let list: String = client.query(cmd("CLIENT").arg("LIST"), YES).await.unwrap();
        list.contains("cmd=blpop")
    };
    let mut alone = client.exclusive(None).await.unwrap();
    let pop = cmd("BLPOP").arg("q").arg(0).clone();
    tokio::select! {
        biased;
        popped = alone.query::<(String, String)>(&pop, Duration::from_secs(60)) => panic!("{popped:?}"),
        _ = until(Duration::from_secs(10), &blocked) => {}
    }
    let again = alone.query::<()>(&cmd("PING"), Duration::from_secs(1)).await;
    assert!(again.is_err(), "a connection that owes an answer is not used again");
    drop(alone);
    // In the pool it would wait on, and take what is meant for somebody else.
    until(Duration::from_secs(10), async || !blocked().await).await;
    client.query::<()>(cmd("RPUSH").arg("q").arg("x"), YES).await.unwrap();
    let mut next = client.exclusive(None).await.unwrap();
    let popped = next.query::<(String, String)>(&pop, Duration::from_secs(10)).await.unwrap();
    assert_eq!(popped, ("q".to_owned(), "x".to_owned()));
}

#[tokio::test]
async fn dropping_an_operation_disturbs_no_other() {
    let client = open(&RedisServer::shared().await.url()).await.unwrap();
    let keys = keys();
    client.query::<()>(cmd("SET").arg(keys.key("k")).arg("v"), YES).await.unwrap();
    for round in 0..200 {
        let (get, other) = (cmd("GET").arg(keys.key("k")).clone(), keys.key(round.to_string()));
        let abandoned = client.query::<String>(&get, YES);
        let _ = tokio::time::timeout(Duration::from_micros(round * 5), abandoned).await;
        client.query::<()>(cmd("SET").arg(&other).arg(round), YES).await.unwrap();
        assert_eq!(client.query::<u64>(cmd("GET").arg(&other), YES).await.unwrap(), round);
    }
}

#[tokio::test]
async fn health_and_eviction_policy_are_told() {
    let server = RedisServer::builder().max_memory(64 << 20, "allkeys-lru").password("hunter2").start().await;
    let client = open(&server.url()).await.unwrap();
    let health = client.health().await;
    assert_eq!(health.status, HealthStatus::Up);
    assert_eq!(health.backend, format!("Redis at {}", server.address()));
    assert_eq!(client.eviction_policy().await.unwrap(), EvictionPolicy::Any);
    for (policy, expected) in [("noeviction", EvictionPolicy::Never), ("volatile-ttl", EvictionPolicy::WithTimeToLive)]
    {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
        assert_eq!(client.eviction_policy().await.unwrap(), expected);
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "allkeys-lru"]).await.unwrap();
    assert_eq!(client.eviction_policy().await.unwrap(), EvictionPolicy::Never);
    assert!(!format!("{client:?}").contains("hunter2"));

    server.kill();
    let health = client.health().await;
    assert_eq!(health.status, HealthStatus::Down);
    assert_eq!(health.error.unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_user_that_may_not_ask_gets_an_unknown_eviction_policy() {
    let server = RedisServer::builder().acl_user("app", "pw", "~* +@all -info -config").start().await;
    let client = open(&server.url()).await.unwrap();
    assert_eq!(client.eviction_policy().await.unwrap(), EvictionPolicy::Unknown);
}

#[tokio::test]
async fn memory_that_is_full_is_unavailable_and_reads_go_on() {
    let server = RedisServer::builder().max_memory(1 << 20, "noeviction").start().await;
    let client = open(&server.url()).await.unwrap();
    let error = client.query::<()>(cmd("SET").arg("k").arg(vec![0_u8; 2 << 20]), YES).await.err();
    let error = match error {
        Some(error) => error,
        None => client.query::<()>(cmd("SET").arg("l").arg("v"), YES).await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("out of memory"), "{error}");
    client.query::<Option<Vec<u8>>>(cmd("GET").arg("none"), YES).await.unwrap();
}

#[tokio::test]
async fn no_limit_is_a_limit_like_any_other() {
    let url = RedisServer::shared().await.url();
    for limits in ["timeout=18446744073709551615ms", "connect_timeout=300000000d&deadline=200000000000d"] {
        open(&format!("{url}?{limits}")).await.unwrap().query::<()>(&cmd("PING"), YES).await.unwrap();
    }
    let endless = Duration::MAX;
    let config = crate::config(&url).with_timeout(endless).with_connect_timeout(endless).with_deadline(endless);
    let client = RedisClient::open(config).await.unwrap();
    let key = keys().key("a");
    let script = RedisScript::new(format!("{REFUSE_LATE} return redis.call('GET', KEYS[1])"));
    for client in [client.with_deadline(endless), client] {
        client.query::<()>(cmd("SET").arg(&key).arg("v"), YES).await.unwrap();
        assert_eq!(script.key(key.as_slice()).deadline().run::<String>(&client, YES).await.unwrap(), "v");
        assert_eq!(client.get_many(&[&key]).await.unwrap(), [Some(b"v".to_vec())]);
        assert!(client.health().await.is_up());
    }
}
