//! Who stays logged in for longer than others.

use std::time::Duration;

use http::header::HeaderMap;
use statehouse_core::ErrorKind;

use super::kit::{ABSOLUTE, Fixture, IDLE, SessionBackend, cookie_of, header, is_absent, loaded, ok, set};
use crate::api::SessionStoreExt as _;
use crate::config::SessionConfig;
use crate::options::LoginOptions;
use crate::outcome::Touched;
use crate::record::{Authority, Delta, Limit, Persistence, Principal, Rotate, Rotation};
use crate::session::Sessions;
use crate::token::Token;

/// One whom no other case knows.
fn somebody() -> Principal {
    Principal::new(Token::generate().expect("random bytes").key()).expect("a principal")
}

fn login(who: &Principal) -> Rotation {
    Rotation::login(Token::generate().expect("random bytes").verifier_hash(), who.clone())
}

pub(super) async fn whoever_is_remembered_stays_so_until_the_next_login(backend: &impl SessionBackend) {
    let (store, step, app) = (backend.service().await, backend.step(), Authority::Application);
    let (fixture, created) = Fixture::create(backend).await;
    let remembered = Persistence::Remember(2 * IDLE * step);
    let rotation = login(&somebody()).with_persistence(remembered).with_absolute_timeout(2 * ABSOLUTE * step);
    let mut current = ok(store.rotate(&created, app, &rotation, &Delta::new()).await.expect("an answer"));
    assert_eq!(current.record().created(), created.record().created());
    let end = current.record().absolute_expiry();
    // Together longer than a session of the browser lives.
    for round in 0..3 {
        backend.pass_time((IDLE + 2) * step).await;
        match round {
            0 => assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid),
            1 => current = ok(store.save(&current, app, &set("a", 1)).await.expect("an answer")),
            _ => {
                let next = Token::generate().expect("random bytes").verifier_hash();
                let rotation = Rotation::new(next, Rotate::Renewal { grace: step });
                current = ok(store.rotate(&current, app, &rotation, &Delta::new()).await.expect("an answer"));
            }
        }
        let read = loaded(&*store, &fixture.key()).await;
        assert_eq!(read.record().persistence(), remembered, "round {round}");
        assert_eq!((read.record().absolute_expiry(), read.record().idle_timeout()), (end, 2 * IDLE * step));
    }
    let rotation = login(&somebody()).with_idle_timeout(IDLE * step).with_absolute_timeout(ABSOLUTE * step);
    let again = ok(store.rotate(&current, app, &rotation, &Delta::new()).await.expect("an answer"));
    assert_eq!(again.record().persistence(), Persistence::Browser);
    assert!(again.record().absolute_expiry() < end + ABSOLUTE * step);
    backend.pass_time(IDLE * step).await;
    assert!(is_absent(&*store, &fixture.key()).await);
}

pub(super) async fn whoever_is_remembered_is_listed_and_counted_for_as_long(backend: &impl SessionBackend) {
    let (store, step, who) = (backend.service().await, backend.step(), somebody());
    let (fixture, created) = Fixture::create(backend).await;
    let first = ok(store.rotate(&created, fixture.holder(), &login(&who), &Delta::new()).await.expect("an answer"));
    let rotation = login(&who)
        .with_persistence(Persistence::Remember(2 * ABSOLUTE * step))
        .with_absolute_timeout(3 * ABSOLUTE * step);
    ok(store.rotate(&first, Authority::Application, &rotation, &Delta::new()).await.expect("an answer"));
    // Past the end that it had before.
    backend.pass_time((ABSOLUTE + 2) * step).await;
    for _ in 0..2 {
        let listed = store.list(&who).await.expect("a list");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].record().persistence(), Persistence::Remember(2 * ABSOLUTE * step));
        let mut other = Fixture::new(step);
        (other.new.principal, other.new.limit) = (Some(who.clone()), Some(Limit::reject(1)));
        let refused = store.create(&other.key(), &other.new).await.expect_err("there is one");
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
}

/// Through [`Session`](crate::Session), with the timeouts of a configuration.
pub(super) async fn a_login_may_be_remembered_for_longer_than_the_configuration_keeps_others(
    backend: &impl SessionBackend,
) {
    let unit = ((IDLE / 2) * backend.step()).max(Duration::from_secs(1));
    let config = SessionConfig::builder().idle_timeout(unit).absolute_timeout(2 * unit).max_remembered(20 * unit);
    let sessions = Sessions::new(backend.service().await, config.build().expect("good settings"));
    let (store, options) =
        (sessions.store(), LoginOptions::default().with_persistence(Persistence::Remember(4 * unit)));
    for before in [None, Some("cart")] {
        let mut request = HeaderMap::new();
        if let Some(cart) = before {
            let session = sessions.open(&request);
            session.insert(cart, &1).expect("a small value");
            session.commit().await.expect("a new session");
            request = header(&cookie_of(&session).expect("a cookie"));
        }
        let session = sessions.open(&request);
        session.login_with("u42", options.clone()).await.expect("a login");
        session.commit().await.expect("a save");
        let cookie = cookie_of(&session).expect("a cookie");
        assert!(cookie.contains(&format!("; Max-Age={};", 4 * unit.as_secs())), "{cookie}");
        for _ in 0..2 {
            backend.pass_time(3 * unit).await;
            let session = sessions.open(&header(&cookie));
            let key = session.key().await.expect("an answer").expect("they are remembered");
            assert_eq!(store.touch(&key).await.expect("an answer"), Touched::Slid);
        }
        // Whoever logs in anew says it anew.
        let session = sessions.open(&header(&cookie));
        session.login("u42").await.expect("a login");
        session.commit().await.expect("a rotation");
        let cookie = cookie_of(&session).expect("a cookie");
        assert!(!cookie.contains("Max-Age"), "{cookie}");
        assert!(sessions.open(&header(&cookie)).principal().await.expect("an answer").is_some());
        backend.pass_time(unit).await;
        assert_eq!(sessions.open(&header(&cookie)).principal().await.expect("an answer"), None);
    }
}
