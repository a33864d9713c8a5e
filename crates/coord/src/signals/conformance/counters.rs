//! Counters.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::{RACERS, race};

use super::kit::{LONG, SignalsBackend, add, add_for, count, key};
use crate::signals::{AddOptions, Count, SignalsExt as _};

pub(super) async fn a_counter_is_the_sum_of_what_was_added(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    assert_eq!(count(&*signals, "a").await, None);
    assert_eq!(add(&*signals, "a", 3).await, 3);
    assert_eq!(add(&*signals, "a", -5).await, -2);
    assert_eq!(add(&*signals, "a", 0).await, -2);
    assert_eq!(add(&*signals, "b", 0).await, 0);
    assert_eq!((count(&*signals, "a").await, count(&*signals, "b").await), (Some(-2), Some(0)));
}

pub(super) async fn sixteen_who_add_at_once_each_have_a_sum_of_their_own(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut sums: Vec<i64> = race(|_| {
        let signals = Arc::clone(&signals);
        async move { add(&*signals, "a", 1).await }
    })
    .await;
    sums.sort_unstable();
    assert_eq!(sums, (1..=i64::try_from(RACERS).expect("few")).collect::<Vec<_>>());
}

pub(super) async fn a_counter_lives_as_long_as_the_add_said_that_began_it(backend: &impl SignalsBackend) {
    let (signals, step) = (backend.service().await, backend.step());
    let begun = add_for(&*signals, "a", 1, LONG * step).await;
    backend.pass_time(step).await;
    let later = add_for(&*signals, "a", 1, 10 * LONG * step).await;
    let (first, left) = (begun.expires_in.expect("a time"), later.expires_in.expect("a time"));
    assert!(first <= LONG * step && left <= first - step + Duration::from_millis(1), "{first:?} {left:?}");
    let read = signals.count(&key("a")).await.expect("an answer").expect("a counter");
    assert!(read.value == 2 && read.expires_in.expect("a time") <= left, "{read:?}");
    add_for(&*signals, "b", 7, 2 * step).await;
    backend.pass_time(3 * step).await;
    assert_eq!(count(&*signals, "b").await, None);
    let anew = signals.add(&key("b"), 1).await.expect("a sum");
    assert_eq!((anew.value, anew.expires_in), (1, None));
}

pub(super) async fn a_counter_without_a_time_to_live_stays(backend: &impl SignalsBackend) {
    let (signals, step) = (backend.service().await, backend.step());
    add(&*signals, "a", 1).await;
    let later = add_for(&*signals, "a", 1, 2 * step).await;
    assert_eq!(later.expires_in, None);
    backend.pass_time(3 * step).await;
    assert_eq!(count(&*signals, "a").await, Some(2));
}

pub(super) async fn a_reset_removes_a_counter_and_is_idempotent(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    add(&*signals, "a", 1).await;
    for _ in 0..2 {
        signals.reset(&key("a")).await.expect("an answer");
        assert_eq!(count(&*signals, "a").await, None);
    }
    assert_eq!(add(&*signals, "a", 1).await, 1);
}

pub(super) async fn an_add_that_would_leave_the_range_changes_nothing(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    for sign in [1, -1] {
        let name = format!("a{sign}");
        assert_eq!(add(&*signals, &name, sign * (Count::MAX - 1)).await, sign * (Count::MAX - 1));
        assert_eq!(add(&*signals, &name, sign).await, sign * Count::MAX);
        for more in [1, 2, Count::MAX] {
            let error = signals.add(&key(&name), sign * more).await.expect_err("too much");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        assert_eq!(count(&*signals, &name).await, Some(sign * Count::MAX));
        let error = signals.add(&key(&name), sign * (Count::MAX + 1)).await.expect_err("too much at once");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

pub(super) async fn times_that_no_backend_keeps_are_refused(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    for time in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
        let options = AddOptions::default().with_time_to_live(time);
        let error = signals.add_with(&key("a"), 1, options).await.expect_err("a time that cannot be");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(count(&*signals, "a").await, None);
}
