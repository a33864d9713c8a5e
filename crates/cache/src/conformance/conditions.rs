//! Writes on a condition.

use statehouse_core::conformance::race;

use super::kit::*;

pub(super) async fn set_if_absent_stores_only_the_first(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let first = stored(set_if(&*cache, &key("a"), "first", Condition::Absent).await);
    let second = set_if(&*cache, &key("a"), "second", Condition::Absent).await;
    assert_eq!(second, SetOutcome::Conflict(Some(first)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("first")));
    let _ = cache.remove(&key("a")).await.unwrap();
    stored(set_if(&*cache, &key("a"), "third", Condition::Absent).await);
    cache.clear().await.unwrap();
    stored(set_if(&*cache, &key("a"), "fourth", Condition::Absent).await);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("fourth")));
}

pub(super) async fn set_if_version_stores_only_on_that_version(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let none = set_if(&*cache, &key("a"), "x", Condition::Match(Version::new(1))).await;
    assert_eq!(none, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
    let first = store(&*cache, &key("a"), "first").await;
    let second = stored(set_if(&*cache, &key("a"), "second", Condition::Match(first)).await);
    let stale = set_if(&*cache, &key("a"), "third", Condition::Match(first)).await;
    assert_eq!(stale, SetOutcome::Conflict(Some(second)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("second")));
    let _ = cache.remove(&key("a")).await.unwrap();
    let gone = set_if(&*cache, &key("a"), "fourth", Condition::Match(second)).await;
    assert_eq!(gone, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
}

/// Sixteen tasks set the same key on the same condition; exactly one is stored, and its value stays.
async fn race_to_set(cache: &Arc<dyn Cache>, key: &CacheKey, condition: Condition) {
    let outcomes = race(|racer| {
        let (cache, key) = (Arc::clone(cache), key.clone());
        async move {
            let options = SetOptions::new(LONG).with_condition(condition);
            let outcome = cache.set_with(&key, racer.to_string().into(), options).await.unwrap();
            outcome.stored().map(|version| (racer.to_string(), version))
        }
    });
    let winners: Vec<_> = outcomes.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let entry = cache.get(key).await.unwrap().expect("the winner's entry");
    assert_eq!((entry.value.as_ref(), entry.version), (winners[0].0.as_bytes(), winners[0].1));
}

pub(super) async fn of_sixteen_racing_creators_one_wins_in_200_rounds(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    for round in 0..200 {
        race_to_set(&cache, &key(&format!("round {round}")), Condition::Absent).await;
    }
}

pub(super) async fn of_sixteen_racing_updaters_one_wins(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    for _ in 0..50 {
        let version = store(&*cache, &key("a"), "old").await;
        race_to_set(&cache, &key("a"), Condition::Match(version)).await;
    }
}

pub(super) async fn remove_if_version_removes_only_that_version(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let first = store(&*cache, &key("a"), "first").await;
    let second = store(&*cache, &key("a"), "second").await;
    let matching = |version| RemoveOptions::default().with_condition(Condition::Match(version));
    assert_eq!(cache.remove_with(&key("a"), matching(first)).await.unwrap(), RemoveOutcome::Conflict(second));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("second")));
    assert_eq!(cache.remove_with(&key("a"), matching(second)).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(value(&*cache, &key("a")).await, None);
}

pub(super) async fn remove_on_the_condition_absent_is_refused(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let options = RemoveOptions::default().with_condition(Condition::Absent);
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
