//! The right to store what is being loaded.

use super::kit::*;

pub(super) async fn reserve_of_a_live_entry_is_a_hit(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let version = store(&*cache, &key("a"), "A").await;
    match cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap() {
        Reservation::Hit(entry) => assert_eq!((entry.value, entry.version), (bytes("A"), version)),
        other => panic!("{other:?} for a live entry"),
    }
}

pub(super) async fn a_lease_stores_once(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    let version = stored(set_under(&*cache, &key("a"), "loaded", lease).await);
    assert!(version > lease.token());
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(Some(version)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("loaded")));
}

pub(super) async fn a_lease_is_no_entry(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(cache.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Absent);
    let matching = set_if(&*cache, &key("a"), "x", Condition::Match(lease.token())).await;
    assert_eq!(matching, SetOutcome::Conflict(None));
    stored(late(&*cache, &key("a"), lease).await);
    let lease = reserve(&*cache, &key("b")).await;
    assert_eq!(cache.remove(&key("b")).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(late(&*cache, &key("b"), lease).await, SetOutcome::Conflict(None));
}

pub(super) async fn a_lease_together_with_a_condition_is_refused(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    for condition in [Condition::Absent, Condition::Match(lease.token())] {
        let options = SetOptions::new(LONG).with_condition(condition).with_lease(lease);
        let error = cache.set_with(&key("a"), bytes("x"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let options = RemoveOptions::default().with_condition(condition).with_lease(lease);
        let error = cache.remove_with(&key("a"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    stored(set_under(&*cache, &key("a"), "loaded", lease).await);
}

pub(super) async fn two_reservations_share_a_lease_and_the_first_to_store_wins(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let (first, second) = (reserve(&*cache, &key("a")).await, reserve(&*cache, &key("a")).await);
    assert_eq!(first, second);
    let version = stored(set_under(&*cache, &key("a"), "first", first).await);
    assert_eq!(late(&*cache, &key("a"), second).await, SetOutcome::Conflict(Some(version)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("first")));
}

pub(super) async fn a_set_during_a_load_wins_over_it(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    for condition in [Condition::Always, Condition::Absent] {
        let lease = reserve(&*cache, &key("a")).await;
        let version = stored(set_if(&*cache, &key("a"), "set", condition).await);
        assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(Some(version)));
        assert_eq!(value(&*cache, &key("a")).await, Some(bytes("set")));
        let _ = cache.remove(&key("a")).await.unwrap();
        assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    }
}

pub(super) async fn a_removal_during_a_load_ends_it(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    let _ = cache.remove(&key("a")).await.unwrap();
    has_ended(&*cache, lease).await;
}

pub(super) async fn a_clear_during_a_load_ends_it(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    cache.clear().await.unwrap();
    has_ended(&*cache, lease).await;
}

/// Nothing is stored under the lease any more, and the next one is another.
async fn has_ended(cache: &dyn Cache, lease: Lease) {
    assert_eq!(late(cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    assert_eq!(value(cache, &key("a")).await, None);
    let next = reserve(cache, &key("a")).await;
    assert_ne!(next, lease);
    assert_eq!(late(cache, &key("a"), lease).await, SetOutcome::Conflict(None), "beside the next lease");
    stored(set_under(cache, &key("a"), "next", next).await);
    assert_eq!(value(cache, &key("a")).await, Some(bytes("next")));
}

pub(super) async fn a_lease_expires(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let options = ReserveOptions::new(Duration::from_secs(2));
    let Reservation::Leased(lease) = cache.reserve_with(&key("a"), options.clone()).await.unwrap() else {
        panic!("a hit")
    };
    let Reservation::Leased(short) = cache.reserve_with(&key("b"), options).await.unwrap() else { panic!("a hit") };
    assert_eq!(reserve(&*cache, &key("b")).await, short);
    backend.pass_time(Duration::from_millis(2_300)).await;
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    stored(late(&*cache, &key("b"), short).await);
}

pub(super) async fn a_lease_can_be_given_back(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    let options = RemoveOptions::default().with_lease(lease);
    assert_eq!(cache.remove_with(&key("a"), options.clone()).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.remove_with(&key("a"), options.clone()).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    let version = store(&*cache, &key("a"), "A").await;
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap(), RemoveOutcome::Conflict(version));
}

pub(super) async fn reserve_replacing_a_version_counts_it_as_absent(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let first = store(&*cache, &key("a"), "first").await;
    let second = store(&*cache, &key("a"), "second").await;
    let replacing = |version| ReserveOptions::new(LONG).with_replacing(version);
    let other = cache.reserve_with(&key("a"), replacing(first)).await.unwrap();
    assert!(matches!(other, Reservation::Hit(entry) if entry.version == second));
    let Reservation::Leased(lease) = cache.reserve_with(&key("a"), replacing(second)).await.unwrap() else {
        panic!("a hit of the version that counts as absent")
    };
    let third = stored(set_under(&*cache, &key("a"), "third", lease).await);
    assert!(third > second);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("third")));
}
