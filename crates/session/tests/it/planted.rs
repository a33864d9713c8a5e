//! What somebody else has put where sessions are: other types, other bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, ServiceUrl};
use statehouse_redis::{Idempotence, RedisClient, RedisConfig, redis};
use statehouse_session::{
    Attribute, AttributeName, Authority, Deleted, Delta, Loaded, NewSession, Principal, Revoke, Rotate, Rotation,
    SessionConfig, SessionLayer, SessionStoreExt as _, Token, Touched,
};
use statehouse_testkit::{RedisCluster, RedisServer, Reply};

use crate::http::{App, routes, token};
use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

/// The commands that put something else at a key, after its name.
const PLANTED: [(&str, &[&str]); 10] = [
    ("SET", &[""]),
    ("SET", &["SH"]),
    ("SET", &["12345678901234567890"]),
    ("SET", &[LONG]),
    ("LPUSH", &["a"]),
    ("HSET", &["a", "b"]),
    ("HSET", &["4102444800", "1.5"]),
    ("SADD", &["a"]),
    ("ZADD", &["1", "a"]),
    ("XADD", &["*", "a", "b"]),
];

/// As long as a session.
const LONG: &str = match std::str::from_utf8(&[b'x'; 300]) {
    Ok(text) => text,
    Err(_) => panic!("ASCII"),
};

async fn plant(server: &RedisServer, key: &str, (command, rest): (&str, &[&str])) {
    server.command(&["DEL", key]).await.unwrap();
    let command = [&[command, key], rest].concat();
    let planted = server.command(&command).await.unwrap();
    assert!(!matches!(planted, Reply::Error(_)), "{command:?}: {planted:?}");
}

#[tokio::test]
async fn no_verb_takes_what_was_planted_for_a_session_or_for_an_outage_and_a_logout_takes_it_away() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let token = Token::generate().unwrap();
    let (key, holder) = (token.key(), Authority::Holder(token.verifier_hash()));
    let name = format!("{namespace}:session:records:{key}");
    let base = store.create(&key, &NewSession::new(token.verifier_hash(), MINUTE, MINUTE)).await.unwrap();
    let delta = Delta::new().with_set(AttributeName::new("a").unwrap(), Attribute::encode(&1).unwrap());
    let next = Rotation::new(token.with_new_verifier().unwrap().verifier_hash(), Rotate::PrivilegeChange);
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE);
    for planted in PLANTED {
        for (who, authority) in [("holder", holder), ("application", Authority::Application)] {
            plant(&server, &name, planted).await;
            let case = format!("{planted:?}, {who}");
            let is_corrupt = |error: Error| assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {error:?}");
            is_corrupt(store.load(&key).await.unwrap_err());
            is_corrupt(store.save(&base, authority, &delta).await.unwrap_err());
            is_corrupt(store.rotate(&base, authority, &next, &delta).await.unwrap_err());
            assert_eq!(store.touch(&key).await.unwrap(), Touched::Gone, "{case}");
            let taken = store.create(&key, &new).await.unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{case}: {taken:?}");
            assert_eq!(store.delete(&key, authority).await.unwrap(), Deleted::Removed, "{case}");
            assert!(matches!(store.load(&key).await, Ok(Loaded::Absent)), "{case}");
            assert_eq!(server.command(&["EXISTS", &name]).await.unwrap().integer(), Some(0), "{case}");
        }
    }
}

/// Nothing is believed of a damaged session, and nothing of it sealed anew.
#[tokio::test]
async fn a_touch_seals_no_damaged_session_and_a_logout_takes_it_away() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let token = Token::generate().unwrap();
    let (key, holder) = (token.key(), Authority::Holder(token.verifier_hash()));
    let name = format!("{namespace}:session:records:{key}");
    store.create(&key, &NewSession::new(token.verifier_hash(), MINUTE, MINUTE)).await.unwrap();
    let stored = get(&server, &name).await;
    // Of an envelope what says whether it is one, its version, its times, and the checksum over these.
    for at in (0..3).chain(16..52) {
        for bit in [1, 128] {
            let mut bytes = stored.clone();
            bytes[at] ^= bit;
            server.command(&[b"SET", name.as_bytes(), &bytes]).await.unwrap();
            assert_eq!(store.touch(&key).await.unwrap(), Touched::Gone, "byte {at}");
            assert_eq!(get(&server, &name).await, bytes, "byte {at}");
            assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
            assert_eq!(store.delete(&key, holder).await.unwrap(), Deleted::Removed, "byte {at}");
        }
    }
}

async fn get(server: &RedisServer, name: &str) -> Vec<u8> {
    let mut url = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    redis.query(redis::cmd("GET").arg(name), Idempotence::Idempotent).await.unwrap()
}

/// Whoever brings the token of what was planted there goes on with another session.
#[tokio::test]
async fn what_was_planted_is_no_outage_for_the_browser_whose_session_was_there() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let layer = SessionLayer::with_config(store, SessionConfig::default());
    let app = App::around(routes().layer(layer), Arc::default());
    for planted in PLANTED {
        let old = app.post("/login/u1", "").await.unwrap();
        plant(&server, &format!("{namespace}:session:records:{}", token(&old).key()), planted).await;
        assert_eq!(app.get("/who", &old).await.0, "nobody", "{planted:?}");
        let next = app.post("/login/u2", &old).await.unwrap();
        assert_eq!(app.get("/who", &next).await.0, "u2", "{planted:?}");
    }
}

#[tokio::test]
async fn the_count_of_anonymous_sessions_goes_on_over_whatever_was_planted_in_its_place() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let key = format!("{namespace}:session:anonymous:count");
    for planted in PLANTED {
        plant(&server, &key, planted).await;
        let store = open_redis(&server.url(), &namespace).await;
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), 10 * MINUTE, 60 * MINUTE);
        let created = store.create(&token.key(), &new).await.unwrap();
        let second = created.record().expiry_if_unused().as_micros().div_ceil(1_000_000).next_multiple_of(16);
        let (begun, expected) = (Instant::now(), [second.to_string(), "1".to_owned()]);
        loop {
            let counted = match server.command(&["HGETALL", &key]).await {
                Ok(Reply::Array(pairs)) => pairs.iter().map(|text| text.text().unwrap().to_owned()).collect(),
                other => vec![format!("{other:?}")],
            };
            if counted == expected {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{planted:?}: {counted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What no revocation has written, though Lua or Rust may read a number in it.
const NO_EPOCHS: [(&str, &[&str]); 9] = [
    ("SET", &["inf"]),
    ("SET", &["nan"]),
    ("SET", &["1e300"]),
    ("SET", &["0x20000000000000"]),
    ("SET", &["+9007199254740993"]),
    ("SET", &["18446744073709551615"]),
    ("SET", &["x"]),
    ("LPUSH", &["a"]),
    ("HSET", &["a", "b"]),
];

/// It ends nobody's session and keeps nobody from logging in, and the next revocation ends all that there are.
async fn what_is_no_epoch_ends_nothing(command: impl AsyncFn(&[&str]), url: &str) {
    let (namespace, who) = (random_namespace(), Principal::new("u42").unwrap());
    let store = Arc::new(open_redis(url, &namespace).await);
    let layer = SessionLayer::with_config(Arc::clone(&store), SessionConfig::default());
    let app = App::around(routes().layer(layer), Arc::default());
    for place in ["principals:{u42}:epoch", "principals:{u42}:keeping", "everybody:epoch"] {
        let name = format!("{namespace}:session:{place}");
        for (planted, rest) in NO_EPOCHS {
            let case = format!("{place}: {planted} {rest:?}");
            let before = app.post("/login/u42", "").await.expect(&case);
            command(&["DEL", &name]).await;
            command(&[&[planted, &*name], rest].concat()).await;
            app.post("/put/a/b", &before).await;
            assert_eq!(app.get("/read/a", &before).await.0, "b", "{case}");
            assert_eq!(app.get("/who", &before).await.0, "u42", "{case}");
            let after = app.post("/login/u42", "").await.expect(&case);
            assert_eq!(app.get("/who", &after).await.0, "u42", "{case}");
            // The epoch of everybody that was overwritten was later than what the principal's own revocations count on from.
            if place != "everybody:epoch" {
                let kept = token(&after).key();
                store.revoke(Revoke::Others(&who, &kept)).await.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(app.get("/who", &before).await.0, "nobody", "{case}");
                assert_eq!(app.get("/who", &after).await.0, "u42", "{case}");
            }
            store.revoke(Revoke::Everything).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(app.get("/who", &after).await.0, "nobody", "{case}");
        }
    }
}

#[tokio::test]
async fn what_was_planted_in_the_place_of_a_revocation_ends_nothing() {
    let server = RedisServer::start().await;
    what_is_no_epoch_ends_nothing(async |command| drop(server.command(command).await.unwrap()), &server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planted_in_the_place_of_a_revocation_ends_nothing_in_a_cluster() {
    let cluster = RedisCluster::shared().await;
    let command = async |command: &[&str]| {
        let primary = cluster.primary_of(command[1]).await.unwrap().unwrap();
        drop(primary.command(command).await.unwrap());
    };
    what_is_no_epoch_ends_nothing(command, &cluster.url()).await;
}

/// That a user may not read is no absent session, and no authority to end one.
#[tokio::test]
async fn what_a_user_may_not_read_is_not_taken_for_gone() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE);
    store.create(&token.key(), &new).await.unwrap();
    server.command(&["ACL", "SETUSER", "default", "-getrange", "-get"]).await.unwrap();
    let holder = Authority::Holder(token.verifier_hash());
    let errors = [
        store.touch(&token.key()).await.err(),
        store.delete(&token.key(), holder).await.err(),
        store.create(&token.key(), &new).await.err(),
    ];
    for error in errors {
        assert_eq!(error.expect("an error").kind(), ErrorKind::PermissionDenied);
    }
    server.command(&["ACL", "SETUSER", "default", "+@all"]).await.unwrap();
    assert!(store.load(&token.key()).await.unwrap().found().is_some());
}
