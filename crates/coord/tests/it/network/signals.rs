use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{
    AcquireOptions, Acquired, CoordKey, News, PermitId, Rate, RenewOptions, Renewed, Signals, SignalsExt as _,
    Subscriber, signals,
};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_testkit::{Effect, NetworkSubject, RedisTopology, network_table};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{LONG, fresh_key, large, word};
use crate::random_namespace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Count,
    Reset,
    Take,
    Acquire,
    Renew,
    Release,
    Publish,
    PublishLarge,
    Subscribe,
    Hear,
}

/// For how long news are waited for.
const NEWS: Duration = Duration::from_secs(5);
/// For how long somebody tries to tell them.
const TOLD: Duration = Duration::from_secs(3);
/// By when they come if nothing is in the way, on a busy machine too.
const ARRIVED: Duration = Duration::from_secs(30);

/// What a message is whose arrival shows that all before have arrived.
const LAST: &str = "last";

struct InRedis {
    signals: Arc<dyn Signals>,
    around: Arc<dyn Signals>,
    /// Who tells what is heard. Nobody else waits for one of whom a server that was paused did not hear.
    telling: Arc<dyn Signals>,
    /// The way that may be broken, for a patient client.
    url: String,
    namespace: Namespace,
}

/// A counter at 5, permits of which there is one, and a channel.
struct Scene {
    key: CoordKey,
    /// Who acquires, or has acquired.
    ids: [PermitId; 2],
    /// On the way that may be broken, without a subscription yet.
    unheard: Option<Arc<dyn Signals>>,
    listener: Option<Mutex<Listener>>,
}

/// What one who listens has heard since it began to.
struct Listener {
    subscriber: Subscriber,
    messages: u32,
    has_missed: bool,
    /// Whether it is known that there was a message.
    is_told: bool,
}

impl Listener {
    /// Of what is published from now on.
    async fn new(signals: &Arc<dyn Signals>, key: &CoordKey) -> Self {
        let mut subscriber = signals.subscribe(std::slice::from_ref(key)).unwrap();
        assert_eq!(timeout(ARRIVED, subscriber.next()).await.unwrap(), Some(News::Resync));
        Self { subscriber, messages: 0, has_missed: false, is_told: false }
    }

    /// Waits for the next news: whether it was the last message.
    async fn hear(&mut self) -> bool {
        match self.subscriber.next().await.expect("somebody tells") {
            News::Message { message, .. } if message == LAST => return true,
            News::Message { message, .. } => {
                assert!(message.starts_with(b"message"));
                self.messages += 1;
            }
            _ => self.has_missed = true,
        }
        false
    }
}

async fn open(url: &str, namespace: &Namespace) -> Result<Arc<dyn Signals>, String> {
    let url = ServiceUrl::parse("STATEHOUSE_SIGNALS_URL", url).unwrap();
    signals::open(url, namespace).await.map_err(|error| error.to_string())
}

fn rate() -> Rate {
    Rate::new(10, LONG * 100).unwrap()
}

impl NetworkSubject for InRedis {
    type Verb = Verb;
    type Scene = Scene;

    const VERBS: &'static [Verb] = &[
        Verb::Add,
        Verb::Count,
        Verb::Reset,
        Verb::Take,
        Verb::Acquire,
        Verb::Renew,
        Verb::Release,
        Verb::Publish,
        Verb::PublishLarge,
        Verb::Subscribe,
        Verb::Hear,
    ];

    fn effect(verb: Verb) -> Effect {
        match verb {
            Verb::Count | Verb::Subscribe => Effect::Reads,
            Verb::Hear => Effect::Hears,
            _ => Effect::Writes,
        }
    }

    fn deadline(verb: Verb) -> u64 {
        match verb {
            Verb::Subscribe | Verb::Hear => NEWS.as_secs(),
            // 64 KiB are given a little more time.
            Verb::PublishLarge => 4,
            _ => 3,
        }
    }

    fn is_large(verb: Verb) -> bool {
        verb == Verb::PublishLarge
    }

    async fn open(url: &str, around: &str) -> Result<Self, String> {
        let namespace = random_namespace();
        let signals = open(url, &namespace).await?;
        let (telling, around_it) = (open(around, &namespace).await?, open(around, &namespace).await?);
        let place = url.split('?').next().unwrap();
        let url = format!("{place}?{}", around.split('?').nth(1).unwrap());
        Ok(Self { signals, around: around_it, telling, url, namespace })
    }

    async fn scene(&self, verb: Verb) -> Scene {
        let (key, around) = (fresh_key(), &self.around);
        let ids = [PermitId::generate().unwrap(), PermitId::generate().unwrap()];
        assert_eq!(around.add(&key, 5).await.unwrap().value, 5);
        if matches!(verb, Verb::Renew | Verb::Release) {
            let acquired = around.acquire_with(&key, ids[0], AcquireOptions::new(1, LONG)).await.unwrap();
            assert_eq!(acquired, Acquired::Held(1));
        }
        let unheard = if verb == Verb::Subscribe { open(&self.url, &self.namespace).await.ok() } else { None };
        let listener = match verb {
            Verb::Publish | Verb::PublishLarge => Some(Listener::new(around, &key).await),
            Verb::Hear => Some(Listener::new(&self.signals, &key).await),
            _ => None,
        };
        Scene { key, ids, unheard, listener: listener.map(Mutex::new) }
    }

    async fn run(&self, verb: Verb, scene: &Scene) -> Result<(), &'static str> {
        let (signals, key) = (&self.signals, &scene.key);
        match verb {
            Verb::Add => signals.add(key, 1).await.map(|count| assert_eq!(count.value, 6)),
            Verb::Count => signals.count(key).await.map(|count| assert_eq!(count.expect("it is there").value, 5)),
            Verb::Reset => signals.reset(key).await,
            Verb::Take => signals.take(key, rate()).await.map(|taken| assert!(taken.is_allowed())),
            Verb::Acquire => {
                let acquired = signals.acquire_with(key, scene.ids[0], AcquireOptions::new(1, LONG)).await;
                acquired.map(|acquired| assert_eq!(acquired, Acquired::Held(1)))
            }
            Verb::Renew => {
                let renewed = signals.renew_with(key, scene.ids[0], RenewOptions::new(LONG * 2)).await;
                renewed.map(|renewed| assert_eq!(renewed, Renewed::Held))
            }
            Verb::Release => signals.release(key, scene.ids[0]).await,
            Verb::Publish => signals.publish(key, "message").await,
            Verb::PublishLarge => signals.publish(key, large("message ")).await,
            Verb::Subscribe => {
                let unheard = scene.unheard.as_ref().ok_or("unavailable")?;
                let mut subscriber = unheard.subscribe(std::slice::from_ref(key)).unwrap();
                return in_time(subscriber.next()).await.map(|news| assert_eq!(news, Some(News::Resync)));
            }
            Verb::Hear => {
                let mut listener = scene.listener.as_ref().unwrap().lock().await;
                // A server that is paused is told nothing, however long that is tried.
                listener.is_told = matches!(timeout(TOLD, self.telling.publish(key, "message")).await, Ok(Ok(())));
                return in_time(listener.hear()).await.map(|is_last| assert!(!is_last));
            }
        }
        .map_err(|error| word(&error))
    }

    async fn is_done(&self, verb: Verb, scene: &Scene) -> Option<bool> {
        let (around, key) = (&self.around, &scene.key);
        let full = async || around.acquire_with(key, scene.ids[1], AcquireOptions::new(1, LONG)).await.unwrap();
        match verb {
            Verb::Count | Verb::Subscribe => None,
            Verb::Add => Some(match around.count(key).await.unwrap().expect("it is there").value {
                5 => false,
                6 => true,
                more => panic!("added more than once: {more}"),
            }),
            Verb::Reset => Some(around.count(key).await.unwrap().is_none()),
            Verb::Take => Some(match around.take(key, rate()).await.unwrap().remaining {
                9 => false,
                8 => true,
                fewer => panic!("taken more than once: {fewer}"),
            }),
            Verb::Acquire => Some(matches!(full().await, Acquired::Full { .. })),
            Verb::Renew => match full().await {
                Acquired::Full { retry_after, .. } => Some(retry_after > LONG),
                Acquired::Held(_) => panic!("what was held is lost"),
            },
            Verb::Release => Some(matches!(full().await, Acquired::Held(_))),
            Verb::Publish | Verb::PublishLarge | Verb::Hear => {
                let mut listener = scene.listener.as_ref().unwrap().lock().await;
                around.publish(key, LAST).await.unwrap();
                let to_the_last = async { while !listener.hear().await && !listener.has_missed {} };
                timeout(ARRIVED, to_the_last).await.expect("the last message, or that some were missed");
                assert!(listener.messages <= 1, "told more than once");
                let heard = listener.messages == 1;
                if verb == Verb::Hear {
                    assert!(heard || listener.has_missed || !listener.is_told, "missed without a word");
                    return None;
                }
                (!listener.has_missed).then_some(heard)
            }
        }
    }

    async fn is_up(&self) -> bool {
        self.signals.health().await.is_up()
    }
}

async fn in_time<T>(news: impl Future<Output = T>) -> Result<T, &'static str> {
    timeout(NEWS, news).await.map_err(|_| "timeout")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_every_fault_of_the_network_every_verb_of_the_signals_ends_as_allowed_and_works_again_afterwards() {
    network_table::<InRedis>(RedisTopology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_signals_behind_a_sentinel_as_allowed() {
    network_table::<InRedis>(RedisTopology::Sentinel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_signals_in_a_cluster_as_allowed() {
    network_table::<InRedis>(RedisTopology::Cluster).await;
}
