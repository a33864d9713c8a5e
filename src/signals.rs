//! Where replicas tell each other what is of the moment: in the Redis of the sessions, or in memory if nothing is shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_coord::signals::{AbsentSignals, Acquired, Count, Hub, News, PermitId, Renewed, Taken};
use statehouse_coord::{self as coord, CoordKey, MemorySignals, Rate, Signals, Subscriber};
#[cfg(feature = "coord-redis")]
use statehouse_core::capability::SHARED;
use statehouse_core::policy::Backoff;
use statehouse_core::{Capabilities, Health, Result};
use tokio::time::{sleep, timeout};

use crate::config::ServiceConfig;
use crate::deferred::Deferred;
#[cfg(feature = "coord-redis")]
use crate::lazy::Lazy;
use crate::open::Opening;
use crate::place::Place;
use crate::service::Service;
use crate::slot::Slot;

const SERVICE: Service = Service::Signals;
const SETTING: &str = "STATEHOUSE_SESSIONS_URL";

type Opened = Arc<dyn Signals>;

impl Opening {
    /// Those that are brought, else in the Redis of the sessions, else in memory. `shared` names a service that replicas share,
    /// if there is one: then memory would be one of many.
    pub(crate) fn signals(
        &mut self,
        brought: Option<Opened>,
        sessions: Option<&ServiceConfig>,
        shared: Option<&'static str>,
    ) -> Result<Slot<Opened>> {
        if let Some(signals) = brought {
            return Ok(Slot::ready(SERVICE, Place::brought(SERVICE), signals));
        }
        #[cfg(feature = "coord-redis")]
        if let Some(config) = sessions {
            let url = config.resolve("sessions")?;
            if crate::in_redis::is_redis(&url) {
                return self.signals_in_redis(url);
            }
        }
        let (backend, signals): (_, Opened) = match shared {
            None => ("memory", Arc::new(MemorySignals::new())),
            Some(service) => ("nowhere", Arc::new(alone(service, sessions.is_none()))),
        };
        Ok(Slot::ready(SERVICE, Place::nowhere(SETTING, backend), signals))
    }

    #[cfg(feature = "coord-redis")]
    fn signals_in_redis(&mut self, url: statehouse_core::ServiceUrl) -> Result<Slot<Opened>> {
        let place = Place::of(SERVICE, &url)?;
        let (client, namespace) = (self.session_client(url)?, self.namespace.clone());
        let store = Lazy::<Opened>::new(move || {
            let (client, namespace) = (Arc::clone(&client), namespace.clone());
            Box::pin(async move {
                let signals = coord::RedisSignals::new(client.get().await?.clone(), &namespace);
                Ok(Arc::new(signals.map_err(|error| error.with_setting(SETTING))?) as _)
            })
        });
        let (store, known) = (Arc::new(store), [coord::capability::SERVER_TIME, SHARED]);
        let until_then = Deferred { store: Arc::clone(&store), known: known.into_iter().collect() };
        Ok(Slot::new(SERVICE, place, store, Arc::new(until_then), known))
    }
}

fn alone(service: &str, is_brought: bool) -> AbsentSignals {
    let where_to = if is_brought {
        "bring signals along with the sessions (ServicesBuilder::with_signals)"
    } else if cfg!(feature = "coord-redis") {
        "keep the sessions in Redis"
    } else {
        "keep the sessions in Redis, and enable the feature \"coord-redis\""
    };
    let reason = format!(
        "replicas share the {service}, and there is no such place for counters, limits, permits and messages: {where_to}"
    );
    AbsentSignals::new(reason).with_setting(SETTING)
}

/// The signals, which are used from the first call of them on: whoever only locks has no need of them.
#[derive(Debug)]
struct Asked {
    signals: Opened,
    is_wanted: Arc<AtomicBool>,
}

pub(crate) fn asked(slot: &Slot<Opened>) -> Opened {
    Arc::new(Asked { signals: Arc::clone(slot.handle_unasked()), is_wanted: slot.wanted() })
}

impl Asked {
    fn signals(&self) -> &Opened {
        self.is_wanted.store(true, Ordering::Relaxed);
        &self.signals
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Signals for Asked {
    async fn add_with(&self, key: &CoordKey, more: i64, options: coord::AddOptions) -> Result<Count> {
        self.signals().add_with(key, more, options).await
    }

    async fn count_with(&self, key: &CoordKey, options: coord::CountOptions) -> Result<Option<Count>> {
        self.signals().count_with(key, options).await
    }

    async fn reset_with(&self, key: &CoordKey, options: coord::ResetOptions) -> Result<()> {
        self.signals().reset_with(key, options).await
    }

    async fn take_with(&self, key: &CoordKey, rate: Rate, options: coord::TakeOptions) -> Result<Taken> {
        self.signals().take_with(key, rate, options).await
    }

    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: coord::AcquireOptions) -> Result<Acquired> {
        self.signals().acquire_with(key, id, options).await
    }

    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: coord::RenewOptions) -> Result<Renewed> {
        self.signals().renew_with(key, id, options).await
    }

    async fn release_with(&self, key: &CoordKey, id: PermitId, options: coord::ReleaseOptions) -> Result<()> {
        self.signals().release_with(key, id, options).await
    }

    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: coord::PublishOptions) -> Result<()> {
        self.signals().publish_with(channel, message, options).await
    }

    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        self.signals().subscribe(channels)
    }

    async fn health(&self) -> Health {
        Signals::health(&*self.signals).await
    }

    fn capabilities(&self) -> Capabilities {
        Signals::capabilities(&*self.signals)
    }
}

/// How often it is looked whether what is listened to is live.
const LOOK: Duration = Duration::from_millis(250);

/// Listens once the signals are open, for who listens already.
async fn listen(later: Deferred<Opened>, channels: Vec<CoordKey>, hub: Hub) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut subscriber = loop {
        match later.store.get().await.and_then(|signals| signals.subscribe(&channels)) {
            Ok(subscriber) => break subscriber,
            Err(error) if hub.subscribers() == 0 || !error.is_retryable() => return,
            Err(_) => sleep(backoff.pause()).await,
        }
    };
    while hub.subscribers() > 0 {
        match timeout(LOOK, subscriber.next()).await {
            Ok(Some(News::Message { channel, message })) => hub.pass_on(channel, message),
            Ok(Some(_)) => hub.begin(),
            Ok(None) => return,
            Err(_) if !subscriber.is_ready() => hub.interrupt(),
            Err(_) => {}
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Signals for Deferred<Opened> {
    async fn add_with(&self, key: &CoordKey, more: i64, options: coord::AddOptions) -> Result<Count> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.add_with(key, more, options).await
    }

    async fn count_with(&self, key: &CoordKey, options: coord::CountOptions) -> Result<Option<Count>> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.count_with(key, options).await
    }

    async fn reset_with(&self, key: &CoordKey, options: coord::ResetOptions) -> Result<()> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.reset_with(key, options).await
    }

    async fn take_with(&self, key: &CoordKey, rate: Rate, options: coord::TakeOptions) -> Result<Taken> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.take_with(key, rate, options).await
    }

    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: coord::AcquireOptions) -> Result<Acquired> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.acquire_with(key, id, options).await
    }

    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: coord::RenewOptions) -> Result<Renewed> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.renew_with(key, id, options).await
    }

    async fn release_with(&self, key: &CoordKey, id: PermitId, options: coord::ReleaseOptions) -> Result<()> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.release_with(key, id, options).await
    }

    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: coord::PublishOptions) -> Result<()> {
        let mut options = options;
        self.store.within(&mut options.deadline).await?.publish_with(channel, message, options).await
    }

    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        if let Some(signals) = self.store.opened() {
            return signals.subscribe(channels);
        }
        let hub = Hub::new();
        let subscriber = hub.subscribe(channels);
        let later = Self { store: Arc::clone(&self.store), known: self.known.clone() };
        drop(tokio::spawn(listen(later, channels.to_vec(), hub)));
        Ok(subscriber)
    }

    async fn health(&self) -> Health {
        self.health_of("signals", |signals| Signals::health(signals)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |signals| signals.capabilities())
    }
}
