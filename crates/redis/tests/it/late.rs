//! What comes too late is not done: nothing of a call is executed once its caller was told what became of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use statehouse_core::{Error, ErrorKind, Result};
use statehouse_redis::redis::{cmd, pipe};
use statehouse_redis::{Idempotence, REFUSE_LATE, RedisClient, RedisScript};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisSentinel, RedisServer};
use tokio::task::JoinSet;

use crate::stub::stub;
use crate::{generously, open, opened, until};

const YES: Idempotence = Idempotence::Idempotent;
const NO: Idempotence = Idempotence::NotIdempotent;

fn script() -> RedisScript {
    RedisScript::new(format!("{REFUSE_LATE} return redis.call('SET', KEYS[1], ARGV[1])"))
}

async fn set(client: &RedisClient, key: &str, value: &str, idempotence: Idempotence) -> Result<()> {
    script().key(key).arg(value).deadline().run(client, idempotence).await
}

async fn get(client: &RedisClient, key: &str) -> Option<String> {
    client.query(cmd("GET").arg(key), YES).await.unwrap()
}

/// Sent, or not even that, where this machine was too busy to send it in time.
fn is_given_up(error: &Error) -> bool {
    [ErrorKind::OutcomeUnknown, ErrorKind::Timeout].contains(&error.kind())
}

/// Waits until everything that was held back has been delivered, and looks at `key` meanwhile.
async fn assert_stays(other: &RedisClient, key: &str, value: &str) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        assert_eq!(get(other, key).await.as_deref(), Some(value));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_given_up_is_not_executed_when_the_network_heals() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url()).await.unwrap();
    for (round, limits) in ["timeout=200ms&deadline=300ms", "timeout=700ms", "timeout=2s"].iter().enumerate() {
        for (way, idempotence) in [(None, YES), (Some(Direction::ToServer), YES), (Some(Direction::ToServer), NO)] {
            let client = opened(&format!("{}?connections=1&{limits}", proxy.url(&server.url()))).await;
            let key = format!("{round}{way:?}{idempotence:?}");
            // Its calls are short, and this machine may be busy.
            until(Duration::from_secs(30), async || set(&client, &key, "FIRST", idempotence).await.is_ok()).await;
            match way {
                None => proxy.black_hole(),
                Some(way) => proxy.black_hole_way(way),
            }
            let error = set(&client, &key, "OLD", idempotence).await.unwrap_err();
            assert!(is_given_up(&error), "{error:?}");
            other.query::<()>(cmd("SET").arg(&key).arg("NEW"), YES).await.unwrap();
            proxy.heal();
            assert_stays(&other, &key, "NEW").await;
        }
    }
}

/// The first try is lost with its connection and the second succeeds: the first must not be executed after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_was_lost_is_not_executed_after_its_repetition_was_acknowledged() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url()).await.unwrap();
    for round in 0..4 {
        let client = open(&format!("{}?connections=1&timeout=2s&deadline=5s", proxy.url(&server.url()))).await.unwrap();
        let key = format!("k{round}");
        set(&client, &key, "FIRST", YES).await.unwrap();
        let id = async || client.query::<u64>(cmd("CLIENT").arg("ID"), YES).await.unwrap();
        let connection = id().await;
        proxy.black_hole_way(Direction::ToServer);
        let begun = Instant::now();
        let setting = tokio::spawn({
            let (client, key) = (client.clone(), key.clone());
            async move { set(&client, &key, "OLD", YES).await }
        });
        // The connection is given up after a second. What is sent over the next and what was sent first arrive together.
        tokio::time::sleep(Duration::from_millis(1040 + 40 * round)).await;
        proxy.heal();
        if let Err(error) = setting.await.unwrap() {
            // Where this machine was too busy to heal the network in time.
            assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
        }
        let lasted = begun.elapsed();
        let gone = !other
            .query::<String>(cmd("CLIENT").arg("LIST"), YES)
            .await
            .unwrap()
            .lines()
            .any(|client| client.starts_with(&format!("id={connection} ")));
        assert!(
            gone || id().await == connection || lasted >= Duration::from_secs(2),
            "the first try may be executed until then"
        );
        other.query::<()>(cmd("SET").arg(&key).arg("NEW"), YES).await.unwrap();
        assert_stays(&other, &key, "NEW").await;
    }
}

/// A try whose connection was cut may be executed for 20 s more, by what it says. That nothing of it is left is known much
/// sooner, from the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_took_along_is_settled_as_soon_as_the_server_has_closed_the_connection() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url()).await.unwrap();
    for (round, idempotence) in [YES, NO, YES, NO].into_iter().enumerate() {
        let url = format!("{}?connections=1&timeout=20s&deadline=30s", proxy.url(&server.url()));
        let (client, key) = (open(&url).await.unwrap(), format!("k{round}"));
        set(&client, &key, "FIRST", idempotence).await.unwrap();
        proxy.black_hole_way(Direction::ToClient);
        let begun = Instant::now();
        let setting = tokio::spawn({
            let (client, key) = (client.clone(), key.clone());
            async move { set(&client, &key, "SECOND", idempotence).await }
        });
        until(Duration::from_secs(30), async || get(&other, &key).await.as_deref() == Some("SECOND")).await;
        proxy.reset_connections();
        proxy.heal();
        match (setting.await.unwrap(), idempotence) {
            (Ok(()), YES) => {}
            (Err(error), NO) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}"),
            other => panic!("{other:?}"),
        }
        let lasted = begun.elapsed();
        println!("a set whose connection was cut returned after {lasted:?}");
        assert!(lasted < Duration::from_secs(15), "it waited until the first try could not be executed: {lasted:?}");
        other.query::<()>(cmd("SET").arg(&key).arg("NEW"), YES).await.unwrap();
        assert_stays(&other, &key, "NEW").await;
        // Many at a time, of one call.
        let script = script();
        let calls: Vec<_> = (0..5).map(|n| script.key(format!("m{n}")).arg("v").deadline()).collect();
        proxy.reset_connections();
        let begun = Instant::now();
        for answer in client.run_many::<()>(&calls, idempotence).await {
            assert!(answer.is_ok() || idempotence == NO, "{answer:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

/// Who may not ask what connections there are waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_ask_for_connections_has_its_writes_repeated_all_the_same() {
    let server = RedisServer::builder().acl_user("app", "pw", "~* +@all -client").start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&format!("{}?connections=1&timeout=500ms&deadline=20s", proxy.url(&server.url()))).await.unwrap();
    for round in 0..3 {
        let value = round.to_string();
        set(&client, "k", &value, YES).await.unwrap();
        proxy.reset_connections();
        set(&client, "k", &format!("{value} again"), YES).await.unwrap();
        assert_eq!(get(&client, "k").await, Some(format!("{value} again")));
    }
}

/// Many callers, whose calls go out together, and each of many in one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_nothing_is_executed_late_either() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url()).await.unwrap();
    let client = opened(&format!("{}?timeout=500ms&deadline=700ms", proxy.url(&server.url()))).await;
    let script = script();
    let keys: Vec<_> = (0..100).map(|n| format!("k{n}")).collect();
    let calls: Vec<_> = keys.iter().map(|key| script.key(key).arg("OLD").deadline()).collect();
    let all_done = async || client.run_many::<()>(&calls, YES).await.iter().all(Result::is_ok);
    until(Duration::from_secs(30), all_done).await;
    proxy.black_hole_way(Direction::ToServer);
    let mut crowd = JoinSet::new();
    for n in 100..200 {
        let client = client.clone();
        crowd.spawn(async move { set(&client, &format!("k{n}"), "OLD", YES).await });
    }
    let many = client.run_many::<()>(&calls, YES).await;
    for answer in many.into_iter().chain(crowd.join_all().await) {
        let error = answer.unwrap_err();
        let known = [ErrorKind::OutcomeUnknown, ErrorKind::Unavailable, ErrorKind::Timeout];
        assert!(known.contains(&error.kind()), "{error:?}");
    }
    let mut all = cmd("MSET");
    for n in 0..200 {
        all.arg(format!("k{n}")).arg("NEW");
    }
    other.query::<()>(&all, YES).await.unwrap();
    proxy.heal();
    until(Duration::from_secs(30), async || set(&client, "back", "yes", YES).await.is_ok()).await;
    assert_stays(&other, "k5", "NEW").await;
    let keys: Vec<_> = (0..200).map(|n| format!("k{n}")).collect();
    assert!(other.get_many(&keys).await.unwrap().into_iter().all(|value| value.as_deref() == Some(b"NEW")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_paused_does_not_do_what_was_given_up() {
    let server = RedisServer::start().await;
    let client = opened(&format!("{}?connections=1&timeout=300ms&deadline=400ms", server.url())).await;
    until(Duration::from_secs(30), async || set(&client, "k", "FIRST", YES).await.is_ok()).await;
    server.pause();
    let error = set(&client, "k", "OLD", YES).await.unwrap_err();
    assert!(is_given_up(&error), "{error:?}");
    server.resume();
    let other = open(&server.url()).await.unwrap();
    assert_stays(&other, "k", "FIRST").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_servers_refuse_what_is_late() {
    let (sentinel, cluster) = (RedisSentinel::start().await, RedisCluster::start().await);
    for url in [sentinel.url(), cluster.url()] {
        let client = open(&url).await.unwrap();
        let script = script();
        let keys: Vec<_> = (0..50).map(|n| format!("k{n}")).collect();
        let calls: Vec<_> = keys.iter().map(|key| script.key(key).arg("v").deadline()).collect();
        let all_done = async || client.run_many::<()>(&calls, NO).await.iter().all(Result::is_ok);
        until(Duration::from_secs(30), all_done).await;
        let brief = async || set(&client.with_deadline(Duration::from_millis(300)), "k1", "w", NO).await;
        until(Duration::from_secs(30), async || brief().await.is_ok()).await;
        if url == sentinel.url() {
            sentinel.primary().await.unwrap().unwrap().pause();
        } else {
            cluster.primary_of("k1").await.unwrap().unwrap().pause();
        }
        let begun = Instant::now();
        let error = set(&client.with_deadline(Duration::from_millis(200)), "k1", "x", YES).await.unwrap_err();
        assert!(is_given_up(&error), "{error:?}");
        assert!(begun.elapsed() < generously(Duration::from_secs(1)), "{:?}", begun.elapsed());
        sentinel.resume();
        cluster.resume();
        until(Duration::from_secs(30), async || get_quietly(&client, "k1").await.is_some()).await;
        assert_eq!(get(&client, "k1").await.as_deref(), Some("w"));
    }
}

async fn get_quietly(client: &RedisClient, key: &str) -> Option<String> {
    client.query(cmd("GET").arg(key), YES).await.ok().flatten()
}

/// Each connection has a reading of its own, for seven seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alone_asks_for_the_time_over_one_connection() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = open(&format!("{}?connections=2", proxy.url(&server.url()))).await.unwrap();
    let (begun, before) = (Instant::now(), proxy.counts().command("TIME"));
    for number in 0..8 {
        set(&client, "alone", &number.to_string(), YES).await.unwrap();
    }
    let readings = 1 + begun.elapsed().as_secs() / 7;
    let asked = proxy.counts().command("TIME") - before;
    assert!(asked <= readings, "{asked} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_id_however_often_it_is_sent() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let client = opened(&format!("{}?connections=1&timeout=300ms", proxy.url(&server.url()))).await;
    let patient = open(&format!("{}?timeout=20s&deadline=40s", server.url())).await.unwrap();
    let note = RedisScript::new(format!("{REFUSE_LATE} return redis.call('RPUSH', KEYS[1], ARGV[1])"));
    let others = note.key("others").id().deadline();
    // It knows the server's time from then on.
    until(Duration::from_secs(30), async || others.run::<u64>(&client, YES).await.is_ok()).await;
    let call = note.key("ids").id().deadline();
    proxy.black_hole_way(Direction::ToClient);
    let error = call.run::<u64>(&client, YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    proxy.heal();
    call.run::<u64>(&patient, YES).await.unwrap();
    let other = note.key("ids").id().deadline();
    other.run::<u64>(&patient, YES).await.unwrap();
    let ids: Vec<Vec<u8>> = patient.query(cmd("LRANGE").arg("ids").arg(0).arg(-1), YES).await.unwrap();
    let (last, same) = ids.split_last().unwrap();
    assert!(same.len() >= 2 && same.iter().all(|id| id == &same[0] && id.len() == 8), "{ids:?}");
    assert_ne!(last, &same[0]);
}

/// A server with a clock of its own. It runs scripts by noting when they came and until when they may.
#[derive(Default)]
struct Stub {
    /// How far its clock is ahead, in microseconds.
    ahead: AtomicI64,
    /// How often it was asked for the time.
    asked: AtomicU64,
    calls: Mutex<Vec<(i64, i64)>>,
}

impl Stub {
    async fn start() -> (Arc<Self>, String) {
        let server = Arc::<Self>::default();
        let url = stub({
            let server = Arc::clone(&server);
            move |words| server.answer(words)
        });
        (Arc::clone(&server), url.await)
    }

    fn now(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_micros()).unwrap() + self.ahead.load(Ordering::Relaxed)
    }

    fn answer(&self, words: &[String]) -> Option<String> {
        match words[0].as_str() {
            "TIME" => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let (seconds, micros) = (self.now() / 1_000_000, self.now() % 1_000_000);
                Some(format!("*2\r\n:{seconds}\r\n:{micros}\r\n"))
            }
            "EVALSHA" => {
                let (now, latest) = (self.now(), words.last().unwrap().parse().unwrap());
                if now > latest {
                    return Some("-LATE the deadline has passed\r\n".to_owned());
                }
                self.calls.lock().unwrap().push((now, latest));
                Some(":1\r\n".to_owned())
            }
            _ => None,
        }
    }

    fn last(&self) -> (i64, i64) {
        *self.calls.lock().unwrap().last().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_is_told_by_the_servers_clock_whatever_that_shows() {
    const DAY: i64 = 86_400_000_000;
    for ahead in [0, DAY, -DAY, 300 * DAY] {
        let (server, url) = Stub::start().await;
        server.ahead.store(ahead, Ordering::Relaxed);
        let client = open(&format!("{url}?timeout=20s&deadline=40s&connections=1")).await.unwrap();
        let call = RedisScript::new("return 1");
        let begun = Instant::now();
        for _ in 0..20 {
            let _: i64 = call.key("k").deadline().run(&client, NO).await.unwrap();
            let told = server.now() + 20_000_000;
            let (now, latest) = server.last();
            assert!(latest <= told, "{latest} is later than {told}");
            assert!(latest > now, "{latest} is earlier than {now}");
        }
        let readings = 1 + begun.elapsed().as_secs() / 7;
        assert!(server.asked.load(Ordering::Relaxed) <= readings, "the clock is not read for each");
    }
}

/// A clock that jumps ahead makes the server refuse; one behind a new connection is another clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_is_read_again() {
    let (server, url) = Stub::start().await;
    let proxy = FaultProxy::start(url.trim_start_matches("redis://"));
    let client = open(&format!("{}?timeout=20s&deadline=40s&connections=1", proxy.url(&url))).await.unwrap();
    let script = RedisScript::new("return 1");
    let call = script.key("k").deadline();
    let _: i64 = call.run(&client, NO).await.unwrap();
    server.ahead.store(3_600_000_000, Ordering::Relaxed);
    let _: i64 = call.run(&client, NO).await.unwrap();
    assert!(server.asked.load(Ordering::Relaxed) >= 2);
    // As after a failover to a server whose clock is behind.
    server.ahead.store(-3_600_000_000, Ordering::Relaxed);
    proxy.reset_connections();
    until(Duration::from_secs(30), async || call.run::<i64>(&client, NO).await.is_ok()).await;
    let (now, latest) = server.last();
    assert!(
        latest - now <= 20_000_000,
        "by the clock of the former connection it might run for {} s",
        (latest - now) / 1_000_000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_always_comes_too_late_is_a_timeout() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    let never = RedisScript::new("return redis.error_reply('LATE the deadline has passed')");
    let error = never.key("k").deadline().run::<()>(&client, NO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.to_string().contains("did nothing"), "{error}");
}

/// Every verb of a handle with a deadline of its own ends by that, though the configuration allows more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_with_a_deadline_keeps_it_with_every_verb() {
    let server = RedisServer::start().await;
    let client = open(&format!("{}?timeout=20s&deadline=30s", server.url())).await.unwrap();
    set(&client, "k", "v", YES).await.unwrap();
    server.pause();
    let limited = || client.with_deadline(Duration::from_millis(100));
    let begun = Instant::now();
    let get = cmd("GET").arg("k").clone();
    limited().query::<()>(&get, YES).await.unwrap_err();
    limited().query_dated::<()>(&get).await.unwrap_err();
    limited().get(b"k").await.unwrap_err();
    limited().get_many(&["k", "l"]).await.unwrap_err();
    limited().pipeline::<()>(pipe().get("k"), YES).await.unwrap_err();
    limited().query_many::<()>(std::slice::from_ref(&get), YES).await[0].as_ref().unwrap_err();
    set(&limited(), "k", "v", YES).await.unwrap_err();
    limited().exclusive(None).await.unwrap_err();
    limited().eviction_policy().await.unwrap_err();
    assert!(begun.elapsed() < generously(Duration::from_secs(6)), "{:?}", begun.elapsed());
    server.resume();
    until(Duration::from_secs(30), async || get_quietly(&client, "k").await.is_some()).await;
    let over = client.with_deadline(Duration::ZERO);
    let error = set(&over, "k", "late", NO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(get_quietly(&client, "k").await.as_deref(), Some("v"), "it was not sent");
}
