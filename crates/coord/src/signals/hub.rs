//! What subscribers of one process hear, and when they may have missed something.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use crate::key::CoordKey;

/// What a [`Subscriber`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Somebody published this.
    Message {
        /// Where.
        channel: CoordKey,
        /// What.
        message: Bytes,
    },
    /// From here on everything is heard, and before it something may have been missed: what was derived from messages is to
    /// be read again or dropped. The first of all news is this one.
    Resync,
}

/// How many messages wait for a subscriber at most: of the longest, 16 MiB.
const MOST: usize = 256;

/// Passes messages on to the subscribers of a process, for authors of backends.
///
/// ```
/// use statehouse_coord::{CoordKey, Hub, News};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let (hub, channel) = (Hub::new(), CoordKey::new("prices")?);
/// let mut subscriber = hub.subscribe(&[channel.clone()]);
/// hub.begin(); // the connection is there
/// hub.pass_on(channel.clone(), "EUR".into());
/// assert_eq!(subscriber.next().await, Some(News::Resync));
/// assert_eq!(subscriber.next().await, Some(News::Message { channel, message: "EUR".into() }));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Hub {
    messages: broadcast::Sender<Heard>,
    /// Which time it has begun to hear, if it hears; and how often it has begun.
    epoch: watch::Sender<Epoch>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    number: u64,
    is_live: bool,
}

impl Epoch {
    fn live(self) -> Option<u64> {
        self.is_live.then_some(self.number)
    }
}

#[derive(Clone)]
struct Heard {
    epoch: u64,
    channel: CoordKey,
    message: Bytes,
}

impl Hub {
    /// One that hears nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { messages: broadcast::Sender::new(MOST), epoch: watch::Sender::default() }
    }

    /// From here on everything is heard: every subscriber is told to [resync](News::Resync).
    pub fn begin(&self) {
        self.epoch.send_modify(|epoch| *epoch = Epoch { number: epoch.number + 1, is_live: true });
    }

    /// From here on something may be missed, until it [begins](Self::begin) again.
    pub fn interrupt(&self) {
        self.epoch.send_if_modified(|epoch| std::mem::take(&mut epoch.is_live));
    }

    /// Tells those who listen to a channel.
    pub fn pass_on(&self, channel: CoordKey, message: Bytes) {
        let epoch = self.epoch.borrow().number;
        // That nobody listens is no failure.
        let _ = self.messages.send(Heard { epoch, channel, message });
    }

    /// One who listens to these channels from now on.
    #[must_use]
    pub fn subscribe(&self, channels: &[CoordKey]) -> Subscriber {
        Subscriber {
            inbox: self.messages.subscribe(),
            epoch: self.epoch.subscribe(),
            channels: channels.to_vec(),
            told: 0,
            held: None,
            flushed: Arc::default(),
        }
    }

    /// How many listen.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.messages.receiver_count()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("subscribers", &self.subscribers()).finish_non_exhaustive()
    }
}

/// Hears what is published on some channels. Dropping it ends that.
///
/// At most 256 messages wait for it, which may be 16 MiB in all; what it is too slow for is a [`Resync`](News::Resync).
pub struct Subscriber {
    inbox: broadcast::Receiver<Heard>,
    epoch: watch::Receiver<Epoch>,
    channels: Vec<CoordKey>,
    /// For which epoch it was told to resync.
    told: u64,
    /// What is heard after that.
    held: Option<News>,
    /// For which epoch it has done so.
    flushed: Arc<AtomicU64>,
}

impl Subscriber {
    /// The next news; none when the signals are gone. That it is called after a [`Resync`](News::Resync) says that whatever
    /// that asked for is done.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        if let Some(news) = self.held.take() {
            self.flushed.store(self.told, Ordering::Release);
            return Some(news);
        }
        self.flushed.store(self.told, Ordering::Release);
        loop {
            let now = *self.epoch.borrow_and_update();
            if let Some(number) = now.live().filter(|number| *number > self.told) {
                return Some(self.resync(number, None));
            }
            let heard = tokio::select! {
                biased;
                changed = self.epoch.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => self.inbox.try_recv().map_err(|error| closed(&error)),
                },
                heard = self.inbox.recv() => heard,
            };
            match heard {
                Ok(heard) if heard.epoch < self.told.max(1) || !self.channels.contains(&heard.channel) => {}
                Ok(heard) => return Some(self.hear(heard)),
                Err(RecvError::Lagged(_)) => return Some(self.resync(self.told, None)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> News {
        let Heard { epoch, channel, message } = heard;
        let news = News::Message { channel, message };
        if epoch > self.told { self.resync(epoch, Some(news)) } else { news }
    }

    fn resync(&mut self, epoch: u64, then: Option<News>) -> News {
        self.flushed.store(0, Ordering::Release);
        (self.told, self.held) = (epoch, then);
        News::Resync
    }

    /// Whether everything is heard, and it has dealt with the last [`Resync`](News::Resync): with the first one too, so that
    /// who has just begun is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inbox.len() <= MOST && self.readiness().is_ready()
    }

    /// What says elsewhere whether it is ready, such as for a probe.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness { epoch: self.epoch.clone(), flushed: Arc::clone(&self.flushed) }
    }
}

fn closed(error: &TryRecvError) -> RecvError {
    match error {
        TryRecvError::Lagged(by) => RecvError::Lagged(*by),
        TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("channels", &self.channels)
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

/// Whether a [`Subscriber`] is ready, wherever that is asked.
///
/// That it was too slow for some messages is known here once it comes for the next.
#[derive(Clone, Debug)]
pub struct Readiness {
    epoch: watch::Receiver<Epoch>,
    flushed: Arc<AtomicU64>,
}

impl Readiness {
    /// As [`Subscriber::is_ready`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let flushed = self.flushed.load(Ordering::Acquire);
        flushed > 0 && self.epoch.borrow().live() == Some(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> News {
        News::Message { channel: CoordKey::new("a").unwrap(), message: text.into() }
    }

    #[tokio::test]
    async fn what_was_heard_before_an_interruption_is_not_heard_after_the_resync() {
        let (hub, key) = (Hub::new(), CoordKey::new("a").unwrap());
        let mut subscriber = hub.subscribe(std::slice::from_ref(&key));
        hub.begin();
        hub.pass_on(key.clone(), "old".into());
        hub.interrupt();
        hub.begin();
        hub.pass_on(key.clone(), "new".into());
        assert_eq!(subscriber.next().await, Some(News::Resync));
        assert!(!subscriber.is_ready());
        assert_eq!(subscriber.next().await, Some(message("new")));
        assert!(subscriber.is_ready());
        hub.interrupt();
        assert!(!subscriber.is_ready());
        drop(hub);
        assert_eq!(subscriber.next().await, None);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_and_not_ready_until_it_comes_back() {
        let (hub, key) = (Hub::new(), CoordKey::new("a").unwrap());
        let mut subscriber = hub.subscribe(std::slice::from_ref(&key));
        hub.begin();
        assert_eq!(subscriber.next().await, Some(News::Resync));
        hub.pass_on(key.clone(), "1".into());
        assert_eq!(subscriber.next().await, Some(message("1")));
        for _ in 0..=MOST {
            hub.pass_on(key.clone(), "2".into());
        }
        assert!(!subscriber.is_ready());
        assert_eq!(subscriber.next().await, Some(News::Resync));
        assert!(!subscriber.is_ready() && !subscriber.readiness().is_ready());
        assert_eq!(subscriber.next().await, Some(message("2")));
        assert!(subscriber.is_ready() && subscriber.readiness().is_ready());
    }
}
