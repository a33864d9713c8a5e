//! What is put, read and removed.

use std::time::Duration;

use bytes::Bytes;
use statehouse_core::conformance::{RACERS, race};
use statehouse_core::{ErrorKind, Version};

use super::kit::{CoordBackend, conflict, get, key, on, put, put_with};
use crate::api::CoordStoreExt as _;
use crate::options::{Condition, PutOptions, ScanOptions};
use crate::outcome::{PutOutcome, RemoveOutcome};
use crate::record::{Record, WriteId};

pub(super) async fn a_record_is_read_as_it_was_put(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let (id, value) = (WriteId::generate().expect("random bytes"), Bytes::from_static(b"\0\xff\r\n{}"));
    let options = PutOptions::default().with_id(id);
    let version = store.put_with(&key("a"), value.clone(), options).await.expect("an answer").stored();
    let read = get(&*store, "a").await.expect("the record");
    assert_eq!((Some(read.version), read.id, &read.value, read.expires_in), (version, id, &value, None));
    put(&*store, "a", "").await;
    assert!(get(&*store, "a").await.expect("an empty record").value.is_empty());
}

pub(super) async fn an_absent_record_is_absent_for_every_method(backend: &impl CoordBackend) {
    let store = backend.service().await;
    assert_eq!(get(&*store, "a").await, None);
    let outcome = store.put_with(&key("a"), "1".into(), on(Condition::Match(Version::new(7)))).await;
    assert_eq!(conflict(outcome.expect("an answer")), None);
    assert_eq!(store.remove(&key("a"), Version::new(7)).await.expect("an answer"), RemoveOutcome::Absent);
    assert!(store.scan("").await.expect("a page").records.is_empty());
}

pub(super) async fn a_put_if_absent_finds_what_is_there(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let version = put_with(&*store, "a", "1", on(Condition::Absent)).await;
    let outcome = store.put_with(&key("a"), "2".into(), on(Condition::Absent)).await.expect("an answer");
    let found = conflict(outcome).expect("the record");
    assert_eq!((found.version, &found.value[..]), (version, &b"1"[..]));
    assert_eq!(get(&*store, "a").await, Some(found));
}

pub(super) async fn a_record_that_counts_as_none_is_replaced_or_told_and_any_other_stands(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let free = || on(Condition::Absent).or_in_place_of("free");
    let put_free = async |value: &'static str| {
        let put = store.put_with(&key("a"), value.into(), free()).await;
        put.expect("an answer")
    };
    assert!(put_free("1").await.stored().is_some(), "there is none");
    for other in ["1", "fre", "free ", ""] {
        let version = put(&*store, "a", other).await;
        assert_eq!(conflict(put_free("2").await).expect("the record").version, version, "{other:?}");
    }
    let before = put(&*store, "a", "free").await;
    let racing = race(|number| {
        let (store, options) = (std::sync::Arc::clone(&store), free());
        async move { store.put_with(&key("a"), number.to_string().into(), options).await.expect("an answer") }
    });
    let stored: Vec<_> = racing.await.iter().filter_map(PutOutcome::stored).collect();
    let now = get(&*store, "a").await.expect("a record");
    // Of a store that does not know it, the record stands.
    let is_told = stored.is_empty() && now.version == before && &now.value[..] == b"free";
    assert!(is_told || (stored == [now.version] && now.version > before), "{stored:?}, {now:?}");
    // With any other condition it is a record like all others.
    let version = put(&*store, "a", "free").await;
    let other = on(Condition::Match(Version::new(7))).or_in_place_of("free");
    let outcome = store.put_with(&key("a"), "3".into(), other).await.expect("an answer");
    assert_eq!(conflict(outcome).expect("the record").version, version);
}

pub(super) async fn a_put_on_another_version_answers_what_is_there_and_changes_nothing(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let first = put(&*store, "a", "1").await;
    let second = put_with(&*store, "a", "2", on(Condition::Match(first))).await;
    for other in [first, Version::new(0), Version::new(second.get() + 1)] {
        let outcome = store.put_with(&key("a"), "3".into(), on(Condition::Match(other))).await.expect("an answer");
        let found = conflict(outcome).expect("the record");
        assert_eq!((found.version, &found.value[..]), (second, &b"2"[..]));
    }
    assert_eq!(get(&*store, "a").await.expect("the record").version, second);
}

pub(super) async fn of_sixteen_racing_puts_on_one_version_one_is_made(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let mut version = put(&*store, "a", "0").await;
    for round in 0..3 {
        let outcomes = race(|number| {
            let store = std::sync::Arc::clone(&store);
            async move { store.put_with(&key("a"), number.to_string().into(), on(Condition::Match(version))).await }
        });
        let outcomes: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.expect("an answer")).collect();
        let made: Vec<_> = outcomes.iter().filter_map(PutOutcome::stored).collect();
        assert_eq!(made.len(), 1, "round {round}: {outcomes:?}");
        version = made[0];
        assert_eq!(get(&*store, "a").await.expect("the record").version, version);
    }
}

pub(super) async fn of_sixteen_racing_creators_one_wins(backend: &impl CoordBackend) {
    let store = backend.service().await;
    for round in 0..3 {
        let outcomes = race(|number| {
            let store = std::sync::Arc::clone(&store);
            async move {
                let name = key(&format!("a/{round}"));
                store.put_with(&name, number.to_string().into(), on(Condition::Absent)).await
            }
        });
        let outcomes: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.expect("an answer")).collect();
        let made = outcomes.iter().filter(|outcome| outcome.stored().is_some()).count();
        assert_eq!(made, 1, "round {round}: {outcomes:?}");
    }
}

pub(super) async fn sixteen_counters_lose_no_step(backend: &impl CoordBackend) {
    const STEPS: usize = 3;
    let store = backend.service().await;
    put(&*store, "a", "0").await;
    race(|_| {
        let store = std::sync::Arc::clone(&store);
        async move {
            for _ in 0..STEPS {
                let mut current = get(&*store, "a").await;
                while let Some(base) = current.take() {
                    let count: usize = std::str::from_utf8(&base.value).expect("text").parse().expect("a number");
                    let next = Bytes::from((count + 1).to_string());
                    let put = store.put_with(&key("a"), next, on(Condition::Match(base.version))).await;
                    if let PutOutcome::Conflict(found) = put.expect("an answer") {
                        current = found;
                    }
                }
            }
        }
    })
    .await;
    let counted = get(&*store, "a").await.expect("the record").value;
    assert_eq!(counted, (RACERS * STEPS).to_string());
}

pub(super) async fn a_remove_of_another_version_removes_nothing(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    let outcome = store.remove(&key("a"), first).await.expect("an answer");
    assert!(matches!(&outcome, RemoveOutcome::Conflict(found) if found.version == second), "{outcome:?}");
    assert_eq!(get(&*store, "a").await.expect("the record").version, second);
}

pub(super) async fn a_remove_is_idempotent(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let version = put(&*store, "a", "1").await;
    assert_eq!(store.remove(&key("a"), version).await.expect("an answer"), RemoveOutcome::Removed);
    assert_eq!(store.remove(&key("a"), version).await.expect("an answer"), RemoveOutcome::Absent);
    assert_eq!(get(&*store, "a").await, None);
}

pub(super) async fn what_was_removed_can_be_put_again(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let first = put(&*store, "a", "1").await;
    assert_eq!(store.remove(&key("a"), first).await.expect("an answer"), RemoveOutcome::Removed);
    let outcome = store.put_with(&key("a"), "2".into(), on(Condition::Match(first))).await;
    assert_eq!(conflict(outcome.expect("an answer")), None);
    put_with(&*store, "a", "3", on(Condition::Absent)).await;
    assert_eq!(get(&*store, "a").await.expect("the record").value, "3");
}

pub(super) async fn keys_of_any_text_are_told_apart(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let long = "x".repeat(200);
    let names = ["a", "A", "a/b", "a/b/c", "{a}", "a%2Fb", "%", "é", "e\u{301}", "a b", "a:b", "...", "a~b", &long];
    for name in names {
        put(&*store, name, name).await;
    }
    for name in names {
        assert_eq!(get(&*store, name).await.expect("the record").value, name);
    }
    let mut scanned: Vec<_> = store.scan("").await.expect("a page").records;
    scanned.retain(|(key, record)| record.value == key.as_str());
    assert_eq!(scanned.len(), names.len());
}

pub(super) async fn the_largest_value_is_kept_and_a_larger_one_refused(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let large = Bytes::from(vec![b'x'; Record::MAX_VALUE]);
    let version = store.put(&key("a"), large.clone()).await.expect("an answer").stored();
    let error = store.put(&key("a"), vec![b'x'; Record::MAX_VALUE + 1]).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let read = get(&*store, "a").await.expect("the record");
    assert!(Some(read.version) == version && read.value == large);
}

pub(super) async fn what_no_backend_takes_is_refused_before_anything_is_written(backend: &impl CoordBackend) {
    let store = backend.service().await;
    for time in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
        let options = PutOptions::default().with_time_to_live(time);
        let error = store.put_with(&key("a"), "1".into(), options).await.expect_err("a time that cannot be");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for options in [ScanOptions::new("").with_limit(0), ScanOptions::new("").with_limit(1001), ScanOptions::new("\0")] {
        assert_eq!(store.scan_with(options).await.expect_err("a wrong scan").kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(get(&*store, "a").await, None);
}

pub(super) async fn another_store_has_its_own_records(backend: &impl CoordBackend) {
    let (one, beside) = (backend.service().await, backend.another().await);
    let other = beside.service().await;
    let version = put(&*one, "a", "1").await;
    assert_eq!(get(&*other, "a").await, None);
    put_with(&*other, "a", "2", on(Condition::Absent)).await;
    let kept = get(&*one, "a").await.expect("the record");
    assert_eq!((kept.version, &kept.value[..]), (version, &b"1"[..]));
    assert_eq!(other.scan("").await.expect("a page").records.len(), 1);
}
