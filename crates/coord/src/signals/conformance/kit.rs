//! What the cases have in common.

use std::time::Duration;

use statehouse_core::conformance::Backend;

use crate::key::CoordKey;
use crate::signals::{
    AcquireOptions, Acquired, AddOptions, Count, News, PermitId, Rate, Signals, SignalsExt as _, Subscriber, Taken,
};

pub(super) trait SignalsBackend: Backend<Service = dyn Signals> {}

impl<B: Backend<Service = dyn Signals>> SignalsBackend for B {}

/// So long that a loaded machine does what a case asks for within it.
pub(super) const LONG: u32 = 150;

pub(super) fn key(text: &str) -> CoordKey {
    CoordKey::new(text).expect("a good key")
}

pub(super) fn id() -> PermitId {
    PermitId::generate().expect("random bytes")
}

pub(super) async fn add(signals: &dyn Signals, name: &str, more: i64) -> i64 {
    signals.add(&key(name), more).await.expect("a sum").value
}

pub(super) async fn add_for(signals: &dyn Signals, name: &str, more: i64, lives: Duration) -> Count {
    signals.add_with(&key(name), more, AddOptions::default().with_time_to_live(lives)).await.expect("a sum")
}

pub(super) async fn count(signals: &dyn Signals, name: &str) -> Option<i64> {
    signals.count(&key(name)).await.expect("an answer").map(|count| count.value)
}

pub(super) fn rate(count: u32, period: Duration) -> Rate {
    Rate::new(count, period).expect("a good rate")
}

pub(super) async fn take(signals: &dyn Signals, name: &str, rate: Rate) -> Taken {
    signals.take(&key(name), rate).await.expect("an answer")
}

pub(super) async fn acquire(signals: &dyn Signals, id: PermitId, most: u32, lease: Duration) -> Acquired {
    signals.acquire_with(&key("p"), id, AcquireOptions::new(most, lease)).await.expect("an answer")
}

pub(super) async fn publish(signals: &dyn Signals, channel: &str, text: &str) {
    signals.publish(&key(channel), text.to_owned()).await.expect("published");
}

/// The next news, which must come.
pub(super) async fn next(subscriber: &mut Subscriber) -> News {
    let news = tokio::time::timeout(Duration::from_secs(60), subscriber.next()).await;
    news.expect("news in time").expect("signals that are there")
}

pub(super) fn message(channel: &str, text: &str) -> News {
    News::Message { channel: key(channel), message: text.to_owned().into() }
}
