//! Versions only rise, and a put is made once.

use std::time::Duration;

use statehouse_core::ErrorKind;

use super::kit::{CoordBackend, conflict, get, key, on, put, put_with};
use crate::api::CoordStoreExt as _;
use crate::options::{Condition, PutOptions};
use crate::outcome::{PutOutcome, RemoveOutcome};
use crate::record::WriteId;

pub(super) async fn versions_rise_with_every_put_and_over_a_remove(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let mut last = put(&*store, "a", "0").await;
    for round in 0..6 {
        if round % 2 == 1 {
            assert_eq!(store.remove(&key("a"), last).await.expect("an answer"), RemoveOutcome::Removed);
        }
        let next = put(&*store, "a", "1").await;
        assert!(next > last, "round {round}: {next} after {last}");
        last = next;
    }
}

pub(super) async fn versions_rise_over_an_expiry(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let lives = PutOptions::default().with_time_to_live(2 * backend.step());
    let first = put_with(&*store, "a", "1", lives).await;
    backend.pass_time(3 * backend.step()).await;
    let second = put_with(&*store, "a", "2", on(Condition::Absent)).await;
    assert!(second > first, "{second} after {first}");
}

/// So an application that is moved to another kind of store still has rising versions.
pub(super) async fn a_version_is_not_below_the_time(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let before = store.now().await.expect("the time").as_micros();
    let version = put(&*store, "a", "1").await.get();
    let after = store.now().await.expect("the time").as_micros();
    assert!((before..=after + 1).contains(&version), "{before} {version} {after}");
    let in_2026 = 1_767_000_000_000_000;
    assert!(version > in_2026, "{version}");
}

pub(super) async fn a_record_that_is_as_it_was_before_has_another_version(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let first = put(&*store, "a", "1").await;
    put(&*store, "a", "2").await;
    let third = put(&*store, "a", "1").await;
    let outcome = store.put_with(&key("a"), "3".into(), on(Condition::Match(first))).await.expect("an answer");
    assert_eq!(conflict(outcome).expect("the record").version, third);
}

pub(super) async fn a_put_that_is_repeated_is_known_and_made_once(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let base = put(&*store, "b", "0").await;
    for (name, condition) in [("a", Condition::Absent), ("b", Condition::Match(base)), ("c", Condition::Always)] {
        let id = WriteId::generate().expect("random bytes");
        let first = put_with(&*store, name, "1", on(condition).with_id(id)).await;
        for _ in 0..2 {
            assert_eq!(put_with(&*store, name, "1", on(condition).repeating(id)).await, first, "{name}");
        }
        assert_eq!(get(&*store, name).await.expect("the record").version, first, "{name}");
    }
}

pub(super) async fn a_put_that_is_repeated_after_others_have_written_is_no_conflict(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let base = put(&*store, "a", "0").await;
    let id = WriteId::generate().expect("random bytes");
    put_with(&*store, "a", "1", on(Condition::Match(base)).with_id(id)).await;
    let other = put(&*store, "a", "2").await;
    let again = on(Condition::Match(base)).repeating(id).with_deadline(Duration::from_secs(20));
    let error = store.put_with(&key("a"), "1".into(), again).await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(get(&*store, "a").await.expect("the record").version, other);
    // One that was not made is made by the repetition.
    let again = on(Condition::Match(other)).repeating(WriteId::generate().expect("random bytes"));
    let outcome = store.put_with(&key("a"), "3".into(), again).await.expect("an answer");
    assert!(matches!(outcome, PutOutcome::Stored(version) if version > other), "{outcome:?}");
}

pub(super) async fn a_put_that_is_repeated_brings_nothing_back_and_replaces_nobodys(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let id = || WriteId::generate().expect("random bytes");
    let (absent, always, new) = (id(), id(), id());
    let first = put_with(&*store, "a", "1", on(Condition::Absent).with_id(absent)).await;
    let second = put_with(&*store, "a", "2", on(Condition::Match(first))).await;
    assert_eq!(store.remove(&key("a"), second).await.expect("an answer"), RemoveOutcome::Removed);
    put_with(&*store, "b", "1", on(Condition::Always).with_id(always)).await;
    let other = put(&*store, "b", "2").await;
    for (name, again) in
        [("a", on(Condition::Absent).repeating(absent)), ("b", on(Condition::Always).repeating(always))]
    {
        let again = again.with_deadline(Duration::from_secs(20));
        let error = store.put_with(&key(name), "1".into(), again).await.expect_err("nobody knows");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{name}");
    }
    assert_eq!(get(&*store, "a").await, None, "what was removed is back");
    assert_eq!(get(&*store, "b").await.expect("the record").version, other, "what is newer is gone");
    // Where there never was anything, it is sure that it was not made.
    put_with(&*store, "c", "1", on(Condition::Absent).repeating(new)).await;
    assert_eq!(get(&*store, "c").await.expect("the record").id, new);
}
