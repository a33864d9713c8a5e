//! Revocations in Redis that meet each other, and whoever stays meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_core::conformance::rounds;
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_session::{
    Loaded, NewSession, Principal, RedisSessionStore, Revoke, SessionKey, SessionStore, SessionStoreExt as _, Token,
};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisServer};

use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

fn who(number: usize) -> Principal {
    Principal::new(format!("u{number}")).unwrap()
}

async fn log_in(store: &dyn SessionStore, who: &Principal) -> SessionKey {
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
    store.create(&token.key(), &new).await.unwrap();
    token.key()
}

async fn is_there(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key).await.unwrap().found().is_some()
}

/// Whose calls wait for a long time.
async fn open_patient(url: &str, namespace: &Namespace) -> RedisSessionStore {
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", url).unwrap();
    let config = RedisConfig::from_url(&mut url).unwrap().with_timeout(MINUTE).with_deadline(MINUTE);
    RedisSessionStore::connect(RedisClient::open(config).await.unwrap(), namespace).await.unwrap()
}

/// It has taken the session that it keeps into a later epoch, and goes no further. That everybody was revoked a moment ago makes each
/// epoch the next number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_the_session_that_an_unfinished_one_had_kept() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let direct = open_redis(&server.url(), &namespace).await;
    for round in 0..2 {
        direct.revoke(Revoke::Everything).await.unwrap();
        let who = who(round);
        let [kept, other] = [log_in(&direct, &who).await, log_in(&direct, &who).await];
        let proxy = FaultProxy::start(server.address());
        let slow = open_patient(&proxy.url(&server.url()), &namespace).await;
        proxy.delay(Direction::ToClient, Duration::from_millis(300));
        let unfinished = tokio::spawn({
            let who = who.clone();
            async move { slow.revoke(Revoke::Others(&who, &kept)).await }
        });
        let epoch = async || direct.load(&kept).await.unwrap().found().unwrap().record().epoch();
        let begun = epoch().await;
        while epoch().await == begun {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        unfinished.abort();
        let _ = unfinished.await;
        proxy.cut();
        let which = if round == 0 { Revoke::All(&who) } else { Revoke::Others(&who, &other) };
        direct.revoke(which).await.unwrap();
        assert!(!is_there(&direct, &kept).await, "round {round}");
        assert_eq!(is_there(&direct, &other).await, round == 1, "round {round}");
    }
}

/// Both keep a session at once: the one that has got the later number goes no further, and the other does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_the_session_that_a_later_unfinished_one_keeps() {
    let (server, namespace, who) = (RedisServer::shared().await, random_namespace(), who(0));
    let direct = open_redis(&server.url(), &namespace).await;
    let [one, two] = [log_in(&direct, &who).await, log_in(&direct, &who).await];
    let [first, second] = [FaultProxy::start(server.address()), FaultProxy::start(server.address())];
    let slow = async |proxy: &FaultProxy| {
        let store = open_patient(&proxy.url(&server.url()), &namespace).await;
        proxy.delay(Direction::ToClient, Duration::from_millis(300));
        store
    };
    let ends = |store: RedisSessionStore, kept: SessionKey| {
        let who = who.clone();
        tokio::spawn(async move { store.revoke(Revoke::Others(&who, &kept)).await })
    };
    let given = async || {
        let number = server.command(&["GET", &format!("{namespace}:session:principals:{{u0}}:keeping")]).await.unwrap();
        number.text().unwrap_or_default().to_owned()
    };
    let begun = ends(slow(&first).await, one);
    while given().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.black_hole_way(Direction::ToClient);
    let unfinished = ends(slow(&second).await, two);
    let epoch = async || direct.load(&two).await.unwrap().found().unwrap().record().epoch();
    let before = epoch().await;
    while epoch().await == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    unfinished.abort();
    let _ = unfinished.await;
    second.cut();
    first.heal();
    begun.await.unwrap().unwrap();
    assert!(is_there(&direct, &one).await && !is_there(&direct, &two).await);
}

async fn one_is_left_at_most(store: &RedisSessionStore, other: &RedisSessionStore) {
    store.revoke(Revoke::Everything).await.unwrap();
    for round in 0..rounds(60, 2_000) {
        let who = who(round);
        let keys = [log_in(store, &who).await, log_in(store, &who).await];
        let ends = [Revoke::Others(&who, &keys[0]), Revoke::Others(&who, &keys[1])];
        let (one, two) = tokio::join!(store.revoke(ends[0]), other.revoke(ends[1]));
        one.unwrap();
        two.unwrap();
        let left = [is_there(store, &keys[0]).await, is_there(store, &keys[1]).await];
        assert_ne!(left, [true, true], "round {round}");
        // It ends as every other.
        store.revoke(Revoke::All(&who)).await.unwrap();
        assert!(!is_there(store, &keys[0]).await && !is_there(store, &keys[1]).await, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_end_all_other_sessions_at_once_one_is_left_at_most() {
    for url in [RedisServer::shared().await.url(), RedisCluster::shared().await.url()] {
        let namespace = random_namespace();
        let stores = [open_redis(&url, &namespace).await, open_redis(&url, &namespace).await];
        one_is_left_at_most(&stores[0], &stores[1]).await;
    }
}

/// A store that has not met the session reads the epochs after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_is_not_told_that_they_were_revoked() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let direct = open_redis(&server.url(), &namespace).await;
    let reader = open_patient(&proxy.url(&server.url()), &namespace).await;
    // The connection is there, and the server's time is known.
    assert!(!is_there(&reader, &Token::generate().unwrap().key()).await);
    let who = who(0);
    let kept = log_in(&direct, &who).await;
    let before = proxy.counts().bytes_to_client;
    proxy.black_hole_way(Direction::ToClient);
    let load = tokio::spawn(async move { reader.load(&kept).await });
    while proxy.counts().bytes_to_client == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    direct.revoke(Revoke::Others(&who, &kept)).await.unwrap();
    proxy.heal();
    let loaded = load.await.unwrap().unwrap();
    assert!(matches!(loaded, Loaded::Found(_)), "{loaded:?}");
}

/// In a cluster epochs and sessions lie apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_in_a_cluster_is_found_and_listed_all_the_time() {
    let (cluster, namespace) = (RedisCluster::shared().await, random_namespace());
    let store = open_redis(&cluster.url(), &namespace).await;
    let reader = open_redis(&cluster.url(), &namespace).await;
    for round in 0..rounds(40, 1_000) {
        let (who, ended) = (who(round), AtomicBool::new(false));
        let kept = log_in(&store, &who).await;
        let revoke = async {
            for _ in 0..4 {
                store.revoke(Revoke::Others(&who, &kept)).await.unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        };
        let read = async {
            while !ended.load(Ordering::Relaxed) {
                let loaded = reader.load(&kept).await.unwrap();
                assert!(matches!(loaded, Loaded::Found(_)), "round {round}: {loaded:?}");
                assert_eq!(reader.list(&who).await.unwrap().len(), 1, "round {round}");
            }
        };
        tokio::join!(revoke, read);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_revoked_while_all_others_end_is_gone() {
    for url in [RedisServer::shared().await.url(), RedisCluster::shared().await.url()] {
        let namespace = random_namespace();
        let store = Arc::new(open_redis(&url, &namespace).await);
        let other = open_redis(&url, &namespace).await;
        for round in 0..rounds(40, 1_000) {
            let who = who(round);
            let kept = log_in(&*store, &who).await;
            let others = tokio::spawn({
                let (store, who) = (Arc::clone(&store), who.clone());
                async move { store.revoke(Revoke::Others(&who, &kept)).await }
            });
            tokio::time::sleep(Duration::from_micros(100 * (round as u64 % 20))).await;
            other.revoke(Revoke::One(&who, &kept)).await.unwrap();
            assert!(!is_there(&other, &kept).await, "round {round}");
            others.await.unwrap().unwrap();
            assert!(!is_there(&other, &kept).await, "round {round}");
        }
    }
}
