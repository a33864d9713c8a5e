//! What comes late: loads that somebody else has begun, and removals that are replayed.

use super::kit::*;
use crate::Holding;

pub(super) async fn a_lease_that_is_held_is_left_to_its_holder(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let alone = ReserveOptions::new(LONG).with_holding(Holding::Alone);
    let reserved = cache.reserve_with(&key("a"), alone.clone()).await.unwrap();
    let Reservation::Leased(lease) = reserved else { panic!("{reserved:?} for a key that nobody loads") };
    assert_eq!(cache.reserve_with(&key("a"), alone.clone()).await.unwrap(), Reservation::Held(lease));
    assert_eq!(reserve(&*cache, &key("a")).await, lease, "who shares it is given it");
    let version = stored(set_under(&*cache, &key("a"), "loaded", lease).await);
    let hit = cache.reserve_with(&key("a"), alone.clone()).await.unwrap();
    assert!(matches!(hit, Reservation::Hit(entry) if entry.version == version));
    // Looking does not keep it alive.
    let short = ReserveOptions::new(Duration::from_secs(2)).with_holding(Holding::Alone);
    assert!(matches!(cache.reserve_with(&key("b"), short.clone()).await.unwrap(), Reservation::Leased(_)));
    assert!(matches!(cache.reserve_with(&key("b"), alone.clone()).await.unwrap(), Reservation::Held(_)));
    backend.pass_time(Duration::from_millis(2_300)).await;
    assert!(matches!(cache.reserve_with(&key("b"), alone.clone()).await.unwrap(), Reservation::Leased(_)));
}

pub(super) async fn a_lease_is_renewed_only_while_it_lives(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let short = ReserveOptions::new(Duration::from_secs(2));
    let Reservation::Leased(lease) = cache.reserve_with(&key("a"), short.clone()).await.unwrap() else {
        panic!("a hit")
    };
    let renewing = ReserveOptions::new(LONG).with_holding(Holding::Renew(lease));
    assert_eq!(cache.reserve_with(&key("a"), renewing.clone()).await.unwrap(), Reservation::Leased(lease));
    backend.pass_time(Duration::from_millis(2_300)).await;
    assert_eq!(
        cache.reserve_with(&key("a"), renewing.clone()).await.unwrap(),
        Reservation::Leased(lease),
        "it was renewed"
    );
    let _ = cache.remove(&key("a")).await.unwrap();
    assert_eq!(cache.reserve_with(&key("a"), renewing.clone()).await.unwrap(), Reservation::Ended);
    let alone = ReserveOptions::new(LONG).with_holding(Holding::Alone);
    let next = cache.reserve_with(&key("a"), alone.clone()).await.unwrap();
    assert!(matches!(next, Reservation::Leased(next) if next != lease), "no lease was left behind: {next:?}");
    assert_eq!(
        cache.reserve_with(&key("a"), renewing.clone()).await.unwrap(),
        Reservation::Ended,
        "beside another lease"
    );
    let there = store(&*cache, &key("there"), "v").await;
    let replacing = renewing.with_replacing(there);
    assert_eq!(cache.reserve_with(&key("there"), replacing).await.unwrap(), Reservation::Ended);
    let entry = cache.get(&key("there")).await.unwrap().expect("a renewal that is refused changes nothing");
    assert_eq!(entry.version, there);
}

pub(super) async fn a_late_removal_leaves_what_is_newer(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    store(&*cache, &key("old"), "old").await;
    let lease = reserve(&*cache, &key("leased before")).await;
    backend.pass_time(Duration::from_millis(2200)).await;
    let new = store(&*cache, &key("new"), "new").await;
    let young = reserve(&*cache, &key("leased since")).await;
    let late = RemoveOptions::default().with_min_age(Duration::from_millis(2000));
    let its = late.clone().with_lease(young);
    assert_eq!(cache.remove_with(&key("leased since"), its).await.unwrap(), RemoveOutcome::Absent, "and it holds");
    let renewing = ReserveOptions::new(LONG).with_holding(Holding::Renew(young));
    assert_eq!(cache.reserve_with(&key("leased since"), renewing).await.unwrap(), Reservation::Leased(young));
    assert_eq!(cache.remove_with(&key("old"), late.clone()).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.remove_with(&key("new"), late.clone()).await.unwrap(), RemoveOutcome::Conflict(new));
    assert_eq!(cache.remove_with(&key("none"), late.clone()).await.unwrap(), RemoveOutcome::Absent);
    for name in ["leased before", "leased since"] {
        assert_eq!(cache.remove_with(&key(name), late.clone()).await.unwrap(), RemoveOutcome::Absent, "{name}");
    }
    assert_eq!(value(&*cache, &key("old")).await, None);
    assert_eq!(value(&*cache, &key("new")).await, Some(bytes("new")));
    assert_eq!(super::kit::late(&*cache, &key("leased before"), lease).await, SetOutcome::Conflict(None));
    stored(super::kit::late(&*cache, &key("leased since"), young).await);
}

pub(super) async fn a_late_removal_ends_what_was_being_loaded_before(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let lease = reserve(&*cache, &key("a")).await;
    backend.pass_time(Duration::from_millis(400)).await;
    // Stored a moment ago, and read from its source before: it is as old as its lease.
    stored(set_under(&*cache, &key("a"), "late", lease).await);
    let late = RemoveOptions::default().with_min_age(Duration::from_millis(300));
    assert_eq!(cache.remove_with(&key("a"), late.clone()).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(value(&*cache, &key("a")).await, None);
}

pub(super) async fn a_late_removal_of_no_age_takes_what_was_set_a_moment_ago(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let late = RemoveOptions::default().with_min_age(Duration::ZERO);
    for n in 0..20 {
        let name = key(&n.to_string());
        // The second has a later version than the first, whatever the clock shows.
        store(&*cache, &name, "first").await;
        store(&*cache, &name, "second").await;
        assert_eq!(cache.remove_with(&name, late.clone()).await.unwrap(), RemoveOutcome::Removed, "{n}");
        assert_eq!(value(&*cache, &name).await, None, "{n}");
    }
}
