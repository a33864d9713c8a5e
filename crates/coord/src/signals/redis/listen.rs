//! Hearing of messages while somebody listens.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use statehouse_core::Result;
use statehouse_redis::{News, RedisClient, Subscription};
use tokio::time::timeout;

use crate::key::CoordKey;
use crate::signals::hub::{Hub, Subscriber};

/// How often it is looked whether the subscription is live and somebody listens, which asks nobody.
const LOOK: Duration = Duration::from_millis(250);

/// For how many looks it goes on after nobody listens any more: who listens again and again needs not begin anew.
const LINGERS: u32 = 8;

/// One subscription for all who listen, which is there only while somebody does.
#[derive(Clone)]
pub(super) struct Listener {
    redis: RedisClient,
    channel: Vec<u8>,
    hub: Arc<Mutex<Option<Hub>>>,
}

impl Listener {
    pub(super) fn new(redis: RedisClient, channel: Vec<u8>) -> Self {
        Self { redis, channel, hub: Arc::default() }
    }

    pub(super) fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = &*hub {
            return Ok(hub.subscribe(channels));
        }
        let subscription = self.redis.subscribe([self.channel.clone()])?;
        let new = Hub::new();
        let subscriber = new.subscribe(channels);
        *hub = Some(new.clone());
        // Where a runtime ends it is dropped at once, for which it wants the place.
        drop(hub);
        let passing = Passing { hub: new, shared: Arc::clone(&self.hub), is_left: false };
        drop(tokio::spawn(pass_on(subscription, passing)));
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
async fn pass_on(mut subscription: Subscription, mut passing: Passing) {
    let (mut numbers, mut idle, hub) = (Numbers::default(), 0, passing.hub.clone());
    loop {
        match timeout(LOOK, subscription.next()).await {
            Ok(Some(News::Message { payload, .. })) => numbers.pass_on(&hub, payload.into()),
            Ok(Some(_)) => {
                numbers = Numbers::default();
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

/// The number of the message that came last, if one has come since it began.
#[derive(Default)]
struct Numbers(Option<u64>);

impl Numbers {
    /// One that is not the next, or that nobody here can read, says that something is missed.
    fn pass_on(&mut self, hub: &Hub, payload: Bytes) {
        let Some((number, channel, message)) = decode(payload) else { return hub.begin() };
        if self.0.replace(number).is_some_and(|last| last + 1 != number) {
            hub.begin();
        }
        hub.pass_on(channel, message);
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
mod tests {
    use std::path::Path;

    use statehouse_core::conformance::fuzz::Target;

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

    #[test]
    fn fuzz_message() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/message");
        let repair = |input: &mut Vec<u8>| {
            input.resize(input.len().max(13), b'a');
            input[..2].copy_from_slice(b"N\x01");
            let name = u16::from_le_bytes([input[10], input[11]]);
            let most = u16::try_from(input.len() - 12).unwrap_or(u16::MAX);
            input[10..12].copy_from_slice(&name.min(most).to_le_bytes());
        };
        Target::new(corpus).run(repair, |input| match decode(Bytes::copy_from_slice(input)) {
            Some((number, channel, message)) => {
                let name = u16::try_from(channel.len()).unwrap().to_le_bytes();
                let parts = [b"N\x01", &number.to_le_bytes()[..], &name, channel.as_bytes(), &message];
                assert_eq!(parts.concat(), input, "all of it is the message");
                format!("{}", channel.len() / 16)
            }
            None => "no message".to_owned(),
        });
    }
}
