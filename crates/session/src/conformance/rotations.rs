//! New verifiers, and logins.

use std::sync::Arc;

use statehouse_core::conformance::race;

use super::kit::{Fixture, ROUNDS, SessionBackend, loaded, ok, set, value};
use crate::api::SessionStoreExt as _;
use crate::outcome::Saved;
use crate::record::{Authority, Delta, Principal, Rotate, Rotation};

pub(super) async fn a_rotation_changes_the_verifier_and_not_the_times(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    backend.pass_time(2 * backend.step()).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
    ok(store.rotate(&created, fixture.holder(), &rotation, &Delta::new()).await.expect("an answer"));
    let read = loaded(&*store, &next.key()).await;
    assert!(read.record().is_newest(&next.verifier_hash()));
    assert_eq!(read.record().created(), created.record().created());
    assert_eq!(read.record().absolute_expiry(), created.record().absolute_expiry());
    assert!(read.record().version() > created.record().version());
}

pub(super) async fn a_rotation_applies_its_delta_in_the_same_step(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let first = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"));
    ok(store.rotate(&first, fixture.holder(), &rotation, &set("b", 2)).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!((value(read.record(), "a"), value(read.record(), "b")), (Some(1), Some(2)));
    assert_eq!(read.record().principal().map(Principal::as_str), Some("u42"));
}

pub(super) async fn a_privilege_change_refuses_the_old_verifier_and_its_writes_in_flight(
    backend: &impl SessionBackend,
) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
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

pub(super) async fn a_renewal_accepts_the_old_verifier_for_its_grace_only(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let renewal = Rotation::new(next.verifier_hash(), Rotate::Renewal { grace: 4 * backend.step() });
    let renewed = ok(store.rotate(&created, fixture.holder(), &renewal, &Delta::new()).await.expect("an answer"));
    let saved = store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer");
    let Saved::Conflict(current) = saved else { panic!("expected a conflict, got {saved:?}") };
    assert_eq!(current.record(), renewed.record());
    let saved = ok(store.save(&current, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    // The browser may not have got the new one, however long ago that is.
    backend.pass_time(5 * backend.step()).await;
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
    backend.pass_time(2 * backend.step()).await;
    let in_grace = loaded(&*store, &fixture.key()).await;
    assert!(in_grace.record().accepts(fixture.holder(), in_grace.now()));
    backend.pass_time(3 * backend.step()).await;
    let late = loaded(&*store, &fixture.key()).await;
    assert!(!late.record().accepts(fixture.holder(), late.now()));
    let refused = store.save(&late, fixture.holder(), &set("a", 9)).await.expect("an answer");
    assert!(matches!(refused, Saved::Superseded), "{refused:?}");
    ok(store.save(&late, holder, &set("a", 3)).await.expect("an answer"));
}

pub(super) async fn of_sixteen_racing_rotations_one_wins(backend: &impl SessionBackend) {
    for round in 0..ROUNDS / 10 {
        let store = backend.service().await;
        let (fixture, created) = Fixture::create(backend).await;
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

pub(super) async fn a_login_is_dated_by_the_store(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    assert_eq!(created.record().authenticated(), None);
    backend.pass_time(3 * backend.step()).await;
    let base = loaded(&*store, &fixture.key()).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let login = Rotation::login(next.verifier_hash(), Principal::new("u42").expect("a principal"));
    let rotated = ok(store.rotate(&base, fixture.holder(), &login, &Delta::new()).await.expect("an answer"));
    let after = rotated.record().authenticated().expect("a login").since(created.record().created());
    assert!(after >= 3 * backend.step(), "{after:?}");
    assert!(rotated.record().authenticated() <= Some(rotated.now()));
}
