//! The cases, each named as what it shows. They panic when it does not hold.
#![expect(missing_docs, reason = "the names of the cases say it all")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use statehouse_core::conformance::rounds;
use statehouse_core::{CodecId, ErrorKind};
use tokio::task::JoinSet;

use super::Backend;
use crate::api::{Deleted, Loaded, Saved, SessionStore, SessionStoreExt as _, Touched};
use crate::capability::DURABLE;
use crate::config::SessionConfig;
use crate::options::{CreateOptions, SaveOptions};
use crate::record::{
    Attribute, AttributeName, Authority, Delta, NewSession, Principal, Record, Rotate, Rotation, SaveId, Snapshot,
};
use crate::session::{Session, Sessions};
use crate::token::{SessionKey, Token};

/// Sessions live ten steps unused and thirty at most.
const IDLE: u32 = 10;
const ABSOLUTE: u32 = 30;

/// How often a race is repeated.
const ROUNDS: usize = 200;
const RACERS: usize = 16;

/// A token and how to make its session.
struct Fixture {
    token: Token,
    new: NewSession,
}

impl Fixture {
    fn new(step: Duration) -> Self {
        let token = Token::generate().expect("random bytes");
        let new = NewSession::new(token.verifier_hash(), IDLE * step, ABSOLUTE * step);
        Self { token, new }
    }

    async fn create(backend: &impl Backend) -> (Self, Snapshot) {
        let fixture = Self::new(backend.step());
        let created = fixture.create_in(&*backend.store()).await;
        (fixture, created)
    }

    async fn create_in(&self, store: &dyn SessionStore) -> Snapshot {
        store.create(&self.key(), &self.new).await.expect("a new session")
    }

    fn key(&self) -> SessionKey {
        self.token.key()
    }

    fn holder(&self) -> Authority {
        Authority::Holder(self.token.verifier_hash())
    }
}

fn name(text: &str) -> AttributeName {
    AttributeName::new(text).expect("a good name")
}

fn set(attribute: &str, value: impl serde::Serialize) -> Delta {
    Delta::new().with_set(name(attribute), Attribute::encode(&value).expect("a plain value"))
}

fn value(record: &Record, attribute: &str) -> Option<u32> {
    record.attributes().get(&name(attribute)).map(|value| value.decode().expect("a number"))
}

fn ok(saved: Saved) -> Snapshot {
    match saved {
        Saved::Applied(snapshot) => snapshot,
        other => panic!("expected Ok, got {other:?}"),
    }
}

async fn loaded(store: &dyn SessionStore, key: &SessionKey) -> Snapshot {
    store.load(key).await.expect("an answer").found().expect("the session")
}

async fn is_absent(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key).await.expect("an answer").found().is_none()
}

/// Runs the racers at the same time and collects what they return.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(racer: impl Fn(usize) -> F) -> Vec<T> {
    let start = Arc::new(tokio::sync::Barrier::new(RACERS));
    let mut racers = JoinSet::new();
    for number in 0..RACERS {
        let (start, work) = (Arc::clone(&start), racer(number));
        racers.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    racers.join_all().await
}

pub async fn a_created_session_is_loaded_as_it_was(backend: impl Backend) {
    let store = backend.store();
    let mut fixture = Fixture::new(backend.step());
    fixture.new.attributes = set("theme", 1).set;
    fixture.new.principal = Some(Principal::new("u42").expect("a principal"));
    let created = fixture.create_in(&*store).await;
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record(), created.record());
    assert_eq!(value(read.record(), "theme"), Some(1));
    assert_eq!(read.record().principal(), fixture.new.principal.as_ref());
    assert_eq!(read.record().authenticated(), Some(read.record().created()));
    assert_eq!(read.record().absolute_expiry(), read.record().created() + ABSOLUTE * backend.step());
    assert!(read.record().accepts(fixture.holder(), read.now()));
}

pub async fn a_taken_key_is_refused_and_its_session_stays(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let second = NewSession { attributes: set("theme", 2).set, ..fixture.new.clone() };
    let error = store.create(&fixture.key(), &second).await.expect_err("the key is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), created.record());
}

pub async fn of_sixteen_racing_creators_of_one_key_one_wins(backend: impl Backend) {
    for round in 0..ROUNDS {
        let (store, fixture) = (backend.store(), Fixture::new(backend.step()));
        let outcomes = race(|number| {
            let (store, key) = (Arc::clone(&store), fixture.key());
            let new = NewSession { attributes: set("racer", number).set, ..fixture.new.clone() };
            async move { (number, store.create(&key, &new).await) }
        })
        .await;
        let (winners, losers): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!(winners.len(), 1, "round {round}");
        for (_, outcome) in losers {
            assert_eq!(outcome.expect_err("a loser").kind(), ErrorKind::AlreadyExists, "round {round}");
        }
        let stored = value(loaded(&*store, &fixture.key()).await.record(), "racer");
        assert_eq!(stored, u32::try_from(winners[0].0).ok(), "round {round}: what is stored is the winner's");
    }
}

pub async fn an_unknown_key_loads_nothing_and_creates_nothing(backend: impl Backend) {
    let (store, fixture) = (backend.store(), Fixture::new(backend.step()));
    assert!(is_absent(&*store, &fixture.key()).await);
    assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Gone);
    assert!(is_absent(&*store, &fixture.key()).await);
    fixture.create_in(&*store).await;
}

pub async fn a_save_applies_its_delta_and_raises_the_version(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let first = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let both = set("b", 2).then(Delta::new().with_removed(name("a")));
    let second = ok(store.save(&first, fixture.holder(), &both).await.expect("an answer"));
    let versions = [created.record().version(), first.record().version(), second.record().version()];
    assert!(versions.is_sorted_by(|before, after| before < after), "{versions:?}");
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record(), second.record());
    assert_eq!((value(read.record(), "a"), value(read.record(), "b")), (None, Some(2)));
    assert_eq!(read.record().created(), created.record().created());
}

pub async fn a_save_on_an_old_version_is_a_conflict_and_answers_the_current_session(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let current = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let Saved::Conflict(found) = store.save(&created, fixture.holder(), &set("b", 2)).await.expect("an answer") else {
        panic!("expected a conflict");
    };
    assert_eq!(found.record(), current.record());
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), current.record());
    let saved = ok(store.save(&found, fixture.holder(), &set("b", 2)).await.expect("an answer"));
    assert_eq!((value(saved.record(), "a"), value(saved.record(), "b")), (Some(1), Some(2)));
}

pub async fn a_save_that_changes_nothing_writes_nothing(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let first = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    for delta in [set("a", 1), Delta::new(), Delta::new().with_removed(name("b"))] {
        let same = ok(store.save(&first, fixture.holder(), &delta).await.expect("an answer"));
        assert_eq!(same.record().version(), first.record().version());
    }
    assert_eq!(loaded(&*store, &fixture.key()).await.record().version(), first.record().version());
}

pub async fn a_save_of_a_missing_session_is_gone_and_creates_nothing(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Removed);
    let saved = store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    assert!(is_absent(&*store, &fixture.key()).await);
}

/// Through [`Session`], which bases each change on the newer session when another was faster.
pub async fn sixteen_parallel_requests_lose_no_attribute(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    for round in 0..ROUNDS {
        let cookie = logged_in(&sessions).await;
        let outcomes = race(|number| {
            let (sessions, cookie) = (sessions.clone(), cookie.clone());
            async move {
                let session = sessions.open(&cookie);
                session.insert(&format!("racer {number}"), &number)?;
                session.commit().await
            }
        })
        .await;
        outcomes.into_iter().collect::<Result<Vec<_>, _>>().expect("every request is saved");
        let session = sessions.open(&cookie);
        for number in 0..RACERS {
            let kept = session.get::<usize>(&format!("racer {number}")).await.expect("an answer");
            assert_eq!(kept, Some(number), "round {round}");
        }
    }
}

/// The cookie header of a session that somebody just logged in to.
async fn logged_in(sessions: &Sessions) -> HeaderMap {
    let session = sessions.open(&HeaderMap::new());
    session.login("u42").await.expect("a login");
    session.commit().await.expect("a new session");
    header(&cookie_of(&session).expect("a cookie"))
}

pub async fn attributes_of_any_codec_are_kept_byte_for_byte(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let foreign = Attribute::new(CodecId(213), Bytes::from_iter(0..=u8::MAX));
    let delta = Delta::new().with_set(name("foreign"), foreign.clone());
    ok(store.save(&created, fixture.holder(), &delta).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    ok(store.save(&read, fixture.holder(), &set("own", 1)).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record().attributes().get(&name("foreign")), Some(&foreign));
}

pub async fn a_large_session_is_kept(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let large = Attribute::new(CodecId::RAW, vec![0xa5; 1 << 20].into());
    let delta = Delta::new().with_set(name("large"), large.clone());
    ok(store.save(&created, fixture.holder(), &delta).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert!(read.record().attributes().get(&name("large")) == Some(&large), "the megabyte came back changed");
}

pub async fn a_rotation_changes_the_verifier_and_not_the_times(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    backend.pass(2 * backend.step()).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
    ok(store.rotate(&created, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
    let read = loaded(&*store, &next.key()).await;
    assert!(read.record().is_newest(&next.verifier_hash()));
    assert_eq!(read.record().created(), created.record().created());
    assert_eq!(read.record().absolute_expiry(), created.record().absolute_expiry());
    assert!(read.record().version() > created.record().version());
}

pub async fn a_rotation_applies_its_delta_in_the_same_step(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let first = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"));
    ok(store.rotate(&first, fixture.holder(), &rotation, &set("b", 2)).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!((value(read.record(), "a"), value(read.record(), "b")), (Some(1), Some(2)));
    assert_eq!(read.record().principal().map(Principal::as_str), Some("u42"));
}

pub async fn a_privilege_change_refuses_the_old_verifier_and_its_writes_in_flight(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let login = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"));
    let rotated = ok(store.rotate(&created, fixture.holder(), &login, &Delta::new()).await.expect("an answer"));
    assert!(!rotated.record().accepts(fixture.holder(), rotated.now()));
    for base in [&created, &rotated] {
        let saved = store.save(base, fixture.holder(), &set("planted", 1)).await.expect("an answer");
        assert!(matches!(saved, Saved::Superseded), "{saved:?}");
        let stolen = Rotation::new(fixture.token.verifier_hash(), Rotate::PrivilegeChange);
        let saved = store.rotate(base, fixture.holder(), &stolen, &Delta::new()).await.expect("an answer");
        assert!(matches!(saved, Saved::Superseded), "{saved:?}");
    }
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), rotated.record());
    let saved = store.save(&created, Authority::Application, &set("a", 1)).await.expect("an answer");
    assert!(matches!(saved, Saved::Conflict(_)), "the application is never superseded: {saved:?}");
}

pub async fn a_renewal_accepts_the_old_verifier_for_its_grace_only(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 4 * backend.step() });
    let renewed = ok(store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer"));
    let saved = store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer");
    let Saved::Conflict(current) = saved else { panic!("expected a conflict, got {saved:?}") };
    assert_eq!(current.record(), renewed.record());
    let saved = ok(store.save(&current, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    // The browser may not have got the new one, however long ago that is.
    backend.pass(5 * backend.step()).await;
    let unseen = loaded(&*store, &fixture.key()).await;
    assert!(unseen.record().accepts(fixture.holder(), unseen.now()));
    assert!(unseen.record().is_unconfirmed(&fixture.token.verifier_hash()));
    let saved = ok(store.save(&saved, fixture.holder(), &set("a", 2)).await.expect("an answer"));
    // From its first use on the grace passes; that use is written though it changes nothing else.
    let holder = Authority::Holder(next.verifier_hash());
    let used = ok(store.save(&saved, holder, &Delta::new()).await.expect("an answer"));
    assert!(used.record().version() > saved.record().version());
    let again = ok(store.save(&used, holder, &Delta::new()).await.expect("an answer"));
    assert_eq!(again.record().version(), used.record().version(), "once");
    backend.pass(2 * backend.step()).await;
    let in_grace = loaded(&*store, &fixture.key()).await;
    assert!(in_grace.record().accepts(fixture.holder(), in_grace.now()));
    backend.pass(3 * backend.step()).await;
    let late = loaded(&*store, &fixture.key()).await;
    assert!(!late.record().accepts(fixture.holder(), late.now()));
    let refused = store.save(&late, fixture.holder(), &set("a", 9)).await.expect("an answer");
    assert!(matches!(refused, Saved::Superseded), "{refused:?}");
    ok(store.save(&late, holder, &set("a", 3)).await.expect("an answer"));
}

/// Its answer may have been lost; others have changed nothing since.
pub async fn a_create_that_is_repeated_is_known_and_another_is_not(backend: impl Backend) {
    let (store, fixture) = (backend.store(), Fixture::new(backend.step()));
    let options = || CreateOptions::default().with_id(SaveId::from_bytes([7; 8]));
    let first = store.create_with(&fixture.key(), &fixture.new, options()).await.expect("a new session");
    let again = store.create_with(&fixture.key(), &fixture.new, options()).await.expect("the same session");
    assert_eq!(again.record(), first.record());
    let other = CreateOptions::default().with_id(SaveId::from_bytes([8; 8]));
    for other in [other, CreateOptions::default()] {
        let error = store.create_with(&fixture.key(), &fixture.new, other).await.expect_err("the key is taken");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    let saved = ok(store.save(&first, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let error = store.create_with(&fixture.key(), &fixture.new, options()).await.expect_err("it is another by now");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), saved.record());
}

/// Of a save and of a rotation, also of one after which the holder's verifier is not accepted any more.
pub async fn a_change_that_is_repeated_after_others_is_known_and_made_once(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let id = SaveId::generate().expect("random bytes");
    let options = || SaveOptions::default().with_id(id);
    let add = set("a", 1);
    let first = ok(store.save_with(&created, fixture.holder(), &add, options()).await.expect("an answer"));
    let mut current = ok(store.save(&first, fixture.holder(), &set("a", 2)).await.expect("an answer"));
    for others in 0..14 {
        for repeated in [options(), SaveOptions::default().repeating(id)] {
            let known = store.save_with(&created, fixture.holder(), &add, repeated).await.expect("an answer");
            assert_eq!(ok(known).record(), current.record(), "after {others} others");
        }
        current = ok(store.save(&current, fixture.holder(), &set("b", others)).await.expect("an answer"));
    }
    assert_eq!(value(current.record(), "a"), Some(2), "it is not made again");
    for others in 0..3 {
        current = ok(store.save(&current, fixture.holder(), &set("c", others)).await.expect("an answer"));
    }
    let forgotten = SaveOptions::default().repeating(id);
    let error = store.save_with(&created, fixture.holder(), &add, forgotten).await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    let other = SaveOptions::default().repeating(SaveId::generate().expect("random bytes"));
    let never = store.save_with(&current, fixture.holder(), &set("a", 3), other.clone()).await.expect("an answer");
    let latest = ok(never);
    let never = store.save_with(&current, fixture.holder(), &add, SaveOptions::default()).await.expect("an answer");
    assert!(matches!(never, Saved::Conflict(_)), "another change was not made before: {never:?}");

    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
    for _ in 0..2 {
        let rotated = store.rotate_with(&latest, fixture.holder(), &rotation, &set("d", 1), options()).await;
        assert!(ok(rotated.expect("an answer")).record().is_newest(&next.verifier_hash()));
    }
}

/// Through [`Session`]: a browser that did not get the answer of a renewal stays logged in, and gets another.
pub async fn a_browser_that_does_not_get_a_renewed_token_stays_logged_in(backend: impl Backend) {
    let grace = (2 * backend.step()).max(Duration::from_secs(1));
    let config = SessionConfig::builder().idle_timeout(1000 * grace).renew_every(grace, grace).build();
    let sessions = Sessions::new(backend.store(), config.expect("good settings"));
    let old = logged_in(&sessions).await;
    backend.pass(grace).await;
    let lost = sessions.open(&old);
    lost.principal().await.expect("an answer").expect("somebody");
    lost.commit().await.expect("a renewal");
    let lost = cookie_of(&lost).expect("a cookie that never arrives");
    for _ in 0..2 {
        backend.pass(2 * grace).await;
        let session = sessions.open(&old);
        assert!(session.principal().await.expect("an answer").is_some(), "the old token is all that the browser has");
        session.commit().await.expect("a renewal");
        assert_ne!(cookie_of(&session), Some(lost.clone()), "it gets another");
        // The answers of the first two are lost, too.
    }
    backend.pass(2 * grace).await;
    let session = sessions.open(&old);
    session.insert("a", &1).expect("a small value");
    session.commit().await.expect("a renewal");
    let new = header(&cookie_of(&session).expect("a cookie"));
    let session = sessions.open(&new);
    session.insert("a", &2).expect("a small value");
    session.commit().await.expect("a save");
    backend.pass(2 * grace).await;
    assert!(sessions.open(&new).principal().await.expect("an answer").is_some());
    assert!(sessions.open(&old).principal().await.expect("an answer").is_none(), "the new one was used");
}

/// Through [`Session`]: a login whose answer is lost does not keep the browser from logging in with a form of its session.
pub async fn a_request_that_arrives_after_a_rotation_begins_a_session_of_its_own(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    let old = logged_in(&sessions).await;
    let [login, under_way] = [sessions.open(&old), sessions.open(&old)];
    login.login("u43").await.expect("a login");
    login.commit().await.expect("a rotation");
    under_way.insert("form", &1).expect("a small value");
    under_way.commit().await.expect("the change is dropped");
    assert_eq!(cookie_of(&under_way), None, "the browser may have a newer cookie");
    backend.pass(backend.step()).await;
    let session = sessions.open(&old);
    session.insert("form", &1).expect("a small value");
    session.commit().await.expect("a new session");
    let new = header(&cookie_of(&session).expect("a cookie"));
    assert_eq!(sessions.open(&new).get::<u32>("form").await.expect("an answer"), Some(1));
    assert!(sessions.open(&new).principal().await.expect("an answer").is_none());
}

pub async fn of_sixteen_racing_rotations_one_wins(backend: impl Backend) {
    for round in 0..ROUNDS / 10 {
        let store = backend.store();
        let (fixture, created) = Fixture::create(&backend).await;
        let outcomes = race(|_| {
            let (store, base, holder) = (Arc::clone(&store), created.clone(), fixture.holder());
            let next = fixture.token.with_new_verifier().expect("random bytes").verifier_hash();
            let rotation = Rotation::new(next, Rotate::PrivilegeChange);
            async move { (next, store.rotate(&base, holder, &rotation, &Delta::new()).await.expect("an answer")) }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, saved)| matches!(saved, Saved::Applied(_)));
        assert_eq!(won.len(), 1, "round {round}");
        assert!(lost.iter().all(|(_, saved)| matches!(saved, Saved::Superseded)), "round {round}: {lost:?}");
        assert!(loaded(&*store, &fixture.key()).await.record().is_newest(&won[0].0), "round {round}");
    }
}

pub async fn a_login_is_dated_by_the_store(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    assert_eq!(created.record().authenticated(), None);
    backend.pass(3 * backend.step()).await;
    let base = loaded(&*store, &fixture.key()).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let login = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"));
    let rotated = ok(store.rotate(&base, fixture.holder(), &login, &Delta::new()).await.expect("an answer"));
    let after = rotated.record().authenticated().expect("a login").since(created.record().created());
    assert!(after >= 3 * backend.step(), "{after:?}");
    assert!(rotated.record().authenticated() <= Some(rotated.now()));
}

pub async fn a_touch_slides_the_idle_timeout_and_not_the_version(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    for _ in 0..5 {
        backend.pass((IDLE / 2) * backend.step()).await;
        assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid);
    }
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record().version(), created.record().version());
    assert!(read.last_seen() > created.last_seen());
    ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
}

pub async fn a_load_does_not_slide_the_idle_timeout(backend: impl Backend) {
    let store = backend.store();
    let (fixture, _) = Fixture::create(&backend).await;
    backend.pass((IDLE / 2) * backend.step()).await;
    let half = loaded(&*store, &fixture.key()).await;
    assert!(half.gain_of_touch() >= (IDLE / 2) * backend.step(), "{:?}", half.gain_of_touch());
    backend.pass((IDLE / 2) * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
}

pub async fn a_save_slides_the_idle_timeout(backend: impl Backend) {
    let store = backend.store();
    let (fixture, mut current) = Fixture::create(&backend).await;
    for round in 0..4 {
        backend.pass((IDLE / 2) * backend.step()).await;
        current = ok(store.save(&current, fixture.holder(), &set("a", round)).await.expect("an answer"));
    }
    assert!(!is_absent(&*store, &fixture.key()).await);
}

pub async fn an_idle_session_is_gone_for_every_method(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    backend.pass(IDLE * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
    is_gone_for_writes(&*store, &fixture, &created).await;
    fixture.create_in(&*store).await;
}

async fn is_gone_for_writes(store: &dyn SessionStore, fixture: &Fixture, base: &Snapshot) {
    let saved = store.save(base, fixture.holder(), &set("late", 1)).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    let rotation = Rotation::new(fixture.token.verifier_hash(), Rotate::PrivilegeChange);
    let saved = store.rotate(base, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Gone);
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Gone);
    assert!(is_absent(store, &fixture.key()).await);
}

pub async fn the_absolute_expiry_stands_against_touches_saves_and_rotations(backend: impl Backend) {
    let store = backend.store();
    let (mut fixture, mut current) = Fixture::create(&backend).await;
    for round in 0..ABSOLUTE / 5 - 1 {
        backend.pass(5 * backend.step()).await;
        assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid, "round {round}");
        current = ok(store.save(&current, fixture.holder(), &set("round", round)).await.expect("an answer"));
        let next = fixture.token.with_new_verifier().expect("random bytes");
        let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
        current = ok(store.rotate(&current, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
        fixture.token = next;
    }
    backend.pass(5 * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
    is_gone_for_writes(&*store, &fixture, &current).await;
}

pub async fn a_deleted_session_does_not_come_back(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let current = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Removed);
    for base in [&created, &current] {
        is_gone_for_writes(&*store, &fixture, base).await;
    }
}

pub async fn a_deletion_is_remembered_and_an_expiry_is_not(backend: impl Backend) {
    let store = backend.store();
    for authority in [None, Some(Authority::Application)] {
        let (fixture, _) = Fixture::create(&backend).await;
        let deleted = store.delete(&fixture.key(), authority.unwrap_or(fixture.holder())).await;
        assert_eq!(deleted.expect("an answer"), Deleted::Removed);
        let found = store.load(&fixture.key()).await.expect("an answer");
        assert!(matches!(found, Loaded::Deleted { .. }), "{found:?}");
        let taken = store.create(&fixture.key(), &fixture.new).await.expect_err("the key is not free yet");
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    }
    let (fixture, _) = Fixture::create(&backend).await;
    backend.pass(IDLE * backend.step()).await;
    let found = store.load(&fixture.key()).await.expect("an answer");
    assert!(matches!(found, Loaded::Absent), "{found:?}");
}

/// Through [`Session`]: whether the request had read its session before or not. The browser may have
/// logged in again in the meantime, so that no response of such a request may touch its cookie.
pub async fn a_request_under_way_when_its_session_is_deleted_begins_no_other(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    let cookie = logged_in(&sessions).await;
    let open = || sessions.open(&cookie);
    let [loaded, unread, leaving, unread_leaving, login] = [open(), open(), open(), open(), open()];
    let key = loaded.key().await.expect("an answer").expect("a session");
    leaving.principal().await.expect("an answer");
    let deleted = backend.store().delete(&key, Authority::Application).await;
    assert_eq!(deleted.expect("an answer"), Deleted::Removed);
    for (name, session) in [("loaded", &loaded), ("unread", &unread)] {
        for _ in 0..2 {
            session.insert("late", &1).expect("a small value");
            session.commit().await.expect("the change is dropped");
            assert_eq!(session.key().await.expect("an answer"), None, "{name}");
            assert_eq!(cookie_of(session), None, "{name}");
        }
    }
    for (name, session) in [("loaded", &leaving), ("unread", &unread_leaving)] {
        session.logout().await.expect("nobody is logged in");
        session.commit().await.expect("nothing to save");
        assert_eq!(cookie_of(session), None, "logout, {name}");
    }
    login.login("u42").await.expect("a login");
    login.commit().await.expect("a new session");
    let next = login.key().await.expect("an answer").expect("a session");
    assert_ne!(next, key);
}

/// The browser that still has the cookie of a deleted session would begin no other as long as it is remembered.
pub async fn a_request_that_arrives_after_the_deletion_of_its_session_loses_its_cookie(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    let cookie = logged_in(&sessions).await;
    let key = sessions.open(&cookie).key().await.expect("an answer").expect("a session");
    let deleted = backend.store().delete(&key, Authority::Application).await;
    assert_eq!(deleted.expect("an answer"), Deleted::Removed);
    backend.pass(backend.step() / 2).await;
    let found = backend.store().load(&key).await.expect("an answer");
    assert!(matches!(found, Loaded::Deleted { ago } if ago >= backend.step() / 4), "{found:?}");
    let session = sessions.open(&cookie);
    session.insert("late", &1).expect("a small value");
    session.commit().await.expect("the change is dropped");
    let removal = cookie_of(&session).expect("a removal");
    assert!(removal.contains("=; ") && removal.contains("Max-Age=0"), "{removal}");
}

/// What a login removes is part of the login, whatever becomes of what the request itself has changed.
pub async fn what_somebody_else_left_is_removed_by_a_login_in_any_case(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    for (before, discard) in [(true, false), (true, true), (false, false), (false, true)] {
        let alice = logged_in(&sessions).await;
        let session = sessions.open(&alice);
        session.insert("secret", "of alice").expect("a small value");
        session.flash("info", "for alice").expect("a small value");
        session.commit().await.expect("a save");

        let session = sessions.open(&alice);
        if before {
            session.insert("own", &1).expect("a small value");
            session
                .update("secret", |secret: Option<String>| secret.unwrap_or_default() + "!")
                .await
                .expect("a change");
        }
        session.login("bob").await.expect("a login");
        assert_eq!(session.get::<String>("secret").await.expect("an answer"), None);
        if !before {
            session.insert("own", &1).expect("a small value");
            session
                .update("secret", |secret: Option<String>| secret.unwrap_or_default() + "!")
                .await
                .expect("a change");
        }
        if discard {
            session.discard_attributes().await;
        }
        session.commit().await.expect("a rotation");
        let bob = sessions.open(&header(&cookie_of(&session).expect("a cookie")));
        assert_eq!(bob.principal().await.expect("an answer").expect("a login").as_str(), "bob");
        let secret: Option<String> = bob.get("secret").await.expect("an answer");
        assert_eq!(secret.as_deref(), (!before && !discard).then_some("!"), "before {before}, discard {discard}");
        assert_eq!(bob.get("own").await.expect("an answer"), (!discard).then_some(1), "before {before}");
        assert_eq!(bob.take_flash().await.expect("an answer"), []);
    }
}

/// Each adds what nobody else adds, to what the one before it left.
pub async fn updates_of_one_attribute_by_twenty_tasks_are_all_kept(backend: impl Backend) {
    const TASKS: u32 = 20;
    let pushes = u32::try_from(rounds(5, 40)).expect("a small number");
    // As on replicas that know nothing of each other, and several requests on each.
    let replicas: Vec<_> = (0..4).map(|_| Sessions::new(backend.store(), SessionConfig::default())).collect();
    let cookie = logged_in(&replicas[0]).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (sessions, cookie) = (replicas[task as usize % replicas.len()].clone(), cookie.clone());
        tasks.spawn(async move {
            for push in 0..pushes {
                let session = sessions.open(&cookie);
                let add = move |list: Option<Vec<u32>>| [list.unwrap_or_default(), vec![task * 1000 + push]].concat();
                session.update("list", add).await.expect("an answer");
                session.commit().await.expect("a save");
            }
        });
    }
    tasks.join_all().await;
    let list = replicas[0].open(&cookie).get::<Vec<u32>>("list").await.expect("an answer").expect("the list");
    let all = list.iter().copied().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        (list.len(), all.len()),
        ((TASKS * pushes) as usize, (TASKS * pushes) as usize),
        "none lost, none twice"
    );
    for task in 0..TASKS {
        let own = list.iter().filter(|item| **item / 1000 == task);
        assert!(own.is_sorted(), "task {task}: an update comes after the one that was saved before it");
    }
}

/// On one replica, where they queue, and on as many as there are writers, where they only meet at the store.
pub async fn of_256_writers_at_once_none_fails(backend: impl Backend) {
    const WRITERS: usize = 256;
    for replicas in [1, WRITERS] {
        let replicas: Vec<_> =
            (0..replicas).map(|_| Sessions::new(backend.store(), SessionConfig::default())).collect();
        let cookie = logged_in(&replicas[0]).await;
        let start = Arc::new(tokio::sync::Barrier::new(WRITERS));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (sessions, cookie) = (replicas[writer % replicas.len()].clone(), cookie.clone());
            let start = Arc::clone(&start);
            writers.spawn(async move {
                let session = sessions.open(&cookie);
                session.principal().await?;
                start.wait().await;
                session.insert(&format!("w{writer}"), &1)?;
                session.commit().await
            });
        }
        let failed = writers.join_all().await.into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert!(failed.is_empty(), "{} of {WRITERS} failed, the first: {}", failed.len(), failed[0]);
        let session = replicas[0].open(&cookie);
        for writer in 0..WRITERS {
            assert_eq!(session.get(&format!("w{writer}")).await.expect("an answer"), Some(1), "writer {writer}");
        }
    }
}

pub async fn a_message_is_taken_by_one_of_sixteen_requests(backend: impl Backend) {
    let sessions = Sessions::new(backend.store(), SessionConfig::default());
    for round in 0..rounds(5, 50) {
        let cookie = logged_in(&sessions).await;
        for message in ["first", "second"] {
            let session = sessions.open(&cookie);
            session.flash("info", message).expect("a small value");
            session.commit().await.expect("a save");
        }
        let taken = race(|_| {
            let session = sessions.open(&cookie);
            async move { session.take_flash().await.expect("an answer") }
        })
        .await;
        let shown: Vec<_> = taken.iter().flatten().map(|flash| flash.message.as_str()).collect();
        assert_eq!(shown, ["first", "second"], "round {round}");
    }
}

pub async fn a_rotation_may_change_the_idle_timeout(backend: impl Backend) {
    let store = backend.store();
    for (idle, lives) in [(2 * IDLE, true), (IDLE / 2, false)] {
        let (fixture, created) = Fixture::create(&backend).await;
        let next = fixture.token.with_new_verifier().expect("random bytes");
        let rotation = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"))
            .with_idle_timeout(idle * backend.step());
        let rotated = ok(store.rotate(&created, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
        assert_eq!(rotated.record().idle_timeout(), idle * backend.step());
        backend.pass((IDLE * 3 / 4) * backend.step()).await;
        assert_eq!(!is_absent(&*store, &fixture.key()).await, lives);
        if lives {
            backend.pass((IDLE / 2) * backend.step()).await;
            assert!(!is_absent(&*store, &fixture.key()).await, "it outlives the first timeout");
        }
    }
}

/// Everybody can make a store keep anonymous sessions.
pub async fn an_anonymous_session_lives_for_a_shorter_time_until_somebody_logs_in(backend: impl Backend) {
    let Ok(config) = SessionConfig::builder()
        .idle_timeout(Duration::from_secs(3600))
        .anonymous_timeout((IDLE * backend.step()).max(Duration::from_secs(1)))
        .build()
    else {
        panic!("good settings")
    };
    let sessions = Sessions::new(backend.store(), config);
    let [forgotten, kept] = [sessions.open(&HeaderMap::new()), sessions.open(&HeaderMap::new())];
    for session in [&forgotten, &kept] {
        session.insert("cart", &1).expect("a small value");
        session.commit().await.expect("a new session");
    }
    let (forgotten, kept) = (header(&cookie_of(&forgotten).expect("a cookie")), cookie_of(&kept).expect("a cookie"));
    let session = sessions.open(&header(&kept));
    session.login("u42").await.expect("a login");
    session.commit().await.expect("a rotation");
    let kept = header(&cookie_of(&session).expect("a cookie"));
    backend.pass((IDLE * backend.step()).max(Duration::from_secs(1))).await;
    assert_eq!(sessions.open(&forgotten).get::<u32>("cart").await.expect("an answer"), None);
    assert_eq!(sessions.open(&kept).get::<u32>("cart").await.expect("an answer"), Some(1));
}

/// The `Set-Cookie` of the session's response.
fn cookie_of(session: &Session) -> Option<String> {
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    Some(response.get(SET_COOKIE)?.to_str().expect("text").to_owned())
}

/// The `Cookie` of the next request.
fn header(set_cookie: &str) -> HeaderMap {
    let cookie = set_cookie.split(';').next().expect("name and value");
    HeaderMap::from_iter([(COOKIE, cookie.parse().expect("a header"))])
}

pub async fn a_delete_is_idempotent(backend: impl Backend) {
    let store = backend.store();
    let (fixture, _) = Fixture::create(&backend).await;
    let answers = [Deleted::Removed, Deleted::Gone, Deleted::Gone];
    for expected in answers {
        assert_eq!(store.delete(&fixture.key(), Authority::Application).await.expect("an answer"), expected);
    }
}

pub async fn a_delete_is_refused_to_a_holder_whose_verifier_is_not_accepted(backend: impl Backend) {
    let store = backend.store();
    let (fixture, created) = Fixture::create(&backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 2 * backend.step() });
    let renewed = store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer");
    let used = store.save(&ok(renewed), Authority::Holder(next.verifier_hash()), &Delta::new()).await;
    ok(used.expect("an answer"));
    backend.pass(3 * backend.step()).await;
    let wrong = Fixture::new(backend.step()).holder();
    for holder in [fixture.holder(), wrong] {
        assert_eq!(store.delete(&fixture.key(), holder).await.expect("an answer"), Deleted::Refused);
    }
    assert!(!is_absent(&*store, &fixture.key()).await);
    let holder = Authority::Holder(next.verifier_hash());
    assert_eq!(store.delete(&fixture.key(), holder).await.expect("an answer"), Deleted::Removed);

    let (fixture, created) = Fixture::create(&backend).await;
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 5 * backend.step() });
    ok(store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer"));
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("in its grace"), Deleted::Removed);
}

pub async fn a_delete_among_parallel_writes_is_final(backend: impl Backend) {
    for round in 0..ROUNDS / 4 {
        let store = backend.store();
        let (fixture, created) = Fixture::create(&backend).await;
        let holder = fixture.holder();
        race(|number| {
            let (store, base) = (Arc::clone(&store), created.clone());
            async move {
                let key = *base.record().key();
                match number {
                    7 => store.delete(&key, Authority::Application).await.map(drop),
                    _ if number % 3 == 0 => store.touch(&key).await.map(drop),
                    _ => store.save(&base, holder, &set("late", number)).await.map(drop),
                }
            }
        })
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .expect("answers");
        assert!(is_absent(&*store, &fixture.key()).await, "round {round}");
    }
}

pub async fn timeouts_of_zero_are_refused(backend: impl Backend) {
    let (store, fixture) = (backend.store(), Fixture::new(backend.step()));
    for new in [
        NewSession { idle_timeout: Duration::ZERO, ..fixture.new.clone() },
        NewSession { absolute_timeout: Duration::ZERO, ..fixture.new.clone() },
        NewSession { idle_timeout: Duration::MAX, ..fixture.new.clone() },
    ] {
        let error = store.create(&fixture.key(), &new).await.expect_err("a timeout that cannot be");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(is_absent(&*store, &fixture.key()).await);
}

pub async fn the_store_is_healthy(backend: impl Backend) {
    let health = backend.store().health().await;
    assert!(health.is_up(), "{health:?}");
    assert!(!health.backend.is_empty());
}

pub async fn sessions_survive_a_restart(mut backend: impl Backend) {
    if !backend.store().capabilities().has(DURABLE) {
        skipped("sessions_survive_a_restart", &backend);
        return;
    }
    let (fixture, created) = Fixture::create(&backend).await;
    let saved = ok(backend.store().save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    drop((created, backend.store()));
    backend.reopen().await;
    assert_eq!(loaded(&*backend.store(), &fixture.key()).await.record(), saved.record());
}

#[expect(clippy::print_stderr, reason = "a skipped case must be seen in the test's output")]
fn skipped(case: &str, backend: &impl Backend) {
    eprintln!("{case}: skipped, the backend lacks {DURABLE:?}: {backend:?}");
}
