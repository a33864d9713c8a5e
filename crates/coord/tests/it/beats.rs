//! Members that beat, and what becomes of them when their server loses, forgets or refuses something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_coord::capability::BEATS;
use statehouse_coord::{
    BeatOptions, BeatsOptions, CoordKey, CoordStore, CoordStoreExt as _, Coordination, Joined, LayeredCoordStore,
    MemberInfo, Membership, MemoryCoordStore,
};
use statehouse_core::Result;
use statehouse_core::layer::Layer;
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisSentinel, RedisServer};
use tokio::time::{sleep, timeout};

use crate::lock::until;
use crate::membership::{BEAT, come_and_go, named, over, sees, stands_still, three_in_redis};
use crate::without::Without;
use crate::{open_redis, random_namespace};

/// So long that nobody puts a record again for its age while a test waits.
const SLOW: Duration = Duration::from_secs(5);

fn slow(store: impl CoordStore) -> Membership {
    Coordination::new(Arc::new(store)).membership().heartbeat(SLOW)
}

fn key(name: &str) -> CoordKey {
    CoordKey::new(name).unwrap()
}

/// How often each operation was called.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Layer for Calls {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        *self.0.lock().unwrap().entry(operation).or_default() += 1;
        work.await
    }
}

impl Calls {
    fn of(&self, operation: &str) -> u64 {
        self.0.lock().unwrap().get(operation).copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn while_nothing_changes_members_beat_and_neither_put_nor_look() {
    let (store, calls) = (Arc::new(MemoryCoordStore::new()), Calls::default());
    let layered = LayeredCoordStore::new(Arc::clone(&store) as _, calls.clone());
    let (who, other) = (over(layered), Coordination::new(store).membership().heartbeat(BEAT));
    let (joined, second) = (who.join(named("a")).await.unwrap(), other.join(named("b")).await.unwrap());
    let mut watch = who.watch();
    let first = watch.next().await.unwrap();
    assert_eq!(first.len(), 2);
    let watching = tokio::spawn(async move {
        let members = watch.next().await.unwrap();
        (members, watch)
    });
    let count = || ["coord.put", "coord.scan", "coord.beat"].map(|name| calls.of(name));
    let [puts, scans, beats] = count();
    until("eight beats", async || calls.of("coord.beat") >= beats + 8).await;
    let now = count();
    assert!(now[0] - puts <= 1 && now[1] - scans <= 2, "{now:?} after {:?}", [puts, scans, beats]);
    assert!(!watching.is_finished());
    // A change is seen without anybody being asked to look.
    second.update(|info| info.build = "c".to_owned()).unwrap();
    let (members, _) = timeout(Duration::from_secs(10), watching).await.expect("within two heartbeats").unwrap();
    assert!(members.iter().any(|member| member.info.build == "c"), "{members:?}");
    assert!(members.iter().all(|member| member.heard.is_some()));
    drop(joined);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_a_cluster_come_and_go() {
    come_and_go(three_in_redis(&RedisCluster::shared().await.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_server_that_was_flushed_come_back_with_their_next_beats() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let [one, other] =
        [slow(open_redis(&server.url(), &namespace).await), slow(open_redis(&server.url(), &namespace).await)];
    let joined = [one.join(named("a")).await.unwrap(), other.join(named("b")).await.unwrap()];
    let ids = joined.each_ref().map(Joined::id);
    // Each has said more than its first word.
    sleep(SLOW).await;
    server.command(&["FLUSHALL"]).await.unwrap();
    assert!(one.members().await.unwrap().is_empty());
    sees(&one, &ids).await;
    sees(&other, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_back_behind_another_primary() {
    let (group, namespace) = (RedisSentinel::start().await, random_namespace());
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(over(open_redis(&group.url(), &namespace).await));
    }
    let [one, other, third] = <[Membership; 3]>::try_from(all).unwrap();
    let joined = [one.join(named("a")).await.unwrap(), other.join(named("b")).await.unwrap()];
    let mut ids = joined.iter().map(Joined::id).collect::<Vec<_>>();
    sees(&third, &ids).await;
    let old = group.primary().await.unwrap().unwrap();
    let address = old.address().to_owned();
    old.kill();
    until("another primary", async || matches!(group.primary().await, Ok(Some(now)) if now.address() != address)).await;
    until("an answer", async || third.members().await.is_ok()).await;
    for who in [&one, &other, &third] {
        sees(who, &ids).await;
    }
    let last = third.join(named("c")).await.unwrap();
    ids.push(last.id());
    sees(&one, &ids).await;
}

/// Whose record is over, and whose place somebody else has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stood_still_for_longer_than_its_record_comes_back_in_another_place() {
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    let store = Arc::new(open_redis(&url, &namespace).await);
    let who = Coordination::new(Arc::clone(&store) as _).membership().heartbeat(Duration::from_millis(100));
    let is_gone =
        async || until("its record's end", async || store.scan("member/").await.unwrap().records.is_empty()).await;
    stands_still(&who, is_gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_no_beats_and_who_beats_see_each_other() {
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    let before = over(Without(Arc::new(open_redis(&url, &namespace).await), &[BEATS]));
    let now = over(open_redis(&url, &namespace).await);
    let (old, new) = (before.join(named("a")).await.unwrap(), now.join(named("b")).await.unwrap());
    let mut watch = now.watch();
    for _ in 0..2 {
        sees(&before, &[old.id(), new.id()]).await;
        sees(&now, &[old.id(), new.id()]).await;
        // For longer than either is there without a word.
        sleep(4 * BEAT).await;
    }
    assert_eq!(watch.next().await.unwrap().len(), 2);
    old.update(|info| info.build = "a 2".to_owned()).unwrap();
    let members = watch.next().await.unwrap();
    assert!(members.iter().any(|member| member.info.build == "a 2"), "{members:?}");
    new.leave().await;
    assert_eq!(before.members().await.unwrap().len(), 1);
    old.leave().await;
    sees(&now, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_beat_puts_its_record_each_time() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let who = over(open_redis(&server.url(), &namespace).await);
    let joined = who.join(named("a")).await.unwrap();
    server.command(&["ACL", "SETUSER", "default", "-zrange"]).await.unwrap();
    let late = who.join(named("b")).await.unwrap();
    for _ in 0..2 {
        sleep(4 * BEAT).await;
        sees(&who, &[joined.id(), late.id()]).await;
        assert!(joined.is_listed() && late.is_listed());
    }
    joined.leave().await;
    sees(&who, &[late.id()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_in_the_place_of_who_beats_keeps_nobody_away() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let who = over(open_redis(&server.url(), &namespace).await);
    let (one, other) = (who.join(named("a")).await.unwrap(), who.join(named("b")).await.unwrap());
    let set = format!("{namespace}:coord:records:{{{namespace}}}:beats:member");
    let strange = ["ZADD", &set, "1e300", "far", "-5", "x", "0", "a//b"];
    for command in [&["SET", &set, "x"][..], &["HSET", &set, "a", "b"], &["ZADD", &set, "1", "a"], &strange] {
        assert_eq!(server.command(&["DEL", &set]).await.unwrap().integer(), Some(1), "{command:?}");
        server.command(command).await.unwrap();
        sleep(3 * BEAT).await;
        sees(&who, &[one.id(), other.id()]).await;
    }
}

/// It was told that it had failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_was_given_up_does_not_count_when_the_network_heals() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let url = format!("{}?connections=1&timeout=500ms&deadline=600ms", proxy.url(&server.url()));
    let (far, near) = (open_redis(&url, &namespace).await, open_redis(&server.url(), &namespace).await);
    let record = key("member/1");
    let version = near.put(&record, "x").await.unwrap().stored().unwrap();
    proxy.black_hole_way(Direction::ToServer);
    assert!(far.beat_with(&record, version, BeatOptions::anew(SLOW)).await.is_err());
    proxy.heal();
    let _ = far.get(&record).await;
    sleep(Duration::from_millis(200)).await;
    let beats = near.beats_with(&key("member"), BeatsOptions::default()).await.unwrap();
    assert!(beats.living.is_empty(), "{beats:?}");
}

/// The last of a group is gone with what was told of it.
#[tokio::test]
async fn nothing_stays_for_good_of_who_beat() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store = Arc::new(open_redis(&server.url(), &namespace).await);
    let joined = Coordination::new(store).membership().join(MemberInfo::new("a")).await.unwrap();
    let set = format!("{namespace}:coord:records:{{{namespace}}}:beats:member");
    let ends = async || {
        let left = server.command(&["PTTL", &set]).await.unwrap().integer().unwrap();
        assert!((1..=24 * 3600 * 1000).contains(&left), "{left}");
    };
    ends().await;
    joined.leave().await;
    ends().await;
}
