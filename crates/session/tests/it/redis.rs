//! Redis: what each request costs, and what happens when it fails.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::{get, post};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_session::{
    Authority, ConflictPolicy, Deleted, OutagePolicy, Principal, RedisSessionStore, Revoke, Session, SessionConfig,
    SessionConfigBuilder, SessionLayer, SessionStore, SessionStoreExt as _, Token, Touched,
};
use statehouse_testkit::{Direction, FaultProxy, RedisServer, Reply};
use tower::ServiceExt;

use crate::random_namespace;

/// Handlers that hide the store's errors, so that only the layer can show them.
fn routes() -> Router {
    Router::new()
        .route("/", get(async |_: Session| "hello"))
        .route("/login", post(async |session: Session| drop(session.login("u42").await)))
        .route("/logout", post(async |session: Session| drop(session.logout().await)))
        .route(
            "/write",
            post(async |session: Session| drop(session.insert("a", &Token::generate().unwrap().expose().expose()))),
        )
        .route(
            "/push",
            post(async |session: Session| {
                let push = |list: Option<Vec<u32>>| [list.unwrap_or_default(), vec![7]].concat();
                drop(session.update("list", push).await);
            }),
        )
        .route(
            "/pushed",
            get(async |session: Session| {
                session.get::<Vec<u32>>("list").await.ok().flatten().unwrap_or_default().len().to_string()
            }),
        )
        .route("/same", post(async |session: Session| drop(session.insert("same", &1))))
        .route(
            "/who",
            get(async |session: Session| {
                session.principal().await.ok().flatten().map_or_else(|| "nobody".to_owned(), |who| who.to_string())
            }),
        )
}

pub(crate) struct App {
    router: Router,
    store: Arc<RedisSessionStore>,
}

impl App {
    async fn open(url: &str, namespace: &Namespace) -> Self {
        Self::open_with(url, namespace, |config| config).await
    }

    /// No request fails because this machine is busy.
    async fn open_with(
        url: &str,
        namespace: &Namespace,
        configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    ) -> Self {
        Self::within(Duration::from_secs(20), url, namespace, configure).await
    }

    /// Where the server stays away.
    async fn hasty(
        url: &str,
        namespace: &Namespace,
        configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    ) -> Self {
        Self::within(Duration::from_secs(1), url, namespace, configure).await
    }

    /// Each try takes no longer than that, and a request no longer than twice.
    async fn within(
        limit: Duration,
        url: &str,
        namespace: &Namespace,
        configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    ) -> Self {
        let mut url = ServiceUrl::parse("STATEHOUSE_SESSION_URL", url).unwrap();
        let config = RedisConfig::from_url(&mut url)
            .unwrap()
            .with_connections(1)
            .with_connect_timeout(limit)
            .with_timeout(limit)
            .with_deadline(limit * 2);
        Self::over(RedisClient::open(config).await.unwrap(), namespace, configure)
    }

    pub(crate) fn over(
        redis: RedisClient,
        namespace: &Namespace,
        configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
    ) -> Self {
        let store = Arc::new(RedisSessionStore::new(redis, namespace).unwrap());
        let config = configure(SessionConfig::builder()).build().unwrap();
        Self { router: routes().layer(SessionLayer::with_config(Arc::clone(&store), config)), store }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, cookie: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub(crate) async fn login(&self) -> String {
        set_cookie(&self.send("POST", "/login", "").await).expect("a cookie")
    }

    pub(crate) async fn who(&self, cookie: &str) -> String {
        self.text("/who", cookie).await
    }

    pub(crate) async fn pushed(&self, cookie: &str) -> String {
        self.text("/pushed", cookie).await
    }

    async fn text(&self, path: &str, cookie: &str) -> String {
        let body = self.send("GET", path, cookie).await.into_body();
        String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap()
    }
}

fn set_cookie(response: &Response<Body>) -> Option<String> {
    let cookie = response.headers().get(header::SET_COOKIE)?.to_str().unwrap();
    Some(cookie.split(';').next().unwrap().to_owned())
}

/// What finds its reading of the server's clock a second old asks for the time in the same round trip.
fn round_trips(proxy: &FaultProxy) -> u64 {
    let counts = proxy.counts();
    let dated = ["GET", "MGET", "EVAL", "EVALSHA"].map(|name| counts.command(name)).iter().sum();
    assert!(counts.command("TIME") <= dated, "{counts:?}");
    counts.commands() - counts.command("TIME")
}

#[tokio::test]
async fn every_operation_costs_what_the_contract_says() {
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let app = App::open(&proxy.url(&server.url()), &random_namespace()).await;
    // Once for each script, which the server then knows.
    let warm = app.login().await;
    let warm = set_cookie(&app.send("POST", "/login", &warm).await).unwrap();
    app.send("POST", "/write", &warm).await;
    app.send("POST", "/logout", &warm).await;

    let cookie = app.login().await;
    let stranger = format!("__Host-id={}", Token::generate().unwrap().expose().expose());
    let cases = [
        ("untouched, anonymous", "GET", "/", "", 0),
        ("untouched, logged in", "GET", "/", cookie.as_str(), 0),
        ("read, anonymous", "GET", "/who", "", 0),
        ("read", "GET", "/who", &cookie, 1),
        ("read with an unknown token", "GET", "/who", &stranger, 1),
        ("write: load and save", "POST", "/write", &cookie, 2),
        ("first write of an attribute", "POST", "/same", &cookie, 2),
        ("equal write", "POST", "/same", &cookie, 1),
        ("login without a session: epoch, create and list at once", "POST", "/login", "", 2),
        ("login with rotation: load with the epoch, rotate and list at once", "POST", "/login", &cookie, 2),
    ];
    for (case, method, path, cookie, expected) in cases {
        let before = round_trips(&proxy);
        assert_eq!(app.send(method, path, cookie).await.status(), StatusCode::OK, "{case}");
        assert_eq!(round_trips(&proxy) - before, expected, "{case}: {:?}", proxy.counts());
    }
    let cookie = app.login().await;
    let who = Principal::new("u42").unwrap();
    for (case, expected) in [("list", 3), ("revoke all, and what is deleted then", 1)] {
        app.store.revoke(Revoke::Everything).await.unwrap();
        let _warm = (app.login().await, app.store.list(&who).await.unwrap());
        let before = round_trips(&proxy);
        match case {
            "list" => drop(app.store.list(&who).await.unwrap()),
            _ => app.store.revoke(Revoke::All(&who)).await.unwrap(),
        }
        assert_eq!(round_trips(&proxy) - before, expected, "{case}: {:?}", proxy.counts());
    }
    drop(cookie);
    let cookie = app.login().await;
    let before = round_trips(&proxy);
    app.send("POST", "/logout", &cookie).await;
    assert_eq!(round_trips(&proxy) - before, 1, "logout");
    assert_eq!(app.who(&cookie).await, "nobody");

    // Both scripts, which the server may not know.
    let other = random_namespace();
    let counting = App::open(&server.url(), &other).await;
    counting.send("POST", "/write", "").await;
    let counted = format!("{other}:session:anonymous:count");
    let begun = Instant::now();
    while server.command(&["EXISTS", &counted]).await.unwrap().integer() != Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Of sessions that nobody is logged in to the server is told, besides, how many were created in the last second.
    let before = round_trips(&proxy);
    assert_eq!(app.send("POST", "/write", "").await.status(), StatusCode::OK);
    let begun = Instant::now();
    while round_trips(&proxy) - before < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", proxy.counts());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(round_trips(&proxy) - before, 2, "create, and the count");
}

/// Whoever asks again is refused again, until somebody gives the user its right.
#[tokio::test]
async fn a_server_that_refuses_its_work_is_a_503_that_does_not_ask_to_come_again() {
    let server = RedisServer::start().await;
    let app = App::open(&server.url(), &random_namespace()).await;
    let cookie = app.login().await;
    let narrow = ["ACL", "SETUSER", "default", "resetkeys"];
    assert!(!matches!(server.command(&narrow).await.unwrap(), Reply::Error(_)));
    for (method, path) in [("GET", "/who"), ("POST", "/write"), ("POST", "/login"), ("POST", "/logout")] {
        let response = app.send(method, path, &cookie).await;
        assert_eq!((response.status(), set_cookie(&response)), (StatusCode::SERVICE_UNAVAILABLE, None), "{path}");
        assert!(!response.headers().contains_key(header::RETRY_AFTER), "{path}");
    }
    server.command(&["ACL", "SETUSER", "default", "allkeys"]).await.unwrap();
    assert_eq!(app.who(&cookie).await, "u42");
}

#[tokio::test]
async fn an_outage_is_a_503_without_a_cookie_and_the_sessions_are_there_afterwards() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let app = App::hasty(&proxy.url(&server.url()), &random_namespace(), |config| config).await;
    let cookie = app.login().await;
    for outage in [FaultProxy::cut, FaultProxy::black_hole] {
        outage(&proxy);
        for (method, path) in [("GET", "/who"), ("POST", "/write"), ("POST", "/login"), ("POST", "/logout")] {
            let response = app.send(method, path, &cookie).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{path}");
            assert_eq!(set_cookie(&response), None, "{path}");
        }
        let anonymous = app.send("POST", "/write", "").await;
        assert_eq!((anonymous.status(), set_cookie(&anonymous)), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert_eq!(app.send("GET", "/", &cookie).await.status(), StatusCode::OK, "it needs no session");
        assert!(!app.store.health().await.is_up());
        proxy.heal();
        until_up(&app).await;
        assert_eq!(app.who(&cookie).await, "u42");
    }
}

#[tokio::test]
async fn a_killed_and_restarted_server_keeps_what_it_stored() {
    let server = RedisServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "always").start().await;
    let app = App::hasty(&server.url(), &random_namespace(), |config| config).await;
    let cookie = app.login().await;
    server.kill();
    let response = app.send("GET", "/who", &cookie).await;
    assert_eq!((response.status(), set_cookie(&response)), (StatusCode::SERVICE_UNAVAILABLE, None));
    server.restart().await;
    until_up(&app).await;
    assert_eq!(app.who(&cookie).await, "u42");
    assert_eq!(app.send("POST", "/write", &cookie).await.status(), StatusCode::OK, "the scripts are sent again");
}

pub(crate) async fn until_up(app: &App) {
    for _ in 0..100 {
        if app.store.health().await.is_up() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("Redis did not come back: {:?}", app.store.health().await);
}

#[tokio::test]
async fn an_outage_may_leave_requests_anonymous_but_never_with_a_new_cookie() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let policy = |config: SessionConfigBuilder| config.on_outage(OutagePolicy::Anonymous);
    let app = App::hasty(&proxy.url(&server.url()), &random_namespace(), policy).await;
    let cookie = app.login().await;
    proxy.cut();
    assert_eq!(app.who(&cookie).await, "nobody");
    for (path, cookie) in [("/write", cookie.as_str()), ("/write", "")] {
        let response = app.send("POST", path, cookie).await;
        assert_eq!((response.status(), set_cookie(&response)), (StatusCode::OK, None), "{path}");
    }
    let login = app.send("POST", "/login", "").await;
    assert_eq!((login.status(), set_cookie(&login)), (StatusCode::SERVICE_UNAVAILABLE, None));
    proxy.heal();
    until_up(&app).await;
    assert_eq!(app.who(&cookie).await, "u42");
}

#[tokio::test]
async fn swapped_and_damaged_values_are_no_sessions() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let app = App::open(&server.url(), &namespace).await;
    let (one, two) = (app.login().await, app.login().await);
    let key = |cookie: &str| {
        let token = Token::parse(cookie.split_once('=').unwrap().1).unwrap();
        format!("{namespace}:session:records:{}", token.key())
    };
    // COPY keeps bytes and time to live; the third name is for the swap only.
    for (from, to) in [(key(&one), "swap".to_owned()), (key(&two), key(&one)), ("swap".to_owned(), key(&two))] {
        let copied = server.command(&["COPY", &from, &to, "REPLACE"]).await.unwrap();
        assert_eq!(copied.integer(), Some(1));
    }
    assert_eq!((app.who(&one).await, app.who(&two).await), ("nobody".into(), "nobody".into()));

    let cookie = app.login().await;
    let length = server.command(&["STRLEN", &key(&cookie)]).await.unwrap().integer().unwrap();
    for at in 0..length {
        let bit = server.command(&["GETBIT", &key(&cookie), &(at * 8).to_string()]).await.unwrap().integer().unwrap();
        let flip = |bit: i64| [String::from("SETBIT"), key(&cookie), (at * 8).to_string(), bit.to_string()];
        server.command(&flip(1 - bit)).await.unwrap();
        assert_eq!(app.who(&cookie).await, "nobody", "byte {at}");
        server.command(&flip(bit)).await.unwrap();
    }
    assert_eq!(app.who(&cookie).await, "u42");
    let damaged = server.command(&["SET", &key(&cookie), "SH"]).await.unwrap();
    assert_eq!(damaged.text(), Some("OK"));
    let response = app.send("POST", "/write", &cookie).await;
    assert_eq!(response.status(), StatusCode::OK, "the user goes on with a new session");
    assert_ne!(key(&set_cookie(&response).unwrap()), key(&cookie));
}

#[tokio::test]
async fn nothing_in_redis_is_the_token_and_every_key_expires() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let app = App::open(&server.url(), &namespace).await;
    let cookie = app.login().await;
    let secret = cookie.split_once('=').unwrap().1;
    let key = format!("{namespace}:session:records:{}", Token::parse(secret).unwrap().key());
    let index = format!("{namespace}:session:principals:{{u42}}:sessions");
    assert_eq!(server.command(&["DBSIZE"]).await.unwrap().integer(), Some(2));
    assert!(server.command(&["PTTL", &index]).await.unwrap().integer().unwrap() > 0);
    let ttl = server.command(&["PTTL", &key]).await.unwrap().integer().unwrap();
    assert!((1_700_000..=1_800_000).contains(&ttl), "{ttl}");
    for half in [&secret[..32], &secret[32..]] {
        let raw: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&half[2 * at..2 * at + 2], 16).unwrap()).collect();
        for form in [raw.as_slice(), half.as_bytes()] {
            assert!(!key.as_bytes().windows(form.len()).any(|part| part == form));
            let script = "return string.find(redis.call('GET', KEYS[1]), ARGV[1], 1, true) and 1 or 0";
            let found = server.command(&[b"EVAL", script.as_bytes(), b"1", key.as_bytes(), form]).await.unwrap();
            assert_eq!(found.integer(), Some(0));
        }
    }
}

#[tokio::test]
async fn a_deletion_is_remembered_for_a_minute_by_whomever_it_was_made() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let app = App::open(&server.url(), &namespace).await;
    for authority in [None, Some(Authority::Application)] {
        let token = Token::parse(app.login().await.split_once('=').unwrap().1).unwrap();
        let authority = authority.unwrap_or(Authority::Holder(token.verifier_hash()));
        assert_eq!(app.store.delete(&token.key(), authority).await.unwrap(), Deleted::Removed);
        let key = format!("{namespace}:session:records:{}", token.key());
        assert_eq!(server.command(&["GETRANGE", &key, "0", "6"]).await.unwrap().text(), Some("deleted"));
        assert_eq!(server.command(&["STRLEN", &key]).await.unwrap().integer(), Some(23));
        let ttl = server.command(&["PTTL", &key]).await.unwrap().integer().unwrap();
        assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn a_read_touches_its_session_once_a_tenth_of_the_idle_timeout_is_gained() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let idle = Duration::from_secs(20);
    let app = App::open_with(&proxy.url(&server.url()), &namespace, |config| config.idle_timeout(idle)).await;
    let cookie = app.login().await;
    // The first round teaches the server the scripts.
    for expected in [3, 2] {
        tokio::time::sleep(idle / 8).await;
        let before = round_trips(&proxy);
        assert_eq!(app.who(&cookie).await, "u42");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(round_trips(&proxy) - before, expected, "load and touch");
    }
    let before = round_trips(&proxy);
    assert_eq!(app.who(&cookie).await, "u42");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(round_trips(&proxy) - before, 1, "nothing to gain again so soon");
}

#[tokio::test]
async fn a_session_whose_key_lost_its_time_to_live_still_ends_when_it_is_idle() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let idle = Duration::from_secs(6);
    let app = App::open_with(&server.url(), &namespace, |config| config.idle_timeout(idle)).await;
    let [used, idle_cookie] = [app.login().await, app.login().await];
    let key = |cookie: &str| Token::parse(cookie.split_once('=').unwrap().1).unwrap().key();
    let name = |cookie: &str| format!("{namespace}:session:records:{}", key(cookie));
    for cookie in [&used, &idle_cookie] {
        assert_eq!(server.command(&["PERSIST", &name(cookie)]).await.unwrap().integer(), Some(1));
    }
    for _ in 0..4 {
        tokio::time::sleep(idle / 3).await;
        assert_eq!(app.who(&used).await, "u42", "the touch gives the key its time to live again");
    }
    assert!(server.command(&["PTTL", &name(&used)]).await.unwrap().integer().unwrap() > 0);
    // It is still there.
    assert_eq!(server.command(&["EXISTS", &name(&idle_cookie)]).await.unwrap().integer(), Some(1));
    assert_eq!(app.who(&idle_cookie).await, "nobody");
    assert_eq!(app.store.touch(&key(&idle_cookie)).await.unwrap(), Touched::Gone);
    assert_eq!(app.who(&idle_cookie).await, "nobody");
}

/// The answer of the first try is lost after the server has stored what it says.
#[tokio::test]
async fn a_save_whose_answer_is_lost_is_known_for_its_own() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let fail = |config: SessionConfigBuilder| config.on_conflict(ConflictPolicy::Fail);
    let app = App::open_with(&proxy.url(&server.url()), &namespace, fail).await;
    let cookie = app.login().await;
    app.send("POST", "/write", &cookie).await;
    for (round, path) in ["/write", "/push", "/write", "/push"].iter().enumerate() {
        let token = Token::parse(cookie.split_once('=').unwrap().1).unwrap();
        let name = format!("{namespace}:session:records:{}", token.key());
        let version = async || {
            let range = server.command(&["GETRANGE", &name, "16", "23"]).await.unwrap();
            format!("{range:?}")
        };
        let before = version().await;
        proxy.delay(Direction::ToClient, Duration::from_millis(400));
        let mut sent = pin!(app.send("POST", path, &cookie));
        let stored = async {
            while version().await == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = stored => {}
            response = &mut sent => panic!("round {round}: {} before anything is stored", response.status()),
        }
        // It is stored, and the answer is on its way.
        proxy.reset_connections();
        proxy.heal();
        let response = sent.await;
        assert_eq!(response.status(), StatusCode::OK, "round {round}");
    }
    assert_eq!(app.pushed(&cookie).await, "2", "each push once");
}

/// The same of a logout: the browser hears of it, and whoever is told of what ends.
#[tokio::test]
async fn a_logout_whose_answer_is_lost_is_known_for_its_own() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let app = App::open(&proxy.url(&server.url()), &namespace).await;
    for round in 0..4 {
        let cookie = app.login().await;
        assert_eq!(app.who(&cookie).await, "u42");
        let token = Token::parse(cookie.split_once('=').unwrap().1).unwrap();
        let name = format!("{namespace}:session:records:{}", token.key());
        proxy.delay(Direction::ToClient, Duration::from_millis(400));
        let mut sent = pin!(app.send("POST", "/logout", &cookie));
        let deleted = async {
            while server.command(&["STRLEN", &name]).await.unwrap().integer() != Some(23) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = deleted => {}
            response = &mut sent => panic!("round {round}: {} before anything is deleted", response.status()),
        }
        // What finds its own tombstone writes it again: replicas that are waited for may not have it yet.
        server.command(&["PEXPIRE", &name, "30000"]).await.unwrap();
        proxy.reset_connections();
        proxy.heal();
        let response = sent.await;
        assert_eq!(response.status(), StatusCode::OK, "round {round}");
        assert_eq!(set_cookie(&response).as_deref(), Some("__Host-id="), "round {round}");
        assert!(server.command(&["PTTL", &name]).await.unwrap().integer() > Some(30_000), "round {round}");
        // Of another that comes later there is nothing to delete.
        let again = app.store.delete(&token.key(), Authority::Application).await.unwrap();
        assert_eq!(again, Deleted::Gone, "round {round}");
    }
}
