//! What is created, saved and read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::conformance::race;
use statehouse_core::{CodecId, ErrorKind};

use super::kit::{ABSOLUTE, Fixture, ROUNDS, SessionBackend, is_absent, loaded, name, ok, set, value};
use crate::api::SessionStoreExt as _;
use crate::options::{CreateOptions, DeleteOptions, LoadOptions, SaveOptions, TouchOptions};
use crate::outcome::{Deleted, Saved, Touched};
use crate::record::{Attribute, Authority, Delta, NewSession, Principal, Rotate, Rotation, SaveId};

/// More than any call takes.
const LONG: Duration = Duration::from_secs(20);

pub(super) async fn a_created_session_is_loaded_as_it_was(backend: &impl SessionBackend) {
    let store = backend.service().await;
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

pub(super) async fn a_taken_key_is_refused_and_its_session_stays(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let second = NewSession { attributes: set("theme", 2).set, ..fixture.new.clone() };
    let error = store.create(&fixture.key(), &second).await.expect_err("the key is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), created.record());
}

pub(super) async fn of_sixteen_racing_creators_of_one_key_one_wins(backend: &impl SessionBackend) {
    for round in 0..ROUNDS {
        let (store, fixture) = (backend.service().await, Fixture::new(backend.step()));
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

pub(super) async fn an_unknown_key_loads_nothing_and_creates_nothing(backend: &impl SessionBackend) {
    let (store, fixture) = (backend.service().await, Fixture::new(backend.step()));
    assert!(is_absent(&*store, &fixture.key()).await);
    assert_eq!(store.touch(&fixture.key()).await.expect("an answer"), Touched::Gone);
    assert!(is_absent(&*store, &fixture.key()).await);
    fixture.create_in(&*store).await;
}

pub(super) async fn a_save_applies_its_delta_and_raises_the_version(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
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

pub(super) async fn a_save_on_an_old_version_is_a_conflict_and_answers_the_current_session(
    backend: &impl SessionBackend,
) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let current = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    let Saved::Conflict(found) = store.save(&created, fixture.holder(), &set("b", 2)).await.expect("an answer") else {
        panic!("expected a conflict");
    };
    assert_eq!(found.record(), current.record());
    assert_eq!(loaded(&*store, &fixture.key()).await.record(), current.record());
    let saved = ok(store.save(&found, fixture.holder(), &set("b", 2)).await.expect("an answer"));
    assert_eq!((value(saved.record(), "a"), value(saved.record(), "b")), (Some(1), Some(2)));
}

pub(super) async fn a_save_that_changes_nothing_writes_nothing(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let first = ok(store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer"));
    for delta in [set("a", 1), Delta::new(), Delta::new().with_removed(name("b"))] {
        let same = ok(store.save(&first, fixture.holder(), &delta).await.expect("an answer"));
        assert_eq!(same.record().version(), first.record().version());
    }
    assert_eq!(loaded(&*store, &fixture.key()).await.record().version(), first.record().version());
}

pub(super) async fn a_save_of_a_missing_session_is_gone_and_creates_nothing(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    assert_eq!(store.delete(&fixture.key(), fixture.holder()).await.expect("an answer"), Deleted::Removed);
    let saved = store.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer");
    assert!(matches!(saved, Saved::Gone), "{saved:?}");
    assert!(is_absent(&*store, &fixture.key()).await);
}

pub(super) async fn attributes_of_any_codec_are_kept_byte_for_byte(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let foreign = Attribute::new(CodecId(213), Bytes::from_iter(0..=u8::MAX));
    let delta = Delta::new().with_set(name("foreign"), foreign.clone());
    ok(store.save(&created, fixture.holder(), &delta).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    ok(store.save(&read, fixture.holder(), &set("own", 1)).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(read.record().attributes().get(&name("foreign")), Some(&foreign));
}

pub(super) async fn a_large_session_is_kept(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
    let large = Attribute::new(CodecId::RAW, vec![0xa5; 1 << 20].into());
    let delta = Delta::new().with_set(name("large"), large.clone());
    ok(store.save(&created, fixture.holder(), &delta).await.expect("an answer"));
    let read = loaded(&*store, &fixture.key()).await;
    assert!(read.record().attributes().get(&name("large")) == Some(&large), "the megabyte came back changed");
}

/// Its answer may have been lost; others have changed nothing since.
pub(super) async fn a_create_that_is_repeated_is_known_and_another_is_not(backend: &impl SessionBackend) {
    let (store, fixture) = (backend.service().await, Fixture::new(backend.step()));
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
pub(super) async fn a_change_that_is_repeated_after_others_is_known_and_made_once(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (fixture, created) = Fixture::create(backend).await;
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

pub(super) async fn a_deadline_that_is_kept_changes_nothing(backend: &impl SessionBackend) {
    let (store, fixture) = (backend.service().await, Fixture::new(backend.step()));
    let key = fixture.key();
    let create = CreateOptions::default().with_deadline(LONG);
    let created = store.create_with(&key, &fixture.new, create).await.expect("a new session");
    let found = store.load_with(&key, LoadOptions::default().with_deadline(LONG)).await.expect("an answer");
    assert_eq!(found.found().expect("the session").record(), created.record());

    let save = || SaveOptions::default().with_deadline(LONG);
    let saved = store.save_with(&created, fixture.holder(), &set("a", 1), save()).await.expect("an answer");
    let saved = ok(saved);
    assert_eq!(value(saved.record(), "a"), Some(1));
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
    let rotated = store.rotate_with(&saved, fixture.holder(), &rotation, &Delta::new(), save()).await;
    assert!(ok(rotated.expect("an answer")).record().is_newest(&next.verifier_hash()));

    let touch = TouchOptions::default().with_deadline(LONG);
    assert_eq!(store.touch_with(&key, touch).await.expect("an answer"), Touched::Slid);
    let delete = DeleteOptions::default().with_deadline(LONG);
    let holder = Authority::Holder(next.verifier_hash());
    assert_eq!(store.delete_with(&key, holder, delete).await.expect("an answer"), Deleted::Removed);
}

pub(super) async fn a_store_that_works_is_up(backend: &impl SessionBackend) {
    let health = backend.service().await.health().await;
    assert!(health.is_up(), "{health:?}");
    assert!(!health.backend.is_empty());
}

pub(super) async fn sessions_survive_a_restart(backend: &mut impl SessionBackend) {
    let (fixture, created) = Fixture::create(backend).await;
    let saved = backend.service().await.save(&created, fixture.holder(), &set("a", 1)).await.expect("an answer");
    let saved = ok(saved);
    backend.reopen().await;
    assert_eq!(loaded(&*backend.service().await, &fixture.key()).await.record(), saved.record());
}
