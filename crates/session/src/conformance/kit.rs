//! What the cases have in common.

use std::time::Duration;

use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use statehouse_core::conformance::Backend;

use crate::api::{SessionStore, SessionStoreExt as _};
use crate::outcome::{Deleted, Saved, Touched};
use crate::record::{Attribute, AttributeName, Authority, Delta, NewSession, Record, Rotate, Rotation, Snapshot};
use crate::session::{Session, Sessions};
use crate::token::{SessionKey, Token};

/// What the cases ask of a backend: a [bounded](Backend::bounded) store counts sessions, or those of nobody.
pub(super) trait SessionBackend: Backend<Service = dyn SessionStore> {}

impl<B: Backend<Service = dyn SessionStore>> SessionBackend for B {}

/// Sessions live ten steps unused and thirty at most.
pub(super) const IDLE: u32 = 10;

pub(super) const ABSOLUTE: u32 = 30;

/// How often a race is repeated.
pub(super) const ROUNDS: usize = 200;

/// A token and how to make its session.
pub(super) struct Fixture {
    pub(super) token: Token,
    pub(super) new: NewSession,
}

impl Fixture {
    pub(super) fn new(step: Duration) -> Self {
        let token = Token::generate().expect("random bytes");
        let new = NewSession::new(token.verifier_hash(), IDLE * step, ABSOLUTE * step);
        Self { token, new }
    }

    pub(super) async fn create(backend: &impl SessionBackend) -> (Self, Snapshot) {
        let fixture = Self::new(backend.step());
        let created = fixture.create_in(&*backend.service().await).await;
        (fixture, created)
    }

    pub(super) async fn create_in(&self, store: &dyn SessionStore) -> Snapshot {
        store.create(&self.key(), &self.new).await.expect("a new session")
    }

    pub(super) fn key(&self) -> SessionKey {
        self.token.key()
    }

    pub(super) fn holder(&self) -> Authority {
        Authority::Holder(self.token.verifier_hash())
    }
}

pub(super) fn name(text: &str) -> AttributeName {
    AttributeName::new(text).expect("a good name")
}

pub(super) fn set(attribute: &str, value: impl serde::Serialize) -> Delta {
    Delta::new().with_set(name(attribute), Attribute::encode(&value).expect("a plain value"))
}

pub(super) fn value(record: &Record, attribute: &str) -> Option<u32> {
    record.attributes().get(&name(attribute)).map(|value| value.decode().expect("a number"))
}

pub(super) fn ok(saved: Saved) -> Snapshot {
    match saved {
        Saved::Applied(snapshot) => snapshot,
        other => panic!("expected Ok, got {other:?}"),
    }
}

pub(super) async fn loaded(store: &dyn SessionStore, key: &SessionKey) -> Snapshot {
    store.load(key).await.expect("an answer").found().expect("the session")
}

pub(super) async fn is_absent(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key).await.expect("an answer").found().is_none()
}

/// The cookie header of a session that somebody just logged in to.
pub(super) async fn logged_in(sessions: &Sessions) -> HeaderMap {
    let session = sessions.open(&HeaderMap::new());
    session.login("u42").await.expect("a login");
    session.commit().await.expect("a new session");
    header(&cookie_of(&session).expect("a cookie"))
}

pub(super) async fn is_gone_for_writes(store: &dyn SessionStore, fixture: &Fixture, base: &Snapshot) {
    let saved = store.save(base, fixture.holder(), &set("late", 1)).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    let rotation = Rotation::new(fixture.token.verifier_hash(), Rotate::PrivilegeChange);
    let saved = store.rotate(base, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Gone);
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Gone);
    assert!(is_absent(store, &fixture.key()).await);
}

/// The `Set-Cookie` of the session's response.
pub(super) fn cookie_of(session: &Session) -> Option<String> {
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    Some(response.get(SET_COOKIE)?.to_str().expect("text").to_owned())
}

/// The `Cookie` of the next request.
pub(super) fn header(set_cookie: &str) -> HeaderMap {
    let cookie = set_cookie.split(';').next().expect("name and value");
    HeaderMap::from_iter([(COOKIE, cookie.parse().expect("a header"))])
}
