//! Messages of channels, and word of it when some may have been missed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value, cmd};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{Inner, RedisClient};
use crate::connection::stream::Bounded;
use crate::failure::{Failure, connection_lost};
use crate::node::Node;

/// How many messages wait for a subscriber at most, and how many bytes.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

/// How often the server is asked whether it is there, and how long it has for its answer.
const PERIOD: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(1);

/// How often in that time it is looked whether it is still the one to listen to, which asks nobody.
const LOOKS: u32 = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a [`Subscription`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Somebody published this.
    Message {
        /// Where.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// From here on everything is heard, and before it something may have been missed: what was derived from messages is
    /// to be read again or dropped. The first of all news is this one.
    Resync,
}

/// Hears what is published on some channels, over a connection of its own. Dropping it ends that.
///
/// Redis keeps no messages: what is published while nobody listens is gone. So a subscription says [`News::Resync`] each
/// time it begins to listen: at first, after its connection was lost, and after the master or the cluster's nodes changed.
/// It also says so in place of what its owner was too slow to take: more than 4,096 messages, or 16 MiB.
///
/// The server is asked once a second whether it is there, which is all that an idle subscription costs it, and has a second
/// for its answer: a link that is half-open is noticed, and left for a new connection, within two seconds.
pub struct Subscription {
    inbox: mpsc::Receiver<News>,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Default)]
struct Shared {
    live: AtomicBool,
    missed: AtomicBool,
    told: Notify,
    bytes: AtomicUsize,
}

impl Shared {
    fn resync(&self) {
        self.missed.store(true, Ordering::Release);
        self.told.notify_one();
    }
}

impl RedisClient {
    /// Whether it can [subscribe](Self::subscribe): not over a brought pool, whose connections can't be told apart.
    #[must_use]
    pub fn can_subscribe(&self) -> bool {
        self.inner.topology.masters().iter().all(|node| node.address().is_some())
    }

    /// Begins to listen to channels; see [`Subscription`]. In a cluster a message reaches every subscriber, wherever it is
    /// published.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) over a brought pool, whose connections can't be told apart, and outside of a Tokio
    /// runtime, in which it would listen.
    pub fn subscribe(&self, channels: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Result<Subscription> {
        if !self.can_subscribe() {
            let message = "a pool of connections cannot subscribe: open the client by URL";
            return Err(Error::new(ErrorKind::Unsupported, message).with_backend("redis"));
        }
        let Ok(runtime) = Handle::try_current() else {
            let message = "there is no Tokio runtime here to listen in";
            return Err(Error::new(ErrorKind::Unsupported, message).with_backend("redis"));
        };
        let channels: Vec<Vec<u8>> = channels.into_iter().map(Into::into).collect();
        let (sender, inbox) = mpsc::channel(MOST);
        let shared = Arc::<Shared>::default();
        let task = runtime.spawn(listen(Arc::downgrade(&self.inner), channels, Arc::clone(&shared), sender));
        Ok(Subscription { inbox, shared, task: task.abort_handle() })
    }
}

impl Subscription {
    /// The next news. Ends only with the client: then there is none.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            if self.shared.missed.swap(false, Ordering::AcqRel) {
                // What is older than this is of no use to who begins anew.
                while let Ok(news) = self.inbox.try_recv() {
                    self.took(&news);
                }
                return Some(News::Resync);
            }
            let news = tokio::select! {
                biased;
                () = self.shared.told.notified() => continue,
                news = self.inbox.recv() => news?,
            };
            self.took(&news);
            return Some(news);
        }
    }

    /// Whether it is listening now. If not, what is published is missed, and a [`News::Resync`] will follow.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.shared.live.load(Ordering::Acquire) && !self.shared.missed.load(Ordering::Acquire)
    }

    fn took(&self, news: &News) {
        self.shared.bytes.fetch_sub(size(news), Ordering::Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("live", &self.is_live()).finish_non_exhaustive()
    }
}

fn size(news: &News) -> usize {
    match news {
        News::Message { channel, payload } => channel.len() + payload.len(),
        News::Resync => 0,
    }
}

/// Listens, and does so anew whenever that ends. Holds the client only while it connects.
async fn listen(client: Weak<Inner>, channels: Vec<Vec<u8>>, shared: Arc<Shared>, sender: mpsc::Sender<News>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let Some(inner) = client.upgrade() else { return };
        let node = inner.topology.node_of(|| None).map(|node| Arc::clone(&node)).ok();
        drop(inner);
        if let Some(node) = node {
            if listen_to(&client, &node, &channels, &shared, &sender).await {
                backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            }
            if let Some(inner) = client.upgrade() {
                inner.topology.learn(&node, &Failure::not_sent(connection_lost()));
            }
        }
        sleep(backoff.pause()).await;
    }
}

/// Listens to one server for as long as it is the one to listen to. Whether it ever was.
async fn listen_to(
    client: &Weak<Inner>,
    node: &Arc<Node>,
    channels: &[Vec<u8>],
    shared: &Arc<Shared>,
    sender: &mpsc::Sender<News>,
) -> bool {
    let closed = Arc::new(Notify::new());
    let pass_on = pass_on(Arc::clone(shared), sender.clone(), Arc::clone(&closed));
    let Ok(mut bounded) = node.listen(pass_on).await else { return false };
    let subscribed = timeout(SILENCE, bounded.connection.subscribe(channels)).await;
    if !matches!(subscribed, Ok(Ok(()))) {
        return false;
    }
    shared.live.store(true, Ordering::Release);
    shared.resync();
    tokio::select! {
        () = closed.notified() => {}
        () = until_left(client, node, &mut bounded) => {}
    }
    shared.live.store(false, Ordering::Release);
    tracing::info!(name: "redis.subscription_lost", server = ?node.address(), "a subscription lost its server");
    true
}

/// What to do with what arrives.
fn pass_on(shared: Arc<Shared>, sender: mpsc::Sender<News>, closed: Arc<Notify>) -> impl Fn(PushInfo) + Send + Sync {
    move |info| match info.kind {
        PushKind::Disconnection => closed.notify_one(),
        PushKind::Message => {
            let mut parts = info.data.into_iter();
            let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (parts.next(), parts.next())
            else {
                return;
            };
            let news = News::Message { channel, payload };
            let size = size(&news);
            let full = shared.bytes.fetch_add(size, Ordering::Relaxed) + size > MOST_BYTES;
            if full || sender.try_send(news).is_err() {
                shared.bytes.fetch_sub(size, Ordering::Relaxed);
                shared.resync();
            }
        }
        _ => {}
    }
}

/// Ends when the server no longer answers, or is no longer one that takes writes.
async fn until_left(client: &Weak<Inner>, node: &Arc<Node>, bounded: &mut Bounded) {
    loop {
        for _ in 0..LOOKS {
            sleep(PERIOD / LOOKS).await;
            let Some(inner) = client.upgrade() else { return };
            if !inner.topology.masters().iter().any(|master| Arc::ptr_eq(master, node)) {
                return;
            }
        }
        if !matches!(timeout(SILENCE, bounded.connection.send_packed_command(&cmd("PING"))).await, Ok(Ok(_))) {
            return;
        }
    }
}
