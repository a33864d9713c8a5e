//! What becomes of signals when a server, a network or a process fails.

use std::time::Duration;

use statehouse_coord::{
    AcquireOptions, Acquired, CoordKey, News, PermitId, Rate, RedisSignals, RenewOptions, Signals as _,
    SignalsExt as _, Subscriber,
};
use statehouse_core::{ErrorKind, Namespace, ServiceUrl};
use statehouse_redis::{Idempotence, KeySpace, RedisClient, RedisConfig, redis};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisServer};
use tokio::time::{Instant, sleep, timeout};

use crate::random_namespace;

const LIMIT: Duration = Duration::from_secs(30);

async fn client(url: &str) -> RedisClient {
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", url).unwrap();
    RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap()
}

pub(crate) async fn open(url: &str, namespace: &Namespace) -> RedisSignals {
    RedisSignals::new(client(url).await, namespace).unwrap()
}

fn key(text: &str) -> CoordKey {
    CoordKey::new(text).unwrap()
}

async fn next(subscriber: &mut Subscriber) -> News {
    timeout(LIMIT, subscriber.next()).await.expect("no news").unwrap()
}

async fn until(mut reached: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !reached().await {
        assert!(begun.elapsed() < LIMIT, "not reached");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Each is told that it failed, and then the network delivers what it held back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_neither_adds_nor_takes_nor_holds_when_the_network_heals() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url(), &namespace).await;
    let url = format!("{}?connections=1&timeout=500ms&deadline=600ms", proxy.url(&server.url()));
    let signals = open(&url, &namespace).await;
    let (a, rate) = (key("a"), Rate::new(5, Duration::from_secs(3600)).unwrap());
    let [mine, theirs, third] = [(); 3].map(|()| PermitId::generate().unwrap());
    let permit = || AcquireOptions::new(2, Duration::from_secs(600));
    let mut subscriber = other.subscribe(&[key("a")]).unwrap();
    assert_eq!(next(&mut subscriber).await, News::Resync);
    assert_eq!(other.add(&a, 1).await.unwrap().value, 1);
    assert_eq!(other.acquire_with(&a, theirs, permit()).await.unwrap(), Acquired::Held(1));
    // The server knows the scripts, so that it would run what comes late.
    let warm = key("warm");
    until(async || signals.add(&warm, 1).await.is_ok()).await;
    until(async || signals.reset(&warm).await.is_ok()).await;
    until(async || signals.release(&warm, mine).await.is_ok()).await;
    until(async || signals.publish(&warm, "warm").await.is_ok()).await;
    until(async || signals.take(&warm, rate).await.is_ok()).await;
    for verb in 0..6 {
        proxy.black_hole_way(Direction::ToServer);
        let tried = match verb {
            0 => signals.add(&a, 10).await.map(drop),
            1 => signals.take(&a, rate).await.map(drop),
            2 => signals.acquire_with(&a, mine, permit()).await.map(drop),
            3 => signals.release(&a, theirs).await,
            4 => signals.publish(&a, "late").await,
            _ => signals.reset(&a).await,
        };
        let kind = tried.expect_err("it was black").kind();
        let known = [ErrorKind::OutcomeUnknown, ErrorKind::Timeout, ErrorKind::Unavailable];
        assert!(known.contains(&kind), "{verb} {kind:?}");
        proxy.heal();
        // The same connection, or the next: what was held back is delivered before this is answered.
        until(async || signals.count(&a).await.is_ok()).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(other.count(&a).await.unwrap().unwrap().value, 1);
    assert_eq!(other.take(&a, rate).await.unwrap().remaining, 4);
    assert_eq!(other.acquire_with(&a, third, permit()).await.unwrap(), Acquired::Held(2));
    other.publish(&a, "after").await.unwrap();
    assert_eq!(next(&mut subscriber).await, News::Message { channel: a, message: "after".into() });
}

/// Whoever is not told what became of an add is told that nobody knows, and it is not made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_add_whose_answer_is_lost_is_made_at_most_once() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open(&server.url(), &namespace).await;
    let url = format!("{}?connections=1&timeout=500ms&deadline=2s", proxy.url(&server.url()));
    let signals = open(&url, &namespace).await;
    // The connection knows the server's clock, and the server the script.
    until(async || signals.add(&key("warm"), 1).await.is_ok()).await;
    assert_eq!(other.add(&key("a"), 1).await.unwrap().value, 1);
    proxy.black_hole_way(Direction::ToClient);
    let error = signals.add(&key("a"), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::OutcomeUnknown, Some("signals.add")));
    proxy.heal();
    until(async || signals.count(&key("a")).await.is_ok()).await;
    assert_eq!(other.count(&key("a")).await.unwrap().unwrap().value, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_server_is_gone_or_silent_is_not_ready_until_it_has_resynced() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let signals = open(&proxy.url(&server.url()), &namespace).await;
    let mut subscriber = signals.subscribe(&[key("a")]).unwrap();
    let readiness = subscriber.readiness();
    for round in 0..3 {
        while next(&mut subscriber).await != News::Resync {}
        assert!(!readiness.is_ready());
        until(async || signals.publish(&key("a"), format!("{round}")).await.is_ok()).await;
        while !matches!(next(&mut subscriber).await, News::Message { .. }) {}
        assert!(readiness.is_ready(), "{round}");
        match round {
            0 => server.kill(),
            1 => server.pause(),
            _ => proxy.black_hole(),
        }
        until(async || !readiness.is_ready()).await;
        match round {
            0 => server.restart().await,
            1 => server.resume(),
            _ => proxy.heal(),
        }
    }
    assert_eq!(next(&mut subscriber).await, News::Resync);
}

/// As where the link between two servers of a cluster is cut for a moment: it is counted, and does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_cluster_loses_is_a_resync_though_no_other_follows() {
    let (url, namespace, a) = (RedisCluster::shared().await.url(), random_namespace(), key("a"));
    let (signals, client) = (open(&url, &namespace).await, client(&url).await);
    let mut subscriber = signals.subscribe(std::slice::from_ref(&a)).unwrap();
    assert_eq!(next(&mut subscriber).await, News::Resync);
    let counted = KeySpace::new(&namespace, "coord", "signals").unwrap().key("published");
    // The first of all, one that others follow too soon, and one after others.
    for round in 0..3 {
        let count: u64 = client.query(redis::cmd("INCR").arg(&counted), Idempotence::NotIdempotent).await.unwrap();
        assert!(count > round);
        if round == 1 {
            signals.publish(&a, "next").await.unwrap();
        }
        let begun = Instant::now();
        assert_eq!(next(&mut subscriber).await, News::Resync, "{round}");
        // Two rounds, and two answers, each of which may take as long.
        assert!(begun.elapsed() < Duration::from_secs(5), "{round}: {:?}", begun.elapsed());
        if round == 1 {
            assert_eq!(next(&mut subscriber).await, News::Message { channel: a.clone(), message: "next".into() });
        }
        // For more than two rounds nothing is missed.
        for number in 0..14 {
            signals.publish(&a, format!("{number}")).await.unwrap();
            let message = News::Message { channel: a.clone(), message: format!("{number}").into() };
            assert_eq!(next(&mut subscriber).await, message, "{round}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// It is the store's own, and nothing else would ever take away what somebody else has put there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_told_whatever_was_planted_in_the_place_of_their_number() {
    let (server, namespace, a) = (RedisServer::shared().await, random_namespace(), key("a"));
    let signals = open(&server.url(), &namespace).await;
    let mut subscriber = signals.subscribe(std::slice::from_ref(&a)).unwrap();
    assert_eq!(next(&mut subscriber).await, News::Resync);
    let counted = String::from_utf8(KeySpace::new(&namespace, "coord", "signals").unwrap().key("published")).unwrap();
    for planted in [
        &["SET", &counted, "x"][..],
        &["SET", &counted, "1e3"],
        &["SET", &counted, "-7"],
        &["SET", &counted, "-1"],
        &["SET", &counted, "9223372036854775807"],
        &["SET", &counted, "9007199254740992"],
        &["LPUSH", &counted, "x"],
        &["HSET", &counted, "x", "y"],
        &["SADD", &counted, "x"],
    ] {
        server.command(&["DEL", &counted]).await.unwrap();
        server.command(planted).await.unwrap();
        for number in 0..3 {
            let message = format!("{planted:?} {number}");
            signals.publish(&a, message.clone()).await.unwrap_or_else(|error| panic!("{message}: {error}"));
            let heard = match next(&mut subscriber).await {
                News::Resync => next(&mut subscriber).await,
                heard => heard,
            };
            assert_eq!(heard, News::Message { channel: a.clone(), message: message.into() });
        }
    }
}

/// A new connection may have missed something, whether or not the server says how much that counts messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_ready_between_a_new_connection_and_the_resync_though_the_count_is_late() {
    let (cluster, namespace) = (RedisCluster::start().await, random_namespace());
    let listening = async |node: &RedisServer| {
        let list = node.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.unwrap();
        list.text().is_some_and(|list| list.contains(" sub=1 "))
    };
    let signals = open(&cluster.url(), &namespace).await;
    let mut subscriber = signals.subscribe(&[key("a")]).unwrap();
    assert_eq!(next(&mut subscriber).await, News::Resync);
    let ready = subscriber.readiness();
    let heard = tokio::spawn(async move { while subscriber.next().await.is_some() {} });
    let counted = KeySpace::new(&namespace, "coord", "signals").unwrap().key("published");
    let counts = cluster.primary_of(std::str::from_utf8(&counted).unwrap()).await.unwrap().unwrap();
    let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
    // A new connection is there sooner or later, and often enough at once: before anybody sees that there was none.
    let mut cuts = 0;
    for _ in 0..60 {
        until(async || ready.is_ready()).await;
        // Where one server does both, its connection is not there again before it answers.
        if listening(counts).await {
            counts.command(&kill).await.unwrap();
            until(async || !listening(counts).await).await;
            continue;
        }
        counts.command(&["CLIENT", "PAUSE", "2500", "ALL"]).await.unwrap();
        for node in cluster.nodes().iter().filter(|node| !std::ptr::eq(*node, counts)) {
            node.command(&kill).await.unwrap();
        }
        let cut = Instant::now();
        while ready.is_ready() {
            assert!(cut.elapsed() < Duration::from_millis(700), "who may have missed something is ready");
            sleep(Duration::from_millis(5)).await;
        }
        cuts += 1;
        if cuts == 6 {
            heard.abort();
            return;
        }
    }
    panic!("the server that counts is always the one that is listened to");
}

/// All who listen share a connection, and it goes when they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_of_subscribers_is_one_and_goes_with_the_last() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let (signals, client) = (open(&server.url(), &namespace).await, client(&server.url()).await);
    let listening = async || {
        let list: String = client.query(redis::cmd("CLIENT").arg("LIST"), Idempotence::Idempotent).await.unwrap();
        list.lines().filter(|line| line.contains(" sub=1 ")).count()
    };
    let mut all: Vec<_> = (0..5).map(|number| signals.subscribe(&[key(&number.to_string())]).unwrap()).collect();
    for subscriber in &mut all {
        assert_eq!(next(subscriber).await, News::Resync);
    }
    assert_eq!(listening().await, 1);
    drop(all);
    until(async || listening().await == 0).await;
    let mut again = signals.subscribe(&[key("a")]).unwrap();
    assert_eq!(next(&mut again).await, News::Resync);
    drop(signals);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_and_is_none_of_the_signals_is_corrupt_and_stays() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (signals, client) = (open(&server.url(), &namespace).await, client(&server.url()).await);
    let keys = KeySpace::new(&namespace, "coord", "signals").unwrap();
    let (a, id, rate) = (key("a"), PermitId::generate().unwrap(), Rate::new(1, Duration::from_secs(1)).unwrap());
    let lease = Duration::from_secs(1);
    for (name, text) in [("count:a", "0x10"), ("limit:a", "G\u{2}0123456789abcdef"), ("permits:a", "x")] {
        let mut set = redis::cmd("SET");
        set.arg(keys.key(name)).arg(text);
        client.query::<()>(&set, Idempotence::Idempotent).await.unwrap();
    }
    let errors = [
        signals.add(&a, 1).await.err(),
        signals.count(&a).await.err(),
        signals.take(&a, rate).await.err(),
        signals.acquire_with(&a, id, AcquireOptions::new(1, lease)).await.err(),
        signals.renew_with(&a, id, RenewOptions::new(lease)).await.err(),
        signals.release(&a, id).await.err(),
    ];
    let less_than_nothing = [&b"G\x02"[..], &(-1_f64).to_le_bytes(), &[0; 16]].concat();
    client
        .query::<()>(redis::cmd("SET").arg(keys.key("limit:b")).arg(less_than_nothing), Idempotence::Idempotent)
        .await
        .unwrap();
    assert_eq!(signals.take(&key("b"), rate).await.unwrap_err().kind(), ErrorKind::Corrupt);
    for (number, error) in errors.into_iter().enumerate() {
        assert_eq!(error.expect("no number").kind(), ErrorKind::Corrupt, "{number}");
    }
    let stays: String =
        client.query(redis::cmd("GET").arg(keys.key("permits:a")), Idempotence::Idempotent).await.unwrap();
    assert_eq!(stays, "x");
}

/// What the server has of a limit: how much is in it, as of when, and until when it stays.
async fn limit(client: &RedisClient, name: &[u8]) -> [f64; 3] {
    let bytes: Vec<u8> = client.query(redis::cmd("GET").arg(name), Idempotence::Idempotent).await.unwrap();
    assert_eq!((bytes.len(), &bytes[..2]), (26, &b"G\x02"[..]));
    [2, 10, 18].map(|at| f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_stays_until_it_is_whole_again_and_then_leaves_the_server() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (signals, client) = (open(&server.url(), &namespace).await, client(&server.url()).await);
    let name = KeySpace::new(&namespace, "coord", "signals").unwrap().key("limit:a");
    let rate = Rate::new(10, Duration::from_secs(600)).unwrap();
    for number in 1..=12_u32 {
        let taken = signals.take(&key("a"), rate).await.unwrap();
        assert_eq!(taken.is_allowed(), number <= 10, "{taken:?}");
        let [level, at, until] = limit(&client, &name).await;
        let there = f64::from(number.min(10));
        assert!(level <= there && level > there - 0.9, "{level} after {number}");
        let left: u64 = client.query(redis::cmd("PTTL").arg(&name), Idempotence::Idempotent).await.unwrap();
        // It is counted a moment later, and is not told with each take.
        let (left, whole) = (Duration::from_millis(left) + Duration::from_secs(30), taken.reset_after);
        assert!(left >= whole && left <= 2 * whole + Duration::from_secs(95), "{left:?} after {number}: {whole:?}");
        assert!(until >= at + level * 6e7, "{until} {at} {level}");
    }
}

/// As a replica has it that becomes the master on a host whose clock is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_a_server_whose_clock_was_ahead_goes_on_from_the_clock_that_holds_now() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (signals, client) = (open(&server.url(), &namespace).await, client(&server.url()).await);
    let name = KeySpace::new(&namespace, "coord", "signals").unwrap().key("limit:a");
    let rate = Rate::new(2, Duration::from_secs(3600)).unwrap();
    for left in [1, 0] {
        assert_eq!(signals.take(&key("a"), rate).await.unwrap().remaining, left);
    }
    let [level, at, until] = limit(&client, &name).await;
    let ahead = [level, at + 6e8, until].map(f64::to_le_bytes).concat();
    let mut set = redis::cmd("SETRANGE");
    set.arg(&name).arg(2).arg(ahead);
    let _length: u64 = client.query(&set, Idempotence::Idempotent).await.unwrap();
    // Ten minutes of the clock that was ahead are not waited for.
    assert!(!signals.take(&key("a"), rate).await.unwrap().is_allowed());
    let [_, now, still] = limit(&client, &name).await;
    assert!(now >= at && now < at + 3e8 && still == until, "{now} {at}");
}

/// A failover shows each of them for a moment: they are nobody's data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_not_taken_for_what_is_stored() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let url = format!("{}?timeout=1s&deadline=1500ms", server.url());
    let signals = open(&url, &namespace).await;
    let (a, id, rate) = (key("a"), PermitId::generate().unwrap(), Rate::new(5, Duration::from_secs(1)).unwrap());
    let lease = Duration::from_secs(30);
    let options = || AcquireOptions::new(1, lease);
    until(async || signals.acquire_with(&a, id, options()).await.is_ok_and(|got| got == Acquired::Held(1))).await;
    let all = async || {
        [
            signals.add(&a, 1).await.err(),
            signals.take(&a, rate).await.err(),
            signals.acquire_with(&a, id, options()).await.err(),
            signals.renew_with(&a, id, RenewOptions::new(lease)).await.err(),
            signals.release(&a, id).await.err(),
            signals.publish(&a, "x").await.err(),
        ]
    };
    let set = async |setting: &[&str]| drop(server.command(setting).await.unwrap());
    for (on, off, kind) in [
        (&["REPLICAOF", "127.0.0.1", "1"][..], &["REPLICAOF", "NO", "ONE"][..], ErrorKind::Unavailable),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            ErrorKind::Unavailable,
        ),
        (
            &["ACL", "SETUSER", "default", "-@write"],
            &["ACL", "SETUSER", "default", "+@all"],
            ErrorKind::PermissionDenied,
        ),
    ] {
        set(on).await;
        for (number, error) in all().await.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{on:?}: {number} is done"));
            // A server that is asked again until the deadline may be asked for the last time a moment before it.
            let is_late = kind == ErrorKind::Unavailable && error.kind() == ErrorKind::Timeout;
            assert!(error.kind() == kind || is_late, "{on:?}: {number} {error:?}");
        }
        set(off).await;
    }
    set(&["ACL", "SETUSER", "default", "-get"]).await;
    for error in [signals.add(&a, 1).await.err(), signals.count(&a).await.err(), signals.take(&a, rate).await.err()] {
        assert_eq!(error.expect("it may not read").kind(), ErrorKind::PermissionDenied);
    }
    set(&["ACL", "SETUSER", "default", "+@all"]).await;
    assert!(all().await.iter().all(Option::is_none));
}

/// The first to listen was in a runtime that has ended: whoever listens next hears, and is not told that it does before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_after_a_runtime_has_ended_that_listened_first_hears_what_is_published() {
    let server = RedisServer::start().await;
    let signals = open(&server.url(), &random_namespace()).await;
    let in_the_first = signals.clone();
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut subscriber = in_the_first.subscribe(&[key("news")]).unwrap();
            assert_eq!(next(&mut subscriber).await, News::Resync);
            subscriber
        })
    });
    let of_the_first = tokio::task::spawn_blocking(move || first.join().unwrap()).await.unwrap();
    assert!(!of_the_first.is_ready(), "nobody tells it any more");
    let mut subscriber = signals.subscribe(&[key("news")]).unwrap();
    assert_eq!(next(&mut subscriber).await, News::Resync);
    signals.publish(&key("news"), "dropped").await.unwrap();
    assert_eq!(next(&mut subscriber).await, News::Message { channel: key("news"), message: "dropped".into() });
}
