//! Timeouts.

use std::time::Duration;

use http::header::HeaderMap;
use statehouse_core::ErrorKind;

use super::kit::{
    ABSOLUTE, Fixture, IDLE, SessionBackend, cookie_of, header, is_absent, is_gone_for_writes, loaded, ok, set,
};
use crate::api::SessionStoreExt as _;
use crate::config::SessionConfig;
use crate::outcome::Touched;
use crate::record::{Authority, Delta, NewSession, Principal, Rotate, Rotation};
use crate::session::Sessions;
use crate::token::Token;

pub(super) async fn a_touch_slides_the_idle_timeout_and_not_the_version(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    for _ in 0..5 {
        backend.pass_time((IDLE / 2) * backend.step()).await;
        assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid);
    }
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record().version(), created.record().version());
    assert!(read.last_seen() > created.last_seen());
    ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
}

pub(super) async fn a_load_does_not_slide_the_idle_timeout(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, _) = Fixture::create(backend).await;
    backend.pass_time((IDLE / 2) * backend.step()).await;
    let half = loaded(&*store, &fixture.key()).await;
    assert!(half.gain_of_touch() >= (IDLE / 2) * backend.step(), "{:?}", half.gain_of_touch());
    backend.pass_time((IDLE / 2) * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
}

pub(super) async fn a_save_slides_the_idle_timeout(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, mut current) = Fixture::create(backend).await;
    for round in 0..4 {
        backend.pass_time((IDLE / 2) * backend.step()).await;
        current = ok(store.save(&current, fixture.holder(), &set("a", round)).await.expect("an answer"));
    }
    assert!(!is_absent(&*store, &fixture.key()).await);
}

pub(super) async fn an_idle_session_is_gone_for_every_method(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    backend.pass_time(IDLE * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
    is_gone_for_writes(&*store, &fixture, &created).await;
    fixture.create_in(&*store).await;
}

pub(super) async fn the_absolute_expiry_stands_against_touches_saves_and_rotations(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (mut fixture, mut current) = Fixture::create(backend).await;
    for round in 0..ABSOLUTE / 5 - 1 {
        backend.pass_time(5 * backend.step()).await;
        assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid, "round {round}");
        current = ok(store.save(&current, fixture.holder(), &set("round", round)).await.expect("an answer"));
        let next = fixture.token.with_new_verifier().expect("random bytes");
        let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
        current = ok(store.rotate(&current, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
        fixture.token = next;
    }
    backend.pass_time(5 * backend.step()).await;
    assert!(is_absent(&*store, &fixture.key()).await);
    is_gone_for_writes(&*store, &fixture, &current).await;
}

pub(super) async fn when_a_session_was_last_used_is_known_also_near_its_absolute_end(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, _) = Fixture::create(backend).await;
    for (round, unused) in [5, 5, 5, 4, 3, 2].into_iter().enumerate() {
        backend.pass_time(unused * backend.step()).await;
        let before = loaded(&*store, &fixture.key()).await;
        assert!(before.is_worth_a_touch(), "round {round}");
        if round % 2 == 0 {
            ok(store.save(&before, fixture.holder(), &set("round", round)).await.expect("an answer"));
        } else {
            assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Slid, "round {round}");
        }
        let after = loaded(&*store, &fixture.key()).await;
        // A step for what an answer takes on its way.
        let (used, earliest) = (after.last_seen(), before.last_seen() + (unused - 1) * backend.step());
        let latest = after.now() + backend.step();
        assert!((earliest..latest).contains(&used), "round {round}: {used:?}, {earliest:?}, {latest:?}");
        assert!(after.expires() <= after.record().absolute_expiry());
    }
}

pub(super) async fn a_rotation_may_change_the_idle_timeout(backend: &impl SessionBackend) {
    let store = backend.service().await;
    for (idle, lives) in [(2 * IDLE, true), (IDLE / 2, false)] {
        let (fixture, created) = Fixture::create(backend).await;
        let next = fixture.token.with_new_verifier().expect("random bytes");
        let rotation = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"))
            .with_idle_timeout(idle * backend.step());
        let rotated = ok(store.rotate(&created, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
        assert_eq!(rotated.record().idle_timeout(), idle * backend.step());
        backend.pass_time((IDLE * 3 / 4) * backend.step()).await;
        assert_eq!(!is_absent(&*store, &fixture.key()).await, lives);
        if lives {
            backend.pass_time((IDLE / 2) * backend.step()).await;
            assert!(!is_absent(&*store, &fixture.key()).await, "it outlives the first timeout");
        }
    }
}

/// Everybody can make a store keep anonymous sessions.
pub(super) async fn an_anonymous_session_lives_for_a_shorter_time_until_somebody_logs_in(
    backend: &impl SessionBackend,
) {
    let Ok(config) = SessionConfig::builder()
        .idle_timeout(Duration::from_secs(3600))
        .anonymous_timeout((IDLE * backend.step()).max(Duration::from_secs(1)))
        .build()
    else {
        panic!("good settings")
    };
    let sessions = Sessions::new(backend.service().await, config);
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
    backend.pass_time((IDLE * backend.step()).max(Duration::from_secs(1))).await;
    assert_eq!(sessions.open(&forgotten).get::<u32>("cart").await.expect("an answer"), None);
    assert_eq!(sessions.open(&kept).get::<u32>("cart").await.expect("an answer"), Some(1));
}

pub(super) async fn timeouts_of_zero_are_refused(backend: &impl SessionBackend) {
    let (store, fixture) = (backend.service().await, Fixture::new(backend.step()));
    for new in [
        NewSession { idle_timeout: Duration::ZERO, ..fixture.new.clone() },
        NewSession { absolute_timeout: Duration::ZERO, ..fixture.new.clone() },
        NewSession { idle_timeout: Duration::MAX, ..fixture.new.clone() },
    ] {
        let error = store.create(&fixture.key(), &new).await.expect_err("a timeout that cannot be");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(is_absent(&*store, &fixture.key()).await);
    let created = fixture.create_in(&*store).await;
    let login = Rotation::login(fixture.token.verifier_hash(), Principal::new("u42").expect("a principal"));
    for timeout in [Duration::ZERO, Duration::MAX] {
        for login in [login.clone().with_idle_timeout(timeout), login.clone().with_absolute_timeout(timeout)] {
            let refused = store.rotate(&created, fixture.holder(), &login, &Delta::new()).await;
            assert_eq!(refused.expect_err("a timeout that cannot be").kind(), ErrorKind::InvalidInput);
        }
    }
}

/// Requests without a cookie make them, as many as somebody likes.
pub(super) async fn a_flood_of_anonymous_sessions_is_bounded_and_keeps_nobody_from_logging_in(
    backend: &impl SessionBackend,
) {
    const BOUND: usize = 40;
    let store = backend.bounded(BOUND).await;
    let new = |token: &Token| NewSession::new(token.verifier_hash(), 200 * backend.step(), 400 * backend.step());
    let log_in = async || {
        let token = Token::generate().expect("random bytes");
        let new = new(&token).with_principal(Principal::new("u42").expect("a principal"));
        store.create(&token.key(), &new).await.expect("a login");
        token.key()
    };
    let before = log_in().await;
    let mut flood = Vec::new();
    for _ in 0..3 * BOUND {
        let token = Token::generate().expect("random bytes");
        match store.create(&token.key(), &new(&token)).await {
            Ok(_) => flood.push(token),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
    }
    let mut there = Vec::new();
    for token in &flood {
        there.extend(store.load(&token.key()).await.expect("an answer").found().map(|found| (token, found)));
    }
    assert!((1..=BOUND).contains(&there.len()), "{} of {}", there.len(), flood.len());
    let (token, base) = there.last().expect("one at least");
    let next = token.with_new_verifier().expect("random bytes").verifier_hash();
    let login = Rotation::login(next, Principal::new("u43").expect("a principal"));
    let holder = Authority::Holder(token.verifier_hash());
    ok(store.rotate(base, holder, &login, &Delta::new()).await.expect("a login"));
    for key in [before, log_in().await, log_in().await, token.key()] {
        assert!(!is_absent(&*store, &key).await, "nobody is logged out for them");
    }
}
