//! Where somebody is logged in, through requests and where a login dies half way.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, Result};
use statehouse_session::{
    Attribute, AttributeName, Authority, Beyond, CreateOptions, DeleteOptions, Deleted, Delta, Limit, ListOptions,
    LoadOptions, Loaded, MemorySessionStore, NewSession, Principal, RedisSessionStore, Revoke, RevokeOptions, Rotation,
    SaveId, SaveOptions, Saved, Session, SessionConfig, SessionKey, SessionLayer, SessionStore, SessionStoreExt as _,
    Sessions, Snapshot, Token,
};
use statehouse_testkit::{Direction, FaultProxy, RedisCluster, RedisServer};

use crate::http::{Answer, App, routes, set_cookie};
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

/// The end of a password reset, by a browser that has a session already.
#[tokio::test]
async fn whoever_logs_in_and_ends_all_other_sessions_at_once_is_logged_in_and_nobody_else() {
    let alone = async |session: Session| -> Answer<()> {
        session.login("u42").await?;
        session.revoke_others().await?;
        Ok(session.insert("theme", "dark")?)
    };
    let namespace = random_namespace();
    let memory: Arc<dyn SessionStore> = Arc::new(MemorySessionStore::new());
    let redis: Arc<dyn SessionStore> = Arc::new(open_redis(&RedisServer::shared().await.url(), &namespace).await);
    for store in [memory, redis] {
        let router = routes().route("/login-alone", post(alone)).layer(SessionLayer::new(store));
        let app = App::around(router, Arc::default());
        for round in 0..3 {
            let other = app.post("/login/u42", "").await.unwrap();
            let anonymous = app.post("/put/cart/7", "").await.unwrap();
            let before = ["", &anonymous, &other][round];
            let response = app.send("POST", "/login-alone", &[before]).await;
            assert_eq!(response.status(), StatusCode::OK, "round {round}");
            let own = set_cookie(&response).expect("a login");
            let who = async |cookie: &str| app.get("/who", cookie).await.0;
            assert_eq!((who(&own).await, who(&other).await), ("u42".into(), "nobody".into()), "round {round}");
            assert_eq!(app.get("/read/theme", &own).await.0, "dark", "round {round}");
        }
    }
}

/// The other sessions were not ended for a login that does not stand.
#[tokio::test]
async fn whoever_may_not_log_in_ends_nobodys_session() {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let who = Principal::new("u42").unwrap();
    let session = sessions.open(&http::HeaderMap::new());
    let begun = session.begin_login(&who).await.unwrap();
    sessions.revoke_all(&who).await.unwrap();
    let other = sessions.open(&http::HeaderMap::new());
    other.login(&who).await.unwrap();
    other.commit().await.unwrap();
    session.login_as_of(&who, begun).await.unwrap();
    assert_eq!(session.revoke_others().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(sessions.list(&who).await.unwrap().len(), 1);
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

/// As where somebody enters their password again for what needs a recent one.
#[tokio::test]
async fn a_login_to_a_session_that_is_theirs_takes_one_place() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let new = || {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(Principal::new("u42").unwrap());
        (token.key(), new.with_limit(Limit::reject(2)))
    };
    let (own, login) = new();
    store.create(&own, &login).await.unwrap();
    // It has asked for its place, and gone no further.
    let entering = format!("{namespace}:session:principals:{{u42}}:entering");
    let add: [&[u8]; 4] = [b"ZADD", entering.as_bytes(), b"9e15", own.as_bytes()];
    assert_eq!(server.command(&add).await.unwrap().integer(), Some(1));
    let (other, login) = new();
    store.create(&other, &login).await.unwrap();
    let (third, login) = new();
    assert_eq!(store.create(&third, &login).await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Its answer was lost, and its place is free after ten seconds.
#[tokio::test]
async fn a_login_that_is_repeated_once_another_has_its_place_leaves_no_session_beyond_the_limit() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let limit = Limit::reject(1);
    let new = |token: &Token| NewSession::new(token.verifier_hash(), MINUTE, MINUTE);
    for rotates in [false, true] {
        let who = Principal::new(format!("u{rotates}")).unwrap();
        let (token, id) = (Token::generate().unwrap(), SaveId::generate().unwrap());
        let login = new(&token).with_principal(who.clone()).with_limit(limit);
        let create = CreateOptions::default().with_id(id);
        let next = token.with_new_verifier().unwrap().verifier_hash();
        let rotation = Rotation::login(next, who.clone()).with_limit(limit);
        let mut base = None;
        if rotates {
            let created = store.create(&token.key(), &new(&token)).await.unwrap();
            let saved = store.rotate(&created, Authority::Application, &rotation, &Delta::new()).await.unwrap();
            assert!(matches!(saved, Saved::Applied(_)), "{saved:?}");
            base = Some(created);
        } else {
            store.create_with(&token.key(), &login, create.clone()).await.unwrap();
        }
        for part in ["sessions", "entering"] {
            let index = format!("{namespace}:session:principals:{{{who}}}:{part}");
            server.command(&["DEL", &index]).await.unwrap();
        }
        let other = Token::generate().unwrap();
        store.create(&other.key(), &new(&other).with_principal(who.clone()).with_limit(limit)).await.unwrap();
        let repeated = match &base {
            Some(base) => store.rotate(base, Authority::Application, &rotation, &Delta::new()).await.map(drop),
            None => store.create_with(&token.key(), &login, create).await.map(drop),
        };
        assert_eq!(repeated.unwrap_err().kind(), ErrorKind::Conflict, "{rotates}");
        assert!(store.load(&token.key()).await.unwrap().found().is_none(), "{rotates}");
        let listed = store.list(&who).await.unwrap();
        assert_eq!(listed.iter().map(|session| *session.record().key()).collect::<Vec<_>>(), [other.key()]);
    }
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

/// What a websocket waits for, on another replica than the one where it happens.
#[tokio::test]
async fn what_lasts_longer_than_a_request_ends_with_its_session() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let stores = [open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await];
    let [here, elsewhere] = stores.map(|store| Sessions::new(store, SessionConfig::default()));
    let who = Principal::new("u42").unwrap();
    let every = Duration::from_millis(20);
    for how in ["logout", "revoke", "another"] {
        let session = here.open(&http::HeaderMap::new());
        assert_eq!(session.ended(every).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
        session.login(&who).await.unwrap();
        session.commit().await.unwrap();
        assert_eq!(session.ended(Duration::ZERO).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let socket = tokio::spawn({
            let session = session.clone();
            async move { session.ended(every).await }
        });
        tokio::time::sleep(5 * every).await;
        assert!(!socket.is_finished(), "{how}: nothing has happened");
        let key = session.key().await.unwrap().unwrap();
        match how {
            "logout" => session.logout().await.unwrap(),
            "revoke" => elsewhere.revoke(&who, &key).await.unwrap(),
            _ => {
                session.login("u1").await.unwrap();
                session.commit().await.unwrap();
            }
        }
        tokio::time::timeout(Duration::from_secs(10), socket).await.expect(how).unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_happens_to_sessions_is_told_once_where_it_happens() {
    use statehouse_session::SessionEventKind as Kind;
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let app = App::with_routes(routes(), |config| {
        config.on_event(move |event| {
            let who = event.principal.as_ref().map(ToString::to_string).unwrap_or_default();
            listener.lock().unwrap().push((event.kind, who, event.key.is_some()));
        })
    });
    let said = || std::mem::take(&mut *told.lock().unwrap());
    let event = |kind, who: &str| (kind, who.to_owned(), true);

    let anonymous = app.post("/put/cart/7", "").await.unwrap();
    assert_eq!(said(), [event(Kind::Created, "")]);
    let cookie = app.post("/login/u42", &anonymous).await.unwrap();
    assert_eq!(said(), [event(Kind::LoggedIn, "u42")]);
    app.get("/who", &anonymous).await;
    assert_eq!(said(), [], "a request that may have been under way");
    app.clock.advance(2 * MINUTE);
    app.get("/who", &anonymous).await;
    assert_eq!(said(), [event(Kind::OldTokenUsed, "u42")]);
    app.get("/who", &cookie).await;
    app.post("/put/cart/7", &cookie).await;
    assert_eq!(said(), [], "nothing but reads and writes");
    app.post("/logout", &cookie).await;
    assert_eq!(said(), [event(Kind::Ended, "")], "a logout alone does not read whose it was");
    let at_once = app.post("/login/u42", "").await.unwrap();
    assert_eq!(said(), [event(Kind::Created, "u42"), event(Kind::LoggedIn, "u42")]);
    app.post("/login/u1", &at_once).await.unwrap();
    assert_eq!(said(), [event(Kind::LoggedIn, "u1")]);
}

/// Without the time in which a request with the old one may have been under way.
#[tokio::test]
async fn of_a_cookie_that_was_replaced_a_moment_ago_nobody_is_told_whatever_came_before_it() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let app = App::with_routes(routes(), |config| {
        config.on_event(move |event| listener.lock().unwrap().push((event.kind, event.key)))
    });
    let ended = app.post("/login/u1", "").await.unwrap();
    app.post("/logout", &ended).await;
    let before = app.post("/put/cart/7", "").await.unwrap();
    app.post("/login/u42", &before).await.unwrap();
    told.lock().unwrap().clear();
    app.clock.advance(Duration::from_secs(1));
    let both = format!("{ended}; {before}");
    assert_eq!(app.get("/who", &both).await.0, "nobody");
    assert_eq!(*told.lock().unwrap(), []);
    app.clock.advance(2 * MINUTE);
    for path in ["/who", "/logout"] {
        app.send(if path == "/who" { "GET" } else { "POST" }, path, &[&before]).await;
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_revocation_is_told_where_something_ended() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let app = App::with_routes(routes(), |config| config);
    let config = SessionConfig::builder().on_event(move |event| listener.lock().unwrap().push(event.kind));
    let sessions = Sessions::new(Arc::clone(&app.store), config.build().unwrap());
    let [who, other] = ["u42", "u1"].map(|who| Principal::new(who).unwrap());
    app.post("/login/u42", "").await.unwrap();
    let key = sessions.list(&who).await.unwrap()[0].key;
    for (principal, ended) in [(&other, 0), (&who, 1), (&who, 0)] {
        sessions.revoke(principal, &key).await.unwrap();
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()).len(), ended, "{principal:?}");
    }
    sessions.revoke_all(&who).await.unwrap();
    assert_eq!(told.lock().unwrap().len(), 1, "logins under way have ended with it");
}

/// A session of somebody's: of those of nobody a store tells the server how many there are, over the same connection.
async fn somebodys(store: &impl SessionStore) -> (Token, Snapshot) {
    let token = Token::generate().unwrap();
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(Principal::new("u42").unwrap());
    let created = store.create(&token.key(), &new).await.unwrap();
    (token, created)
}

/// The server holds back what is written for longer than the deadline, and not until a repetition with a deadline of its own would end, which
/// begins once the connection has been silent for a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_is_repeated_has_one_deadline() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let (_, base) = somebodys(&store).await;
    let delta = Delta::new().with_set(AttributeName::new("a").unwrap(), Attribute::encode(&1).unwrap());
    server.command(&["CLIENT", "PAUSE", "4600", "WRITE"]).await.unwrap();
    let options = SaveOptions::default().with_deadline(Duration::from_secs(4));
    let late = store.save_with(&base, Authority::Application, &delta, options).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::OutcomeUnknown, "{late}");
}

/// The first answer is lost, and then the server is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_whose_repetition_is_refused_is_in_doubt() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let store = open_redis(&proxy.url(&server.url()), &namespace).await;
    let (token, base) = somebodys(&store).await;
    let name = AttributeName::new("a").unwrap();
    // The server knows the script from then on, so that the first try is one round trip.
    let (_, another) = somebodys(&store).await;
    let sets = Delta::new().with_set(name.clone(), Attribute::encode(&0).unwrap());
    assert!(matches!(store.save(&another, Authority::Application, &sets).await.unwrap(), Saved::Applied(_)));
    proxy.black_hole_way(Direction::ToClient);
    let save = tokio::spawn({
        let delta = Delta::new().with_set(name.clone(), Attribute::encode(&1).unwrap());
        let options = SaveOptions::default().with_deadline(Duration::from_secs(4));
        async move { store.save_with(&base, Authority::Application, &delta, options).await }
    });
    let direct = open_redis(&server.url(), &namespace).await;
    let is_made = async || {
        let found = direct.load(&token.key()).await.unwrap().found().unwrap();
        found.record().attributes().contains_key(&name)
    };
    while !is_made().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.cut();
    assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

/// The same of a deletion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_repeated_has_one_deadline() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let (token, _) = somebodys(&store).await;
    server.command(&["CLIENT", "PAUSE", "4600", "WRITE"]).await.unwrap();
    let options = DeleteOptions::default().with_deadline(Duration::from_secs(4));
    let late = store.delete_with(&token.key(), Authority::Application, options).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::OutcomeUnknown, "{late}");
}

/// A deletion whose answer is lost once it is made, and what it comes to.
async fn loses_its_answer(
    (proxy, store): (&FaultProxy, &RedisSessionStore),
    token: &Token,
    is_made: impl AsyncFn() -> bool,
    then: impl FnOnce(),
) -> Result<Deleted> {
    proxy.black_hole_way(Direction::ToClient);
    let deletion = tokio::spawn({
        let (store, key) = (store.clone(), token.key());
        let options = DeleteOptions::default().with_deadline(Duration::from_secs(4));
        async move { store.delete_with(&key, Authority::Application, options).await }
    });
    while !is_made().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    then();
    deletion.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_whose_repetition_is_refused_is_in_doubt() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let store = open_redis(&proxy.url(&server.url()), &namespace).await;
    // As above.
    let (other, _) = somebodys(&store).await;
    assert_eq!(store.delete(&other.key(), Authority::Application).await.unwrap(), Deleted::Removed);
    let (token, _) = somebodys(&store).await;
    let direct = open_redis(&server.url(), &namespace).await;
    let is_made = async || matches!(direct.load(&token.key()).await.unwrap(), Loaded::Deleted { .. });
    let deleted = loses_its_answer((&proxy, &store), &token, is_made, || proxy.cut()).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

/// A server that is full keeps no trace of a deletion, and of what is no session there is none either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_whose_repetition_finds_nothing_is_in_doubt() {
    for is_full in [true, false] {
        let (server, namespace) = (RedisServer::start().await, random_namespace());
        let proxy = FaultProxy::start(server.address());
        let store = open_redis(&proxy.url(&server.url()), &namespace).await;
        let direct = open_redis(&server.url(), &namespace).await;
        // The server knows the script from then on, so that the first try is one round trip.
        let (other, _) = somebodys(&store).await;
        assert_eq!(store.delete(&other.key(), Authority::Application).await.unwrap(), Deleted::Removed);
        let (token, _) = somebodys(&store).await;
        let name = format!("{namespace}:session:records:{}", token.key());
        if is_full {
            server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
        } else {
            server.command(&["DEL", &name]).await.unwrap();
            server.command(&["RPUSH", &name, "no session"]).await.unwrap();
        }
        let is_made = async || server.command(&["EXISTS", &name]).await.unwrap().integer() == Some(0);
        let again = || {
            proxy.reset_connections();
            proxy.heal();
        };
        let deleted = loses_its_answer((&proxy, &store), &token, is_made, again).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "full: {is_full}");
        let deleted = direct.delete(&token.key(), Authority::Application).await.unwrap();
        assert_eq!(deleted, Deleted::Gone, "full: {is_full}");
    }
}

/// Of a call in two steps and more, each of which the deadline is long enough for.
#[tokio::test]
async fn a_deadline_is_of_the_call_and_not_of_each_of_its_steps() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let store = open_redis(&proxy.url(&server.url()), &namespace).await;
    let stranger = open_redis(&proxy.url(&server.url()), &namespace).await;
    let (who, mut keys) = (Principal::new("u42").unwrap(), vec![]);
    for _ in 0..2 {
        let token = Token::generate().unwrap();
        let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE).with_principal(who.clone());
        store.create(&token.key(), &new).await.unwrap();
        keys.push(token.key());
    }
    proxy.delay(Direction::ToServer, Duration::from_millis(400));
    let limit = Duration::from_millis(600);
    let late = stranger.load_with(&keys[0], LoadOptions::default().with_deadline(limit)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "a load of a session that it has not met");
    let late = store.list_with(&who, ListOptions::default().with_deadline(limit)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "a list");
    for which in [Revoke::One(&who, &keys[0]), Revoke::Others(&who, &keys[0])] {
        let late = store.revoke_with(which, RevokeOptions::default().with_deadline(limit)).await.unwrap_err();
        assert!([ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&late.kind()), "{which:?}: {late}");
    }
}

/// In a cluster it has two steps, on two servers, and together they take longer than the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_in_a_cluster_has_one_deadline() {
    let (cluster, namespace) = (RedisCluster::start().await, random_namespace());
    let store = open_redis(&cluster.url(), &namespace).await;
    let primary_of = async |key: String| cluster.primary_of(&key).await.unwrap().unwrap();
    let everybodys = primary_of(format!("{}:session:everybody:epoch", namespace.as_str())).await;
    for number in 0.. {
        let who = Principal::new(number).unwrap();
        let own = primary_of(format!("{}:session:principals:{{{number}}}:epoch", namespace.as_str())).await;
        if own.address() == everybodys.address() {
            continue;
        }
        // The connections are open, and the servers know the script.
        store.revoke(Revoke::All(&who)).await.unwrap();
        for (node, millis) in [(own, "1600"), (everybodys, "800")] {
            node.command(&["CLIENT", "PAUSE", millis, "ALL"]).await.unwrap();
        }
        let options = RevokeOptions::default().with_deadline(Duration::from_secs(1));
        let late = store.revoke_with(Revoke::All(&who), options).await.unwrap_err();
        assert!([ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&late.kind()), "{late}");
        return;
    }
}
