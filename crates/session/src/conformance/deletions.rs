//! What is deleted.

use std::sync::Arc;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::race;

use super::kit::{Fixture, IDLE, ROUNDS, SessionBackend, is_absent, is_gone_for_writes, ok, set};
use crate::api::SessionStoreExt as _;
use crate::outcome::{Deleted, Loaded};
use crate::record::{Authority, Delta, Rotate, Rotation};

pub(super) async fn a_deleted_session_does_not_come_back(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let current = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Removed);
    for base in [&created, &current] {
        is_gone_for_writes(&*store, &fixture, base).await;
    }
}

pub(super) async fn a_deletion_is_remembered_and_an_expiry_is_not(backend: &impl SessionBackend) {
    let store = backend.service().await;
    for authority in [None, Some(Authority::Application)] {
        let (fixture, _) = Fixture::create(backend).await;
        let deleted = store.delete(&fixture.key(), authority.unwrap_or(fixture.holder())).await;
        assert_eq!(deleted.expect("an answer"), Deleted::Removed);
        let found = store.load(&fixture.key()).await.expect("an answer");
        assert!(matches!(found, Loaded::Deleted { .. }), "{found:?}");
        let taken = store.create(&fixture.key(), &fixture.new).await.expect_err("the key is not free yet");
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    }
    let (fixture, _) = Fixture::create(backend).await;
    backend.pass_time(IDLE * backend.step()).await;
    let found = store.load(&fixture.key()).await.expect("an answer");
    assert!(matches!(found, Loaded::Absent), "{found:?}");
}

pub(super) async fn a_delete_is_idempotent(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, _) = Fixture::create(backend).await;
    let answers = [Deleted::Removed, Deleted::Gone, Deleted::Gone];
    for expected in answers {
        assert_eq!(store.delete(&fixture.key(), Authority::Application).await.expect("an answer"), expected);
    }
}

pub(super) async fn a_delete_is_refused_to_a_holder_whose_verifier_is_not_accepted(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 2 * backend.step() });
    let renewed = store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer");
    let used = store.save(&ok(renewed), Authority::Holder(next.verifier_hash()), &Delta::new()).await;
    ok(used.expect("an answer"));
    backend.pass_time(3 * backend.step()).await;
    let wrong = Fixture::new(backend.step()).holder();
    for holder in [fixture.holder(), wrong] {
        assert_eq!(store.delete(&fixture.key(), holder).await.expect("an answer"), Deleted::Refused);
    }
    assert!(!is_absent(&*store, &fixture.key()).await);
    let holder = Authority::Holder(next.verifier_hash());
    assert_eq!(store.delete(&fixture.key(), holder).await.expect("an answer"), Deleted::Removed);

    let (fixture, created) = Fixture::create(backend).await;
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 5 * backend.step() });
    ok(store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer"));
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("in its grace"), Deleted::Removed);
}

pub(super) async fn a_delete_among_parallel_writes_is_final(backend: &impl SessionBackend) {
    for round in 0..ROUNDS / 4 {
        let store = backend.service().await;
        let (fixture, created) = Fixture::create(backend).await;
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
