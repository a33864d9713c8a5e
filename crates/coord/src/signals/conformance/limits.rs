//! Limits.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::race;

use super::kit::{LONG, SignalsBackend, key, rate, take};
use crate::signals::{Rate, TakeOptions};

pub(super) async fn a_burst_is_served_and_what_is_more_is_told_when_to_come_again(backend: &impl SignalsBackend) {
    let (signals, step) = (backend.service().await, backend.step());
    // One in so long that none comes back while the case runs.
    let rate = rate(5, 5 * LONG * step);
    for left in (0..5).rev() {
        let taken = take(&*signals, "a", rate).await;
        assert!(taken.is_allowed() && taken.limit == 5 && taken.remaining == left, "{taken:?}");
        let (least, most) = ((4 - left) * LONG * step, (5 - left) * LONG * step);
        assert!(taken.reset_after > least && taken.reset_after <= most, "{taken:?}");
    }
    for _ in 0..3 {
        let taken = take(&*signals, "a", rate).await;
        let retry_after = taken.retry_after.expect("refused");
        assert!(!retry_after.is_zero() && retry_after <= LONG * step && taken.remaining == 0, "{taken:?}");
    }
    assert!(take(&*signals, "b", rate).await.is_allowed(), "another limit");
}

pub(super) async fn whoever_comes_again_when_told_to_is_served(backend: &impl SignalsBackend) {
    let (signals, step) = (backend.service().await, backend.step());
    let rate = rate(3, 6 * step);
    let mut served = 0;
    for _ in 0..12 {
        match take(&*signals, "a", rate).await.retry_after {
            None => served += 1,
            Some(wait) => {
                assert!(wait <= 2 * step, "{wait:?}");
                backend.pass_time(wait).await;
                assert!(take(&*signals, "a", rate).await.is_allowed(), "after {wait:?}");
                served += 1;
            }
        }
    }
    assert_eq!(served, 12);
}

pub(super) async fn of_sixteen_who_take_at_once_no_more_are_served_than_the_burst(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let rate = rate(7, 7 * LONG * backend.step());
    let taken = race(|_| {
        let signals = Arc::clone(&signals);
        async move { take(&*signals, "a", rate).await.is_allowed() }
    })
    .await;
    assert_eq!(taken.into_iter().filter(|is_allowed| *is_allowed).count(), 7);
}

pub(super) async fn many_are_taken_whole_or_not_at_all(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let rate = rate(10, 10 * LONG * backend.step());
    let name = key("a");
    let many = |count| signals.take_with(&name, rate, TakeOptions::default().with_count(count));
    assert_eq!(many(7).await.expect("an answer").remaining, 3);
    let refused = many(4).await.expect("an answer");
    assert!(!refused.is_allowed() && refused.remaining == 3, "{refused:?}");
    assert!(many(3).await.expect("an answer").is_allowed());
    for count in [0, 11] {
        assert_eq!(many(count).await.expect_err("what cannot be").kind(), ErrorKind::InvalidInput);
    }
}

pub(super) async fn a_limit_that_nobody_takes_from_is_whole_again(backend: &impl SignalsBackend) {
    let (signals, step) = (backend.service().await, backend.step());
    let short = rate(4, 2 * step);
    for _ in 0..4 {
        let _ = take(&*signals, "a", short).await;
    }
    backend.pass_time(3 * step).await;
    let taken = take(&*signals, "a", short).await;
    assert!(taken.is_allowed() && taken.remaining == 3, "{taken:?}");
}

pub(super) async fn another_rate_holds_from_its_first_take_on(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let per = |count: u32| rate(count, count * LONG * backend.step());
    for _ in 0..6 {
        let _ = take(&*signals, "a", per(10)).await;
    }
    let more = take(&*signals, "a", per(20)).await;
    assert!(more.is_allowed() && more.limit == 20 && more.remaining == 13, "{more:?}");
    let fewer = take(&*signals, "a", per(2)).await;
    assert!(!fewer.is_allowed() && fewer.retry_after <= Some(LONG * backend.step()), "{fewer:?}");
    let burst = per(10).with_burst(1).expect("a good rate");
    assert!(take(&*signals, "b", burst).await.is_allowed() && !take(&*signals, "b", burst).await.is_allowed());
}

pub(super) async fn rates_that_no_backend_keeps_are_refused(_: &impl SignalsBackend) {
    let second = Duration::from_secs(1);
    for (count, period) in [(0, second), (1_000_001, second), (1, Duration::ZERO), (1, Duration::MAX)] {
        assert_eq!(Rate::new(count, period).expect_err("a wrong rate").kind(), ErrorKind::InvalidInput);
    }
    let slow = Rate::new(1, Rate::MAX_PERIOD).expect("a good rate");
    for burst in [0, 2, 1_000_001] {
        assert_eq!(slow.with_burst(burst).expect_err("a wrong burst").kind(), ErrorKind::InvalidInput);
    }
}
