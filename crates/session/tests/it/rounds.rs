//! Sessions under load from several tasks and processes, and those that were left by what was killed: a few rounds in a test, and as many
//! as were written down in `cargo xtask soak`.

#![expect(clippy::print_stdout, reason = "figures, which a soak keeps")]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::conformance::rounds;
use statehouse_core::{ManualClock, Namespace};
use statehouse_session::{
    LocalConfig, LocalSessionStore, MemoryConfig, MemorySessionStore, NewSession, Principal, RedisSessionStore,
    Session, SessionConfig, SessionKey, SessionStore, SessionStoreExt as _, Sessions, Token,
};
use statehouse_testkit::{RedisCluster, RedisServer, Reply};

use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

async fn begun(sessions: &Sessions) -> HeaderMap {
    let session = sessions.open(&HeaderMap::new());
    session.login("u42").await.unwrap();
    session.commit().await.unwrap();
    let mut headers = HeaderMap::new();
    session.write_cookie(&mut headers);
    let cookie = headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
}

/// Each writes an attribute of its own, on one of two nodes.
async fn all_writes_are_kept(stores: [Arc<dyn SessionStore>; 2], few: [usize; 3], on: &str) {
    let nodes = stores.map(|store| Sessions::new(store, SessionConfig::default()));
    for (writers, rounds) in [(16, rounds(few[0], 1_000)), (64, rounds(few[1], 200)), (256, rounds(few[2], 20))] {
        for round in 0..rounds {
            let headers = begun(&nodes[0]).await;
            let writing = (0..writers).map(|number| {
                let session = nodes[number % 2].open(&headers);
                tokio::spawn(async move {
                    session.principal().await?;
                    session.insert(&format!("n{number}"), &number)?;
                    session.commit().await
                })
            });
            for done in join_all(writing).await {
                done.unwrap().expect("none is refused");
            }
            let session = nodes[1].open(&headers);
            for number in 0..writers {
                let kept: Option<usize> = session.get(&format!("n{number}")).await.unwrap();
                assert_eq!(kept, Some(number), "{writers} writers, round {round}");
            }
        }
        println!("figure: {on}: {writers} writers of different attributes, {rounds} rounds: 0 lost, 0 refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_parallel_writes_of_different_attributes_are_all_kept() {
    let store: Arc<dyn SessionStore> = Arc::new(MemorySessionStore::new());
    all_writes_are_kept([Arc::clone(&store), store], [20, 5, 1], "memory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_disk_parallel_writes_of_different_attributes_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn SessionStore> = Arc::new(LocalSessionStore::open(folder.path()).await.unwrap());
    all_writes_are_kept([Arc::clone(&store), store], [2, 1, 1], "disk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_parallel_writes_of_different_attributes_are_all_kept() {
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    let stores = [open_redis(&url, &namespace).await, open_redis(&url, &namespace).await];
    all_writes_are_kept(stores.map(|store| Arc::new(store) as Arc<dyn SessionStore>), [3, 1, 1], "Redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_parallel_writes_of_different_attributes_are_all_kept() {
    let (url, namespace) = (RedisCluster::shared().await.url(), random_namespace());
    let stores = [open_redis(&url, &namespace).await, open_redis(&url, &namespace).await];
    all_writes_are_kept(stores.map(|store| Arc::new(store) as Arc<dyn SessionStore>), [3, 1, 1], "Redis Cluster").await;
}

/// What another process is to do: its test, and where.
fn process(test: &str, arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("rounds::{test}")])
        .env(CHILD, arguments.join(" "))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

const CHILD: &str = "STATEHOUSE_TEST_SESSIONS";

fn arguments() -> Option<Vec<String>> {
    let given = std::env::var(CHILD).ok()?;
    Some(given.split(' ').map(ToOwned::to_owned).collect())
}

/// So many tasks add to one attribute, in turn, so often together.
async fn increments(sessions: &Sessions, headers: &HeaderMap, tasks: usize, increments: usize) {
    let adding = (0..tasks).map(|task| {
        let (sessions, headers) = (sessions.clone(), headers.clone());
        tokio::spawn(async move {
            for _ in (task..increments).step_by(tasks) {
                let session: Session = sessions.open(&headers);
                session.update("sum", |sum: Option<u32>| sum.unwrap_or(0) + 1).await.unwrap();
                session.commit().await.expect("none is refused");
            }
        })
    });
    for done in join_all(adding).await {
        done.unwrap();
    }
}

/// Not a test of its own: adds its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_adds() {
    let Some(given) = arguments() else { return };
    let [url, namespace, cookie, tasks, count] = &given[..] else { panic!("{given:?}") };
    let store = open_redis(url, &Namespace::new(namespace).unwrap()).await;
    let sessions = Sessions::new(store, SessionConfig::default());
    let headers = HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]);
    increments(&sessions, &headers, tasks.parse().unwrap(), count.parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_updates_from_fifty_tasks_in_three_processes_each_counts_once() {
    let all = rounds(300, 10_000);
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    let sessions = Sessions::new(open_redis(&url, &namespace).await, SessionConfig::default());
    let headers = begun(&sessions).await;
    let cookie = headers[COOKIE].to_str().unwrap();
    let share = all / 3;
    let arguments = |tasks| [&*url, namespace.as_str(), cookie, tasks, &share.to_string()].map(ToOwned::to_owned);
    let given: Vec<_> = ["17", "16"].map(arguments).into();
    let mut others: Vec<_> = given
        .iter()
        .map(|given| process("the_process_that_adds", &given.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    increments(&sessions, &headers, 17, all - 2 * share).await;
    for other in &mut others {
        let ended = tokio::task::block_in_place(|| other.wait()).unwrap();
        assert!(ended.success(), "{ended}");
    }
    let sum = sessions.open(&headers).get::<u32>("sum").await.unwrap();
    assert_eq!(sum.map(|sum| sum as usize), Some(all));
    println!("figure: Redis: {all} updates of one attribute from 50 tasks in 3 processes: 0 lost, 0 refused");
}

/// Not a test of its own: logs somebody in until it is killed.
#[tokio::test]
async fn the_process_that_is_killed_as_it_logs_in() {
    let Some(given) = arguments() else { return };
    let store: Arc<dyn SessionStore> = match &given[..] {
        [folder] => Arc::new(LocalSessionStore::open(folder).await.unwrap()),
        [url, namespace] => Arc::new(open_redis(url, &Namespace::new(namespace).unwrap()).await),
        _ => panic!("{given:?}"),
    };
    let who = Principal::new("u42").unwrap();
    loop {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), 30 * MINUTE, 60 * MINUTE).with_principal(who.clone());
        store.create(&token.key(), &new).await.unwrap();
    }
}

/// Waits until it works, and kills it in the middle of that.
async fn kill(mut process: Child, works: impl AsyncFn() -> bool, round: usize) {
    let begun = Instant::now();
    while !works().await {
        assert!(begun.elapsed() < MINUTE, "it does not begin");
        assert!(process.try_wait().unwrap().is_none(), "it ended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_micros(u64::try_from(round % 37).unwrap() * 271)).await;
    process.kill().unwrap();
    process.wait().unwrap();
}

async fn listed(store: &dyn SessionStore) -> BTreeSet<SessionKey> {
    let found = store.list(&Principal::new("u42").unwrap()).await.unwrap();
    found.iter().map(|session| *session.record().key()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_disk_who_logged_in_is_listed_after_a_kill() {
    let rounds = rounds(2, 200);
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let files = || -> BTreeSet<String> {
            let shards = std::fs::read_dir(path).unwrap().map(|shard| shard.unwrap());
            let shards = shards.filter(|shard| shard.path().is_dir() && shard.file_name().len() == 2);
            let files = |shard: std::fs::DirEntry| {
                let first = shard.file_name().into_string().unwrap();
                let names = std::fs::read_dir(shard.path()).unwrap().map(|file| file.unwrap().file_name());
                names.map(|name| format!("{first}{}", name.into_string().unwrap())).collect::<Vec<_>>()
            };
            shards.flat_map(files).collect()
        };
        kill(process("the_process_that_is_killed_as_it_logs_in", &[path]), async || files().len() > 3, round).await;
        let store = LocalSessionStore::open(path).await.unwrap();
        let keys: BTreeSet<String> = listed(&store).await.iter().map(ToString::to_string).collect();
        assert_eq!(keys, files(), "round {round}: what is stored is listed, and nothing else");
        store.revoke(statehouse_session::Revoke::All(&Principal::new("u42").unwrap())).await.unwrap();
        assert!(listed(&store).await.is_empty(), "round {round}");
    }
    println!("figure: disk: the index after kill -9, {rounds} rounds: all listed, all revoked");
}

/// The server lives on, and what it stores: each session that is there is listed once it is used, and nothing else.
/// Answers how many were not listed before that.
async fn is_listed_after_a_kill(
    url: &str,
    few: usize,
    on: &str,
    keys_of: impl AsyncFn(&Namespace) -> Vec<String>,
) -> usize {
    let rounds = rounds(few, 200);
    let mut apart = 0;
    for round in 0..rounds {
        let namespace = random_namespace();
        let store: RedisSessionStore = open_redis(url, &namespace).await;
        let process = process("the_process_that_is_killed_as_it_logs_in", &[url, namespace.as_str()]);
        kill(process, async || listed(&store).await.len() > 3, round).await;
        let prefix = format!("{namespace}:session:records:");
        let names = keys_of(&namespace).await;
        let stored: BTreeSet<String> =
            names.iter().filter_map(|name| name.strip_prefix(&prefix)).map(ToOwned::to_owned).collect();
        let before: BTreeSet<String> = listed(&store).await.iter().map(ToString::to_string).collect();
        apart += stored.difference(&before).count();
        for text in &stored {
            let mut bytes = [0; 32];
            for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
            let _ = store.touch(&SessionKey::from_bytes(bytes)).await.unwrap();
        }
        let keys: BTreeSet<String> = listed(&store).await.iter().map(ToString::to_string).collect();
        assert_eq!(keys, stored, "round {round}");
        store.revoke(statehouse_session::Revoke::All(&Principal::new("u42").unwrap())).await.unwrap();
        assert!(listed(&store).await.is_empty(), "round {round}");
    }
    println!(
        "figure: {on}: the index after kill -9, {rounds} rounds: {apart} not listed until they were used, all revoked"
    );
    apart
}

/// The sessions of the namespace that are stored there.
async fn stored(server: &RedisServer, namespace: &Namespace) -> Vec<String> {
    let pattern = format!("{namespace}:session:records:*");
    let (mut at, mut names) = ("0".to_owned(), Vec::new());
    loop {
        let page = server.command(&["SCAN", &at, "MATCH", &pattern, "COUNT", "1000"]).await.unwrap();
        let Reply::Array(page) = page else { panic!("{page:?}") };
        let Reply::Array(found) = &page[1] else { panic!("{page:?}") };
        names.extend(found.iter().filter_map(Reply::text).map(ToOwned::to_owned));
        page[0].text().unwrap().clone_into(&mut at);
        if at == "0" {
            return names;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_who_logged_in_is_listed_after_a_kill() {
    let server = RedisServer::shared().await;
    let keys = async |namespace: &Namespace| stored(server, namespace).await;
    let apart = is_listed_after_a_kill(&server.url(), 2, "Redis", keys).await;
    assert_eq!(apart, 0, "it is one step");
}

/// There a session and the index lie in two slots: what the process had no time to list is, once it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_who_logged_in_is_listed_after_a_kill() {
    let cluster = RedisCluster::shared().await;
    let keys = async |namespace: &Namespace| {
        let found = join_all(cluster.nodes().iter().map(|node| stored(node, namespace))).await;
        found.concat()
    };
    is_listed_after_a_kill(&cluster.url(), 2, "Redis Cluster", keys).await;
}

/// The server forgets them, and the index what has ended once it is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_sessions_that_expired_leave_redis_and_the_index() {
    let (count, server, namespace) = (rounds(1_000, 100_000), RedisServer::start().await, random_namespace());
    let store = Arc::new(open_redis(&server.url(), &namespace).await);
    let who = Principal::new("u42").unwrap();
    let creating = (0..64).map(|task| {
        let (store, who) = (Arc::clone(&store), who.clone());
        tokio::spawn(async move {
            for _ in (task..count).step_by(64) {
                let token = Token::generate().unwrap();
                let new = NewSession::new(token.verifier_hash(), Duration::from_secs(1), Duration::from_secs(1));
                store.create(&token.key(), &new.with_principal(who.clone())).await.unwrap();
            }
        })
    });
    for done in join_all(creating).await {
        done.unwrap();
    }
    let number = async |command: &[&str]| server.command(command).await.unwrap().integer().unwrap();
    let index = format!("{namespace}:session:principals:{{u42}}:sessions");
    let (begun, named) = (Instant::now(), ["DBSIZE"]);
    // Besides the sessions there are the index, which goes when its last session does, and what counts.
    while number(&named).await > 4 {
        assert!(begun.elapsed() < MINUTE, "{} names are left", number(&named).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.list(&who).await.unwrap().is_empty());
    let key = Token::generate().unwrap();
    let new = NewSession::new(key.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
    store.create(&key.key(), &new).await.unwrap();
    assert_eq!(number(&["ZCARD", &index]).await, 1);
    println!(
        "figure: Redis: {count} expired sessions left, {} s after the last was created",
        begun.elapsed().as_secs()
    );
}

/// What has expired leaves though nobody looks for it: the more is written, the more is freed.
#[tokio::test]
async fn so_many_sessions_that_expired_leave_memory_and_index() {
    let (count, clock) = (rounds(2_000, 100_000), ManualClock::default());
    let config = MemoryConfig::default().with_clock(clock.clone()).with_max_sessions(2 * count).unwrap();
    let store = MemorySessionStore::with_config(config.with_capacity(1 << 30).unwrap());
    expire(&store, count, || clock.advance(11 * MINUTE), || store.len()).await;
    println!("figure: memory: {count} expired sessions left");
}

#[tokio::test]
async fn so_many_sessions_that_expired_leave_the_disk_and_its_index() {
    let (count, clock, folder) = (rounds(200, 100_000), ManualClock::default(), tempfile::tempdir().unwrap());
    let config = LocalConfig::new(folder.path()).with_clock(clock.clone()).with_max_sessions(2 * count).unwrap();
    let store = LocalSessionStore::open_with(config).await.unwrap();
    let files = || {
        let shards = std::fs::read_dir(folder.path()).unwrap().map(|shard| shard.unwrap().path());
        shards.filter(|shard| shard.is_dir()).map(|shard| std::fs::read_dir(shard).unwrap().count()).sum()
    };
    expire(&store, count, || clock.advance(11 * MINUTE), files).await;
    println!("figure: disk: {count} expired sessions left");
}

async fn expire(store: &dyn SessionStore, count: usize, pass: impl Fn(), stored: impl Fn() -> usize) {
    let who = Principal::new("u42").unwrap();
    let log_in = async || {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), 10 * MINUTE, 60 * MINUTE).with_principal(who.clone());
        store.create(&token.key(), &new).await.unwrap();
    };
    for _ in 0..count {
        log_in().await;
    }
    assert!(stored() >= count);
    pass();
    for _ in 0..count {
        log_in().await;
    }
    assert!(stored() <= count + count / 100, "{} of {count} and as many are there", stored());
    assert_eq!(store.list(&who).await.unwrap().len(), count);
}
