//! What the index of a principal in Redis has once sessions have ended.

use std::time::{Duration, Instant};

use statehouse_session::{
    Authority, Deleted, Limit, NewSession, Principal, Revoke, SessionKey, SessionStore, SessionStoreExt as _, Timeouts,
    Token,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

async fn log_in(store: &dyn SessionStore, idle: Duration) -> SessionKey {
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), idle, 24 * 60 * MINUTE);
    store.create(&token.key(), &new.with_principal(Principal::new("u42").unwrap())).await.unwrap();
    token.key()
}

/// In the background, at once.
async fn until_it_has(expected: i64, has: impl AsyncFn() -> i64) {
    let begun = Instant::now();
    while has().await != expected {
        assert!(begun.elapsed() < MINUTE / 2, "{} and not {expected} are in the index", has().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn leaves(url: &str, namespace: &statehouse_core::Namespace, has: impl AsyncFn() -> i64, at_once: bool) {
    let [store, stranger] = [open_redis(url, namespace).await, open_redis(url, namespace).await];
    for by in [&store, &stranger] {
        for _ in 0..50 {
            let key = log_in(&store, MINUTE).await;
            assert_eq!(by.delete(&key, Authority::Application).await.unwrap(), Deleted::Removed);
        }
        if at_once && std::ptr::eq(by, &store) {
            assert_eq!(has().await, 0, "in the same step");
        }
        until_it_has(0, &has).await;
    }

    let who = Principal::new("u42").unwrap();
    let kept = log_in(&store, MINUTE).await;
    // More than are asked for at once.
    for _ in 0..300 {
        log_in(&store, MINUTE).await;
    }
    assert_eq!(store.list(&who).await.unwrap().len(), 301);
    store.revoke(Revoke::Others(&who, &kept)).await.unwrap();
    until_it_has(1, &has).await;
    assert_eq!(store.list(&who).await.unwrap().len(), 1);
    store.revoke(Revoke::All(&who)).await.unwrap();
    until_it_has(0, &has).await;

    let kept = log_in(&store, MINUTE).await;
    for _ in 0..10 {
        log_in(&store, Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(
        store.list(&who).await.unwrap().iter().map(|session| *session.record().key()).collect::<Vec<_>>(),
        [kept]
    );
    until_it_has(1, &has).await;
}

#[tokio::test]
async fn what_has_ended_leaves_the_index() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let index = format!("{namespace}:session:principals:{{u42}}:sessions");
    let has = async || server.command(&["ZCARD", &index]).await.unwrap().integer().unwrap();
    leaves(&server.url(), &namespace, has, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_leaves_the_index_in_a_cluster() {
    let (cluster, namespace) = (RedisCluster::shared().await, random_namespace());
    let index = format!("{namespace}:session:principals:{{u42}}:sessions");
    let primary = cluster.primary_of(&index).await.unwrap().unwrap();
    let has = async || primary.command(&["ZCARD", &index]).await.unwrap().integer().unwrap();
    leaves(&cluster.url(), &namespace, has, false).await;
}

/// Of two there may be, with one that is over by the limit: that one ends, and nothing else is left beside the new one.
async fn is_let_in(store: &dyn SessionStore, who: &Principal, over: &SessionKey) {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let limit = Limit::reject(2).with_timeouts(Timeouts::new(Duration::from_millis(5), MINUTE, MINUTE));
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone()).with_limit(limit);
    store.create(&token.key(), &new).await.unwrap();
    let left: Vec<_> = store.list(who).await.unwrap().iter().map(|session| *session.record().key()).collect();
    assert_eq!(left, [token.key()]);
    assert!(store.load(over).await.unwrap().found().is_none());
}

/// One is out of the index only once somebody has looked, one is over by the limit, and somebody else is about to log in: of two there
/// may be, the one that is over has the second place.
async fn is_let_in_beside(command: impl AsyncFn(&[&str]), url: &str) {
    let namespace = random_namespace();
    let (store, who) = (open_redis(url, &namespace).await, Principal::new("u42").unwrap());
    let lost = log_in(&store, MINUTE).await;
    command(&["DEL", &format!("{namespace}:session:records:{lost}")]).await;
    let over = log_in(&store, MINUTE).await;
    let of_logins = format!("{namespace}:session:principals:{{u42}}:entering");
    command(&["ZADD", &of_logins, "9000000000000000", &"k".repeat(32)]).await;
    is_let_in(&store, &who, &over).await;
}

/// A login that has left nothing but its name in the index, and its place, counts as under way once the first look has taken the name
/// out: as one does that comes between the two looks.
#[tokio::test]
async fn beside_a_login_that_comes_between_two_looks_nothing_that_is_over_is_in_the_way() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (store, who) = (open_redis(&server.url(), &namespace).await, Principal::new("u42").unwrap());
    let lost = log_in(&store, MINUTE).await;
    server.command(&["DEL", &format!("{namespace}:session:records:{lost}")]).await.unwrap();
    let name = |of: &str| format!("{namespace}:session:principals:{{u42}}:{of}");
    let enter = "return redis.call('ZADD', KEYS[2], 9000000000000000, redis.call('ZRANGE', KEYS[1], 0, 0)[1])";
    let entered = server.command(&["EVAL", enter, "2", &name("sessions"), &name("entering")]).await.unwrap();
    assert_eq!(entered.integer(), Some(1));
    let over = log_in(&store, MINUTE).await;
    is_let_in(&store, &who, &over).await;
}

#[tokio::test]
async fn beside_a_login_under_way_nothing_that_is_over_is_in_the_way() {
    let server = RedisServer::shared().await;
    is_let_in_beside(async |command: &[&str]| drop(server.command(command).await.unwrap()), &server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_login_under_way_nothing_that_is_over_is_in_the_way_in_a_cluster() {
    let cluster = RedisCluster::shared().await;
    let command = async |command: &[&str]| {
        let primary = cluster.primary_of(command[1]).await.unwrap().unwrap();
        drop(primary.command(command).await.unwrap());
    };
    is_let_in_beside(command, &cluster.url()).await;
}
