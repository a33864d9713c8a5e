//! A server or a disk without space: nothing new is stored, and whoever logs out is logged out.

use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Health, HealthStatus, Result, Retry};
use statehouse_redis::RedisClient;
use statehouse_session::{
    Attribute, AttributeName, Attributes, Authority, Deleted, Delta, Limit, LocalConfig, LocalSessionStore,
    MemoryConfig, MemorySessionStore, NewSession, Principal, RedisSessionStore, Revoke, Rotation, Saved, SessionKey,
    SessionStore, SessionStoreExt as _, Token, Touched,
};
use statehouse_testkit::{RedisCluster, RedisServer, Reply, SmallDisk};

use crate::random_namespace;

fn new(token: &Token) -> NewSession {
    NewSession::new(token.verifier_hash(), Duration::from_secs(600), Duration::from_secs(6_000))
}

async fn create(store: &dyn SessionStore) -> Token {
    let token = Token::generate().unwrap();
    store.create(&token.key(), &new(&token)).await.unwrap();
    token
}

async fn is_there(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key).await.unwrap().found().is_some()
}

/// What holds on a store that has no room, for sessions that were created before.
async fn ends_sessions(store: &dyn SessionStore, [held, other, kept]: [&Token; 3]) {
    let refused = Token::generate().unwrap();
    let error = store.create(&refused.key(), &new(&refused)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");

    let stranger = Authority::Holder(refused.verifier_hash());
    assert_eq!(store.delete(&held.key(), stranger).await.unwrap(), Deleted::Refused);
    assert_eq!(store.delete(&held.key(), Authority::Holder(held.verifier_hash())).await.unwrap(), Deleted::Removed);
    assert_eq!(store.delete(&other.key(), Authority::Application).await.unwrap(), Deleted::Removed);
    for key in [held.key(), other.key()] {
        assert!(!is_there(store, &key).await);
        assert_eq!(store.delete(&key, Authority::Application).await.unwrap(), Deleted::Gone);
        assert_eq!(store.touch(&key).await.unwrap(), Touched::Gone);
    }
    assert_eq!(store.touch(&kept.key()).await.unwrap(), Touched::Slid);
    assert!(is_there(store, &kept.key()).await);
}

/// Two sessions of each of some principals.
async fn log_in_twice(store: &dyn SessionStore, names: &[&str]) -> Vec<[Token; 2]> {
    let mut all = Vec::new();
    for name in names {
        let tokens = [Token::generate().unwrap(), Token::generate().unwrap()];
        for token in &tokens {
            let login = new(token).with_principal(Principal::new(*name).unwrap());
            store.create(&token.key(), &login).await.unwrap();
        }
        all.push(tokens);
    }
    all
}

async fn which_are_there(store: &dyn SessionStore, sessions: &[[Token; 2]]) -> Vec<bool> {
    let mut there = Vec::new();
    for token in sessions.iter().flatten() {
        there.push(is_there(store, &token.key()).await);
    }
    there
}

/// What holds there of the sessions of somebody that end together.
async fn revokes(store: &dyn SessionStore, sessions: &[[Token; 2]], [all, others, _]: [&str; 3]) {
    for token in sessions.iter().flatten() {
        assert_eq!(store.touch(&token.key()).await.unwrap(), Touched::Slid);
    }
    store.revoke(Revoke::All(&Principal::new(all).unwrap())).await.unwrap();
    let others = Principal::new(others).unwrap();
    store.revoke(Revoke::Others(&others, &sessions[1][0].key())).await.unwrap();
    assert_eq!(which_are_there(store, sessions).await, [false, false, true, false, true, true]);
    assert_eq!(store.list(&others).await.unwrap().len(), 1);
}

/// And of those of everybody: they end, and a login that was under way comes to nothing.
async fn revokes_everything(store: &dyn SessionStore, sessions: &[[Token; 2]], [_, _, name]: [&str; 3]) {
    let principal = Principal::new(name).unwrap();
    let begun = store.epoch(&principal).await.unwrap();
    store.revoke(Revoke::Everything).await.unwrap();
    assert_eq!(which_are_there(store, sessions).await, [false; 6]);
    assert!(store.epoch(&principal).await.unwrap() > begun);
}

const FIRST: [&str; 3] = ["a", "b", "c"];
const SECOND: [&str; 3] = ["d", "e", "f"];

#[tokio::test]
async fn a_redis_without_memory_ends_sessions() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start().await;
    let config = statehouse_redis::RedisConfig::from_url(
        &mut statehouse_core::ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap(),
    );
    let store = RedisSessionStore::new(RedisClient::open(config.unwrap()).await.unwrap(), &random_namespace()).unwrap();
    let (held, other, kept) = (create(&store).await, create(&store).await, create(&store).await);
    let (early, late) = (log_in_twice(&store, &FIRST).await, log_in_twice(&store, &SECOND).await);
    // Less than it has in use already, so that no buffer that is freed makes room.
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    ends_sessions(&store, [&held, &other, &kept]).await;
    // The scripts of a revocation are new to the server, and it takes them, once more where it has lost them all.
    revokes(&store, &early, FIRST).await;
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    revokes(&store, &late, SECOND).await;
    for (sessions, names) in [(&early, FIRST), (&late, SECOND)] {
        revokes_everything(&store, sessions, names).await;
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    create(&store).await;
}

/// Or whoever is at it would be logged out while the server is full.
#[tokio::test]
async fn on_a_redis_without_memory_a_session_slides() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start().await;
    let namespace = random_namespace();
    let store = crate::open_redis(&server.url(), &namespace).await;
    let anonymous = create(&store).await;
    let [[logged_in, _]] = &log_in_twice(&store, &["u42"]).await[..] else { panic!("one principal") };
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    for token in [&anonymous, logged_in] {
        let key = format!("{namespace}:session:records:{}", token.key());
        let expires = async || {
            let Reply::Integer(left) = server.command(&["PTTL", &key]).await.unwrap() else { panic!("no key") };
            (left, store.load(&token.key()).await.unwrap().found().expect("a session").expires())
        };
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = expires().await;
        assert_eq!(store.touch(&token.key()).await.unwrap(), Touched::Slid);
        let after = expires().await;
        assert!(after.0 > before.0, "the key: {before:?} {after:?}");
        assert!(after.1.since(before.1) >= Duration::from_secs(2), "the session: {before:?} {after:?}");
    }
}

/// The epochs and the sessions lie on different nodes there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_memory_ends_sessions_together() {
    let cluster = RedisCluster::start_with(RedisServer::builder().max_memory(64 << 20, "noeviction")).await;
    let store = crate::open_redis(&cluster.url(), &random_namespace()).await;
    let early = log_in_twice(&store, &FIRST).await;
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    }
    revokes(&store, &early, FIRST).await;
    revokes_everything(&store, &early, FIRST).await;
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let store = LocalSessionStore::open(disk.path().join("sessions")).await.unwrap();
    let (held, other, kept) = (create(&store).await, create(&store).await, create(&store).await);
    let logged_in = log_in_twice(&store, &FIRST).await;
    disk.fill("filler");
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Degraded, "{health:?}");
    assert_eq!(health.error.unwrap().retry(), Retry::FULL);
    ends_sessions(&store, [&held, &other, &kept]).await;
    revokes(&store, &logged_in, FIRST).await;
    revokes_everything(&store, &logged_in, FIRST).await;
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    create(&store).await;
    assert_eq!(store.health().await.status, HealthStatus::Up);
    drop(store);
    // One whose folder is made, and whose disk turns read-only before it is opened.
    disk.set_read_only(true);
    match LocalSessionStore::open(disk.path().join("sessions")).await {
        Ok(store) => assert_eq!(store.health().await.error.unwrap().kind(), ErrorKind::PermissionDenied),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}"),
    }
}

#[test]
fn a_disk_without_space_ends_sessions() {
    SmallDisk::run(4, "full::the_process_on_the_small_disk");
}

fn is_degraded_for(health: &Health, what: &str) -> bool {
    health.status == HealthStatus::Degraded
        && health.error.as_ref().is_some_and(|error| error.to_string().contains(what))
}

/// What the server does may change while it runs: each health check asks again.
#[tokio::test]
async fn a_policy_that_is_changed_later_and_a_full_memory_are_seen_by_health() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start().await;
    let store = crate::open_redis(&server.url(), &random_namespace()).await;
    assert!(store.health().await.is_up());
    let set =
        async |setting: &str, value: &str| drop(server.command(&["CONFIG", "SET", setting, value]).await.unwrap());
    for policy in ["volatile-lru", "allkeys-lfu"] {
        set("maxmemory-policy", policy).await;
        let health = store.health().await;
        assert!(is_degraded_for(&health, "evicts what must stay"), "{policy}: {health:?}");
    }
    set("maxmemory-policy", "noeviction").await;
    assert!(store.health().await.is_up());
    set("maxmemory", "100kb").await;
    let health = store.health().await;
    assert!(is_degraded_for(&health, "evicts nothing"), "{health:?}");
    set("maxmemory", "0").await;
    assert!(store.health().await.is_up());
}

/// Entries of a cache, all with a time to live as sessions have, of four times the memory that the server has.
async fn fill_with_entries(server: &RedisServer) {
    let value = "x".repeat(64 << 10);
    for entry in 0..512 {
        // What is full refuses them.
        drop(server.command(&["SET", &format!("entry:{entry}"), &value, "PX", "600000"]).await.unwrap());
    }
}

/// Why a cache and sessions are better on two servers, or on two databases of Valkey with memory of their own: of one, with
/// each policy, one of the two suffers from what the other keeps.
#[tokio::test]
async fn of_one_redis_for_a_cache_and_sessions_either_sessions_go_or_logins_fail() {
    for (policy, keeps) in [("volatile-lru", false), ("allkeys-lru", false), ("noeviction", true)] {
        let server = RedisServer::builder().max_memory(8 << 20, policy).start().await;
        let store = crate::open_redis(&server.url(), &random_namespace()).await;
        let mut tokens = Vec::new();
        for _ in 0..100 {
            tokens.push(create(&store).await);
        }
        fill_with_entries(&server).await;
        if keeps {
            // Less than it has in use by now, so that no buffer that is freed makes room.
            server.command(&["CONFIG", "SET", "maxmemory", "6mb"]).await.unwrap();
        }
        let mut left = 0;
        for token in &tokens {
            left += u32::from(is_there(&store, &token.key()).await);
        }
        let another = Token::generate().unwrap();
        let created = store.create(&another.key(), &new(&another)).await;
        assert_eq!(left == 100, keeps, "{policy}: {left} of 100 sessions are left");
        assert_eq!(created.is_ok(), !keeps, "{policy}: {created:?}");
    }
}

/// What `min-replicas-to-write 1` costs where there is one replica: after a failover there is none.
#[tokio::test]
async fn a_redis_that_demands_a_replica_and_has_none_serves_reads_and_refuses_logins_and_logouts() {
    let server = RedisServer::start().await;
    let store = crate::open_redis(&server.url(), &random_namespace()).await;
    let token = create(&store).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    assert!(is_there(&store, &token.key()).await);
    let another = Token::generate().unwrap();
    let login = store.create(&another.key(), &new(&another)).await.unwrap_err();
    assert_eq!(login.kind(), ErrorKind::Unavailable, "{login:?}");
    let logout = store.delete(&token.key(), Authority::Holder(token.verifier_hash())).await.unwrap_err();
    assert_eq!(logout.kind(), ErrorKind::Unavailable, "{logout:?}");
    assert!(logout.to_string().contains("too few replicas"), "{logout}");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    create(&store).await;
}

/// What `min-replicas-to-write` is good for: a master that its replicas have left takes writes, which a failover would lose,
/// for no longer than `min-replicas-max-lag`, and without the setting for ever.
#[tokio::test]
async fn a_redis_that_demands_a_replica_takes_writes_without_it_for_the_lag_only() {
    let server = RedisServer::builder().arg("--repl-diskless-sync-delay", "0").start().await;
    let (host, port) = server.address().split_once(':').unwrap();
    let replica = RedisServer::builder().arg("--replicaof", &format!("{host} {port}")).start().await;
    let store = crate::open_redis(&server.url(), &random_namespace()).await;
    let set = async |name: &str, value: &str| drop(server.command(&["CONFIG", "SET", name, value]).await.unwrap());
    set("min-replicas-max-lag", "1").await;
    set("min-replicas-to-write", "1").await;
    let begun = Instant::now();
    while log_in(&store).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the replica has not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replica.pause();
    let paused = Instant::now();
    let error = loop {
        match log_in(&store).await {
            Ok(_) => assert!(paused.elapsed() < Duration::from_secs(30), "writes go on without a replica"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(error.to_string().contains("too few replicas"), "{error:?}");
    set("min-replicas-to-write", "0").await;
    log_in(&store).await.unwrap();
    replica.resume();
}

async fn log_in(store: &dyn SessionStore) -> Result<Token> {
    let token = Token::generate()?;
    store.create(&token.key(), &new(&token).with_principal(Principal::new("u42")?)).await?;
    Ok(token)
}

/// Whoever begins sessions and logs out of them at once keeps nobody from logging in.
async fn deletions_make_room(store: &dyn SessionStore, capacity: usize) {
    let user = log_in(store).await.unwrap();
    for _ in 0..3 * capacity {
        let token = create(store).await;
        let deleted = store.delete(&token.key(), Authority::Holder(token.verifier_hash())).await.unwrap();
        assert_eq!(deleted, Deleted::Removed);
    }
    for _ in 1..capacity {
        log_in(store).await.unwrap();
    }
    assert!(is_there(store, &user.key()).await);
    let error = log_in(store).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "all of them are logged in");
}

/// What no empty store has room for is refused for good, and nobody else's session goes for it.
async fn too_large_is_no_full_store(store: &dyn SessionStore) {
    let anonymous = create(store).await;
    let large = Token::generate().unwrap();
    let attribute = Attribute::encode(&"x".repeat(64 << 10)).unwrap();
    let delta = Delta::new().with_set(AttributeName::new("a").unwrap(), attribute);
    let error = store
        .create(&large.key(), &new(&large).with_attributes(delta.apply(&Attributes::new()).unwrap()))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TooLarge, Retry::Never), "{error:?}");
    let base = store.load(&anonymous.key()).await.unwrap().found().expect("nobody made room");
    let error = store.save(&base, Authority::Application, &delta).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TooLarge, Retry::Never), "{error:?}");
    assert!(is_there(store, &anonymous.key()).await);
}

#[tokio::test]
async fn a_session_that_fits_into_no_empty_store_is_too_large() {
    let config = MemoryConfig::default().with_capacity(64 << 10).unwrap();
    too_large_is_no_full_store(&MemorySessionStore::with_config(config)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = LocalConfig::new(folder.path()).with_capacity(64 << 10).unwrap();
    too_large_is_no_full_store(&LocalSessionStore::open_with(config).await.unwrap()).await;
}

#[tokio::test]
async fn what_is_remembered_of_deletions_makes_room_in_memory_and_on_disk() {
    let config = MemoryConfig::default().with_max_sessions(8).unwrap();
    deletions_make_room(&MemorySessionStore::with_config(config), 8).await;
    let folder = tempfile::tempdir().unwrap();
    let config = LocalConfig::new(folder.path()).with_max_sessions(8).unwrap();
    deletions_make_room(&LocalSessionStore::open_with(config).await.unwrap(), 8).await;
}

/// Else each load of it would end the connection that others wait for answers on. Nobody else's session ends for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_could_not_be_read_back_from_redis_is_too_large_and_stays_as_it_was() {
    let url = format!("{}?connections=1&max_answer=64KiB", RedisServer::shared().await.url());
    let (store, who) = (crate::open_redis(&url, &random_namespace()).await, Principal::new("u42").unwrap());
    let (anonymous, _user) = (create(&store).await, log_in(&store).await.unwrap());
    let base = store.load(&anonymous.key()).await.unwrap().found().unwrap();
    let attribute = Attribute::encode(&"x".repeat(64 << 10)).unwrap();
    let large = Delta::new().with_set(AttributeName::new("a").unwrap(), attribute);
    let token = Token::generate().unwrap();
    let next = anonymous.with_new_verifier().unwrap().verifier_hash();
    for limit in [None, Some(Limit::evict_oldest(1))] {
        let (mut rotation, mut login) = (Rotation::login(next, who.clone()), new(&token).with_principal(who.clone()));
        if let Some(limit) = limit {
            (rotation, login) = (rotation.with_limit(limit), login.with_limit(limit));
        }
        let login = login.with_attributes(large.apply(&Attributes::new()).unwrap());
        let errors = [
            store.create(&token.key(), &login).await.map(drop).unwrap_err(),
            store.rotate(&base, Authority::Application, &rotation, &large).await.map(drop).unwrap_err(),
            store.save(&base, Authority::Application, &large).await.map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::TooLarge, Retry::Never), "{error:?}");
            assert!(error.to_string().contains("max_answer"), "{error}");
        }
        assert!(!is_there(&store, &token.key()).await);
        assert_eq!(store.list(&who).await.unwrap().len(), 1);
    }
    let now = store.load(&anonymous.key()).await.unwrap().found().unwrap();
    assert_eq!(now.record().version(), base.record().version());
    let small = Delta::new().with_set(AttributeName::new("a").unwrap(), Attribute::encode(&"x").unwrap());
    assert!(matches!(store.save(&now, Authority::Application, &small).await.unwrap(), Saved::Applied(_)));
}

/// In a cluster a login has a place before it is made. Else the smaller one that follows would be one too many for ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_too_large_keeps_no_place() {
    let url = format!("{}?max_answer=64KiB", RedisCluster::shared().await.url());
    let (store, who) = (crate::open_redis(&url, &random_namespace()).await, Principal::new("u42").unwrap());
    let anonymous = create(&store).await;
    let base = store.load(&anonymous.key()).await.unwrap().found().unwrap();
    let attribute = Attribute::encode(&"x".repeat(64 << 10)).unwrap();
    let large = Delta::new().with_set(AttributeName::new("a").unwrap(), attribute);
    let next = anonymous.with_new_verifier().unwrap().verifier_hash();
    let limit = Limit::reject(1);
    let rotation = Rotation::login(next, who.clone()).with_limit(limit);
    let login = |token: &Token| new(token).with_principal(who.clone()).with_limit(limit);
    let error = store.rotate(&base, Authority::Application, &rotation, &large).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    let token = Token::generate().unwrap();
    let with_much = login(&token).with_attributes(large.apply(&Attributes::new()).unwrap());
    let error = store.create(&token.key(), &with_much).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    let token = Token::generate().unwrap();
    store.create(&token.key(), &login(&token)).await.unwrap();
    assert_eq!(store.list(&who).await.unwrap().len(), 1);
}

/// A login that fits nowhere ends nobody's session, and of a full store the session that makes room for it is enough.
async fn the_oldest_ends_for_what_is_stored_only(store: &dyn SessionStore) {
    let (who, limit) = (Principal::new("u42").unwrap(), Limit::evict_oldest(3));
    let anonymous = create(store).await;
    for _ in 0..3 {
        log_in(store).await.unwrap();
    }
    let base = store.load(&anonymous.key()).await.unwrap().found().unwrap();
    let attribute = Attribute::encode(&"x".repeat(128 << 10)).unwrap();
    let large = Delta::new().with_set(AttributeName::new("a").unwrap(), attribute);
    let next = anonymous.with_new_verifier().unwrap().verifier_hash();
    let login = Rotation::login(next, who.clone()).with_limit(limit);
    let error = store.rotate(&base, Authority::Application, &login, &large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    let token = Token::generate().unwrap();
    let login = new(&token).with_principal(who.clone()).with_limit(limit);
    let too_large = login.clone().with_attributes(large.apply(&Attributes::new()).unwrap());
    let error = store.create(&token.key(), &too_large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(store.list(&who).await.unwrap().len(), 3);

    log_in(store).await.unwrap();
    assert!(!is_there(store, &anonymous.key()).await, "it has made room");
    // Nobody else is there who could.
    for _ in 0..3 {
        let token = Token::generate().unwrap();
        let login = new(&token).with_principal(who.clone()).with_limit(Limit::evict_oldest(4));
        store.create(&token.key(), &login).await.unwrap();
        assert_eq!(store.list(&who).await.unwrap().len(), 4);
        assert!(is_there(store, &token.key()).await);
    }
    assert_eq!(log_in(store).await.unwrap_err().kind(), ErrorKind::Unavailable, "no more are kept for it");
}

/// The session that ends for a login is enough: nobody else's goes.
#[tokio::test]
async fn a_login_that_ends_the_oldest_session_takes_no_other_place() {
    let config = MemoryConfig::default().with_max_sessions(3).unwrap();
    one_for_another(&MemorySessionStore::with_config(config)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = LocalConfig::new(folder.path()).with_max_sessions(3).unwrap();
    one_for_another(&LocalSessionStore::open_with(config).await.unwrap()).await;
}

async fn one_for_another(store: &dyn SessionStore) {
    let anonymous = create(store).await;
    for _ in 0..3 {
        let token = Token::generate().unwrap();
        let login = new(&token).with_principal(Principal::new("u42").unwrap()).with_limit(Limit::evict_oldest(2));
        store.create(&token.key(), &login).await.unwrap();
    }
    assert!(is_there(store, &anonymous.key()).await);
}

/// A store of 80 KiB that somebody has filled with sessions that nobody is logged in to.
async fn anonymous_sessions_make_all_the_room(store: &dyn SessionStore) {
    let text = |length: usize| Delta::new().with_set(AttributeName::new("a").unwrap(), value(length));
    let flood = async || {
        for _ in 0..20 {
            create(store).await;
        }
    };
    flood().await;
    let token = Token::generate().unwrap();
    let login = new(&token).with_principal(Principal::new("u42").unwrap());
    let large = login.clone().with_attributes(text(12 << 10).apply(&Attributes::new()).unwrap());
    let created = store.create(&token.key(), &large).await.unwrap();
    assert!(is_there(store, &token.key()).await);
    flood().await;
    let saved = store.save(&created, Authority::Application, &text(28 << 10)).await.unwrap();
    assert!(matches!(saved, Saved::Applied(_)), "{saved:?}");
    // It does not make room for itself.
    let own = create(store).await;
    flood().await;
    if let Some(base) = store.load(&own.key()).await.unwrap().found() {
        let saved = store.save(&base, Authority::Application, &text(12 << 10)).await.unwrap();
        assert!(matches!(saved, Saved::Applied(_)), "{saved:?}");
    }
}

fn value(length: usize) -> Attribute {
    Attribute::encode(&"x".repeat(length)).unwrap()
}

#[tokio::test]
async fn a_login_or_a_save_gets_all_the_room_that_it_needs_from_anonymous_sessions() {
    let config = MemoryConfig::default().with_capacity(80 << 10).unwrap();
    anonymous_sessions_make_all_the_room(&MemorySessionStore::with_config(config)).await;
    for _ in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let config = LocalConfig::new(folder.path()).with_capacity(80 << 10).unwrap();
        anonymous_sessions_make_all_the_room(&LocalSessionStore::open_with(config).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_login_that_does_not_fit_ends_nobodys_session() {
    let config = MemoryConfig::default().with_capacity(64 << 10).unwrap().with_max_sessions(4).unwrap();
    the_oldest_ends_for_what_is_stored_only(&MemorySessionStore::with_config(config)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = LocalConfig::new(folder.path()).with_capacity(64 << 10).unwrap().with_max_sessions(4).unwrap();
    the_oldest_ends_for_what_is_stored_only(&LocalSessionStore::open_with(config).await.unwrap()).await;
}

/// Whoever changes their password again and again takes no memory but that of the store.
#[tokio::test]
async fn what_is_remembered_of_revocations_counts_as_memory() {
    let config = MemoryConfig::default().with_capacity(64 << 10).unwrap();
    let store = MemorySessionStore::with_config(config);
    let began = store.epoch(&Principal::new("u0").unwrap()).await.unwrap();
    for number in 0..2_000 {
        let who = Principal::new(format!("u{number}-{}", "x".repeat(200))).unwrap();
        store.revoke(Revoke::All(&who)).await.unwrap();
    }
    // The first of them is forgotten, and no login stands that began before.
    let token = Token::generate().unwrap();
    let login = new(&token).with_principal(Principal::new(format!("u0-{}", "x".repeat(200))).unwrap());
    let error = store.create(&token.key(), &login.clone().with_epoch(began)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.create(&token.key(), &login).await.unwrap();
    let other = Token::generate().unwrap();
    let login = new(&other).with_principal(Principal::new("never revoked").unwrap()).with_epoch(began);
    assert_eq!(store.create(&other.key(), &login).await.unwrap_err().kind(), ErrorKind::Conflict, "as far as is known");
}
