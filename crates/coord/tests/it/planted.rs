//! What somebody else has put where records are, or what has become of them: it is told, it ends nothing, and it can be
//! replaced.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_coord::{
    Accepted, Condition, CoordKey, CoordStore, CoordStoreExt as _, Coordination, FilesConfig, FilesCoordStore,
    MemberInfo, MemoryCoordStore, PageToken, PutOptions, PutOutcome, Ran, RemoveOutcome, Revision, Run, ScanOptions,
};
use statehouse_core::{Error, ErrorKind, Namespace, ServiceUrl, Version};
use statehouse_filestore::{Body, FileKey, FileStore, LocalFileStore, MemoryFileStore};
use statehouse_redis::{Idempotence, RedisClient, RedisConfig, redis};
use statehouse_testkit::RedisServer;

use crate::{open_redis, random_namespace};

fn key(name: &str) -> CoordKey {
    CoordKey::new(name).unwrap()
}

/// The bytes of the envelope that say what it is, of which version, and until when.
const HEAD: usize = 52;

/// A record whose bytes are each damaged in turn, and what never was one.
fn damaged(record: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..HEAD).flat_map(|at| {
        [1, 4, 128].map(|bit| {
            let mut bytes = record.to_vec();
            bytes[at] ^= bit;
            bytes
        })
    });
    let foreign = [&b""[..], b"SH", &[b'x'; 79], &[b'x'; 300], &record[..60]].map(<[u8]>::to_vec);
    flipped.chain(foreign).collect()
}

/// What holds while there is something else under the name "a", whose version was this before.
async fn is_told_and_replaced(store: &Arc<dyn CoordStore>, before: Version, case: &str) {
    let is_corrupt = |error: Error| assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {error:?}");
    is_corrupt(store.get(&key("a")).await.unwrap_err());
    for condition in [Condition::Absent, Condition::Match(before)] {
        let options = PutOptions::default().with_condition(condition);
        is_corrupt(store.put_with(&key("a"), Bytes::from_static(b"new"), options).await.unwrap_err());
    }
    is_corrupt(store.remove(&key("a"), before).await.unwrap_err());
    let page = store.scan("").await.unwrap();
    let names: Vec<_> = page.records.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, page.skipped), (vec!["b"], 1), "{case}");
    let replaced = store.put(&key("a"), "new").await.unwrap();
    assert!(matches!(replaced, PutOutcome::Stored(version) if version > before), "{case}: {replaced:?}");
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, "new", "{case}");
}

/// What is stored at this name.
async fn stored(server: &RedisServer, name: &str) -> Vec<u8> {
    let mut url = ServiceUrl::parse("STATEHOUSE_COORDINATION_URL", &server.url()).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    redis.query(redis::cmd("GET").arg(name), Idempotence::Idempotent).await.unwrap()
}

async fn plant(server: &RedisServer, name: &str, bytes: &[u8]) {
    let planted = server.command(&[b"SET", name.as_bytes(), bytes]).await.unwrap();
    assert_eq!(planted.text(), Some("OK"));
}

async fn put(store: &dyn CoordStore, name: &str) -> Version {
    store.put(&key(name), "a value").await.unwrap().stored().unwrap()
}

#[tokio::test]
async fn in_redis_what_is_no_record_is_told_and_can_be_replaced() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let name = format!("{namespace}:coord:records:{{{namespace}}}:record:a");
    let mut before = put(&*store, "a").await;
    put(&*store, "b").await;
    for bytes in damaged(&stored(server, &name).await) {
        plant(server, &name, &bytes).await;
        is_told_and_replaced(&store, before, &format!("{bytes:x?}")).await;
        before = put(&*store, "a").await;
    }
    for command in [&["LPUSH", &name, "a"][..], &["HSET", &name, "a", "b"], &["SADD", &name, "a"]] {
        server.command(&["DEL", &name]).await.unwrap();
        server.command(command).await.unwrap();
        is_told_and_replaced(&store, before, command[0]).await;
    }
}

/// How many names the index has.
async fn names(server: &RedisServer, namespace: &Namespace) -> i64 {
    let index = format!("{namespace}:coord:records:{{{namespace}}}:index");
    server.command(&["ZCARD", &index]).await.unwrap().integer().unwrap()
}

#[tokio::test]
async fn what_is_put_in_the_place_of_the_index_of_redis_ends_nothing() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let index = format!("{namespace}:coord:records:{{{namespace}}}:index");
    for command in
        [&["SET", &index, "x"][..], &["LPUSH", &index, "x"], &["HSET", &index, "x", "y"], &["SADD", &index, "x"]]
    {
        let plant = async || {
            server.command(&["DEL", &index]).await.unwrap();
            server.command(command).await.unwrap();
        };
        // What was removed is, and is said to be.
        let version = put(&*store, "removed").await;
        plant().await;
        assert_eq!(store.remove(&key("removed"), version).await.unwrap(), RemoveOutcome::Removed, "{command:?}");
        assert_eq!(store.get(&key("removed")).await.unwrap(), None);
        // A put takes the place back, and knows itself when it is repeated.
        put(&*store, "a").await;
        let page = store.scan("").await.unwrap();
        assert!(page.records.len() == 1 && page.records[0].0 == key("a"), "{command:?}: {page:?}");
        // A scan is told, once.
        plant().await;
        let told = store.scan("").await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Corrupt, "{command:?}: {told:?}");
        assert_eq!(store.scan("").await.unwrap().records, vec![], "{command:?}");
        // Who joins scans, and puts.
        plant().await;
        let coord = Coordination::new(Arc::clone(&store));
        let joined = match coord.membership().join(MemberInfo::new("x")).await {
            Ok(joined) => joined,
            Err(_) => coord.membership().join(MemberInfo::new("x")).await.unwrap(),
        };
        assert_eq!(coord.membership().members().await.unwrap().len(), 1, "{command:?}");
        joined.leave().await;
        coord.lock("a").await.unwrap().release().await.unwrap();
    }
}

/// Names that are none, and those of records that are not there, are passed over by scans, and go with puts.
#[tokio::test]
async fn foreign_names_in_the_index_of_redis_are_passed_over_and_go() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let index = format!("{namespace}:coord:records:{{{namespace}}}:index");
    put(&*store, "b").await;
    for name in [&b"\x80\xfe"[..], b"a//b", b"", b"c"] {
        server.command(&[b"ZADD", index.as_bytes(), b"0", name]).await.unwrap();
    }
    let page = store.scan("").await.unwrap();
    assert!(page.records.len() == 1 && page.records[0].0 == key("b"), "{page:?}");
    for _ in 0..200 {
        put(&*store, "b").await;
    }
    assert_eq!(names(server, &namespace).await, 1);
}

/// Also behind those that are no text, wherever a page ends.
#[tokio::test]
async fn a_scan_goes_on_behind_foreign_names_wherever_a_page_ends() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let index = format!("{namespace}:coord:records:{{{namespace}}}:index");
    let names = ["a", "\u{e9}", "\u{7ff}", "\u{ffee}", "\u{1f600}"];
    for name in names {
        put(&*store, name).await;
    }
    for name in [&b"a\xff"[..], b"\x80", b"\xed\xa0\x80", b"\xf5x"] {
        server.command(&[b"ZADD", index.as_bytes(), b"0", name]).await.unwrap();
    }
    for limit in 1..=9 {
        let (mut found, mut pages, mut options) = (Vec::new(), 0, ScanOptions::new("").with_limit(limit));
        loop {
            let page = store.scan_with(options.clone()).await.unwrap();
            found.extend(page.records.into_iter().map(|(name, _)| name.as_str().to_owned()));
            pages += 1;
            assert!(pages <= 10, "it does not end: {limit} a page, {found:?}");
            let Some(next) = page.next else { break };
            options = options.with_start(next);
        }
        assert_eq!(found, names, "{limit} a page");
    }
    for token in ["\0", "\0f", "\0zz"] {
        let options = ScanOptions::new("").with_start(PageToken::new(token));
        let refused = store.scan_with(options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{token:?}: {refused:?}");
    }
}

/// A day after they have expired, which passes here by a command of Redis.
#[tokio::test]
async fn names_of_tokens_that_are_forgotten_leave_the_index_though_nobody_scans_them() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let coord = Coordination::new(Arc::clone(&store));
    let links = coord.single_use("links", Duration::from_secs(1));
    put(&*store, "stays").await;
    let accept = async |day: usize| {
        for token in 0..300 {
            assert_eq!(links.accept(format!("{day} {token}")).await.unwrap(), Accepted::First);
        }
    };
    let forget = "local keys = redis.call('KEYS', ARGV[1]) for _, key in ipairs(keys) do redis.call('DEL', key) end return #keys";
    for day in 0..4 {
        accept(day).await;
        let found = names(&server, &namespace).await;
        assert!(found <= 2 * 301, "{found} names on day {day}");
        let forgotten = server.command(&["EVAL", forget, "0", "*:record:used/*"]).await.unwrap();
        assert_eq!(forgotten.integer(), Some(300));
    }
    // A put that adds no name takes some out now and then, and one that adds a name each time.
    let before = names(&server, &namespace).await;
    for _ in 0..2_000 {
        put(&*store, "stays").await;
    }
    let left = names(&server, &namespace).await;
    assert!(left < before, "{left} of {before}");
    for _ in 0..1000 {
        let version = put(&*store, "comes").await;
        assert_eq!(store.remove(&key("comes"), version).await.unwrap(), RemoveOutcome::Removed);
    }
    assert_eq!(names(&server, &namespace).await, 1);
    assert_eq!(store.scan("").await.unwrap().records.len(), 1);
}

async fn in_files(files: Arc<dyn FileStore>, namespace: &Namespace) {
    let store = FilesCoordStore::new(Arc::clone(&files), namespace, FilesConfig::default()).unwrap();
    let store: Arc<dyn CoordStore> = Arc::new(store);
    let name = FileKey::new(format!(".coordination/{namespace}/a~")).unwrap();
    let before = put(&*store, "a").await;
    put(&*store, "b").await;
    let record = files.get_with(&name, Default::default()).await.unwrap().found().unwrap().bytes().await.unwrap();
    for bytes in damaged(&record) {
        let _ = files.put_with(&name, Body::from(Bytes::from(bytes.clone())), Default::default()).await.unwrap();
        is_told_and_replaced(&store, before, &format!("{bytes:x?}")).await;
    }
}

#[tokio::test]
async fn in_files_what_is_no_record_is_told_and_can_be_replaced() {
    in_files(Arc::new(MemoryFileStore::new()), &random_namespace()).await;
}

/// What is damaged below the file store, which then cannot read it whole, or at all.
#[tokio::test]
async fn on_a_disk_a_damaged_file_is_told_and_can_be_replaced() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), random_namespace());
    let files = Arc::new(LocalFileStore::open(folder.path()).await.unwrap());
    let store: Arc<dyn CoordStore> = Arc::new(FilesCoordStore::new(files, &namespace, FilesConfig::default()).unwrap());
    let path = folder.path().join(format!("%2ecoordination+/{namespace}+/a%7e"));
    let damages: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[0] ^= 1, |bytes| bytes.truncate(20), |bytes| *bytes.last_mut().unwrap() ^= 1];
    for damage in damages {
        let before = put(&*store, "a").await;
        put(&*store, "b").await;
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        is_told_and_replaced(&store, before, &format!("{} bytes", bytes.len())).await;
    }
}

/// A lock whose record is damaged is neither free nor held: nobody gets it until somebody has looked.
#[tokio::test]
async fn a_damaged_lock_is_given_to_nobody() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    let coord = Coordination::new(Arc::clone(&store));
    let guard = coord.lock("export").await.unwrap();
    let page = store.scan("").await.unwrap();
    let [(name, _)] = &page.records[..] else { panic!("{page:?}") };
    let path = format!("{namespace}:coord:records:{{{namespace}}}:record:{name}");
    for bytes in damaged(&stored(&server, &path).await) {
        plant(&server, &path, &bytes).await;
        let refused = coord.lock("export").await;
        assert!(refused.is_err(), "{bytes:x?}: {refused:?}");
        let list = coord.locks().await.unwrap();
        assert_eq!((list.locks, list.skipped), (Vec::new(), 1), "{bytes:x?}");
    }
    drop(guard);
}

/// One that can be read, and says nothing that a lock does.
#[tokio::test]
async fn what_is_no_lock_is_counted_where_locks_are_listed() {
    let store: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    let _ = store.put(&key("lock/export"), "no lock").await.unwrap();
    let coord = Coordination::new(store);
    let _held = coord.lock("import").await.unwrap();
    let list = coord.locks().await.unwrap();
    assert_eq!((list.locks.len(), list.skipped), (1, 1));
}

/// A run whose record is damaged is begun by nobody, until it is reset.
async fn a_damaged_run_is_reset(coord: &Coordination, case: &str) {
    let nothing = async |_: Run| Ok::<_, Error>(());
    let run = || coord.run_once("codes", Revision::new(1, "d"));
    assert_eq!(run().run(nothing).await.unwrap_err().kind(), ErrorKind::Corrupt, "{case}");
    assert_eq!(coord.runs().list().await.unwrap().skipped, 1, "{case}");
    assert!(coord.runs().reset("codes").await.unwrap(), "{case}");
    assert!(!coord.runs().reset("codes").await.unwrap(), "{case}");
    assert_eq!(run().run(nothing).await.unwrap(), Ran::Now { attempt: 1 }, "{case}");
}

#[tokio::test]
async fn a_damaged_run_is_reset_in_redis_and_on_a_disk() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let coord = Coordination::new(Arc::new(open_redis(&server.url(), &namespace).await));
    let nothing = async |_: Run| Ok::<_, Error>(());
    let _ran = coord.run_once("codes", Revision::new(1, "d")).run(nothing).await.unwrap();
    let path = format!("{namespace}:coord:records:{{{namespace}}}:record:run/codes");
    for bytes in damaged(&stored(&server, &path).await).into_iter().step_by(7) {
        plant(&server, &path, &bytes).await;
        a_damaged_run_is_reset(&coord, &format!("{bytes:x?}")).await;
    }

    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFileStore::open(folder.path()).await.unwrap());
    let coord = Coordination::new(Arc::new(FilesCoordStore::new(files, &namespace, FilesConfig::default()).unwrap()));
    let _ran = coord.run_once("codes", Revision::new(1, "d")).run(nothing).await.unwrap();
    std::fs::write(folder.path().join(format!("%2ecoordination+/{namespace}+/run+/codes%7e")), b"damaged").unwrap();
    a_damaged_run_is_reset(&coord, "on a disk").await;
}

/// Of the places that members choose from, some have something else in them, and beside the epochs stands what is none.
#[tokio::test]
async fn who_joins_passes_over_what_is_no_member_and_no_epoch() {
    let (server, namespace) = (crate::durable_redis().await, random_namespace());
    let store: Arc<dyn CoordStore> = Arc::new(open_redis(&server.url(), &namespace).await);
    for name in ["epochs/x", "epoch/x", "epoch-raise/x", "epoch-raised/x"] {
        put(&*store, name).await;
    }
    for number in 0..12 {
        let name = format!("member/{number}");
        put(&*store, &name).await;
        plant(&server, &format!("{namespace}:coord:records:{{{namespace}}}:record:{name}"), b"x").await;
    }
    let mut members = Vec::new();
    for _ in 0..4 {
        let joined = crate::membership::over(Arc::clone(&store)).join(MemberInfo::new("a")).await.unwrap();
        members.push(joined);
    }
    let watch = crate::membership::over(Arc::clone(&store));
    crate::membership::sees(&watch, &members.iter().map(|member| member.id()).collect::<Vec<_>>()).await;
}
