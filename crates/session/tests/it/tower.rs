//! tower-sessions on every store: its own cases, and what its own stores lose.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use axum::routing::get;
use statehouse_core::conformance::rounds;
use statehouse_session::{
    Attribute, AttributeName, Authority, Delta, LocalConfig, LocalSessionStore, MemorySessionStore, Persistence,
    Principal, Rotation, Saved, SessionConfig, SessionStore, SessionStoreExt as _, Sessions, Token, TowerSessionStore,
};
use statehouse_testkit::{RedisCluster, RedisServer};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt;
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore as TheirStore};

use crate::{open_redis, random_namespace};

/// A store, and what it lives on.
struct On {
    store: Arc<dyn SessionStore>,
    folder: Option<TempDir>,
}

impl On {
    fn new(store: impl SessionStore) -> Self {
        Self { store: Arc::new(store), folder: None }
    }

    fn tower(&self) -> TowerSessionStore {
        TowerSessionStore::new(Arc::clone(&self.store))
    }
}

fn in_memory() -> std::future::Ready<On> {
    std::future::ready(On::new(MemorySessionStore::new()))
}

async fn on_disk() -> On {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalSessionStore::open_with(LocalConfig::new(folder.path())).await.unwrap();
    On { store: Arc::new(store), folder: Some(folder) }
}

async fn in_redis() -> On {
    On::new(open_redis(&RedisServer::shared().await.url(), &random_namespace()).await)
}

async fn in_a_cluster() -> On {
    On::new(open_redis(&RedisCluster::shared().await.url(), &random_namespace()).await)
}

fn sealed() -> std::future::Ready<On> {
    std::future::ready(On::new(crate::sealed::in_memory(&["a"])))
}

macro_rules! on_every_store {
    ($($case:ident)*) => {
        on_every_store! { @on memory in_memory [$($case)*] }
        on_every_store! { @on disk on_disk [$($case)*] }
        on_every_store! { @on redis in_redis [$($case)*] }
        on_every_store! { @on redis_cluster in_a_cluster [$($case)*] }
        on_every_store! { @on sealed sealed [$($case)*] }
    };
    (@on $name:ident $open:ident [$($case:ident)*]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(super::$open().await).await;
                }
            )*
        }
    };
}

on_every_store! {
    a_record_is_loaded_as_it_was_created_and_as_it_was_saved
    a_taken_id_is_drawn_again
    an_expired_record_is_not_loaded
    of_parallel_requests_that_change_different_keys_all_are_kept
    a_request_that_saves_twice_loses_no_change
    a_slow_request_revives_no_session_that_was_flushed
    an_id_that_is_cycled_outlives_no_revocation
    the_store_has_no_id
    somebodys_sessions_end_together
    the_cases_of_tower_sessions
}

fn record(data: &[(&str, u64)], left: Duration) -> Record {
    let data: HashMap<_, _> = data.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Record { id: Id::default(), data, expiry_date: OffsetDateTime::now_utc() + left }
}

/// Without what the store keeps there for itself.
fn values(record: &Record) -> Vec<(&str, u64)> {
    let own = record.data.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_u64()?)));
    let mut own: Vec<_> = own.collect();
    own.sort_unstable();
    own
}

async fn a_record_is_loaded_as_it_was_created_and_as_it_was_saved(on: On) {
    let tower = on.tower();
    let mut created = record(&[("a", 1), ("b", u64::MAX)], Duration::hours(1));
    tower.create(&mut created).await.unwrap();
    let mut loaded = tower.load(&created.id).await.unwrap().unwrap();
    assert_eq!(values(&loaded), [("a", 1), ("b", u64::MAX)]);
    assert!((loaded.expiry_date - created.expiry_date).abs() < Duration::seconds(2));

    loaded.data.remove("b");
    loaded.data.insert("c".to_owned(), 3.into());
    loaded.expiry_date += Duration::hours(23);
    tower.save(&loaded).await.unwrap();
    let again = tower.load(&created.id).await.unwrap().unwrap();
    assert_eq!(values(&again), [("a", 1), ("c", 3)]);
    assert!((again.expiry_date - loaded.expiry_date).abs() < Duration::seconds(2), "the expiry is what was saved last");

    tower.delete(&created.id).await.unwrap();
    tower.delete(&created.id).await.unwrap();
    assert!(tower.load(&created.id).await.unwrap().is_none());
    let unheard_of = record(&[("a", 1)], Duration::hours(1));
    tower.save(&unheard_of).await.unwrap();
    assert!(tower.load(&unheard_of.id).await.unwrap().is_none(), "a save creates nothing");
    for name in ["", "statehouse.x", "a\nb"] {
        tower.create(&mut record(&[(name, 1)], Duration::hours(1))).await.unwrap_err();
    }
}

async fn a_taken_id_is_drawn_again(on: On) {
    let tower = on.tower();
    let mut first = record(&[("a", 1)], Duration::hours(1));
    tower.create(&mut first).await.unwrap();
    let mut second = Record { id: first.id, ..record(&[("a", 2)], Duration::hours(1)) };
    tower.create(&mut second).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(values(&tower.load(&first.id).await.unwrap().unwrap()), [("a", 1)]);
    assert_eq!(values(&tower.load(&second.id).await.unwrap().unwrap()), [("a", 2)]);
}

async fn an_expired_record_is_not_loaded(on: On) {
    let tower = on.tower();
    let mut over = record(&[("a", 1)], -Duration::SECOND);
    tower.create(&mut over).await.unwrap();
    let mut ends = record(&[("a", 1)], Duration::hours(1));
    tower.create(&mut ends).await.unwrap();
    ends.expiry_date = OffsetDateTime::now_utc() - Duration::SECOND;
    tower.save(&ends).await.unwrap();
    tokio::time::sleep(StdDuration::from_millis(5)).await;
    for record in [over, ends] {
        assert!(tower.load(&record.id).await.unwrap().is_none());
    }
}

/// As `rounds.rs` does it of sessions themselves.
#[expect(clippy::print_stdout, reason = "figures, which a soak keeps")]
async fn of_parallel_requests_that_change_different_keys_all_are_kept(on: On) {
    for (writers, rounds) in [(16, rounds(3, 1_000)), (64, rounds(1, 200)), (256, rounds(1, 20))] {
        for round in 0..rounds {
            let tower = Arc::new(on.tower());
            let mut begun = record(&[("begun", 1)], Duration::hours(1));
            tower.create(&mut begun).await.unwrap();
            let barrier = Arc::new(tokio::sync::Barrier::new(writers));
            let writing = (0..writers).map(|number| {
                let (tower, barrier) = (Arc::clone(&tower), Arc::clone(&barrier));
                let session = Session::new(Some(begun.id), tower, None);
                tokio::spawn(async move {
                    session.load().await.unwrap();
                    barrier.wait().await;
                    session.insert(&format!("key{number}"), number).await.unwrap();
                    session.save().await.unwrap();
                })
            });
            for done in futures_util::future::join_all(writing).await {
                done.unwrap();
            }
            let left = tower.load(&begun.id).await.unwrap().unwrap();
            assert_eq!(values(&left).len(), writers + 1, "{writers} writers, round {round}");
        }
        println!("figure: adapter: {writers} writers of different keys, {rounds} rounds: 0 lost, 0 refused");
    }
}

async fn a_request_that_saves_twice_loses_no_change(on: On) {
    let tower = Arc::new(on.tower());
    let mut begun = record(&[("a", 1), ("b", 1)], Duration::hours(1));
    tower.create(&mut begun).await.unwrap();
    let [request, other] = [0, 1].map(|_| Session::new(Some(begun.id), Arc::<TowerSessionStore>::clone(&tower), None));
    request.insert("x", 1).await.unwrap();
    request.insert("a", 2).await.unwrap();
    request.save().await.unwrap();
    other.insert("b", 7).await.unwrap();
    other.save().await.unwrap();
    request.remove::<u64>("x").await.unwrap();
    request.insert("a", 1).await.unwrap();
    for _ in 0..2 {
        request.save().await.unwrap();
        assert_eq!(values(&tower.load(&begun.id).await.unwrap().unwrap()), [("a", 1), ("b", 7)]);
    }
}

async fn an_id_that_is_cycled_outlives_no_revocation(on: On) {
    let tower = Arc::new(on.tower().with_principals(|data| Some(data.get("user")?.to_string())));
    let sessions = Sessions::new(Arc::clone(&on.store), SessionConfig::default());
    let who = Principal::new(42).unwrap();
    // What was revoked: before the old id is deleted, after that, or nothing.
    for revoked in [Some(true), Some(false), None] {
        let mut begun = record(&[("user", 42)], Duration::hours(1));
        tower.create(&mut begun).await.unwrap();
        let request = Session::new(Some(begun.id), Arc::<TowerSessionStore>::clone(&tower), None);
        request.load().await.unwrap();
        if revoked == Some(true) {
            sessions.revoke_all(&who).await.unwrap();
        }
        request.cycle_id().await.unwrap();
        if revoked == Some(false) {
            sessions.revoke_all(&who).await.unwrap();
        }
        assert_eq!(request.save().await.is_ok(), revoked.is_none(), "{revoked:?}");
        assert_eq!(sessions.list(&who).await.unwrap().len(), usize::from(revoked.is_none()), "{revoked:?}");
    }
    // Somebody who logs in after that has nothing to do with it.
    let mut anonymous = record(&[("cart", 7)], Duration::hours(1));
    tower.create(&mut anonymous).await.unwrap();
    let request = Session::new(Some(anonymous.id), Arc::<TowerSessionStore>::clone(&tower), None);
    sessions.revoke_all(&who).await.unwrap();
    sessions.revoke_everything().await.unwrap();
    request.insert("user", 42).await.unwrap();
    request.cycle_id().await.unwrap();
    request.save().await.unwrap();
    assert_eq!(sessions.list(&who).await.unwrap().len(), 1);
}

async fn a_slow_request_revives_no_session_that_was_flushed(on: On) {
    let tower = Arc::new(on.tower());
    let mut begun = record(&[("user", 42)], Duration::hours(1));
    tower.create(&mut begun).await.unwrap();
    let [slow, quick] = [0, 1].map(|_| Session::new(Some(begun.id), Arc::<TowerSessionStore>::clone(&tower), None));
    slow.insert("late", 1).await.unwrap();
    quick.flush().await.unwrap();
    slow.save().await.unwrap();
    assert!(tower.load(&begun.id).await.unwrap().is_none());
}

async fn the_store_has_no_id(on: On) {
    let tower = on.tower();
    let mut begun = record(&[("user", 42)], Duration::hours(1));
    tower.create(&mut begun).await.unwrap();
    // Whoever has read the keys of the store cannot make an id of one.
    let listed = Sessions::new(Arc::clone(&on.store), SessionConfig::default());
    let tower = tower.with_principals(|data| Some(data.get("user")?.to_string()));
    tower.save(&tower.load(&begun.id).await.unwrap().unwrap()).await.unwrap();
    let key = listed.list(&Principal::new(42).unwrap()).await.unwrap()[0].key;
    let id = begun.id.0.to_le_bytes();
    let texts =
        [begun.id.to_string(), begun.id.0.to_string(), format!("{:x}", begun.id.0), format!("{:032x}", begun.id.0)];
    let secrets: Vec<Vec<u8>> =
        [&id[..8], &id[8..]].map(<[u8]>::to_vec).into_iter().chain(texts.map(String::into_bytes)).collect();
    let tells = |bytes: &[u8]| secrets.iter().any(|secret| bytes.windows(secret.len()).any(|part| part == secret));
    assert!(tells(&[b"{\"id\":\"", begun.id.to_string().as_bytes()].concat()));
    assert!(!tells(key.as_bytes()));
    let found = on.store.load(&key).await.unwrap().found().unwrap();
    for (name, value) in found.record().attributes() {
        assert!(!tells(name.as_str().as_bytes()) && !tells(value.bytes()), "{name:?}");
    }
    if let Some(folder) = &on.folder {
        let files = files(folder.path());
        assert!(files.iter().any(|(_, bytes)| !bytes.is_empty()));
        for (path, bytes) in files {
            assert!(!tells(path.to_str().unwrap().as_bytes()) && !tells(&bytes), "{path:?}");
        }
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![(path.clone(), std::fs::read(&path).unwrap())],
    };
    entries.flat_map(of).collect()
}

async fn somebodys_sessions_end_together(on: On) {
    let tower = on.tower().with_principals(|data| Some(data.get("user")?.to_string()));
    let (mut anonymous, mut other) =
        (record(&[("cart", 7)], Duration::hours(1)), record(&[("user", 1)], Duration::hours(1)));
    let mut at_once = record(&[("user", 42)], Duration::hours(1));
    for record in [&mut anonymous, &mut other, &mut at_once] {
        tower.create(record).await.unwrap();
    }
    let mut logged_in = tower.load(&anonymous.id).await.unwrap().unwrap();
    logged_in.data.insert("user".to_owned(), 42.into());
    tower.save(&logged_in).await.unwrap();
    let sessions = Sessions::new(Arc::clone(&on.store), SessionConfig::default());
    let who = Principal::new(42).unwrap();
    assert_eq!(sessions.list(&who).await.unwrap().len(), 2);
    sessions.revoke_all(&who).await.unwrap();
    for (record, stays) in [(&anonymous, false), (&at_once, false), (&other, true)] {
        assert_eq!(tower.load(&record.id).await.unwrap().is_some(), stays);
    }
}

/// What their API has no words for, set by our own.
#[tokio::test]
async fn a_save_of_theirs_keeps_who_is_remembered_and_when_an_attribute_ends() {
    let on = in_memory().await;
    let tower = on.tower().with_principals(|data| Some(data.get("user")?.as_i64()?.to_string()));
    let mut record = record(&[("user", 42)], Duration::days(30));
    tower.create(&mut record).await.unwrap();
    let base = on.store.list(&Principal::new(42).unwrap()).await.unwrap().remove(0);
    let (month, code) = (StdDuration::from_secs(30 * 86_400), AttributeName::new("code").unwrap());
    let login = Rotation::login(Token::generate().unwrap().verifier_hash(), Principal::new(42).unwrap())
        .with_persistence(Persistence::Remember(month));
    let timed = Delta::new().with_set(code.clone(), Attribute::encode(&7).unwrap().with_time_to_live(month));
    let saved = on.store.rotate(&base, Authority::Application, &login, &timed).await.unwrap();
    let Saved::Applied(saved) = saved else { panic!("{saved:?}") };
    for days in [30, 7] {
        let mut loaded = tower.load(&record.id).await.unwrap().unwrap();
        loaded.data.insert("cart".to_owned(), days.into());
        loaded.expiry_date = OffsetDateTime::now_utc() + Duration::days(days);
        tower.save(&loaded).await.unwrap();
        let found = on.store.load(base.record().key()).await.unwrap().found().unwrap();
        assert!(found.record().attributes().contains_key(&AttributeName::new("cart").unwrap()));
        assert_eq!(found.record().persistence(), Persistence::Remember(month));
        assert_eq!(found.record().end_of(&code), saved.record().end_of(&code));
    }
    let mut loaded = tower.load(&record.id).await.unwrap().unwrap();
    loaded.data.insert("user".to_owned(), 43.into());
    tower.save(&loaded).await.unwrap();
    let found = on.store.load(base.record().key()).await.unwrap().found().unwrap();
    assert_eq!(found.record().persistence(), Persistence::Browser, "somebody else has logged in");
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async |_: Session| "hello"))
        .route("/insert", get(async |session: Session| session.insert("foo", 42).await.unwrap()))
        .route("/get", get(async |session: Session| format!("{:?}", session.get::<usize>("foo").await.unwrap())))
        .route("/remove", get(async |session: Session| format!("{:?}", session.remove::<usize>("foo").await.unwrap())))
        .route("/cycle_id", get(async |session: Session| session.cycle_id().await.unwrap()))
        .route("/flush", get(async |session: Session| session.flush().await.unwrap()))
        .route(
            "/set_expiry",
            get(async |session: Session| {
                session.set_expiry(Some(Expiry::AtDateTime(OffsetDateTime::now_utc() + Duration::days(1))));
            }),
        )
        .route("/remove_expiry", get(async |session: Session| session.set_expiry(Some(Expiry::OnSessionEnd))))
}

struct Site(Router);

impl Site {
    fn new(on: &On, max_age: Option<Duration>) -> Self {
        let layer = SessionManagerLayer::new(on.tower()).with_domain("localhost");
        let layer = match max_age {
            Some(max_age) => layer.with_expiry(Expiry::OnInactivity(max_age)),
            None => layer,
        };
        Self(routes().layer(layer))
    }

    /// The body, and what was set: the value of the cookie, and its attributes.
    async fn get(&self, path: &str, cookie: &str) -> (String, Option<(String, String)>) {
        let mut request = Request::get(path);
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, format!("id={cookie}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response: Response<Body> = self.0.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let set = cookie_of(response.headers());
        let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (String::from_utf8(body.to_vec()).unwrap(), set)
    }
}

fn cookie_of(headers: &HeaderMap) -> Option<(String, String)> {
    let (value, attributes) = headers.get(header::SET_COOKIE)?.to_str().unwrap().split_once("; ").unwrap();
    Some((value.strip_prefix("id=").unwrap().to_owned(), attributes.to_owned()))
}

fn max_age(attributes: &str) -> Option<i64> {
    attributes.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age=")?.parse().ok())
}

/// The route tests of tower-sessions 0.14 (`tests/common/mod.rs` there), by what they are about.
async fn the_cases_of_tower_sessions(on: On) {
    let site = Site::new(&on, Some(Duration::hours(1)));
    assert_eq!(site.get("/", "").await.1, None, "no_session_set");
    let (bogus, _) = site.get("/insert", "AAAAAAAAAAAAAAAAAAAAAA").await.1.expect("bogus_session_cookie");
    assert_ne!(bogus, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_ne!(site.get("/", "malformed").await.1.expect("malformed_session_cookie").0, "malformed");

    let (id, attributes) = site.get("/insert", "").await.1.expect("insert_session");
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Domain=localhost"] {
        assert!(attributes.split("; ").any(|known| known == attribute), "insert_session: {attributes}");
    }
    assert!(max_age(&attributes).is_some_and(|age| (3_599..=3_600).contains(&age)), "{attributes}");
    assert_eq!(site.get("/get", &id).await.0, "Some(42)", "get_session");
    assert_eq!(site.get("/get", "").await.0, "None", "get_no_value");

    let (cycled, _) = site.get("/cycle_id", &id).await.1.expect("cycle_session_id");
    assert_ne!(cycled, id);
    assert_eq!(site.get("/get", &cycled).await.0, "Some(42)", "cycle_session_id");
    assert_eq!(site.get("/get", &id).await.0, "None", "cycle_session_id");

    let (_, attributes) = site.get("/set_expiry", &cycled).await.1.expect("set_expiry");
    assert!(max_age(&attributes).is_some_and(|age| (86_399..=86_400).contains(&age)), "{attributes}");
    let left =
        on.tower().load(&cycled.parse().unwrap()).await.unwrap().unwrap().expiry_date - OffsetDateTime::now_utc();
    assert!(left > Duration::hours(23), "set_expiry: {left}");

    let (_, attributes) = site.get("/remove_expiry", &cycled).await.1.expect("change_expiry_type");
    assert_eq!(max_age(&attributes), None, "change_expiry_type");

    site.get("/remove", &cycled).await;
    assert_eq!(site.get("/get", &cycled).await.0, "None", "remove_last_value");
    let (value, attributes) = site.get("/flush", &cycled).await.1.expect("flush_session");
    assert_eq!((value.as_str(), max_age(&attributes)), ("", Some(0)), "flush_session");
    assert!(attributes.contains("Domain=localhost"), "flush_with_domain");

    let until_closed = Site::new(&on, None).get("/insert", "").await.1.expect("session_max_age");
    assert_eq!(max_age(&until_closed.1), None, "session_max_age");
}
