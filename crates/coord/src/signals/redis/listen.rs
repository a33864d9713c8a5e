//! Hearing of messages while somebody listens.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use statehouse_core::Result;
use statehouse_redis::{News, Subscription};
use tokio::time::{Instant, sleep_until, timeout};

use super::client::Wire;
use crate::key::CoordKey;
use crate::signals::hub::{Hub, Subscriber};

/// How often it is looked whether the subscription is live and somebody listens, which asks nobody.
const LOOK: Duration = Duration::from_millis(250);

/// For how many looks it goes on after nobody listens any more: who listens again and again needs not begin anew.
const LINGERS: u32 = 8;

/// How often a cluster is asked how many messages were published, and how long it has for its answer.
const ROUND: Duration = Duration::from_secs(1);

/// One subscription for all who listen, which is there only while somebody does.
#[derive(Clone)]
pub(super) struct Listener {
    wire: Wire,
    hub: Arc<Mutex<Option<Hub>>>,
}

impl Listener {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, hub: Arc::default() }
    }

    pub(super) fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = &*hub {
            return Ok(hub.subscribe(channels));
        }
        let subscription = self.wire.redis().subscribe([self.wire.channel()])?;
        let new = Hub::new();
        let subscriber = new.subscribe(channels);
        *hub = Some(new.clone());
        // Where a runtime ends it is dropped at once, for which it wants the place.
        drop(hub);
        let passing = Passing { hub: new, shared: Arc::clone(&self.hub), is_left: false };
        drop(tokio::spawn(pass_on(subscription, passing, Published::new(&self.wire))));
        Ok(subscriber)
    }
}

/// Whatever ends it, the client or the runtime that it is on: nothing is heard any more, nobody who listens is to believe that nothing
/// happens, and who listens next begins anew.
struct Passing {
    hub: Hub,
    shared: Arc<Mutex<Option<Hub>>>,
    is_left: bool,
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.is_left {
            self.hub.interrupt();
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Passes on what is published, until nobody listens or the client is gone.
async fn pass_on(mut subscription: Subscription, mut passing: Passing, mut published: Published) {
    let (mut numbers, mut idle, hub) = (Numbers::default(), 0, passing.hub.clone());
    loop {
        let news = tokio::select! {
            // What has come is heard before it is missed.
            biased;
            news = timeout(LOOK, subscription.next()) => news,
            (count, heard) = published.next(numbers.heard()) => {
                if subscription.is_live() {
                    numbers.compare(&hub, count, heard);
                }
                continue;
            }
        };
        match news {
            Ok(Some(News::Message { payload, .. })) => numbers.pass_on(&hub, payload.into()),
            Ok(Some(_)) => {
                // Until then nobody is to believe that nothing was missed: the answer may take as long as a round.
                hub.interrupt();
                // Whoever begins anew after that needs none of those.
                numbers = Numbers { since: published.now().await, ..Numbers::default() };
                hub.begin();
            }
            Ok(None) => break,
            Err(_) if !subscription.is_live() => hub.interrupt(),
            Err(_) => {}
        }
        idle = if hub.subscribers() > 0 { 0 } else { idle + 1 };
        if idle >= LINGERS {
            let mut shared = passing.shared.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody begins to listen while this is held.
            if hub.subscribers() == 0 {
                *shared = None;
                drop(shared);
                passing.is_left = true;
                return;
            }
        }
    }
}

/// Which messages are heard, by their numbers.
#[derive(Default)]
struct Numbers {
    /// How many were published when it began, where that is known.
    since: Option<u64>,
    /// The number of the message that came last, if one has come since it began.
    last: Option<u64>,
    /// How many were published a round ago: by now they have come.
    due: Option<u64>,
}

impl Numbers {
    /// One that is not the next, or that nobody here can read, says that something is missed.
    fn pass_on(&mut self, hub: &Hub, payload: Bytes) {
        let Some((number, channel, message)) = decode(payload) else { return hub.begin() };
        let is_next = match (self.last.replace(number), self.since) {
            (Some(last), _) => number == last.wrapping_add(1),
            // Older ones were on their way when it began.
            (None, Some(since)) => number <= since.saturating_add(1),
            (None, None) => true,
        };
        if !is_next {
            hub.begin();
        }
        hub.pass_on(channel, message);
    }

    fn heard(&self) -> Option<u64> {
        self.last.max(self.since)
    }

    /// What was published and has not come within a round is missed; so is whatever was before a count that has begun anew, where so
    /// many were `heard` when it was asked for, or that was asked for in vain when it began.
    fn compare(&mut self, hub: &Hub, count: u64, heard: Option<u64>) {
        let is_missed = self.heard().is_none_or(|heard| self.due.is_some_and(|due| heard < due));
        if is_missed || heard.is_some_and(|heard| count < heard) {
            *self = Self { since: Some(count), ..Self::default() };
            hub.begin();
        }
        self.due = Some(count);
    }
}

/// How many messages were published: asked for only of a cluster, whose servers may lose one on the way between them. Elsewhere the
/// server that has the subscription is the one that counts.
struct Published {
    wire: Option<Wire>,
    due: Instant,
    asked: Option<Asked>,
}

/// A question under way, and which messages were heard when it was put.
type Asked = (Pin<Box<dyn Future<Output = Result<u64>> + Send>>, Option<u64>);

impl Published {
    fn new(wire: &Wire) -> Self {
        let wire = wire.redis().is_cluster().then(|| wire.clone());
        Self { wire, due: Instant::now() + ROUND, asked: None }
    }

    async fn now(&mut self) -> Option<u64> {
        self.wire.as_ref()?.published(ROUND).await.ok()
    }

    /// The next answer, and what was heard when it was asked for. Dropping the future loses nothing.
    async fn next(&mut self, heard: Option<u64>) -> (u64, Option<u64>) {
        let Some(wire) = &self.wire else { return std::future::pending().await };
        loop {
            let (answer, heard) = match &mut self.asked {
                Some((asked, heard)) => (asked.await, *heard),
                None => {
                    sleep_until(self.due).await;
                    let wire = wire.clone();
                    self.asked = Some((Box::pin(async move { wire.published(ROUND).await }), heard));
                    continue;
                }
            };
            (self.asked, self.due) = (None, Instant::now() + ROUND);
            if let Ok(count) = answer {
                return (count, heard);
            }
        }
    }
}

/// A message: the bytes `N` and 1, its number and the length of the name of its channel, little-endian with eight and two
/// bytes, that name, and what was published.
fn decode(mut payload: Bytes) -> Option<(u64, CoordKey, Bytes)> {
    if payload.len() < 12 || !payload.starts_with(b"N\x01") {
        return None;
    }
    payload.advance(2);
    let (number, length) = (payload.get_u64_le(), usize::from(payload.get_u16_le()));
    if payload.len() < length {
        return None;
    }
    let name = payload.split_to(length);
    let channel = CoordKey::new(std::str::from_utf8(&name).ok()?).ok()?;
    Some((number, channel, payload))
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::News as Told;

    fn payload(number: u64, message: &str) -> Bytes {
        [b"N\x01", &number.to_le_bytes()[..], &[1, 0], b"a", message.as_bytes()].concat().into()
    }

    fn message(text: &'static str) -> Told {
        Told::Message { channel: CoordKey::new("a").unwrap(), message: text.into() }
    }

    #[tokio::test]
    async fn a_number_that_is_not_the_next_is_a_resync() {
        let (hub, mut numbers) = (Hub::new(), Numbers::default());
        let mut subscriber = hub.subscribe(&[CoordKey::new("a").unwrap()]);
        hub.begin();
        for (number, text) in [(7, "1"), (8, "2")] {
            numbers.pass_on(&hub, payload(number, text));
        }
        for expected in [Told::Resync, message("1"), message("2")] {
            assert_eq!(subscriber.next().await, Some(expected));
        }
        for (number, before) in [(10, true), (11, false), (1, true)] {
            numbers.pass_on(&hub, payload(number, "3"));
            if before {
                assert_eq!(subscriber.next().await, Some(Told::Resync), "{number}");
            }
            assert_eq!(subscriber.next().await, Some(message("3")), "{number}");
        }
        for unreadable in [Bytes::new(), Bytes::from_static(b"N\x02aaaaaaaaaaaaaa"), payload(12, "").slice(..12)] {
            numbers.pass_on(&hub, unreadable);
            assert_eq!(subscriber.next().await, Some(Told::Resync));
        }
    }

    async fn is_told(subscriber: &mut Subscriber, expected: &[Told]) {
        for expected in expected {
            assert_eq!(subscriber.next().await.as_ref(), Some(expected));
        }
        assert!(timeout(Duration::from_millis(1), subscriber.next()).await.is_err(), "nothing else");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_published_and_does_not_come_within_a_round_is_a_resync() {
        let (hub, mut numbers) = (Hub::new(), Numbers { since: Some(7), ..Numbers::default() });
        let mut subscriber = hub.subscribe(&[CoordKey::new("a").unwrap()]);
        hub.begin();
        // One that was on its way, the next one, and one that was counted before it came.
        numbers.pass_on(&hub, payload(7, "1"));
        numbers.compare(&hub, 8, Some(7));
        numbers.pass_on(&hub, payload(8, "2"));
        for (count, heard) in [(9, 8), (9, 8)] {
            numbers.compare(&hub, count, Some(heard));
        }
        is_told(&mut subscriber, &[Told::Resync]).await;
        numbers.pass_on(&hub, payload(9, "late"));
        for count in [9, 9, 9] {
            numbers.compare(&hub, count, Some(9));
        }
        is_told(&mut subscriber, &[message("late")]).await;
        // The first one, after a resync that it was not part of, is not the next.
        let mut numbers = Numbers { since: Some(9), ..Numbers::default() };
        numbers.pass_on(&hub, payload(11, "3"));
        is_told(&mut subscriber, &[Told::Resync, message("3")]).await;
        // It has begun anew; and what it was at the beginning was asked for in vain.
        numbers.compare(&hub, 2, Some(11));
        is_told(&mut subscriber, &[Told::Resync]).await;
        let mut numbers = Numbers::default();
        numbers.compare(&hub, 2, None);
        is_told(&mut subscriber, &[Told::Resync]).await;
        numbers.compare(&hub, 2, Some(2));
        is_told(&mut subscriber, &[]).await;
    }
}
