//! What health and opening say of servers that are ill, old, full, or of the wrong kind.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Health, HealthStatus, Retry};
use statehouse_redis::redis::cmd;
use statehouse_redis::{Contents, Idempotence, Persistence, RedisClient, RedisScript};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisSentinel, RedisServer};
use tokio::net::TcpListener;

use crate::stub::bulk;
use crate::{open, opened, until};

const YES: Idempotence = Idempotence::Idempotent;

/// A prober gives up after a second. The rest is for a machine that is busy with other tests.
const OVER_WITHIN: Duration = Duration::from_secs(4);

async fn health(client: &RedisClient) -> Health {
    let begun = Instant::now();
    let health = client.health().await;
    assert!(begun.elapsed() < OVER_WITHIN, "{:?}: {health:?}", begun.elapsed());
    health
}

/// It is well, and this machine may be too busy for it to say so at once.
async fn up(client: &RedisClient) {
    until(Duration::from_secs(30), async || health(client).await.is_up()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_within_a_second_whatever_the_server_does() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    // With timeouts as long as somebody may have set them.
    let patient = "?timeout=20s&deadline=60s&connect_timeout=10s";
    let client = open(&format!("{}{patient}", proxy.url(&server.url()))).await.unwrap();
    up(&client).await;
    let down = async |when: &str| {
        let health = health(&client).await;
        assert_eq!(health.status, HealthStatus::Down, "{when}");
        let error = health.error.unwrap();
        assert!([ErrorKind::Timeout, ErrorKind::Unavailable].contains(&error.kind()), "{when}: {error:?}");
    };
    let again = async |when: &str| {
        let again = until(Duration::from_secs(30), async || client.health().await.is_up()).await;
        println!("health: up again {again:?} after {when}");
    };
    server.pause();
    down("paused, and nobody knows").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    down("paused, and known to be away").await;
    server.resume();
    again("a pause").await;
    proxy.black_hole();
    down("in a black hole").await;
    proxy.heal();
    again("a black hole").await;
    proxy.cut();
    down("refusing connections").await;
    proxy.heal();
    again("refused connections").await;
    server.kill();
    down("gone").await;
    server.restart().await;
    again("a restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_of_groups_is_told_within_a_second_when_all_of_them_hang() {
    let (cluster, group) = tokio::join!(RedisCluster::start(), RedisSentinel::start());
    let (of_cluster, of_group) = (open(&cluster.url()).await.unwrap(), open(&group.url()).await.unwrap());
    up(&of_cluster).await;
    up(&of_group).await;
    cluster.pause();
    group.pause();
    for _ in 0..3 {
        assert_eq!(health(&of_cluster).await.status, HealthStatus::Down);
        assert_eq!(health(&of_group).await.status, HealthStatus::Down);
    }
    cluster.resume();
    group.resume();
}

#[tokio::test]
async fn a_replica_is_not_up() {
    let server = RedisServer::start().await;
    let client = open(&server.url()).await.unwrap();
    up(&client).await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let ill = health(&client).await;
    assert_eq!(ill.status, HealthStatus::Degraded, "{ill:?}");
    assert!(ill.error.unwrap().to_string().contains("is a replica and refuses writes"));
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    up(&client).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_refuse_writes_is_not_up() {
    let server = RedisServer::builder().arg("--enable-protected-configs", "yes").start().await;
    let client = open(&server.url()).await.unwrap();
    let tell = async |command: &[&str]| drop(server.command(command).await.unwrap());
    let refuses = async |why: &str| {
        let ill = client.health().await;
        ill.status == HealthStatus::Degraded && ill.error.is_some_and(|error| error.to_string().contains(why))
    };
    tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    assert!(refuses("min-replicas-to-write").await);
    tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    up(&client).await;
    for setting in [["save", "3600 1"], ["dir", "/proc"]] {
        tell(&["CONFIG", "SET", setting[0], setting[1]]).await;
    }
    tell(&["SET", "k", "v"]).await;
    tell(&["BGSAVE"]).await;
    until(Duration::from_secs(30), async || refuses("stop-writes-on-bgsave-error").await).await;
    let error = client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    // What is there can be read, also by who comes now.
    let value: Option<String> = open(&server.url()).await.unwrap().query(cmd("GET").arg("k"), YES).await.unwrap();
    assert_eq!(value.as_deref(), Some("v"));
    tell(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    up(&client).await;
}

#[tokio::test]
async fn memory_without_room_is_not_up_and_neither_is_a_server_that_evicts_what_must_stay() {
    let server = RedisServer::builder().max_memory(4 << 20, "noeviction").start().await;
    let client = open(&server.url()).await.unwrap();
    let of = async |contents| client.health_of(contents).await;
    assert!(of(Contents::MayVanish).await.is_up() && of(Contents::MustStay).await.is_up());
    for n in 0.. {
        let set = client.query::<()>(cmd("SET").arg(n).arg(vec![0_u8; 30_000]), YES).await;
        if set.is_err() {
            break;
        }
    }
    for contents in [Contents::MayVanish, Contents::MustStay] {
        let full = of(contents).await;
        assert_eq!(full.status, HealthStatus::Degraded, "{full:?}");
        let error = full.error.unwrap();
        assert!(error.retry() == Retry::FULL && error.to_string().contains("evicts nothing"), "{error:?}");
    }
    for policy in ["allkeys-lru", "volatile-ttl"] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
        let (cache, sessions) = (of(Contents::MayVanish).await, of(Contents::MustStay).await);
        assert_eq!((cache.status, sessions.status), (HealthStatus::Up, HealthStatus::Degraded), "{policy}");
        assert!(sessions.error.unwrap().to_string().contains("noeviction"));
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert!(of(Contents::MustStay).await.is_up());
}

#[tokio::test]
async fn a_user_that_may_ask_nothing_about_the_server_can_work_and_is_up() {
    let server = RedisServer::builder().acl_user("app", "pw", "~* +@all -info -role -config").start().await;
    let client = open(&server.url()).await.unwrap();
    up(&client).await;
    client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap();
}

/// Each write of a cache or of sessions is a script: that none may run is told before the first one.
#[tokio::test]
async fn a_user_that_may_run_no_scripts_is_told_by_health() {
    let server = RedisServer::builder().acl_user("app", "pw", "~* +@all").start().await;
    for rights in ["-eval", "-evalsha", "-@scripting", "-time"] {
        server.command(&["ACL", "SETUSER", "app", "~*", "+@all", rights]).await.unwrap();
        let client = open(&server.url()).await.unwrap();
        let health = health(&client).await;
        assert_eq!(health.status, HealthStatus::Degraded, "{rights}: {health:?}");
        let error = health.error.unwrap();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::PermissionDenied, false), "{rights}");
        assert!(error.to_string().contains("EVAL, EVALSHA and TIME"), "{error}");
        client.query::<Option<String>>(cmd("GET").arg("k"), YES).await.expect("reads go on");
    }
    // Rights that come and go while the program runs.
    let client = open(&server.url()).await.unwrap();
    server.command(&["ACL", "SETUSER", "app", "+@all"]).await.unwrap();
    up(&client).await;
    server.command(&["ACL", "SETUSER", "app", "-eval"]).await.unwrap();
    assert_eq!(health(&client).await.status, HealthStatus::Degraded);
}

#[tokio::test]
async fn what_a_script_may_not_do_is_permission_denied() {
    let server = RedisServer::builder().acl_user("app", "pw", "~app:* +@all -time").start().await;
    let client = open(&server.url()).await.unwrap();
    let time = RedisScript::new("return redis.call('TIME')");
    let other = RedisScript::new("return redis.call('GET', 'other')");
    let errors = [
        time.key("app:k").run::<Vec<String>>(&client, YES).await.unwrap_err(),
        other.key("app:k").run::<Option<String>>(&client, YES).await.unwrap_err(),
        client.query_dated::<Option<String>>(cmd("GET").arg("app:k")).await.unwrap_err(),
        client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.to_string().contains("does not allow this user"), "{error}");
    }
}

/// The time for the last try is what is left, and may be too short for any answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_has_said_is_told_though_the_last_try_had_no_time_for_an_answer() {
    let is_silent = Arc::<AtomicBool>::default();
    let url = crate::stub::stub({
        let is_silent = Arc::clone(&is_silent);
        move |words| match (words[0].as_str(), is_silent.load(Ordering::Relaxed)) {
            ("GET", false) => {
                is_silent.store(true, Ordering::Relaxed);
                Some("-BUSY Redis is busy running a script\r\n".to_owned())
            }
            (_, is_silent) => is_silent.then(String::new),
        }
    });
    // Shorter than a silence in which a connection is doubted.
    let client = opened(&format!("{}?connections=1&timeout=450ms&deadline=450ms", url.await)).await;
    let error = client.query::<String>(cmd("GET").arg("k"), YES).await.unwrap_err();
    assert!(is_silent.load(Ordering::Relaxed) && error.kind() == ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("busy"), "{error}");
}

/// A server that somebody's script keeps busy says so: it is asked until the deadline, and not given up before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_asked_until_the_deadline() {
    let server = RedisServer::builder().arg("--lua-time-limit", "100").start().await;
    let client = open(&server.url()).await.unwrap();
    let patient = open(&format!("{}?timeout=20s&deadline=40s", server.url())).await.unwrap();
    let endless = async {
        let _killed = server.command(&["EVAL", "while true do end", "0"]).await;
    };
    let work = async {
        let busy = async || {
            let answer = server.command(&["PING"]).await.unwrap();
            answer.text() != Some("PONG")
        };
        until(Duration::from_secs(30), busy).await;
        let begun = Instant::now();
        let error = client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap_err();
        println!("busy: {error} after {:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().contains("busy"), "{error}");
        assert!(begun.elapsed() > Duration::from_millis(1500), "given up after {:?}", begun.elapsed());
        assert_eq!(health(&client).await.status, HealthStatus::Down);
        let set = cmd("SET").arg("k").arg("v").clone();
        let asking = patient.query::<()>(&set, YES);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(1000)).await;
            server.command(&["SCRIPT", "KILL"]).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asking, killing);
        answer.unwrap();
    };
    tokio::join!(endless, work);
}

/// A server that says that it is of this version, or nothing if that is empty.
async fn stub(version: &'static str) -> String {
    crate::stub::stub(move |words| match words[0].as_str() {
        "INFO" if version.is_empty() => Some("-NOPERM no\r\n".to_owned()),
        "INFO" => Some(bulk(&format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n"))),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_in_words() {
    for old in ["5.0.14", "6.0.16", "6.1.0"] {
        let error = open(&stub(old).await).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("is version {}", &old[..3])) && text.contains("6.2 or newer"), "{text}");
        assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"));
    }
    for fine in ["6.2.0", "7.0.15", "7.2.4", "8.4.0", "255.255.255", "", "unknown"] {
        open(&stub(fine).await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_when_a_server_stops_is_told() {
    let server = RedisServer::builder().arg("--enable-protected-configs", "yes").start().await;
    let client = open(&server.url()).await.unwrap();
    let kept = async || client.persistence().await.unwrap();
    assert_eq!(kept().await, Persistence::Nothing);
    let tell = async |command: &[&str]| drop(server.command(command).await.unwrap());
    tell(&["CONFIG", "SET", "save", "3600 1"]).await;
    assert_eq!(kept().await, Persistence::Snapshots);
    // Where nothing can be written.
    tell(&["CONFIG", "SET", "dir", "/proc"]).await;
    tell(&["SET", "k", "v"]).await;
    tell(&["BGSAVE"]).await;
    until(Duration::from_secs(30), async || kept().await == Persistence::Failing).await;

    let keeping = RedisServer::builder().arg("--appendonly", "yes").start().await;
    let client = open(&keeping.url()).await.unwrap();
    client.query::<()>(cmd("SET").arg("k").arg("v"), YES).await.unwrap();
    assert_eq!(client.persistence().await.unwrap(), Persistence::AppendOnlyFile);
    keeping.pause();
    let error = client.persistence().await.unwrap_err();
    assert!([ErrorKind::Timeout, ErrorKind::Unavailable].contains(&error.kind()), "{error:?}");
    keeping.resume();

    let builder = RedisServer::builder().acl_user("app", "secret", "~* +@all -config -info");
    let silent = builder.start().await;
    let client = open(&silent.url()).await.unwrap();
    assert_eq!(client.persistence().await.unwrap(), Persistence::Unknown);
}

/// What somebody sees who configured it wrong: the server, the setting and what is wrong, each once.
fn assert_tells(error: &Error, place: &str, what: &str) {
    let text = error.to_string();
    assert!(text.contains(place) && text.contains(what), "{text}");
    assert!(text.contains("(setting STATEHOUSE_CACHE_URL)"), "{text}");
    let mut cause = error.source();
    while let Some(source) = cause {
        assert!(!text.contains(&source.to_string()), "{text} says its cause {source} already");
        cause = source.source();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_opening_name_the_server_the_setting_and_what_is_wrong() {
    let gone = RedisServer::start().await;
    let address = gone.address().to_owned();
    drop(gone);
    let error = open(&format!("redis://{address}?deadline=1s")).await.unwrap_err();
    assert_tells(&error, &address, "nothing listens");
    let error = open("redis://no-such-host.invalid?connect_timeout=20s&deadline=30s").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_tells(&error, "no-such-host.invalid:6379", "does not resolve");
    let server = RedisServer::builder().password("right").start().await;
    let error = open(&format!("redis://{}", server.address())).await.unwrap_err();
    assert_tells(&error, server.address(), "requires a password");
    let error = open(&format!("redis://:wrong@{}", server.address())).await.unwrap_err();
    assert_tells(&error, server.address(), "user or password is wrong");
    let error = open(&format!("{}/99", server.url())).await.unwrap_err();
    assert_tells(&error, server.address(), "no database of that number");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let error = open(&format!("redis://{silent}?deadline=1s")).await.unwrap_err();
    assert_tells(&error, &silent, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_side_of_tls_is_named() {
    let server = RedisServer::builder().tls().start().await;
    let (secure, plain) = (server.tls_url(), server.url());
    let (cluster, group) = (RedisCluster::shared().await.url(), RedisSentinel::shared().await.url());
    let cases = [
        (secure.replace("rediss:", "redis:").replace("localhost", "127.0.0.1"), "use rediss: in place of redis:"),
        (plain.replace("redis:", "rediss:"), "use redis: in place of rediss:"),
        (cluster.replace("redis+", "rediss+"), "use redis: in place of rediss:"),
        (group.replace("redis+", "rediss+"), "use redis: in place of rediss:"),
    ];
    for (url, advice) in cases {
        let (mut error, mut looks) = (open(&url).await.unwrap_err(), 1);
        // A look at what is there is short, and this machine may be busy.
        while error.kind() != ErrorKind::InvalidConfig && looks < 20 {
            (error, looks) = (open(&url).await.unwrap_err(), looks + 1);
        }
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error:?}");
        assert_tells(&error, "127.0.0.1:", advice);
        println!("{url}: {error}");
    }
}

/// All servers answer whatever they are asked of themselves; what has a key is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_has_no_server_for_a_slot_is_not_well() {
    const OF_SLOT_0: &str = "la2";
    let cluster = RedisCluster::start().await;
    let client = open(&cluster.url()).await.unwrap();
    let all = async |asked: &[&str]| {
        for node in cluster.nodes() {
            // One that has none of it refuses.
            let _unknown = node.command(asked).await;
        }
    };
    let status = async || health(&client).await.status;
    let set = async |key: &str| client.query::<()>(cmd("SET").arg(key).arg("v"), YES).await.is_ok();
    let soon = Duration::from_secs(60);
    assert_eq!(status().await, HealthStatus::Up);
    let owner = cluster.primary_of(OF_SLOT_0).await.unwrap().unwrap();
    // Again and again: one that still had it may have told another.
    let forget = async || all(&["CLUSTER", "DELSLOTS", "0"]).await;
    let down = async || {
        forget().await;
        status().await == HealthStatus::Down
    };
    until(soon, down).await;
    let told = async || {
        forget().await;
        let said = health(&client).await.error.map(|error| error.to_string());
        said.is_some_and(|said| said.contains("no server for the key's slot"))
    };
    until(soon, told).await;
    // Told to, it serves what is left.
    all(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    let in_part = async || {
        forget().await;
        status().await == HealthStatus::Degraded && !set(OF_SLOT_0).await && set("k").await
    };
    until(soon, in_part).await;
    owner.command(&["CLUSTER", "ADDSLOTS", "0"]).await.unwrap();
    until(soon, async || status().await == HealthStatus::Up).await;
}

/// What is on its way to others is in front of the answer, and shows that the server is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_sending_much_is_told_in_time_and_is_not_down() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let (near, client) = (open(&server.url()).await.unwrap(), open(&proxy.url(&server.url())).await.unwrap());
    let keys: Vec<_> = (0..256).map(|n| format!("k{n}")).collect();
    for key in &keys {
        near.query::<()>(cmd("SET").arg(key).arg(vec![b'x'; 60 << 10]), YES).await.unwrap();
    }
    proxy.limit(Direction::ToClient, 3_000_000);
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let (client, keys) = (client.clone(), keys.clone());
            tokio::spawn(async move { client.get_many(&keys).await.map(drop) })
        })
        .collect();
    // Until they are sent.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let found = health(&client).await;
    assert_ne!(found.status, HealthStatus::Down, "{found:?}");
    for read in reads {
        read.abort();
    }
}
