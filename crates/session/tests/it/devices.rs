//! Where somebody is logged in, through requests and where a login dies half way.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use statehouse_core::ErrorKind;
use statehouse_core::conformance::rounds;
use statehouse_session::{
    Beyond, Limit, Loaded, NewSession, Principal, Revoke, Session, SessionConfig, SessionKey, SessionStoreExt as _,
    Sessions, Token,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::http::{Answer, App, routes};
use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

fn app(limit: Option<Limit>) -> App {
    let login = async |session: Session| -> Answer<()> {
        session.login("u42").await?;
        Ok(session.name_device("Firefox on Linux")?)
    };
    let routes: Router = routes()
        .route("/device", post(login))
        .route(
            "/devices",
            get(async |session: Session| -> Answer<String> {
                let listed = session.list().await?;
                Ok(listed.iter().filter_map(|session| session.device.clone()).collect::<Vec<_>>().join(","))
            }),
        )
        .route("/others", post(async |session: Session| -> Answer<()> { Ok(session.revoke_others().await?) }));
    App::with_routes(routes, |config| match limit {
        Some(limit) => config.limit(limit),
        None => config,
    })
}

#[tokio::test]
async fn whoever_ends_all_other_sessions_stays_logged_in_and_nobody_else() {
    let app = app(None);
    let [one, two] = [app.post("/device", "").await.unwrap(), app.post("/device", "").await.unwrap()];
    let other = app.post("/login/u1", "").await.unwrap();
    assert_eq!(app.get("/devices", &one).await.0, "Firefox on Linux,Firefox on Linux");
    assert_eq!(app.post("/others", &two).await, None, "the cookie stays");
    let who = async |cookie: &str| app.get("/who", cookie).await.0;
    assert_eq!((who(&one).await, who(&two).await, who(&other).await), ("nobody".into(), "u42".into(), "u1".into()));
    assert_eq!(app.get("/devices", &two).await.0, "Firefox on Linux");
}

#[tokio::test]
async fn one_login_too_many_is_a_conflict_or_ends_the_oldest_session() {
    for beyond in [Beyond::Reject, Beyond::EvictOldest] {
        let limit = if beyond == Beyond::Reject { Limit::reject(1) } else { Limit::evict_oldest(1) };
        let app = app(Some(limit));
        let first = app.post("/device", "").await.unwrap();
        app.clock.advance(Duration::from_secs(1));
        let response = app.send("POST", "/device", &[]).await;
        let left = if beyond == Beyond::Reject { "u42" } else { "nobody" };
        let expected = if beyond == Beyond::Reject { StatusCode::CONFLICT } else { StatusCode::OK };
        assert_eq!(response.status(), expected);
        assert_eq!(app.get("/who", &first).await.0, left);
    }
}

#[tokio::test]
async fn a_login_whose_password_was_checked_while_all_sessions_were_revoked_does_not_stand() {
    let app = app(None);
    let sessions = Sessions::new(Arc::clone(&app.store), SessionConfig::default());
    let who = Principal::new("u42").unwrap();
    let session = sessions.open(&http::HeaderMap::new());
    let begun = session.begin_login(&who).await.unwrap();
    sessions.revoke_all(&who).await.unwrap();
    session.login_as_of(&who, begun).await.unwrap();
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(sessions.list(&who).await.unwrap().is_empty());
    let nobody = sessions.open(&http::HeaderMap::new()).list().await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unauthenticated);
}

/// The records of all sessions of a namespace, wherever they lie.
async fn stored(cluster: &RedisCluster, namespace: &str) -> Vec<SessionKey> {
    let mut keys = Vec::new();
    for node in cluster.nodes() {
        let pattern = format!("{namespace}:session:records:*");
        let found =
            node.command(&["EVAL", "return table.concat(redis.call('KEYS', ARGV[1]), ' ')", "0", &pattern]).await;
        let text = found.unwrap().text().unwrap_or_default().to_owned();
        keys.extend(text.split_whitespace().filter_map(|name| name.rsplit(':').next()?.parse::<SessionKey>().ok()));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Record and principal lie in two slots: whatever the last step was, a revocation ends the session, and its use lists it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_dies_half_way_is_listed_once_it_is_used_and_ended_by_a_revocation() {
    let (cluster, namespace) = (RedisCluster::shared().await, random_namespace());
    let who = Principal::new("u42").unwrap();
    for round in 0..rounds(60, 2_000) {
        let store = open_redis(&cluster.url(), &namespace).await;
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
        let login = tokio::spawn(async move { store.create(&token.key(), &new).await.map(drop) });
        tokio::time::sleep(Duration::from_micros(100 * (round as u64 % 20))).await;
        login.abort();
        let _ = login.await;
        // Another process.
        let other = open_redis(&cluster.url(), &namespace).await;
        let mut found = Vec::new();
        for key in stored(cluster, namespace.as_str()).await {
            if let Loaded::Found(_) = other.load(&key).await.unwrap() {
                found.push(key);
            }
        }
        let before = other.list(&who).await.unwrap().len();
        assert!(before <= found.len(), "round {round}: nothing is listed that is not there");
        for key in &found {
            let _ = other.touch(key).await.unwrap();
        }
        let mut listed: Vec<_> =
            other.list(&who).await.unwrap().iter().map(|session| *session.record().key()).collect();
        listed.sort_unstable();
        assert_eq!(listed, found, "round {round}");
        if round % 3 == 0 {
            other.revoke(Revoke::All(&who)).await.unwrap();
            for key in &found {
                assert!(other.load(key).await.unwrap().found().is_none(), "round {round}");
            }
        }
    }
}

/// Whatever becomes of the index: the epoch ends what is in none.
#[tokio::test]
async fn a_session_that_is_in_no_index_is_revoked_all_the_same() {
    let (cluster, namespace) = (RedisCluster::shared().await, random_namespace());
    let store = open_redis(&cluster.url(), &namespace).await;
    let who = Principal::new("u{4}2").unwrap();
    for planted in [false, true] {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
        store.create(&token.key(), &new.with_limit(Limit::reject(1))).await.unwrap();
        for part in ["sessions", "entering"] {
            let index = format!("{namespace}:session:principals:{{u%7B4%7D2}}:{part}");
            let primary = cluster.primary_of(&index).await.unwrap().unwrap();
            primary.command(&["DEL", &index]).await.unwrap();
            if planted {
                primary.command(&["SET", &index, "planted"]).await.unwrap();
            }
        }
        store.revoke(Revoke::All(&who)).await.unwrap();
        assert!(store.load(&token.key()).await.unwrap().found().is_none(), "{planted}");
    }
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
    store.create(&token.key(), &new.with_limit(Limit::reject(1))).await.unwrap();
    assert_eq!(store.list(&who).await.unwrap().len(), 1, "the next login takes away what was planted");
}

/// Pins what replicas of every later version read; see the table of `RedisSessionStore`.
#[tokio::test]
async fn what_lies_in_redis_of_a_principal_is_what_the_table_says() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let who = Principal::new("u42").unwrap();
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
    let created = store.create(&token.key(), &new.clone().with_limit(Limit::reject(1))).await.unwrap();
    let sessions = format!("{namespace}:session:principals:{{u42}}:sessions");
    let shown = "local m = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
        return #m .. (m[1] == ARGV[1] and ' its key ' or ' something else ') .. m[2]";
    let (key, ends) = (token.key(), created.record().absolute_expiry().as_micros());
    let script: [&[u8]; 5] = [b"EVAL", shown.as_bytes(), b"1", sessions.as_bytes(), key.as_bytes()];
    assert_eq!(server.command(&script).await.unwrap().text(), Some(&*format!("2 its key {ends}")));

    store.revoke(Revoke::All(&who)).await.unwrap();
    let digits = async |name: &str| {
        let key = format!("{namespace}:session:{name}");
        assert!(server.command(&["PTTL", &key]).await.unwrap().integer().unwrap() > 0, "{name}");
        server.command(&["GET", &key]).await.unwrap().text().unwrap().parse::<u64>().unwrap()
    };
    let epoch = digits("principals:{u42}:epoch").await;
    assert_eq!(store.epoch(&who).await.unwrap(), epoch);
    assert!((created.record().created().as_micros()..ends).contains(&epoch), "{epoch}");
    let next = store.create(&Token::generate().unwrap().key(), &new).await.unwrap();
    assert_eq!(next.record().epoch(), epoch);
    store.revoke(Revoke::Everything).await.unwrap();
    let hour = 3_600_000_000;
    assert!((epoch + hour..ends + hour).contains(&digits("everybody:epoch").await));
}
