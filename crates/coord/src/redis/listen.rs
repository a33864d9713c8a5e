//! Hearing of changes while somebody waits for one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use statehouse_redis::{News, RedisClient, Subscription};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};

/// The name of a record that was changed, or nothing where some of them may have been missed.
pub(super) type Heard = Option<Arc<str>>;

type Teller = Arc<Mutex<Option<broadcast::Sender<Heard>>>>;

/// How many changes a waiter may be behind before it is told to look for itself.
const BEHIND: usize = 256;

/// For how long it goes on after nobody waits any more: who waits again and again needs not begin anew.
const LINGERS: Duration = Duration::from_secs(2);

/// One subscription for all who wait, which is there only while somebody does.
#[derive(Clone)]
pub(super) struct Listener {
    redis: RedisClient,
    channel: Vec<u8>,
    teller: Teller,
}

impl Listener {
    pub(super) fn new(redis: RedisClient, channel: Vec<u8>) -> Self {
        Self { redis, channel, teller: Arc::default() }
    }

    /// Whether the connection is one that can.
    pub(super) fn can_listen(&self) -> bool {
        self.redis.can_subscribe()
    }

    /// What is told from now on; none over a pool that cannot listen.
    pub(super) fn listen(&self) -> Option<broadcast::Receiver<Heard>> {
        let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(teller) = &*teller {
            return Some(teller.subscribe());
        }
        let subscription = self.redis.subscribe([self.channel.clone()]).ok()?;
        let (sender, receiver) = broadcast::channel(BEHIND);
        *teller = Some(sender.clone());
        // Where a runtime ends it is dropped at once, for which it wants the place.
        drop(teller);
        let telling = Telling { teller: Arc::clone(&self.teller), is_left: false };
        drop(tokio::spawn(pass_on(subscription, sender, telling)));
        Some(receiver)
    }
}

/// Whatever ends it, the client or the runtime that it is on: who waits is told no more, and who waits next begins anew.
struct Telling {
    teller: Teller,
    is_left: bool,
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.is_left {
            *self.teller.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Tells all who wait what is published, until nobody does or the client is gone.
async fn pass_on(mut subscription: Subscription, sender: broadcast::Sender<Heard>, mut telling: Telling) {
    let mut alone_since = None;
    loop {
        match timeout(LINGERS, subscription.next()).await {
            Ok(Some(News::Message { payload, .. })) => {
                drop(sender.send(String::from_utf8(payload).ok().map(Arc::from)))
            }
            Ok(Some(_)) => drop(sender.send(None)),
            Ok(None) => break,
            Err(_) => {}
        }
        // However much is published meanwhile.
        if sender.receiver_count() > 0 {
            alone_since = None;
        } else if alone_since.get_or_insert_with(Instant::now).elapsed() >= LINGERS {
            let mut teller = telling.teller.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody begins to listen while this is held.
            if sender.receiver_count() == 0 {
                *teller = None;
                drop(teller);
                telling.is_left = true;
                return;
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}
