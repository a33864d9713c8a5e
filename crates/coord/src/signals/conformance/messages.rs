//! Messages, and names.

use statehouse_core::ErrorKind;

use super::kit::{LONG, SignalsBackend, acquire, add, count, id, key, message, next, publish, rate, take};
use crate::signals::{Acquired, News, PublishOptions, SignalsExt as _};

pub(super) async fn a_subscriber_hears_resync_and_then_every_message_in_order(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut subscriber = signals.subscribe(&[key("a"), key("b")]).expect("a subscriber");
    assert_eq!(next(&mut subscriber).await, News::Resync);
    for number in 0..50 {
        publish(&*signals, ["a", "b", "other"][number % 3], &number.to_string()).await;
    }
    for number in (0..50).filter(|number| number % 3 < 2) {
        assert_eq!(next(&mut subscriber).await, message(["a", "b"][number % 3], &number.to_string()));
    }
}

pub(super) async fn every_subscriber_hears_a_message(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut all = [(); 3].map(|()| signals.subscribe(&[key("a")]).expect("a subscriber"));
    for subscriber in &mut all {
        assert_eq!(next(subscriber).await, News::Resync);
    }
    publish(&*signals, "a", "1").await;
    for subscriber in &mut all {
        assert_eq!(next(subscriber).await, message("a", "1"));
    }
    // One who comes later begins with a resync, too, and hears nothing of before.
    let mut late = signals.subscribe(&[key("a")]).expect("a subscriber");
    assert_eq!(next(&mut late).await, News::Resync);
    publish(&*signals, "a", "2").await;
    assert_eq!(next(&mut late).await, message("a", "2"));
    assert_eq!(next(&mut all[0]).await, message("a", "2"));
}

pub(super) async fn a_subscriber_is_ready_when_it_comes_back_after_the_resync(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut subscriber = signals.subscribe(&[key("a")]).expect("a subscriber");
    let elsewhere = subscriber.readiness();
    assert!(!subscriber.is_ready());
    assert_eq!(next(&mut subscriber).await, News::Resync);
    assert!(!subscriber.is_ready() && !elsewhere.is_ready(), "nothing is dropped yet");
    publish(&*signals, "a", "1").await;
    assert_eq!(next(&mut subscriber).await, message("a", "1"));
    assert!(subscriber.is_ready() && elsewhere.is_ready());
}

pub(super) async fn a_subscriber_that_is_too_slow_hears_resync(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut subscriber = signals.subscribe(&[key("a")]).expect("a subscriber");
    assert_eq!(next(&mut subscriber).await, News::Resync);
    for number in 0..1500 {
        publish(&*signals, "a", &number.to_string()).await;
    }
    let mut heard = Vec::new();
    while heard.last() != Some(&message("a", "1499")) {
        heard.push(next(&mut subscriber).await);
    }
    // A link that is slow, too, may lose some besides: then there are two.
    let at = heard.iter().rposition(|news| *news == News::Resync).expect("a resync");
    let after = &heard[at + 1..];
    let expected = (1500 - after.len()..1500).map(|number| message("a", &number.to_string()));
    assert!(after.iter().cloned().eq(expected), "something is missing after the last of {:?}", &heard[..=at]);
}

pub(super) async fn the_largest_message_is_heard_and_a_larger_one_refused(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let mut subscriber = signals.subscribe(&[key("a")]).expect("a subscriber");
    assert_eq!(next(&mut subscriber).await, News::Resync);
    let large = "x".repeat(PublishOptions::MAX_MESSAGE);
    let error = signals.publish(&key("a"), format!("{large}x")).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for text in [&large, ""] {
        publish(&*signals, "a", text).await;
        assert_eq!(next(&mut subscriber).await, message("a", text));
    }
}

pub(super) async fn of_one_name_counters_limits_and_permits_have_nothing_to_do_with_each_other(
    backend: &impl SignalsBackend,
) {
    let (signals, lease) = (backend.service().await, LONG * backend.step());
    for name in ["p", "É /{x}%", "count:p"] {
        assert_eq!(add(&*signals, name, 2).await, 2, "{name}");
        assert_eq!(take(&*signals, name, rate(3, lease)).await.remaining, 2, "{name}");
    }
    assert_eq!(acquire(&*signals, id(), 1, lease).await, Acquired::Held(1));
    signals.reset(&key("p")).await.expect("an answer");
    assert_eq!(take(&*signals, "p", rate(3, lease)).await.remaining, 1);
}

pub(super) async fn other_signals_beside_have_their_own_names(backend: &impl SignalsBackend) {
    let (one, beside) = (backend.service().await, backend.another().await);
    let other = beside.service().await;
    let mut subscriber = other.subscribe(&[key("a")]).expect("a subscriber");
    assert_eq!(next(&mut subscriber).await, News::Resync);
    add(&*one, "a", 1).await;
    publish(&*one, "a", "theirs").await;
    assert_eq!(count(&*other, "a").await, None);
    publish(&*other, "a", "ours").await;
    assert_eq!(next(&mut subscriber).await, message("a", "ours"));
}

pub(super) async fn a_store_that_works_is_up(backend: &impl SignalsBackend) {
    let health = backend.service().await.health().await;
    assert!(health.is_up() && !health.backend.is_empty(), "{health:?}");
}
